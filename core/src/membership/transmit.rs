//! Encoding what is sent, at the moment it is sent (`docs/protocol.md` §2.3, §4.6).

use alloc::vec::Vec;

use crate::id::NodeId;
use crate::membership::state::config::STREAM_LEN_MAX;
use crate::membership::state::outbox::{Body, Intent, Plane, Transmit};
use crate::membership::state::ring::Slot;
use crate::membership::state::table::LOCAL;
use crate::membership::{Membership, State};
use crate::time::{Instant, Now};
use crate::wire::datagram::{Header, encode};
use crate::wire::{VERSION_MAX, VERSION_MIN};

impl Membership {
    /// Writes the next message into `buf`, whose earlier contents are discarded, and says where it
    /// goes. A datagram is never longer than the configured maximum; a stream payload never
    /// longer than [`STREAM_LEN_MAX`].
    pub fn poll_transmit(&mut self, now: Now, buf: &mut Vec<u8>) -> Option<Transmit> {
        while let Some(intent) = self.out.next() {
            buf.clear();
            if self.write(now, &intent, buf) {
                self.count_out(intent.plane, buf.len());
                return Some(Transmit { to: intent.to, plane: intent.plane });
            }
        }
        buf.clear();
        let chunk = self.transmit_chunk(now, buf)?;
        self.count_out(chunk.plane, buf.len());
        Some(chunk)
    }

    fn count_out(&mut self, plane: Plane, len: usize) {
        match plane {
            Plane::Datagram => {
                debug_assert!(
                    len <= self.config.datagram_len_max,
                    "B2: a datagram keeps to the MTU"
                );
                self.stats.datagrams_out += 1;
                self.stats.datagram_bytes_out += len as u64;
            }
            Plane::Stream => {
                debug_assert!(len <= STREAM_LEN_MAX, "a stream payload fits one gossip frame");
                self.stats.streams_out += 1;
                self.stats.stream_bytes_out += len as u64;
            }
        }
    }

    /// Writes one message; false if there turned out to be nothing to say.
    fn write(&mut self, now: Now, intent: &Intent, buf: &mut Vec<u8>) -> bool {
        let version = self.peer_version(intent.to.id, intent.peer);
        self.write_header(now, version, buf);
        let header_len = buf.len();
        self.write_body(now, intent, buf);
        // A message of the user may leave no room for what goes along.
        let limit = self.len_max(intent.plane);
        // `docs/protocol.md` §4.5.2
        if (self.config.buddy || matches!(intent.body, Body::Warning { .. }))
            && let Some(slot) = intent.peer
            && self.claims.table().try_get(slot).is_some_and(|record| {
                Some(record.id) == intent.to.id && record.state != State::Alive
            })
        {
            self.write_fitting(slot, now.mono, false, limit, buf);
        }
        if intent.tells_own {
            self.write_fitting(LOCAL, now.mono, true, limit, buf);
        }
        if intent.carries_rumors {
            // A stream payload takes no more of them than a datagram would: the rest go to others.
            let limit = limit.min(self.config.datagram_len_max);
            self.claims.write_rumors(now.mono, &self.config, limit, buf);
        }
        buf.len() > header_len
    }

    /// Writes what is known of the member in `slot`, unless it would make the payload too long:
    /// beside a long message of the user there may be no room, and a later message will have some.
    fn write_fitting(
        &self,
        slot: Slot,
        now: Instant,
        with_details: bool,
        limit: usize,
        buf: &mut Vec<u8>,
    ) {
        let len = buf.len();
        self.claims.write_record(slot, now, with_details, buf);
        if buf.len() > limit {
            buf.truncate(len);
        }
    }

    /// Bytes of a payload at most.
    fn len_max(&self, plane: Plane) -> usize {
        match plane {
            Plane::Datagram => self.config.datagram_len_max,
            Plane::Stream => STREAM_LEN_MAX,
        }
    }

    pub(super) fn write_header(&mut self, now: Now, version: u8, buf: &mut Vec<u8>) {
        let own = self.claims.table().local();
        let header = Header {
            version,
            fence: self.fence,
            sender: own.id,
            epoch: own.epoch,
            incarnation: own.incarnation,
            stamp: self.clock.tick(now.wall),
        };
        header.encode(buf);
    }

    /// The highest version that both this build and the peer speak; the lowest towards strangers,
    /// which every build that can talk to this one speaks. `guess` is where its record is, if
    /// that is known.
    pub(super) fn peer_version(&self, peer: Option<NodeId>, guess: Option<Slot>) -> u8 {
        let slot = peer.and_then(|id| self.claims.table().find_from(guess, id));
        let theirs = slot.map_or(VERSION_MIN, |slot| self.claims.table().get(slot).versions & 0xf);
        theirs.clamp(VERSION_MIN, VERSION_MAX)
    }

    fn write_body(&mut self, now: Now, intent: &Intent, buf: &mut Vec<u8>) {
        match &intent.body {
            Body::Ping { seq, target } | Body::Warning { seq, target } => {
                encode::ping(buf, *seq, *target);
            }
            Body::PingReq { seq, target, budget_ms } => {
                encode::ping_req(buf, *seq, *target, *budget_ms);
            }
            Body::Ack { seq, subject } => encode::ack(buf, *seq, *subject),
            Body::Nack { seq, subject } => encode::nack(buf, *seq, *subject),
            Body::Gossip => {}
            Body::Payload { target, payload } => encode::payload(buf, *target, payload),
            Body::SyncRequest { exchange, is_joining } => {
                let own = self.claims.update_of(LOCAL, now.mono, true);
                if let Some(own) = own {
                    encode::sync_request(
                        buf,
                        *exchange,
                        *is_joining,
                        self.claims.table().digest(),
                        &own,
                    );
                }
            }
            Body::SyncBusy { exchange } => {
                encode::sync_busy(buf, *exchange);
                self.write_alternatives(now, intent.to.id, buf);
            }
            Body::Leave { seq } => encode::leave(buf, *seq),
            Body::Conflict { rival, addr } => encode::conflict(buf, *rival, *addr),
        }
    }
}
