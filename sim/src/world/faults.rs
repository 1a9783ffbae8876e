//! Beginning and ending what the plan says.

use std::sync::Arc;

use chinwag_core::clock::{DRIFT_MAX_DEFAULT, SharedHlc, Timestamp};
use chinwag_core::membership::{Local, Membership, Metadata};
use chinwag_core::rng::mix;

use super::{What, World};
use crate::checker::Check;
use crate::checker::deaths::Truth;
use crate::checker::views::id;
use crate::choices::{Odds, Site};
use crate::clock::nanos;
use crate::fault::{Fault, Return, Timed};
use crate::host::Payload;
use crate::trace::record::What as Told;

impl World {
    /// The process of `node` starts.
    pub(super) fn start(&mut self, node: u32) -> Check {
        let host = &mut self.hosts[node as usize];
        if host.machine.is_some() {
            return Ok(());
        }
        host.generation += 1;
        host.started_at = self.now;
        (host.version, host.own_version) = (u64::MAX, u64::MAX);
        let now = host.now(self.now);
        let metadata =
            Metadata::new().with("dc", ["eu", "us"][node as usize % 2]).unwrap_or_default();
        let local = Local {
            id: id(node),
            epoch: host.epoch(self.now),
            addr: self.network.addresses.home(node, host.port),
            metadata,
        };
        let seed = mix(self.seed ^ mix(u64::from(node) << 32 | u64::from(host.generation)));
        let machine =
            Membership::new(self.setup.config.clone(), local, Arc::clone(&host.hlc), seed, now);
        let mut machine = machine.expect("the configuration is checked, and ports are not 0");
        machine.join(now);
        host.machine = Some(machine);
        let epoch = host.epoch(self.now).get();
        self.trace.tell(self.now, node, || Told::Start { epoch });
        self.tell_clock(node);
        if self.setup.checks {
            self.views.started(node);
            self.suspicions.started(node);
        }
        self.deaths.is(node, Truth::Up);
        self.settle(node).map(|_| ())
    }

    pub(super) fn begin(&mut self, number: usize) -> Check {
        let fault = self.plan.faults[number].fault.clone();
        let at = self.now;
        self.story.tell(|| {
            format!("{:>12.6} begins: {fault:?}", std::time::Duration::from_nanos(at).as_secs_f64())
        });
        self.tell_fault(number, &fault);
        self.deaths.fault(&fault, self.plan.is_mild());
        self.network.begin(number, &fault);
        if let Fault::Flap { every, .. } = fault {
            self.queue.push(at + nanos(every).max(1), What::Flap(number));
        }
        let Some(node) = fault.node() else { return Ok(()) };
        let host = &mut self.hosts[node as usize];
        let is_up = host.machine.is_some();
        match fault {
            Fault::FullPause(_) => {
                host.pauses += 1;
                self.rearm(node);
            }
            Fault::IoBlock(_) => host.blocks += 1,
            Fault::EarlyTimers(_) => host.early_timers += 1,
            Fault::SlowReader { every, .. } => host.slow.push(nanos(every)),
            Fault::LookupFails(_) => host.nameless += 1,
            Fault::Names { answers, .. } => host.answers.push(answers),
            Fault::Suspend { wall_stops, .. } => {
                host.pauses += 1;
                host.clock.stop(at, wall_stops);
                self.tell_clock(node);
                self.rearm(node);
            }
            Fault::Crash { .. } | Fault::RestartBehind { .. } if is_up => {
                host.crashed_by = Some(number);
                self.crash(node);
            }
            Fault::Clock { step_ms, drift_ppm, .. } => {
                host.clock.drift(at, drift_ppm);
                host.clock.step(step_ms);
                self.tell_clock(node);
                self.rearm(node);
            }
            Fault::Leave(_) | Fault::Metadata(_) | Fault::Broadcast(_) => {
                if host.pauses > 0 {
                    host.commands.push(number);
                } else {
                    return self.command(number);
                }
            }
            Fault::Crash { .. } | Fault::RestartBehind { .. } => {}
            Fault::Offset { .. } | Fault::Ipv6(_) | Fault::Addresses { .. } => {}
            Fault::TakeOver { .. } => self.strike("take_over"),
            Fault::Link { .. } | Fault::Cut { .. } | Fault::Flap { .. } => {}
        }
        let strikes_at_once = matches!(
            fault,
            Fault::FullPause(_)
                | Fault::IoBlock(_)
                | Fault::Crash { .. }
                | Fault::RestartBehind { .. }
                | Fault::Clock { .. }
                | Fault::Suspend { .. }
        );
        if is_up && strikes_at_once {
            self.strike(fault.family());
        }
        Ok(())
    }

    fn crash(&mut self, node: u32) {
        let host = &mut self.hosts[node as usize];
        self.tally.refutations +=
            host.machine.as_ref().map(Membership::stats).unwrap_or_default().refutations;
        host.stop();
        self.timers.clear(node);
        self.deaths.is(node, Truth::Down(self.now));
        self.trace.tell(self.now, node, || Told::Stop { why: "crash".into() });
    }

    /// A cut that comes and goes turns, until its fault has ended.
    pub(super) fn flap(&mut self, number: usize) {
        let Timed { until, fault: Fault::Flap { every, .. }, .. } = self.plan.faults[number] else {
            return;
        };
        if self.now < until {
            self.network.flap(number);
            self.queue.push(self.now + nanos(every).max(1), What::Flap(number));
        }
    }

    pub(super) fn end(&mut self, number: usize) -> Check {
        let fault = self.plan.faults[number].fault.clone();
        let at = self.now;
        self.story.tell(|| {
            format!("{:>12.6} ends: {fault:?}", std::time::Duration::from_nanos(at).as_secs_f64())
        });
        self.trace.tell(at, fault.node(), || Told::End {
            fault: u32::try_from(number).unwrap_or(u32::MAX),
        });
        self.network.end(number);
        let Some(node) = fault.node() else { return Ok(()) };
        let host = &mut self.hosts[node as usize];
        match fault {
            Fault::FullPause(_) => {
                host.pauses -= 1;
                self.resume(node)
            }
            Fault::IoBlock(_) => {
                host.blocks -= 1;
                self.unblock(node)
            }
            Fault::EarlyTimers(_) => {
                host.early_timers -= 1;
                Ok(())
            }
            Fault::LookupFails(_) => {
                host.nameless -= 1;
                Ok(())
            }
            Fault::Names { answers, .. } => {
                let place = host.answers.iter().position(|&other| other == answers);
                place.map(|place| host.answers.remove(place));
                Ok(())
            }
            Fault::Suspend { .. } => {
                host.pauses -= 1;
                host.clock.go_on(at);
                self.tell_clock(node);
                self.resume(node)
            }
            Fault::SlowReader { every, .. } => {
                let place = host.slow.iter().position(|&slow| slow == nanos(every));
                place.map(|place| host.slow.swap_remove(place));
                self.read_inbox(node)
            }
            Fault::Clock { .. } => {
                host.clock.drift(at, 0);
                self.tell_clock(node);
                self.rearm(node);
                Ok(())
            }
            _ => match fault.comes_back() {
                Some(how) if host.crashed_by == Some(number) => self.come_back(node, how),
                _ => Ok(()),
            },
        }
    }

    /// The process of `node`, which has died, starts again.
    fn come_back(&mut self, node: u32, how: Return) -> Check {
        let host = &mut self.hosts[node as usize];
        host.crashed_by = None;
        host.port += u16::from(how.moves);
        host.clock.step(-how.behind_ms);
        let bound = if how.keeps_clock { host.persisted } else { Timestamp::default() };
        host.hlc = Arc::new(SharedHlc::resume(bound, DRIFT_MAX_DEFAULT));
        self.clocks.started(node, how.keeps_clock);
        self.start(node)
    }

    /// What a user of the node does.
    fn command(&mut self, number: usize) -> Check {
        let fault = self.plan.faults[number].fault.clone();
        let Some(node) = fault.node() else { return Ok(()) };
        let host = &mut self.hosts[node as usize];
        let now = host.now(self.now);
        let Some(machine) = &mut host.machine else { return Ok(()) };
        let family = fault.family();
        match fault {
            Fault::Leave(_) => machine.leave(now),
            Fault::Metadata(_) => {
                let told = machine.local().metadata.with("told", &number.to_string());
                // A node that has left refuses; there is nobody to tell.
                let _ = machine.set_metadata(now, told.unwrap_or_default());
            }
            Fault::Broadcast(_) => {
                let payload = (number as u64).to_le_bytes();
                if machine.broadcast(now, &payload).is_ok() {
                    self.views.broadcast(&payload);
                }
            }
            _ => {}
        }
        self.strike(family);
        self.settle(node).map(|_| ())
    }

    /// A process that stood still runs again: its timers first, or what waits in its sockets.
    fn resume(&mut self, node: u32) -> Check {
        if self.hosts[node as usize].pauses > 0 {
            return Ok(());
        }
        let nth = self.hosts[node as usize].wakes;
        let reads_first =
            self.choose(Site::ReadFirst, node, nth, Odds { per_million: 500_000, most: 1 }) > 0;
        if reads_first {
            self.read_inbox(node)?;
        }
        let host = &mut self.hosts[node as usize];
        let now = host.now(self.now);
        if let Some(machine) = &mut host.machine {
            self.tally.events += 1;
            machine.handle_timeout(now);
        }
        self.settle(node)?;
        for number in std::mem::take(&mut self.hosts[node as usize].commands) {
            self.command(number)?;
        }
        self.read_inbox(node)
    }

    fn unblock(&mut self, node: u32) -> Check {
        let host = &mut self.hosts[node as usize];
        if host.blocks > 0 {
            return Ok(());
        }
        for payload in std::mem::take(&mut host.unsent) {
            self.carry(node, payload);
        }
        self.read_inbox(node)
    }

    fn read_inbox(&mut self, node: u32) -> Check {
        if !self.hosts[node as usize].reads() {
            return Ok(());
        }
        if !self.hosts[node as usize].slow.is_empty() {
            self.read_later(node);
            return Ok(());
        }
        for payload in self.hosts[node as usize].take_inbox() {
            self.receive(node, &payload)?;
            self.spares.give(payload);
        }
        Ok(())
    }

    /// A payload waits in the sockets of `node`.
    pub(super) fn hold(&mut self, node: u32, payload: Box<Payload>) {
        let host = &mut self.hosts[node as usize];
        let is_slow = !host.slow.is_empty();
        let (from, to, number) = (payload.from, node, payload.number);
        if !host.hold(payload) {
            self.trace.tell(self.now, from, || Told::Drop {
                peer: to,
                id: number,
                why: "buffer full".into(),
            });
        }
        if is_slow {
            self.strike("slow_reader");
            self.read_later(node);
        }
    }

    /// A slow reader comes to its next payload in a while.
    fn read_later(&mut self, node: u32) {
        let host = &mut self.hosts[node as usize];
        let Some(every) = host.reads_every().filter(|_| host.has_waiting() && !host.is_reading)
        else {
            return;
        };
        host.is_reading = true;
        self.queue.push(self.now + every, What::Read(node));
    }

    pub(super) fn read_one(&mut self, node: u32) -> Check {
        let host = &mut self.hosts[node as usize];
        host.is_reading = false;
        if !host.reads() {
            return Ok(());
        }
        if let Some(payload) = host.take_one() {
            self.receive(node, &payload)?;
            self.spares.give(payload);
        }
        self.read_later(node);
        Ok(())
    }
}
