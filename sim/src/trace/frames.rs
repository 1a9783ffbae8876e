//! The RPC frames on a connection, read from its bytes for the trace (`docs/protocol.md` §5.1 to
//! §5.3). It reads what was sent, whole or in pieces, and decides nothing.

use std::collections::BTreeMap;
use std::fmt;

use chinwag_core::rpc::{Code, MAGIC};
use chinwag_core::wire::Reader;
use serde::Serialize;

/// Headers of frames, and the prefix of a hello, are so long; everything is padded to it.
const UNIT: usize = 16;
/// A frame that names a method is no longer: the rest of a longer one is not kept.
const NAMING_LEN_MAX: usize = 1_024;
/// A message with this flag comes in fragments on a lane (§5.2.4).
const MORE: u8 = 0x10;
/// The bits of a call id that are its slot (§5.4.1).
const SLOT: u32 = 0x3fff;
/// Of a `Data` or a `Credit`: the receiver is the caller (§5.2.4).
const FROM_CALLEE: u8 = 0x02;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The hello of one side.
    Hello,
    /// A call's request.
    Request,
    /// A message without an answer.
    OneWay,
    /// A call's answer.
    Answer,
    /// The caller has given up.
    Cancel,
    /// The name of a method, before its first use.
    Name,
    /// Membership messages.
    Gossip,
    /// A sign of life is asked for.
    Ping,
    /// A sign of life.
    Pong,
    /// The side takes no more calls.
    GoAway,
    /// A chunk of a streaming call, or the end of its half.
    Chunk,
    /// A piece of a long message.
    Fragment,
    /// Room for more bytes.
    Credit,
    /// A kind of a later version.
    Unknown,
    /// Further bytes of a frame whose header came in an earlier payload.
    Rest,
}

/// A frame, listed with the payload in which its header ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Frame {
    /// What it is.
    pub frame: Kind,
    /// `SERVICE.METHOD` of the call or message that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The call that it belongs to, as the caller numbers it on this connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<u32>,
    /// The index of the node that made the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller: Option<u32>,
    /// The connection, numbered within the run.
    pub connection: u64,
    /// The code of an answer that is an error; none is success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Bytes of the body.
    pub len: u32,
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.frame {
            Kind::Hello => "hello",
            Kind::Request => "request",
            Kind::OneWay => "one-way message",
            Kind::Answer => "answer",
            Kind::Cancel => "cancel",
            Kind::Name => "name",
            Kind::Gossip => "gossip",
            Kind::Ping => "ping",
            Kind::Pong => "pong",
            Kind::GoAway => "go-away",
            Kind::Chunk => "chunk",
            Kind::Fragment => "fragment",
            Kind::Credit => "credit",
            Kind::Unknown => "unknown frame",
            Kind::Rest => "rest",
        };
        f.write_str(what)?;
        self.method.iter().try_for_each(|method| write!(f, " {method}"))?;
        if let (Some(call), Some(caller)) = (self.call, self.caller) {
            write!(f, " call {call} of node {caller}")?;
        }
        self.error.iter().try_for_each(|error| write!(f, ": {error}"))
    }
}

/// Frames in words, for a line of a trace.
pub fn words(frames: &[Frame]) -> String {
    frames.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Reads the frames of one connection, both directions of it.
#[derive(Debug)]
pub struct Frames {
    connection: u64,
    sides: [Side; 2],
    /// Methods of calls by the side of the caller and the call. Calls reuse their slots, so there
    /// are at most as many as a side accepts, each with its last generation.
    calls: BTreeMap<(usize, u32), (u32, String)>,
}

/// What one side has sent.
#[derive(Debug)]
struct Side {
    host: u32,
    at: At,
    /// Bytes of a header that is not whole yet.
    kept: Vec<u8>,
    methods: Vec<String>,
    lanes: [Option<Frame>; 4],
}

#[derive(Debug)]
enum At {
    Hello,
    /// Between two frames.
    Frame,
    /// So many bytes of this frame are to come.
    Within(usize, Box<Frame>),
    /// It speaks something else, or its bytes are sealed.
    Lost,
}

impl Frames {
    /// Of the connection with this number, which host `dialler` opened to `listener`.
    pub fn new(connection: u64, dialler: u32, listener: u32) -> Self {
        let side = |host| Side {
            host,
            at: At::Hello,
            kept: Vec::new(),
            methods: Vec::new(),
            lanes: [const { None }; 4],
        };
        Self { connection, sides: [side(dialler), side(listener)], calls: BTreeMap::new() }
    }

    /// Takes bytes in the order in which side `side` sends them (0 dialled), and returns the frames
    /// in them.
    pub fn read(&mut self, side: usize, bytes: &[u8]) -> Vec<Frame> {
        let mut found = Vec::new();
        let mut bytes = bytes;
        if let At::Within(_, frame) = &self.sides[side].at {
            found.push(Frame { frame: Kind::Rest, ..(**frame).clone() });
        }
        loop {
            let of = &mut self.sides[side];
            match &mut of.at {
                At::Lost => return found,
                At::Within(left, _) => {
                    let now = bytes.len().min(*left);
                    *left -= now;
                    bytes = &bytes[now..];
                    if *left > 0 {
                        return found;
                    }
                    of.at = At::Frame;
                }
                At::Hello | At::Frame => {
                    let now = bytes.len().min(of.wanted() - of.kept.len());
                    of.kept.extend_from_slice(&bytes[..now]);
                    bytes = &bytes[now..];
                    if of.kept.len() == of.wanted() {
                        let whole = std::mem::take(&mut of.kept);
                        found.extend(self.header(side, &whole));
                    } else if now == 0 {
                        return found;
                    }
                }
            }
        }
    }

    /// Reads what [`Side::wanted`] asks for.
    fn header(&mut self, side: usize, whole: &[u8]) -> Option<Frame> {
        let header: [u8; UNIT] = *whole.first_chunk()?;
        if matches!(self.sides[side].at, At::Hello) {
            return self.hello(side, &header);
        }
        let (kind, flags) = (kind_of(header[8]), header[9]);
        let frame = self.told(side, kind, whole, &header);
        let is_message = matches!(kind, Kind::Request | Kind::OneWay | Kind::Answer | Kind::Chunk);
        let is_in_fragments = is_message && flags & MORE != 0;
        if is_in_fragments {
            self.sides[side].lanes[lane_of(flags)] = Some(frame.clone());
        }
        let body = if is_in_fragments { 0 } else { padded(u32_at(&header, 0)) };
        let rest = padded(u32::from(u16_at(&header, 12))) + body;
        // A name was read with its header.
        let left = (UNIT + rest).saturating_sub(whole.len());
        self.sides[side].at =
            if left == 0 { At::Frame } else { At::Within(left, Box::new(frame.clone())) };
        Some(frame)
    }

    fn hello(&mut self, side: usize, prefix: &[u8; UNIT]) -> Option<Frame> {
        if prefix[..MAGIC.len()] != MAGIC {
            self.sides[side].at = At::Lost;
            return None;
        }
        // Its length stands behind the magic.
        let frame = self.frame(Kind::Hello, u32_at(prefix, MAGIC.len()));
        self.sides[side].at = At::Within(padded(frame.len), Box::new(frame.clone()));
        Some(frame)
    }

    /// A frame with the names of its method and its call.
    fn told(&mut self, side: usize, kind: Kind, whole: &[u8], header: &[u8; UNIT]) -> Frame {
        let (len, call, flags) = (u32_at(header, 0), u32_at(header, 4), header[9]);
        let method = self.sides[side].methods.get(usize::from(u16_at(header, 10))).cloned();
        let frame = self.frame(kind, len);
        let is_from_callee = kind == Kind::Answer
            || (matches!(kind, Kind::Chunk | Kind::Credit) && flags & FROM_CALLEE != 0);
        let caller = if is_from_callee { 1 - side } else { side };
        let slot = (caller, call & SLOT);
        let known = self.calls.get(&slot).filter(|known| known.0 == call);
        let known = known.map(|(_, method)| method.clone());
        let of = Some(self.sides[caller].host);
        match kind {
            Kind::Request => {
                if let Some(method) = &method {
                    self.calls.insert(slot, (call, method.clone()));
                }
                Frame { method, call: Some(call), caller: of, ..frame }
            }
            Kind::Answer => {
                let code = u16_at(header, 14);
                let error = (code != 0).then(|| format!("{:?}", Code::from_raw(code)));
                Frame { method: known, call: Some(call), caller: of, error, ..frame }
            }
            Kind::Credit if call == 0 => frame,
            Kind::Cancel | Kind::Chunk | Kind::Credit => {
                Frame { method: known, call: Some(call), caller: of, ..frame }
            }
            Kind::OneWay => Frame { method, caller: of, ..frame },
            Kind::Fragment => match &self.sides[side].lanes[lane_of(flags)] {
                Some(message) => Frame { frame: kind, len, ..message.clone() },
                None => frame,
            },
            Kind::Name => {
                let name = named(whole);
                self.sides[side].methods.extend(name.clone());
                Frame { method: name, ..frame }
            }
            _ => frame,
        }
    }

    const fn frame(&self, frame: Kind, len: u32) -> Frame {
        let connection = self.connection;
        Frame { frame, method: None, call: None, caller: None, connection, error: None, len }
    }
}

impl Side {
    /// Bytes that are read at once: a header, and the whole of a frame that names a method.
    fn wanted(&self) -> usize {
        match (&self.at, self.kept.first_chunk::<UNIT>()) {
            (At::Frame, Some(header)) if kind_of(header[8]) == Kind::Name => {
                let rest = padded(u32::from(u16_at(header, 12))) + padded(u32_at(header, 0));
                UNIT + rest.min(NAMING_LEN_MAX)
            }
            _ => UNIT,
        }
    }
}

/// `SERVICE.METHOD` of an `Intern` frame (§5.2.2).
fn named(whole: &[u8]) -> Option<String> {
    let extension = padded(u32::from(u16_at(whole.first_chunk()?, 12)));
    let mut body = Reader::new(whole.get(UNIT + extension..)?);
    body.u64()?;
    let mut name = || {
        let len = body.u8()?;
        std::str::from_utf8(body.take(usize::from(len))?).ok()
    };
    Some(format!("{}.{}", name()?, name()?))
}

const fn lane_of(flags: u8) -> usize {
    (flags >> 5 & 3) as usize
}

const fn kind_of(raw: u8) -> Kind {
    match raw {
        1 => Kind::Request,
        2 => Kind::OneWay,
        3 => Kind::Answer,
        4 => Kind::Cancel,
        5 => Kind::Name,
        6 => Kind::Gossip,
        7 => Kind::Ping,
        8 => Kind::Pong,
        9 => Kind::GoAway,
        16 => Kind::Chunk,
        17 => Kind::Fragment,
        18 => Kind::Credit,
        _ => Kind::Unknown,
    }
}

const fn padded(len: u32) -> usize {
    (len as usize).next_multiple_of(UNIT)
}

const fn u32_at(header: &[u8; UNIT], at: usize) -> u32 {
    u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
}

const fn u16_at(header: &[u8; UNIT], at: usize) -> u16 {
    u16::from_le_bytes([header[at], header[at + 1]])
}

#[cfg(test)]
mod tests;
