//! Clusters with a secret (`docs/protocol.md` §2.6 to §2.9, §5.13) under faults: damaged and
//! repeated datagrams, wrong clocks, and keys that change while nodes crash and links break.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chinwag::{
    Config, Context, Event, Handler, Message, Methods, Node, Secret, Service, Status, View, Watch,
};
use chinwag_sim::explore::search;
use chinwag_sim::fault::Quality;
use chinwag_sim::repeat::Twice;
use chinwag_sim::run::{Faults, Level, Scenario};
use chinwag_sim::{World, check, secs, step_back};

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

async fn cluster(world: &World, count: usize) -> Vec<Node> {
    let boot = |node: &Node| node.add_service(Adder);
    world.cluster_with(count, Config::lan(), |builder, _| builder.secret(secret(0)), boot).await
}

/// Every node calls every other one.
async fn all_call_all(nodes: &[Node]) {
    for from in nodes {
        for to in nodes.iter().filter(|to| to.id() != from.id()) {
            let answered = from.client::<Adder>(to.id()).call(&Add(1)).await;
            assert_eq!(answered.map(|sum| sum.to_native()), Ok(2), "{from:?} calls {to:?}");
        }
    }
}

fn total(nodes: &[Node], count: impl Fn(&chinwag::Stats) -> u64) -> u64 {
    nodes.iter().map(|node| count(&node.stats())).sum()
}

fn assert_no_trouble(watches: &mut [Watch]) {
    for watch in watches {
        while let Some(event) = watch.try_next() {
            assert!(!matches!(event, Event::Died(_) | Event::Left(_)), "{event:?}");
        }
    }
}

#[test]
fn s2_6_damaged_datagrams_are_dropped_and_say_nothing() {
    check(0..6, |world| async move {
        let nodes = cluster(&world, 4).await;
        let mut watches: Vec<_> = nodes.iter().map(Node::watch).collect();
        let damage = Quality { corrupt: 200_000, ..Quality::default() };
        world.now_goes_wrong().lasting(secs(30)).links(damage);
        world.run_for(secs(31)).await;
        assert!(total(&nodes, |stats| stats.seal.forged) > 20, "they were damaged");
        assert_eq!(total(&nodes, |stats| stats.membership.malformed), 0);
        assert_no_trouble(&mut watches);
        all_call_all(&nodes).await;
    });
}

#[test]
fn s2_9_each_datagram_is_read_once() {
    check(0..6, |world| async move {
        let nodes = cluster(&world, 4).await;
        let twice = Quality { duplicate: 1_000_000, ..Quality::default() };
        let before = total(&nodes, |stats| stats.membership.datagrams_in);
        world.now_goes_wrong().lasting(secs(20)).links(twice);
        world.run_for(secs(21)).await;
        let replayed = total(&nodes, |stats| stats.seal.replayed);
        let read = total(&nodes, |stats| stats.membership.datagrams_in) - before;
        assert!(replayed > 50, "{replayed} came again");
        assert!(read <= total(&nodes, |stats| stats.seal.opened));
        assert_eq!(total(&nodes, |stats| stats.seal.unproven), 0);
    });
}

/// Its stamps are older than a minute for everybody else, so each of its sessions has to be proven
/// by an ack; and it is a member like any other.
#[test]
fn s2_9_a_node_whose_clock_is_ten_minutes_behind_is_a_member() {
    check(0..4, |world| async move {
        world.at(Duration::ZERO).clock(2, step_back(secs(600)));
        let nodes = cluster(&world, 4).await;
        let mut watches: Vec<_> = nodes.iter().map(Node::watch).collect();
        world.run_for(secs(60)).await;
        assert!(total(&nodes, |stats| stats.seal.unproven) > 0);
        assert_no_trouble(&mut watches);
        all_call_all(&nodes).await;
    });
}

/// Which secrets there are, as an operator would keep them in a file, and which one is used.
struct Keys {
    secrets: Vec<u8>,
    in_use: u8,
}

fn take_over(node: &Node, keys: &Keys) {
    let security = node.security().expect("encrypted");
    let mut ids = Vec::new();
    for seed in &keys.secrets {
        ids.push((*seed, security.install(&secret(*seed)).expect("room")));
    }
    for (seed, id) in &ids {
        if *seed == keys.in_use {
            security.use_key(*id).expect("installed");
        }
    }
    for id in security.keys() {
        if ids.iter().all(|(_, known)| *known != id) {
            security.remove_anyway(id).expect("not in use");
        }
    }
}

/// Links break, machines crash and pause, clocks step, bytes are damaged, and every few seconds the
/// cluster goes one step on its way from one key to the next. Afterwards all is well again, with
/// nobody's help.
#[test]
fn s2_7_keys_change_while_anything_goes_wrong() {
    check(0..24, |world| async move {
        let keys = Arc::new(Mutex::new(Keys { secrets: vec![0], in_use: 0 }));
        let current = keys.clone();
        let configure = move |builder: chinwag::Builder<_>, _| {
            builder.secret(secret(current.lock().expect("not poisoned").secrets[0]))
        };
        let known = keys.clone();
        let boot = move |node: &Node| {
            take_over(node, &known.lock().expect("not poisoned"));
            node.add_service(Adder)
        };
        world.cluster_with(5, Config::lan(), configure, boot).await;
        world.swarm(secs(40));
        for step in 0..12_u8 {
            world.run_for(secs(3)).await;
            {
                let mut keys = keys.lock().expect("not poisoned");
                match step % 3 {
                    0 => keys.secrets.push(step / 3 + 1),
                    1 => keys.in_use = step / 3 + 1,
                    _ => drop(keys.secrets.remove(0)),
                }
            }
            // One node after the other, a moment apart.
            for index in 0..5 {
                if let Some(node) = world.node(index) {
                    take_over(&node, &keys.lock().expect("not poisoned"));
                }
                world.run_for(Duration::from_millis(u64::from(world.choose(50)))).await;
            }
        }
        world.calm().converges_within(secs(120)).await;
        // A connection that was dialled into a fault gives up after `hello_timeout`.
        world.run_for(secs(6)).await;
        let nodes: Vec<Node> = (0..5).filter_map(|index| world.node(index)).collect();
        all_call_all(&nodes).await;
        for node in &nodes {
            let security = node.security().expect("encrypted");
            assert_eq!(security.keys(), [security.key_in_use()]);
        }
    });
}

/// The swarm of `explore --level node --encrypted`, with all oracles: a run follows from its seed
/// with encryption too.
#[test]
fn whatever_goes_wrong_for_encrypted_clusters_breaks_no_rule() {
    for faults in [Faults::Swarm(None), Faults::Odd(None)] {
        let scenario = Scenario {
            level: Level::Node,
            is_encrypted: true,
            faults,
            span: 30_000_000_000,
            ..Scenario::default()
        };
        let found = search(&scenario, 0..3, 2, Twice::All, 1, &|_| {});
        if let Some((seed, outcome)) = found.failures.first() {
            panic!("seed {seed}: {}", outcome.failure.as_ref().expect("it failed"));
        }
        let token = chinwag_sim::args::token(&scenario, "lan").expect("it has one");
        assert_eq!(
            chinwag_sim::args::parse_token(&token).map(|(same, _)| same.is_encrypted),
            Ok(true)
        );
    }
}
