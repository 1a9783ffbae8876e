//! What the world does around one machine: feeds it, drains it, and shows the oracles what it did.

use chinwag_core::clock::Timestamp;
use chinwag_core::id::Epoch;
use chinwag_core::membership::{Event, Plane, Stats, StreamPeer};
use chinwag_core::rng::mix;
use chinwag_core::time::Now;

use super::{Burial, SNAPSHOT_EVERY_UP_TO, StreamFailed, What, World};
use crate::checker::clocks::Receipt;
use crate::checker::deaths::Truth;
use crate::checker::machine::POLLS_MAX;
use crate::checker::views::{Word, id, index, rank};
use crate::checker::{Check, Violation};
use crate::choices::{Odds, Site};
use crate::host::Payload;
use crate::mutant::Defect;
use crate::network::{Fate, StreamFate};
use crate::trace::digest;
use crate::trace::record::What as Told;

/// Where a payload's stamp stands (`docs/protocol.md` §2.3).
const STAMP_AT: usize = 28;

impl World {
    /// The machine of `node` takes a payload in.
    pub(super) fn receive(&mut self, node: u32, payload: &Payload) -> Check {
        let Payload { transmit, peer, bytes, .. } = payload;
        let what = 5 << 32 | u64::from(transmit.plane == Plane::Stream) << 31 | u64::from(node);
        self.hash.add(self.now, what, payload.digest ^ u64::from(payload.from));
        self.tell_arrival(node, payload);
        let altered =
            self.mutation.as_mut().map(|mutation| mutation.input(node, self.now, payload));
        let bytes = match &altered {
            None => bytes,
            Some(Some(altered)) => altered,
            Some(None) => return Ok(()),
        };
        let (from, is_mapped) = self.network.addresses.seen_by(node, peer.addr);
        if is_mapped && transmit.plane == Plane::Datagram {
            *self.strikes.entry("mapped").or_default() += 1;
        }
        let host = &mut self.hosts[node as usize];
        let now = host.now(self.now);
        let Some(machine) = &mut host.machine else { return Ok(()) };
        let before = machine.stats();
        self.tally.events += 1;
        match transmit.plane {
            Plane::Datagram => machine.handle_datagram(now, from, bytes),
            Plane::Stream => machine.handle_stream(now, *peer, bytes),
        }
        if self.setup.checks {
            let after = machine.stats();
            self.machines.received(node, now.mono);
            if let Some(stamp) = stamp_of(&payload.bytes) {
                let receipt = Receipt {
                    stamp,
                    wall: now.wall,
                    after: self.hosts[node as usize].hlc.last(),
                    was_refused: after.stamps_refused > before.stamps_refused,
                    was_dropped: was_dropped(&before, &after),
                };
                self.clocks.received(node, &receipt)?;
            }
            self.machines.counted(node, &after)?;
        }
        self.settle(node).map(|_| ())
    }

    /// A timer of `node` fires.
    pub(super) fn wake(&mut self, node: u32) -> Check {
        self.timers.clear(node);
        let host = &mut self.hosts[node as usize];
        let now = host.now(self.now);
        let Some(machine) = &mut host.machine else { return Ok(()) };
        let before = (machine.poll_timeout(), machine.version());
        let is_early = before.0.is_none_or(|due| due > now.mono);
        self.hash.add(
            self.now,
            6 << 32 | u64::from(node),
            machine.timeout_reason().map_or(0, |why| why as u64),
        );
        self.tally.events += 1;
        let defect = self.mutation.as_ref();
        if defect
            .is_some_and(|mutation| is_early && mutation.has(node, self.now, Defect::FiresEarly))
        {
            machine.handle_timeout(Now { mono: before.0.unwrap_or(now.mono), ..now });
        } else if !defect.is_some_and(|mutation| mutation.has(node, self.now, Defect::Oversleeps)) {
            machine.handle_timeout(now);
        }
        let sent = self.settle(node)?;
        let Some(machine) = &self.hosts[node as usize].machine else { return Ok(()) };
        let after = (machine.poll_timeout(), machine.version());
        if is_early {
            self.machines.fired_early(node, before, after, sent)
        } else {
            self.machines.fired(node, now.mono, after.0)
        }
    }

    /// Does what a driver does after every input; answers how many payloads went out.
    pub(super) fn settle(&mut self, node: u32) -> Result<u32, Violation> {
        let mut sent = 0;
        let mut polls = 0;
        let mut payload = self.spares.take();
        loop {
            let host = &mut self.hosts[node as usize];
            let now = host.now(self.now);
            let Some(machine) = &mut host.machine else { break };
            if let Some(transmit) = machine.poll_transmit(now, &mut payload.bytes) {
                payload.transmit = transmit;
                self.transmit(node, payload)?;
                payload = self.spares.take();
                sent += 1;
            } else if let Some(event) = machine.poll_event() {
                self.tell(node, &event)?;
            } else if machine.poll_lookup() {
                self.look_up(node, now);
            } else {
                break;
            }
            polls += 1;
            if polls > POLLS_MAX {
                break;
            }
        }
        self.spares.give(payload);
        self.machines.drained(node, polls)?;
        self.look(node)?;
        self.persist(node);
        self.rearm(node);
        Ok(sent)
    }

    /// Shows the oracles the whole view where it changed.
    fn look(&mut self, node: u32) -> Check {
        let nodes = self.setup.nodes;
        let host = &mut self.hosts[node as usize];
        let Some(machine) = &host.machine else { return Ok(()) };
        if !self.setup.checks || machine.version() == host.version {
            return Ok(());
        }
        host.version = machine.version();
        host.changes += 1;
        for subject in self.told.drain(..) {
            self.views.got(node, subject, machine.get(id(subject)).as_ref())?;
        }
        let mut local = machine.local();
        let mut score = machine.awareness();
        if let Some(mutation) = &self.mutation {
            mutation.local(node, self.now, &mut local);
            score = mutation.awareness(node, self.now, score);
        }
        let word = Word { has_left: machine.has_left(), refutations: machine.stats().refutations };
        self.deaths.epoch(node, local.epoch.get());
        self.views.life(node, &local, word)?;
        self.views.local(node, &local, machine.has_left())?;
        self.machines.is_aware(node, score, machine.config().awareness_max)?;
        let every = (nodes / SNAPSHOT_EVERY_UP_TO).max(1) as u64;
        if host.changes.is_multiple_of(every * every) {
            self.views.snapshot(node, machine.snapshot().members(), machine.live_count())?;
        }
        Ok(())
    }

    fn transmit(&mut self, node: u32, payload: Box<Payload>) -> Check {
        let Some(mutation) = &mut self.mutation else { return self.send(node, payload) };
        let Some(altered) = mutation.output(node, self.now, payload.transmit, &payload.bytes)
        else {
            return self.send(node, payload);
        };
        for bytes in altered {
            let mut payload = payload.clone();
            payload.bytes = bytes;
            self.send(node, payload)?;
        }
        Ok(())
    }

    fn send(&mut self, node: u32, mut payload: Box<Payload>) -> Check {
        let Payload { transmit, bytes, .. } = &*payload;
        let (plane, len, stamp) = (transmit.plane, bytes.len(), stamp_of(bytes));
        payload.digest = digest(bytes);
        let is_stream = plane == Plane::Stream;
        self.hash.add(
            self.now,
            7 << 32 | u64::from(is_stream) << 31 | u64::from(node),
            payload.digest,
        );
        let tally = &mut self.tally;
        let (count, sum) = match plane {
            Plane::Datagram => (&mut tally.datagrams, &mut tally.datagram_bytes),
            Plane::Stream => (&mut tally.streams, &mut tally.stream_bytes),
        };
        *count += 1;
        *sum += len as u64;
        let host = &mut self.hosts[node as usize];
        let now = host.now(self.now);
        if self.setup.checks {
            self.machines.sent(node, now.mono, plane, len)?;
            if let Some(stamp) = stamp {
                self.clocks.sent(node, now.wall, stamp)?;
            }
            // A life may be told before the step that began it is over.
            if let Some(machine) = &host.machine
                && machine.version() != host.own_version
            {
                host.own_version = machine.version();
                self.views.local(node, &machine.local(), machine.has_left())?;
            }
        }
        if host.blocks > 0 {
            host.unsent.push(payload);
            return Ok(());
        }
        self.carry(node, payload);
        Ok(())
    }

    /// Puts a payload on its way.
    pub(super) fn carry(&mut self, node: u32, mut payload: Box<Payload>) {
        let host = &self.hosts[node as usize];
        let Some(machine) = &host.machine else { return };
        let transmit = payload.transmit;
        let is_stream = transmit.plane == Plane::Stream;
        // A datagram says no more of its sender than its address.
        let epoch = if is_stream { machine.local().epoch } else { Epoch::default() };
        let (home, generation) = (self.network.addresses.home(node, host.port), host.generation);
        payload.from = node;
        payload.generation = generation;
        payload.peer = StreamPeer { id: id(node), epoch, addr: home };
        payload.sent_at = self.now;
        if !is_stream {
            let (source, why) = self.network.addresses.source(self.now, node, home);
            payload.peer.addr = source;
            if let Some(family) = why {
                self.strike(family);
            }
        }
        let Some(to) = self.network.addresses.host_at(self.now, transmit.to.addr) else {
            if is_stream {
                let failed = StreamFailed { node, generation, to: transmit.to, is_refused: false };
                self.queue.push(self.now + 1_000_000, What::StreamFailed(Box::new(failed)));
            }
            return self.spares.give(payload);
        };
        self.carried += 1;
        let number = self.carried;
        payload.number = number;
        self.tell_send(node, to, number, transmit, &payload.bytes);
        let len = payload.bytes.len();
        if is_stream {
            match self.network.stream(&mut *self.choices, self.now, (node, to), len) {
                StreamFate::Arrives(at) => self.queue.push(at, What::Arrive(payload)),
                StreamFate::Vanishes(until) => {
                    let (generation, to) = (payload.generation, transmit.to);
                    let failed = StreamFailed { node, generation, to, is_refused: false };
                    self.queue.push(until, What::StreamFailed(Box::new(failed)));
                    self.tell_drop(&payload, "half_open");
                    self.spares.give(payload);
                }
            }
            return;
        }
        let before = self.trace.is_on().then_some(self.network.struck);
        let [first, second] = self.network.datagram(&mut *self.choices, self.now, (node, to), len);
        if let (None, Some(before)) = (first, before) {
            let why = self.network.struck.since(&before);
            self.tell_drop(&payload, why);
        }
        let again = second.map(|fate| (fate, payload.clone()));
        match first {
            Some(fate) => self.arrive_as(fate, payload),
            None => self.spares.give(payload),
        }
        if let Some((fate, copy)) = again {
            self.arrive_as(fate, copy);
        }
    }

    /// A copy of a datagram is under way, and what becomes of it is known.
    fn arrive_as(&mut self, fate: Fate, mut payload: Box<Payload>) {
        let bytes = &mut payload.bytes;
        if let Some(len) = fate.cut_to {
            bytes.truncate(len);
        }
        if let Some(byte) =
            fate.flips.and_then(|bit| Some((bytes.get_mut(bit as usize / 8)?, bit % 8)))
        {
            *byte.0 ^= 1 << byte.1;
        }
        if fate.cut_to.is_some() || fate.flips.is_some() {
            payload.digest = digest(bytes);
        }
        self.queue.push(self.now + fate.takes, What::Arrive(payload));
    }

    fn tell(&mut self, node: u32, event: &Event) -> Check {
        if let Some(mutation) = &mut self.mutation
            && let Some(events) = mutation.event(node, self.now, event)
        {
            return events.iter().try_for_each(|event| self.told(node, event));
        }
        self.told(node, event)
    }

    fn told(&mut self, node: u32, event: &Event) -> Check {
        let now = self.now;
        self.tell_event(node, event);
        self.story.tell(|| {
            format!(
                "{:>12.6} node {node}: {event:?}",
                std::time::Duration::from_nanos(now).as_secs_f64()
            )
        });
        self.count_told(event);
        if let Some(member) = event.member() {
            let (epoch, incarnation, state) = rank(member);
            let claim = mix(epoch << 2 | state as u64) ^ u64::from(incarnation);
            self.hash.add(now, 8 << 32 | u64::from(node), mix(member.id.get()) ^ claim);
        }
        if let (Some(burials), Event::Died(member)) = (&mut self.burials, event) {
            let life = (member.epoch.get(), member.incarnation.get());
            burials.extend(index(member.id, self.setup.nodes).map(|subject| Burial {
                at: now,
                observer: node,
                subject,
                life,
            }));
        }
        if !self.setup.checks {
            return Ok(());
        }
        self.views.event(node, event)?;
        self.suspicions.event(node, self.hosts[node as usize].now(now).mono, event)?;
        let Some((member, subject)) =
            event.member().and_then(|member| Some((member, self.views.index(member.id)?)))
        else {
            return Ok(());
        };
        self.told.push(subject);
        let is_change = !matches!(event, Event::Updated(_));
        if self.rests
            && is_change
            && self.hosts[node as usize].is_well()
            && self.hosts[subject as usize].is_well()
        {
            let detail =
                format!("all had agreed, no fault is left, and node {node} is told {event:?}");
            return Err(Violation { oracle: "rests", detail });
        }
        let run = (subject, member.epoch.get());
        self.deaths.event(now, node, event, run, self.plan.forges())
    }

    /// Writes the clock's bound down where the node does so.
    fn persist(&mut self, node: u32) {
        let host = &mut self.hosts[node as usize];
        let wall = host.now(self.now).wall;
        self.clocks.shows(node, wall);
        if let Some(bound) = host.hlc.persist_bound(wall) {
            host.persisted = bound;
        }
        let has_left = host
            .machine
            .as_ref()
            .is_some_and(|machine| machine.has_left() && machine.poll_timeout().is_none());
        if has_left {
            let stats = host
                .machine
                .as_ref()
                .map(chinwag_core::membership::Membership::stats)
                .unwrap_or_default();
            self.tally.refutations += stats.refutations;
            self.deaths.is(node, Truth::Left);
            self.hosts[node as usize].stop();
            self.trace.tell(self.now, node, || Told::Stop { why: "left".into() });
        }
    }

    /// Moves the node's timer to where the machine wants it.
    pub(super) fn rearm(&mut self, node: u32) {
        let host = &mut self.hosts[node as usize];
        let due =
            host.machine.as_ref().and_then(chinwag_core::membership::Membership::poll_timeout);
        let Some(due) = due.filter(|_| host.pauses == 0) else { return self.timers.clear(node) };
        let mut at = host.clock.true_time(due).max(self.now);
        if host.early_timers > 0 {
            host.wakes += 1;
            let (nth, span) = (host.wakes, at - self.now);
            if self.choose(Site::EarlyWake, node, nth, Odds::chance(62_500)) > 0 {
                at = self.now + span.div_ceil(2);
                self.strike("early_timers");
            }
        }
        if self.timers.get(node) != Some(at) {
            let order = self.queue.next_order();
            self.timers.set(node, at, order);
        }
    }

    /// The sender of a stream payload learns, in a moment, that it went nowhere.
    pub(super) fn fail_stream(&mut self, payload: &Payload) -> Check {
        self.fail_stream_as(payload, false)
    }

    /// As [`fail_stream`](Self::fail_stream), and whether the connection was refused.
    pub(super) fn fail_stream_as(&mut self, payload: &Payload, is_refused: bool) -> Check {
        self.tell_drop(payload, "stream failed");
        let Payload { from, generation, transmit, .. } = *payload;
        if let Some(node) = self.network.addresses.host_at(self.now, transmit.to.addr) {
            self.network.reset_stream(from, node);
        }
        let failed = StreamFailed { node: from, generation, to: transmit.to, is_refused };
        self.queue.push(self.now + 500_000, What::StreamFailed(Box::new(failed)));
        Ok(())
    }
}

fn stamp_of(bytes: &[u8]) -> Option<Timestamp> {
    let raw = bytes.get(STAMP_AT..STAMP_AT + 8)?;
    Some(Timestamp::from_raw(u64::from_le_bytes(raw.try_into().ok()?)))
}

/// Whether a payload was dropped by its header, before its stamp counts.
fn was_dropped(before: &Stats, after: &Stats) -> bool {
    let of = |stats: &Stats| {
        stats.malformed + stats.foreign_version + stats.foreign_cluster + stats.misdirected
    };
    of(after) > of(before)
}
