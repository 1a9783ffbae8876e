//! Datagrams as members, strangers and forgers write them, out of a fuzzer's bytes: a small cast
//! that meets itself often.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use chinwag_core::id::{Epoch, Fence};
use chinwag_core::membership::StreamPeer;
use chinwag_core::time::WallTime;

use crate::input::Input;
use crate::packet::{Claim, Details, EPOCH_END, Head, Message, Run};

/// The cluster's name.
pub const CLUSTER: &str = "fuzz";
/// The wall clock at the start of every story.
pub const WALL_START: WallTime = WallTime::from_nanos(1_700_000_000_000_000_000);
/// Ids of the cast: 1 is the node under test, and nobody has 0.
const IDS: usize = 10;
/// Messages of one payload at most.
const MESSAGES_MAX: usize = 8;

/// The epoch that everybody begins with.
pub const fn epoch() -> u64 {
    Epoch::at(WALL_START).get()
}

/// Where `id` is at home.
pub const fn home(id: u64) -> SocketAddr {
    let [.., high, low] = id.to_be_bytes();
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(10, 0, high, low)), 7_000)
}

/// An address of the cast, of a node that nobody knows, or of the other family.
pub fn addr(input: &mut Input<'_>) -> SocketAddr {
    match input.u8() {
        byte @ ..200 => home(u64::from(byte) % 16),
        byte @ ..240 => SocketAddr::new(home(u64::from(byte) % 16).ip(), 7_001),
        byte => {
            SocketAddr::new(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, u16::from(byte)).into(), 7_000)
        }
    }
}

/// An id of the cast, seldom any other.
pub fn id(input: &mut Input<'_>) -> u64 {
    match input.u8() {
        255 => input.uneven(),
        byte => u64::from(byte) % (IDS as u64),
    }
}

/// A run of one of the cast.
pub fn run(input: &mut Input<'_>) -> Run {
    let id = id(input);
    let epoch = match input.u8() % 16 {
        0..=9 => epoch(),
        10 => epoch() - 1,
        11 => epoch() + 1,
        12 => epoch() + 60_000,
        13 => 0,
        14 => EPOCH_END - 1,
        _ => input.uneven() % EPOCH_END,
    };
    Run { id, epoch }
}

/// A header: mostly one that is heard.
pub fn head(input: &mut Input<'_>) -> Head {
    let (sender, incarnation) = (run(input), incarnation(input));
    let odd = input.u8();
    Head {
        version: if odd & 31 == 1 { input.u8() } else { 1 },
        fence: if odd & 31 == 2 { input.u64() } else { Fence::of(CLUSTER).get() },
        sender,
        incarnation,
        stamp: if odd & 7 == 3 { input.uneven() } else { 0 },
    }
}

/// The peer of a stream as its hello says, which is mostly the sender of what comes over it.
pub fn stream_peer(input: &mut Input<'_>, head: &Head) -> StreamPeer {
    let is_other = input.u8() % 16 == 1;
    let Run { id, epoch } = if is_other { run(input) } else { head.sender };
    let addr = if input.u8() % 8 == 1 { addr(input) } else { home(id) };
    StreamPeer { id: chinwag_core::id::NodeId::new(id), epoch: Epoch::new(epoch), addr }
}

/// A few, and the last of all.
fn incarnation(input: &mut Input<'_>) -> u32 {
    match input.u8() {
        byte @ ..240 => u32::from(byte % 6),
        byte @ ..248 => u32::MAX - u32::from(byte % 4),
        _ => input.u32(),
    }
}

/// A claim about one of the cast.
pub fn claim(input: &mut Input<'_>) -> Claim {
    let (about, incarnation) = (run(input), incarnation(input));
    let state = input.u8() % 4;
    let accusers =
        if state == 1 { (0..input.below(4)).map(|_| id(input)).collect() } else { Vec::new() };
    let age = match (state, input.u8()) {
        (0 | 1, ..240) => None,
        (_, byte @ ..128) => Some(u32::from(byte)),
        (_, ..200) => None,
        _ => Some(input.u32()),
    };
    let has_details = state == 0 || input.u8() % 4 != 1;
    let details = has_details.then(|| details(input, about.id, incarnation, state));
    Claim { about, incarnation, state, accusers, age, details }
}

fn details(input: &mut Input<'_>, about: u64, incarnation: u32, state: u8) -> Details {
    let is_older = state != 0 && input.u8() % 4 == 1;
    let older = u32::from(input.u8() % 4).min(incarnation);
    let addr = if input.u8() % 8 == 1 { addr(input) } else { home(about) };
    let metadata = match input.u8() % 8 {
        0..=3 => Vec::new(),
        4 => b"\x02dc\x02eu".to_vec(),
        5 => b"\x02dc\x02us\x04rack\x011".to_vec(),
        6 => b"\x02dc".to_vec(),
        _ => input.slice().to_vec(),
    };
    let versions = if input.u8() % 16 == 1 { input.u8() } else { 0x11 };
    Details { incarnation: if is_older { older } else { incarnation }, versions, addr, metadata }
}

/// A message of any kind.
pub fn message(input: &mut Input<'_>) -> Message {
    match input.u8() % 20 {
        0 => Message::Ping { seq: input.u32(), target: run(input) },
        1 => Message::PingReq {
            seq: input.u32(),
            target: run(input),
            budget: u32::from(input.u16()),
        },
        2 => Message::Ack { seq: input.u32(), subject: run(input) },
        3 => Message::Nack { seq: input.u32(), subject: run(input) },
        4 => Message::Broadcast {
            origin: run(input),
            number: number(input),
            payload: input.slice().to_vec(),
        },
        5 => Message::Payload { target: run(input), payload: input.slice().to_vec() },
        6 => {
            let (exchange, is_joining, fill) = (number(input), input.bit(), input.u64());
            Message::SyncRequest { exchange, is_joining, digest: vec![fill; 64], own: claim(input) }
        }
        7 => {
            let (exchange, flags) = (number(input), input.u8());
            let (is_reply, is_last) = (flags & 1 == 1, flags & 2 == 2);
            Message::SyncChunk { exchange, is_reply, is_last, mask: input.uneven() }
        }
        8 => Message::SyncBusy { exchange: number(input) },
        9 => Message::Leave { seq: input.u32() },
        10 => {
            let (rival, addr) = (run(input), addr(input));
            Message::Conflict { rival, addr, is_awaited: input.bit() }
        }
        _ => Message::Update(claim(input)),
    }
}

/// Exchanges and broadcasts are numbered from 1.
fn number(input: &mut Input<'_>) -> u32 {
    match input.u8() {
        255 => input.u32(),
        byte => u32::from(byte % 8),
    }
}

/// A few messages.
pub fn messages(input: &mut Input<'_>) -> Vec<Message> {
    (0..=input.below(MESSAGES_MAX)).map(|_| message(input)).collect()
}
