use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// A task that counts how often it was woken.
#[derive(Default)]
struct Task(AtomicUsize);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// One direction of a socket with so many bytes in it, and a reactor that is asked about it.
#[derive(Default)]
struct World {
    bytes: Cell<usize>,
    tries: Cell<usize>,
    asked: RefCell<Option<Waker>>,
    /// Whether the reactor has noticed something that was taken meanwhile.
    is_stale: Cell<bool>,
}

impl World {
    fn poll(&self, gate: &mut Gate, task: &Arc<Task>) -> Poll<io::Result<usize>> {
        let attempt = || {
            self.tries.set(self.tries.get() + 1);
            match self.bytes.take() {
                0 => Err(io::ErrorKind::WouldBlock.into()),
                bytes => Ok(bytes),
            }
        };
        let poll_ready = |cx: &mut Context<'_>| {
            if self.is_stale.take() {
                return Poll::Ready(Ok(()));
            }
            *self.asked.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        };
        gate.poll(&mut Context::from_waker(&task.clone().into()), attempt, poll_ready)
    }

    fn arrive(&self, bytes: usize) {
        self.bytes.set(bytes);
        self.asked.take().expect("the reactor was asked").wake();
    }
}

fn taken(polled: Poll<io::Result<usize>>) -> Option<usize> {
    match polled {
        Poll::Ready(result) => Some(result.expect("no error")),
        Poll::Pending => None,
    }
}

#[test]
fn nothing_is_tried_until_the_reactor_says_so() {
    let (world, mut gate, task) = (World::default(), Gate::new(), Arc::new(Task::default()));
    for _ in 0..3 {
        assert_eq!(taken(world.poll(&mut gate, &task)), None);
    }
    assert_eq!(world.tries.get(), 1, "the first try found out");
    world.arrive(7);
    assert_eq!(task.0.load(Ordering::Relaxed), 1);
    assert_eq!(taken(world.poll(&mut gate, &task)), Some(7));
}

#[test]
fn whoever_asked_last_is_woken() {
    let (world, mut gate) = (World::default(), Gate::new());
    let tasks = [Arc::new(Task::default()), Arc::new(Task::default())];
    for task in &tasks {
        assert_eq!(taken(world.poll(&mut gate, task)), None);
    }
    world.arrive(7);
    assert_eq!(tasks.map(|task| task.0.load(Ordering::Relaxed)), [0, 1]);
}

#[test]
fn after_all_was_taken_the_reactor_is_asked_first_and_what_it_noticed_before_is_no_news() {
    let (world, mut gate, task) = (World::default(), Gate::new(), Arc::new(Task::default()));
    world.bytes.set(7);
    assert_eq!(taken(world.poll(&mut gate, &task)), Some(7));
    gate.drained();
    world.is_stale.set(true);
    assert_eq!(taken(world.poll(&mut gate, &task)), None);
    assert_eq!(world.tries.get(), 1, "the second would have found nothing");
    world.arrive(8);
    assert_eq!(taken(world.poll(&mut gate, &task)), Some(8));
}

#[test]
fn what_comes_while_the_reactor_is_asked_is_not_missed() {
    let (mut gate, task) = (Gate::new(), Arc::new(Task::default()));
    let tries = Cell::new(0);
    let attempt = || {
        tries.set(tries.get() + 1);
        if tries.get() == 1 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(7) }
    };
    // The reactor's thread is faster than this one.
    let poll_ready = |cx: &mut Context<'_>| {
        cx.waker().wake_by_ref();
        Poll::Pending
    };
    let polled = gate.poll(&mut Context::from_waker(&task.clone().into()), attempt, poll_ready);
    assert_eq!(taken(polled), Some(7));
}
