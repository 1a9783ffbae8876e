//! What an idle connection costs in memory, both ends together. In a process of its own, because it
//! counts all of its heap.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use chinwag_tokio::protocol::clock::SharedHlc;
use chinwag_tokio::protocol::rpc::{
    Body, Config, Connection, Event, Fingerprint, Hello, Receiver, Request, Shape, Side, Transmit,
};
use chinwag_tokio::protocol::time::{Instant, Now, WallTime};
use chinwag_tokio::{Epoch, Headers, Node, NodeId};
use peak_alloc::PeakAlloc;
use tokio::runtime::Builder;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

const CONNECTIONS: usize = 1_000;
/// What issue 3 sets out to keep below, both ends together.
const LEN_MAX: usize = 20 * 1_024;

/// The other end: machine and socket, without a task.
struct Peer {
    stream: TcpStream,
    machine: Connection,
    receiver: Receiver,
    out: Transmit,
}

fn now() -> Now {
    Now { mono: Instant::ZERO, wall: WallTime::from_nanos(1_790_000_000_000_000_000) }
}

impl Peer {
    fn connect(to: SocketAddr, config: &Arc<Config>, id: u64) -> Self {
        let stream = TcpStream::connect(to).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket");
        let addr = stream.local_addr().expect("connected");
        let hello =
            Hello { cluster: "idle".into(), id: NodeId::new(id), epoch: Epoch::new(1), addr };
        let clock = Arc::new(SharedHlc::new(Duration::from_millis(500)));
        let (machine, receiver) =
            Connection::new(Side::Dialer, config.clone(), hello, clock, now());
        Self { stream, machine, receiver, out: Transmit::new() }
    }

    /// Until an event comes that `is_it`.
    fn run(&mut self, is_it: impl Fn(&Event) -> bool) {
        loop {
            while self.machine.poll_transmit(now(), &mut self.out) > 0 {
                self.out
                    .slices()
                    .for_each(|bytes| self.stream.write_all(bytes).expect("it is open"));
                self.out.clear();
            }
            while let Some(event) = self.machine.poll_event() {
                assert!(!matches!(event, Event::Closed(_)), "{event:?}");
                if is_it(&event) {
                    return;
                }
            }
            let len = self.stream.read(self.receiver.buffer()).expect("it answers in time");
            assert!(len > 0, "it is open");
            self.machine.handle_received(now(), &mut self.receiver, len);
        }
    }

    /// A call that is answered: there is no such service.
    fn call(&mut self) {
        let request = Request {
            service: "none",
            method: "such",
            fingerprint: Fingerprint::new(1),
            headers: Headers::new(),
            deadline: None,
            body: Body::Borrowed(&[7; 100]),
            attachments: &[],
            shape: Shape::UNARY,
            chunk_len_max: 0,
            depth: 0,
            caller: 0,
        };
        self.machine.request(now(), request).expect("taken");
        self.run(|event| matches!(event, Event::Response { .. }));
    }
}

#[test]
fn a_thousand_idle_connections_cost_little() {
    let runtime =
        Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads");
    let node = {
        let _entered = runtime.enter();
        // They are strangers of one host, of whom an eighth is let in.
        let builder = Node::builder(1, (Ipv4Addr::LOCALHOST, 0).into()).cluster("idle");
        runtime.block_on(builder.connections_max(8 * CONNECTIONS).start())
    };
    let node = node.expect("free ports");
    let config = Arc::new(Config::default());
    let mut peers = Vec::with_capacity(CONNECTIONS);
    let before = HEAP.current_usage();
    for id in (2..).take(CONNECTIONS) {
        let mut peer = Peer::connect(node.advertised_addr(), &config, id);
        peer.run(|event| matches!(event, Event::Connected(_)));
        peer.call();
        peers.push(peer);
    }
    let each = HEAP.current_usage().saturating_sub(before) / CONNECTIONS;
    assert_eq!(node.stats().connections, CONNECTIONS, "all of them are open");
    assert!((1_000..LEN_MAX).contains(&each), "{each} bytes a connection");
}
