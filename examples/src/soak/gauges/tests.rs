use super::*;

/// A hundred rounds; `change` makes of each what it is to be.
fn rounds(count: u64, change: impl Fn(u64, &mut Sample)) -> Vec<Sample> {
    let sample = |round| {
        let mut sample = Sample { seconds: round * 10, calls: 1_000, ..Sample::default() };
        (sample.tasks, sample.descriptors, sample.threads, sample.memory_kib) = (1, 12, 5, 20_000);
        change(round, &mut sample);
        sample
    };
    (0..count).map(sample).collect()
}

#[test]
fn what_stays_as_it_is_is_flat() {
    assert_eq!(faults(&rounds(7, |_, _| {})), [""; 0]);
    let noisy = rounds(100, |round, sample| {
        sample.memory_kib += round * 37 % 5_000;
        sample.threads += round % 4;
        // A round in three is read a moment too early.
        sample.tasks += u64::from(round % 3 == 0);
        sample.descriptors += u64::from(round % 3 == 0);
    });
    assert_eq!(faults(&noisy), [""; 0]);
    let shrinking = rounds(100, |round, sample| {
        (sample.tasks, sample.descriptors) = (200 - round, 200 - round);
        (sample.threads, sample.memory_kib) = (200 - round, 100_000 - round * 500);
    });
    assert_eq!(faults(&shrinking), [""; 0]);
}

#[test]
fn warming_up_is_not_counted() {
    let warm = rounds(7, |round, sample| {
        if round == 0 {
            (sample.tasks, sample.descriptors, sample.calls) = (0, 3, 0);
            (sample.threads, sample.memory_kib) = (1, 1_000);
        }
    });
    assert_eq!(faults(&warm), [""; 0]);
}

#[test]
fn what_grows_is_named() {
    type Change = fn(u64, &mut Sample);
    let table: [(Change, &str); 6] = [
        (|round, sample| sample.tasks += round / 40, "tasks grew from 1 to 3; 1 is the limit"),
        (
            |round, sample| sample.descriptors += round / 50,
            "descriptors grew from 12 to 13; 12 is the limit",
        ),
        (
            |round, sample| sample.threads += round / 10,
            "threads grew from 6 to 13; 10 is the limit",
        ),
        // 200 bytes a call.
        (
            |round, sample| sample.memory_kib += round * 195,
            "memory in KiB grew from 23315 to 36185; 33838 is",
        ),
        (|round, sample| sample.memory_kib += round * round * 2, "memory in KiB grew from"),
        (
            |round, sample| sample.calls = u64::from(round != 50),
            "no call was answered in the round that ended at 500 s",
        ),
    ];
    for (change, expected) in table {
        let faults = faults(&rounds(100, change));
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].contains(expected), "{faults:?}: {expected}");
    }
}

#[test]
fn everything_that_grows_is_named() {
    let all = rounds(100, |round, sample| {
        sample.tasks += round;
        sample.descriptors += round;
        sample.threads += round;
        sample.memory_kib += round * 1_000;
    });
    assert_eq!(faults(&all).len(), 4);
}

#[test]
fn too_few_rounds_tell_nothing() {
    for count in 0..7 {
        let faults = faults(&rounds(count, |_, _| {}));
        assert_eq!(faults, [format!("too short to tell: {count} rounds of the 7 that it takes")]);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_sample_is_of_this_process() {
    let before = Sample::default().with_system().expect("Linux has /proc");
    assert!(before.threads >= 1 && before.memory_kib > 100, "{before:?}");
    let files: Vec<_> =
        (0..20).map(|_| fs::File::open("/proc/self/status").expect("it is there")).collect();
    let after = Sample::default().with_system().expect("Linux has /proc");
    // Other tests of this process may open and close some.
    assert!(after.descriptors >= before.descriptors + 10, "{before:?} {after:?} {}", files.len());
}
