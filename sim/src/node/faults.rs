//! What goes wrong with one machine, or between two of them.

use std::net::SocketAddr;

use super::engine::Engine;
use super::state::{Machine, State, What};
use crate::choices::{Odds, Site};
use crate::clock::nanos;
use crate::fault::{Addresses, Fault};
use crate::trace::TraceHash;

/// How often a machine whose timers fire early has them do so, in nanoseconds.
const EARLY_EVERY: u64 = 500_000_000;

impl Engine {
    /// A fault begins, as far as it is one of the network or of a machine: processes are ended with
    /// [`Engine::kill`]. `number` is what [`Engine::end_fault`] knows it by.
    pub fn begin_fault(&self, number: usize, fault: &Fault) {
        self.with(|state| state.begin_fault(number, fault));
    }

    /// The same fault ends.
    pub fn end_fault(&self, number: usize, fault: &Fault) {
        self.with(|state| state.end_fault(number, fault));
        self.inner().ring();
    }

    /// Ends the process of machine `host`, with all its tasks and sockets. With `is_told` the
    /// machine resets its connections; otherwise those at the other end find out when they send
    /// and the machine is up again.
    pub fn kill(&self, host: u32, is_told: bool) {
        self.with(|state| state.kill(host, is_told));
    }

    /// A machine whose process was ended may have another: take its [`Engine::runtime`] then.
    pub fn start(&self, host: u32) {
        self.with(|state| state.machine(host).is_up = true);
    }

    /// Breaks the connections there are between two machines, and says how many. With `is_told`
    /// both ends learn it at once; otherwise neither does, and nothing crosses any more.
    pub fn break_streams(&self, a: u32, b: u32, is_told: bool) -> usize {
        self.with(|state| state.break_streams(a, b, is_told))
    }

    /// Tasks of machine `host` that have not ended.
    pub fn tasks_of(&self, host: u32) -> usize {
        self.with(|state| state.tasks.count(host))
    }

    /// Ends of connections that the process of machine `host` holds, and ports that it is bound to.
    pub fn sockets_of(&self, host: u32) -> usize {
        self.with(|state| state.sockets_of(host))
    }

    /// From now on `name` is the address of machine `host`.
    pub fn set_name(&self, name: &str, host: u32) {
        self.with(|state| state.set_name(name, host));
    }

    /// The address of machine `host` with this port.
    pub(crate) fn addr_at(&self, host: u32, port: u16) -> SocketAddr {
        self.with(|state| state.network.addresses.home(host, port))
    }

    /// True nanoseconds since the world began.
    pub fn now(&self) -> u64 {
        self.with(|state| state.now)
    }

    /// The hash of everything that happened so far.
    pub fn hash(&self) -> TraceHash {
        self.with(|state| state.hash)
    }

    /// What was chosen other than 0, if the choices are recorded.
    pub fn take_tape(&self) -> Option<crate::choices::Tape> {
        self.with(State::take_tape)
    }
}

impl Machine {
    /// Whether its process runs at this true nanosecond.
    pub(super) const fn runs_at(&self, now: u64) -> bool {
        self.pauses == 0 && self.stalled_until <= now
    }
}

impl State {
    /// A fault begins, as far as it is one of the network or of a machine; what befalls processes
    /// is the world's to do.
    pub(super) fn begin_fault(&mut self, number: usize, fault: &Fault) {
        self.network.begin(number, fault);
        let Some(host) = fault.node() else { return };
        let now = self.now;
        let machine = self.machine(host);
        match *fault {
            Fault::FullPause(_) => {
                machine.pauses += 1;
                machine.pauses_begun += 1;
            }
            Fault::IoBlock(_) => machine.blocks += 1,
            Fault::SlowReader { every, .. } => machine.slow.push(nanos(every)),
            Fault::LookupFails(_) => machine.nameless += 1,
            Fault::Names { answers, .. } => machine.answers.push(answers),
            Fault::Addresses { odd: Addresses::Moves, .. } => self.forget_streams_of(host),
            Fault::Suspend { wall_stops, .. } => {
                machine.pauses += 1;
                machine.pauses_begun += 1;
                machine.clock.stop(now, wall_stops);
                self.tell_clock(host);
                self.requeue_timers(host);
            }
            Fault::EarlyTimers(_) => {
                machine.early_timers += 1;
                self.queue.push(now, What::Spurious(host));
            }
            Fault::Clock { step_ms, drift_ppm, .. } => {
                machine.clock.step(step_ms);
                machine.clock.drift(now, drift_ppm);
                self.tell_clock(host);
                self.requeue_timers(host);
            }
            _ => {}
        }
    }

    /// The same fault ends.
    pub(super) fn end_fault(&mut self, number: usize, fault: &Fault) {
        self.network.end(number);
        let Some(host) = fault.node() else { return };
        let now = self.now;
        let machine = self.machine(host);
        match *fault {
            Fault::FullPause(_) => machine.pauses -= 1,
            Fault::IoBlock(_) => {
                machine.blocks -= 1;
                if machine.blocks == 0 {
                    self.unblock_udp(host);
                    self.unblock_streams(host);
                }
            }
            Fault::EarlyTimers(_) => machine.early_timers -= 1,
            Fault::SlowReader { every, .. } => {
                let place = machine.slow.iter().position(|&slow| slow == nanos(every));
                place.map(|place| machine.slow.swap_remove(place));
            }
            Fault::LookupFails(_) => machine.nameless -= 1,
            Fault::Names { answers, .. } => {
                let place = machine.answers.iter().position(|&other| other == answers);
                place.map(|place| machine.answers.remove(place));
            }
            Fault::Addresses { odd: Addresses::Moves, .. } => self.forget_streams_of(host),
            Fault::Suspend { .. } => {
                machine.pauses -= 1;
                machine.clock.go_on(now);
                self.tell_clock(host);
                self.requeue_timers(host);
            }
            Fault::Clock { .. } => {
                machine.clock.drift(now, 0);
                self.tell_clock(host);
                self.requeue_timers(host);
            }
            _ => {}
        }
    }

    /// Wakes whoever waits for a timer of `host`, for nothing, and does so again while its timers
    /// fire early.
    pub(super) fn wake_early(&mut self, host: u32) {
        let of_host = self.timers.values_mut().filter(|timing| timing.host == Some(host));
        // The waker stays: a wake-up for nothing is not the one that was asked for.
        let wakers: Vec<_> = of_host.filter_map(|timing| timing.waker.clone()).collect();
        if !wakers.is_empty() {
            self.strike("early_timers");
        }
        self.wakers.extend(wakers);
        if self.machine(host).early_timers > 0 {
            let after = self.choose(Site::EarlyWake, host, 0, Odds::up_to(256));
            self.queue
                .push(self.now + EARLY_EVERY + u64::from(after) * 1_000_000, What::Spurious(host));
        }
    }

    /// The thread of the process on `host` is blocked for so many nanoseconds from the end of the
    /// present poll on.
    pub(super) fn stall(&mut self, host: u32, time: u64) {
        let (now, until) = (self.now, self.now + time);
        let machine = self.machine(host);
        if machine.stalled_until < now {
            machine.stalled_since = now;
        }
        machine.stalled_until = until.max(machine.stalled_until);
        // What has a deadline may be late because of it.
        machine.pauses_begun += 1;
        self.queue.push(until, What::GoesOn);
    }

    /// So many nanoseconds the thread of the process on `host` was blocked just before now: what
    /// its tasks see now may have come so long ago.
    pub(super) fn stalled_for(&mut self, host: u32) -> u64 {
        let now = self.now;
        let machine = self.machine(host);
        if machine.stalled_until == now { now - machine.stalled_since } else { 0 }
    }

    /// Takes out everything that holds a waker, to be dropped under no lock.
    pub(super) fn forget(&mut self) -> impl Sized + use<> {
        let sockets = (
            std::mem::take(&mut self.udp),
            std::mem::take(&mut self.listeners),
            std::mem::take(&mut self.conns),
        );
        (sockets, std::mem::take(&mut self.timers), std::mem::take(&mut self.wakers))
    }
}
