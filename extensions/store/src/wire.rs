//! What replicas say to each other, and the check of what they are told (docs/store.md §6.1).

use chinwag::{Bytes, Epoch, Message, NodeId, Status};
use rkyv::Archived;
use rkyv::{Archive, Serialize};

use crate::claims::{Bounds, GenerationClaim, StampClaim, TurnClaim};
use crate::document::{Document, Version};
use crate::index::{Contents, Listed};
use crate::key::Key;
use crate::limits::{
    BATCH_LEN_MAX, BATCH_MAX, COMPARE_MAX, KEY_LEN_MAX, KEYSPACE_LEN_MAX, RANGES_MAX, ROSTER_MAX,
    VALUE_LEN_MAX,
};
use crate::range::Range;
use crate::roster::{self, Absence};

/// When a replica read what it sends: a message whose turn is before its sender's confirmation of a
/// purge is refused (docs/store.md §5.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Turn {
    pub(crate) epoch: u64,
    pub(crate) count: u64,
}

/// What every message with documents says of its sender.
#[derive(Clone, Copy, Debug, Archive, Serialize)]
pub(crate) struct OriginClaim {
    pub(crate) turn: TurnClaim,
    /// The generation of its absence that it is cleansed of.
    pub(crate) cleansed: GenerationClaim,
    /// The ticket that the receiver has given it last.
    pub(crate) ticket: Ticket,
}

/// The number of purges that a run of a replica has taken part in. A message that was composed
/// after its sender got the ticket is past all of them (docs/store.md §5.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Archive, Serialize)]
pub(crate) struct Ticket {
    pub(crate) epoch: u64,
    pub(crate) purges: u64,
}

/// [`OriginClaim`] after it was checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    pub(crate) turn: Turn,
    pub(crate) cleansed: u64,
    pub(crate) ticket: Ticket,
}

#[derive(Clone, Debug, Archive, Serialize)]
pub(crate) struct Doc {
    pub(crate) key: Vec<u8>,
    pub(crate) stamp: StampClaim,
    pub(crate) node: u64,
    pub(crate) value: Option<Vec<u8>>,
}

/// A key and a version of it.
#[derive(Clone, Debug, Archive, Serialize)]
pub(crate) struct Named {
    pub(crate) key: Vec<u8>,
    pub(crate) stamp: StampClaim,
    pub(crate) node: u64,
}

/// Keep these.
#[derive(Archive, Serialize)]
pub(crate) struct Replicate {
    pub(crate) origin: OriginClaim,
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
    /// They were read before their sender confirmed a purge. Read them again, and show the
    /// ticket.
    Stale { ticket: Ticket },
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
    pub(crate) origin: OriginClaim,
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
    pub(crate) roster: roster::Told,
}

impl Message for Roots {
    type Reply = RootsReply;
    const NAME: &'static str = "roots";
    const IDEMPOTENT: bool = true;
}

#[derive(Archive, Serialize)]
pub(crate) struct RootsReply {
    pub(crate) roster: roster::Told,
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
    pub(crate) origin: OriginClaim,
    pub(crate) documents: Vec<Doc>,
    /// Where to go on, if this is not all: the range, by its place in the question, and the key in
    /// it that this ends with.
    pub(crate) more: Option<(u32, Option<Vec<u8>>)>,
}

/// Keep these tombstones, which are about to be purged (docs/store.md §5.3).
#[derive(Archive, Serialize)]
pub(crate) struct Confirm {
    pub(crate) origin: OriginClaim,
    pub(crate) keyspace: String,
    pub(crate) tombstones: Vec<Named>,
    /// Without whom.
    pub(crate) without: Vec<(u64, roster::AbsenceClaim)>,
}

impl Message for Confirm {
    type Reply = Confirmed;
    const NAME: &'static str = "confirm";
}

#[derive(Archive, Serialize)]
pub(crate) struct Confirmed {
    pub(crate) is_held: bool,
    /// What it sends from now on has this turn or a later one.
    pub(crate) origin: OriginClaim,
    pub(crate) roster: roster::Told,
}

/// All have confirmed: forget them.
#[derive(Archive, Serialize)]
pub(crate) struct Purge {
    pub(crate) keyspace: String,
    pub(crate) tombstones: Vec<Named>,
    /// Of which turn on messages of each node are taken.
    pub(crate) turns: Vec<(u64, TurnClaim)>,
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

impl From<Origin> for OriginClaim {
    fn from(Origin { turn, cleansed, ticket }: Origin) -> Self {
        Self { turn: turn.into(), cleansed: cleansed.into(), ticket }
    }
}

impl ArchivedOriginClaim {
    /// Of a message, whose sender's connection was opened by the run `epoch`.
    pub(crate) fn check(&self, epoch: Epoch) -> Result<Origin, Invalid> {
        Ok(Origin {
            turn: self.turn.check_own(epoch)?,
            cleansed: self.cleansed.check("the generation that the sender is cleansed of")?,
            ticket: self.ticket.check(),
        })
    }

    /// Of an answer to a question that was asked when the asker's ticket was `asked`: what is in
    /// the answer was read after that.
    pub(crate) fn check_answer(&self, asked: Ticket) -> Result<Origin, Invalid> {
        Ok(Origin {
            turn: self.turn.of_answer(),
            cleansed: self.cleansed.check("the generation that the sender is cleansed of")?,
            ticket: asked,
        })
    }
}

impl ArchivedTicket {
    /// The ticket. The receiver knows which ones it has given.
    pub(crate) fn check(&self) -> Ticket {
        Ticket { epoch: self.epoch.to_native(), purges: self.purges.to_native() }
    }
}

impl Doc {
    pub(crate) fn new(key: &Key, document: &Document) -> Self {
        Self {
            key: key.as_bytes().to_vec(),
            stamp: document.version.stamp.into(),
            node: document.version.node.get(),
            value: document.value.as_ref().map(|value| value.to_vec()),
        }
    }
}

impl Named {
    pub(crate) fn new(key: &Key, version: Option<Version>) -> Self {
        Self {
            key: key.as_bytes().to_vec(),
            stamp: version.map(|version| version.stamp).unwrap_or_default().into(),
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

/// All of them, or what is wrong with the first that is not right.
pub(crate) fn documents(
    docs: &Archived<Vec<Doc>>,
    bounds: &Bounds,
) -> Result<Vec<(Key, Document)>, Invalid> {
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
        let stamp = doc.stamp.check(bounds)?;
        let version = Version { stamp, node: NodeId::new(doc.node.to_native()) };
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
    bounds: &Bounds,
) -> Result<Vec<(Key, Option<Version>)>, Invalid> {
    if named.len() > BATCH_MAX {
        return Err(Invalid("the number of keys"));
    }
    let question = |named: &ArchivedNamed| {
        let version = |stamp| Version { stamp, node: NodeId::new(named.node.to_native()) };
        Ok((key(&named.key)?, named.stamp.check_optional(bounds)?.map(version)))
    };
    named.iter().map(question).collect()
}

/// Keys with versions.
pub(crate) fn entries(
    named: &Archived<Vec<Named>>,
    bounds: &Bounds,
) -> Result<Vec<(Key, Version)>, Invalid> {
    let entry =
        |(key, version): (Key, Option<Version>)| Ok((key, version.ok_or(Invalid("a stamp"))?));
    questions(named, bounds)?.into_iter().map(entry).collect()
}

pub(crate) fn ranges(ranges: &Archived<Vec<(u8, u64)>>, max: usize) -> Result<Vec<Range>, Invalid> {
    debug_assert!(max == COMPARE_MAX || max == RANGES_MAX);
    if ranges.len() > max {
        return Err(Invalid("the number of ranges"));
    }
    let range = |range: &Archived<(u8, u64)>| Range::from_wire(range.0, range.1.to_native());
    ranges.iter().map(|it| range(it).ok_or(Invalid("a range"))).collect()
}

/// Of which turn on messages of each node are taken.
pub(crate) fn turns(
    turns: &Archived<Vec<(u64, TurnClaim)>>,
) -> Result<Vec<(NodeId, Turn)>, Invalid> {
    // A roster, and who has it.
    if turns.len() > ROSTER_MAX + 1 {
        return Err(Invalid("the number of turns"));
    }
    Ok(turns.iter().map(|it| (NodeId::new(it.0.to_native()), it.1.of_third())).collect())
}

/// Whom a purge is to be without.
pub(crate) fn without(
    without: &Archived<Vec<(u64, roster::AbsenceClaim)>>,
    bounds: &Bounds,
) -> Result<Vec<(NodeId, Absence)>, Invalid> {
    if without.len() > ROSTER_MAX {
        return Err(Invalid("the number of nodes that are absent"));
    }
    let absence = |it: &Archived<(u64, roster::AbsenceClaim)>| {
        Ok((NodeId::new(it.0.to_native()), it.1.check(bounds, "an absence")?))
    };
    without.iter().map(absence).collect()
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
