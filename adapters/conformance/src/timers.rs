//! Timers, and the clock they go by.

use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use chinwag::protocol::time::Instant;
use futures_lite::future::zip;

use crate::Host;
use crate::tools::{Tally, expired, poll_with, sleep_until, spawn};

const SOON: Duration = Duration::from_millis(20);
const LATER: Duration = Duration::from_millis(100);
/// Longer than a case may take: whoever waits for it has not noticed that it was moved.
const NEVER: Duration = Duration::from_secs(3_600);

/// Not before, and from then on at every poll, until it is disarmed.
pub async fn a_timer_fires_when_its_time_has_come_and_stays_so(host: &dyn Host) {
    let runtime = host.runtime();
    let mut timer = runtime.timer();
    for _ in 0..2 {
        let deadline = runtime.now().mono + SOON;
        timer.reset(deadline);
        expired(&mut *timer).await;
        assert!(runtime.now().mono >= deadline, "it is never early");
        for _ in 0..3 {
            assert!(
                poll_with(Waker::noop(), |cx| timer.poll_expired(cx)).is_ready(),
                "it stays so"
            );
        }
    }
    timer.reset(Instant::FAR_FUTURE);
    assert!(poll_with(Waker::noop(), |cx| timer.poll_expired(cx)).is_pending(), "disarmed");
}

/// Also when somebody waits for the later time already.
pub async fn a_timer_can_be_moved_earlier(host: &dyn Host) {
    let runtime = host.runtime();
    let mut timer = runtime.timer();
    timer.reset(runtime.now().mono + NEVER);
    let woken = Arc::new(Tally::default());
    assert_eq!(poll_with(&woken.into(), |cx| timer.poll_expired(cx)), Poll::Pending);
    let deadline = runtime.now().mono + SOON;
    timer.reset(deadline);
    expired(&mut *timer).await;
    assert!(runtime.now().mono >= deadline, "it is never early");
}

/// The earlier time passes without it.
pub async fn a_timer_can_be_moved_later(host: &dyn Host) {
    let runtime = host.runtime();
    let mut timer = runtime.timer();
    timer.reset(runtime.now().mono + SOON);
    assert_eq!(poll_with(Waker::noop(), |cx| timer.poll_expired(cx)), Poll::Pending);
    let deadline = runtime.now().mono + LATER;
    timer.reset(deadline);
    expired(&mut *timer).await;
    assert!(runtime.now().mono >= deadline, "it is never early");
}

/// By any distance.
pub async fn a_deadline_in_the_past_has_come(host: &dyn Host) {
    let runtime = host.runtime();
    sleep_until(&*runtime, runtime.now().mono + SOON).await;
    for deadline in [Instant::ZERO, runtime.now().mono] {
        sleep_until(&*runtime, deadline).await;
    }
}

/// Not armed, disarmed, or armed for the end of time.
pub async fn a_timer_without_a_deadline_never_fires(host: &dyn Host) {
    let runtime = host.runtime();
    let (mut fresh, mut disarmed, mut far) = (runtime.timer(), runtime.timer(), runtime.timer());
    disarmed.reset(runtime.now().mono + SOON);
    assert_eq!(poll_with(Waker::noop(), |cx| disarmed.poll_expired(cx)), Poll::Pending);
    disarmed.reset(Instant::FAR_FUTURE);
    far.reset(Instant::from_nanos(Instant::FAR_FUTURE.as_nanos() - 1));
    for wait in [Duration::ZERO, LATER] {
        sleep_until(&*runtime, runtime.now().mono + wait).await;
        for timer in [&mut fresh, &mut disarmed, &mut far] {
            assert!(poll_with(Waker::noop(), |cx| timer.poll_expired(cx)).is_pending());
        }
    }
}

/// As when a timer moves from one task to another.
pub async fn the_latest_waker_is_woken(host: &dyn Host) {
    let runtime = host.runtime();
    let (old, new) = (Arc::new(Tally::default()), Arc::new(Tally::default()));
    let mut timer = runtime.timer();
    timer.reset(runtime.now().mono + LATER);
    assert!(poll_with(&old.into(), |cx| timer.poll_expired(cx)).is_pending());
    assert!(poll_with(&new.clone().into(), |cx| timer.poll_expired(cx)).is_pending());
    // Spurious wake-ups are allowed, so there may be several.
    let mut woken = 0;
    while poll_with(&new.clone().into(), |cx| timer.poll_expired(cx)).is_pending() {
        woken += 1;
        new.reaches(woken).await;
    }
}

/// A hundred tasks, each with another time.
pub async fn many_timers_fire_each_at_its_own_time(host: &dyn Host) {
    let runtime = host.runtime();
    let start = runtime.now().mono;
    let mut tasks = Vec::new();
    for task in 0..100_u64 {
        let (own, deadline) = (runtime.clone(), start + Duration::from_millis(task * 37 % 100));
        tasks.push(spawn(&*runtime, async move {
            sleep_until(&*own, deadline).await;
            own.now().mono >= deadline
        }));
    }
    for task in tasks {
        assert!(task.await, "none is early");
    }
}

/// Seen by one task, and by two that tell each other.
pub async fn time_does_not_run_back(host: &dyn Host) {
    let runtime = host.runtime();
    let watch = |runtime: Arc<dyn chinwag::Runtime>| async move {
        let mut last = runtime.now().mono;
        for _ in 0..1_000 {
            let now = runtime.now().mono;
            assert!(now >= last);
            last = now;
            futures_lite::future::yield_now().await;
        }
        last
    };
    let ends =
        zip(spawn(&*runtime, watch(runtime.clone())), spawn(&*runtime, watch(runtime.clone())))
            .await;
    assert!(runtime.now().mono >= ends.0.max(ends.1));
    assert!(runtime.now().wall > chinwag::protocol::time::WallTime::UNIX_EPOCH);
}
