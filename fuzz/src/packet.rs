//! Payloads as `docs/protocol.md` §2 describes them, read and written without a line of the
//! product's codec: the second opinion that `wire_roundtrip` holds it to, and what other targets
//! forge datagrams with.

use std::net::{IpAddr, SocketAddr};

/// Bytes of the header (§2.3).
pub const HEADER_LEN: usize = 36;
/// Accusers of one claim at most (§2.5).
const ACCUSERS_MAX: usize = 8;
/// Bytes of metadata at most (§2.5).
const METADATA_LEN_MAX: usize = 512;
/// An epoch is below this (§1.2).
pub const EPOCH_END: u64 = 1 << 47;

/// The header of a payload (§2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The version it is written in.
    pub version: u8,
    /// Of the cluster.
    pub fence: u64,
    /// Who speaks.
    pub sender: Run,
    /// The sender's incarnation.
    pub incarnation: u32,
    /// The sender's clock.
    pub stamp: u64,
}

/// An id and an epoch (§2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Run {
    /// Who.
    pub id: u64,
    /// Which run of it.
    pub epoch: u64,
}

/// One message (§2.4).
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the table of §2.4 has them")]
pub enum Message {
    Ping { seq: u32, target: Run },
    PingReq { seq: u32, target: Run, budget: u32 },
    Ack { seq: u32, subject: Run },
    Nack { seq: u32, subject: Run },
    Update(Claim),
    Broadcast { origin: Run, number: u32, payload: Vec<u8> },
    Payload { target: Run, payload: Vec<u8> },
    SyncRequest { exchange: u32, is_joining: bool, digest: Vec<u64>, own: Claim },
    SyncChunk { exchange: u32, is_reply: bool, is_last: bool, mask: u64 },
    SyncBusy { exchange: u32 },
    Leave { seq: u32 },
    Conflict { rival: Run, addr: SocketAddr, is_awaited: bool },
}

/// A claim about one member (§2.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Whom it is about.
    pub about: Run,
    /// In which incarnation.
    pub incarnation: u32,
    /// 0 alive, 1 suspect, 2 dead, 3 left.
    pub state: u8,
    /// Who accuses it.
    pub accusers: Vec<u64>,
    /// Seconds since its death or departure.
    pub age: Option<u32>,
    /// What the member said of itself.
    pub details: Option<Details>,
}

/// What only the member itself says (§2.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Details {
    /// In which incarnation it said so.
    pub incarnation: u32,
    /// Lowest and highest version it speaks.
    pub versions: u8,
    /// Where it is.
    pub addr: SocketAddr,
    /// As it stands on the wire.
    pub metadata: Vec<u8>,
}

/// A payload, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Its header.
    pub head: Head,
    /// Its messages, up to the first that cannot be read.
    pub messages: Vec<Message>,
    /// Messages of unknown kinds among them.
    pub unknown: usize,
    /// Whether one could not be read.
    pub is_cut: bool,
}

/// Reads a header of any version, as far as it can be read at all.
pub fn head(bytes: &[u8]) -> Option<Head> {
    let mut at = Bytes(bytes);
    let (version, _flags, fence) = (at.int(1)?, at.int(1)?, at.int(8)?);
    let sender = at.run()?;
    let (incarnation, stamp) = (at.u32()?, at.int(8)?);
    Some(Head { version: u8::try_from(version).ok()?, fence, sender, incarnation, stamp })
}

/// Reads a payload of version 1; `None` if its header cannot be read.
pub fn decode(bytes: &[u8]) -> Option<Packet> {
    let head = head(bytes).filter(|head| head.version == 1)?;
    let mut packet = Packet { head, messages: Vec::new(), unknown: 0, is_cut: false };
    let mut at = Bytes(&bytes[HEADER_LEN..]);
    while !at.0.is_empty() {
        let Some((kind, body)) = at.message() else {
            packet.is_cut = true;
            break;
        };
        match (1..=12).contains(&kind).then(|| message(kind, &mut Bytes(body))) {
            None => packet.unknown += 1,
            Some(Some(message)) => packet.messages.push(message),
            Some(None) => {
                packet.is_cut = true;
                break;
            }
        }
    }
    Some(packet)
}

fn message(kind: u8, body: &mut Bytes<'_>) -> Option<Message> {
    Some(match kind {
        1 => Message::Ping { seq: body.u32()?, target: body.run()? },
        2 => Message::PingReq { seq: body.u32()?, target: body.run()?, budget: body.varint()? },
        3 => Message::Ack { seq: body.u32()?, subject: body.run()? },
        4 => Message::Nack { seq: body.u32()?, subject: body.run()? },
        5 => Message::Update(claim(body)?),
        6 => Message::Broadcast {
            origin: body.run()?,
            number: body.u32()?,
            payload: body.slice()?.to_vec(),
        },
        7 => Message::Payload { target: body.run()?, payload: body.slice()?.to_vec() },
        8 => {
            let (exchange, flags) = (body.u32()?, body.int(1)?);
            let digest = (0..64).map(|_| body.int(8)).collect::<Option<_>>()?;
            Message::SyncRequest { exchange, is_joining: flags & 1 == 1, digest, own: claim(body)? }
        }
        9 => {
            let (exchange, flags, mask) = (body.u32()?, body.int(1)?, body.int(8)?);
            Message::SyncChunk { exchange, is_reply: flags & 1 == 1, is_last: flags & 2 == 2, mask }
        }
        10 => Message::SyncBusy { exchange: body.u32()? },
        11 => Message::Leave { seq: body.u32()? },
        12 => {
            let (rival, addr, flags) = (body.run()?, body.addr()?, body.int(1)?);
            Message::Conflict { rival, addr, is_awaited: flags & 1 == 1 }
        }
        _ => return None,
    })
}

fn claim(body: &mut Bytes<'_>) -> Option<Claim> {
    let flags = body.int(1)?;
    let about = body.run()?;
    let incarnation = body.varint()?;
    let state = u8::try_from(flags & 3).ok()?;
    let mut accusers = Vec::new();
    if state == 1 {
        let count = usize::try_from(body.int(1)?).ok().filter(|&count| count <= ACCUSERS_MAX)?;
        accusers = (0..count).map(|_| body.int(8)).collect::<Option<_>>()?;
    }
    let age = if flags & 16 != 0 { Some(body.varint()?) } else { None };
    let mut details = None;
    if flags & 4 != 0 {
        let said_in = if flags & 8 != 0 { body.varint()? } else { incarnation };
        let versions = u8::try_from(body.int(1)?).ok()?;
        let (addr, metadata) = (body.addr()?, body.slice()?.to_vec());
        if said_in > incarnation || addr.port() == 0 || metadata.len() > METADATA_LEN_MAX {
            return None;
        }
        details = Some(Details { incarnation: said_in, versions, addr, metadata });
    }
    let is_own_word = details.as_ref().is_some_and(|details| details.incarnation == incarnation);
    (state != 0 || is_own_word).then_some(Claim {
        about,
        incarnation,
        state,
        accusers,
        age,
        details,
    })
}

/// Bytes to be read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    /// A little-endian integer of `len` bytes.
    fn int(&mut self, len: usize) -> Option<u64> {
        Some(self.take(len)?.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
    }

    fn u32(&mut self) -> Option<u32> {
        u32::try_from(self.int(4)?).ok()
    }

    fn varint(&mut self) -> Option<u32> {
        let mut value = 0u64;
        for at in 0..5 {
            let byte = self.int(1)?;
            value += (byte % 128) << (7 * at);
            if byte < 128 {
                return (byte > 0 || at == 0).then(|| u32::try_from(value).ok())?;
            }
        }
        None
    }

    fn slice(&mut self) -> Option<&'a [u8]> {
        let len = self.varint()?;
        self.take(len as usize)
    }

    fn run(&mut self) -> Option<Run> {
        let (id, epoch) = (self.int(8)?, self.int(6)?);
        (epoch < EPOCH_END).then_some(Run { id, epoch })
    }

    fn addr(&mut self) -> Option<SocketAddr> {
        let ip: IpAddr = match self.int(1)? {
            4 => <[u8; 4]>::try_from(self.take(4)?).ok()?.into(),
            6 => <[u8; 16]>::try_from(self.take(16)?).ok()?.into(),
            _ => return None,
        };
        Some(SocketAddr::new(ip, u16::try_from(self.int(2)?).ok()?))
    }

    /// Kind and body of the next message.
    fn message(&mut self) -> Option<(u8, &'a [u8])> {
        let (kind, len) = (self.int(1)?, self.int(2)?);
        Some((u8::try_from(kind).ok()?, self.take(usize::try_from(len).ok()?)?))
    }
}

/// Writes a header and these messages.
pub fn encode(head: &Head, messages: &[Message]) -> Vec<u8> {
    encode_with(head, messages, |_| &[])
}

/// [`encode`], as a later version might write it: with `tail(n)` after the fields of message number
/// n.
pub fn encode_with<'a>(
    head: &Head,
    messages: &[Message],
    tail: impl Fn(usize) -> &'a [u8],
) -> Vec<u8> {
    let mut out = vec![head.version, 0];
    out.extend_from_slice(&head.fence.to_le_bytes());
    put_run(&mut out, head.sender);
    out.extend_from_slice(&head.incarnation.to_le_bytes());
    out.extend_from_slice(&head.stamp.to_le_bytes());
    for (number, message) in messages.iter().enumerate() {
        put_message(&mut out, message, tail(number));
    }
    out
}

fn put_message(out: &mut Vec<u8>, message: &Message, tail: &[u8]) {
    let mut body = Vec::new();
    let kind = match message {
        Message::Ping { seq, target } => put_seq_and_run(&mut body, 1, *seq, *target),
        Message::PingReq { seq, target, budget } => {
            put_seq_and_run(&mut body, 2, *seq, *target);
            put_varint(&mut body, *budget);
            2
        }
        Message::Ack { seq, subject } => put_seq_and_run(&mut body, 3, *seq, *subject),
        Message::Nack { seq, subject } => put_seq_and_run(&mut body, 4, *seq, *subject),
        Message::Update(claim) => {
            put_claim(&mut body, claim);
            5
        }
        Message::Broadcast { origin, number, payload } => {
            put_run(&mut body, *origin);
            body.extend_from_slice(&number.to_le_bytes());
            put_slice(&mut body, payload);
            6
        }
        Message::Payload { target, payload } => {
            put_run(&mut body, *target);
            put_slice(&mut body, payload);
            7
        }
        Message::SyncRequest { exchange, is_joining, digest, own } => {
            body.extend_from_slice(&exchange.to_le_bytes());
            body.push(u8::from(*is_joining));
            digest.iter().for_each(|bucket| body.extend_from_slice(&bucket.to_le_bytes()));
            put_claim(&mut body, own);
            8
        }
        Message::SyncChunk { exchange, is_reply, is_last, mask } => {
            body.extend_from_slice(&exchange.to_le_bytes());
            body.push(u8::from(*is_reply) | u8::from(*is_last) << 1);
            body.extend_from_slice(&mask.to_le_bytes());
            9
        }
        Message::SyncBusy { exchange } => {
            body.extend_from_slice(&exchange.to_le_bytes());
            10
        }
        Message::Leave { seq } => {
            body.extend_from_slice(&seq.to_le_bytes());
            11
        }
        Message::Conflict { rival, addr, is_awaited } => {
            put_run(&mut body, *rival);
            put_addr(&mut body, *addr);
            body.push(u8::from(*is_awaited));
            12
        }
    };
    body.extend_from_slice(tail);
    put_raw(out, kind, &body);
}

/// A message of any kind with any body; only the first 65,535 bytes of it.
pub fn put_raw(out: &mut Vec<u8>, kind: u8, body: &[u8]) {
    let len = u16::try_from(body.len()).unwrap_or(u16::MAX);
    out.push(kind);
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&body[..usize::from(len)]);
}

fn put_seq_and_run(body: &mut Vec<u8>, kind: u8, seq: u32, run: Run) -> u8 {
    body.extend_from_slice(&seq.to_le_bytes());
    put_run(body, run);
    kind
}

/// The body of an Update message (§2.5).
pub fn claim_bytes(claim: &Claim) -> Vec<u8> {
    let mut body = Vec::new();
    put_claim(&mut body, claim);
    body
}

fn put_claim(body: &mut Vec<u8>, claim: &Claim) {
    let older = claim.details.as_ref().filter(|details| details.incarnation != claim.incarnation);
    let flag = |is_set: bool, bit: u8| if is_set { 1 << bit } else { 0 };
    let has_details = flag(claim.details.is_some(), 2);
    body.push(claim.state | has_details | flag(older.is_some(), 3) | flag(claim.age.is_some(), 4));
    put_run(body, claim.about);
    put_varint(body, claim.incarnation);
    if claim.state == 1 {
        let accusers = &claim.accusers[..claim.accusers.len().min(ACCUSERS_MAX)];
        body.push(u8::try_from(accusers.len()).unwrap_or(u8::MAX));
        accusers.iter().for_each(|accuser| body.extend_from_slice(&accuser.to_le_bytes()));
    }
    if let Some(age) = claim.age {
        put_varint(body, age);
    }
    if let Some(details) = &claim.details {
        if older.is_some() {
            put_varint(body, details.incarnation);
        }
        body.push(details.versions);
        put_addr(body, details.addr);
        put_slice(body, &details.metadata);
    }
}

fn put_run(out: &mut Vec<u8>, run: Run) {
    out.extend_from_slice(&run.id.to_le_bytes());
    out.extend_from_slice(&run.epoch.to_le_bytes()[..6]);
}

fn put_varint(out: &mut Vec<u8>, mut value: u32) {
    loop {
        let low = value.to_le_bytes()[0] & 127;
        value >>= 7;
        if value == 0 {
            return out.push(low);
        }
        out.push(low | 128);
    }
}

fn put_slice(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    out.extend_from_slice(bytes);
}

fn put_addr(out: &mut Vec<u8>, addr: SocketAddr) {
    match addr.ip() {
        IpAddr::V4(ip) => {
            out.push(4);
            out.extend_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            out.push(6);
            out.extend_from_slice(&ip.octets());
        }
    }
    out.extend_from_slice(&addr.port().to_le_bytes());
}
