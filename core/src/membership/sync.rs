//! Anti-entropy: two tables become one (`docs/protocol.md` §4.7).
//!
//! ```text
//! asker                                   answerer
//!   SyncRequest { digest of 64 buckets, own record } ──>
//!   <── SyncChunk { reply, mask of differing buckets } + records, …, last
//!   SyncChunk { same mask } + records the asker had before, …, last ──>      (not from a joiner)
//! ```
//!
//! Equal digests end it after one answer. A chunk stands alone: nothing is reassembled, so nothing
//! is held for a peer but a cursor. An answerer that has sent its share says so and names a few
//! members to ask instead, so a thousand joiners do not all take the table from their one seed.

use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use crate::id::NodeId;
use crate::membership::claims::Outcome;
use crate::membership::claims::holder::{Answers, Decision, decide};
use crate::membership::state::checks::Asker;
use crate::membership::state::config::STREAM_LEN_MAX;
use crate::membership::state::exchanges::{Exchange, Transfer};
use crate::membership::state::outbox::{Body, Destination, Plane, Transmit};
use crate::membership::state::since::jitter;
use crate::membership::state::speaker::Speaker;
use crate::membership::state::speaker::Via;
use crate::membership::state::table::{LOCAL, bucket_of};
use crate::membership::{EXCHANGES_MAX, Membership, State, TRANSFERS_MAX};
use crate::time::Now;
use crate::wire::datagram::{Digest, encode};
use crate::wire::update::{Accusers, Update};

/// Members named to an asker that is sent on.
const ALTERNATIVES: usize = 8;

impl Membership {
    pub(super) fn on_sync_due(&mut self, now: Now) {
        while let Some(at) =
            self.sync.exchanges.iter().position(|exchange| exchange.ends <= now.mono)
        {
            let failed = self.sync.exchanges.swap_remove(at);
            self.exchange_failed(now, &failed);
        }
        if self.sync.due.is_none_or(|due| due > now.mono) {
            return;
        }
        self.sync.due = None;
        let hinted = self.sync.hint.take().and_then(|id| self.claims.table().find(id));
        let hinted = hinted.filter(|&slot| self.claims.table().get(slot).state.is_live());
        let Some(slot) = hinted.or_else(|| self.claims.table().random_live(&mut self.rng)) else {
            return;
        };
        self.schedule_sync(now, self.sync.interval);
        let to = self.destination(slot);
        self.begin_exchange(now, to, false);
    }

    /// Asks `to` for what differs. `is_joining`: everything may.
    pub(super) fn begin_exchange(&mut self, now: Now, to: Destination, is_joining: bool) {
        let is_asked = self.sync.exchanges.iter().any(|exchange| exchange.to.addr == to.addr);
        if is_asked || self.sync.exchanges.len() >= EXCHANGES_MAX || self.leave.has_begun() {
            return;
        }
        self.sync.next_exchange = self.sync.next_exchange.wrapping_add(1);
        let number = self.sync.next_exchange;
        self.sync.exchanges.push(Exchange {
            number,
            to,
            ends: now.mono + self.config.sync_timeout,
            version: self.version(),
            applied: self.stats.updates_applied,
            is_joining,
        });
        self.stats.syncs += 1;
        self.answer(to, Plane::Stream, Body::SyncRequest { exchange: number, is_joining });
    }

    fn exchange_failed(&mut self, now: Now, failed: &Exchange) {
        self.stats.syncs_failed += 1;
        if failed.to.id.is_none() {
            self.seed_tried(now);
        }
        let peer = failed.to.id.and_then(|id| self.claims.table().find(id));
        let is_in_view = peer.is_some_and(|slot| self.claims.table().get(slot).state.is_live());
        // An exchange with a seed that is away, or a dead member, was none of the regular ones: if
        // its failure moved the next of those away, and seeds are tried more often than
        // that is far, there would never be another.
        if is_in_view && !failed.is_joining && self.is_joined() {
            // Soon, but not again and again at a peer that never answers, as one that disputes this
            // node's id.
            self.schedule_sync(now, self.sync.retry);
            self.sync.retry = self.sync.retry.saturating_mul(2).min(self.sync_interval_scaled());
        }
    }

    /// A stream to `to` could not be opened, or broke before the frame was out: whatever waits for
    /// it need not wait on.
    pub fn handle_stream_failed(&mut self, now: Now, to: Destination) {
        while let Some(at) = self.sync.exchanges.iter().position(|exchange| exchange.to == to) {
            let failed = self.sync.exchanges.swap_remove(at);
            self.exchange_failed(now, &failed);
        }
        self.sync.transfers.retain(|transfer| transfer.to != to);
    }

    pub(super) fn on_sync_request(
        &mut self,
        now: Now,
        speaker: &Speaker,
        exchange: u32,
        is_joining: bool,
        digest: Digest<'_>,
        own: &Update<'_>,
    ) {
        // A whole table is never sent to an address that has not proved itself, and never as a
        // datagram.
        let Some(details) = own.details.as_ref().filter(|_| speaker.plane == Plane::Stream) else {
            return self.stats.malformed += 1;
        };
        let is_own_word = own.id == speaker.run.id && own.state == State::Alive;
        if !is_own_word || self.leave.has_begun() {
            return self.stats.misdirected += 1;
        }
        if own.id == self.local_id() {
            return self.meet_rival(now, speaker, own, details.addr);
        }
        let case = self.claims.case(own, Via::FirstHand);
        let is_disputed =
            !case.is_same_address && decide(case, Answers::default()) == Decision::Ask;
        let outcome = self.apply(now, own, Via::FirstHand);
        if is_disputed {
            // §4.9.1: it gets the table once its claim is decided, if there is room to decide it.
            // One that is refused as it stands says nothing for an earlier one of its run.
            if outcome != Outcome::Refused {
                let asker = Asker { to: speaker.reply, exchange, is_joining };
                self.await_decision(speaker.run, asker);
            }
            return;
        }
        let mask = digest.differing(self.claims.table().digest());
        self.transfer(now, speaker.reply, exchange, mask, is_joining);
    }

    /// Somebody with the local node's own id asks for the table.
    fn meet_rival(&mut self, now: Now, speaker: &Speaker, own: &Update<'_>, addr: SocketAddr) {
        let (epoch, local_addr) =
            (self.claims.table().local().epoch, self.claims.table().addr(LOCAL));
        if addr == local_addr {
            // The node's own past: it dialled itself, or a packet was late.
            return self.stats.misdirected += 1;
        }
        self.report_conflict(now, speaker.run, local_addr, addr);
        let rival = crate::wire::datagram::Run { id: own.id, epoch };
        let body = Body::Conflict { rival, addr: local_addr, is_awaited: false };
        self.answer(speaker.reply, Plane::Stream, body);
        self.arm_gossip(now);
    }

    fn transfer(&mut self, now: Now, to: Destination, exchange: u32, mask: u64, is_joining: bool) {
        self.sync.refill(now.mono, self.config.sync_rate_max);
        let is_over = self.sync.allowance <= 0 || self.sync.transfers.len() >= TRANSFERS_MAX;
        if is_over && mask != 0 {
            self.stats.syncs_busy += 1;
            return self.answer(to, Plane::Stream, Body::SyncBusy { exchange });
        }
        self.queue_transfer(Transfer::reply(to, exchange, mask, is_joining));
    }

    /// Sends everything to a claimant whose claim is decided. If `is_passed`, the run of its id
    /// that is held here is over, and it learns which epoch it has to pass (§4.9.2).
    pub(super) fn transfer_all(
        &mut self,
        to: Destination,
        exchange: u32,
        is_joining: bool,
        is_passed: bool,
    ) {
        if self.sync.transfers.len() < TRANSFERS_MAX {
            let transfer = Transfer::reply(to, exchange, u64::MAX, is_joining);
            self.queue_transfer(Transfer { is_passed, ..transfer });
        }
    }

    fn queue_transfer(&mut self, mut transfer: Transfer) {
        if transfer.mask == 0 {
            transfer.cursor = self.claims.table().slots_end();
        }
        self.sync.transfers.push_back(transfer);
    }

    /// A chunk begins; the claims that follow it came the way this answers.
    pub(super) fn on_sync_chunk(
        &mut self,
        now: Now,
        speaker: &Speaker,
        exchange: u32,
        is_reply: bool,
        is_last: bool,
        mask: u64,
    ) -> Via {
        // §4.9: what a live member says over its own connection.
        let is_member = speaker.plane == Plane::Stream
            && speaker.slot.is_some_and(|slot| {
                let is_live = self.claims.table().get(slot).state.is_live();
                is_live && self.run_of(slot) == speaker.run
            });
        let via = if is_member { Via::MemberTransfer } else { Via::Transfer };
        if !is_reply {
            return via;
        }
        let Some(ours) = self.sync.take(exchange, speaker.run.id) else { return via };
        self.seed_answered(now, ours.to.addr, speaker.run.id);
        if is_last || mask == 0 {
            self.stats.syncs_equal += u64::from(mask == 0);
            self.sync.ending = Some(ours.applied);
        } else {
            // More chunks come: they are awaited afresh, from the peer that is now known.
            let to = Destination { id: Some(speaker.run.id), ..ours.to };
            let ends = now.mono + self.config.sync_timeout;
            self.sync.exchanges.push(Exchange { to, ends, ..ours });
        }
        // The asker's side goes out once, when the answer is whole.
        if is_last && mask != 0 && !ours.is_joining {
            let transfer = Transfer::reply(speaker.reply, exchange, mask, false);
            self.queue_transfer(Transfer {
                is_reply: false,
                version_max: ours.version,
                ..transfer
            });
        }
        if ours.is_joining { Via::FirstTransfer } else { via }
    }

    /// The payload has been read, and with it the end of an exchange, if it held one. What it
    /// taught brings the next exchange near; one that taught nothing moves it away, up to the
    /// scaled interval: the tables are equal, or differ in what no exchange settles (a rival, a
    /// member that one of the two cannot reach).
    pub(super) fn end_exchange(&mut self, now: Now) {
        let Some(applied) = self.sync.ending.take() else { return };
        self.sync.retry = self.config.sync_interval_min;
        if self.stats.updates_applied > applied {
            self.sync.interval = self.config.sync_interval_min;
            self.sync.due = Some(now.mono + jitter(&mut self.rng, self.sync.interval));
            return;
        }
        let longest = self.sync_interval_scaled();
        self.sync.interval = self.sync.interval.saturating_mul(2).min(longest);
        self.schedule_sync(now, self.sync.interval);
    }

    /// The answerer has sent its share; it has named members, which the same payload brings.
    pub(super) fn on_sync_busy(&mut self, now: Now, speaker: &Speaker, exchange: u32) {
        if let Some(ours) = self.sync.take(exchange, speaker.run.id) {
            self.seed_answered(now, ours.to.addr, speaker.run.id);
            self.sync.interval = self.config.sync_interval_min;
            self.sync.due = Some(now.mono + jitter(&mut self.rng, self.config.gossip_interval));
        }
    }

    /// Brings the next exchange near, with a member that is back: both sides have much to tell.
    pub(super) fn sync_soon_with(&mut self, now: Now, id: NodeId) {
        if self.sync.hint.is_none() {
            self.sync.hint = Some(id);
            let soon = now.mono + jitter(&mut self.rng, self.config.sync_interval_min);
            self.sync.due = Some(self.sync.due.map_or(soon, |due| due.min(soon)));
        }
    }

    /// The next exchange begins after `interval`, give or take a quarter.
    fn schedule_sync(&mut self, now: Now, interval: Duration) {
        let spread = interval / 4 * 3;
        self.sync.due = Some(now.mono + spread + jitter(&mut self.rng, interval / 2));
    }

    /// Starts the exchanges of a node that has just met another member.
    pub(super) fn start_syncing(&mut self, now: Now) {
        if self.sync.due.is_none() {
            self.sync.interval = self.config.sync_interval_min;
            self.schedule_sync(now, self.sync.interval);
        }
    }

    /// The longest time between exchanges: grows with log2 n past 32 members.
    fn sync_interval_scaled(&self) -> Duration {
        let members = u32::try_from(self.cluster_size()).unwrap_or(u32::MAX);
        let log2_up = members.next_power_of_two().ilog2();
        self.config.sync_interval.saturating_mul(log2_up.saturating_sub(4).max(1))
    }

    /// Writes the next chunk of the first transfer into `buf`.
    pub(super) fn transmit_chunk(&mut self, now: Now, buf: &mut Vec<u8>) -> Option<Transmit> {
        let mut transfer = self.sync.transfers.pop_front()?;
        let version = self.peer_version(transfer.to.id, None);
        self.write_header(now, version, buf);
        let marker_at = buf.len();
        let Transfer { exchange, is_reply, mask, .. } = transfer;
        encode::sync_chunk(buf, exchange, is_reply, false, mask);
        let end = self.claims.table().slots_end();
        while transfer.cursor < end {
            let len = buf.len();
            if self.belongs(&transfer) {
                self.write_transferred(now, &transfer, buf);
            }
            if buf.len() > STREAM_LEN_MAX {
                buf.truncate(len);
                break;
            }
            transfer.cursor += 1;
        }
        let is_last = transfer.cursor >= end;
        if is_last {
            let mut marker = Vec::with_capacity(32);
            encode::sync_chunk(&mut marker, exchange, is_reply, true, mask);
            buf[marker_at..marker_at + marker.len()].copy_from_slice(&marker);
        } else {
            self.sync.transfers.push_back(transfer);
        }
        self.sync.refill(now.mono, self.config.sync_rate_max);
        self.sync.allowance =
            self.sync.allowance.saturating_sub(i64::try_from(buf.len()).unwrap_or(i64::MAX));
        Some(Transmit { to: transfer.to, plane: Plane::Stream })
    }

    /// Writes the record under the cursor. Of the receiver's own id it says that the held run is
    /// dead, if that is over and the receiver has to pass it (§4.9.2).
    fn write_transferred(&self, now: Now, transfer: &Transfer, buf: &mut Vec<u8>) {
        let record = self.claims.table().try_get(transfer.cursor);
        if let Some(record) = record
            && transfer.is_passed
            && transfer.to.id == Some(record.id)
        {
            let (id, epoch, incarnation) = (record.id, record.epoch, record.incarnation);
            let (state, accusers) = (State::Dead, Accusers::new());
            let update =
                Update { id, epoch, incarnation, state, accusers, age: None, details: None };
            encode::update(buf, &update);
            return;
        }
        self.claims.write_record(transfer.cursor, now.mono, true, buf);
    }

    /// Whether the record under the cursor is part of the transfer. A claim about the receiver
    /// itself always is: a node that comes back has to learn what is said of it.
    fn belongs(&self, transfer: &Transfer) -> bool {
        let Some(record) = self.claims.table().try_get(transfer.cursor) else { return false };
        let is_in_mask = transfer.mask >> bucket_of(record.id) & 1 == 1;
        let is_wanted =
            record.state.is_live() || transfer.has_tombstones || transfer.to.id == Some(record.id);
        is_in_mask && is_wanted && record.changed <= transfer.version_max
    }

    /// Writes a few members for an asker that is sent on.
    pub(super) fn write_alternatives(
        &mut self,
        now: Now,
        except: Option<NodeId>,
        buf: &mut Vec<u8>,
    ) {
        self.claims.write_record(LOCAL, now.mono, true, buf);
        let except = except.and_then(|id| self.claims.table().find(id)).unwrap_or(LOCAL);
        for id in self.draw_live(ALTERNATIVES, except) {
            if let Some(slot) = self.claims.table().find(id) {
                self.claims.write_record(slot, now.mono, true, buf);
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn exchanges_open(&self) -> usize {
        self.sync.exchanges_len()
    }
}
