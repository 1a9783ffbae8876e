//! §4.2: "merging is a maximum, so neither order nor repetition matters".

use super::seed::Seed;
use super::*;
use crate::model::Record;

/// What is believed of her: all but timers, the age of a tombstone, and which accusers are kept,
/// the first to come.
type Belief = Option<(u64, u32, State, Details)>;

fn belief(model: &Model) -> Belief {
    let of =
        |record: &Record| (record.epoch, record.incarnation, record.state, record.details.clone());
    model.records().get(&HER).map(of)
}

fn permutations(claims: &[Claim]) -> Vec<Vec<Claim>> {
    if claims.len() <= 1 {
        return vec![claims.to_vec()];
    }
    let mut all = Vec::new();
    for at in 0..claims.len() {
        let mut rest = claims.to_vec();
        let first = rest.remove(at);
        for mut order in permutations(&rest) {
            order.insert(0, first.clone());
            all.push(order);
        }
    }
    all
}

/// Hears one claim. Whoever is asked about it at the claimed address answers (§4.9).
fn hear(model: &mut Model, claim: &Claim) {
    model.hear(0, claim, Origin::Gossip);
    let kept: Vec<(u64, u64)> = model.kept().map(|(run, _)| run).collect();
    for run in kept {
        let verdict = model.verdict(run, Some(true), Some(false));
        model.decide(0, run, verdict);
    }
}

/// Hears `claims` in every order, each order twice over, and returns the different beliefs that
/// come of it.
fn beliefs(from: &Model, claims: &[Claim]) -> Vec<Belief> {
    let mut beliefs: Vec<Belief> = Vec::new();
    for order in permutations(claims) {
        let mut model = from.clone();
        for claim in order.iter().chain(&order) {
            hear(&mut model, claim);
        }
        let believed = belief(&model);
        if !beliefs.contains(&believed) {
            beliefs.push(believed);
        }
    }
    beliefs
}

fn believing() -> Model {
    model_with(Config { told_deaths_doubted: false, ..Config::lan() })
}

#[test]
fn the_order_of_claims_about_a_run_does_not_matter() {
    let mut known = believing();
    introduce(&mut known, 0);
    for seed in 0..300 {
        let mut seed_of = Seed(seed);
        let claims: Vec<Claim> = (0..5).map(|_| seed_of.of_one_run()).collect();
        let beliefs = beliefs(&known, &claims);
        assert_eq!(beliefs.len(), 1, "seed {seed}: {claims:#?} {beliefs:#?}");
        // It is the maximum of what was said.
        let greatest = claims.iter().map(|claim| (claim.incarnation, claim.state)).max();
        let believed = beliefs[0].as_ref().map(|belief| (belief.1, belief.2));
        assert_eq!(believed, greatest.max(Some((0, State::Alive))), "seed {seed}");
    }
}

#[test]
fn the_order_of_claims_about_runs_does_not_matter_if_each_has_details() {
    for seed in 0..300 {
        let mut seed_of = Seed(1_000 + seed);
        let claims: Vec<Claim> = (0..5).map(|_| seed_of.of_any_run()).collect();
        let beliefs = beliefs(&believing(), &claims);
        assert_eq!(beliefs.len(), 1, "seed {seed}: {claims:#?} {beliefs:#?}");
    }
}

/// The two exceptions, both in the text: a death is doubted of the living and not of strangers
/// (§4.5.1), and a claim of a later run is taken with details only (§4.2). They show that the tests
/// above can fail.
#[test]
fn where_the_order_matters() {
    let doubting = [
        full(HER_EPOCH, 0, State::Alive),
        Claim { age: Some(1), ..full(HER_EPOCH, 0, State::Dead) },
    ];
    assert_eq!(beliefs(&model(), &doubting[..1]).len(), 1);
    let states = |beliefs: Vec<Belief>| {
        beliefs.into_iter().flatten().map(|belief| belief.2).collect::<Vec<_>>()
    };
    assert_eq!(states(beliefs(&model(), &doubting)), [State::Suspect, State::Dead]);

    // Each order once: told again, a claim finds the run known.
    let runs = [full(HER_EPOCH + 1, 0, State::Alive), bare(HER_EPOCH + 1, 1, State::Suspect)];
    let once = |claims: [&Claim; 2]| {
        let mut model = believing();
        introduce(&mut model, 0);
        for claim in claims {
            hear(&mut model, claim);
        }
        her(&model)
    };
    assert_eq!(once([&runs[0], &runs[1]]), Some((HER_EPOCH + 1, 1, State::Suspect)));
    assert_eq!(once([&runs[1], &runs[0]]), Some((HER_EPOCH + 1, 0, State::Alive)));
}
