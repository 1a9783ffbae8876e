use super::*;

/// Every duration is in a bucket that ends after it, and by no more than an eighth.
#[test]
fn a_bucket_is_at_most_an_eighth_too_long() {
    for octave in (SHORTEST_LOG2..).take(OCTAVES) {
        let begin = 1_u64 << octave;
        for nanos in [begin, begin + 1, begin + begin / 3, begin + begin / 2, 2 * begin - 1] {
            let end = u64::try_from(end_of(bucket(Duration::from_nanos(nanos))).as_nanos())
                .expect("small");
            assert!(end > nanos && end - nanos <= nanos / 8 + 1, "{nanos} is said to be {end}");
        }
    }
}

#[test]
fn the_ends_of_the_buckets_rise() {
    let ends: Vec<Duration> = (0..BUCKETS).map(end_of).collect();
    assert!(ends.is_sorted_by(|one, next| one < next));
    assert_eq!(ends[0], Duration::from_nanos(1 << SHORTEST_LOG2));
}

#[test]
fn what_is_out_of_range_is_in_the_bucket_at_its_end() {
    assert_eq!(bucket(Duration::ZERO), 0);
    assert_eq!(bucket(Duration::from_nanos((1 << SHORTEST_LOG2) - 1)), 0);
    assert_eq!(bucket(Duration::from_nanos(1 << SHORTEST_LOG2)), 1);
    assert_eq!(bucket(Duration::MAX), BUCKETS - 1);
}

#[test]
fn quantiles_are_of_the_calls_in_order() {
    let histogram = Histogram::new();
    assert_eq!(histogram.read().quantile(0.5), Duration::ZERO);
    (1..=100).for_each(|millis| histogram.record(Duration::from_millis(millis)));
    let latency = histogram.read();
    assert_eq!(latency.count(), 100);
    for (q, exact) in
        [(-1.0, 1), (0.0, 1), (0.01, 1), (0.5, 50), (0.99, 99), (1.0, 100), (7.0, 100)]
    {
        let (exact, told) = (Duration::from_millis(exact), latency.quantile(q));
        assert!(told >= exact && told <= exact * 9 / 8, "{q}: {told:?} for {exact:?}");
    }
    assert_eq!(latency.merged(&Latency::default()), latency);
    let twice = latency.merged(&latency);
    assert_eq!((twice.count(), twice.quantile(0.5)), (200, latency.quantile(0.5)));
    assert_eq!(latency.buckets().map(|(_, count)| count).sum::<u64>(), 100);
}
