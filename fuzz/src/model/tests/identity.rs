//! §4.9: which run is the member, and where it is.

use super::*;
use crate::model::Why;

fn at(port: u16, mut claim: Claim) -> Claim {
    claim.details.as_mut().expect("a full claim").address = address(port);
    claim
}

/// Her, as she lives or died, at port 2.
fn known_as(state: State) -> Model {
    let mut model = model();
    let claim = Claim { age: Some(1).filter(|_| !state.is_live()), ..full(HER_EPOCH, 0, state) };
    assert_eq!(model.hear(0, &claim, told()), Outcome::Changed);
    model
}

#[test]
fn a_later_run_replaces_an_earlier_one() {
    let elsewhere = at(22, full(HER_EPOCH + 1, 0, State::Alive));
    let here = full(HER_EPOCH + 1, 0, State::Alive);
    let table = [
        ("second-hand", State::Alive, &elsewhere, told(), Outcome::Changed),
        ("second-hand, of a suspect", State::Suspect, &elsewhere, told(), Outcome::Changed),
        ("in a transfer", State::Alive, &elsewhere, in_transfer(), Outcome::Changed),
        ("by herself, of the dead", State::Dead, &elsewhere, told_by(&elsewhere), Outcome::Changed),
        ("by herself, of the left", State::Left, &elsewhere, told_by(&elsewhere), Outcome::Changed),
        ("by herself, same address", State::Alive, &here, told_by(&here), Outcome::Changed),
        (
            "by herself, elsewhere",
            State::Alive,
            &elsewhere,
            told_by(&elsewhere),
            Outcome::Refused(Why::Incumbent),
        ),
        (
            "by herself, of a suspect",
            State::Suspect,
            &elsewhere,
            told_by(&elsewhere),
            Outcome::Refused(Why::Incumbent),
        ),
    ];
    for (name, state, claim, origin, outcome) in table {
        let mut model = known_as(state);
        assert_eq!(model.hear(0, claim, origin), outcome, "{name}");
        let epoch = if outcome == Outcome::Changed { HER_EPOCH + 1 } else { HER_EPOCH };
        assert_eq!(model.records()[&HER].epoch, epoch, "{name}");
    }
}

#[test]
fn nothing_of_an_earlier_run_stays() {
    let mut model = known_as(State::Alive);
    model.hear(0, &full(HER_EPOCH, 8, State::Suspect), told());
    assert_eq!(model.hear(0, &at(22, full(HER_EPOCH + 1, 0, State::Alive)), told()), Outcome::Changed);
    let record = &model.records()[&HER];
    assert_eq!((record.incarnation, record.details.incarnation, record.details.address), (0, 0, address(22)));
    assert_eq!(record.suspicion, None);
}

#[test]
fn a_claimant_waits_for_the_incumbent() {
    let claimant = at(22, full(HER_EPOCH + 1, 0, State::Alive));
    let incumbent = Some((HER_EPOCH, 0, State::Alive));
    let table = [
        (false, Outcome::Conflict, incumbent),
        (true, Outcome::Changed, Some((HER_EPOCH + 1, 0, State::Alive))),
    ];
    for (admitted, outcome, expected) in table {
        let mut model = known_as(State::Alive);
        assert_eq!(model.asks(0, &claimant), Outcome::Waits);
        assert_eq!(her(&model), incumbent);
        assert_eq!(model.waiting().1, [HER]);
        assert_eq!(model.admit(0, HER, admitted), outcome);
        assert_eq!(her(&model), expected);
        assert_eq!(model.admit(0, HER, true), Outcome::Nothing);
    }
    // Nobody to wait for.
    for state in [State::Dead, State::Left] {
        assert_eq!(known_as(state).asks(0, &claimant), Outcome::Changed);
    }
    assert_eq!(model().asks(0, &claimant), Outcome::Changed);
    // The same run somewhere else is no claimant.
    assert_eq!(known_as(State::Alive).asks(0, &at(22, full(HER_EPOCH, 1, State::Alive))), Outcome::Conflict);
}

#[test]
fn a_run_keeps_its_address() {
    for state in STATES {
        for origin in [told(), in_transfer(), Origin { sender: (HER, HER_EPOCH), plane: Plane::Gossip }] {
            let mut model = known_as(State::Alive);
            let before = model.records().clone();
            assert_eq!(model.hear(0, &at(22, full(HER_EPOCH, 5, state)), origin), Outcome::Conflict);
            assert_eq!(model.records(), &before);
        }
    }
}
