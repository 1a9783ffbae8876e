//! §4.2: the order of claims, and what a claim that is not greater may bring.

use super::*;
use crate::model::Why;

/// All lives of one run that the tables use, in the order of §4.2.
fn lives() -> Vec<(u32, State)> {
    (3..6).flat_map(|incarnation| STATES.map(|state| (incarnation, state))).collect()
}

#[test]
fn the_greater_claim_holds() {
    let lives = lives();
    for (known_at, &known) in lives.iter().enumerate() {
        for (claimed_at, &claimed) in lives.iter().enumerate() {
            let mut model = model_with(Config { told_deaths_doubted: false, ..Config::lan() });
            introduce(&mut model, 0);
            model.hear(0, &full(HER_EPOCH, known.0, known.1), Origin::Gossip);
            assert_eq!(her(&model), Some((HER_EPOCH, known.0, known.1)));
            let outcome = model.hear(0, &full(HER_EPOCH, claimed.0, claimed.1), Origin::Gossip);
            let (expected, greatest) = if claimed_at > known_at {
                (Outcome::Changed, claimed)
            } else {
                (Outcome::Nothing, known)
            };
            assert_eq!(outcome, expected, "{known:?} {claimed:?}");
            assert_eq!(
                her(&model),
                Some((HER_EPOCH, greatest.0, greatest.1)),
                "{known:?} {claimed:?}"
            );
        }
    }
}

#[test]
fn an_earlier_run_is_no_news() {
    for state in STATES {
        let mut model = model();
        introduce(&mut model, 0);
        let before = model.records().clone();
        assert_eq!(
            model.hear(0, &full(HER_EPOCH - 1, 7, state), Origin::Gossip),
            Outcome::Nothing,
            "{state:?}"
        );
        assert_eq!(model.records(), &before, "{state:?}");
    }
}

#[test]
fn details_are_needed_of_strangers_and_of_later_runs() {
    for state in [State::Suspect, State::Dead, State::Left] {
        let of_stranger = Claim { age: Some(1), ..bare(HER_EPOCH, 0, state) };
        assert_eq!(
            model().hear(0, &of_stranger, Origin::Gossip),
            Outcome::Refused(Why::NoDetails),
            "{state:?}"
        );
        let mut knows = model();
        introduce(&mut knows, 0);
        let later = bare(HER_EPOCH + 1, 0, state);
        assert_eq!(
            knows.hear(0, &later, Origin::Gossip),
            Outcome::Refused(Why::NoDetails),
            "{state:?}"
        );
        assert_eq!(her(&knows), Some((HER_EPOCH, 0, State::Alive)));
    }
}

#[test]
fn a_later_life_without_details_keeps_those_known() {
    let mut model = model();
    introduce(&mut model, 3);
    assert_eq!(
        model.hear(0, &bare(HER_EPOCH, 5, State::Suspect), Origin::Gossip),
        Outcome::Changed
    );
    assert_eq!(model.records()[&HER].details, details(3));

    // What it said in 4 is later than what is known, although 4 is over.
    assert_eq!(model.hear(0, &full(HER_EPOCH, 4, State::Alive), Origin::Gossip), Outcome::Changed);
    assert_eq!(her(&model), Some((HER_EPOCH, 5, State::Suspect)));
    assert_eq!(model.records()[&HER].details, details(4));

    // What it said in 3 is not.
    assert_eq!(model.hear(0, &full(HER_EPOCH, 3, State::Left), Origin::Gossip), Outcome::Nothing);
    assert_eq!(model.records()[&HER].details, details(4));

    // A greater claim with earlier details does not bring those back.
    let left = Claim { details: Some(details(3)), ..bare(HER_EPOCH, 5, State::Left) };
    assert_eq!(model.hear(0, &left, Origin::Gossip), Outcome::Changed);
    assert_eq!(model.records()[&HER].details, details(4));
}

#[test]
fn new_accusers_of_the_same_suspicion_are_news() {
    let accused_by = |incarnation, accusers: &[u64]| Claim {
        accusers: accusers.to_vec(),
        ..bare(HER_EPOCH, incarnation, State::Suspect)
    };
    let mut model = model();
    crowd(&mut model, 8);
    introduce(&mut model, 3);
    let table: [(u32, &[u64], Outcome, &[u64]); 6] = [
        (3, &[20], Outcome::Changed, &[20]),
        (3, &[20], Outcome::Nothing, &[20]),
        (3, &[21, 20], Outcome::Changed, &[20, 21]),
        (3, &[HER], Outcome::Nothing, &[20, 21]),
        (2, &[22], Outcome::Nothing, &[20, 21]),
        (4, &[23], Outcome::Changed, &[23]),
    ];
    for (incarnation, accusers, outcome, expected) in table {
        assert_eq!(
            model.hear(0, &accused_by(incarnation, accusers), Origin::Gossip),
            outcome,
            "{accusers:?}"
        );
        let known: Vec<u64> =
            model.records()[&HER].suspicion.iter().flat_map(|it| it.accusers.clone()).collect();
        assert_eq!(known, expected, "{accusers:?}");
    }
}

/// §4.5: K + 1, first come first; K is at most the members but the subject and one accuser.
#[test]
fn only_as_many_accusers_are_kept_as_count() {
    for (others, kept) in
        [(0, vec![28]), (1, vec![20, 28]), (2, vec![20, 21, 28]), (9, vec![20, 21, 22, 28])]
    {
        let mut model = model();
        introduce(&mut model, 0);
        crowd(&mut model, others);
        for (accusers, is_news) in
            [(vec![28], true), ((20..28).collect(), others > 0), (vec![29], false)]
        {
            let claim = Claim { accusers, ..bare(HER_EPOCH, 0, State::Suspect) };
            let outcome = model.hear(0, &claim, Origin::Gossip);
            assert_eq!(outcome == Outcome::Changed, is_news, "{others}");
        }
        let accusers = model.records()[&HER]
            .suspicion
            .as_ref()
            .map(|it| it.accusers.iter().copied().collect());
        assert_eq!(accusers, Some(kept), "{others}");
    }
}

#[test]
fn live_counts_the_alive_the_suspect_and_oneself() {
    let mut model = model();
    assert_eq!(model.live(), 1);
    crowd(&mut model, 3);
    introduce(&mut model, 0);
    assert_eq!(model.live(), 5);
    model.hear(0, &bare(HER_EPOCH, 0, State::Suspect), Origin::Gossip);
    assert_eq!(model.live(), 5);
    model.hear(0, &bare(HER_EPOCH, 0, State::Left), Origin::Gossip);
    assert_eq!(model.live(), 4);
    model.leave();
    assert_eq!(model.live(), 3);
}
