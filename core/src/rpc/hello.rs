//! The hello: who speaks, in which cluster, which versions, within which limits (`docs/protocol.md`
//! §5.1).

use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::config::{ALIGN, Config, HELLO_LEN_MAX, MESSAGE_LEN_CEILING, NAME_LEN_MAX};
use super::connection::{Connection, Phase};
use super::credit::Outflow;
use super::event::{CloseReason, Event};
use super::frame::padded;
use super::status::clip;
use crate::id::{Epoch, Fence, NodeId};
use crate::time::Now;
use crate::wire::Reader;

/// The stream versions this build speaks, lowest and highest. Peers use the highest both speak
/// (§5.1).
pub const STREAM_VERSION_MIN: u8 = 1;
/// See [`STREAM_VERSION_MIN`].
pub const STREAM_VERSION_MAX: u8 = 1;

/// What every stream begins with. It never changes.
pub const MAGIC: [u8; 8] = *b"\xc7hinwag\n";

/// How this build archives messages: bit 0 big endian, bits 1-2 the relative pointer's width (0: 16
/// bits, 1: 32, 2: 64), bit 3 unaligned primitives, bits 4-7 rkyv's format generation, 8 for 0.8
/// (§5.1). rkyv's format features are unified over the user's build, so this can only be found out,
/// not chosen.
pub fn archive_format() -> u8 {
    let pointer = match size_of::<rkyv::primitive::FixedUsize>() {
        2 => 0,
        4 => 1,
        _ => 2,
    };
    let is_unaligned = align_of::<rkyv::primitive::ArchivedU32>() == 1;
    let one = rkyv::api::high::to_bytes::<rkyv::rancor::Failure>(&1u32);
    let is_big_endian = one.is_ok_and(|bytes| bytes.last() == Some(&1));
    0x80 | u8::from(is_unaligned) << 3 | pointer << 1 | u8::from(is_big_endian)
}

/// Who this side is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The cluster's name; its [`Fence`] is derived. At most 255 bytes travel; the fence covers
    /// all.
    pub cluster: String,
    /// This node.
    pub id: NodeId,
    /// This run of it.
    pub epoch: Epoch,
    /// Where others reach it.
    pub addr: SocketAddr,
}

/// What the peer's hello said, and what was agreed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerHello {
    /// The peer.
    pub id: NodeId,
    /// Its run.
    pub epoch: Epoch,
    /// Where it says it is reached.
    pub addr: SocketAddr,
    /// The version agreed on.
    pub version: u8,
    /// Calls it accepts at once.
    pub in_flight_max: u32,
    /// Bytes of a message it accepts.
    pub message_len_max: u32,
    /// Bytes of headers it accepts.
    pub headers_len_max: u32,
    /// Methods it lets this side name.
    pub methods_max: u16,
    /// Bytes of large responses it takes before any are taken from it (`docs/protocol.md` §5.12.7).
    pub response_window: u32,
    /// Bytes of large requests that it holds (`docs/protocol.md` §5.12.3).
    pub request_budget: u32,
}

/// Bytes of the prefix: magic, payload length, zeros.
const PREFIX_LEN: usize = ALIGN;
/// Bytes of the payload's fixed part, which never changes (§5.1.2).
const FIXED_LEN: usize = 80;

impl Hello {
    /// The hello as it travels, with what `config` adds to it.
    pub(super) fn encode(&self, config: &Config) -> Vec<u8> {
        let name = clip(&self.cluster, NAME_LEN_MAX);
        let ip = match self.addr.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let payload_len =
            u32::try_from(FIXED_LEN + name.len()).expect("the name was cut to 255 bytes");
        let name_len = u8::try_from(name.len()).expect("the name was cut to 255 bytes");

        let mut out = Vec::with_capacity(PREFIX_LEN + padded(FIXED_LEN + name.len()));
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&payload_len.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&[
            config.version_min,
            config.version_max,
            archive_format(),
            name_len,
        ]);
        out.extend_from_slice(&config.methods_max.to_le_bytes());
        out.extend_from_slice(&self.addr.port().to_le_bytes());
        out.extend_from_slice(&Fence::of(&self.cluster).get().to_le_bytes());
        out.extend_from_slice(&self.id.get().to_le_bytes());
        out.extend_from_slice(&self.epoch.get().to_le_bytes());
        out.extend_from_slice(&ip.octets());
        let limits = [config.in_flight_max, config.message_len_max, config.headers_len_max];
        let windows = [config.response_window, config.request_budget, 0, 0, 0];
        for limit in limits.into_iter().chain(windows) {
            out.extend_from_slice(&limit.to_le_bytes());
        }
        debug_assert_eq!(out.len(), PREFIX_LEN + FIXED_LEN, "the fixed part is as specified");
        out.extend_from_slice(name.as_bytes());
        out.resize(padded(out.len()), 0);
        out
    }

    /// Reads the peer's hello at the front of `bytes`: `None` while more is needed, then how many
    /// bytes it took.
    ///
    /// # Errors
    /// Why the connection must end (§5.1.3, §5.1.4).
    pub(super) fn accept(
        &self,
        config: &Config,
        bytes: &[u8],
    ) -> Result<Option<(PeerHello, usize)>, CloseReason> {
        let seen = bytes.len().min(MAGIC.len());
        if bytes[..seen] != MAGIC[..seen] {
            return Err(CloseReason::NotChinwag);
        }
        let mut rest = Reader::new(bytes);
        if rest.take(MAGIC.len()).is_none() {
            return Ok(None);
        }
        let (Some(payload_len), Some(_)) = (rest.u32(), rest.u32()) else {
            return Ok(None);
        };
        let payload_len = usize::try_from(payload_len).unwrap_or(usize::MAX);
        if payload_len > HELLO_LEN_MAX {
            return Err(CloseReason::Protocol("a hello has at most 1,024 bytes"));
        }
        let Some(padded_payload) = rest.take(padded(payload_len)) else {
            return Ok(None);
        };
        let peer = self.judge(config, &padded_payload[..payload_len])?;
        Ok(Some((peer, PREFIX_LEN + padded(payload_len))))
    }

    fn judge(&self, config: &Config, payload: &[u8]) -> Result<PeerHello, CloseReason> {
        let theirs = Payload::decode(payload)
            .ok_or(CloseReason::Protocol("a hello holds its fixed part"))?;
        if theirs.fence != Fence::of(&self.cluster) {
            return Err(CloseReason::ForeignCluster {
                ours: self.cluster.clone(),
                theirs: theirs.cluster,
            });
        }
        let version = config.version_max.min(theirs.version_max);
        if version < config.version_min.max(theirs.version_min) {
            return Err(CloseReason::Version {
                ours: (config.version_min, config.version_max),
                theirs: (theirs.version_min, theirs.version_max),
            });
        }
        if theirs.format != archive_format() {
            return Err(CloseReason::Format { ours: archive_format(), theirs: theirs.format });
        }
        if theirs.epoch > Epoch::MAX.get() {
            return Err(CloseReason::Protocol("an epoch has 47 bits"));
        }
        Ok(PeerHello {
            id: theirs.id,
            epoch: Epoch::new(theirs.epoch),
            addr: theirs.addr,
            version,
            in_flight_max: theirs.in_flight_max,
            // Nobody reads a longer one (§5.7.2), whatever it says.
            message_len_max: theirs.message_len_max.min(MESSAGE_LEN_CEILING),
            headers_len_max: theirs.headers_len_max,
            methods_max: theirs.methods_max,
            response_window: theirs.response_window,
            request_budget: theirs.request_budget,
        })
    }
}

/// A hello's payload, read and not yet judged.
struct Payload {
    version_min: u8,
    version_max: u8,
    format: u8,
    methods_max: u16,
    fence: Fence,
    id: NodeId,
    epoch: u64,
    addr: SocketAddr,
    in_flight_max: u32,
    message_len_max: u32,
    headers_len_max: u32,
    response_window: u32,
    request_budget: u32,
    cluster: String,
}

impl Payload {
    fn decode(payload: &[u8]) -> Option<Self> {
        let mut r = Reader::new(payload);
        let [version_min, version_max, format, name_len] = r.array::<4>()?;
        let methods_max = r.u16()?;
        let port = r.u16()?;
        let fence = Fence::from_raw(r.u64()?);
        let id = NodeId::new(r.u64()?);
        let epoch = r.u64()?;
        let ip = Ipv6Addr::from(r.array::<16>()?).to_canonical();
        let in_flight_max = r.u32()?;
        let message_len_max = r.u32()?;
        let headers_len_max = r.u32()?;
        let response_window = r.u32()?;
        let request_budget = r.u32()?;
        r.take(12)?;
        let cluster = String::from_utf8_lossy(r.take(usize::from(name_len))?).into_owned();
        let addr = SocketAddr::new(ip, port);
        Some(Self {
            version_min,
            version_max,
            format,
            methods_max,
            fence,
            id,
            epoch,
            addr,
            in_flight_max,
            message_len_max,
            headers_len_max,
            response_window,
            request_budget,
            cluster,
        })
    }
}

impl Connection {
    /// The peer's hello is accepted: what waited for it goes out (§5.1.1).
    pub(super) fn connected(&mut self, now: Now, peer: &PeerHello) {
        self.events.push_back(Event::Connected(peer.clone()));
        self.phase = Phase::Open(peer.clone());
        self.answers_out = Outflow::new(peer.response_window);
        self.send_early(now);
        self.unblock();
        if self.went_away.is_some() {
            self.say_go_away();
        }
    }
}
