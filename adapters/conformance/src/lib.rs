//! chinwag turns Rust programs into a cluster. It runs on every async runtime for which somebody
//! has implemented its trait [`Runtime`], and this crate is the test suite for such an
//! implementation. The suite checks what a runtime must do for chinwag (timers, tasks, datagrams,
//! streams, names), and what a node must do on it (membership, calls, streams, services, leaving).
//!
//! The author of a runtime adds this crate as a dev-dependency, implements [`Host`], and gets one
//! `#[test]` for each case. Here the runtime is chinwag's own for smol:
//!
//! ```
//! use std::sync::Arc;
//!
//! use chinwag::Runtime;
//! use chinwag_conformance::{Host, Story};
//!
//! struct OnSmol;
//!
//! impl Host for OnSmol {
//!     fn runtime(&self) -> Arc<dyn Runtime> {
//!         Arc::new(chinwag_smol::Smol::new())
//!     }
//!
//!     fn block_on(&self, story: Story<'_>) {
//!         smol::block_on(story);
//!     }
//! }
//!
//! chinwag_conformance::suite!(OnSmol);
//! ```
//!
//! # Where to look
//!
//! | for | see |
//! |---|---|
//! | what a runtime has to do, method by method | [`chinwag::runtime`] |
//! | the cases of that contract | [`timers`], [`tasks`], [`udp`], [`tcp`], [`names`] |
//! | how nodes start, meet and end | [`membership`], [`leaving`], [`life`] |
//! | what nodes do for each other | [`calls`], [`clients`], [`streams`], [`room`], [`services`] |
//! | where features meet | [`corners`] |
//! | one case alone | [`run`] |
//!
//! A case waits for a condition, never for time to pass, except where a timer is what is tested. A
//! case that hangs fails by name after [`CASE_MAX`]. The cases themselves are tested: this crate's
//! own `tests/broken` breaks a runtime in one way after the other, and names the case that fails.
//!
//! The suite does not measure speed, and it does not test the protocol under faults: the simulator
//! does that.
//!
//! Guides: [runtimes][guide], [running nodes][operations], [testing under faults][simulation].
//!
//! Status: before 0.1. Cases are still added; a runtime that passes today may fail a later version.
//!
//! [guide]: https://github.com/chinwag-rs/chinwag/blob/main/docs/runtimes.md
//! [operations]: https://github.com/chinwag-rs/chinwag/blob/main/docs/operations.md
//! [simulation]: https://github.com/chinwag-rs/chinwag/blob/main/docs/simulation.md

pub mod calls;
pub mod clients;
pub mod corners;
pub mod counted;
mod flows;
pub mod leaving;
pub mod life;
pub mod membership;
pub mod names;
pub mod probe;
pub mod room;
pub mod services;
pub mod streams;
pub mod tasks;
pub mod tcp;
pub mod timers;
pub mod tools;
pub mod udp;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use chinwag::{Runtime, Secret};

/// How long one case may take, in real time. The slowest takes about a second on a free machine.
pub const CASE_MAX: Duration = Duration::from_secs(90);

/// A case on its way. It need not be [`Send`]: it stays on the thread that [`Host::block_on`] was
/// called on.
pub type Story<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// A running runtime. Dropping it may stop everything that runs on it.
pub trait Host {
    /// What nodes are started on.
    fn runtime(&self) -> Arc<dyn Runtime>;

    /// Runs `story` to its end, and meanwhile whatever it spawns on [`Host::runtime`].
    fn block_on(&self, story: Story<'_>);

    /// Where sockets are bound: an address of this machine, with port 0. Default 127.0.0.1.
    fn addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, 0).into()
    }

    /// The secret of the clusters that the cases start: with one, all of them run encrypted.
    /// Default none.
    fn secret(&self) -> Option<Secret> {
        None
    }
}

/// Runs one case on a host of its own, as [`suite!`] does.
///
/// # Panics
/// If the case fails, or is not done after [`CASE_MAX`].
pub fn run<H, C>(make: impl FnOnce() -> H + Send + 'static, case: C)
where
    H: Host + 'static,
    C: AsyncFnOnce(&dyn Host) + Send + 'static,
{
    run_within(CASE_MAX, make, case);
}

/// [`run`] with another limit in real time than [`CASE_MAX`].
///
/// # Panics
/// If the case fails, or is not done in time. Its thread is left behind then.
#[expect(
    clippy::disallowed_methods,
    reason = "a case that hangs is given up on from outside of its runtime"
)]
pub fn run_within<H, C>(limit: Duration, make: impl FnOnce() -> H + Send + 'static, case: C)
where
    H: Host + 'static,
    C: AsyncFnOnce(&dyn Host) + Send + 'static,
{
    let (done, is_done) = mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        let _dropped_at_the_end = done;
        let host = make();
        host.block_on(Box::pin(case(&host)));
    });
    // Nothing is ever sent: the other end is dropped, by a panic too.
    if is_done.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
        panic!("not done after {limit:?}");
    }
    if let Err(panic) = thread.join() {
        resume_unwind(panic);
    }
}

/// A `#[test]` for every case, in modules named like those of this crate, on the [`Host`] that the
/// expression makes.
#[macro_export]
macro_rules! suite {
    ($host:expr) => {
        $crate::cases! {
            $host;
            timers {
                a_timer_fires_when_its_time_has_come_and_stays_so
                a_timer_can_be_moved_earlier
                a_timer_can_be_moved_later
                a_deadline_in_the_past_has_come
                a_timer_without_a_deadline_never_fires
                the_latest_waker_is_woken
                many_timers_fire_each_at_its_own_time
                time_does_not_run_back
            }
            tasks {
                tasks_spawn_tasks
                a_task_is_not_polled_inside_spawn
                no_wake_up_is_lost
                a_task_that_is_always_ready_starves_nobody
                a_task_that_panics_ends_alone
                a_task_is_woken_from_another_thread
            }
            udp {
                datagrams_go_both_ways
                what_does_not_fit_is_cut_off
                a_datagram_may_be_empty
                a_datagram_that_is_too_long_harms_nothing
                a_closed_port_harms_nothing
                a_port_is_taken_until_its_socket_is_dropped
                sending_does_not_forget_who_waits_to_receive
            }
            tcp {
                bytes_go_both_ways
                a_half_closed_stream_still_carries_the_other_half
                a_reset_ends_reading_and_writing
                a_dropped_stream_ends_the_others_reading
                a_reader_that_does_not_read_holds_the_writer_back
                many_slices_arrive_in_order
                nobody_listens
                a_dropped_connect_harms_nothing
                a_port_is_free_once_its_listener_is_dropped
                small_writes_are_not_held_back
                writing_does_not_forget_who_waits_to_read
            }
            names {
                an_address_is_its_own_name
                a_name_that_is_none_fails
                a_dropped_look_up_harms_nothing
            }
            membership {
                three_nodes_see_each_other_and_call_both_ways
                a_node_that_is_dropped_is_found_dead
                a_restart_replaces_the_old_run
                a_second_node_with_a_live_id_takes_nothing
                a_leave_is_reported_as_left_and_never_as_died
                an_event_comes_after_the_view_that_contains_it
                a_foreign_cluster_is_reported_by_name_on_both_sides
                it_works_on_streams_alone
                an_extension_uses_the_node_like_anybody
            }
            calls {
                many_calls_at_once_from_both_sides_all_end_well
                large_messages_arrive_whole
                a_deadline_that_has_passed_runs_nothing
                a_handler_calls_its_caller_back
                a_panicking_handler_fails_its_call_alone
                dropping_a_call_drops_its_handler
                a_deadline_ends_the_call_and_its_handler
                one_way_messages_are_handled
                nobody_there_is_known_at_once
                pending_calls_end_when_the_peer_does
                a_stamp_after_a_call_is_later_than_one_before_it
            }
            clients {
                raw_bodies_go_both_ways
                headers_go_both_ways
                calls_wait_for_room_until_their_deadlines
                interceptors_see_change_and_refuse_calls
                methods_are_counted_at_both_ends
                a_balanced_call_finds_a_member_that_can
                a_fan_out_takes_the_first_answers
                nested_calls_inherit_trace_and_deadline
                a_slot_that_is_used_again_keeps_calls_apart
            }
            streams {
                each_shape_carries_its_chunks
                attachments_ride_beside_messages_and_chunks
                a_stream_ends_as_its_handler_does
                dropping_a_stream_cancels_its_handler
                a_slow_reader_slows_its_sender_alone
                a_deadline_ends_a_stream
                streams_end_with_their_peer
                who_streams_is_part_of_the_schema
                what_no_handler_takes_is_given_back
                both_directions_go_on_in_tasks_of_their_own
                streams_and_calls_share_a_connection
            }
            corners {
                a_failure_that_a_handler_passes_on_says_that_it_ran
                calls_that_call_back_and_themselves_nest_deep
                interceptors_refuse_streams_and_shorten_deadlines
                a_service_that_is_replaced_keeps_its_streams
                headers_pass_up_to_their_limit
                what_a_lost_member_may_have_done_is_done_again_only_if_it_may
            }
            room {
                streams_wait_for_room_before_there_is_a_connection
                a_request_that_was_let_go_leaves_its_room_to_others
            }
            services {
                a_removed_service_answers_calls_in_flight_and_refuses_new_ones
                services_come_and_go_while_the_node_runs
                what_is_missing_and_what_is_otherwise_are_told_apart
                mistakes_in_a_service_are_refused
                versions_live_side_by_side
            }
            leaving {
                a_leave_lets_calls_in_flight_finish
                a_leave_drains_on_streams_alone
                a_leave_waits_no_longer_than_its_drain_time
            }
            life {
                shutdown_frees_the_port
                shutdown_waits_for_every_task
                a_node_leaves_nothing_behind
                connections_are_limited_and_those_there_are_go_on
                a_start_that_cannot_work_says_why
            }
        }
    };
}

/// What [`suite!`] expands to.
#[doc(hidden)]
#[macro_export]
macro_rules! cases {
    ($host:expr; $($part:ident { $($case:ident)* })*) => {
        $(mod $part {
            #[allow(unused_imports, reason = "the host may be named by a path")]
            use super::*;
            $(#[test]
            fn $case() {
                $crate::run(|| $host, $crate::$part::$case);
            })*
        })*
    };
}
