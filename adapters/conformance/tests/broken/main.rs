//! The suite notices: a runtime that works, broken in one way after the other, and the case that
//! catches each.

mod fault;
mod runtime;
mod sockets;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use chinwag_conformance::{Host, names, run_within, tasks, tcp, timers, udp};

use fault::Fault;
use runtime::Broken;

/// How long a case may take that hangs for good. One that would end by itself later has failed as
/// well.
const LIMIT: Duration = Duration::from_secs(3);

/// Times that a fault may go unnoticed: on a machine that is busy enough a timer that fires early
/// may still be polled late.
const ATTEMPTS_MAX: usize = 5;

/// The case fails on a runtime with this fault.
fn is_caught<C: AsyncFnOnce(&dyn Host) + Copy + Send + 'static>(fault: Fault, case: C) {
    let passes = || {
        catch_unwind(AssertUnwindSafe(|| run_within(LIMIT, move || Broken::new(fault), case)))
            .is_ok()
    };
    assert!(!(0..ATTEMPTS_MAX).all(|_| passes()), "it passes in spite of {fault:?}");
}

/// A `#[test]` for each fault, and the list of the cases that catch one.
macro_rules! faults {
    ($($test:ident: $fault:ident is caught by $part:ident::$case:ident;)*) => {
        $(#[test]
        fn $test() {
            is_caught(Fault::$fault, $part::$case);
        })*

        const CATCH: &[&str] = &[$(concat!(stringify!($part), "::", stringify!($case))),*];
    };
}

faults! {
    a_timer_that_is_early: EarlyTimer
        is caught by timers::a_timer_fires_when_its_time_has_come_and_stays_so;
    a_timer_that_fires_once: FiresOnce
        is caught by timers::a_timer_fires_when_its_time_has_come_and_stays_so;
    a_timer_that_cannot_be_moved_earlier: NeverEarlier
        is caught by timers::a_timer_can_be_moved_earlier;
    a_timer_that_cannot_be_moved_later: NeverLater is caught by timers::a_timer_can_be_moved_later;
    a_timer_that_knows_no_past: NoPast is caught by timers::a_deadline_in_the_past_has_come;
    a_timer_that_fires_when_disarmed: DisarmFires
        is caught by timers::a_timer_without_a_deadline_never_fires;
    a_timer_that_keeps_its_first_waker: FirstWaker is caught by timers::the_latest_waker_is_woken;
    a_wheel_with_few_places_for_timers: FewTimers
        is caught by timers::many_timers_fire_each_at_its_own_time;
    a_clock_that_steps_back: StepsBack is caught by timers::time_does_not_run_back;

    tasks_of_tasks_that_are_forgotten: ForgetsTasksOfTasks is caught by tasks::tasks_spawn_tasks;
    a_spawn_that_polls: PollsInsideSpawn is caught by tasks::a_task_is_not_polled_inside_spawn;
    a_wake_up_that_is_lost: LosesWakeUps is caught by tasks::no_wake_up_is_lost;
    a_task_that_has_the_thread_to_itself: StarvesOthers
        is caught by tasks::a_task_that_is_always_ready_starves_nobody;
    a_panic_that_takes_others_along: DiesOfPanics is caught by tasks::a_task_that_panics_ends_alone;
    a_waker_of_one_thread: IgnoresOtherThreads
        is caught by tasks::a_task_is_woken_from_another_thread;

    a_datagram_from_nowhere: WrongSender is caught by udp::datagrams_go_both_ways;
    a_long_datagram_that_becomes_two: KeepsTheRest is caught by udp::what_does_not_fit_is_cut_off;
    an_empty_datagram_that_is_skipped: SkipsEmpty is caught by udp::a_datagram_may_be_empty;
    an_error_that_ends_a_socket: EndsOnError
        is caught by udp::a_datagram_that_is_too_long_harms_nothing;
    a_closed_port_that_ends_a_socket: EndsOnClosedPort
        is caught by udp::a_closed_port_harms_nothing;
    a_port_that_stays_taken: KeepsPorts
        is caught by udp::a_port_is_taken_until_its_socket_is_dropped;
    a_port_that_is_given_twice: GivesPortsTwice
        is caught by udp::a_port_is_taken_until_its_socket_is_dropped;
    a_socket_with_one_waker: OneWaker
        is caught by udp::sending_does_not_forget_who_waits_to_receive;

    a_peer_at_the_wrong_address: WrongPeer is caught by tcp::bytes_go_both_ways;
    a_half_close_that_resets: ClosesBothWays
        is caught by tcp::a_half_closed_stream_still_carries_the_other_half;
    a_reset_that_is_not_told: HidesErrors is caught by tcp::a_reset_ends_reading_and_writing;
    a_stream_that_stays_open: KeepsStreams
        is caught by tcp::a_dropped_stream_ends_the_others_reading;
    a_writer_that_is_never_held_back: NoBackPressure
        is caught by tcp::a_reader_that_does_not_read_holds_the_writer_back;
    a_vectored_write_that_is_cut_short: OneSlice is caught by tcp::many_slices_arrive_in_order;
    a_refusal_that_is_not_told: ConnectHangs is caught by tcp::nobody_listens;
    a_connect_that_must_not_be_dropped: DroppedConnectHangs
        is caught by tcp::a_dropped_connect_harms_nothing;
    a_listener_that_keeps_its_port: KeepsPorts
        is caught by tcp::a_port_is_free_once_its_listener_is_dropped;
    a_stream_with_delay: HoldsWritesBack is caught by tcp::small_writes_are_not_held_back;
    a_stream_with_one_waker: OneWaker is caught by tcp::writing_does_not_forget_who_waits_to_read;

    an_address_that_is_no_name: NoAddresses is caught by names::an_address_is_its_own_name;
    a_name_for_everything: AnyName is caught by names::a_name_that_is_none_fails;
    a_look_up_that_must_not_be_dropped: DroppedLookupHangs
        is caught by names::a_dropped_look_up_harms_nothing;
}

/// What breaks a runtime is not what it is wrapped in.
mod without_a_fault {
    chinwag_conformance::suite!(crate::runtime::Broken::new(crate::fault::Fault::None));
}

/// Each case of a runtime's contract can fail; those of nodes stand on them.
#[test]
fn every_case_of_the_contract_catches_something() {
    let suite = include_str!("../../src/lib.rs");
    let mut cases = BTreeSet::new();
    for part in ["timers", "tasks", "udp", "tcp", "names"] {
        let listed =
            suite.split_once(&format!("            {part} {{")).expect("the part is listed").1;
        let listed = listed.split_once('}').expect("its end").0.split_whitespace();
        cases.extend(listed.map(|case| format!("{part}::{case}")));
    }
    let catch: BTreeSet<String> = CATCH.iter().map(|case| (*case).to_owned()).collect();
    assert_eq!(catch, cases);
}
