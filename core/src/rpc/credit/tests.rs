//! §5.12.

use super::*;

const MS: Duration = Duration::from_millis(1);

fn at(ms: u32) -> Instant {
    Instant::ZERO + MS * ms
}

#[test]
fn s5_12_1_a_charge_is_the_padded_body_and_an_event() {
    assert_eq!([0, 1, 16, 17].map(charge_of), [128, 144, 144, 160]);
    // The event stays within what is charged for it, more or less: twice.
    assert!(
        size_of::<crate::rpc::Event>() <= 2 * MESSAGE_CHARGE,
        "{}",
        size_of::<crate::rpc::Event>()
    );
}

#[test]
fn s5_12_7_an_answer_larger_than_the_window_goes_alone() {
    let (mut out, mut into) = (Outflow::new(1_000), Inflow::new(1_000, at(0)));
    assert!(out.is_open());
    out.begin(50_000);
    into.begin(50_000).expect("there was credit");
    assert!(!out.is_open());
    assert_eq!(into.begin(1), Err(Overdrawn), "§5.12.7");
    assert!(!into.is_grant_due());
    into.release(at(1), 50_000, None);
    assert!(into.is_grant_due());
    out.raise(into.grant()).expect("more");
    assert!(out.is_open());
    assert_eq!(into.grant(), 51_000, "totals, and nothing is granted twice");
}

#[test]
fn s5_12_6_a_chunk_begins_when_all_of_it_fits() {
    let (mut out, mut into) = (Outflow::new(1_000), Inflow::new(1_000, at(0)));
    assert!(out.has_room(1_000) && !out.has_room(1_001));
    out.begin(900);
    assert!(out.has_room(100) && !out.has_room(101));
    into.begin_within(900).expect("it fits");
    assert_eq!(into.begin_within(101), Err(Overdrawn));
    assert_eq!((into.begin_within(100), into.held()), (Ok(()), 1_000));
    assert!(into.is_exhausted());
}

#[test]
fn s5_12_8_totals_never_go_back_and_the_largest_is_no_overflow() {
    let mut out = Outflow::new(100);
    assert_eq!(out.raise(99), Err(TakenBack));
    assert_eq!(out.raise(100), Ok(()));
    assert_eq!(out.raise(u64::MAX), Ok(()));
    out.begin(u32::MAX);
    assert!(out.is_open());
    assert_eq!(out.raise(u64::MAX - 1), Err(TakenBack));
    assert!(!Outflow::new(0).is_open(), "no window, no message");
}

#[test]
fn s5_12_8_grants_come_in_halves_of_the_window() {
    let mut into = Inflow::new(1_000, at(0));
    let mut grants = 0;
    for _ in 0..100 {
        into.begin(100).expect("what is released is granted in time");
        into.release(at(0), 100, None);
        if into.is_grant_due() {
            into.grant();
            grants += 1;
        }
    }
    assert_eq!((grants, into.held()), (20, 0));
}

/// Others go on while slow ones hold most of a shared window, however little is left of it.
#[test]
fn s5_12_8_grants_of_a_shared_window_come_in_halves_of_what_slow_ones_leave() {
    for held in [0, 400, 600, 900, 990] {
        let mut into = Inflow::new(1_000, at(0));
        into.begin(held).expect("credit");
        let mut grants = 0;
        for _ in 0..1_000 {
            into.begin(1).expect("what is released is granted in time");
            into.release(at(0), 1, None);
            if into.is_shared_grant_due() {
                into.grant();
                grants += 1;
            }
        }
        let expected = 1_000 / (1_000 - held).div_ceil(2);
        assert!((expected..=expected + 1).contains(&grants), "{grants} with {held} held");
    }
    let mut into = Inflow::new(1_000, at(0));
    into.begin(1_500).expect("credit");
    assert!(!into.is_shared_grant_due());
    into.release(at(0), 400, None);
    assert!(!into.is_shared_grant_due(), "a grant would be of no use");
    into.release(at(0), 200, None);
    assert!(into.is_shared_grant_due());
}

#[test]
fn s5_12_6_a_window_that_is_used_up_fast_would_double() {
    let fast = |ms: u32, round_trip: Option<Duration>| {
        let mut into = Inflow::new(1_000, at(0));
        into.begin(1_000).expect("credit");
        assert!(!into.release(at(ms), 999, round_trip), "less than a window");
        into.release(at(ms), 1, round_trip)
    };
    assert!(fast(20, Some(10 * MS)));
    assert!(!fast(21, Some(10 * MS)), "slower than two round trips");
    assert!(!fast(0, None), "before the first answer no window grows");

    let mut into = Inflow::new(1_000, at(0));
    into.widen(2_000);
    into.widen(500);
    assert_eq!((into.window(), into.grant()), (2_000, 2_000));
}
