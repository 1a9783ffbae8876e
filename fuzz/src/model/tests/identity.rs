//! §4.9: which run is the member, and where it is.

use super::*;

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

#[test]
fn a_later_run_replaces_an_earlier_one() {
    for state in STATES {
        for port in [2, 22] {
            for origin in [Origin::Gossip, Origin::Transfer, Origin::FirstHand] {
                let mut model = known_as(state);
                let claim = at(port, full(HER_EPOCH + 1, 0, State::Alive));
                assert_eq!(
                    model.hear(0, &claim, origin),
                    Outcome::Changed,
                    "{state:?}, {port}, {origin:?}"
                );
                assert_eq!(her(&model), Some((HER_EPOCH + 1, 0, State::Alive)));
                assert_eq!(model.records()[&HER].details.address, address(port));
            }
        }
    }
}

#[test]
fn nothing_of_an_earlier_run_stays() {
    let mut model = known_as(State::Alive);
    model.hear(0, &full(HER_EPOCH, 8, State::Suspect), Origin::Gossip);
    assert_eq!(
        model.hear(0, &at(22, full(HER_EPOCH + 1, 0, State::Alive)), Origin::Gossip),
        Outcome::Changed
    );
    let record = &model.records()[&HER];
    assert_eq!(
        (record.incarnation, record.details.incarnation, record.details.address),
        (0, 0, address(22))
    );
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
        assert_eq!(model.waiting().1, [(HER, HER_EPOCH + 1)]);
        assert_eq!(model.admit(0, (HER, HER_EPOCH + 1), admitted), outcome);
        assert_eq!(her(&model), expected);
        assert_eq!(model.admit(0, (HER, HER_EPOCH + 1), true), Outcome::Nothing);
    }
    // Nobody to wait for.
    for state in [State::Dead, State::Left] {
        assert_eq!(known_as(state).asks(0, &claimant), Outcome::Changed);
    }
    assert_eq!(model().asks(0, &claimant), Outcome::Changed);
    // The same run somewhere else waits as well, and is refused in any case (§4.9.2).
    let mut model = known_as(State::Alive);
    assert_eq!(model.asks(0, &at(22, full(HER_EPOCH, 1, State::Alive))), Outcome::Waits);
    assert_eq!(model.admit(0, (HER, HER_EPOCH), true), Outcome::Conflict);
    assert_eq!(her(&model), incumbent);
}

#[test]
fn a_run_keeps_its_address() {
    for state in STATES {
        for origin in [Origin::Gossip, Origin::Transfer, Origin::FirstHand] {
            let mut model = known_as(State::Alive);
            let before = model.records().clone();
            assert_eq!(
                model.hear(0, &at(22, full(HER_EPOCH, 5, state)), origin),
                Outcome::Conflict
            );
            assert_eq!(model.records(), &before);
        }
    }
}
