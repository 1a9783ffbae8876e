//! What replicas say to each other, and the check of what they are told (docs/store.md §6.1).

use chinwag::{Bytes, Message, NodeId, Status, Timestamp};
use rkyv::Archived;
use rkyv::{Archive, Serialize};

use crate::document::{Document, Version};
use crate::index::{Contents, Listed};
use crate::key::Key;
use crate::limits::{
    BATCH_LEN_MAX, BATCH_MAX, COMPARE_MAX, KEY_LEN_MAX, KEYSPACE_LEN_MAX, RANGES_MAX, ROSTER_MAX,
    VALUE_LEN_MAX,
};
use crate::range::Range;
use crate::roster;

/// When a replica read what it sends: a message whose turn is before its sender's confirmation of a
/// purge is refused (docs/store.md §5.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Turn {
    pub(crate) epoch: u64,
    pub(crate) count: u64,
}

/// What every message with documents says of its sender.
#[derive(Clone, Copy, Debug, Archive, Serialize)]
pub(crate) struct Origin {
    pub(crate) epoch: u64,
    pub(crate) count: u64,
    /// The generation of its absence that it is cleansed of.
    pub(crate) cleansed: u64,
}

#[derive(Clone, Debug, Archive, Serialize)]
pub(crate) struct Doc {
    pub(crate) key: Vec<u8>,
    pub(crate) stamp: u64,
    pub(crate) node: u64,
    pub(crate) value: Option<Vec<u8>>,
}

/// A key and a version of it.
#[derive(Clone, Debug, Archive, Serialize)]
pub(crate) struct Named {
    pub(crate) key: Vec<u8>,
    pub(crate) stamp: u64,
    pub(crate) node: u64,
}

/// Keep these.
#[derive(Archive, Serialize)]
pub(crate) struct Replicate {
    pub(crate) origin: Origin,
    pub(crate) keyspace: String,
    pub(crate) documents: Vec<Doc>,
}

impl Message for Replicate {
    type Reply = Taken;
    const NAME: &'static str = "replicate";
    const IDEMPOTENT: bool = true;
}

/// How a replica took documents.
#[derive(Clone, Copy, Debug, Archive, Serialize)]
pub(crate) enum Taken {
    /// It has them durably, or for so many of the keys something newer.
    Kept { newer: u32 },
    /// They were read before their sender confirmed a purge. Read them again.
    Stale,
    /// Things were purged without the sender, which is to cleanse itself.
    Forgotten,
    /// Its roster is full, or it has no room for another keyspace.
    Full,
}

/// What do you have of these keys that is newer than what I have?
#[derive(Archive, Serialize)]
pub(crate) struct Read {
    pub(crate) keyspace: String,
    pub(crate) keys: Vec<Named>,
}

impl Message for Read {
    type Reply = Found;
    const NAME: &'static str = "read";
    const IDEMPOTENT: bool = true;
}

#[derive(Archive, Serialize)]
pub(crate) struct Found {
    pub(crate) origin: Origin,
    /// How many of the keys this is the answer for: at least one, and not all if it would be too
    /// long.
    pub(crate) answered: u32,
    pub(crate) newer: Vec<Doc>,
    /// Places, in the question, of the keys that the asker has newer.
    pub(crate) older: Vec<u32>,
}

/// The start of an exchange.
#[derive(Archive, Serialize)]
pub(crate) struct Roots {
    pub(crate) roster: roster::Written,
}

impl Message for Roots {
    type Reply = RootsReply;
    const NAME: &'static str = "roots";
    const IDEMPOTENT: bool = true;
}

#[derive(Archive, Serialize)]
pub(crate) struct RootsReply {
    pub(crate) roster: roster::Written,
    /// Each keyspace and the sum of it.
    pub(crate) roots: Vec<(String, u64)>,
}

/// What do you have in these ranges?
#[derive(Archive, Serialize)]
pub(crate) struct Compare {
    pub(crate) keyspace: String,
    pub(crate) ranges: Vec<(u8, u64)>,
}

impl Message for Compare {
    type Reply = Vec<Compared>;
    const NAME: &'static str = "compare";
    const IDEMPOTENT: bool = true;
}

#[derive(Clone, Archive, Serialize)]
pub(crate) enum Compared {
    Children(Vec<u64>),
    /// Hash, stamp, node.
    Listed(Vec<(u64, u64, u64)>),
}

/// Give me the documents in these ranges, from the key after `after` of the first range on.
#[derive(Archive, Serialize)]
pub(crate) struct Fetch {
    pub(crate) keyspace: String,
    pub(crate) ranges: Vec<(u8, u64)>,
    pub(crate) after: Option<Vec<u8>>,
}

impl Message for Fetch {
    type Reply = Fetched;
    const NAME: &'static str = "fetch";
    const IDEMPOTENT: bool = true;
}

#[derive(Archive, Serialize)]
pub(crate) struct Fetched {
    pub(crate) origin: Origin,
    pub(crate) documents: Vec<Doc>,
    /// Where to go on, if this is not all: the range, by its place in the question, and the key in
    /// it that this ends with.
    pub(crate) more: Option<(u32, Option<Vec<u8>>)>,
}

/// Keep these tombstones, which are about to be purged (docs/store.md §5.3).
#[derive(Archive, Serialize)]
pub(crate) struct Confirm {
    pub(crate) origin: Origin,
    pub(crate) keyspace: String,
    pub(crate) tombstones: Vec<Named>,
    /// Without whom: node, generation, horizon.
    pub(crate) without: Vec<(u64, u64, u64)>,
}

impl Message for Confirm {
    type Reply = Confirmed;
    const NAME: &'static str = "confirm";
}

#[derive(Archive, Serialize)]
pub(crate) struct Confirmed {
    pub(crate) is_held: bool,
    /// What it sends from now on has this turn or a later one.
    pub(crate) origin: Origin,
    pub(crate) roster: roster::Written,
}

/// All have confirmed: forget them.
#[derive(Archive, Serialize)]
pub(crate) struct Purge {
    pub(crate) keyspace: String,
    pub(crate) tombstones: Vec<Named>,
    /// Node, epoch, count.
    pub(crate) turns: Vec<(u64, u64, u64)>,
}

impl Message for Purge {
    type Reply = ();
    const NAME: &'static str = "purge";
    const IDEMPOTENT: bool = true;
}

/// What is wrong with a message; it has had no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Invalid(pub(crate) &'static str);

impl From<Invalid> for Status {
    fn from(Invalid(what): Invalid) -> Self {
        Self::new(chinwag::Code::AppError, format!("not allowed: {what}"))
    }
}

impl Origin {
    pub(crate) const fn turn(&self) -> Turn {
        Turn { epoch: self.epoch, count: self.count }
    }
}

impl From<&ArchivedOrigin> for Origin {
    fn from(origin: &ArchivedOrigin) -> Self {
        Self {
            epoch: origin.epoch.to_native(),
            count: origin.count.to_native(),
            cleansed: origin.cleansed.to_native(),
        }
    }
}

impl Doc {
    pub(crate) fn new(key: &Key, document: &Document) -> Self {
        Self {
            key: key.as_bytes().to_vec(),
            stamp: document.version.stamp.get(),
            node: document.version.node.get(),
            value: document.value.as_ref().map(|value| value.to_vec()),
        }
    }
}

impl Named {
    pub(crate) fn new(key: &Key, version: Option<Version>) -> Self {
        Self {
            key: key.as_bytes().to_vec(),
            stamp: version.map_or(0, |version| version.stamp.get()),
            node: version.map_or(0, |version| version.node.get()),
        }
    }
}

pub(crate) fn keyspace(name: &str) -> Result<&str, Invalid> {
    if (1..=KEYSPACE_LEN_MAX).contains(&name.len()) {
        Ok(name)
    } else {
        Err(Invalid("the name of the keyspace"))
    }
}

pub(crate) fn key(bytes: &[u8]) -> Result<Key, Invalid> {
    // Copied, so that a key does not keep the message that it came in.
    Key::try_from(bytes).map_err(|_| Invalid("the length of a key"))
}

/// A version that may be stored (docs/store.md §2.3).
fn version(stamp: u64, node: u64) -> Result<Version, Invalid> {
    let stamp = Timestamp::from_raw(stamp);
    if stamp == Timestamp::default() || stamp > Timestamp::MAX {
        return Err(Invalid("a stamp"));
    }
    Ok(Version { stamp, node: NodeId::new(node) })
}

/// All of them, or what is wrong with the first that is not right.
pub(crate) fn documents(docs: &Archived<Vec<Doc>>) -> Result<Vec<(Key, Document)>, Invalid> {
    if docs.len() > BATCH_MAX {
        return Err(Invalid("the number of documents"));
    }
    let mut len = 0;
    let mut documents = Vec::with_capacity(docs.len());
    for doc in docs.iter() {
        let value = doc.value.as_ref().map(|value| Bytes::copy_from_slice(value));
        let value_len = value.as_ref().map_or(0, Bytes::len);
        len += value_len + doc.key.len();
        if value_len > VALUE_LEN_MAX {
            return Err(Invalid("the length of a value"));
        }
        let version = version(doc.stamp.to_native(), doc.node.to_native())?;
        documents.push((key(&doc.key)?, Document { version, value }));
    }
    // An answer is cut after the document that reaches the length; one of several ranges, after the
    // range that does.
    if len > 2 * BATCH_LEN_MAX + VALUE_LEN_MAX + KEY_LEN_MAX {
        return Err(Invalid("the length of all documents"));
    }
    Ok(documents)
}

/// Keys with the version that each has there; `None` where nothing is.
pub(crate) fn questions(
    named: &Archived<Vec<Named>>,
) -> Result<Vec<(Key, Option<Version>)>, Invalid> {
    if named.len() > BATCH_MAX {
        return Err(Invalid("the number of keys"));
    }
    let question = |named: &ArchivedNamed| {
        let stamp = named.stamp.to_native();
        let version = if stamp == 0 { None } else { Some(version(stamp, named.node.to_native())?) };
        Ok((key(&named.key)?, version))
    };
    named.iter().map(question).collect()
}

/// Keys with versions.
pub(crate) fn entries(named: &Archived<Vec<Named>>) -> Result<Vec<(Key, Version)>, Invalid> {
    let entry =
        |(key, version): (Key, Option<Version>)| Ok((key, version.ok_or(Invalid("a stamp"))?));
    questions(named)?.into_iter().map(entry).collect()
}

pub(crate) fn ranges(ranges: &Archived<Vec<(u8, u64)>>, max: usize) -> Result<Vec<Range>, Invalid> {
    debug_assert!(max == COMPARE_MAX || max == RANGES_MAX);
    if ranges.len() > max {
        return Err(Invalid("the number of ranges"));
    }
    let range = |range: &Archived<(u8, u64)>| Range::from_wire(range.0, range.1.to_native());
    ranges.iter().map(|it| range(it).ok_or(Invalid("a range"))).collect()
}

/// Nodes, each with two numbers.
pub(crate) fn triples(
    triples: &Archived<Vec<(u64, u64, u64)>>,
) -> Result<Vec<(NodeId, u64, u64)>, Invalid> {
    // A roster, and who has it.
    if triples.len() > ROSTER_MAX + 1 {
        return Err(Invalid("the number of nodes"));
    }
    let triple = |it: &Archived<(u64, u64, u64)>| {
        (NodeId::new(it.0.to_native()), it.1.to_native(), it.2.to_native())
    };
    Ok(triples.iter().map(triple).collect())
}

impl From<Contents> for Compared {
    fn from(contents: Contents) -> Self {
        match contents {
            Contents::Children(sums) => Self::Children(sums),
            Contents::Listed(list) => {
                let triple = |it: &Listed| (it.hash, it.version.stamp.get(), it.version.node.get());
                Self::Listed(list.iter().map(triple).collect())
            }
        }
    }
}
