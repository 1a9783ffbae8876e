//! Any bytes, read as a payload and written again: what `fuzz/` holds the codec to
//! (`docs/protocol.md` §2.1, §2.3).

use alloc::vec::Vec;

use super::Reader;
use super::datagram::{Header, Message, Next, encode, next};

/// What a payload was read as.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reread {
    /// Header and messages, as this build writes them.
    pub bytes: Vec<u8>,
    /// Messages that were read.
    pub messages: usize,
    /// Messages of unknown kinds, skipped.
    pub unknown: usize,
    /// Whether a message that cannot be read ended the payload.
    pub is_cut: bool,
}

/// Reads `payload` and writes what was read; `None` if its header cannot be read.
pub fn reread(payload: &[u8]) -> Option<Reread> {
    let mut reader = Reader::new(payload);
    let mut all = Reread::default();
    Header::decode(&mut reader).ok()?.encode(&mut all.bytes);
    loop {
        match next(&mut reader) {
            Next::Message(message) => {
                write(&mut all.bytes, &message);
                all.messages += 1;
            }
            Next::UnknownKind => all.unknown += 1,
            Next::Malformed => {
                all.is_cut = true;
                return Some(all);
            }
            Next::End => return Some(all),
        }
    }
}

fn write(out: &mut Vec<u8>, message: &Message<'_>) {
    match *message {
        Message::Ping { seq, target } => encode::ping(out, seq, target),
        Message::PingReq { seq, target, budget_ms } => {
            encode::ping_req(out, seq, target, budget_ms);
        }
        Message::Ack { seq, subject } => encode::ack(out, seq, subject),
        Message::Nack { seq, subject } => encode::nack(out, seq, subject),
        Message::Update(ref update) => encode::update(out, update),
        Message::Broadcast { origin, seq, payload } => encode::broadcast(out, origin, seq, payload),
        Message::Payload { target, payload } => encode::payload(out, target, payload),
        Message::SyncRequest { exchange, is_joining, digest, ref own } => {
            encode::sync_request(out, exchange, is_joining, &digest.buckets(), own);
        }
        Message::SyncChunk { exchange, is_reply, is_last, mask } => {
            encode::sync_chunk(out, exchange, is_reply, is_last, mask);
        }
        Message::SyncBusy { exchange } => encode::sync_busy(out, exchange),
        Message::Leave { seq } => encode::leave(out, seq),
        Message::Conflict { rival, addr, is_awaited } => {
            encode::conflict(out, rival, addr, is_awaited);
        }
    }
}
