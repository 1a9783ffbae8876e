//! Target `schedule`: the bytes *are* what the simulator leaves to chance. A small cluster of
//! [`Membership`](chinwag_core::membership::Membership) machines, every fault family, and every
//! oracle; past the end of the bytes all is calm, and the cluster must heal.

use std::collections::BTreeMap;

use chinwag_core::membership::Config;
use chinwag_sim::choices::Bytes;
use chinwag_sim::run::{Faults, Level, Outcome, Scenario, run_with};
use chinwag_sim::trace::record::{Belief, What};

use crate::coverage::{Doubt, Reached, UNKNOWN_KIND};
use crate::input::Input;

const SECOND: u64 = 1_000_000_000;
/// What the head of an input says, before the choices: nodes, seconds, preset, seed.
pub const HEAD_LEN: usize = 5;

/// One input: how many nodes for how long, and the choices. Answers which beliefs met which
/// messages.
///
/// # Panics
/// If an oracle bites.
pub fn run(data: &[u8]) -> Reached {
    let (scenario, choices) = scenario(data);
    let outcome = run_with(&scenario, Box::new(choices));
    // A fuzzer that loses every datagram of a run has shown nothing, and that is no failure of the
    // cluster.
    if let Some(failure) =
        outcome.failure.as_ref().filter(|failure| failure.violation.oracle != "vacuity")
    {
        panic!("{failure}\n  {} nodes, seed {}, {:?}", scenario.nodes, scenario.seed, outcome.plan);
    }
    reached(&outcome)
}

/// What an input says.
pub fn scenario(data: &[u8]) -> (Scenario, Bytes) {
    let mut input = Input::new(data);
    let (nodes, span, preset, seed) =
        (2 + input.below(4), 5 + input.below(28), input.u8(), input.u16());
    let config = match preset % 4 {
        0 | 1 => Config::lan(),
        2 => Config::local(),
        _ => Config { tombstones_max: 16, ..Config::local() },
    };
    let scenario = Scenario {
        level: Level::Protocol,
        nodes,
        seed: seed.into(),
        span: SECOND * span as u64,
        config,
        faults: Faults::Swarm(None),
        traces: true,
        ..Scenario::default()
    };
    (scenario, Bytes::new(input.rest()))
}

/// What each payload said, and what its receiver believed of its sender as it came.
fn reached(outcome: &Outcome) -> Reached {
    let mut reached = Reached::default();
    let mut beliefs: BTreeMap<(u32, u32), Doubt> = BTreeMap::new();
    let mut says: BTreeMap<u64, &str> = BTreeMap::new();
    for record in &outcome.trace {
        let Some(node) = record.node else { continue };
        match &record.what {
            What::Start { .. } => beliefs.retain(|&(observer, _), _| observer != node),
            What::Send { id, says: said, .. } => drop(says.insert(*id, said)),
            What::View { peer, state, .. } => {
                let belief = match state {
                    Belief::Alive => Doubt::Alive,
                    Belief::Suspect => Doubt::Suspect,
                    Belief::Dead => Doubt::Dead,
                    Belief::Left => Doubt::Left,
                };
                let before = beliefs.insert((node, *peer), belief).unwrap_or_default();
                reached.turn(before, belief);
            }
            What::Arrive { peer, id } => {
                let belief = beliefs.get(&(node, *peer)).copied().unwrap_or_default();
                let said = says.get(id).copied().unwrap_or_default();
                said.split(", ").for_each(|name| reached.meet(belief, kind_of(name)));
            }
            _ => {}
        }
    }
    reached
}

/// The kind of a message as traces name it (`docs/protocol.md` §2.4).
fn kind_of(name: &str) -> u8 {
    match name {
        "ping" => 1,
        "ping-req" => 2,
        "ack" => 3,
        "nack" => 4,
        "broadcast" => 6,
        "payload" => 7,
        "sync" => 8,
        "chunk" => 9,
        "busy" => 10,
        "leave" => 11,
        "conflict" => 12,
        name if name.ends_with("claim") || name.ends_with("claims") => 5,
        _ => UNKNOWN_KIND,
    }
}
