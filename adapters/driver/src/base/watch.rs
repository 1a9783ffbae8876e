//! Who is in the cluster, as readers see it: [`Members`], and [`Watch`] for what changes.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::poll_fn;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use arc_swap::ArcSwap;
use chinwag_core::id::NodeId;
use chinwag_core::membership::{Event, Snapshot};
use chinwag_core::select::{Outstanding, Topology};

use crate::base::limits::WATCH_EVENTS_MAX;
use crate::base::sync::lock;

/// The view of the cluster at one version. Cheap to clone, and never changes: ask the node again
/// for a newer one.
#[derive(Clone)]
pub struct Members {
    snapshot: Arc<Snapshot>,
}

impl Deref for Members {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        &self.snapshot
    }
}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// Where the node task publishes, and everybody reads without a lock.
pub(crate) struct Board {
    current: ArcSwap<Snapshot>,
    /// Behind `current` until somebody selects: suspicions change the view and nobody may be
    /// selecting.
    topology: ArcSwap<Topology>,
    /// Somebody has selected. Until then there is nobody to count outstanding calls for.
    has_selected: AtomicBool,
    /// Held while the topology is brought up to date, so that each follows the one before.
    topology_writer: Mutex<()>,
    watches: Arc<Mutex<Watches>>,
}

/// The queues of all watches. A watch takes its own out when it is dropped.
#[derive(Default)]
struct Watches {
    queues: BTreeMap<u64, Arc<Queue>>,
    next_key: u64,
    /// The node has ended: there are no more events.
    is_closed: bool,
}

impl Board {
    pub(crate) fn new(snapshot: Snapshot) -> Self {
        let others = snapshot.members().iter().map(|member| (member.id, member.data_center()));
        let local = snapshot.local();
        Self {
            topology: ArcSwap::from_pointee(Topology::new(
                snapshot.version(),
                local.id,
                local.data_center(),
                others,
            )),
            has_selected: AtomicBool::new(false),
            topology_writer: Mutex::new(()),
            current: ArcSwap::from_pointee(snapshot),
            watches: Arc::default(),
        }
    }

    pub(crate) fn members(&self) -> Members {
        Members { snapshot: self.current.load_full() }
    }

    /// The topology of the current view. Two atomic loads, unless the view has changed since the
    /// last time.
    pub(crate) fn topology(&self) -> arc_swap::Guard<Arc<Topology>> {
        // Read first, so that the word stays shared between the cores.
        if !self.has_selected.load(Ordering::Relaxed) {
            self.has_selected.store(true, Ordering::Relaxed);
        }
        let topology = self.topology.load();
        if topology.version() == self.current.load().version() {
            return topology;
        }
        let _writer = lock(&self.topology_writer);
        let (topology, snapshot) = (self.topology.load(), self.current.load());
        if topology.version() != snapshot.version() {
            let local = snapshot.local();
            let others = snapshot.members().iter().map(|member| (member.id, member.data_center()));
            let next = topology.next(snapshot.version(), local.id, local.data_center(), others);
            self.topology.store(Arc::new(next));
        }
        self.topology.load()
    }

    /// Counts a call to `peer` as outstanding until the result is dropped.
    pub(crate) fn outstanding(&self, peer: NodeId) -> Option<Outstanding> {
        if !self.has_selected.load(Ordering::Relaxed) {
            return None;
        }
        self.topology.load().load(peer).map(|load| load.begin())
    }

    /// Publishes the view first and then the events that led to it, so that whoever hears an event
    /// sees its effect.
    pub(crate) fn publish(&self, snapshot: Option<Snapshot>, events: &[Event]) {
        let mut wakers = Vec::new();
        {
            // Under the lock that `watch` takes: a watch begins with a view and gets exactly the
            // events after it.
            let watches = lock(&self.watches);
            if let Some(snapshot) = snapshot {
                self.current.store(Arc::new(snapshot));
            }
            wakers.extend(watches.queues.values().filter_map(|queue| queue.push(events)));
        }
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn watch(&self) -> Watch {
        let mut watches = lock(&self.watches);
        let queue = Arc::new(Queue::default());
        watches.next_key += 1;
        let key = watches.next_key;
        if watches.is_closed {
            lock(&queue.state).is_closed = true;
        } else {
            watches.queues.insert(key, queue.clone());
        }
        Watch { queue, members: self.members(), key, watches: self.watches.clone() }
    }

    /// Ends every watch after the events it still holds.
    pub(crate) fn close(&self) {
        let queues = {
            let mut watches = lock(&self.watches);
            watches.is_closed = true;
            std::mem::take(&mut watches.queues)
        };
        for queue in queues.into_values() {
            let waker = {
                let mut state = lock(&queue.state);
                state.is_closed = true;
                state.waker.take()
            };
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

#[derive(Default)]
struct Queue {
    state: Mutex<QueueState>,
}

#[derive(Default)]
struct QueueState {
    events: VecDeque<Event>,
    /// Events shed since the last one in `events`.
    lost: u64,
    /// Set by each publication, also one without events: the local node's own view may have
    /// changed.
    is_stale: bool,
    is_closed: bool,
    waker: Option<Waker>,
}

impl Queue {
    fn push(&self, events: &[Event]) -> Option<Waker> {
        let mut state = lock(&self.state);
        for event in events {
            state.push(event);
        }
        state.is_stale = true;
        state.waker.take()
    }
}

impl QueueState {
    fn push(&mut self, event: &Event) {
        // Room for the `Lost` before the event and for the event: what is shed is told of where it
        // is missing.
        let is_gap = self.lost > 0;
        if self.events.len() + usize::from(is_gap) >= WATCH_EVENTS_MAX {
            self.lost += 1;
            return;
        }
        if is_gap {
            self.events.push_back(Event::Lost(std::mem::take(&mut self.lost)));
        }
        self.events.push_back(event.clone());
    }

    fn pop(&mut self) -> Option<Event> {
        if let Some(event) = self.events.pop_front() {
            return Some(event);
        }
        (self.lost > 0).then(|| Event::Lost(std::mem::take(&mut self.lost)))
    }
}

/// What happens in the cluster, from one moment on: [`Watch::members`] is the view at that moment,
/// and folding the [`Event`]s over it gives every later view.
///
/// It holds [`WATCH_EVENTS_MAX`] events for a reader that is behind. Further ones are shed and
/// reported as one [`Event::Lost`] in the place where they are missing: read
/// [`Node::members`](crate::Node::members) then. An event is given out after the view that contains
/// it is published. A watch does not keep the node alive.
pub struct Watch {
    queue: Arc<Queue>,
    members: Members,
    /// Its queue's key in `watches`.
    key: u64,
    watches: Arc<Mutex<Watches>>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _removed = { lock(&self.watches).queues.remove(&self.key) };
    }
}

impl Watch {
    /// The view before the first event.
    pub fn members(&self) -> &Members {
        &self.members
    }

    /// The next event; `None` once the node has ended and everything before that was given out.
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Event> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// [`Watch::next`] for hand-written futures.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        // A waker is user code: it is cloned and dropped while nothing is locked.
        let waker = cx.waker().clone();
        let _replaced = {
            let mut state = lock(&self.queue.state);
            if let Some(event) = state.pop() {
                return Poll::Ready(Some(event));
            }
            if state.is_closed {
                return Poll::Ready(None);
            }
            state.waker.replace(waker)
        };
        Poll::Pending
    }

    /// The next event if there is one by now.
    pub fn try_next(&mut self) -> Option<Event> {
        lock(&self.queue.state).pop()
    }

    /// Ready whenever anything was published since the last such call: `false` once the node has
    /// ended. Drops events.
    pub(crate) fn poll_published(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let waker = cx.waker().clone();
        let _dropped = {
            let mut state = lock(&self.queue.state);
            let events = std::mem::take(&mut state.events);
            state.lost = 0;
            if std::mem::take(&mut state.is_stale) {
                return Poll::Ready(true);
            }
            if state.is_closed {
                return Poll::Ready(false);
            }
            (events, state.waker.replace(waker))
        };
        Poll::Pending
    }
}

impl futures_core::Stream for Watch {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        Watch::poll_next(&mut self, cx)
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.queue.state);
        f.debug_struct("Watch")
            .field("waiting", &state.events.len())
            .field("lost", &state.lost)
            .finish()
    }
}

#[cfg(test)]
mod tests;
