//! Tasks, and which of them runs next: a deterministic executor on one thread.
//!
//! Each process has a queue of tasks that were woken, and processes take turns. Which task of a
//! process runs is a choice, whose benign answer is the one that waits longest. Wakers only write
//! down who was woken, so they may be called anywhere, from any thread, under any lock.

use std::collections::VecDeque;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Wake, Waker};
use std::thread::{self, ThreadId};

use chinwag::runtime::BoxFuture;

/// Tasks of one process that a choice picks from at most. More would not reach more orders: the
/// rest come up next.
pub(crate) const PICKED_FROM_MAX: usize = 8;

/// Locks, also after a panic elsewhere: a run that panicked is over, and only its remains are
/// dropped.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A task: its slot, and the how-manieth task in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TaskId {
    slot: usize,
    turn: u64,
}

/// Who was woken since the executor last looked.
#[derive(Default)]
pub(crate) struct Bells {
    woken: Mutex<Woken>,
    rings: Condvar,
    /// The only thread that may wake anybody, if that is checked.
    home: OnceLock<ThreadId>,
    /// The first wake-up from another thread, in words.
    outside: OnceLock<String>,
}

#[derive(Default)]
pub(crate) struct Woken {
    pub(crate) tasks: Vec<TaskId>,
    /// The story that drives the world, which is on no machine.
    pub(crate) story: bool,
    /// A task was spawned.
    pub(crate) has_grown: bool,
}

impl Bells {
    pub(crate) fn take(&self, into: &mut Woken) {
        let mut woken = lock(&self.woken);
        into.tasks.append(&mut woken.tasks);
        into.story |= std::mem::take(&mut woken.story);
        into.has_grown |= std::mem::take(&mut woken.has_grown);
    }

    /// From now on only the calling thread may wake anybody in this world.
    pub(crate) fn stay_here(&self) {
        let _is_set_already = self.home.set(thread::current().id());
    }

    /// The first wake-up from a thread outside of the world, in words.
    pub(crate) fn outside(&self) -> Option<&str> {
        self.outside.get().map(String::as_str)
    }

    /// Notes a wake-up that comes from a thread outside of the world.
    fn check_thread(&self, who: impl FnOnce() -> String) {
        if self.home.get().is_some_and(|home| *home != thread::current().id()) {
            self.outside
                .get_or_init(|| format!("{} was woken by a thread outside of the world", who()));
        }
    }

    /// Waits, in real time, for somebody outside of the world to wake somebody in it.
    pub(crate) fn wait(&self) {
        let woken = lock(&self.woken);
        let is_quiet =
            |woken: &mut Woken| woken.tasks.is_empty() && !woken.story && !woken.has_grown;
        drop(self.rings.wait_while(woken, is_quiet).unwrap_or_else(PoisonError::into_inner));
    }

    /// The waker of the story.
    pub(crate) fn story(self: &Arc<Self>) -> Waker {
        Arc::new(StoryBell(self.clone())).into()
    }

    /// A task was spawned. That does not wake the story.
    pub(crate) fn ring_world(&self) {
        lock(&self.woken).has_grown = true;
        self.rings.notify_one();
    }

    pub(crate) fn ring_story(&self) {
        lock(&self.woken).story = true;
        self.rings.notify_one();
    }
}

struct StoryBell(Arc<Bells>);

impl Wake for StoryBell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.check_thread(|| "the test itself".into());
        self.0.ring_story();
    }
}

struct TaskBell {
    task: TaskId,
    host: u32,
    place: &'static Location<'static>,
    /// A user of the node has spawned it, and not the driver.
    is_users: bool,
    is_rung: AtomicBool,
    bells: Arc<Bells>,
}

impl TaskBell {
    /// The task in words.
    fn name(&self) -> String {
        format!("a task of node {}, started at {},", self.host, self.place)
    }
}

impl Wake for TaskBell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.bells.check_thread(|| self.name());
        if !self.is_rung.swap(true, Ordering::SeqCst) {
            lock(&self.bells.woken).tasks.push(self.task);
            self.bells.rings.notify_one();
        }
    }
}

/// A task of the users of a node that has not ended. It is looked at once everything of its world
/// has been dropped.
pub(crate) struct Unended(Weak<TaskBell>, String);

impl Unended {
    /// What the task waits for, if that is outside of the world: somebody there holds its waker.
    pub(crate) fn waits_outside(&self) -> Option<String> {
        let is_held = self.0.strong_count() > 0;
        is_held.then(|| format!("{} still waits for something outside of the world", self.1))
    }
}

/// A task on its way through the executor.
pub(crate) struct Running {
    pub(crate) id: TaskId,
    pub(crate) host: u32,
    pub(crate) future: BoxFuture<()>,
    bell: Arc<TaskBell>,
}

impl Running {
    /// The waker to poll with. A wake-up from now on is another turn.
    pub(crate) fn begin(&self) -> Waker {
        self.bell.is_rung.store(false, Ordering::SeqCst);
        self.bell.clone().into()
    }
}

struct Task {
    host: u32,
    /// `None` while it is polled.
    future: Option<BoxFuture<()>>,
    bell: Arc<TaskBell>,
}

#[derive(Default)]
struct Slot {
    turn: u64,
    task: Option<Task>,
}

/// Every task of a world, and the queues of those that were woken.
pub(crate) struct Tasks {
    slots: Vec<Slot>,
    free: Vec<usize>,
    /// Per machine.
    queues: Vec<VecDeque<TaskId>>,
    counts: Vec<usize>,
    /// Machines with somebody in their queue, whose turn is next first.
    turns: VecDeque<u32>,
    bells: Arc<Bells>,
}

impl Tasks {
    pub(crate) fn new(hosts: usize, bells: Arc<Bells>) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            queues: vec![VecDeque::new(); hosts],
            counts: vec![0; hosts],
            turns: VecDeque::new(),
            bells,
        }
    }

    /// Takes a task in; it runs when its turn comes.
    pub(crate) fn spawn(
        &mut self,
        host: u32,
        future: BoxFuture<()>,
        place: &'static Location<'static>,
        is_users: bool,
    ) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() - 1
        });
        let id = TaskId { slot, turn: self.slots[slot].turn };
        let bell = Arc::new(TaskBell {
            task: id,
            host,
            place,
            is_users,
            is_rung: AtomicBool::new(true),
            bells: self.bells.clone(),
        });
        self.slots[slot].task = Some(Task { host, future: Some(future), bell });
        self.counts[host as usize] += 1;
        self.enqueue(id);
    }

    /// Puts a task that was woken into its machine's queue, unless it has ended.
    pub(crate) fn enqueue(&mut self, id: TaskId) {
        let Some(task) =
            self.slots[id.slot].task.as_ref().filter(|_| self.slots[id.slot].turn == id.turn)
        else {
            return;
        };
        let queue = &mut self.queues[task.host as usize];
        if queue.is_empty() {
            self.turns.push_back(task.host);
        }
        queue.push_back(id);
    }

    /// The machine whose turn it is, and how many of its tasks wait. Machines that stand still are
    /// passed over.
    pub(crate) fn next_host(&self, runs: impl Fn(u32) -> bool) -> Option<(u32, usize)> {
        let host = self.turns.iter().copied().find(|&host| runs(host))?;
        Some((host, self.queues[host as usize].len()))
    }

    /// Takes out the task at `place` of the queue of `host`.
    pub(crate) fn begin(&mut self, host: u32, place: usize) -> Option<Running> {
        let queue = &mut self.queues[host as usize];
        let id = queue.remove(place);
        self.turns.retain(|&other| other != host);
        if !queue.is_empty() {
            self.turns.push_back(host);
        }
        let id = id?;
        let slot = &mut self.slots[id.slot];
        let task = slot.task.as_mut().filter(|_| slot.turn == id.turn)?;
        let future = task.future.take()?;
        Some(Running { id, host, future, bell: task.bell.clone() })
    }

    /// Puts a task back that waits, and gives it back if it was ended meanwhile.
    pub(crate) fn keep(&mut self, running: Running) -> Option<BoxFuture<()>> {
        let slot = &mut self.slots[running.id.slot];
        match &mut slot.task {
            Some(task) if slot.turn == running.id.turn => {
                task.future = Some(running.future);
                None
            }
            _ => Some(running.future),
        }
    }

    /// A task has ended.
    pub(crate) fn end(&mut self, id: TaskId) {
        let slot = &mut self.slots[id.slot];
        if slot.turn == id.turn
            && let Some(task) = slot.task.take()
        {
            slot.turn += 1;
            self.free.push(id.slot);
            self.counts[task.host as usize] -= 1;
        }
    }

    /// Ends all tasks of a machine; what is left of them is to be dropped once no lock is held.
    pub(crate) fn kill(&mut self, host: u32) -> Vec<BoxFuture<()>> {
        let mut killed = Vec::new();
        for (slot, entry) in self.slots.iter_mut().enumerate() {
            if entry.task.as_ref().is_some_and(|task| task.host == host) {
                entry.turn += 1;
                killed.extend(entry.task.take().and_then(|task| task.future));
                self.free.push(slot);
            }
        }
        self.counts[host as usize] = 0;
        self.queues[host as usize].clear();
        self.turns.retain(|&other| other != host);
        killed
    }

    /// Tasks that users of nodes have spawned and that have not ended.
    pub(crate) fn of_users(&self) -> Vec<Unended> {
        let bells = self.slots.iter().filter_map(|slot| slot.task.as_ref()).map(|task| &task.bell);
        let of_users = bells.filter(|bell| bell.is_users);
        of_users.map(|bell| Unended(Arc::downgrade(bell), bell.name())).collect()
    }

    /// Tasks of a machine that have not ended, in words.
    pub(crate) fn names_of(&self, host: u32) -> Vec<String> {
        let tasks = self.slots.iter().filter_map(|slot| slot.task.as_ref());
        tasks.filter(|task| task.host == host).map(|task| task.bell.name()).collect()
    }

    /// Tasks of a machine that have not ended.
    pub(crate) fn count(&self, host: u32) -> usize {
        self.counts[host as usize]
    }
}
