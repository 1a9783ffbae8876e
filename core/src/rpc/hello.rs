//! The hello: who speaks, in which cluster, which versions, within which limits (`docs/protocol.md` §5.1).

use alloc::string::String;
use core::net::SocketAddr;

use crate::id::{Epoch, NodeId};

/// The stream versions this build speaks, lowest and highest. Peers use the highest both speak (§5.1).
pub const STREAM_VERSION_MIN: u8 = 1;
/// See [`STREAM_VERSION_MIN`].
pub const STREAM_VERSION_MAX: u8 = 1;

/// What every stream begins with. It never changes.
pub const MAGIC: [u8; 8] = *b"\xc7hinwag\n";

/// How this build archives messages: bit 0 big endian, bits 1-2 the relative pointer's width (0: 16 bits, 1: 32, 2:
/// 64), bit 3 unaligned primitives, bits 4-7 rkyv's format generation, 8 for 0.8 (§5.1). rkyv's format features are
/// unified over the user's build, so this can only be found out, not chosen.
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
    /// The cluster's name; its [`Fence`](crate::id::Fence) is derived. At most 255 bytes travel; the fence covers all.
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
}
