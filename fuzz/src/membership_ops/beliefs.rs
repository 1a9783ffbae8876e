//! What machine and model believe, put side by side.

use std::collections::BTreeMap;

use chinwag_core::id::NodeId;
use chinwag_core::membership::fuzzing::Machine;
use chinwag_core::membership::{Config, Member, Membership, State};

use crate::coverage::Doubt;
use crate::model::{self, Choice, Model, Nanos};
use crate::packet;

/// Ids that are looked at beside those that the model knows: the cast, and a few who are nobody.
const IDS: u64 = 20;

/// What is held to the model: a whole node, or its claims alone.
pub(crate) trait Believes {
    /// What it believes of `id`.
    fn member(&self, id: u64) -> Option<Member>;
    /// What it says of itself.
    fn own(&self) -> Member;
    /// Other live members, and tombstones.
    fn counts(&self) -> (usize, usize);
}

impl Believes for Membership {
    fn member(&self, id: u64) -> Option<Member> {
        self.get(NodeId::new(id))
    }

    fn own(&self) -> Member {
        self.local()
    }

    fn counts(&self) -> (usize, usize) {
        (self.live_count(), self.sizes().tombstones)
    }
}

impl Believes for Machine {
    fn member(&self, id: u64) -> Option<Member> {
        self.get(NodeId::new(id))
    }

    fn own(&self) -> Member {
        self.local()
    }

    fn counts(&self) -> (usize, usize) {
        (self.live_count(), self.tombstone_count())
    }
}

/// The machine's configuration as the model has it.
pub(crate) fn config(config: &Config) -> model::Config {
    let nanos = |time: std::time::Duration| i128::try_from(time.as_nanos()).unwrap_or(i128::MAX);
    model::Config {
        suspicion_mult: config.suspicion_mult,
        suspicion_max_mult: config.suspicion_max_mult,
        probe_interval: nanos(config.probe_interval),
        probe_timeout_max: nanos(config.probe_timeout_max),
        confirmations: config.confirmations,
        told_deaths_doubted: config.told_deaths_doubted,
        pause_guard: config.pause_guard,
        tombstone_lifetime: nanos(config.tombstone_lifetime),
        tombstones_max: config.tombstones_max,
        ..model::Config::lan()
    }
}

/// A claim as the model has it.
pub(crate) fn claim(claim: &packet::Claim) -> model::Claim {
    let details = claim.details.as_ref().map(|details| model::Details {
        incarnation: details.incarnation,
        address: details.addr,
        versions: (details.versions >> 4, details.versions & 15),
        metadata: details.metadata.clone(),
    });
    model::Claim {
        id: claim.about.id,
        epoch: claim.about.epoch,
        incarnation: claim.incarnation,
        state: [model::State::Alive, model::State::Suspect, model::State::Dead, model::State::Left]
            [usize::from(claim.state)],
        accusers: claim.accusers.clone(),
        age: claim.age.map(u64::from),
        details,
    }
}

/// What the machine believes of one member.
pub(crate) fn doubt(machine: &Membership, id: u64) -> Doubt {
    match machine.get(NodeId::new(id)).map(|member| member.state) {
        None => Doubt::Unknown,
        Some(State::Alive) => Doubt::Alive,
        Some(State::Suspect) => Doubt::Suspect,
        Some(State::Dead) => Doubt::Dead,
        Some(State::Left) => Doubt::Left,
    }
}

/// And of the whole cast.
pub(crate) fn doubts(machine: &Membership) -> BTreeMap<u64, Doubt> {
    (0..IDS).map(|id| (id, doubt(machine, id))).collect()
}

/// Decides what the text leaves open, as the machine has.
pub(crate) fn settle(machine: &impl Believes, model: &mut Model, now: Nanos) {
    let mut seen = Vec::new();
    loop {
        let next = model
            .open()
            .iter()
            .map(|(&id, &choice)| (id, choice))
            .find(|open| !seen.contains(open));
        let Some((id, choice)) = next else { return };
        seen.push((id, choice));
        let member = machine.member(id);
        let has_happened = match choice {
            Choice::Forgotten => member.is_none(),
            // Another run may have taken its place since.
            Choice::Dies => member.is_none_or(|member| {
                let known = model.records().get(&id).map(|record| record.epoch);
                member.state == State::Dead || Some(member.epoch.get()) != known
            }),
        };
        model.settle(now, id, has_happened);
    }
}

/// Both believe the same of everybody.
pub(crate) fn agree(machine: &impl Believes, model: &Model) {
    let own = machine.own();
    let expected = model.own();
    let is_same = own.epoch.get() == expected.epoch
        && own.incarnation.get() == expected.incarnation
        && own.state == state(expected.state)
        && own.addr == expected.address
        && same_metadata(&own, &expected.metadata);
    assert!(is_same, "§4.2: of itself the machine says\n  {own:?}\nand the text\n  {expected:?}");
    for id in (0..IDS).chain(model.records().keys().copied().filter(|&id| id >= IDS)) {
        let (member, record) = (machine.member(id), model.records().get(&id));
        let is_same = id == own.id.get()
            || match (&member, record) {
                (None, None) => true,
                (Some(member), Some(record)) => {
                    member.epoch.get() == record.epoch
                        && member.incarnation.get() == record.incarnation
                        && member.state == state(record.state)
                        && member.addr == record.details.address
                        && same_metadata(member, &record.details.metadata)
                }
                _ => false,
            };
        assert!(is_same, "§4: of {id} the machine holds\n  {member:?}\nand the text\n  {record:?}");
    }
    let live = model.records().values().filter(|record| record.state.is_live()).count();
    let gone = model.records().len() - live;
    assert_eq!(machine.counts(), (live, gone), "§4.1: counts are exact");
}

fn state(state: model::State) -> State {
    match state {
        model::State::Alive => State::Alive,
        model::State::Suspect => State::Suspect,
        model::State::Dead => State::Dead,
        model::State::Left => State::Left,
    }
}

fn same_metadata(member: &Member, expected: &[u8]) -> bool {
    let pairs: Vec<(String, String)> =
        member.metadata.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    model::metadata::pairs(expected) == Some(pairs)
}
