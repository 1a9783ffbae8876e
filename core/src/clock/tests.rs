//! The rules of `docs/protocol.md` §3, each cited by the test that holds it, and the defects of
//! others' clocks.

extern crate std;

use core::num::NonZeroU32;
use core::time::Duration;
use std::collections::BTreeSet;
use std::format;
use std::string::ToString;
use std::vec::Vec;

use super::*;
use crate::id::NodeId;
use crate::rng::Rng;

const DRIFT: Duration = DRIFT_MAX_DEFAULT;
/// A day in 2026, in microseconds.
const TODAY: u64 = 1_790_000_000_000_000;

fn wall(micros: u64) -> WallTime {
    WallTime::from_nanos(micros * 1_000)
}

fn raw(micros: u64, counter: u64) -> Timestamp {
    Timestamp::from_raw((micros << 12) + counter)
}

fn count(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap()
}

/// What a timestamp prints as is read back, and no other text is a timestamp.
#[test]
fn a_timestamp_is_read_as_it_is_printed() {
    for value in [0, 1, 4_095, 4_096, 0x0123_4567_89ab_cdef, Timestamp::MAX.get(), u64::MAX] {
        let stamp = Timestamp::from_raw(value);
        assert_eq!(stamp.to_string().parse(), Ok(stamp), "{stamp}");
    }
    let beyond = format!("{}.0000", 1_u64 << 52);
    let not = [
        "",
        ".",
        "1",
        "1.",
        ".0001",
        "1.001",
        "1.00001",
        "1.4096",
        "+1.0001",
        "1.+001",
        "01.0001",
        "1.0001 ",
        " 1.0001",
        "1.0001.0",
        "-1.0001",
        "1.00a1",
        &beyond,
        "99999999999999999999.0000",
    ];
    for text in not {
        assert_eq!(text.parse::<Timestamp>(), Err(ParseTimestampError), "{text}");
    }
}

#[test]
fn rule_3_1_a_timestamp_is_52_bits_of_microseconds_and_12_of_counter() {
    let stamp = Timestamp::from_raw(0x0123_4567_89ab_cdef);
    assert_eq!(stamp.micros(), 0x0_1234_5678_9abc);
    assert_eq!(stamp.counter(), 0xdef);
    assert_eq!(Timestamp::from_raw(u64::MAX).counter(), 4_095);
    assert_eq!(Timestamp::at(wall(TODAY)), raw(TODAY, 0));
    assert_eq!(raw(TODAY, 7).wall(), wall(TODAY));
    assert_eq!(raw(TODAY, 7).to_string(), "1790000000000000.0007");
    assert!(Timestamp::default() < SharedHlc::new(DRIFT).tick(WallTime::UNIX_EPOCH));
}

#[test]
fn rule_3_2_stamps_are_ordered_by_time_and_then_by_node() {
    let stamp = |time, node| Stamp { time: Timestamp::from_raw(time), node: NodeId::new(node) };
    let sorted = [stamp(1, u64::MAX), stamp(2, 0), stamp(2, 1), stamp(3, 0)];
    assert!(sorted.is_sorted_by(|a, b| a < b));
    assert_eq!(stamp(4_097, 3).to_string(), "1.0001@3");
}

#[test]
fn rule_3_3_a_tick_is_the_greater_of_last_plus_one_and_the_wall() {
    // (wall in µs, the stamp expected), one clock.
    let table = [
        (10, raw(10, 0)), // the wall leads
        (10, raw(10, 1)), // it stands still
        (9, raw(10, 2)),  // it steps back
        (0, raw(10, 3)),  // all the way
        (12, raw(12, 0)), // and leads again
    ];
    let (mut pure, shared) = (Hlc::new(DRIFT), SharedHlc::new(DRIFT));
    for (at, expected) in table {
        assert_eq!(pure.tick(wall(at)), expected);
        assert_eq!(shared.tick(wall(at)), expected);
    }
}

#[test]
fn rule_3_3_a_full_counter_carries_into_the_microseconds() {
    let clock = SharedHlc::new(DRIFT);
    assert_eq!(clock.reserve(wall(10), count(4_096)).last(), Some(raw(10, 4_095)));
    assert_eq!(clock.tick(wall(10)), raw(11, 0));
}

#[test]
fn rule_3_3_a_range_is_as_many_ticks() {
    let (mut ticks, mut pure, shared) = (Hlc::new(DRIFT), Hlc::new(DRIFT), SharedHlc::new(DRIFT));
    for (at, n) in [(10, 5), (10, 4_100), (12, 1), (3, 2)] {
        let expected: Vec<_> = (0..n).map(|_| ticks.tick(wall(at))).collect();
        let range = shared.reserve(wall(at), count(n));
        assert_eq!(range.len(), n as usize);
        assert_eq!(range.collect::<Vec<_>>(), expected);
        assert_eq!(pure.reserve(wall(at), count(n)).collect::<Vec<_>>(), expected);
        assert_eq!((pure.last(), shared.last()), (ticks.last(), ticks.last()));
    }
}

#[test]
fn rule_3_4_observing_a_stamp_puts_every_later_tick_past_it() {
    let (mut pure, shared) = (Hlc::new(DRIFT), SharedHlc::new(DRIFT));
    let remote = raw(TODAY + 400_000, 17);
    pure.observe(wall(TODAY), remote).unwrap();
    shared.observe(wall(TODAY), remote).unwrap();
    assert_eq!(pure.tick(wall(TODAY)), raw(TODAY + 400_000, 18));
    assert_eq!(shared.tick(wall(TODAY)), raw(TODAY + 400_000, 18));
    assert_eq!(shared.ahead(wall(TODAY)), Duration::from_millis(400));
    // A stamp from the past moves nothing.
    shared.observe(wall(TODAY), raw(3, 0)).unwrap();
    assert_eq!(shared.last(), raw(TODAY + 400_000, 18));
}

#[test]
fn rule_3_5_a_stamp_too_far_ahead_moves_nothing_and_is_counted() {
    let (mut pure, shared) = (Hlc::new(DRIFT), SharedHlc::new(DRIFT));
    let before = shared.tick(wall(TODAY));
    pure.tick(wall(TODAY));
    let far = [raw(TODAY + 500_001, 0), raw(TODAY + 60_000_000, 5), Timestamp::from_raw(u64::MAX)];
    for (refused, remote) in (1..).zip(far) {
        let by = Duration::from_micros(remote.micros() - TODAY);
        assert_eq!(shared.observe(wall(TODAY), remote), Err(TooFarAhead { by }));
        assert_eq!(pure.observe(wall(TODAY), remote), Err(TooFarAhead { by }));
        assert_eq!((shared.last(), shared.refused_count()), (before, refused));
        assert_eq!((pure.last(), pure.refused_count()), (before, refused));
    }
    assert_eq!(shared.tick(wall(TODAY)), raw(TODAY, 1));
    // Exactly `drift_max`, with any counter, is not too far.
    shared.observe(wall(TODAY), raw(TODAY + 500_000, 4_095)).unwrap();
    assert_eq!(shared.refused_count(), 3);
    let text = TooFarAhead { by: Duration::from_millis(1_500) }.to_string();
    assert_eq!(text, "the stamp is 1.5s ahead of the local wall clock");
}

#[test]
fn rule_3_6_at_the_end_of_time_the_clock_stays_and_neither_wraps_nor_panics() {
    for past in [WallTime::from_nanos(u64::MAX), wall(1 << 52), wall(Timestamp::MAX.micros() + 1)] {
        let (mut pure, shared) = (Hlc::new(DRIFT), SharedHlc::new(DRIFT));
        for at in [past, past, wall(TODAY), past] {
            assert_eq!(shared.tick(at), Timestamp::MAX);
            assert_eq!(pure.tick(at), Timestamp::MAX);
            assert!(
                shared.reserve(at, NonZeroU32::MAX).take(3).all(|stamp| stamp == Timestamp::MAX)
            );
            assert!(pure.reserve(at, NonZeroU32::MAX).take(3).all(|stamp| stamp == Timestamp::MAX));
            assert_eq!(shared.last(), Timestamp::MAX);
        }
        shared.observe(past, Timestamp::MAX).unwrap();
        for beyond in [u64::MAX, Timestamp::MAX.get() + 1].map(Timestamp::from_raw) {
            assert!(shared.observe(past, beyond).is_err() && pure.observe(past, beyond).is_err());
        }
        // The first bound is the end itself; past it there is none to give.
        assert_eq!(shared.persist_bound(past), Some(Timestamp::MAX));
        assert_eq!(shared.persist_bound(past), None);
    }
}

#[test]
fn rule_3_6_a_range_over_the_end_is_capped_and_the_clock_does_not_wrap() {
    let near = Timestamp::from_raw(Timestamp::MAX.get() - 2);
    let clock = SharedHlc::resume(near, Duration::MAX);
    for _ in 0..100 {
        let range: Vec<_> = clock.reserve(wall(TODAY), NonZeroU32::MAX).take(4).collect();
        assert!(range.is_sorted() && range[0] > near && range[3] == Timestamp::MAX);
    }
    assert_eq!(
        SharedHlc::resume(Timestamp::from_raw(u64::MAX), DRIFT).tick(wall(TODAY)),
        Timestamp::MAX
    );
}

/// What a schedule may do to a clock: a mix of ordinary and hostile values, the wall walking and
/// jumping.
#[test]
fn rule_3_3_to_3_6_the_shared_clock_is_the_pure_one_under_any_schedule() {
    for seed in 0..200 {
        let mut rng = Rng::new(seed);
        let drift =
            [DRIFT, Duration::ZERO, Duration::from_secs(4_100), Duration::MAX][rng.index(4)];
        let start = Timestamp::from_raw([0, raw(TODAY, 0).get(), u64::MAX][rng.index(16).min(2)]);
        let start = if rng.below(4) == 0 { start } else { Timestamp::default() };
        let (mut pure, shared) = (Hlc::resume(start, drift), SharedHlc::resume(start, drift));
        let (mut at, mut previous) = (TODAY, pure.last());
        for _ in 0..300 {
            at = match rng.below(40) {
                0 => rng.below_u64(u64::MAX / 1_000),
                1 => at.saturating_sub(rng.below_u64(10_000_000)),
                2..10 => at,
                _ => at + rng.below_u64(2_000),
            }
            .min(u64::MAX / 1_000);
            let now = wall(at);
            match rng.below(6) {
                0 => {
                    let n = count(rng.below(500) + 1);
                    let (a, b) = (pure.reserve(now, n), shared.reserve(now, n));
                    assert_eq!(a.collect::<Vec<_>>(), b.collect::<Vec<_>>(), "seed {seed}");
                }
                1..3 => {
                    let remote = match rng.below(8) {
                        0 => Timestamp::from_raw(rng.next_u64()),
                        1 => Timestamp::from_raw(u64::MAX - rng.below_u64(1 << 49)),
                        2 => previous,
                        _ => raw(
                            (at + rng.below_u64(1_000_000)) & ((1 << 52) - 1),
                            rng.below_u64(4_096),
                        ),
                    };
                    let before = pure.last();
                    let taken = pure.observe(now, remote);
                    assert_eq!(taken, shared.observe(now, remote), "seed {seed}");
                    assert!(
                        taken.is_ok() || pure.last() == before,
                        "seed {seed}: a refusal moved the clock"
                    );
                    assert!(taken.is_err() || pure.last() >= remote, "seed {seed}");
                }
                3 => assert_eq!(pure.persist_bound(now), shared.persist_bound(now), "seed {seed}"),
                _ => {
                    let stamp = pure.tick(now);
                    assert_eq!(stamp, shared.tick(now), "seed {seed}");
                    assert!(stamp >= Timestamp::at(now), "seed {seed}: behind the wall");
                    assert!(stamp > previous || stamp == Timestamp::MAX, "seed {seed}: not rising");
                }
            }
            assert_eq!(pure.last(), shared.last(), "seed {seed}");
            assert_eq!(pure.refused_count(), shared.refused_count(), "seed {seed}");
            assert!(pure.last() >= previous, "seed {seed}: ran back");
            assert_eq!(pure.ahead(now), shared.ahead(now), "seed {seed}");
            previous = pure.last();
        }
    }
}

#[test]
fn rule_3_2_stamps_are_unique_and_rise_on_each_of_four_threads() {
    let clock = SharedHlc::new(DRIFT);
    let work = |thread: u64| {
        let mut rng = Rng::new(thread);
        let mut stamps = Vec::new();
        let mut at = TODAY;
        while stamps.len() < 20_000 {
            // All threads see the same few microseconds, so CAS, fetch_max and fetch_add meet.
            at = (at + rng.below_u64(3)).saturating_sub(rng.below_u64(2));
            match rng.below(8) {
                0 => stamps.extend(clock.reserve(wall(at), count(1 + rng.below(16)))),
                1 => {
                    let remote = raw(at + rng.below_u64(5), rng.below_u64(4_096));
                    clock.observe(wall(at), remote).unwrap();
                    let next = clock.tick(wall(at));
                    assert!(next > remote);
                    stamps.push(next);
                }
                _ => stamps.push(clock.tick(wall(at))),
            }
        }
        assert!(stamps.is_sorted_by(|a, b| a < b), "thread {thread} ran back");
        stamps
    };
    let all: Vec<Vec<Timestamp>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|thread| scope.spawn(move || work(thread))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let unique: BTreeSet<_> = all.iter().flatten().collect();
    assert_eq!(unique.len(), all.iter().map(Vec::len).sum::<usize>());
}

/// One node of a made-up cluster: its clock, how wrong its wall clock is, and the events in its
/// past.
struct Site {
    clock: Hlc,
    offset: u64,
    rate_ppm: u64,
    /// For each site, how many of its events are in this site's past: a vector clock, the
    /// definition of "hb".
    past: [u32; SITES],
}

const SITES: usize = 5;
/// The widest that the sites' wall clocks come apart.
const SKEW_MICROS: u64 = 40_000;

impl Site {
    fn wall(&self, real: u64) -> WallTime {
        let drifted = self.offset + real / 1_000_000 * self.rate_ppm;
        wall(TODAY + real + drifted.min(SKEW_MICROS))
    }

    /// A local event: moves the vector clock and the hybrid one, and checks the bound of §3.7.
    fn event(&mut self, me: usize, real: u64) -> (Timestamp, [u32; SITES]) {
        let now = self.wall(real);
        self.past[me] += 1;
        let stamp = self.clock.tick(now);
        assert!(stamp >= Timestamp::at(now));
        // One microsecond for the few stamps that share the last one.
        assert!(self.clock.ahead(now) <= Duration::from_micros(SKEW_MICROS + 1));
        (stamp, self.past)
    }
}

/// Theorem 1 of the HLC paper and its corollary, with vector clocks as the oracle of what happened
/// before what.
#[test]
fn rules_3_4_and_3_7_cause_comes_before_effect_and_no_clock_leads_by_more_than_the_skew() {
    for seed in 0..20 {
        let mut rng = Rng::new(seed);
        let mut sites: Vec<Site> = (0..SITES)
            .map(|_| Site {
                clock: Hlc::new(DRIFT),
                offset: rng.below_u64(SKEW_MICROS),
                rate_ppm: rng.below_u64(300),
                past: [0; SITES],
            })
            .collect();
        let (mut events, mut network) = (Vec::new(), Vec::new());
        let mut real = 0;
        for _ in 0..400 {
            real += rng.below_u64(30_000);
            let me = rng.index(SITES);
            match rng.below(3) {
                0 => events.push((me, sites[me].event(me, real))),
                1 => {
                    let sent = sites[me].event(me, real);
                    events.push((me, sent));
                    network.push((rng.index(SITES), sent));
                }
                _ if network.is_empty() => {}
                _ => {
                    // Any message in flight may be next: the network reorders, and delays by as
                    // much as it likes.
                    let (to, (stamp, past)) = network.swap_remove(rng.index(network.len()));
                    let now = sites[to].wall(real);
                    sites[to].clock.observe(now, stamp).unwrap();
                    for (own, theirs) in sites[to].past.iter_mut().zip(past) {
                        *own = (*own).max(theirs);
                    }
                    events.push((to, sites[to].event(to, real)));
                }
            }
        }
        let mut ordered = 0;
        for (from, (e, e_past)) in &events {
            for (_, (f, f_past)) in &events {
                if e_past != f_past && f_past[*from] >= e_past[*from] {
                    assert!(e < f, "seed {seed}: {e} happened before {f}");
                    ordered += 1;
                }
            }
        }
        assert!(ordered > events.len(), "seed {seed}: nothing was ordered, so nothing was checked");
    }
}

#[test]
fn rule_3_8_a_resumed_clock_starts_past_its_bound() {
    let bound = raw(TODAY, 9);
    for at in [0, TODAY - 5, TODAY, TODAY + 1] {
        assert!(SharedHlc::resume(bound, DRIFT).tick(wall(at)) > bound);
        assert!(Hlc::resume(bound, DRIFT).tick(wall(at)) > bound);
    }
}

#[test]
fn rule_3_9_the_persisted_bound_is_ahead_of_every_stamp_and_peers_accept_it() {
    let mut rng = Rng::new(3);
    let clock = SharedHlc::new(DRIFT);
    let (mut at, mut persisted, mut writes) = (TODAY, Timestamp::default(), 0);
    for _ in 0..10_000 {
        at += rng.below_u64(2_000); // polled well within half a window
        if let Some(bound) = clock.persist_bound(wall(at)) {
            assert!(bound > persisted);
            (persisted, writes) = (bound, writes + 1);
        }
        assert!(clock.tick(wall(at)) <= persisted);
    }
    // 10 s of wall time at one bound per half window (125 ms), and not one for each call.
    assert!((70..=100).contains(&writes), "{writes} bounds in 10 s");
    // The wall clock steps back an hour while the node is down: nothing is given twice.
    assert!(SharedHlc::resume(persisted, DRIFT).tick(wall(at - 3_600_000_000)) > clock.last());
    // It restarts in no time at all: a peer whose wall clock agrees accepts its first stamp.
    let first = SharedHlc::resume(persisted, DRIFT).tick(wall(at));
    SharedHlc::new(DRIFT).observe(wall(at), first).unwrap();
}

#[test]
fn rule_3_9_of_threads_that_ask_at_once_one_gets_the_bound() {
    let clock = SharedHlc::new(DRIFT);
    let given: Vec<_> = std::thread::scope(|scope| {
        let ask = || clock.persist_bound(wall(TODAY));
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(given, [raw(TODAY + 250_000, 0)]);
}

/// datacake-crdt 0.4: one stamp 60 s ahead is adopted, the 16-bit counter can no longer reset, and
/// after 65,535 stamps the clock's actor panics for good.
#[test]
fn defect_datacake_one_remote_stamp_kills_the_clock() {
    let mut clock = Hlc::new(DRIFT);
    clock.tick(wall(TODAY));
    assert!(clock.observe(wall(TODAY), raw(TODAY + 60_000_000, 65_535)).is_err());
    // The worst stamp that is accepted, and a wall clock that then stands still.
    clock.observe(wall(TODAY), raw(TODAY + 500_000, 4_095)).unwrap();
    let mut last = clock.last();
    for _ in 0..200_000 {
        let next = clock.tick(wall(TODAY));
        assert!(next > last);
        last = next;
    }
    // Dragged by `drift_max` and its own stamps, 4,096 to the microsecond, and by nothing else.
    assert_eq!(clock.ahead(wall(TODAY)), Duration::from_micros(500_000 + 49));
}

/// datacake-crdt 0.4 gives at most 65,535 stamps in 4 ms of wall time and refuses the rest.
#[test]
fn defect_datacake_stamps_are_capped_at_16_million_a_second() {
    let mut clock = Hlc::new(DRIFT);
    let stamps: u32 = 300_000; // in no time at all
    for _ in 0..stamps {
        clock.tick(wall(TODAY));
    }
    assert_eq!(clock.last().get() - raw(TODAY, 0).get(), u64::from(stamps) - 1);
    // 73 µs of lead; the wall clock is past it long before it matters.
    assert!(clock.ahead(wall(TODAY)) < Duration::from_micros(75));
}

/// The text and the code state the same facts, and each rule of §3 is cited by a test here.
#[test]
fn the_protocol_text_agrees_with_the_code() {
    let text = include_str!("../../../docs/protocol.md");
    let section = text.split("\n## ").find(|section| section.starts_with("3. The clock")).unwrap();
    let section = section.replace('\n', " ");
    let tests = include_str!("tests.rs");
    for rule in 1..=9 {
        assert!(section.contains(&format!("**§3.{rule} ")), "§3.{rule} is not in the text");
        let cited = [
            format!("fn rule_3_{rule}_"),
            format!("fn rules_3_{rule}_"),
            format!("_and_3_{rule}_"),
        ];
        assert!(cited.iter().any(|name| tests.contains(name)), "no test cites §3.{rule}");
    }
    assert!(!section.contains(&format!("§3.{}", 9 + 1)), "rules past 9 are not checked");
    let bits = Timestamp::COUNTER_BITS;
    assert!(section.contains(&format!("{} bits of microseconds", 64 - bits)));
    assert!(section.contains(&format!("{bits} bits of counter")));
    assert!(section.contains(&format!("({DRIFT_MAX_DEFAULT:?} by default)").replace("ms", " ms")));
    assert!(section.contains(&format!("at least {PERSIST_WINDOW_MIN:?}").replace("ms", " ms")));
    assert_eq!(Timestamp::MAX.get(), u64::MAX - (1 << 48), "§3.6 writes it as 2^64 − 1 − 2^48");
}
