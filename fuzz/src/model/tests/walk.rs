//! Inputs at random: what holds of the table after each.

use super::seed::Seed;
use super::*;
use crate::model::{EPOCH_MAX, Record};

const IDS: u64 = 6;

/// A few numbers, the greatest among them.
fn edge(seed: &mut Seed, max: u64) -> u64 {
    match seed.below(8) {
        0 => max,
        1 => max - 1,
        below => below,
    }
}

fn claim(seed: &mut Seed, about: u64) -> Claim {
    let claim = seed.of_one_run();
    let incarnation = match seed.below(20) {
        0 => u32::MAX,
        1 => u32::MAX - 1,
        _ => claim.incarnation,
    };
    let is_alive = claim.state == State::Alive;
    let details = claim.details.map(|known| Details {
        incarnation: if is_alive { incarnation } else { known.incarnation },
        address: address(
            u16::try_from(about).expect("few ids") + seed.small(12).try_into().unwrap_or(0) / 11,
        ),
        ..known
    });
    let base = if about == ME { MY_EPOCH } else { HER_EPOCH };
    let epoch = if seed.below(40) == 0 { edge(seed, EPOCH_MAX) } else { base + seed.below(3) };
    let age = (seed.below(2) == 0).then(|| seed.below(40));
    Claim { id: about, epoch, incarnation, age, details, ..claim }
}

fn step(seed: &mut Seed, model: &mut Model, now: &mut Nanos) {
    let about = 1 + seed.below(IDS);
    let known = model.records().get(&about).cloned();
    match seed.below(20) {
        0..=10 => {
            let claim = claim(seed, about);
            let origin = match seed.below(4) {
                0 => Origin::Gossip,
                1 => Origin::FirstHand,
                2 => Origin::MemberTransfer,
                _ => Origin::Transfer,
            };
            model.hear(*now, &claim, origin);
        }
        11..=13 => {
            let run = model.kept().next().map(|(run, _)| run).unwrap_or_default();
            let said = |seed: &mut Seed| match seed.below(3) {
                0 => None,
                answer => Some(answer == 1),
            };
            let (claimed, held) = (said(seed), said(seed));
            let verdict = model.verdict(run, claimed, held);
            model.decide(*now, run, verdict);
        }
        14 | 15 => {
            let (epoch, incarnation) =
                known.map_or((0, 0), |record| (record.epoch, record.incarnation));
            model.accuse(*now, about, epoch, incarnation);
        }
        16 => {
            model.set_metadata(details(seed.small(3)).metadata);
        }
        17 if seed.below(50) == 0 => model.leave(),
        _ => {
            *now += Nanos::from(seed.below(5_000)) * 1_000_000;
            model.pass(*now, if seed.below(10) == 0 { SECOND } else { 0 });
        }
    }
    let open: Vec<u64> = model.open().keys().copied().collect();
    for id in open {
        model.settle(*now, id, seed.below(2) == 0);
    }
}

fn check(record: &Record) {
    assert_eq!(record.state == State::Suspect, record.suspicion.is_some(), "{record:?}");
    assert_eq!(!record.state.is_live(), record.died.is_some(), "{record:?}");
    assert!(record.details.incarnation <= record.incarnation, "{record:?}");
    assert!(
        record.suspicion.as_ref().is_none_or(|it| it.deadline.earliest <= it.deadline.latest),
        "{record:?}"
    );
    assert!(record.died.is_none_or(|died| died.earliest <= died.latest), "{record:?}");
}

#[test]
fn whatever_comes_the_table_is_in_order() {
    let (mut died, mut revived, mut forgotten, mut moved) = (0, 0, 0, 0);
    for number in 0..300 {
        let mut seed = Seed(number);
        let config = Config {
            told_deaths_doubted: seed.below(4) != 0,
            tombstone_lifetime: 30 * SECOND,
            tombstones_max: 3,
            ..Config::lan()
        };
        let (mut model, mut now) = (model_with(config), 0);
        for _ in 0..300 {
            let before = model.clone();
            step(&mut seed, &mut model, &mut now);

            let me =
                |model: &Model| (model.own().epoch, model.own().incarnation, model.own().state);
            assert!(me(&model) >= me(&before), "seed {number}");
            moved += u32::from(me(&model).0 > me(&before).0);
            assert!(!model.records().contains_key(&ME), "seed {number}");
            model.records().values().for_each(check);
            for (id, old) in before.records() {
                let Some(new) = model.records().get(id) else {
                    forgotten += 1;
                    assert!(model.watermark() >= Some(old.epoch), "seed {number}: {old:?}");
                    continue;
                };
                let rank = |record: &Record| (record.epoch, record.incarnation, record.state);
                // §4.9.2: what is decided for may be an earlier run, or another address.
                let is_decided = model.kept().count() < before.kept().count();
                let is_moved = new.epoch == old.epoch && new.details.address != old.details.address;
                assert!(is_decided || rank(new) >= rank(old), "seed {number}: {old:?} {new:?}");
                assert!(is_decided || !is_moved, "seed {number}: {old:?} {new:?}");
                died += u32::from(old.state.is_live() && new.state == State::Dead);
                revived += u32::from(!old.state.is_live() && new.state.is_live());
            }
        }
    }
    // Not a walk on the spot.
    assert!(
        died > 100 && revived > 100 && forgotten > 100 && moved > 100,
        "{died} {revived} {forgotten} {moved}"
    );
}
