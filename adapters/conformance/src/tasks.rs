//! Tasks and their wake-ups.

use std::cell::Cell;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Poll, Waker};

use chinwag::Runtime;
use futures_lite::future::{yield_now, zip};

use crate::Host;
use crate::tools::{Tally, spawn};

/// A hundred generations, each spawned by the one before.
pub async fn tasks_spawn_tasks(host: &dyn Host) {
    fn generation(runtime: &Arc<dyn Runtime>, left: usize, ended: Arc<Tally>) {
        let own = runtime.clone();
        runtime.spawn(Box::pin(async move {
            if left > 1 {
                generation(&own, left - 1, ended.clone());
            }
            ended.add();
        }));
    }
    let ended = Arc::new(Tally::default());
    generation(&host.runtime(), 100, ended.clone());
    ended.reaches(100).await;
}

/// So a lock may be held around `spawn`.
pub async fn a_task_is_not_polled_inside_spawn(host: &dyn Host) {
    thread_local! {
        static IS_SPAWNING: Cell<bool> = const { Cell::new(false) };
    }
    let runtime = host.runtime();
    let own = runtime.clone();
    // From outside, and from inside a task.
    let spawns = move || {
        IS_SPAWNING.set(true);
        let inside = spawn(&*own, async { IS_SPAWNING.get() });
        IS_SPAWNING.set(false);
        inside
    };
    assert!(!spawns().await, "polled by whoever spawned it");
    let inside = spawn(&*runtime, async move { spawns().await });
    assert!(!inside.await, "polled by the task that spawned it");
}

/// One slot; who finds it wrong waits for the other side.
#[derive(Default)]
struct Slot(Mutex<(Option<u32>, Option<Waker>)>);

impl Slot {
    async fn put(&self, value: u32) {
        self.turn(|slot| slot.is_none().then(|| *slot = Some(value))).await;
    }

    async fn take(&self) -> u32 {
        self.turn(Option::take).await
    }

    async fn turn<T>(&self, mut attempt: impl FnMut(&mut Option<u32>) -> Option<T>) -> T {
        poll_fn(|cx| {
            let mut slot = self.0.lock().expect("nobody panics with it");
            let Some(done) = attempt(&mut slot.0) else {
                slot.1 = Some(cx.waker().clone());
                return Poll::Pending;
            };
            let other = slot.1.take();
            drop(slot);
            other.into_iter().for_each(Waker::wake);
            Poll::Ready(done)
        })
        .await
    }
}

/// Two tasks hand each other ten thousand values through one slot: a single lost wake-up stops
/// both.
pub async fn no_wake_up_is_lost(host: &dyn Host) {
    const COUNT: u32 = 10_000;
    let (runtime, slot) = (host.runtime(), Arc::new(Slot::default()));
    let (putter, taker) = (slot.clone(), slot);
    let puts = spawn(&*runtime, async move {
        for value in 0..COUNT {
            putter.put(value).await;
        }
    });
    let takes = spawn(&*runtime, async move {
        for value in 0..COUNT {
            if taker.take().await != value {
                return false;
            }
        }
        true
    });
    assert!(zip(puts, takes).await.1, "each once, in order");
}

/// It wakes itself at every poll.
pub async fn a_task_that_is_always_ready_starves_nobody(host: &dyn Host) {
    let runtime = host.runtime();
    let is_enough = Arc::new(AtomicBool::new(false));
    let (asked, told) = (is_enough.clone(), is_enough);
    let busy = spawn(&*runtime, async move {
        while !asked.load(Ordering::SeqCst) {
            yield_now().await;
        }
    });
    spawn(&*runtime, async move { told.store(true, Ordering::SeqCst) }).await;
    busy.await;
}

/// Others go on, and new ones can be spawned.
pub async fn a_task_that_panics_ends_alone(host: &dyn Host) {
    struct Dropped(Arc<Tally>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.add();
        }
    }
    let runtime = host.runtime();
    let (dropped, go_on) = (Arc::new(Tally::default()), Arc::new(Tally::default()));
    let waiting = go_on.clone();
    let other = spawn(&*runtime, async move { waiting.reaches(1).await });
    let guard = Dropped(dropped.clone());
    runtime.spawn(Box::pin(async move {
        let _guard = guard;
        yield_now().await;
        panic!("on purpose");
    }));
    dropped.reaches(1).await;
    go_on.add();
    other.await;
    assert_eq!(spawn(&*runtime, async { 7 }).await, 7);
}

/// A thread that no runtime knows.
#[expect(clippy::disallowed_methods, reason = "a thread that no runtime knows")]
pub async fn a_task_is_woken_from_another_thread(host: &dyn Host) {
    let (runtime, tally) = (host.runtime(), Arc::new(Tally::default()));
    let (wanted, hears) = mpsc::channel();
    let (told, counted) = (tally.clone(), tally);
    let stranger = std::thread::spawn(move || hears.iter().for_each(|()| told.add()));
    let counts = spawn(&*runtime, async move {
        for count in 1..=1_000 {
            if wanted.send(()).is_err() {
                return false;
            }
            counted.reaches(count).await;
        }
        true
    });
    assert!(counts.await, "the stranger listens to the end");
    stranger.join().expect("no panic");
}
