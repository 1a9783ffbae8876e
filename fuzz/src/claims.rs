//! Claims, accusations and time, to `membership::claims::Claims` itself and to [`model::Model`]:
//! the merge rules with nothing around them, so that a difference is a difference in a rule.
//!
//! `membership_ops` holds a whole node to the same model. Here no payload, ping, timer or exchange
//! stands between a claim and what it changes.

use std::time::Duration;

use chinwag_core::id::{Epoch, NodeId};
use chinwag_core::membership::Config;
use chinwag_core::membership::fuzzing::{Machine, Origin};
use chinwag_core::time::Instant;

use crate::forge::{self, CLUSTER, WALL_START, home};
use crate::input::Input;
use crate::membership_ops::beliefs;
use crate::model::{self, Model, Outcome, Own};
use crate::{packet, tell};

/// Steps of one input at most.
const STEPS_MAX: usize = 250;
/// The node under test.
const OWN: u64 = 1;

/// What a story has reached, so that a test can see that it was about something.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reached {
    /// Claims that changed a record.
    pub applied: u64,
    /// Claims that wait for an answer.
    pub waiting: u64,
    /// Claims that were decided for.
    pub decided: u64,
    /// Claims about the node itself that it refuted.
    pub refuted: u64,
}

/// One input: a configuration and steps.
///
/// # Panics
/// If machine and model disagree.
pub fn run(data: &[u8]) -> Reached {
    let mut input = Input::new(data);
    let flags = input.u8();
    let config = Config {
        cluster: CLUSTER.into(),
        suspicion_max_mult: 1 + u32::from(flags >> 4 & 3) * 2,
        confirmations: usize::from(flags >> 2 & 3),
        told_deaths_doubted: flags & 1 == 0,
        tombstone_lifetime: Duration::from_secs(120),
        tombstones_max: 16,
        ..Config::lan()
    };
    let epoch = Epoch::at(WALL_START);
    let mut model = Model::new(beliefs::config(&config), Own::new(OWN, epoch.get(), home(OWN)));
    let mut machine = Machine::new(config, NodeId::new(OWN), epoch, home(OWN), u64::from(flags));
    let (mut now, mut reached) = (Instant::from_nanos(1_000_000_000), Reached::default());
    for _ in 0..STEPS_MAX {
        if input.is_empty() {
            break;
        }
        match input.u8() % 16 {
            0..=10 => hear(&mut input, &mut machine, &mut model, now, &mut reached),
            11 | 12 => {
                let id = forge::id(&mut input);
                if let Some(member) = machine.get(NodeId::new(id)).filter(|_| id != OWN) {
                    machine.accuse(now, member.id);
                    let (epoch, incarnation) = (member.epoch.get(), member.incarnation.get());
                    model.accuse(nanos(now), id, epoch, incarnation);
                }
            }
            _ => {
                now = now + Duration::from_millis(u64::from(input.u16()));
                machine.pass(now);
                model.pass(nanos(now), 0);
            }
        }
        beliefs::settle(&machine, &mut model, nanos(now));
        beliefs::agree(&machine, &model);
    }
    reached
}

fn nanos(now: Instant) -> model::Nanos {
    now.as_nanos().into()
}

fn hear(
    input: &mut Input<'_>,
    machine: &mut Machine,
    model: &mut Model,
    now: Instant,
    reached: &mut Reached,
) {
    let claim = forge::claim(input);
    let (origin, as_model) = match input.u8() % 8 {
        0..=4 => (Origin::Gossip, model::Origin::Gossip),
        5 => (Origin::Transfer, model::Origin::Transfer),
        6 => (Origin::MemberTransfer, model::Origin::MemberTransfer),
        _ => (Origin::FirstHand, model::Origin::FirstHand),
    };
    // What was asked about is decided for now and then: that a run lives.
    let (origin, as_model) = match input.u8() % 4 {
        0 if claim.state == 0 => (Origin::Decided, model::Origin::Decided),
        _ => (origin, as_model),
    };
    let is_own = claim.about.id == OWN;
    let heard = machine.hear(now, &packet::claim_bytes(&claim), origin);
    let outcome = model.hear(nanos(now), &beliefs::claim(&claim), as_model);
    tell(|| format!("{origin:?} {claim:?}\n  {heard:?}\n  {outcome:?}"));
    let Some(heard) = heard else {
        assert_eq!(outcome, Outcome::Malformed, "§2.5: {claim:?} cannot be read");
        return;
    };
    assert_ne!(outcome, Outcome::Malformed, "§2.5: {claim:?} can be read");
    let is_refuted = matches!(outcome, Outcome::Refuted | Outcome::MovedOn);
    assert_eq!(heard.is_refuted, is_refuted, "§4.2: {claim:?}, {outcome:?}");
    assert_eq!(heard.waits, outcome == Outcome::Waits, "§4.9: {claim:?}, {outcome:?}");
    if !is_own && outcome == Outcome::Changed {
        assert!(heard.is_applied, "§4.2: {claim:?} changes something");
    }
    reached.applied += u64::from(heard.is_applied);
    reached.decided += u64::from(origin == Origin::Decided && heard.is_applied);
    reached.waiting += u64::from(heard.waits);
    reached.refuted += u64::from(heard.is_refuted);
}
