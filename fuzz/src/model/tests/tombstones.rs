//! §4.1, §4.2, §4.9.4: what is kept of the dead, for how long, and what is remembered of the
//! forgotten.

use super::*;
use crate::model::{Choice, Why};

const LIFETIME: Nanos = 100 * SECOND;

fn short() -> Config {
    Config { tombstone_lifetime: LIFETIME, tombstones_max: 3, ..Config::lan() }
}

fn buried(id: u64, age: u64) -> Claim {
    Claim { id, age: Some(age), ..full(HER_EPOCH, 0, State::Dead) }
}

#[test]
fn a_strangers_tombstone_is_taken_with_an_age_within_the_lifetime() {
    let table = [
        (Some(0), Outcome::Changed),
        (Some(99), Outcome::Changed),
        (Some(100), Outcome::Refused(Why::TooOld)),
        (None, Outcome::Refused(Why::NoAge)),
    ];
    for state in [State::Dead, State::Left] {
        for (age, outcome) in table {
            let mut model = model_with(short());
            let claim = Claim { age, ..full(HER_EPOCH, 0, state) };
            assert_eq!(model.hear(0, &claim, Origin::Gossip), outcome, "{age:?}");
            assert_eq!(her(&model).is_some(), outcome == Outcome::Changed, "{age:?}");
            assert_eq!(model.live(), 1);
        }
    }
}

#[test]
fn an_age_travels() {
    let mut model = model_with(short());
    model.hear(0, &buried(HER, 60), Origin::Gossip);
    model.pass(38 * SECOND, 0);
    assert!(model.open().is_empty());
    model.pass(39 * SECOND + SECOND / 2, 0);
    assert_eq!(model.open().get(&HER), Some(&Choice::Forgotten), "60 seconds may be nearly 61");
    assert!(her(&model).is_some());
    model.pass(40 * SECOND, 0);
    assert_eq!(her(&model), None);
    assert_eq!(model.watermark(), Some(HER_EPOCH));
}

#[test]
fn a_repetition_does_not_change_the_age() {
    let mut model = model_with(short());
    model.hear(0, &buried(HER, 60), Origin::Gossip);
    assert_eq!(model.hear(30 * SECOND, &buried(HER, 0), Origin::Gossip), Outcome::Nothing);
    model.pass(40 * SECOND, 0);
    assert_eq!(her(&model), None);
}

#[test]
fn old_news_does_not_revive_and_a_refutation_does() {
    for state in [State::Dead, State::Left] {
        let mut model = model_with(short());
        model.hear(0, &Claim { age: Some(1), ..full(HER_EPOCH, 3, state) }, Origin::Gossip);
        for incarnation in 0..=3 {
            let alive = full(HER_EPOCH, incarnation, State::Alive);
            assert_eq!(model.hear(0, &alive, Origin::Gossip), Outcome::Nothing);
            assert_eq!(her(&model), Some((HER_EPOCH, 3, state)));
        }
        assert_eq!(
            model.hear(0, &full(HER_EPOCH, 4, State::Alive), Origin::Gossip),
            Outcome::Changed
        );
        assert_eq!(her(&model), Some((HER_EPOCH, 4, State::Alive)));
        model.pass(2 * LIFETIME, 0);
        assert_eq!(her(&model), Some((HER_EPOCH, 4, State::Alive)));
    }
}

#[test]
fn a_tombstone_takes_a_higher_incarnation_undoubted() {
    let mut model = model_with(short());
    model.hear(0, &Claim { age: Some(1), ..full(HER_EPOCH, 3, State::Left) }, Origin::Gossip);
    assert_eq!(model.hear(0, &bare(HER_EPOCH, 4, State::Dead), Origin::Gossip), Outcome::Changed);
    assert_eq!(her(&model), Some((HER_EPOCH, 4, State::Dead)));
}

#[test]
fn a_claim_without_an_age_dates_a_tombstone_only_if_it_changes_the_state() {
    for (state, forgotten_at) in [(State::Left, 40), (State::Dead, 120)] {
        let mut model = model_with(short());
        model.hear(0, &Claim { age: Some(60), ..full(HER_EPOCH, 3, State::Left) }, Origin::Gossip);
        model.hear(20 * SECOND, &bare(HER_EPOCH, 4, state), Origin::Gossip);
        model.pass((forgotten_at - 2) * SECOND, 0);
        assert!(her(&model).is_some() && model.open().is_empty(), "{state:?}");
        model.pass(forgotten_at * SECOND, 0);
        assert_eq!(her(&model), None, "{state:?}");
    }
}

#[test]
fn the_latest_forgotten_epoch_is_remembered() {
    let mut model = model_with(short());
    for (id, epoch) in [(20, 7), (21, 9), (22, 8)] {
        model.hear(0, &Claim { epoch, ..buried(id, 99 - (id - 20)) }, Origin::Gossip);
    }
    model.pass(LIFETIME, 0);
    assert!(model.records().is_empty());
    assert_eq!(model.watermark(), Some(9));
}

#[test]
fn an_age_of_a_second_more_or_less_leaves_the_oldest_open() {
    let mut model = model_with(short());
    for (id, age) in [(20, 30), (21, 29), (22, 10), (23, 20)] {
        model.hear(0, &buried(id, age), Origin::Gossip);
    }
    // 29 seconds may be 30 exactly, and so may 30.
    assert_eq!(model.open().keys().copied().collect::<Vec<_>>(), [20, 21]);
    assert_eq!(model.records().len(), 4);
}

#[test]
fn the_oldest_are_forgotten_past_the_limit() {
    let mut model = model_with(short());
    for (id, age) in [(20, 30), (21, 50), (22, 10), (23, 20)] {
        model.hear(0, &buried(id, age), Origin::Gossip);
    }
    assert_eq!(model.records().keys().copied().collect::<Vec<_>>(), [20, 22, 23]);
    assert!(model.open().is_empty());
    // As old as the oldest: either may go.
    model.hear(0, &buried(24, 30), Origin::Gossip);
    assert_eq!(model.open().keys().copied().collect::<Vec<_>>(), [20, 24]);
    model.settle(0, 24, true);
    model.settle(0, 20, false);
    assert_eq!(model.records().keys().copied().collect::<Vec<_>>(), [20, 22, 23]);
    // Who is older than all is not kept at all.
    model.hear(0, &buried(25, 90), Origin::Gossip);
    assert_eq!(model.records().keys().copied().collect::<Vec<_>>(), [20, 22, 23]);
}

#[test]
fn a_death_of_ones_own_finding_has_the_whole_lifetime() {
    let mut model = model_with(short());
    introduce(&mut model, 0);
    model.accuse(0, HER, HER_EPOCH, 0);
    model.pass(10 * SECOND, 0);
    assert_eq!(her(&model), Some((HER_EPOCH, 0, State::Dead)));
    // Its time ran out at 4 s, and was noticed at 10 s: which of them counts is open.
    model.pass(LIFETIME + 3 * SECOND, 0);
    assert!(her(&model).is_some() && model.open().is_empty());
    model.pass(LIFETIME + 4 * SECOND, 0);
    assert_eq!(model.open().get(&HER), Some(&Choice::Forgotten));
    model.pass(10 * SECOND + LIFETIME, 0);
    assert_eq!(her(&model), None);
}

#[test]
fn after_a_forgotten_tombstone_strangers_need_a_sign_of_life() {
    let mut forgot = model_with(short());
    forgot.hear(0, &buried(77, 99), Origin::Gossip);
    forgot.pass(2 * SECOND, 0);
    assert_eq!(forgot.watermark(), Some(HER_EPOCH));

    let first_hand = full(HER_EPOCH, 0, State::Alive);
    let suspect = Outcome::Refused(Why::Forgotten);
    let table = [
        ("told, no later", full(HER_EPOCH, 0, State::Alive), Origin::Gossip, Outcome::Waits),
        ("told, suspect", full(HER_EPOCH, 0, State::Suspect), Origin::Gossip, suspect),
        ("in a transfer", full(HER_EPOCH - 1, 0, State::Alive), Origin::Transfer, Outcome::Waits),
        ("later", full(HER_EPOCH + 1, 0, State::Alive), Origin::Gossip, Outcome::Changed),
        ("asking for the table", first_hand.clone(), Origin::FirstHand, Outcome::Changed),
        ("a tombstone", buried(HER, 1), Origin::Gossip, Outcome::Changed),
    ];
    for (name, claim, origin, outcome) in table {
        let mut model = forgot.clone();
        assert_eq!(model.hear(0, &claim, origin), outcome, "{name}");
        assert_eq!(her(&model).is_some(), outcome == Outcome::Changed, "{name}");
    }

    // The first of what was heard of a run is taken when the member has answered, and nothing if it
    // has not.
    for (answered, expected) in [(true, Some((HER_EPOCH, 1, State::Alive))), (false, None)] {
        let mut model = forgot.clone();
        for incarnation in [1, 2, 0] {
            model.hear(0, &full(HER_EPOCH, incarnation, State::Alive), Origin::Gossip);
        }
        assert_eq!(model.kept().map(|(run, _)| run).collect::<Vec<_>>(), [(HER, HER_EPOCH)]);
        let verdict = model.verdict((HER, HER_EPOCH), Some(answered), None);
        model.decide(0, (HER, HER_EPOCH), verdict);
        assert_eq!(her(&model), expected);
        assert_eq!(model.kept().count(), 0);
    }
}
