//! What others are told: records as claims, and the rumours that wait (`docs/protocol.md` §4.6).

use alloc::vec::Vec;

use smallvec::SmallVec;

use crate::membership::claims::{Changed, Claims, Effect};
use crate::membership::state::ring::Slot;
use crate::membership::state::rumors::{Broadcast, Rumor};
use crate::membership::state::since::Since;
use crate::membership::state::speaker::Via;
use crate::membership::state::table::NOWHERE;
use crate::membership::{Config, RELAYED_RUMORS_MAX, State};
use crate::time::Instant;
use crate::wire::datagram::encode;
use crate::wire::update::{Accusers, Details, Update};

/// Rumours that were passed over as too long for what is left of a datagram, before it is closed.
const MISFITS_MAX: usize = 4;

impl Claims {
    pub(super) fn spread_via(&mut self, slot: Slot, via: Via, changed: &mut Changed) {
        let is_worth_it = match via {
            Via::Gossip | Via::FirstHand | Via::Decided => true,
            Via::Transfer | Via::MemberTransfer => self.rumors.len() < RELAYED_RUMORS_MAX,
            Via::FirstTransfer => false,
        };
        if is_worth_it {
            self.spread(slot, changed);
        }
    }

    /// Queues what the table says of `slot`, as new.
    pub(super) fn spread(&mut self, slot: Slot, changed: &mut Changed) {
        self.queue(slot);
        changed.effects.push(Effect::Gossip);
    }

    /// Queues what the table says of `slot`, as new. The caller arms the gossip tick.
    pub(crate) fn queue(&mut self, slot: Slot) {
        let Some(rumor) = self.table.rumor_mut(slot) else { return };
        if *rumor == NOWHERE {
            *rumor = self.rumors.push(Rumor::Member(slot));
        } else {
            self.rumors.renew(*rumor);
        }
    }

    /// Queues a broadcast. The caller keeps their number and arms the gossip tick.
    pub(crate) fn queue_broadcast(&mut self, broadcast: Broadcast) {
        self.rumors.push(Rumor::Broadcast(broadcast));
    }

    /// Writes what the table says of `slot`; with its details if wanted, and always if it is alive.
    pub(crate) fn write_record(
        &self,
        slot: Slot,
        now: Instant,
        with_details: bool,
        buf: &mut Vec<u8>,
    ) {
        if let Some(update) = self.update_of(slot, now, with_details) {
            encode::update(buf, &update);
        }
    }

    /// What the table says of `slot`, as a claim.
    pub(crate) fn update_of(
        &self,
        slot: Slot,
        now: Instant,
        with_details: bool,
    ) -> Option<Update<'_>> {
        let record = self.table.try_get(slot)?;
        let running = self.suspicions.get(slot).filter(|_| record.state == State::Suspect);
        let age = |since: Since| u32::try_from(since.age(now).as_secs()).unwrap_or(u32::MAX);
        let details = Details {
            incarnation: record.details,
            versions: record.versions,
            addr: self.table.addr(slot),
            metadata: record.metadata.as_bytes(),
        };
        Some(Update {
            id: record.id,
            epoch: record.epoch,
            incarnation: record.incarnation,
            state: record.state,
            accusers: running.map_or_else(Accusers::new, |suspicion| suspicion.accusers.clone()),
            age: self.table.gone_since(slot).filter(|_| with_details).map(age),
            details: (with_details || record.state == State::Alive).then_some(details),
        })
    }

    /// Fills a payload up to `limit` bytes with rumours, the least-sent first, each at most once,
    /// and counts them sent.
    pub(crate) fn write_rumors(
        &mut self,
        now: Instant,
        config: &Config,
        limit: usize,
        buf: &mut Vec<u8>,
    ) {
        let mut written: SmallVec<[u32; 64]> = SmallVec::new();
        let (mut next, mut misfits) = (self.rumors.first(), 0);
        while let Some(at) = next
            && misfits < MISFITS_MAX
        {
            next = self.rumors.after(at);
            let len = buf.len();
            if let Some(slot) = self.rumors.member(at) {
                self.write_record(slot, now, false, buf);
            } else if let Some(Broadcast { origin, seq, payload }) = self.rumors.broadcast(at) {
                encode::broadcast(buf, *origin, *seq, payload);
            } else {
                debug_assert!(false, "entries in the lists are taken");
            }
            if buf.len() > limit {
                buf.truncate(len);
                misfits += 1;
            } else {
                written.push(at);
            }
        }
        let limit = self.transmissions_max(config);
        for at in written {
            if let Some(Rumor::Member(slot)) = self.rumors.sent(at, limit)
                && let Some(rumor) = self.table.rumor_mut(slot)
            {
                *rumor = NOWHERE;
            }
        }
    }

    /// How often a rumour is sent: the configured factor times the decimal digits of n, which is
    /// ceil(log10(n + 1)).
    fn transmissions_max(&self, config: &Config) -> u32 {
        let members = u32::try_from(self.cluster_size()).unwrap_or(u32::MAX);
        config.retransmit_mult * (members.ilog10() + 1)
    }

    /// Forgets all that waits to be told.
    #[cfg(test)]
    pub(crate) fn drop_rumors(&mut self) {
        let slots: Vec<Slot> = self.table.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            if let Some(rumor) = self.table.rumor_mut(slot) {
                *rumor = NOWHERE;
            }
        }
        self.rumors = crate::membership::state::rumors::Rumors::default();
    }
}
