//! Taking messages in: who speaks, may it speak here, and which part of the machine it speaks to
//! (`docs/protocol.md` §2.3).

use alloc::sync::Arc;
use core::net::SocketAddr;

use bytes::Bytes;

use crate::membership::state::outbox::{Body, Destination, Intent, Plane};
use crate::membership::state::speaker::{Speaker, Via};
use crate::membership::state::table::LOCAL;
use crate::membership::{Event, FOREIGN_MAX, MESSAGE_LEN_MAX, Membership, State, StreamPeer};
use crate::time::Now;
use crate::wire::Reader;
use crate::wire::datagram::{self, Header, HeaderError, Message, Next, Run};

impl Membership {
    /// A datagram came from `from`. Whatever it says, nothing but counters changes unless it is
    /// whole, of a known version and of this cluster.
    pub fn handle_datagram(&mut self, now: Now, from: SocketAddr, bytes: &[u8]) {
        self.stats.datagrams_in += 1;
        self.stats.datagram_bytes_in += bytes.len() as u64;
        let reply = Destination { addr: from, id: None };
        self.receive(now, reply, Plane::Datagram, bytes);
    }

    /// A sealed datagram from `from` was opened, and may be a replay (`docs/protocol.md` §2.9):
    /// its pings are answered, and nothing else of it is believed. True if it has an ack that the
    /// machine waits for: then it is no replay, and for [`Membership::handle_datagram`].
    pub fn handle_unproven(&mut self, from: SocketAddr, bytes: &[u8]) -> bool {
        let mut reader = Reader::new(bytes);
        let Ok(header) = Header::decode(&mut reader) else { return false };
        let reply = Destination { addr: from, id: Some(header.sender) };
        let mut speaker = self.speaker(&header, reply, Plane::Datagram);
        (speaker.slot, speaker.is_proven) = (None, false);
        let mut pinged = None;
        loop {
            match datagram::next(&mut reader) {
                Next::Message(Message::Ack { seq, subject }) if self.awaits_ack(seq, subject) => {
                    return true;
                }
                Next::Message(Message::Ping { seq, target }) => pinged = Some((seq, target)),
                Next::Message(_) | Next::UnknownKind => {}
                Next::Malformed | Next::End => break,
            }
        }
        if let Some((seq, target)) = pinged.filter(|_| !self.leave.is_done()) {
            self.stats.datagrams_in += 1;
            self.stats.datagram_bytes_in += bytes.len() as u64;
            self.on_ping(&speaker, seq, target);
        }
        false
    }

    /// Whether a ping with this number is under way to `subject`, sent by this node for itself.
    fn awaits_ack(&mut self, seq: u32, subject: Run) -> bool {
        self.probe.awaiting(seq, subject).is_some() || self.check_awaits(seq, subject)
    }

    /// A gossip frame came over a connection from `peer`. A payload that claims another sender is
    /// dropped.
    pub fn handle_stream(&mut self, now: Now, peer: StreamPeer, bytes: &[u8]) {
        self.stats.streams_in += 1;
        self.stats.stream_bytes_in += bytes.len() as u64;
        let reply = Destination { addr: peer.addr, id: Some(peer.id) };
        self.receive(now, reply, Plane::Stream, bytes);
    }

    fn receive(&mut self, now: Now, reply: Destination, plane: Plane, bytes: &[u8]) {
        let mut reader = Reader::new(bytes);
        let header = match Header::decode(&mut reader) {
            Ok(header) => header,
            Err(HeaderError::Malformed) => return self.stats.malformed += 1,
            Err(HeaderError::ForeignVersion) => return self.stats.foreign_version += 1,
        };
        if header.fence != self.fence {
            return self.hear_foreigner(reply.addr, None);
        }
        let is_own_run =
            header.sender == self.local_id() && header.epoch == self.claims.table().local().epoch;
        if is_own_run || reply.id.is_some_and(|id| id != header.sender) || self.leave.is_done() {
            return self.stats.misdirected += 1;
        }
        if self.clock.observe(now.wall, header.stamp).is_err() {
            self.stats.stamps_refused += 1;
        }
        let speaker = self.speaker(&header, reply, plane);
        self.read_messages(now, &speaker, &mut reader);
    }

    fn speaker(&self, header: &Header, reply: Destination, plane: Plane) -> Speaker {
        // On a quiet network every other datagram is the ack of whom the node has just pinged.
        let slot = self.claims.table().find_from(self.probe.slot(), header.sender);
        let is_at_home = slot.is_some_and(|slot| self.claims.table().addr(slot) == reply.addr);
        Speaker {
            run: Run { id: header.sender, epoch: header.epoch },
            reply: Destination { addr: reply.addr, id: Some(header.sender) },
            plane,
            slot,
            is_proven: is_at_home || plane == Plane::Stream,
        }
    }

    fn read_messages(&mut self, now: Now, speaker: &Speaker, reader: &mut Reader<'_>) {
        let mut via = Via::Gossip;
        let lives = self.claims.table().local().rank().life();
        let (mut is_accused, mut is_answered) = (false, false);
        loop {
            if let Some(update) = datagram::next_update(reader) {
                is_accused |= update.id == self.local_id() && update.state != State::Alive;
                self.apply(now, &update, via);
                continue;
            }
            match datagram::next(reader) {
                Next::Message(Message::SyncChunk { exchange, is_reply, is_last, mask }) => {
                    via = self.on_sync_chunk(now, speaker, exchange, is_reply, is_last, mask);
                }
                Next::Message(Message::SyncBusy { exchange }) => {
                    via = Via::Transfer;
                    self.on_sync_busy(now, speaker, exchange);
                }
                // §4.6: an answer is as long as its question, so a stranger gets one and not one
                // for each that a payload holds.
                Next::Message(Message::Ping { .. } | Message::PingReq { .. })
                    if is_answered && !speaker.is_proven =>
                {
                    self.stats.misdirected += 1;
                }
                Next::Message(message) => {
                    is_answered |=
                        matches!(message, Message::Ping { .. } | Message::PingReq { .. });
                    self.on_message(now, speaker, &message);
                }
                Next::UnknownKind => self.stats.unknown_kind += 1,
                Next::Malformed => {
                    self.stats.malformed += 1;
                    break;
                }
                Next::End => break,
            }
        }
        self.end_exchange(now);
        if is_accused || self.claims.table().local().rank().life() != lives {
            self.answer_accuser(now, speaker);
        }
    }

    fn on_message(&mut self, now: Now, speaker: &Speaker, message: &Message<'_>) {
        match *message {
            Message::Ping { seq, target } => self.on_ping(speaker, seq, target),
            Message::PingReq { seq, target, budget_ms } => {
                self.on_ping_req(now, speaker, seq, target, budget_ms);
            }
            Message::Ack { seq, subject } => self.on_ack(now, speaker, seq, subject),
            Message::Nack { seq, subject } => self.on_nack(speaker, seq, subject),
            Message::Broadcast { origin, seq, payload } => {
                self.on_broadcast(now, speaker, origin, seq, payload);
            }
            Message::Payload { payload, .. } if payload.len() > MESSAGE_LEN_MAX => {
                self.stats.malformed += 1;
            }
            // §4.10.1: it is given to the run that it was meant for, whoever has the address now,
            // and the user is told who sent it, so it must have come from there, as far as can be
            // known without keys.
            Message::Payload { target, .. }
                if target != self.run_of(LOCAL) || speaker.slot.is_none() || !speaker.is_proven =>
            {
                self.stats.misdirected += 1;
            }
            Message::Payload { payload, .. } => {
                let payload = Bytes::copy_from_slice(payload);
                self.tell(Event::Message { from: speaker.run.id, payload });
            }
            Message::SyncRequest { exchange, is_joining, digest, ref own } => {
                self.on_sync_request(now, speaker, exchange, is_joining, digest, own);
            }
            Message::Leave { seq } => self.on_leave(speaker, seq),
            Message::Conflict { rival, addr, is_awaited } => {
                self.on_conflict(now, rival, addr, is_awaited);
            }
            Message::Update(_) | Message::SyncChunk { .. } | Message::SyncBusy { .. } => {
                unreachable!("read_messages takes these itself, and updates before them")
            }
        }
    }

    fn on_ping(&mut self, speaker: &Speaker, seq: u32, target: Run) {
        let own = self.claims.table().local();
        if target.id != own.id {
            // The address has another node now; an answer would keep the old one alive.
            self.stats.misdirected += 1;
            return;
        }
        let own_run = Run { id: own.id, epoch: own.epoch };
        let intent = Intent {
            to: speaker.reply,
            plane: speaker.plane,
            body: Body::Ack { seq, subject: own_run },
            peer: speaker.slot.filter(|_| speaker.is_proven),
            // Whoever asks for an earlier run has missed the restart.
            tells_own: speaker.is_proven && target.epoch != own_run.epoch,
            carries_rumors: speaker.is_proven,
        };
        self.send(intent);
    }

    /// Whoever accuses the local node is answered with its own word: on the ack to the same
    /// datagram if there is one.
    fn answer_accuser(&mut self, now: Now, speaker: &Speaker) {
        if !speaker.is_proven || self.leave.has_begun() {
            return;
        }
        let last = self.out.last_to(speaker.reply.addr);
        if let Some(intent) = last.filter(|intent| !matches!(intent.body, Body::Payload { .. })) {
            intent.tells_own = true;
        } else if let Some(slot) =
            self.claims.table().find(speaker.run.id).filter(|&slot| slot != LOCAL)
        {
            // Looked up afresh: the payload itself may have pushed the speaker's tombstone out of
            // the table.
            self.send_gossip(slot, true);
        }
        self.arm_gossip(now);
    }

    /// The peer of a stream at `from` said in its hello that it is in another cluster, called
    /// `cluster`. The connection has ended over it; this reports it.
    pub fn handle_foreign_hello(&mut self, from: SocketAddr, cluster: &str) {
        self.hear_foreigner(from, Some(cluster));
    }

    fn hear_foreigner(&mut self, from: SocketAddr, cluster: Option<&str>) {
        self.stats.foreign_cluster += 1;
        // A dialler's port is new every time, so streams are told apart by the name.
        let is_known = self.foreign.iter().any(|(addr, name)| match cluster {
            Some(cluster) => name.as_deref() == Some(cluster),
            None => *addr == from,
        });
        if self.foreign.len() < FOREIGN_MAX && !is_known {
            let cluster: Option<Arc<str>> = cluster.map(Arc::from);
            self.foreign.push((from, cluster.clone()));
            self.tell(Event::ForeignCluster { from, cluster });
        }
    }
}
