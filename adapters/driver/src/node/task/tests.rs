//! The node task on a runtime whose time and datagrams are in the test's hand.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chinwag_core::clock::SharedHlc;
use chinwag_core::id::Epoch;
use chinwag_core::membership::{
    Config, Local, Member, Membership, Metadata, Plane, State, StreamPeer,
};

use crate::base::limits::LOOKUPS_MAX;
use crate::base::runtime::Runtime;
use crate::base::runtime::fake::FakeRuntime;
use crate::base::sync::lock;
use crate::node::handle::Node;

/// A node, and the machine of the one other member, which the test drives.
struct Pair {
    runtime: Arc<FakeRuntime>,
    node: Node,
    other: Membership,
}

const OTHER: &str = "10.0.0.1:2";

impl Pair {
    /// Both see each other.
    fn new() -> Self {
        let runtime = Arc::<FakeRuntime>::default();
        let listen: SocketAddr = "10.0.0.1:1".parse().expect("an address");
        let config = Config { cluster: "test".into(), ..Config::lan() };
        let start = Node::builder(1, listen).config(config.clone());
        let node = runtime.block_on(start.start_on(runtime.clone())).expect("it starts");
        let local = Local {
            id: 2.into(),
            epoch: Epoch::at(runtime.now().wall),
            addr: OTHER.parse().expect("an address"),
            metadata: Metadata::new(),
        };
        let clock = Arc::new(SharedHlc::new(Duration::from_millis(500)));
        let other = Membership::new(config, local, clock, 1, runtime.now()).expect("it is valid");
        let mut pair = Self { runtime, node, other };
        pair.other.join(pair.runtime.now());
        pair.other.handle_seeds(pair.runtime.now(), &[listen]);
        for _ in 0..2_000 {
            if pair.state().is_some() {
                return pair;
            }
            pair.step(Duration::from_millis(10));
        }
        panic!("the two do not see each other");
    }

    /// What the node thinks of the other member.
    fn state(&self) -> Option<State> {
        self.node.members().get(2.into()).map(|member| member.state)
    }

    /// Time passes, both do what they want, and what they send arrives.
    fn step(&mut self, time: Duration) {
        self.runtime.advance(time);
        self.runtime.run();
        self.hear_node();
        self.other.handle_timeout(self.runtime.now());
        self.answer();
        self.runtime.run();
    }

    /// The other member takes what the node has sent. Returns whether that was anything.
    fn hear_node(&mut self) -> bool {
        let sent = std::mem::take(&mut *lock(&self.runtime.udp.from_node));
        for (datagram, _) in &sent {
            self.other.handle_datagram(self.runtime.now(), self.node.local_addr(), datagram);
        }
        !sent.is_empty()
    }

    /// Puts the datagrams that the other member sends into the node's socket, and hands its frames
    /// to the node as a connection would.
    fn answer(&mut self) {
        let Member { id, epoch, addr, .. } = self.other.local();
        let mut bytes = Vec::new();
        while let Some(transmit) = self.other.poll_transmit(self.runtime.now(), &mut bytes) {
            let sent = bytes.clone();
            match transmit.plane {
                Plane::Datagram => lock(&self.runtime.udp.to_node).push_back((sent, addr)),
                Plane::Stream => {
                    let peer = StreamPeer { id, epoch, addr };
                    assert!(self.node.shared().node.inbox.post_gossip(peer, sent.into()));
                }
            }
        }
    }

    /// Runs until the node has just sent something that the other has not answered.
    fn run_to_a_ping(&mut self) {
        for _ in 0..2_000 {
            self.runtime.advance(Duration::from_millis(10));
            self.runtime.run();
            if !lock(&self.runtime.udp.from_node).is_empty() {
                return;
            }
        }
        panic!("the node sends nothing");
    }
}

const STEP: Duration = Duration::from_millis(10);

/// How many steps after a ping a member that does not answer is suspected.
fn steps_to_a_suspicion() -> usize {
    let mut pair = Pair::new();
    pair.run_to_a_ping();
    for steps in 1..2_000 {
        pair.runtime.advance(STEP);
        pair.runtime.run();
        if pair.state() == Some(State::Suspect) {
            return steps;
        }
    }
    panic!("a member that does not answer is not suspected");
}

/// An answer that arrives just before the time for it is over may be read together with the end of
/// that time, as after a pause of the process. It is read first, so that the pause is not taken for
/// the other member's silence (`docs/protocol.md` §4.4).
#[test]
fn datagrams_that_wait_are_read_before_time_is_told() {
    let steps = steps_to_a_suspicion();
    let mut pair = Pair::new();
    pair.run_to_a_ping();
    for _ in 1..steps {
        pair.runtime.advance(STEP);
        pair.runtime.run();
    }
    assert!(pair.hear_node(), "the ping, which is answered now");
    pair.answer();
    pair.runtime.advance(STEP);
    pair.runtime.run();
    assert_eq!(pair.state(), Some(State::Alive));
}

/// The system picks a TCP port without asking whether the UDP port is free. Only that is tried
/// again, and only where the port is the system's choice.
#[test]
fn a_port_whose_udp_is_taken_is_tried_again() {
    use std::io::ErrorKind::{AddrInUse, PermissionDenied};
    for (listen, refusal, starts) in [
        ("10.0.0.1:0", AddrInUse, true),
        ("10.0.0.1:0", PermissionDenied, false),
        ("10.0.0.1:7", AddrInUse, false),
    ] {
        let runtime = Arc::<FakeRuntime>::default();
        lock(&runtime.refusals).push(refusal);
        let listen: SocketAddr = listen.parse().expect("an address");
        let start = Node::builder(1, listen).cluster("test").start_on(runtime.clone());
        assert_eq!(runtime.block_on(start).is_ok(), starts, "{listen}, {refusal}");
    }
}

/// A node on a fake runtime that was started with these seeds.
fn node_with(runtime: &Arc<FakeRuntime>, seeds: &[&str]) -> Node {
    let listen: SocketAddr = "10.0.0.1:1".parse().expect("an address");
    let start = Node::builder(1, listen).cluster("test").seeds(seeds.iter().copied());
    let node = runtime.block_on(start.start_on(runtime.clone())).expect("it starts");
    runtime.run();
    node
}

fn pass(runtime: &FakeRuntime, seconds: u64) {
    for _ in 0..seconds * 10 {
        runtime.advance(Duration::from_millis(100));
        runtime.run();
    }
}

/// Where connections were dialled to, and were then closed.
fn dialed(runtime: &FakeRuntime) -> Vec<String> {
    lock(&runtime.dialed).drain(..).map(|stream| stream.peer.to_string()).collect()
}

/// `docs/protocol.md` §4.8.3: look-ups run side by side, each for so long and no longer, and each
/// answer is used when it comes.
#[test]
fn a_name_whose_server_is_silent_holds_up_nobody() {
    let runtime = Arc::<FakeRuntime>::default();
    let db = "10.0.0.2:2".parse().expect("an address");
    lock(&runtime.names).insert("db:2".into(), vec![db]);
    let node = node_with(&runtime, &["silent:1", "db:2", "10.0.0.3:3"]);
    let mut at_once = dialed(&runtime);
    at_once.sort();
    assert_eq!(at_once, ["10.0.0.2:2", "10.0.0.3:3"]);
    pass(&runtime, 9);
    let asked = |name: &str| lock(&runtime.asked).iter().filter(|asked| *asked == name).count();
    assert_eq!(asked("silent:1"), 1, "one look-up of a name at a time");
    assert!(asked("db:2") > 3, "the others are looked up in each round");
    assert_eq!(node.stats().lookups_failed, 0);
    pass(&runtime, 15);
    assert_eq!(node.stats().lookups_failed, 1);
    assert_eq!(asked("silent:1"), 2, "asked again");
    lock(&runtime.names).insert("silent:1".into(), vec!["10.0.0.4:4".parse().expect("one")]);
    pass(&runtime, 30);
    assert!(dialed(&runtime).iter().any(|addr| addr == "10.0.0.4:4"), "once it is answered");
    assert!(node.stats().seed_dials_failed > 0, "of what was dialled, nobody answered");
}

/// `docs/protocol.md` §4.8.3: so many look-ups at a time, and all in the end.
#[test]
fn many_names_are_looked_up_a_few_at_a_time() {
    let runtime = Arc::<FakeRuntime>::default();
    let names: Vec<String> = (0..LOOKUPS_MAX * 2).map(|at| format!("db-{at}:1")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let node = node_with(&runtime, &names);
    assert_eq!(lock(&runtime.asked).len(), LOOKUPS_MAX, "none of them is answered");
    pass(&runtime, 11);
    let asked: std::collections::BTreeSet<_> = lock(&runtime.asked).iter().cloned().collect();
    assert_eq!(asked.len(), LOOKUPS_MAX * 2);
    assert_eq!(node.stats().lookups_failed, LOOKUPS_MAX as u64);
}

#[test]
fn seeds_come_and_go_while_the_node_runs() {
    let runtime = Arc::<FakeRuntime>::default();
    let node = node_with(&runtime, &[]);
    pass(&runtime, 5);
    assert_eq!(dialed(&runtime).len(), 0, "nobody told it to join");
    let error = node.add_seed("10.0.0.2").expect_err("it has no port");
    assert_eq!(error.to_string(), "the seed \"10.0.0.2\" is not `host:port`: it has no port");
    node.add_seed("10.0.0.2:2").expect("a seed");
    node.add_seed_provider("instances", || async {
        Ok(vec!["10.0.0.3:3".parse().expect("an address")])
    });
    assert_eq!(node.seeds(), ["10.0.0.2:2", "instances"]);
    runtime.run();
    let mut at_once = dialed(&runtime);
    at_once.sort();
    assert_eq!(at_once, ["10.0.0.2:2", "10.0.0.3:3"]);
    pass(&runtime, 20);
    assert!(dialed(&runtime).contains(&"10.0.0.2:2".into()), "it is tried again");
    assert!(node.remove_seed("10.0.0.2:2"));
    assert!(!node.remove_seed("10.0.0.2:2"), "it is not there any more");
    // A dial that waits after a failure is still made.
    pass(&runtime, 10);
    dialed(&runtime);
    pass(&runtime, 60);
    let later = dialed(&runtime);
    assert!(!later.is_empty() && later.iter().all(|addr| addr == "10.0.0.3:3"), "{later:?}");
}

/// A provider that fails, at once or in its future, is counted and asked again.
#[test]
fn a_provider_that_fails_is_asked_again() {
    let runtime = Arc::<FakeRuntime>::default();
    let node = node_with(&runtime, &[]);
    let asked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = asked.clone();
    node.add_seed_provider("instances", move || {
        counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        async { Err(std::io::Error::other("the registry is away")) }
    });
    pass(&runtime, 20);
    let asked = asked.load(std::sync::atomic::Ordering::SeqCst);
    assert!(asked > 3, "{asked}");
    assert_eq!(node.stats().lookups_failed, asked as u64);
}

/// A look-up that ends without an answer, as by a panic of a provider, leaves a failure, so that
/// its name is looked up again.
#[test]
fn a_look_up_that_panics_is_one_that_failed() {
    let runtime = Arc::<FakeRuntime>::default();
    let node = node_with(&runtime, &[]);
    node.add_seed_provider("broken", || async { panic!("the provider is broken") });
    let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| runtime.run()));
    assert!(polled.is_err(), "the provider has been asked");
    // The panic took the fake runtime's tasks with it, as it would take that one task elsewhere.
    let left = node.shared().node.inbox.take().lookups;
    assert!(left.iter().any(|(_, answer)| answer.is_err()), "{left:?}");
}
