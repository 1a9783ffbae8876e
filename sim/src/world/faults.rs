//! Beginning and ending what the plan says.

use std::sync::Arc;

use chinwag_core::clock::{DRIFT_MAX_DEFAULT, SharedHlc, Timestamp};
use chinwag_core::membership::{Local, Membership, Metadata};
use chinwag_core::rng::mix;

use super::World;
use crate::checker::Check;
use crate::checker::deaths::Truth;
use crate::checker::views::id;
use crate::choices::{Odds, Site};
use crate::fault::Fault;
use crate::host::addr;

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
        let metadata = Metadata::new().with("dc", ["eu", "us"][node as usize % 2]).unwrap_or_default();
        let local =
            Local { id: id(node), epoch: host.epoch(self.now), addr: addr(node, host.port), metadata };
        let seed = mix(self.seed ^ mix(u64::from(node) << 32 | u64::from(host.generation)));
        let machine = Membership::new(self.setup.config.clone(), local, Arc::clone(&host.hlc), seed, now);
        let mut machine = machine.expect("the configuration is checked, and ports are not 0");
        machine.join(now);
        host.machine = Some(machine);
        if self.setup.checks {
            self.views.started(node);
        }
        self.deaths.is(node, Truth::Up);
        self.settle(node).map(|_| ())
    }

    pub(super) fn begin(&mut self, number: usize) -> Check {
        let fault = self.plan.faults[number].fault.clone();
        let at = self.now;
        self.begun[number] = true;
        self.story.tell(|| {
            format!("{:>12.6} begins: {fault:?}", std::time::Duration::from_nanos(at).as_secs_f64())
        });
        self.deaths.fault(&fault);
        self.network.begin(number, &fault);
        let Some(node) = fault.node() else { return Ok(()) };
        let host = &mut self.hosts[node as usize];
        match fault {
            Fault::FullPause(_) => {
                host.pauses += 1;
                self.rearm(node);
            }
            Fault::IoBlock(_) => host.blocks += 1,
            Fault::EarlyTimers(_) => host.early_timers += 1,
            Fault::Crash { .. } if host.machine.is_some() => {
                host.crashed_by = Some(number);
                let stats = host.machine.as_ref().map(Membership::stats).unwrap_or_default();
                self.tally.refutations += stats.refutations;
                self.hosts[node as usize].stop();
                self.timers.clear(node);
                self.deaths.is(node, Truth::Down(at));
            }
            Fault::Clock { step_ms, drift_ppm, .. } => {
                host.clock.drift(at, drift_ppm);
                host.clock.step(step_ms);
                self.rearm(node);
            }
            Fault::Leave(_) | Fault::Metadata(_) | Fault::Broadcast(_) => {
                if host.pauses > 0 {
                    host.commands.push(number);
                } else {
                    return self.command(number);
                }
            }
            Fault::Crash { .. } | Fault::Link { .. } | Fault::Cut { .. } => {}
        }
        Ok(())
    }

    pub(super) fn end(&mut self, number: usize) -> Check {
        let fault = self.plan.faults[number].fault.clone();
        let at = self.now;
        self.story
            .tell(|| format!("{:>12.6} ends: {fault:?}", std::time::Duration::from_nanos(at).as_secs_f64()));
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
            Fault::Clock { .. } => {
                host.clock.drift(at, 0);
                self.rearm(node);
                Ok(())
            }
            Fault::Crash { moves, keeps_clock, .. } if host.crashed_by == Some(number) => {
                host.crashed_by = None;
                host.port += u16::from(moves);
                let bound = if keeps_clock { host.persisted } else { Timestamp::default() };
                host.hlc = Arc::new(SharedHlc::resume(bound, DRIFT_MAX_DEFAULT));
                self.clocks.started(node, keeps_clock);
                self.start(node)
            }
            _ => Ok(()),
        }
    }

    /// What a user of the node does.
    fn command(&mut self, number: usize) -> Check {
        let fault = self.plan.faults[number].fault.clone();
        let Some(node) = fault.node() else { return Ok(()) };
        let host = &mut self.hosts[node as usize];
        let now = host.now(self.now);
        let Some(machine) = &mut host.machine else { return Ok(()) };
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
        self.settle(node).map(|_| ())
    }

    /// A process that stood still runs again: its timers first, or what waits in its sockets.
    fn resume(&mut self, node: u32) -> Check {
        if self.hosts[node as usize].pauses > 0 {
            return Ok(());
        }
        let nth = self.hosts[node as usize].wakes;
        let reads_first = self.choose(Site::ReadFirst, node, nth, Odds { per_million: 500_000, most: 1 }) > 0;
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
        for payload in self.hosts[node as usize].take_inbox() {
            self.receive(node, &payload)?;
            self.spares.give(payload);
        }
        Ok(())
    }
}
