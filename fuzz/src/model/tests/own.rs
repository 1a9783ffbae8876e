//! §1.3, §4.2, §4.9.3: claims about the node itself.

use super::*;
use crate::model::{EPOCH_MAX, Why};

const INCARNATION: u32 = 5;

fn of_me(epoch: u64, incarnation: u32, state: State) -> Claim {
    Claim { id: ME, ..bare(epoch, incarnation, state) }
}

fn of_me_at(port: u16, claim: Claim) -> Claim {
    let details = Details { address: address(port), ..details(claim.incarnation) };
    Claim { details: Some(details), ..claim }
}

fn me(epoch: u64, incarnation: u32) -> Model {
    let own = Own { incarnation, ..Own::new(ME, epoch, address(1)) };
    Model::new(Config::lan(), own)
}

#[test]
fn what_is_not_less_is_moved_past() {
    let table = [
        (4, State::Dead, Outcome::Answered, INCARNATION),
        (4, State::Suspect, Outcome::Answered, INCARNATION),
        (5, State::Suspect, Outcome::Refuted, 6),
        (5, State::Dead, Outcome::Refuted, 6),
        (5, State::Left, Outcome::Refuted, 6),
        (8, State::Suspect, Outcome::Refuted, 9),
    ];
    for (incarnation, state, outcome, expected) in table {
        let mut model = me(MY_EPOCH, INCARNATION);
        let claim = of_me(MY_EPOCH, incarnation, state);
        assert_eq!(model.hear(0, &claim, Origin::Gossip), outcome, "{claim:?}");
        assert_eq!((model.own().epoch, model.own().incarnation), (MY_EPOCH, expected), "{claim:?}");
        // Once moved past it, the same claim is of an earlier life.
        assert_eq!(model.hear(0, &claim, Origin::Gossip), Outcome::Answered, "{claim:?}");
        assert!(model.records().is_empty());
    }
}

#[test]
fn ones_own_record_heard_back_is_no_accusation() {
    for (incarnation, outcome, expected) in
        [(4, Outcome::Nothing, 5), (5, Outcome::Nothing, 5), (6, Outcome::Refuted, 7)]
    {
        let mut model = me(MY_EPOCH, INCARNATION);
        let claim = of_me_at(1, of_me(MY_EPOCH, incarnation, State::Alive));
        assert_eq!(model.hear(0, &claim, Origin::Gossip), outcome);
        assert_eq!(model.own().incarnation, expected);
    }
}

#[test]
fn past_the_end_of_incarnations_is_the_next_epoch() {
    let mut model = me(MY_EPOCH, INCARNATION);
    assert_eq!(
        model.hear(0, &of_me(MY_EPOCH, u32::MAX, State::Suspect), Origin::Gossip),
        Outcome::MovedOn
    );
    assert_eq!((model.own().epoch, model.own().incarnation), (MY_EPOCH + 1, 0));
}

#[test]
fn a_later_epoch_of_oneself_is_moved_past() {
    for state in STATES {
        let claims = [of_me(MY_EPOCH + 7, 3, state), of_me_at(1, of_me(MY_EPOCH + 7, 3, state))];
        for claim in claims.into_iter().filter(|claim| !claim.malformed()) {
            let mut model = me(MY_EPOCH, INCARNATION);
            assert_eq!(model.hear(0, &claim, Origin::Gossip), Outcome::MovedOn, "{claim:?}");
            assert_eq!(
                (model.own().epoch, model.own().incarnation),
                (MY_EPOCH + 8, 0),
                "{claim:?}"
            );
        }
    }
}

#[test]
fn a_rival_elsewhere_is_asked_about_and_not_refuted() {
    for (epoch, alive, dead) in [
        (MY_EPOCH - 1, Outcome::Nothing, Outcome::Answered),
        (MY_EPOCH, Outcome::Waits, Outcome::Refuted),
        (MY_EPOCH + 1, Outcome::Waits, Outcome::MovedOn),
    ] {
        let mut model = me(MY_EPOCH, INCARNATION);
        let before = model.own().clone();
        let claim = of_me_at(66, of_me(epoch, 9, State::Suspect));
        assert_eq!(model.hear(0, &claim, Origin::Gossip), alive, "{epoch}");
        assert_eq!(model.own(), &before);
        // One that died is no rival.
        let claim = of_me_at(66, of_me(epoch, 9, State::Dead));
        assert_eq!(model.hear(0, &claim, Origin::Gossip), dead, "{epoch}");
    }
}

#[test]
fn the_end_of_all_epochs_is_left_standing() {
    for (epoch, incarnation) in [(MY_EPOCH, 0), (EPOCH_MAX, INCARNATION)] {
        let mut model = me(epoch, incarnation);
        let claim = of_me(EPOCH_MAX, u32::MAX, State::Suspect);
        assert_eq!(model.hear(0, &claim, Origin::Gossip), Outcome::Refused(Why::EndOfEpochs));
        assert_eq!((model.own().epoch, model.own().incarnation), (epoch, incarnation));
    }
}

#[test]
fn who_has_left_refutes_nothing() {
    let mut model = me(MY_EPOCH, INCARNATION);
    model.leave();
    let before = model.own().clone();
    for claim in [
        of_me(MY_EPOCH, 5, State::Dead),
        of_me(MY_EPOCH + 1, 0, State::Suspect),
        of_me(1, 0, State::Dead),
    ] {
        assert_eq!(model.hear(0, &claim, Origin::Gossip), Outcome::Nothing);
    }
    assert!(!model.set_metadata(Vec::new()));
    assert_eq!(model.own(), &before);
}

#[test]
fn a_change_of_metadata_is_an_incarnation() {
    let said = |text| crate::model::metadata::bytes(&[("k", text)]);
    let mut model = me(MY_EPOCH, u32::MAX - 1);
    assert!(model.set_metadata(said("a")));
    assert_eq!((model.own().epoch, model.own().incarnation), (MY_EPOCH, u32::MAX));
    assert!(model.set_metadata(said("a")));
    assert_eq!((model.own().epoch, model.own().incarnation), (MY_EPOCH, u32::MAX));
    assert!(model.set_metadata(said("b")));
    assert_eq!((model.own().epoch, model.own().incarnation), (MY_EPOCH + 1, 0));
    assert!(!model.set_metadata(vec![9]));
    assert_eq!(model.own().metadata, said("b"));
}
