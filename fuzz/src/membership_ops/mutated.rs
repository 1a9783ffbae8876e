//! Payloads that came before, again: as they were, with bits flipped, or cut.
//!
//! What comes of it is read with the codec of [`packet`], which shares nothing with the machine's:
//! either a check of §2.3 fails, and nothing is felt, or the model hears the claim that is in it
//! now.

use std::net::SocketAddr;

use chinwag_core::id::{Epoch, Fence, NodeId};
use chinwag_core::membership::StreamPeer;

use super::{Story, beliefs, kind_of};
use crate::forge::CLUSTER;
use crate::input::Input;
use crate::model::Origin;
use crate::packet::{self, Claim, Message, Packet, Run};
use crate::tell;

/// Payloads that can come again.
const PAST_MAX: usize = 16;
/// Bytes that change at most.
const FLIPS_MAX: usize = 4;

/// A payload with a claim, and where it came from.
#[derive(Clone, Debug)]
pub(super) struct Heard {
    pub(super) bytes: Vec<u8>,
    pub(super) sender: Run,
    pub(super) from: SocketAddr,
    pub(super) is_stream: bool,
}

/// Who speaks on a stream, by its hello.
pub(super) fn peer(run: Run, addr: SocketAddr) -> StreamPeer {
    StreamPeer { id: NodeId::new(run.id), epoch: Epoch::new(run.epoch), addr }
}

/// What a payload says, as far as the model knows of it.
enum Said {
    /// A check of §2.3 fails.
    Nothing,
    /// Nothing about anybody.
    NoClaim,
    Claim(Claim, Origin),
    /// More than the model follows: answers, requests, several claims.
    More,
}

impl Story {
    pub(super) fn keep(&mut self, heard: Heard) {
        self.past.push(heard);
        self.past.drain(..self.past.len().saturating_sub(PAST_MAX));
    }

    pub(super) fn mutated(&mut self, input: &mut Input<'_>) {
        let (nth, flips) = (usize::from(input.u8()), input.below(FLIPS_MAX + 1));
        let Some(mut heard) = self.past.get(nth % self.past.len().max(1)).cloned() else { return };
        for _ in 0..flips {
            let at = usize::from(input.u16()) % heard.bytes.len();
            heard.bytes[at] ^= input.u8();
        }
        if input.u8() % 4 == 1 {
            heard.bytes.truncate(usize::from(input.u16()) % heard.bytes.len());
        }
        let packet = packet::decode(&heard.bytes);
        let said = packet.as_ref().map_or(Said::Nothing, |packet| self.said(&heard, packet));
        if matches!(said, Said::More) {
            return;
        }
        let speaker = packet.as_ref().map_or(0, |packet| packet.head.sender.id);
        let state = beliefs::doubt(&self.machine, speaker);
        for message in packet.iter().flat_map(|packet| &packet.messages) {
            self.reached.meet(state, kind_of(message));
        }
        let now = self.now();
        if heard.is_stream {
            self.machine.handle_stream(now, peer(heard.sender, heard.from), &heard.bytes);
        } else {
            self.machine.handle_datagram(now, heard.from, &heard.bytes);
        }
        let Said::Claim(claim, origin) = said else {
            self.drain();
            self.look_up();
            return;
        };
        let outcome = self.model.hear(self.nanos(), &beliefs::claim(&claim), origin);
        tell(|| format!("{} again, {origin:?} {claim:?}\n  {outcome:?}", self.mono.as_nanos()));
        self.settle(&claim, outcome);
    }

    fn said(&self, heard: &Heard, packet: &Packet) -> Said {
        let head = packet.head;
        let is_other = heard.is_stream && head.sender.id != heard.sender.id;
        let is_fenced = head.version != 1 || head.fence != Fence::of(CLUSTER).get();
        if is_fenced || is_other || head.sender == self.model_run() {
            return Said::Nothing;
        }
        // A sender's incarnation and stamp are about the sender and the clock, which have no part
        // in the model.
        if (head.incarnation, head.stamp) != (0, 0) {
            return Said::More;
        }
        match packet.messages.as_slice() {
            [] => Said::NoClaim,
            [Message::Update(claim)] => Said::Claim(claim.clone(), Origin::Gossip),
            [first, rest @ ..] => {
                let origin = match first {
                    Message::SyncChunk { .. } => self.transfer_of(head.sender, heard.is_stream),
                    Message::SyncBusy { .. } => Origin::Transfer,
                    Message::Ping { .. } | Message::Leave { .. } => Origin::Gossip,
                    _ => return Said::More,
                };
                match rest {
                    [] => Said::NoClaim,
                    [Message::Update(claim)] => Said::Claim(claim.clone(), origin),
                    _ => Said::More,
                }
            }
        }
    }
}
