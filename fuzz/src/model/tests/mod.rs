//! One table a rule of the protocol. The model is an oracle, so its own tests are stories and
//! figures worked out by hand.

mod identity;
mod lattice;
mod order;
mod own;
mod seed;
mod suspicion;
mod tombstones;
mod walk;
mod words;

use std::net::SocketAddr;

use super::{Claim, Config, Details, Model, Nanos, Origin, Outcome, Own, SECOND, State};

const ME: u64 = 1;
const MY_EPOCH: u64 = 1_000;
/// The member that most claims are about.
const HER: u64 = 2;
const HER_EPOCH: u64 = 50;
/// Whoever passes a claim on.
const OTHER: (u64, u64) = (9, 90);

const STATES: [State; 4] = [State::Alive, State::Suspect, State::Dead, State::Left];

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], port))
}

fn model() -> Model {
    model_with(Config::lan())
}

fn model_with(config: Config) -> Model {
    Model::new(config, Own::new(ME, MY_EPOCH, address(1)))
}

fn details(incarnation: u32) -> Details {
    let metadata = super::metadata::bytes(&[("said in", &incarnation.to_string())]);
    Details { incarnation, address: address(2), versions: (1, 1), metadata }
}

/// A claim about her with the details of its own incarnation.
fn full(epoch: u64, incarnation: u32, state: State) -> Claim {
    Claim { details: Some(details(incarnation)), ..bare(epoch, incarnation, state) }
}

/// A claim about her without details.
fn bare(epoch: u64, incarnation: u32, state: State) -> Claim {
    let accusers = if state == State::Suspect { vec![OTHER.0] } else { Vec::new() };
    Claim { id: HER, epoch, incarnation, state, accusers, age: None, details: None }
}

/// Lets her be known as alive in `incarnation`.
fn introduce(model: &mut Model, incarnation: u32) {
    assert_eq!(
        model.hear(0, &full(HER_EPOCH, incarnation, State::Alive), Origin::Gossip),
        Outcome::Changed
    );
}

/// Lets `count` others be known, with ids from 100.
fn crowd(model: &mut Model, count: u64) {
    for id in 100..100 + count {
        let claim = Claim { id, ..full(HER_EPOCH, 0, State::Alive) };
        assert_eq!(model.hear(0, &claim, Origin::Gossip), Outcome::Changed);
    }
}

/// Epoch, incarnation and state of her record.
fn her(model: &Model) -> Option<(u64, u32, State)> {
    model.records().get(&HER).map(|record| (record.epoch, record.incarnation, record.state))
}

fn seconds(seconds: f64) -> Nanos {
    Nanos::from(std::time::Duration::from_secs_f64(seconds).as_nanos().cast_signed())
}

/// Whether the deadline of the suspicion of her is `expected` seconds, to the tolerance.
fn assert_deadline(model: &Model, expected: f64) {
    let deadline = model.records()[&HER].suspicion.as_ref().expect("she is suspect").deadline;
    let tolerance = Config::lan().tolerance;
    assert_eq!(
        (deadline.earliest, deadline.latest),
        (seconds(expected) - tolerance, seconds(expected) + tolerance)
    );
}
