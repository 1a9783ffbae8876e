//! The contract of [`NodeSelector`], the meaning of the levels as a table, and the defects of
//! datacake's selector.

extern crate std;

use alloc::sync::Arc;
use std::collections::{BTreeMap, BTreeSet};
use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use super::*;
use crate::rng::Rng;

const DC_NAMES: [&str; 8] = ["dc-0", "dc-1", "dc-2", "dc-3", "dc-4", "dc-5", "dc-6", "dc-7"];

/// Node `n` of data centre `dc`, as datacake's tests write it.
fn node(dc: usize, n: usize) -> NodeId {
    NodeId::new((dc * 1_000 + n) as u64)
}

fn dc_of(id: NodeId) -> usize {
    usize::try_from(id.get()).unwrap() / 1_000
}

fn members(sizes: &[usize]) -> impl Iterator<Item = (NodeId, &'static str)> {
    sizes
        .iter()
        .zip(DC_NAMES)
        .enumerate()
        .flat_map(|(dc, (&n, name))| (0..n).map(move |i| (node(dc, i), name)))
}

/// `sizes` nodes per data centre, of which (0, 0) is the local one.
fn topology(sizes: &[usize]) -> Topology {
    Topology::new(1, node(0, 0), "dc-0", members(sizes))
}

fn pick(
    selector: &dyn NodeSelector,
    on: &Topology,
    level: Consistency,
) -> Result<Vec<NodeId>, SelectError> {
    let mut picks = Picks::new();
    selector.select(on, level, &mut picks)?;
    picks.sort_unstable();
    Ok(picks.to_vec())
}

fn spread(on: &Topology, level: Consistency) -> Vec<NodeId> {
    pick(&Spread, on, level).unwrap()
}

fn selectors(seed: u64) -> [(&'static str, alloc::boxed::Box<dyn NodeSelector>); 4] {
    [
        ("spread", alloc::boxed::Box::new(Spread)),
        ("local first", alloc::boxed::Box::new(LocalFirst)),
        ("power of two", alloc::boxed::Box::new(PowerOfTwo::new(seed))),
        ("rendezvous", alloc::boxed::Box::new(Rendezvous::from_hash(seed))),
    ]
}

/// Sizes of up to eight data centres; the first has the local node.
fn any_sizes(rng: &mut Rng) -> Vec<usize> {
    let largest = [3, 20][rng.index(2)];
    (0..=rng.index(8)).map(|dc| rng.index(largest) + usize::from(dc == 0)).collect()
}

/// The contract, written down a second time: how many of each data centre a level needs, by its
/// definition.
fn check(name: &str, sizes: &[usize], level: Consistency, got: &Result<Vec<NodeId>, SelectError>) {
    let total: usize = sizes.iter().sum();
    let required = match level {
        Consistency::None => 0,
        Consistency::One => 1,
        Consistency::Two => 2,
        Consistency::Three => 3,
        Consistency::Quorum => total / 2,
        Consistency::LocalQuorum => sizes[0] / 2,
        Consistency::EachQuorum => {
            sizes[0] / 2 + sizes[1..].iter().filter(|&&n| n > 0).map(|n| n / 2 + 1).sum::<usize>()
        }
        Consistency::All => total - 1,
    };
    let context = format!("{name} {level:?} {sizes:?} {got:?}");
    let picks = match got {
        Err(error) => {
            assert_eq!(
                *error,
                SelectError::NotEnoughNodes { live: total - 1, required },
                "{context}"
            );
            assert!(required > total - 1, "refused what is feasible: {context}");
            return;
        }
        Ok(picks) => picks,
    };
    assert_eq!(picks.len(), required, "{context}");
    let unique: BTreeSet<_> = picks.iter().collect();
    assert_eq!(unique.len(), picks.len(), "duplicates: {context}");
    assert!(!picks.contains(&node(0, 0)), "the local node: {context}");
    let known: BTreeSet<_> = members(sizes).map(|(id, _)| id).collect();
    assert!(picks.iter().all(|id| known.contains(id)), "a stranger: {context}");
    for (dc, &n) in sizes.iter().enumerate() {
        let here = picks.iter().filter(|id| dc_of(**id) == dc).count();
        match level {
            Consistency::LocalQuorum => {
                assert_eq!(here, if dc == 0 { n / 2 } else { 0 }, "{context}");
            }
            Consistency::EachQuorum if dc == 0 => assert_eq!(here, n / 2, "{context}"),
            Consistency::EachQuorum => {
                assert_eq!(here, if n == 0 { 0 } else { n / 2 + 1 }, "{context}");
            }
            _ => {}
        }
    }
}

#[test]
fn every_selector_keeps_the_contract_on_any_topology() {
    let mut refused = 0;
    for seed in 0..300 {
        let mut rng = Rng::new(seed);
        let sizes = any_sizes(&mut rng);
        let on = topology(&sizes);
        for (name, selector) in selectors(seed) {
            // Mixed levels on one topology, as datacake's refusals need it.
            for _ in 0..30 {
                let level = Consistency::EVERY[rng.index(8)];
                let mut picks: Picks = (0..rng.index(12)).map(|_| node(7, 999)).collect();
                let result = selector.select(&on, level, &mut picks);
                assert!(result.is_ok() || picks.is_empty(), "an error with picks");
                let got = result.map(|()| picks.to_vec());
                refused += usize::from(got.is_err());
                check(name, &sizes, level, &got);
                assert_eq!(
                    got.map_or(level.required(&on), |picks| picks.len()),
                    level.required(&on)
                );
            }
        }
    }
    assert!(refused > 100, "infeasible levels were hardly tried: {refused}");
}

/// A level and, of datacake's tests, what it expects: how many others, or the error.
#[test]
fn the_levels_mean_what_datacakes_tests_expect() {
    use Consistency::*;
    let none = SelectError::NotEnoughNodes { live: 2, required: 3 };
    assert_eq!(pick(&Spread, &topology(&[3]), Three), Err(none));
    let message = none.to_string();
    assert!(message.starts_with("not enough live members: 3 needed besides this node, 2 there"));
    let table: [(&[usize], Consistency, usize); 17] = [
        (&[3], None, 0),
        (&[3], One, 1),
        (&[3], Two, 2),
        (&[3], All, 2),
        (&[3], Quorum, 1),
        (&[3], LocalQuorum, 1),
        (&[3], EachQuorum, 1),
        (&[1], Quorum, 0),
        (&[2], Quorum, 1),
        (&[4], Quorum, 2),
        (&[5], Quorum, 2),
        (&[3, 3], LocalQuorum, 1),
        (&[3, 3], EachQuorum, 3),
        (&[3, 2, 1], None, 0),
        (&[3, 2, 1], All, 5),
        (&[1], All, 0),
        (&[1], LocalQuorum, 0),
    ];
    for (sizes, level, expected) in table {
        assert_eq!(spread(&topology(sizes), level).len(), expected, "{level:?} on {sizes:?}");
    }
    let refused: [(&[usize], Consistency); 5] =
        [(&[1], One), (&[2], Two), (&[1, 1], Two), (&[1, 1, 1], Three), (&[2, 1], Three)];
    for (sizes, level) in refused {
        assert!(pick(&Spread, &topology(sizes), level).is_err(), "{level:?} on {sizes:?}");
    }
    // Who, on a fresh [3, 2, 1].
    let on = topology(&[3, 2, 1]);
    assert_eq!(spread(&on, EachQuorum), [node(0, 1), node(1, 0), node(1, 1), node(2, 0)]);
    assert_eq!(spread(&topology(&[3, 2, 1]), LocalQuorum), [node(0, 1)]);
    assert_eq!(spread(&topology(&[3, 2, 1]), Quorum), [node(0, 1), node(1, 0), node(2, 0)]);
}

/// datacake's test of cycling: successive calls, seen from each data centre of [3, 2, 1].
#[test]
fn one_of_each_other_data_centre_and_then_more_as_datacakes_tests_expect() {
    let seen_from = |dc| Topology::new(1, node(0, 0), dc, members(&[3, 2, 1]));
    let on = seen_from("dc-0");
    assert_eq!(spread(&on, Consistency::Three), [node(1, 0), node(1, 1), node(2, 0)]);
    assert_eq!(spread(&on, Consistency::Two), [node(1, 0), node(2, 0)]);
    assert_eq!(spread(&on, Consistency::None), []);
    let on = seen_from("dc-1");
    assert_eq!(spread(&on, Consistency::Three), [node(0, 1), node(0, 2), node(2, 0)]);
    assert_eq!(spread(&on, Consistency::Two), [node(0, 1), node(2, 0)]);
    // Both other data centres have two: which one gives a second member is a matter of turns.
    let on = seen_from("dc-2");
    let shape =
        |picks: &[NodeId]| [0, 1, 2].map(|dc| picks.iter().filter(|id| dc_of(**id) == dc).count());
    assert!([[1, 2, 0], [2, 1, 0]].contains(&shape(&spread(&on, Consistency::Three))));
    assert_eq!(shape(&spread(&on, Consistency::Two)), [1, 1, 0]);
    let on = topology(&[3, 2]);
    assert_eq!(spread(&on, Consistency::Two), [node(1, 0), node(1, 1)]);
    // The one expectation of datacake's that the strict rule breaks: it takes two local members and
    // one remote.
    assert_eq!(spread(&on, Consistency::Three), [node(0, 1), node(1, 0), node(1, 1)]);
}

/// datacake skips without replacement: of a single data centre of 4, Two is refused half the time.
#[test]
fn defect_datacake_refuses_what_is_feasible() {
    for (sizes, level) in
        [(&[4], Consistency::Two), (&[5], Consistency::Three), (&[4], Consistency::Three)]
    {
        let on = topology(sizes);
        for _ in 0..100 {
            assert_eq!(spread(&on, level).len(), level.required(&on));
            assert_eq!(spread(&on, Consistency::One).len(), 1); // mixed levels made it worse
        }
    }
}

/// datacake's Quorum takes whole rounds: four of five data centres of one where two are enough.
#[test]
fn defect_datacake_quorum_selects_too_many() {
    let table: [(&[usize], usize); 3] =
        [(&[1, 1, 1], 1), (&[1, 1, 1, 1, 1], 2), (&[5, 5, 5, 5, 5, 5], 15)];
    for (sizes, expected) in table {
        assert_eq!(spread(&topology(sizes), Consistency::Quorum).len(), expected, "{sizes:?}");
    }
}

/// datacake's SetNodes only inserts: after nine of ten data centres have left, All still returned
/// them.
#[test]
fn defect_datacake_vanished_data_centres_linger() {
    let on = topology(&[2, 3, 3]);
    let smaller = on.next(2, node(0, 0), "dc-0", members(&[2]));
    assert_eq!(smaller.version(), 2);
    assert_eq!(spread(&smaller, Consistency::All), [node(0, 1)]);
    assert_eq!(smaller.data_centers().map(|(name, _)| name).collect::<Vec<_>>(), ["dc-0"]);
    assert!(pick(&Spread, &smaller, Consistency::Two).is_err());
}

/// datacake's Quorum, LocalQuorum and EachQuorum begin at index 0 always, and its cache stops the
/// others for 2 s.
#[test]
fn defect_datacake_some_levels_never_rotate() {
    for level in
        [Consistency::One, Consistency::Quorum, Consistency::LocalQuorum, Consistency::EachQuorum]
    {
        let on = topology(&[5, 4, 4]);
        assert_ne!(spread(&on, level), spread(&on, level), "{level:?}");
    }
}

#[test]
fn load_is_even_to_within_one_whatever_the_mix_of_levels() {
    for seed in 0..100 {
        let mut rng = Rng::new(seed);
        let sizes = any_sizes(&mut rng);
        let (on, mut load) = (topology(&sizes), BTreeMap::<NodeId, u32>::new());
        for _ in 0..300 {
            let level = Consistency::EVERY[rng.index(8)];
            for id in pick(&Spread, &on, level).unwrap_or_default() {
                *load.entry(id).or_default() += 1;
            }
            for (name, ids) in on.data_centers() {
                let counts: Vec<u32> = ids.map(|id| load.get(&id).copied().unwrap_or(0)).collect();
                let (low, high) =
                    (counts.iter().min().unwrap_or(&0), counts.iter().max().unwrap_or(&0));
                assert!(high - low <= 1, "seed {seed} {sizes:?} {name}: {counts:?}");
            }
        }
    }
}

#[test]
fn data_centres_take_turns_and_a_full_cycle_reaches_every_member_equally() {
    for level in [Consistency::One, Consistency::Two, Consistency::Three, Consistency::Quorum] {
        let on = topology(&[5, 4, 4, 4]);
        let mut load = BTreeMap::<NodeId, usize>::new();
        let calls = 12 * 16 * 4; // whole cycles of every ring
        for _ in 0..calls {
            for id in spread(&on, level) {
                *load.entry(id).or_default() += 1;
            }
        }
        let local = level == Consistency::Quorum;
        assert_eq!(load.len(), if local { 16 } else { 12 }, "{level:?} reaches all it may");
        let even = calls * level.required(&on) / load.len();
        assert!(load.values().all(|&n| n.abs_diff(even) <= 1), "{level:?}: {load:?}");
    }
}

#[test]
fn picks_cover_as_many_other_data_centres_as_they_can() {
    for seed in 0..200 {
        let sizes = any_sizes(&mut Rng::new(seed));
        let on = topology(&sizes);
        let others: Vec<usize> = sizes[1..].iter().copied().filter(|n| *n > 0).collect();
        for level in [Consistency::One, Consistency::Two, Consistency::Three] {
            let Ok(picks) = pick(&Spread, &on, level) else { continue };
            let remote = picks.iter().filter(|id| dc_of(**id) != 0).count();
            assert_eq!(
                remote,
                picks.len().min(others.iter().sum()),
                "others first: {sizes:?} {picks:?}"
            );
            let covered: BTreeSet<_> =
                picks.iter().map(|id| dc_of(*id)).filter(|dc| *dc != 0).collect();
            assert_eq!(
                covered.len(),
                remote.min(others.len()),
                "one of each first: {sizes:?} {picks:?}"
            );
        }
    }
}

#[test]
fn a_quorum_is_spread_over_data_centres_as_evenly_as_their_sizes_allow() {
    for seed in 0..200 {
        let sizes = any_sizes(&mut Rng::new(seed));
        let on = topology(&sizes);
        let picks = spread(&on, Consistency::Quorum);
        let given = |dc| picks.iter().filter(|id| dc_of(**id) == dc).count();
        let most = (0..sizes.len()).map(given).max().unwrap();
        for (dc, &size) in sizes.iter().enumerate() {
            let size = size - usize::from(dc == 0);
            assert!(
                given(dc) + 1 >= most.min(size + 1),
                "{sizes:?}: {dc} gave {} of {most}",
                given(dc)
            );
        }
    }
}

#[test]
fn local_first_goes_elsewhere_only_for_what_is_missing() {
    let on = topology(&[3, 4, 4]);
    for _ in 0..4 {
        assert!(pick(&LocalFirst, &on, Consistency::One).unwrap().iter().all(|id| dc_of(*id) == 0));
        assert_eq!(pick(&LocalFirst, &on, Consistency::Two).unwrap(), [node(0, 1), node(0, 2)]);
        let three = pick(&LocalFirst, &on, Consistency::Three).unwrap();
        assert_eq!(three.iter().filter(|id| dc_of(**id) == 0).count(), 2);
    }
    assert_ne!(pick(&LocalFirst, &on, Consistency::One), pick(&LocalFirst, &on, Consistency::One));
}

#[test]
fn a_topology_sorts_drops_the_local_node_and_takes_the_first_of_a_repeated_id() {
    let list =
        [(5, "b"), (1, "x"), (4, "a"), (5, "c"), (2, "b")].map(|(id, dc)| (NodeId::new(id), dc));
    let on = Topology::new(9, NodeId::new(1), "m", list);
    assert_eq!(on.iter().map(NodeId::get).collect::<Vec<_>>(), [4, 2, 5]);
    let zones: Vec<(String, usize)> =
        on.data_centers().map(|(name, ids)| (name.into(), ids.len())).collect();
    assert_eq!(zones, [("a".into(), 1), ("b".into(), 2), ("m".into(), 0)]);
    assert_eq!((on.local_data_center(), on.local(), on.len()), ("m", NodeId::new(1), 3));
    assert_eq!(on.data_center(NodeId::new(5)), Some("b"));
    assert_eq!(on.data_center(NodeId::new(1)), None);
    assert!(Topology::new(0, NodeId::new(1), "m", []).is_empty());
}

#[test]
fn turns_and_loads_go_on_when_the_topology_changes() {
    let mut rng = Rng::new(5);
    let mut on = topology(&[3, 4]);
    // A topology per call: members of dc-1 must still take turns.
    let mut seen = BTreeSet::new();
    for version in 0..4 {
        seen.extend(spread(&on, Consistency::One));
        on = on.next(version, node(0, 0), "dc-0", members(&[3, 4]));
    }
    assert_eq!(seen.len(), 4);

    let call = on.load(node(1, 2)).unwrap().begin();
    for version in 0..200 {
        let mut sizes = any_sizes(&mut rng);
        sizes.resize(2, 0);
        sizes[1] = sizes[1].max(3);
        let dc = DC_NAMES[rng.index(8)];
        on = on.next(version, node(0, 0), dc, members(&sizes));
        assert_eq!(on.load(node(1, 2)).unwrap().outstanding(), 1);
        for (_, selector) in selectors(version) {
            for level in Consistency::EVERY {
                let _ = pick(&*selector, &on, level)
                    .map(|picks| assert_eq!(picks.len(), level.required(&on)));
            }
        }
    }
    let load = Arc::clone(on.load(node(1, 2)).unwrap());
    drop(on);
    drop(call);
    assert_eq!(load.outstanding(), 0);
}

#[test]
fn of_two_the_busier_is_left_alone() {
    let (on, selector) = (topology(&[3]), PowerOfTwo::new(1));
    let call = on.load(node(0, 1)).unwrap().begin();
    for _ in 0..100 {
        assert_eq!(pick(&selector, &on, Consistency::One).unwrap(), [node(0, 2)]);
    }
    drop(call);
    let first: BTreeSet<_> =
        (0..100).flat_map(|_| pick(&selector, &on, Consistency::One).unwrap()).collect();
    assert_eq!(first.len(), 2);
}

#[test]
fn power_of_two_keeps_queues_short_and_reaches_everybody() {
    let (on, selector) = (topology(&[21, 20, 20, 20, 20]), PowerOfTwo::new(7));
    let mut calls = Vec::new();
    for _ in 0..100 * 10 {
        for id in pick(&selector, &on, Consistency::One).unwrap() {
            calls.push(on.load(id).unwrap().begin());
        }
    }
    let loads: Vec<u32> = on.iter().map(|id| on.load(id).unwrap().outstanding()).collect();
    assert_eq!(loads.iter().sum::<u32>(), 1_000);
    // The mean is 10; a single random choice would leave a longest queue of about 18 and a shortest
    // of 3.
    assert!(loads.iter().all(|n| (5..=14).contains(n)), "{loads:?}");
}

#[test]
fn a_key_picks_the_same_members_on_every_node_and_in_every_version() {
    let all: Vec<_> = members(&[4, 4, 4]).collect();
    for key in 0..200u64 {
        let selector = Rendezvous::from_hash(key);
        let mut owners = Picks::new();
        for (at, &(local, dc)) in all.iter().enumerate() {
            let on = Topology::new(1, local, dc, all.iter().copied());
            let mut here = Picks::new();
            selector.owners(&on, 3, &mut here).unwrap();
            assert!(at == 0 || here == owners, "key {key}");
            owners = here;
            // A selection is the same ranking without the node that asks.
            let picks = pick(&selector, &on, Consistency::Two).unwrap();
            let mut expected: Vec<_> =
                owners.iter().copied().filter(|id| *id != local).take(2).collect();
            expected.sort_unstable();
            assert_eq!(picks, expected);
        }
    }
    // Golden: a change here moves every key of every running cluster.
    let mut owners = Picks::new();
    Rendezvous::new(b"user:42").owners(&topology(&[4, 4, 4]), 3, &mut owners).unwrap();
    assert_eq!(owners.iter().map(|id| id.get()).collect::<Vec<_>>(), GOLDEN);
    let error = SelectError::NotEnoughNodes { live: 12, required: 13 };
    assert_eq!(Rendezvous::new(b"").owners(&topology(&[4, 4, 4]), 13, &mut owners), Err(error));
}

const GOLDEN: [u64; 3] = [1_003, 1, 2_003];

#[test]
fn rendezvous_moves_only_the_keys_of_the_member_that_left() {
    let before = topology(&[10, 10, 10]);
    let gone = node(1, 3);
    let after =
        before.next(2, node(0, 0), "dc-0", members(&[10, 10, 10]).filter(|(id, _)| *id != gone));
    let mut held = BTreeMap::<NodeId, u32>::new();
    for key in 0..3_000u64 {
        let selector = Rendezvous::new(&key.to_le_bytes());
        let (old, new) = (
            pick(&selector, &before, Consistency::Three),
            pick(&selector, &after, Consistency::Three),
        );
        let (old, new) = (old.unwrap(), new.unwrap());
        let kept = old.iter().filter(|id| new.contains(id)).count();
        assert_eq!(kept, if old.contains(&gone) { 2 } else { 3 }, "key {key}");
        old.into_iter().for_each(|id| *held.entry(id).or_default() += 1);
    }
    // 9,000 places over 29 members: 310 each, standard deviation 17; five of these either way.
    assert!(held.len() == 29 && held.values().all(|n| (225..=395).contains(n)), "{held:?}");
}

#[test]
fn rendezvous_ranks_alike_with_and_without_inline_room() {
    let (on, selector) = (topology(&[30]), Rendezvous::new(b"k"));
    let (mut few, mut many) = (Picks::new(), Picks::new());
    selector.owners(&on, 29, &mut many).unwrap();
    for count in 0..=12 {
        selector.owners(&on, count, &mut few).unwrap();
        assert_eq!(few[..], many[..count]);
    }
}

#[test]
fn up_to_eight_picks_stay_inline() {
    let on = topology(&[9, 2, 2, 1]);
    for (name, selector) in selectors(1) {
        for level in Consistency::EVERY {
            let mut picks = Picks::new();
            selector.select(&on, level, &mut picks).unwrap();
            assert!(picks.len() > PICKS_INLINE || !picks.spilled(), "{name} {level:?}");
        }
    }
}

#[test]
fn threads_share_a_topology_and_its_turns() {
    let on = topology(&[1, 10, 10, 10, 10]);
    let ask = || {
        (0..1_000).flat_map(|_| pick(&Spread, &on, Consistency::One).unwrap()).collect::<Vec<_>>()
    };
    let all: Vec<NodeId> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let mut load = BTreeMap::<NodeId, u32>::new();
    all.into_iter().for_each(|id| *load.entry(id).or_default() += 1);
    // No turn is lost or given twice, so 4,000 calls over 40 members are exactly 100 each.
    assert!(load.len() == 40 && load.values().all(|&n| n == 100), "{load:?}");
}
