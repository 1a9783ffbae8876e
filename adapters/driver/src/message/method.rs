//! What travels: [`Body`], which is a typed [`Payload`] or [`Raw`] bytes; [`Method`] and
//! [`Message`], which name it; and the fingerprint that keeps two layouts of one name apart.

use bytes::Bytes;
use chinwag_core::id::{fnv1a, fnv1a_from};
use chinwag_core::rng::mix;
use chinwag_core::rpc::{Fingerprint, Shape};
use rkyv::api::high::{HighSerializer, HighValidator};
use rkyv::bytecheck::CheckBytes;
use rkyv::rancor::Error;
use rkyv::rend;
use rkyv::ser::allocator::ArenaHandle;
use rkyv::util::AlignedVec;
use rkyv::{Archive, Archived, Serialize};

use crate::message::view::{ALIGN, Malformed, View};

/// What a message's body can be: any [`Payload`], which is received as a [`View`] of it, or
/// [`Raw`], which is received as the [`Bytes`] it is. Nothing else implements it.
pub trait Body: Send + Sync + Sized + sealed::Sealed + 'static {
    /// What the receiver gets.
    type Received: Clone + Send + Sync + 'static;

    /// Size and alignment of what is read at the other end; part of a method's fingerprint.
    #[doc(hidden)]
    const LAYOUT: [usize; 2];

    /// Whether there are any: of [`Never`] there are not.
    #[doc(hidden)]
    const IS_CHUNK: bool = true;

    /// Whether what comes is validated: raw bytes are not.
    #[doc(hidden)]
    const IS_VALIDATED: bool = true;

    /// The bytes that travel.
    #[doc(hidden)]
    fn encode(&self) -> Result<Bytes, Error>;

    /// What the bytes are, once they are known to be that.
    #[doc(hidden)]
    fn receive(bytes: Bytes) -> Result<Self::Received, Malformed>;
}

/// What the receiver of a `B` gets: a [`View`] of a typed body, [`Bytes`] of a raw one.
pub type Received<B> = <B as Body>::Received;

impl<T: Payload> Body for T {
    type Received = View<T>;
    const LAYOUT: [usize; 2] = [size_of::<Archived<T>>(), align_of::<Archived<T>>()];

    fn encode(&self) -> Result<Bytes, Error> {
        crate::message::archive::encode(self)
    }

    fn receive(bytes: Bytes) -> Result<View<T>, Malformed> {
        View::new(bytes)
    }
}

/// The chunks of a direction in which nothing is streamed; see [`Streaming`].
#[derive(Clone, Copy, Debug)]
pub enum Never {}

impl Body for Never {
    type Received = Self;
    /// No archive is that, and no raw bytes.
    const LAYOUT: [usize; 2] = [0, 1];
    const IS_CHUNK: bool = false;

    fn encode(&self) -> Result<Bytes, Error> {
        match *self {}
    }

    fn receive(_: Bytes) -> Result<Self, Malformed> {
        Err(Malformed::unexpected())
    }
}

/// Bytes as a body: sent as they are and received as they are, neither validated nor copied on the
/// way through chinwag. The receiver's [`Bytes`] begin at a multiple of 16.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Raw(pub Bytes);

impl Body for Raw {
    type Received = Bytes;
    /// No archive has a size of 0 and an alignment of 0.
    const LAYOUT: [usize; 2] = [0, 0];
    const IS_VALIDATED: bool = false;

    fn encode(&self) -> Result<Bytes, Error> {
        Ok(self.0.clone())
    }

    fn receive(bytes: Bytes) -> Result<Bytes, Malformed> {
        Ok(bytes)
    }
}

impl From<Bytes> for Raw {
    fn from(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

impl From<Vec<u8>> for Raw {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

mod sealed {
    pub trait Sealed {}
    impl<T: super::Payload> Sealed for T {}
    impl Sealed for super::Raw {}
    impl Sealed for super::Never {}
}

/// A type that can be sent and read in place: every rkyv type with the usual derives has it.
///
/// ```
/// #[derive(rkyv::Archive, rkyv::Serialize)]
/// struct Hello { name: String }
/// fn is_payload<T: chinwag::Payload>() {}
/// is_payload::<Hello>();
/// ```
pub trait Payload:
    Archive<Archived: Send + Sync + for<'a> CheckBytes<HighValidator<'a, Error>>>
    + for<'a> Serialize<HighSerializer<AlignedVec<ALIGN>, ArenaHandle<'a>, Error>>
    + Send
    + Sync
    + 'static
{
}

impl<T> Payload for T where
    T: Archive<Archived: Send + Sync + for<'a> CheckBytes<HighValidator<'a, Error>>>
        + for<'a> Serialize<HighSerializer<AlignedVec<ALIGN>, ArenaHandle<'a>, Error>>
        + Send
        + Sync
        + 'static
{
}

/// A request that is its own method: the method's name and what it answers with. Every message is a
/// [`Method`].
///
/// The name is written down, never taken from the type: types move between modules, and names on
/// the wire must not.
pub trait Message: Payload + Sized {
    /// What the method answers: a [`Payload`], or [`Raw`].
    type Reply: Body;

    /// The method's name within its service. At most
    /// [`NAME_LEN_MAX`](chinwag_core::rpc::config::NAME_LEN_MAX) bytes.
    const NAME: &'static str;

    /// A hash of the name and of the archived layouts of request and reply. It travels with every
    /// call, so that two builds that disagree get a `SchemaMismatch` instead of garbage. rkyv
    /// gives no hash of the fields: a change that keeps size and alignment (renaming a field,
    /// swapping two of one type) needs another `NAME`. The upper 32 bits stand for the request and
    /// the lower 32 for the reply, so that a failed call says which of them differs; keep to that
    /// where you write one down.
    const FINGERPRINT: Fingerprint = Fingerprint::new(fingerprint::<Self, Self::Reply>(Self::NAME));

    /// Whether handling it twice is as good as once. Such calls may be retried although the first
    /// attempt may have run; see [`Balanced`](crate::Balanced). Default `false`.
    const IDEMPOTENT: bool = false;
}

/// A method: what goes in, what comes out, and its name. Every [`Message`] is one; a method whose
/// request is [`Raw`] is written on a marker type:
///
/// ```
/// use chinwag::{Method, Raw};
///
/// struct Resize;
/// impl Method for Resize {
///     type Request = Raw;
///     type Reply = Raw;
///     const NAME: &'static str = "resize";
/// }
/// ```
pub trait Method: 'static {
    /// What the caller sends.
    type Request: Body;

    /// What the handler answers.
    type Reply: Body;

    /// As [`Message::NAME`].
    const NAME: &'static str;

    /// As [`Message::FINGERPRINT`]. The layout of raw bytes is not known: what they hold is between
    /// the two ends.
    const FINGERPRINT: Fingerprint =
        Fingerprint::new(fingerprint::<Self::Request, Self::Reply>(Self::NAME));

    /// As [`Message::IDEMPOTENT`].
    const IDEMPOTENT: bool = false;
}

impl<M: Message> Method for M {
    type Request = M;
    type Reply = M::Reply;
    const NAME: &'static str = <M as Message>::NAME;
    const FINGERPRINT: Fingerprint = <M as Message>::FINGERPRINT;
    const IDEMPOTENT: bool = <M as Message>::IDEMPOTENT;
}

/// A method whose caller, or handler, or both send chunks beside the request and the reply.
///
/// | `In` | `Out` | |
/// |---|---|---|
/// | a body | [`Never`] | client-streaming: an upload |
/// | [`Never`] | a body | server-streaming: a subscription, a scan |
/// | a body | a body | bidirectional: a session |
///
/// ```
/// use chinwag::{Message, Never, Raw, Streaming};
///
/// #[derive(rkyv::Archive, rkyv::Serialize)]
/// struct Upload { name: String }
/// impl Message for Upload {
///     type Reply = u64;                       // the one answer, when all is in
///     const NAME: &'static str = "upload";
/// }
/// impl Streaming for Upload {
///     type In = Raw;                          // chunks from the caller
///     type Out = Never;                       // none from the handler
/// }
/// ```
pub trait Streaming: Method {
    /// What the caller sends.
    type In: Body;

    /// What the handler sends.
    type Out: Body;

    /// Bytes of the largest chunk, encoded and with what is attached to it, that either end sends;
    /// a larger one is `TooLarge`. Each node promises room for so much to each open direction of a
    /// stream, and refuses streams when it has promised all it may (`docs/protocol.md` §5.12.5).
    const CHUNK_LEN_MAX: u32 = chinwag_core::rpc::config::CHUNK_LEN_DEFAULT;

    /// The method's fingerprint with the layouts of both: what travels with the call.
    #[doc(hidden)]
    const STREAM_FINGERPRINT: Fingerprint = {
        let unary = Self::FINGERPRINT.get();
        // The chunks that the caller sends belong to the request, the handler's to the reply.
        let request = mix(mixed(unary >> 32, &Self::In::LAYOUT));
        let reply = mix(mixed(unary & 0xffff_ffff, &Self::Out::LAYOUT));
        Fingerprint::new(halves(request, reply))
    };

    /// Who sends chunks.
    #[doc(hidden)]
    const SHAPE: Shape = Shape { streams_in: Self::In::IS_CHUNK, streams_out: Self::Out::IS_CHUNK };
}

/// The request's half of the fingerprint in the upper 32 bits, and the reply's in the lower, so
/// that the node that refuses a call can tell which of them differs.
const fn fingerprint<Request: Body, Reply: Body>(name: &str) -> u64 {
    halves(half::<Request>(name), half::<Reply>(name))
}

const fn halves(request: u64, reply: u64) -> u64 {
    (request >> 32 << 32) | (reply >> 32)
}

/// FNV-1a over the name, then size and alignment of a body as it is read, then rkyv's format,
/// mixed so that the upper half has all of it.
const fn half<T: Body>(name: &str) -> u64 {
    let parts = [
        T::LAYOUT[0],
        T::LAYOUT[1],
        // Pointer width and alignment of the format, then its byte order: rkyv's features, unified
        // over the user's build.
        size_of::<Archived<usize>>(),
        align_of::<Archived<u64>>(),
        <Archived<u32> as ByteOrder>::BIG as usize,
    ];
    mix(mixed(fnv1a(name.as_bytes()), &parts))
}

const fn mixed(mut hash: u64, parts: &[usize]) -> u64 {
    let mut at = 0;
    while at < parts.len() {
        hash = fnv1a_from(hash, &(parts[at] as u64).to_le_bytes());
        at += 1;
    }
    hash
}

/// Which of rkyv's byte orders a build has: its features are not visible to `cfg` here, but the
/// types they choose are.
trait ByteOrder {
    const BIG: bool;
}

impl ByteOrder for rend::u32_le {
    const BIG: bool = false;
}

impl ByteOrder for rend::u32_be {
    const BIG: bool = true;
}

impl ByteOrder for rend::unaligned::u32_ule {
    const BIG: bool = false;
}

impl ByteOrder for rend::unaligned::u32_ube {
    const BIG: bool = true;
}

#[cfg(test)]
mod tests;
