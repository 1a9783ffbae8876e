//! [`Engine`]: runs a node-level world, one task or one event at a time.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

use chinwag::Runtime;
use chinwag::runtime::BoxFuture;

use super::runtime::Virtual;
use super::state::State;
use super::tasks::{Bells, Running, Unended, lock};
use crate::checker::{Check, Violation};
use crate::choices::Choices;

/// What everybody in a world shares.
pub(crate) struct Inner {
    state: Mutex<State>,
    bells: Arc<Bells>,
}

impl Inner {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Something was spawned: whoever waits for the world looks again.
    pub(crate) fn ring(&self) {
        self.bells.ring_world();
    }
}

/// What the last turn of a world was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// A task of this machine ran.
    Ran(u32),
    /// Time went on to something that happened.
    Happened,
    /// Nothing more happens until the time given.
    Idle,
}

/// A world of machines whose processes see virtual time and a virtual network, and the executor
/// that runs them, on the thread that calls it.
///
/// Dropping it drops every task in it.
pub struct Engine {
    inner: Arc<Inner>,
}

impl Engine {
    /// `hosts` machines that stand empty. `seed` is what processes get as seeds; all else is left
    /// to `choices`.
    pub fn new(hosts: usize, seed: u64, choices: Box<dyn Choices>) -> Self {
        let bells = Arc::new(Bells::default());
        let state = Mutex::new(State::new(hosts, seed, choices, bells.clone()));
        Self { inner: Arc::new(Inner { state, bells }) }
    }

    /// The runtime of the present process of machine `host`.
    ///
    /// # Panics
    /// If there is no such machine.
    pub fn runtime(&self, host: u32) -> Arc<dyn Runtime> {
        let process = self.inner.state().machines[host as usize].process;
        Virtual::new(self.inner.clone(), host, process)
    }

    /// Where machine `host` is, with port 0.
    pub fn addr(&self, host: u32) -> std::net::SocketAddr {
        crate::host::addr(host, 0)
    }

    /// Runs `story` to its end, and the world meanwhile. When nothing in the world can happen any
    /// more, it waits for a thread outside to wake somebody in it, for however long that takes.
    pub fn block_on<T>(&self, mut story: Pin<Box<dyn Future<Output = T> + '_>>) -> T {
        self.begin_story();
        loop {
            if let Some(done) = self.poll_story(story.as_mut()) {
                return done;
            }
            if self.turn(u64::MAX) == Turn::Idle && !self.is_anybody_woken() {
                self.inner.bells.wait();
            }
        }
    }

    /// From now on only the calling thread may wake anybody in this world; see
    /// [`Engine::check_outside`].
    pub(crate) fn stay_here(&self) {
        self.inner.bells.stay_here();
    }

    /// Fails once a thread outside of the world has woken somebody in it: such a run does not
    /// follow from its seed.
    pub(crate) fn check_outside(&self) -> Check {
        match self.inner.bells.outside() {
            None => Ok(()),
            Some(detail) => Err(Violation { oracle: "outside", detail: detail.into() }),
        }
    }

    /// Tasks that users of nodes have spawned and that have not ended.
    pub(crate) fn tasks_of_users(&self) -> Vec<Unended> {
        self.inner.state().tasks.of_users()
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    /// Changes something in the world, and wakes whom that concerns.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let done = act(&mut self.inner.state());
        self.tidy();
        done
    }

    /// Whether somebody was woken since the world last looked.
    pub(crate) fn is_anybody_woken(&self) -> bool {
        let state = &mut *self.inner.state();
        self.inner.bells.take(&mut state.woken);
        let has_grown = std::mem::take(&mut state.woken.has_grown);
        has_grown || state.woken.story || !state.woken.tasks.is_empty()
    }

    /// Whether the next [`Engine::poll_story`] polls.
    pub(crate) fn is_story_woken(&self) -> bool {
        let state = &mut *self.inner.state();
        self.inner.bells.take(&mut state.woken);
        state.woken.story
    }

    /// The next [`Engine::poll_story`] polls, for it is of a new story.
    pub(crate) fn begin_story(&self) {
        self.inner.state().woken.story = true;
    }

    /// Polls the story if it was woken.
    pub(crate) fn poll_story<T>(
        &self,
        story: Pin<&mut (dyn Future<Output = T> + '_)>,
    ) -> Option<T> {
        {
            let state = &mut *self.inner.state();
            self.inner.bells.take(&mut state.woken);
            if !std::mem::take(&mut state.woken.story) {
                return None;
            }
        }
        let polled = story.poll(&mut Context::from_waker(&self.inner.bells.story()));
        self.tidy();
        match polled {
            Poll::Ready(done) => Some(done),
            Poll::Pending => None,
        }
    }

    /// One step: a task that was woken runs, or the next thing happens that is not after `until`.
    pub(crate) fn turn(&self, until: u64) -> Turn {
        let picked = {
            let state = &mut *self.inner.state();
            self.inner.bells.take(&mut state.woken);
            if state.is_busy() {
                state.creep(until);
            }
            state.pick()
        };
        let turn = match picked {
            Some(running) => self.poll_task(running),
            None if self.inner.state().happen(until) => Turn::Happened,
            None => Turn::Idle,
        };
        self.tidy();
        turn
    }

    fn poll_task(&self, mut running: Running) -> Turn {
        let (id, host, waker) = (running.id, running.host, running.begin());
        let mut cx = Context::from_waker(&waker);
        // A future that panicked is dropped and not looked at again.
        let polled = catch_unwind(AssertUnwindSafe(|| running.future.as_mut().poll(&mut cx)));
        if let Ok(Poll::Pending) = polled {
            let ended = self.inner.state().tasks.keep(running);
            discard(ended);
            return Turn::Ran(host);
        }
        discard(Some(running.future));
        let mut state = self.inner.state();
        state.tasks.end(id);
        if let Err(panic) = polled {
            state.panics.push((host, message(&*panic)));
        }
        Turn::Ran(host)
    }

    /// Wakes who is to be woken, and drops what is to be dropped, under no lock.
    pub(crate) fn tidy(&self) {
        loop {
            let (wakers, trash) = {
                let state = &mut *self.inner.state();
                (std::mem::take(&mut state.wakers), std::mem::take(&mut state.trash))
            };
            if wakers.is_empty() && trash.is_empty() {
                return;
            }
            wakers.into_iter().for_each(std::task::Waker::wake);
            trash.into_iter().for_each(|task| discard(Some(task)));
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let hosts = u32::try_from(self.inner.state().machines.len()).unwrap_or(u32::MAX);
        for host in 0..hosts {
            self.inner.state().kill(host, false);
            self.tidy();
        }
        // Handles of nodes may outlive the world. They hold no waker of it.
        let rest = self.inner.state().forget();
        drop(rest);
    }
}

/// Drops what is left of a task. What panics then has nobody to tell.
fn discard(task: Option<BoxFuture<()>>) {
    let _panicked_or_not = catch_unwind(AssertUnwindSafe(|| drop(task)));
}

/// What a panic said.
pub(crate) fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without words".into())
}
