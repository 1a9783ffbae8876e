//! §4.9: which run is the member, and where it is.

use super::*;
use crate::model::{Verdict, Why};

fn at(port: u16, mut claim: Claim) -> Claim {
    claim.details.as_mut().expect("a full claim").address = address(port);
    claim
}

/// Her, as she lives or died, at port 2.
fn known_as(state: State) -> Model {
    let mut model = model();
    let claim = Claim { age: Some(1).filter(|_| !state.is_live()), ..full(HER_EPOCH, 0, state) };
    assert_eq!(model.hear(0, &claim, Origin::Gossip), Outcome::Changed);
    model
}

/// What the two addresses answer, and what becomes of the claim.
type Row = (Option<bool>, Option<bool>, Verdict);

fn judge(model: &Model, run: (u64, u64), rows: &[Row]) {
    for &(claimed, held, verdict) in rows {
        assert_eq!(model.verdict(run, claimed, held), verdict, "{run:?} {claimed:?} {held:?}");
    }
}

#[test]
fn another_run_of_the_dead_is_taken_at_once() {
    for state in [State::Dead, State::Left] {
        for port in [2, 22] {
            for origin in [Origin::Gossip, Origin::Transfer, Origin::FirstHand] {
                let mut model = known_as(state);
                let claim = at(port, full(HER_EPOCH + 1, 0, State::Alive));
                assert_eq!(model.hear(0, &claim, origin), Outcome::Changed);
                assert_eq!(her(&model), Some((HER_EPOCH + 1, 0, State::Alive)));
                assert_eq!(model.records()[&HER].details.address, address(port));
            }
        }
    }
}

#[test]
fn another_run_of_the_living_is_kept_aside() {
    let run = (HER, HER_EPOCH + 1);
    for origin in [Origin::Gossip, Origin::Transfer, Origin::FirstHand] {
        let mut model = known_as(State::Alive);
        let before = model.records().clone();
        let claim = full(HER_EPOCH + 1, 0, State::Alive);
        assert_eq!(model.hear(0, &claim, origin), Outcome::Waits);
        assert_eq!(model.records(), &before);
        let rows: [Row; 3] = [
            (None, None, Verdict::Open),
            (Some(true), None, Verdict::Taken),
            (Some(false), None, Verdict::Dropped),
        ];
        judge(&model, run, &rows);
        assert_eq!(model.decide(0, run, Verdict::Taken), Outcome::Changed);
        assert_eq!(her(&model), Some((HER_EPOCH + 1, 0, State::Alive)));
    }
    let mut model = known_as(State::Alive);
    model.hear(0, &at(22, full(HER_EPOCH + 1, 0, State::Alive)), Origin::Gossip);
    let rows: [Row; 6] = [
        (None, Some(false), Verdict::Open),
        (Some(true), None, Verdict::Open),
        (Some(true), Some(true), Verdict::Dropped),
        (Some(true), Some(false), Verdict::Waits),
        (Some(false), Some(false), Verdict::Dropped),
        (Some(false), Some(true), Verdict::Dropped),
    ];
    judge(&model, run, &rows);
    // The held run has died meanwhile.
    model.hear(0, &full(HER_EPOCH, 0, State::Left), Origin::Gossip);
    judge(
        &model,
        run,
        &[(Some(true), Some(false), Verdict::Again), (Some(false), Some(false), Verdict::Dropped)],
    );
    assert_eq!(model.decide(0, run, Verdict::Again), Outcome::Changed);
    assert_eq!(her(&model), Some((HER_EPOCH + 1, 0, State::Alive)));
}

#[test]
fn an_earlier_run_elsewhere_counts_from_members_and_claimants() {
    let run = (HER, HER_EPOCH - 1);
    let claim = at(22, full(HER_EPOCH - 1, 0, State::Alive));
    for origin in [Origin::Gossip, Origin::Transfer] {
        assert_eq!(known_as(State::Alive).hear(0, &claim, origin), Outcome::Nothing);
    }
    let mut model = known_as(State::Alive);
    assert_eq!(model.hear(0, &claim, Origin::MemberTransfer), Outcome::Waits);
    judge(
        &model,
        run,
        &[(Some(true), Some(true), Verdict::Taken), (Some(true), Some(false), Verdict::Dropped)],
    );
    assert_eq!(model.decide(0, run, Verdict::Taken), Outcome::Changed);
    assert_eq!(her(&model), Some((HER_EPOCH - 1, 0, State::Alive)));
    let mut model = known_as(State::Alive);
    assert_eq!(model.hear(0, &claim, Origin::FirstHand), Outcome::Waits);
    judge(
        &model,
        run,
        &[(Some(true), Some(true), Verdict::Dropped), (Some(true), Some(false), Verdict::Waits)],
    );
}

#[test]
fn nothing_of_an_earlier_run_stays() {
    let mut model = known_as(State::Alive);
    model.hear(0, &full(HER_EPOCH, 8, State::Suspect), Origin::Gossip);
    let claim = at(22, full(HER_EPOCH + 1, 0, State::Alive));
    assert_eq!(model.hear(0, &claim, Origin::Decided), Outcome::Changed);
    let record = &model.records()[&HER];
    assert_eq!(
        (record.incarnation, record.details.incarnation, record.details.address),
        (0, 0, address(22))
    );
    assert_eq!(record.suspicion, None);
}

#[test]
fn a_run_moves_by_its_own_later_word() {
    let run = (HER, HER_EPOCH);
    for origin in [Origin::Gossip, Origin::Transfer, Origin::FirstHand] {
        let mut model = known_as(State::Alive);
        let before = model.records().clone();
        let claim = at(22, full(HER_EPOCH, 5, State::Alive));
        assert_eq!(model.hear(0, &claim, origin), Outcome::Waits);
        assert_eq!(model.records(), &before);
        judge(
            &model,
            run,
            &[
                (Some(true), Some(true), Verdict::Dropped),
                (Some(true), Some(false), Verdict::Taken),
                (Some(false), Some(false), Verdict::Dropped),
            ],
        );
        assert_eq!(model.decide(0, run, Verdict::Taken), Outcome::Changed);
        assert_eq!(model.records()[&HER].details.address, address(22));
    }
    for state in [State::Dead, State::Left] {
        let mut model = known_as(State::Alive);
        let before = model.records().clone();
        let claim = at(22, full(HER_EPOCH, 5, state));
        assert_eq!(model.hear(0, &claim, Origin::Gossip), Outcome::Refused(Why::Elsewhere));
        assert_eq!(model.records(), &before);
    }
}
