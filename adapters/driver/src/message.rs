//! What travels: [`Payload`], [`Message`], and the fingerprint that keeps two layouts of one name apart.

use bytes::Bytes;
use chinwag_core::id::{fnv1a, fnv1a_from};
use chinwag_core::rpc::Fingerprint;
use rkyv::api::high::{HighSerializer, HighValidator};
use rkyv::bytecheck::CheckBytes;
use rkyv::rancor::Error;
use rkyv::rend;
use rkyv::ser::allocator::ArenaHandle;
use rkyv::util::AlignedVec;
use rkyv::{Archive, Archived, Serialize};

use crate::view::ALIGN;

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

/// A request: a method's name and what it answers with.
///
/// The name is written down, never taken from the type: types move between modules, and names on the wire must not.
pub trait Message: Payload + Sized {
    /// What the method answers.
    type Reply: Payload;

    /// The method's name within its service. At most [`NAME_LEN_MAX`](chinwag_core::rpc::config::NAME_LEN_MAX) bytes.
    const NAME: &'static str;

    /// A hash of the name and of the archived layouts of request and reply. It travels with every call, so that two builds
    /// that disagree get a `SchemaMismatch` instead of garbage. rkyv gives no hash of the fields: a change that keeps
    /// size and alignment (renaming a field, swapping two of one type) needs another `NAME`.
    const FINGERPRINT: Fingerprint = Fingerprint::new(fingerprint::<Self, Self::Reply>(Self::NAME));
}

/// FNV-1a over the name, then size and alignment of both archived types, then rkyv's format.
const fn fingerprint<Request: Archive, Reply: Archive>(name: &str) -> u64 {
    let mut hash = fnv1a(name.as_bytes());
    let parts = [
        size_of::<Archived<Request>>(),
        align_of::<Archived<Request>>(),
        size_of::<Archived<Reply>>(),
        align_of::<Archived<Reply>>(),
        // Pointer width and alignment of the format, then its byte order: rkyv's features, unified over the user's build.
        size_of::<Archived<usize>>(),
        align_of::<Archived<u64>>(),
        <Archived<u32> as ByteOrder>::BIG as usize,
    ];
    let mut at = 0;
    while at < parts.len() {
        hash = fnv1a_from(hash, &(parts[at] as u64).to_le_bytes());
        at += 1;
    }
    hash
}

/// Which of rkyv's byte orders a build has: its features are not visible to `cfg` here, but the types they choose are.
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

/// `payload` as bytes at an aligned address.
pub(crate) fn encode<T: Payload>(payload: &T) -> Result<Bytes, Error> {
    let bytes = rkyv::api::high::to_bytes_in::<_, Error>(payload, AlignedVec::<ALIGN>::new())?;
    Ok(Bytes::from_owner(bytes))
}
