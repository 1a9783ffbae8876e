//! Planes, names, addresses and clocks as a tidy network does not have them.

use super::*;
use crate::fault::{Addresses, Answers, Quality};

fn link(quality: Quality) -> Fault {
    Fault::Link { from: vec![0], to: vec![1], quality }
}

async fn dial(engine: &Engine) -> Result<Box<dyn Stream>, ErrorKind> {
    let mut to = engine.addr(1);
    to.set_port(80);
    engine.runtime(0).connect(to).await.map_err(|error| error.kind())
}

async fn hear(socket: &mut dyn UdpSocket) -> (Vec<u8>, std::net::SocketAddr) {
    let mut buf = [0; 100];
    let (len, from) = receive(socket, &mut buf).await;
    (buf[..len].to_vec(), from)
}

async fn listens(engine: &Engine) -> Box<dyn chinwag::runtime::Listener> {
    let mut at = engine.addr(1);
    at.set_port(80);
    engine.runtime(1).listen(at).await.expect("a free port")
}

#[test]
fn a_dial_is_refused_on_the_way_and_an_open_connection_goes_on() {
    let engine = engine(2);
    engine.run(async {
        let _listener = listens(&engine).await;
        let (mut one, mut two) = engine.streams(0, 1).await;
        let refuses = link(Quality { opens_refused: true, ..Quality::default() });
        engine.begin_fault(0, &refuses);
        assert_eq!(dial(&engine).await.err(), Some(ErrorKind::ConnectionRefused));
        write(&mut *one, b"open").await.expect("it goes on");
        assert_eq!(read_up_to(&mut *two, 4).await.expect("whole"), b"open");
        engine.end_fault(0, &refuses);
        assert!(dial(&engine).await.is_ok());
    });
}

#[test]
fn a_dial_whose_opening_is_lost_waits_and_one_over_a_closed_plane_too() {
    for is_opening_alone in [true, false] {
        let engine = engine(2);
        engine.run(async {
            let _listener = listens(&engine).await;
            let (mut one, mut two) = engine.streams(0, 1).await;
            let (mut udp, _) = engine.udp(0).await;
            let (mut hears, at) = engine.udp(1).await;
            let stops = link(Quality {
                opens_lost: is_opening_alone,
                no_streams: !is_opening_alone,
                ..Quality::default()
            });
            engine.begin_fault(0, &stops);
            assert_eq!(dial(&engine).await.err(), Some(ErrorKind::TimedOut));
            write(&mut *one, b"open").await.expect("there is room");
            send(&mut *udp, b"datagram", at).await.expect("sent");
            assert_eq!(hear(&mut *hears).await.0, b"datagram");
            engine.sleep(1, LONG).await;
            let mut buf = [0; 10];
            let arrived = poll_with(Waker::noop(), |cx| two.poll_read(cx, &mut buf)).is_ready();
            assert_eq!(arrived, is_opening_alone);
            engine.end_fault(0, &stops);
            assert!(dial(&engine).await.is_ok());
        });
    }
}

#[test]
fn a_proxy_accepts_for_who_is_down_and_resets_what_is_spoken_to() {
    let engine = engine(2);
    engine.run(async {
        engine.kill(1, false);
        engine.begin_fault(0, &link(Quality { proxy: true, ..Quality::default() }));
        let mut stream = dial(&engine).await.expect("accepted, and nobody is there");
        write(&mut *stream, b"anybody?").await.expect("there is room");
        let mut buf = [0; 10];
        let error = poll_fn(|cx| stream.poll_read(cx, &mut buf)).await.expect_err("reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn names_are_answered_oddly_and_to_one_host_alone() {
    let engine = engine(3);
    engine.run(async {
        (0..3).for_each(|host| engine.set_name(&format!("node{host}"), host));
        let look_up = async |host: u32, name: u32| {
            let found = engine.runtime(host).lookup(&format!("node{name}:7")).await;
            found.map(|addrs| addrs.iter().map(|addr| engine.owner(*addr)).collect::<Vec<_>>())
        };
        let odd = |answers| Fault::Names { node: 0, answers };
        for (answers, expected) in [
            (Answers::Partial, [Some(vec![Some(0)]), None, Some(vec![Some(2)])]),
            (Answers::Foreign, std::array::from_fn(|_| Some(vec![Some(0), None]))),
            (Answers::Slow(LONG), [0, 1, 2].map(|name| Some(vec![Some(name)]))),
        ] {
            engine.begin_fault(0, &odd(answers));
            let begun = engine.true_now();
            for (name, expected) in (0..).zip(expected) {
                assert_eq!(look_up(0, name).await.ok(), expected, "{answers:?} {name}");
            }
            let is_slow = engine.true_now() - begun >= LONG;
            assert_eq!(is_slow, matches!(answers, Answers::Slow(_)));
            assert_eq!(look_up(1, 1).await.ok(), Some(vec![Some(1)]), "another host's are right");
            engine.end_fault(0, &odd(answers));
        }
        engine.begin_fault(0, &odd(Answers::Changing));
        assert_ne!(look_up(0, 1).await.ok(), look_up(0, 1).await.ok());
        engine.end_fault(0, &odd(Answers::Changing));
        engine.begin_fault(0, &odd(Answers::Never));
        let runtime = engine.runtime(0);
        let mut never = runtime.lookup("node1:7");
        let mut is_answered = || poll_with(Waker::noop(), |cx| never.as_mut().poll(cx)).is_ready();
        assert!(!is_answered());
        engine.end_fault(0, &odd(Answers::Never));
        engine.sleep(1, LONG).await;
        assert!(!is_answered(), "not even once the fault is over");
    });
}

#[test]
fn a_host_is_heard_from_where_the_fault_says_and_reached_there() {
    for (odd, reaches_home) in [
        (Addresses::Nat(Duration::from_secs(10)), true),
        (Addresses::Other, true),
        (Addresses::Moves, false),
    ] {
        let engine = engine(2);
        engine.run(async {
            let (mut one, home) = engine.udp(0).await;
            let (mut two, at) = engine.udp(1).await;
            let fault = Fault::Addresses { node: 0, odd };
            engine.begin_fault(0, &fault);
            send(&mut *one, b"from elsewhere", at).await.expect("sent");
            let (_, source) = hear(&mut *two).await;
            assert_ne!(source, home, "{odd:?}");
            send(&mut *two, b"answer", source).await.expect("sent");
            assert_eq!(hear(&mut *one).await.0, b"answer", "{odd:?}");
            send(&mut *two, b"home", home).await.expect("sent");
            engine.sleep(0, Duration::from_secs(1)).await;
            let mut buf = [0; 10];
            let arrived = poll_with(Waker::noop(), |cx| one.poll_recv_from(cx, &mut buf));
            assert_eq!(arrived.is_ready(), reaches_home, "{odd:?}");
        });
    }
}

#[test]
fn sources_are_mapped_and_mapped_addresses_are_reached() {
    let engine = engine(2);
    engine.run(async {
        let (mut one, home) = engine.udp(0).await;
        let (mut two, at) = engine.udp(1).await;
        engine.begin_fault(0, &Fault::Addresses { node: 1, odd: Addresses::Mapped });
        send(&mut *one, b"plain", at).await.expect("sent");
        let (_, source) = hear(&mut *two).await;
        assert!(source.is_ipv6() && source.ip().to_canonical() == home.ip());
        send(&mut *two, b"back", source).await.expect("sent");
        assert_eq!(hear(&mut *one).await.0, b"back");
    });
}

#[test]
fn a_suspended_host_sleeps_on_by_its_own_clock() {
    let engine = engine(2);
    engine.run(async {
        let suspend = Fault::Suspend { node: 0, wall_stops: false };
        let runtime = engine.runtime(0);
        let asleep = spawn(&*runtime, {
            let runtime = runtime.clone();
            async move { sleep_until(&*runtime, runtime.now().mono + Duration::from_secs(3)).await }
        });
        engine.sleep(1, Duration::from_secs(1)).await;
        let before = runtime.now();
        engine.begin_fault(0, &suspend);
        engine.sleep(1, Duration::from_secs(10)).await;
        assert_eq!(runtime.now().mono, before.mono);
        assert_eq!(runtime.now().wall, before.wall + Duration::from_secs(10));
        engine.end_fault(0, &suspend);
        asleep.await;
        assert_eq!(engine.true_now().as_secs(), 13, "two seconds were left of it");
    });
}
