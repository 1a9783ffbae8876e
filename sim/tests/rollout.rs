//! A running cluster is given a secret, and changes it, while it is called without a break
//! (`docs/protocol.md` §2.7, §2.10): nobody is suspected, and no call fails.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chinwag::{
    Builder, Config, Context, Event, Handler, Message, Methods, Node, OnRuntime, Secret,
    SecurityMode, Service, Status, View, Watch,
};
use chinwag_sim::{World, check, secs};

const NODES: u32 = 5;

#[derive(rkyv::Archive, rkyv::Serialize)]
struct Add(u64);

impl Message for Add {
    type Reply = u64;
    const NAME: &'static str = "add";
}

#[derive(Clone)]
struct Adder;

impl Service for Adder {
    const NAME: &'static str = "adder";
    fn methods(methods: &mut Methods<Self>) {
        methods.add::<Add>();
    }
}

impl Handler<Add> for Adder {
    async fn handle(&self, _: &Context, add: View<Add>) -> Result<u64, Status> {
        Ok(add.0.to_native() + 1)
    }
}

fn secret(seed: u8) -> Secret {
    Secret::from_bytes([seed; 32])
}

/// What each machine's node is started with.
#[derive(Clone, Copy, PartialEq)]
enum Start {
    Plain,
    Secret(SecurityMode),
}

/// What the operator and the callers share.
struct Plan {
    starts: Mutex<Vec<Start>>,
    /// The machine whose node is being started again: its own calls may end with it.
    restarting: Mutex<Option<u32>>,
    calls: AtomicU64,
    failed: Mutex<Vec<String>>,
}

impl Plan {
    fn configure(&self, builder: Builder<OnRuntime>, machine: u32) -> Builder<OnRuntime> {
        match self.starts.lock().expect("not poisoned")[machine as usize] {
            Start::Plain => builder,
            Start::Secret(mode) => builder.secret(secret(0)).security(mode),
        }
    }

    /// The node calls whoever is there, from its start to its end.
    async fn call_on(&self, world: World, node: Node, machine: u32) {
        let client = node.balanced::<Adder>();
        loop {
            world.run_for(Duration::from_millis(40)).await;
            if node.members().members().is_empty() {
                continue;
            }
            let called = client.call(&Add(1)).await;
            self.calls.fetch_add(1, Ordering::SeqCst);
            let is_restarting = *self.restarting.lock().expect("not poisoned") == Some(machine);
            if let (Err(status), false) = (called, is_restarting) {
                let at = world.now();
                let line = format!("{at:?}: a call of node {machine} fails: {status}");
                self.failed.lock().expect("not poisoned").push(line);
            }
        }
    }
}

async fn begin(world: &World, start: Start) -> (Arc<Plan>, Vec<Node>) {
    let plan = Arc::new(Plan {
        starts: Mutex::new(vec![start; NODES as usize]),
        restarting: Mutex::new(None),
        calls: AtomicU64::new(0),
        failed: Mutex::default(),
    });
    let (configured, booted, inside) = (plan.clone(), plan.clone(), world.clone());
    let configure =
        move |builder: Builder<OnRuntime>, machine| configured.configure(builder, machine);
    let boot = move |node: &Node| {
        let (plan, world, own) = (booted.clone(), inside.clone(), node.clone());
        let machine = u32::try_from(node.id().get() - 1).expect("small");
        node.spawn(async move { plan.call_on(world, own, machine).await });
        node.add_service(Adder)
    };
    let nodes = world.cluster_with(NODES as usize, Config::lan(), configure, boot).await;
    (plan, nodes)
}

/// The node leaves and is started again, as its operator does with one machine after the other.
async fn restart(world: &World, plan: &Plan, machine: u32, start: Start) {
    *plan.restarting.lock().expect("not poisoned") = Some(machine);
    plan.starts.lock().expect("not poisoned")[machine as usize] = start;
    let before = world.node(machine).expect("it runs").epoch();
    let down = Duration::from_millis(u64::from(100 + world.choose(900)));
    world.now_goes_wrong().lasting(down).leave(machine);
    while world.node(machine).is_none_or(|node| node.epoch() == before) {
        world.run_for(Duration::from_millis(10)).await;
    }
    *plan.restarting.lock().expect("not poisoned") = None;
    world.run_for(Duration::from_millis(u64::from(200 + world.choose(3_000)))).await;
}

fn nodes(world: &World) -> Vec<Node> {
    (0..NODES).map(|machine| world.node(machine).expect("it runs")).collect()
}

fn assert_no_trouble(watches: &mut [Watch], plan: &Plan) {
    for watch in watches {
        while let Some(event) = watch.try_next() {
            let is_trouble = matches!(event, Event::Died(_) | Event::Suspected(_));
            assert!(!is_trouble, "{event:?}");
        }
    }
    let failed = plan.failed.lock().expect("not poisoned");
    assert!(failed.is_empty(), "{failed:?}");
    assert!(plan.calls.load(Ordering::SeqCst) > 500, "they were called");
}

#[test]
fn s2_10_5_a_running_cluster_is_given_a_secret_and_changes_it() {
    check(0..8, |world| async move {
        let (plan, _) = begin(&world, Start::Plain).await;
        let mut watches: Vec<Watch> = nodes(&world).iter().map(Node::watch).collect();
        let first = world.choose(NODES);
        for step in 0..NODES {
            let machine = (first + step) % NODES;
            let start = Start::Secret(SecurityMode::Transitional);
            restart(&world, &plan, machine, start).await;
            watches.push(world.node(machine).expect("it runs").watch());
            if step + 1 < NODES {
                let node = world.node(machine).expect("it runs");
                let security = node.security().expect("it has a secret");
                assert!(security.require().is_err(), "others have none");
            }
        }
        world.run_for(secs(5)).await;
        for node in nodes(&world) {
            assert!(node.security().expect("it has a secret").in_clear().is_empty());
            node.security().expect("it has a secret").require().expect("all encrypt");
            world.run_for(Duration::from_millis(u64::from(world.choose(2_000)))).await;
        }
        let in_clear = |node: &Node| (node.stats().seal.plain_out, node.stats().connections_plain);
        let before: Vec<_> = nodes(&world).iter().map(in_clear).collect();
        for round in 1..=10 {
            let running = nodes(&world);
            let old = running[0].security().expect("it has a secret").key_in_use();
            for node in &running {
                let security = node.security().expect("it has a secret");
                security.install(&secret(round)).expect("room");
            }
            for node in &running {
                let security = node.security().expect("it has a secret");
                let new = *security.keys().last().expect("two");
                security.use_key(new).expect("installed");
                world.run_for(Duration::from_millis(u64::from(world.choose(500)))).await;
            }
            world.run_for(secs(2)).await;
            for node in &running {
                node.security().expect("it has a secret").remove(old).expect("nobody uses it");
                world.run_for(Duration::from_millis(u64::from(world.choose(500)))).await;
            }
        }
        let after: Vec<_> = nodes(&world).iter().map(in_clear).collect();
        assert_eq!(before, after, "nothing is sent in clear any more");
        let refused: u64 = nodes(&world).iter().map(|node| node.stats().seal.plain).sum();
        assert_eq!(refused, 0, "and nobody tried");
        assert_no_trouble(&mut watches, &plan);
    });
}

/// A member with a secret may also be started at once as one that requires encryption, once the
/// others are transitional; and one may go back.
#[test]
fn s2_10_4_nodes_of_every_kind_meet_while_some_are_transitional() {
    check(0..8, |world| async move {
        let (plan, _) = begin(&world, Start::Secret(SecurityMode::Transitional)).await;
        let mut watches: Vec<Watch> = nodes(&world).iter().map(Node::watch).collect();
        for start in [
            Start::Secret(SecurityMode::Required),
            Start::Secret(SecurityMode::Transitional),
            Start::Plain,
            Start::Secret(SecurityMode::Transitional),
        ] {
            let machine = world.choose(NODES);
            restart(&world, &plan, machine, start).await;
            watches.push(world.node(machine).expect("it runs").watch());
            world.run_for(secs(20)).await;
            for node in nodes(&world) {
                assert_eq!(node.members().members().len(), NODES as usize - 1, "{node:?}");
            }
        }
        assert_no_trouble(&mut watches, &plan);
    });
}
