//! How long a suspicion lasts (`docs/protocol.md` §4.5; invariant C5), against the formulas in
//! floating point.

extern crate std;

use std::vec::Vec;

use super::*;
use crate::rng::Rng;

const SUBJECT: NodeId = NodeId::new(1_000);
const LIFE: (Epoch, Incarnation) = (Epoch::new(7), Incarnation::new(3));
const BEGAN: Instant = Instant::from_nanos(5_000_000_000);
const MS: Duration = Duration::from_millis(1);

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn ids(ids: impl IntoIterator<Item = u64>) -> Vec<NodeId> {
    ids.into_iter().map(NodeId::new).collect()
}

fn suspicion(config: &Config, members: usize, accusers: &[NodeId]) -> Suspicion {
    Suspicion::new(LIFE, SUBJECT, accusers, members, config, BEGAN)
}

fn is_near(got: Duration, wanted: Duration) -> bool {
    got.abs_diff(wanted) <= MS
}

/// One suspicion in slot 4, and how long it lasts from its beginning.
struct One(Suspicions);

impl One {
    fn new(config: &Config, members: usize, accusers: &[NodeId]) -> Self {
        let mut running = Suspicions::default();
        running.start(4, suspicion(config, members, accusers));
        Self(running)
    }

    fn confirm(&mut self, accusers: &[NodeId]) -> bool {
        self.0.confirm(4, SUBJECT, accusers)
    }

    fn lasts(&self) -> Duration {
        let deadline = self.0.next_deadline().unwrap();
        assert_eq!(self.0.expired(deadline - Duration::from_nanos(1)), None);
        assert_eq!(self.0.expired(deadline), Some(4));
        deadline.since(BEGAN)
    }

    fn accusers(&self) -> Vec<NodeId> {
        self.0.get(4).unwrap().accusers.to_vec()
    }
}

/// The distance to the true logarithm in units of the last place; never negative, since the
/// function truncates.
fn log2_error(x: u32) -> f64 {
    f64::from(x).log2() * 65_536.0 - f64::from(log2_fixed(x))
}

#[test]
fn log2_is_exact_for_powers_of_two() {
    assert_eq!(log2_fixed(0), 0);
    for power in 0..32 {
        assert_eq!(log2_fixed(1 << power), power << 16);
    }
}

#[test]
fn log2_is_the_logarithm_truncated() {
    let mut rng = Rng::new(1);
    let randoms =
        (0..100_000).map(|_| u32::try_from(rng.next_u64() >> (32 + rng.below(31))).unwrap().max(1));
    for x in (1..5_000).chain(randoms).chain((0..32).map(|by| u32::MAX >> by)) {
        let error = log2_error(x);
        // The squarings truncate too, which costs at most another unit.
        assert!((-1e-6..2.0).contains(&error), "log2({x}) is off by {error} units");
    }
}

#[test]
fn log2_never_falls() {
    let mut rng = Rng::new(2);
    for _ in 0..100_000 {
        let x = u32::try_from(rng.next_u64() >> (32 + rng.below(31))).unwrap().max(1);
        assert!(log2_fixed(x - 1) <= log2_fixed(x), "at {x}");
    }
}

#[test]
fn the_minimum_follows_the_decimal_logarithm_of_the_cluster() {
    let table = [
        (1, 4),
        (2, 4),
        (9, 4),
        (10, 4),
        (100, 8),
        (1_000, 12),
        (10_000, 16),
        (100_000, 20),
        (0, 4),
    ];
    for (members, wanted) in table {
        let got = suspicion_min(&Config::lan(), members);
        assert!(is_near(got, secs(wanted)), "n = {members}: {got:?}, not {wanted} s");
    }
    for (config, per_member_decade) in [(Config::local(), 3), (Config::wan(), 30)] {
        assert!(is_near(suspicion_min(&config, 10), secs(per_member_decade)));
        assert!(is_near(suspicion_min(&config, 1_000), secs(3 * per_member_decade)));
    }
    let mut last = Duration::ZERO;
    for members in (0..2_000).chain((1..60).map(|k| k * 100_000)).chain([usize::MAX]) {
        let min = suspicion_min(&Config::lan(), members);
        assert!(min >= last && min >= secs(4), "it grows with the cluster: {members}");
        last = min;
    }
}

/// Lifeguard's table for K = 3: min 8 s, max 48 s.
#[test]
fn confirmations_shrink_it_by_the_logarithm() {
    let config = Config::lan();
    let mut one = One::new(&config, 100, &ids([1]));
    let log = |c: f64| (c + 1.0).log2() / 4f64.log2();
    for c in 0u32..=3 {
        if c > 0 {
            assert!(one.confirm(&ids([1 + u64::from(c)])));
        }
        let wanted = Duration::from_secs_f64(48.0 - 40.0 * log(f64::from(c)));
        assert!(is_near(one.lasts(), wanted), "C = {c}: {:?}, not {wanted:?}", one.lasts());
    }
    assert_eq!(one.lasts(), suspicion_min(&config, 100));
    // The same in numbers: 48, 28, 16.3, 8 s.
    for (accusers, millis) in [(1, 48_000), (2, 28_000), (3, 16_301), (4, 8_000)] {
        let one = One::new(&config, 100, &ids(1..=accusers));
        assert!(is_near(one.lasts(), millis * MS), "{accusers} at once: {:?}", one.lasts());
    }
    let unaccused = One::new(&config, 100, &[]);
    assert!(is_near(unaccused.lasts(), secs(48)), "nobody's probe: no confirmation");
}

#[test]
fn c5_it_only_shortens_within_its_bounds() {
    let mut rng = Rng::new(3);
    for _ in 0..3_000 {
        let config = Config {
            suspicion_mult: 1 + rng.below(1_000),
            suspicion_max_mult: 1 + rng.below(1_000),
            confirmations: rng.index(ACCUSERS_MAX),
            ..Config::lan()
        };
        config.validate().unwrap();
        let members = rng.index(70_000);
        let mut one = One::new(&config, members, &ids([rng.below(10).into()]));
        let min = suspicion_min(&config, members);
        let max = min * config.suspicion_max_mult;
        let mut last = max;
        for _ in 0..20 {
            let accuser = ids([rng.below(10).into()]);
            let is_new = !one.accusers().contains(&accuser[0]);
            let is_wanted =
                one.accusers().len() <= config.confirmations.min(members.saturating_sub(2));
            assert_eq!(one.confirm(&accuser), is_new && is_wanted);
            let lasts = one.lasts();
            assert!((min..=last).contains(&lasts), "{lasts:?} of {min:?} to {last:?}");
            last = lasts;
        }
        if members > 20 {
            assert_eq!(last == min, one.accusers().len() > config.confirmations || min == max);
        }
    }
}

#[test]
fn only_distinct_accusers_other_than_the_subject_count() {
    let mut one =
        One::new(&Config::lan(), 100, &[SUBJECT, NodeId::new(1), NodeId::new(1), SUBJECT]);
    assert_eq!(one.accusers(), ids([1]));
    assert!(is_near(one.lasts(), secs(48)));
    assert!(!one.confirm(&[]), "a telling without accusers is no confirmation (D6)");
    assert!(!one.confirm(&ids([1, 1])), "the same again");
    assert!(!one.confirm(&[SUBJECT]), "nobody accuses themselves");
    assert!(is_near(one.lasts(), secs(48)));
    assert!(one.confirm(&ids([1, 2, 2, 1_000])));
    assert_eq!(one.accusers(), ids([1, 2]));
    assert!(is_near(one.lasts(), secs(28)));
    assert!(!one.0.confirm(5, SUBJECT, &ids([9])), "nobody is suspected in slot 5");
}

#[test]
fn accusers_are_capped_at_those_that_count() {
    let mut one = One::new(&Config::lan(), 100, &ids(1..=200));
    assert_eq!(one.accusers(), ids(1..=4), "K + 1");
    assert!(!one.confirm(&ids([300])), "more say nothing new");
    let config = Config { confirmations: 7, ..Config::lan() };
    let one = One::new(&config, 100, &ids(1..=200));
    assert_eq!(one.accusers().len(), ACCUSERS_MAX);
    assert_eq!(one.lasts(), suspicion_min(&config, 100));
}

#[test]
fn those_who_could_confirm_bound_what_is_expected() {
    // Of n members, the subject and the first accuser cannot: K = n - 2.
    for (members, wanted) in [(0, 4), (1, 4), (2, 4), (3, 24), (4, 24), (5, 24), (50, 41)] {
        let lasts = One::new(&Config::lan(), members, &ids([1])).lasts();
        assert!(lasts.abs_diff(secs(wanted)) < secs(1), "n = {members}: {lasts:?}");
    }
    let mut three = One::new(&Config::lan(), 3, &ids([1]));
    assert!(three.confirm(&ids([2])), "the only other one");
    assert!(is_near(three.lasts(), secs(4)));
}

#[test]
fn plain_swim_has_a_fixed_time() {
    let mut one = One::new(&Config::lan().without_lifeguard(), 100, &ids([1]));
    for accuser in 1..10 {
        assert!(is_near(one.lasts(), secs(8)));
        one.confirm(&ids([accuser]));
    }
}

#[test]
fn d5_a_later_life_has_a_timer_of_its_own() {
    let mut running = Suspicions::default();
    let config = Config::lan();
    running.start(4, suspicion(&config, 100, &ids(1..=4)));
    assert_eq!(running.next_deadline(), Some(BEGAN + suspicion_min(&config, 100)));
    let began = BEGAN + secs(7);
    let life = (LIFE.0, Incarnation::new(4));
    running.start(4, Suspicion::new(life, SUBJECT, &ids([1]), 100, &config, began));
    assert_eq!(running.get(4).unwrap().life, life);
    let deadline = running.next_deadline().unwrap();
    assert!(is_near(deadline.since(began), secs(48)), "it starts long again");
    assert_eq!(running.expired(BEGAN + secs(20)), None, "the old timer is gone");
    running.cancel(4);
    running.cancel(4);
    assert!(running.get(4).is_none() && running.next_deadline().is_none());
    assert_eq!(running.expired(Instant::FAR_FUTURE), None);
}

#[test]
fn a_told_death_has_the_minimum_to_refute() {
    let config = Config::lan();
    let told = Suspicion::of_told_death(LIFE, 100, &config, BEGAN);
    assert!(told.is_of_told_death && told.accusers.is_empty());
    assert!(!suspicion(&config, 100, &ids([1])).is_of_told_death);
    let mut one = One(Suspicions::default());
    one.0.start(4, told);
    assert_eq!(one.lasts(), suspicion_min(&config, 100));
    one.confirm(&ids(1..9));
    assert_eq!(one.lasts(), suspicion_min(&config, 100));
}

#[test]
fn extending_moves_every_deadline_and_keeps_what_is_left_to_shrink() {
    let mut running = Suspicions::default();
    let config = Config::lan();
    for slot in 1..=4 {
        running.start(slot, suspicion(&config, 100, &ids(1..=u64::from(slot))));
    }
    let before: Vec<_> = running.deadlines.iter().map(|&(at, slot)| (at + secs(5), slot)).collect();
    running.extend_all(secs(5));
    assert_eq!(running.deadlines.iter().copied().collect::<Vec<_>>(), before);
    // A confirmation after it counts from the moved beginning.
    assert!(running.confirm(1, SUBJECT, &ids([2])));
    let deadline = running.get(1).unwrap().deadline;
    assert!(is_near(deadline.since(BEGAN), secs(5 + 28)));
    for slot in 1..=4 {
        running.cancel(slot);
    }
    assert_eq!(running.next_deadline(), None, "none is left behind");
}

#[test]
fn suspicions_run_out_in_order() {
    let mut rng = Rng::new(4);
    let (mut running, mut model) = (Suspicions::default(), Vec::<(Instant, Slot)>::new());
    let config = Config::lan();
    let mut now = BEGAN;
    for step in 0..3_000 {
        now = now + Duration::from_millis(rng.below(2_000).into());
        let slot = rng.below(40);
        model.retain(|&(_, other)| other != slot || rng.below(2) == 0);
        if model.iter().all(|&(_, other)| other != slot) {
            running.cancel(slot);
            running.start(slot, Suspicion::new(LIFE, SUBJECT, &ids([1]), 100, &config, now));
        } else {
            model.retain(|&(_, other)| other != slot);
            running.confirm(slot, SUBJECT, &ids([rng.below(6).into()]));
        }
        model.push((running.get(slot).unwrap().deadline, slot));
        if step % 50 == 0 {
            running.extend_all(secs(1));
            model.iter_mut().for_each(|(at, _)| *at = *at + secs(1));
        }
        model.sort_unstable();
        assert_eq!(running.next_deadline(), model.first().map(|&(at, _)| at));
        while let Some(slot) = running.expired(now) {
            assert_eq!(Some(slot), model.first().map(|&(_, slot)| slot));
            running.cancel(slot);
            model.remove(0);
        }
        assert!(model.first().is_none_or(|&(at, _)| at > now), "none is late");
    }
}

#[test]
fn endless_configurations_saturate() {
    let config = Config {
        probe_interval: secs(3_600),
        suspicion_mult: 1_000,
        suspicion_max_mult: 1_000,
        ..Config::lan()
    };
    config.validate().unwrap();
    let one = One::new(&config, 65_536, &ids([1]));
    assert!(one.lasts() >= secs(1_000 * 3_600));
    assert!(
        suspicion_min(&Config { probe_interval: Duration::MAX, ..config }, 100)
            > secs(u32::MAX.into())
    );
}
