//! §4.5, §4.5.1, §4.4.1: how long an accused member has. The lan preset: min = 4 s and max = 24 s
//! below ten members.

use super::*;
use crate::model::Choice;

fn accused_by(incarnation: u32, accusers: &[u64]) -> Claim {
    Claim { accusers: accusers.to_vec(), ..bare(HER_EPOCH, incarnation, State::Suspect) }
}

fn dead(incarnation: u32) -> Claim {
    bare(HER_EPOCH, incarnation, State::Dead)
}

/// She and eight others: with the node itself ten live members.
fn ten() -> Model {
    let mut model = model();
    crowd(&mut model, 8);
    introduce(&mut model, 3);
    assert_eq!(model.live(), 10);
    model
}

#[test]
fn the_length_follows_the_formula() {
    // (others beside her, accusers, seconds). log(2)/log(4) is a half.
    let table: [(u64, u64, f64); 9] = [
        (8, 1, 24.0),
        (8, 2, 14.0),
        (8, 4, 4.0),
        (8, 5, 4.0),
        (98, 1, 48.0),
        (98, 2, 28.0),
        (0, 1, 4.0),  // K = 0 gives min
        (1, 1, 24.0), // K = 1
        (1, 2, 4.0),
    ];
    for (others, accusers, expected) in table {
        let mut model = model();
        crowd(&mut model, others);
        introduce(&mut model, 3);
        let accusers: Vec<u64> = (100..100 + accusers).collect();
        assert_eq!(model.hear(0, &accused_by(3, &accusers), Origin::Gossip), Outcome::Changed);
        assert_deadline(&model, expected);
    }
}

#[test]
fn confirmations_shorten_and_count_from_the_beginning() {
    let mut model = ten();
    model.hear(0, &accused_by(3, &[100]), Origin::Gossip);
    assert_deadline(&model, 24.0);
    assert_eq!(model.accuse(seconds(3.0), HER, HER_EPOCH, 3), Outcome::Changed);
    assert_deadline(&model, 14.0);
    // D6: saying it again confirms nothing.
    assert_eq!(model.accuse(seconds(4.0), HER, HER_EPOCH, 3), Outcome::Nothing);
    assert_eq!(
        model.hear(seconds(4.0), &accused_by(3, &[100, ME]), Origin::Gossip),
        Outcome::Nothing
    );
    assert_deadline(&model, 14.0);
}

#[test]
fn it_ends_in_death_or_with_a_later_life() {
    let mut model = ten();
    model.hear(0, &accused_by(3, &[100]), Origin::Gossip);
    model.pass(seconds(23.99), 0);
    assert_eq!(her(&model), Some((HER_EPOCH, 3, State::Suspect)));
    assert!(model.open().is_empty());

    let mut refuted = model.clone();
    assert_eq!(
        refuted.hear(seconds(23.99), &full(HER_EPOCH, 4, State::Alive), Origin::Gossip),
        Outcome::Changed
    );
    refuted.pass(seconds(60.0), 0);
    assert_eq!(her(&refuted), Some((HER_EPOCH, 4, State::Alive)));

    // D5: a suspicion of the later life has a timer of its own.
    let mut again = model.clone();
    again.hear(seconds(23.0), &accused_by(4, &[101]), Origin::Gossip);
    assert_deadline(&again, 47.0);

    // The very moment is the implementation's choice.
    model.pass(seconds(24.0), 0);
    assert_eq!(model.open().get(&HER), Some(&Choice::Dies));
    let mut not_yet = model.clone();
    not_yet.settle(seconds(24.0), HER, false);
    assert_eq!(her(&not_yet), Some((HER_EPOCH, 3, State::Suspect)));
    model.settle(seconds(24.0), HER, true);
    assert_eq!(her(&model), Some((HER_EPOCH, 3, State::Dead)));
    not_yet.pass(seconds(24.001), 0);
    assert_eq!(her(&not_yet), Some((HER_EPOCH, 3, State::Dead)));
    assert_eq!(not_yet.live(), 9);
}

#[test]
fn a_verdict_is_about_the_life_that_was_probed() {
    let table = [
        (HER_EPOCH, 3, Outcome::Changed),
        (HER_EPOCH, 2, Outcome::Nothing),
        (HER_EPOCH - 1, 3, Outcome::Nothing),
    ];
    for (epoch, incarnation, outcome) in table {
        assert_eq!(ten().accuse(0, HER, epoch, incarnation), outcome);
    }
    assert_eq!(ten().accuse(0, 77, HER_EPOCH, 0), Outcome::Nothing);
    let mut left = ten();
    left.hear(0, &bare(HER_EPOCH, 3, State::Left), Origin::Gossip);
    assert_eq!(left.accuse(0, HER, HER_EPOCH, 3), Outcome::Nothing);
}

/// n is the live members when it begins, herself among them.
#[test]
fn the_number_of_members_is_taken_once() {
    let mut shrinks = model();
    crowd(&mut shrinks, 98);
    introduce(&mut shrinks, 3);
    shrinks.hear(0, &accused_by(3, &[100]), Origin::Gossip);
    assert_deadline(&shrinks, 48.0);
    for id in 108..198 {
        shrinks.hear(0, &Claim { id, ..bare(HER_EPOCH, 0, State::Left) }, Origin::Gossip);
    }
    assert_eq!(shrinks.live(), 10);
    assert_deadline(&shrinks, 48.0);

    let mut grows = ten();
    grows.hear(0, &accused_by(3, &[100]), Origin::Gossip);
    for id in 200..290 {
        grows.hear(0, &Claim { id, ..full(HER_EPOCH, 0, State::Alive) }, Origin::Gossip);
    }
    assert_eq!(grows.live(), 100);
    assert_deadline(&grows, 24.0);
    grows.hear(0, &accused_by(3, &[101]), Origin::Gossip);
    assert_deadline(&grows, 14.0);

    // Met as a suspect she counts already.
    let mut stranger = model();
    crowd(&mut stranger, 98);
    assert_eq!(
        stranger.hear(0, &full(HER_EPOCH, 3, State::Suspect), Origin::Gossip),
        Outcome::Changed
    );
    assert_deadline(&stranger, 48.0);
}

#[test]
fn a_told_death_of_the_alive_is_doubted() {
    let later_run =
        Claim { state: State::Dead, accusers: vec![], ..full(HER_EPOCH + 1, 0, State::Alive) };
    for (claim, life) in
        [(dead(3), (HER_EPOCH, 3)), (dead(6), (HER_EPOCH, 6)), (later_run, (HER_EPOCH + 1, 0))]
    {
        let mut model = ten();
        assert_eq!(model.hear(0, &claim, Origin::Gossip), Outcome::Changed);
        assert_eq!(her(&model), Some((life.0, life.1, State::Suspect)));
        assert!(model.records()[&HER].suspicion.as_ref().is_some_and(|it| it.accusers.is_empty()));
        assert_deadline(&model, 4.0);
        // D11: a repetition does not end it.
        assert_eq!(model.hear(seconds(3.9), &claim, Origin::Gossip), Outcome::Nothing);
        assert_eq!(her(&model), Some((life.0, life.1, State::Suspect)));
        // Nor do accusers make it longer.
        model.hear(
            seconds(3.9),
            &Claim { epoch: life.0, ..accused_by(life.1, &[100]) },
            Origin::Gossip,
        );
        assert_deadline(&model, 4.0);
        model.pass(seconds(4.1), 0);
        assert_eq!(her(&model), Some((life.0, life.1, State::Dead)));
    }
}

#[test]
fn a_suspicion_without_accusers_begins_the_same_at_whoever_hears_it() {
    let mut model = ten();
    assert_eq!(model.hear(0, &accused_by(3, &[]), Origin::Gossip), Outcome::Changed);
    assert_deadline(&model, 4.0);
}

#[test]
fn a_told_death_ends_a_ripe_suspicion_and_shortens_a_young_one() {
    // (when the claim comes, outcome, state)
    let table = [
        (1.0, Outcome::Shortened, State::Suspect),
        (3.9, Outcome::Shortened, State::Suspect),
        (4.1, Outcome::Changed, State::Dead),
        (20.0, Outcome::Changed, State::Dead),
    ];
    for (at, outcome, state) in table {
        let mut model = ten();
        model.hear(0, &accused_by(3, &[100]), Origin::Gossip);
        assert_eq!(model.hear(seconds(at), &dead(3), Origin::Gossip), outcome, "{at}");
        assert_eq!(her(&model), Some((HER_EPOCH, 3, state)), "{at}");
        if state == State::Suspect {
            assert_deadline(&model, 4.0);
            model.pass(seconds(4.1), 0);
            assert_eq!(her(&model), Some((HER_EPOCH, 3, State::Dead)), "{at}");
        }
    }
    // Of another life it is a doubt of that life.
    let mut model = ten();
    model.hear(0, &accused_by(3, &[100]), Origin::Gossip);
    assert_eq!(model.hear(seconds(20.0), &dead(4), Origin::Gossip), Outcome::Changed);
    assert_eq!(her(&model), Some((HER_EPOCH, 4, State::Suspect)));
    assert_deadline(&model, 24.0);
}

#[test]
fn undoubted_deaths_count_at_once_but_in_a_transfer() {
    for (origin, state) in [(Origin::Gossip, State::Dead), (Origin::Transfer, State::Suspect)] {
        let mut model = model_with(Config { told_deaths_doubted: false, ..Config::lan() });
        introduce(&mut model, 3);
        assert_eq!(model.hear(0, &dead(3), origin), Outcome::Changed);
        assert_eq!(her(&model), Some((HER_EPOCH, 3, state)));
    }
}

#[test]
fn whoever_slept_gives_as_much_more_time() {
    // (guard, overdue, when she dies)
    for (pause_guard, overdue, expected) in
        [(true, 10.0, 34.0), (true, 0.5, 24.0), (false, 10.0, 24.0)]
    {
        let mut model = model_with(Config { pause_guard, ..Config::lan() });
        crowd(&mut model, 8);
        introduce(&mut model, 3);
        model.hear(0, &accused_by(3, &[100]), Origin::Gossip);
        model.pass(seconds(20.0), seconds(overdue));
        assert_deadline(&model, expected);
    }
    // Also if the suspicion would have run out in its sleep.
    let mut model = ten();
    model.hear(0, &accused_by(3, &[100]), Origin::Gossip);
    model.pass(seconds(30.0), seconds(29.0));
    assert_eq!(her(&model), Some((HER_EPOCH, 3, State::Suspect)));
}

#[test]
fn whether_a_told_death_ends_it_is_open_around_the_minimum_and_sleep_does_not_count() {
    // (how long the node slept, when the claim comes, whether that is open)
    let table = [
        (0.0, 3.99, false),
        (0.0, 4.0, true),
        (10.0, 13.9, false),
        (10.0, 14.0, true),
        (10.0, 14.1, false),
        (10.0, 3.9, false),
    ];
    for (slept, at, is_open) in table {
        let mut model = ten();
        model.hear(0, &accused_by(3, &[100]), Origin::Gossip);
        model.pass(0, seconds(slept));
        let outcome = model.hear(seconds(at), &dead(3), Origin::Gossip);
        let is_ripe = at > 14.0;
        assert_eq!(model.open().get(&HER).is_some(), is_open, "{slept} {at}");
        assert_eq!(
            outcome,
            if is_ripe { Outcome::Changed } else { Outcome::Shortened },
            "{slept} {at}"
        );
        assert_eq!(
            model.records()[&HER].state,
            if is_ripe { State::Dead } else { State::Suspect },
            "{slept} {at}"
        );
        if is_open {
            let mut alive = model.clone();
            model.settle(seconds(at), HER, true);
            assert_eq!(her(&model), Some((HER_EPOCH, 3, State::Dead)));
            alive.settle(seconds(at), HER, false);
            assert_eq!(her(&alive), Some((HER_EPOCH, 3, State::Suspect)));
            assert_deadline(&alive, 4.0 + slept);
        }
    }
}

#[test]
fn a_doubt_that_has_run_out_may_end_by_its_repetition() {
    let mut model = ten();
    model.hear(0, &dead(3), Origin::Gossip);
    assert_eq!(model.hear(seconds(4.0), &dead(3), Origin::Gossip), Outcome::Nothing);
    assert_eq!(model.open().get(&HER), Some(&Choice::Dies));
    // What is not settled did not happen.
    assert_eq!(model.hear(seconds(4.0), &accused_by(2, &[100]), Origin::Gossip), Outcome::Nothing);
    assert!(model.open().is_empty());
    assert_eq!(her(&model), Some((HER_EPOCH, 3, State::Suspect)));
}
