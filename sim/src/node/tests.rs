//! Sockets, timers and machines under faults, each on two machines.

use std::future::poll_fn;
use std::io::{ErrorKind, IoSlice};
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use chinwag::runtime::{Stream, UdpSocket};
use chinwag_conformance::tools::{
    poll_with, read, read_up_to, receive, send, sleep_until, spawn, write,
};

mod odd;

use super::Engine;
use super::tcp::WINDOW;
use crate::choices::{Seeded, Tape};
use crate::fault::Fault;

const LONG: Duration = Duration::from_secs(1_000);

fn engine(hosts: usize) -> Engine {
    Engine::new(hosts, 1, Box::new(Tape::default()))
}

impl Engine {
    fn run<T>(&self, story: impl Future<Output = T>) -> T {
        self.block_on(Box::pin(story))
    }

    async fn sleep(&self, host: u32, time: Duration) {
        let runtime = self.runtime(host);
        sleep_until(&*runtime, runtime.now().mono + time).await;
    }

    async fn streams(&self, from: u32, to: u32) -> (Box<dyn Stream>, Box<dyn Stream>) {
        let mut listener = self.runtime(to).listen(self.addr(to)).await.expect("a free port");
        let addr = listener.local_addr().expect("bound");
        let dialled = self.runtime(from).connect(addr).await.expect("connected");
        (dialled, poll_fn(|cx| listener.poll_accept(cx)).await.expect("accepted"))
    }

    async fn udp(&self, host: u32) -> (Box<dyn UdpSocket>, std::net::SocketAddr) {
        let socket = self.runtime(host).bind_udp(self.addr(host)).await.expect("a free port");
        let addr = socket.local_addr().expect("bound");
        (socket, addr)
    }

    fn owner(&self, of: std::net::SocketAddr) -> Option<u32> {
        self.with(|state| state.network.addresses.owner(of))
    }

    fn true_now(&self) -> Duration {
        Duration::from_nanos(self.now())
    }
}

fn cut() -> Fault {
    Fault::Cut { from: vec![0], to: vec![1], one_way: false }
}

#[test]
fn a_partition_holds_a_stream_up_and_loses_nothing_of_it() {
    let engine = engine(2);
    engine.run(async {
        let (mut one, mut two) = engine.streams(0, 1).await;
        engine.begin_fault(0, &cut());
        write(&mut *one, b"late").await.expect("there is room");
        engine.sleep(1, LONG).await;
        let mut buf = [0; 10];
        assert!(poll_with(Waker::noop(), |cx| two.poll_read(cx, &mut buf)).is_pending());
        engine.end_fault(0, &cut());
        assert_eq!(read_up_to(&mut *two, 4).await.expect("whole"), b"late");
    });
}

#[test]
fn nobody_answers_across_a_partition() {
    let engine = engine(2);
    engine.run(async {
        let listener = engine.runtime(1).listen(engine.addr(1)).await.expect("a free port");
        let addr = listener.local_addr().expect("bound");
        engine.begin_fault(0, &cut());
        let error = engine.runtime(0).connect(addr).await.err().expect("cut off");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(engine.true_now() > Duration::from_secs(120));
        engine.end_fault(0, &cut());
        engine.runtime(0).connect(addr).await.expect("the backlog has room");
    });
}

#[test]
fn a_process_that_stands_still_takes_nothing_in_and_misses_nothing() {
    let engine = engine(2);
    engine.run(async {
        let (mut from, _) = engine.udp(0).await;
        let (mut to, addr) = engine.udp(1).await;
        let task = spawn(&*engine.runtime(1), async move {
            let mut buf = [0; 10];
            receive(&mut *to, &mut buf).await
        });
        engine.begin_fault(0, &Fault::FullPause(1));
        send(&mut *from, b"hello", addr).await.expect("sent");
        let mut task = Box::pin(task);
        engine.sleep(0, LONG).await;
        assert!(poll_with(Waker::noop(), |cx| task.as_mut().poll(cx)).is_pending());
        engine.end_fault(0, &Fault::FullPause(1));
        assert_eq!(task.await.0, 5);
    });
}

#[test]
fn what_a_blocked_machine_sends_waits_and_so_does_what_it_is_sent() {
    let engine = engine(2);
    engine.run(async {
        let (mut one, at_one) = engine.udp(0).await;
        let (mut two, at_two) = engine.udp(1).await;
        let (mut near, mut far) = engine.streams(0, 1).await;
        engine.begin_fault(0, &Fault::IoBlock(0));
        send(&mut *one, b"out", at_two).await.expect("taken");
        send(&mut *two, b"in", at_one).await.expect("sent");
        write(&mut *near, b"out").await.expect("taken");
        write(&mut *far, b"in").await.expect("sent");
        engine.sleep(0, LONG).await;
        let mut buf = [0; 10];
        assert!(poll_with(Waker::noop(), |cx| one.poll_recv_from(cx, &mut buf)).is_pending());
        assert!(poll_with(Waker::noop(), |cx| two.poll_recv_from(cx, &mut buf)).is_pending());
        assert!(poll_with(Waker::noop(), |cx| near.poll_read(cx, &mut buf)).is_pending());
        assert!(poll_with(Waker::noop(), |cx| far.poll_read(cx, &mut buf)).is_pending());
        engine.end_fault(0, &Fault::IoBlock(0));
        assert_eq!(receive(&mut *one, &mut buf).await, (2, at_two));
        assert_eq!(receive(&mut *two, &mut buf).await, (3, at_one));
        assert_eq!(read_up_to(&mut *near, 2).await.expect("whole"), b"in");
        assert_eq!(read_up_to(&mut *far, 3).await.expect("whole"), b"out");
    });
}

/// Its machine says so, or is silent until it is back; then it knows nothing of the connection.
#[test]
fn a_process_that_dies_leaves_nothing_behind() {
    for is_told in [true, false] {
        let engine = engine(2);
        engine.run(async {
            let (mut one, two) = engine.streams(0, 1).await;
            let (socket, addr) = engine.udp(1).await;
            let ended = Arc::new(());
            let held = ended.clone();
            let runtime = engine.runtime(1);
            runtime.spawn(Box::pin(async move {
                let _held = (held, two, socket);
                std::future::pending::<()>().await;
            }));
            engine.sleep(0, Duration::from_secs(1)).await;
            engine.kill(1, is_told);
            assert_eq!(Arc::strong_count(&ended), 1, "the task is dropped");
            assert_eq!((engine.sockets_of(1), engine.tasks_of(1)), (0, 0));
            assert!(runtime.bind_udp(addr).await.is_err(), "the process is over");
            write(&mut *one, b"anybody?").await.expect("there is room");
            engine.sleep(0, Duration::from_secs(10)).await;
            let mut buf = [0; 1];
            let heard = poll_with(Waker::noop(), |cx| one.poll_read(cx, &mut buf));
            assert_eq!(heard.is_ready(), is_told);
            engine.start(1);
            let error = read(&mut *one, &mut buf).await.expect_err("nobody knows it");
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            engine.runtime(1).bind_udp(addr).await.expect("its port is free for the next process");
        });
    }
}

#[test]
fn a_connection_is_broken_with_word_or_without() {
    let engine = engine(2);
    engine.run(async {
        let (mut one, mut two) = engine.streams(0, 1).await;
        assert_eq!(engine.break_streams(1, 0, false), 1);
        write(&mut *one, b"into the void").await.expect("there is room");
        engine.sleep(0, LONG).await;
        let mut buf = [0; 1];
        assert!(poll_with(Waker::noop(), |cx| two.poll_read(cx, &mut buf)).is_pending());
        let (mut three, mut four) = engine.streams(0, 1).await;
        write(&mut *three, b"another").await.expect("written");
        assert_eq!(read_up_to(&mut *four, 7).await.expect("a new one is whole"), b"another");
        engine.break_streams(0, 1, true);
        for end in [&mut one, &mut two, &mut three, &mut four] {
            assert_eq!(
                read(&mut **end, &mut buf).await.expect_err("broken").kind(),
                ErrorKind::ConnectionReset
            );
        }
    });
}

#[test]
fn timers_go_by_the_machine_s_own_clock_and_are_never_early_by_it() {
    let engine = engine(2);
    engine.run(async {
        let fast = Fault::Clock { node: 1, step_ms: -5_000, drift_ppm: 100_000 };
        let wall = engine.runtime(1).now().wall;
        engine.begin_fault(0, &fast);
        assert_eq!(engine.runtime(1).now().wall + Duration::from_secs(5), wall);
        engine.sleep(1, Duration::from_secs(11)).await;
        assert_eq!(engine.true_now(), Duration::from_secs(10));
        engine.end_fault(0, &fast);
        engine.begin_fault(1, &Fault::EarlyTimers(1));
        let begun = engine.runtime(1).now().mono;
        engine.sleep(1, Duration::from_secs(20)).await;
        assert_eq!(engine.runtime(1).now().mono.since(begun), Duration::from_secs(20));
    });
}

#[test]
fn names_are_looked_up_and_may_fail() {
    let engine = engine(2);
    engine.run(async {
        engine.set_name("one", 1);
        let mut expected = engine.addr(1);
        expected.set_port(80);
        assert_eq!(engine.runtime(0).lookup("one:80").await.expect("known"), [expected]);
        engine.begin_fault(0, &Fault::LookupFails(0));
        assert_eq!(
            engine.runtime(0).lookup("one:80").await.expect_err("down").kind(),
            ErrorKind::TimedOut
        );
        assert!(engine.runtime(1).lookup("one:80").await.is_ok());
    });
}

#[test]
fn a_slow_reader_reads_all_in_the_end() {
    let engine = engine(2);
    engine.run(async {
        let (mut one, mut two) = engine.streams(0, 1).await;
        engine.begin_fault(0, &Fault::SlowReader { node: 1, every: Duration::from_millis(200) });
        let bytes = vec![7; WINDOW];
        write(&mut *one, &bytes).await.expect("it fits");
        let more = [IoSlice::new(&bytes)];
        assert!(matches!(
            poll_with(Waker::noop(), |cx| one.poll_write_vectored(cx, &more)),
            Poll::Pending
        ));
        let begun = engine.true_now();
        assert_eq!(read_up_to(&mut *two, WINDOW).await.expect("all"), bytes);
        assert!(
            engine.true_now() - begun > Duration::from_secs(4),
            "{:?}",
            engine.true_now() - begun
        );
    });
}

/// One run is one order of things; another seed, another order.
#[test]
fn a_seed_is_an_order() {
    let of = |seed| {
        let engine = Engine::new(2, seed, Box::new(Seeded::new(seed)));
        engine.run(async {
            let (mut one, mut two) = engine.streams(0, 1).await;
            let order = Arc::new(std::sync::Mutex::new(Vec::new()));
            let runtime = engine.runtime(0);
            let tasks: Vec<_> = (0..50)
                .map(|number| {
                    let order = order.clone();
                    spawn(&*runtime, async move { order.lock().expect("whole").push(number) })
                })
                .collect();
            for task in tasks {
                task.await;
            }
            write(&mut *one, &[1; 10_000]).await.expect("written");
            read_up_to(&mut *two, 10_000).await.expect("read");
            let order = order.lock().expect("whole").clone();
            (order, engine.hash().to_string())
        })
    };
    assert_eq!(of(5), of(5));
    assert_ne!(of(5).0, of(6).0);
    assert_ne!(of(5).1, of(6).1);
}
