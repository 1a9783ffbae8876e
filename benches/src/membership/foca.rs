//! foca's machine: a vector of members, which it searches for every update.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use bytes::BufMut;
use foca::{
    Codec, Config, Header, Incarnation, Member, Message, NoCustomBroadcast, Notification,
    PostcardCodec, Runtime, State, Timer,
};
use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::{Machine, UPDATES};
use crate::machines::membership::addr;

/// The one that everybody is played to.
const LOCAL: u64 = 1;
/// Who plays, and the first of those that it knows.
const SEED: u64 = 2;

pub(super) struct Foca {
    machine: foca::Foca<SocketAddr, PostcardCodec, SmallRng, NoCustomBroadcast>,
    members: u64,
    sink: Sink,
}

/// Takes what the machine wants, as a driver would, and counts the bytes.
#[derive(Default)]
struct Sink {
    sent: usize,
}

impl Runtime<SocketAddr> for &mut Sink {
    fn notify(&mut self, _: Notification<'_, SocketAddr>) {}

    fn send_to(&mut self, _: SocketAddr, data: &[u8]) {
        self.sent += data.len();
    }

    fn submit_after(&mut self, _: Timer<SocketAddr>, _: Duration) {}
}

impl Foca {
    pub(super) fn new(members: u64) -> Self {
        let size =
            u32::try_from(members).ok().and_then(NonZeroU32::new).expect("some, and not too many");
        let rng = SmallRng::seed_from_u64(7);
        let mut machine = foca::Foca::new(addr(LOCAL), Config::new_lan(size), rng, PostcardCodec);
        let mut sink = Sink::default();
        let known = (SEED..SEED + members).map(|id| Member::alive(addr(id)));
        machine.apply_many(known, false, &mut sink).expect("it takes members from whoever runs it");
        assert_eq!(machine.num_members() as u64, members, "all are known");
        Self { machine, members, sink }
    }
}

/// A message from the seed, which has nothing new to say of itself.
fn message(message: Message<SocketAddr>) -> Vec<u8> {
    let header = Header { src: addr(SEED), src_incarnation: 0, dst: addr(LOCAL), message };
    let mut out = Vec::new();
    PostcardCodec.encode_header(&header, &mut out).expect("memory is enough");
    out
}

impl Machine for Foca {
    fn updates(&self, first: u64, incarnation: u32) -> Vec<u8> {
        let mut out = message(Message::Gossip);
        out.put_u16(u16::try_from(UPDATES).expect("few"));
        let incarnation =
            Incarnation::try_from(incarnation).expect("a bench ends before its sixteen bits do");
        for id in first..first + UPDATES {
            let member = Member::new(addr(SEED + id % self.members), incarnation, State::Alive);
            PostcardCodec.encode_member(&member, &mut out).expect("memory is enough");
        }
        out
    }

    fn hear(&mut self, datagram: &[u8]) {
        self.machine.handle_data(datagram, &mut self.sink).expect("what its own kind says");
    }

    fn ping(&self) -> Vec<u8> {
        message(Message::Ping(9))
    }

    fn answer(&mut self, ping: &[u8]) -> usize {
        self.sink.sent = 0;
        self.hear(ping);
        self.sink.sent
    }
}
