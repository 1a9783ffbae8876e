//! What each node believes of each other, against what is true: lives, their order, and the fold of
//! events.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use chinwag_core::id::NodeId;
use chinwag_core::membership::{Event, Member, Metadata, State};

use super::{Check, ensure};

/// A claim's place in the order of claims: epoch, incarnation, state (`docs/protocol.md` §4.2).
pub type Rank = (u64, u32, State);

/// What a machine says of itself beside its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word {
    /// It has said goodbye.
    pub has_left: bool,
    /// So often has it refuted.
    pub refutations: u64,
}

/// The rank of what stands in `member`.
pub fn rank(member: &Member) -> Rank {
    (member.epoch.get(), member.incarnation.get(), member.state)
}

/// The id of the node with this index.
pub const fn id(node: u32) -> NodeId {
    NodeId::new(node as u64 + 1)
}

/// The index of the node with this id, if it is one of `nodes`.
pub fn index(id: NodeId, nodes: usize) -> Option<u32> {
    let at = id.get().checked_sub(1).filter(|&at| at < nodes as u64)?;
    u32::try_from(at).ok()
}

/// Every node's view of every other, folded from its events, and every life that a node has really
/// begun.
#[derive(Debug)]
pub struct Views {
    nodes: usize,
    seen: Vec<Option<Rank>>,
    live: Vec<usize>,
    /// Per node, the highest incarnation of each epoch that it has begun.
    issued: Vec<BTreeMap<u64, u32>>,
    own: Vec<Option<Rank>>,
    /// What each node last said of its present run, and how often it had refuted by then.
    word: Vec<Option<(Member, Word)>>,
    /// Per node, the address and metadata that it has had, and in which epoch.
    details: Vec<Vec<(u64, SocketAddr, Metadata)>>,
    /// Payloads broadcast by anybody, and those that each run has been given.
    broadcasts: BTreeSet<Vec<u8>>,
    given: Vec<BTreeSet<Vec<u8>>>,
    /// Whether bytes are forged: then nobody's word is bound to have been given.
    forges: bool,
}

impl Views {
    /// `nodes` nodes that know nobody. With `forges`, lives need not have been begun by their
    /// owner.
    pub fn new(nodes: usize, forges: bool) -> Self {
        Self {
            nodes,
            seen: vec![None; nodes * nodes],
            live: vec![0; nodes],
            issued: vec![BTreeMap::new(); nodes],
            own: vec![None; nodes],
            word: vec![None; nodes],
            details: vec![Vec::new(); nodes],
            broadcasts: BTreeSet::new(),
            given: vec![BTreeSet::new(); nodes],
            forges,
        }
    }

    /// Whether bytes are forged from now on: a story may ask for that while it runs.
    pub fn set_forges(&mut self, forges: bool) {
        self.forges = forges;
    }

    /// What `observer` believes of `subject`, by its events.
    pub fn of(&self, observer: u32, subject: u32) -> Option<Rank> {
        self.seen[observer as usize * self.nodes + subject as usize]
    }

    /// Other members in the view of `observer`, by its events.
    pub fn live_count(&self, observer: u32) -> usize {
        self.live[observer as usize]
    }

    /// `node` runs anew and knows nobody.
    pub fn started(&mut self, node: u32) {
        let row = node as usize * self.nodes;
        self.seen[row..row + self.nodes].fill(None);
        self.live[node as usize] = 0;
        self.own[node as usize] = None;
        self.word[node as usize] = None;
        self.given[node as usize].clear();
    }

    /// What `node` says of itself has changed.
    ///
    /// # Errors
    /// `self_is_alive`.
    pub fn local(&mut self, node: u32, local: &Member, has_left: bool) -> Check {
        let now = rank(local);
        let expected = if has_left { State::Left } else { State::Alive };
        ensure(local.state == expected, "self_is_alive", || {
            format!("node {node} holds itself {}, expected {expected}", local.state)
        })?;
        let before = self.own[node as usize].replace(now);
        ensure(before.is_none_or(|before| before <= now), "self_is_alive", || {
            format!("node {node} went back from {before:?} to {now:?}")
        })?;
        let highest = self.issued[node as usize].entry(now.0).or_insert(0);
        *highest = now.1.max(*highest);
        Ok(())
    }

    /// What `node` says of itself at the end of a step in which its view has changed.
    ///
    /// # Errors
    /// `own_life`.
    pub fn life(&mut self, node: u32, local: &Member, word: Word) -> Check {
        let at = node as usize;
        let epoch = local.epoch.get();
        let is_known = self.details[at].iter().any(|(of, addr, metadata)| {
            *of == epoch && *addr == local.addr && *metadata == local.metadata
        });
        if !is_known {
            self.details[at].push((epoch, local.addr, local.metadata.clone()));
        }
        let Some((before, then)) = self.word[at].replace((local.clone(), word)) else {
            return Ok(());
        };
        let is_same = before.epoch == local.epoch && before.incarnation == local.incarnation;
        let has_cause = word.refutations > then.refutations || before.metadata != local.metadata;
        ensure(is_same || (has_cause && !then.has_left), "own_life", || {
            format!("node {node} went from {before:?} to {local:?}, {then:?} to {word:?}")
        })
    }

    /// Somebody broadcast this payload.
    pub fn broadcast(&mut self, payload: &[u8]) {
        self.broadcasts.insert(payload.to_vec());
    }

    /// `observer` is told of something.
    ///
    /// # Errors
    /// `event_order`, `incarnation_lattice`, `no_resurrection`, `no_forged_incarnation`,
    /// `broadcast_once`, `events_fold`.
    pub fn event(&mut self, observer: u32, event: &Event) -> Check {
        let member = match event {
            Event::Joined(member)
            | Event::Suspected(member)
            | Event::Recovered(member)
            | Event::Updated(member)
            | Event::Died(member)
            | Event::Left(member) => member,
            Event::Broadcast { payload, .. } => return self.was_given(observer, payload),
            Event::Lost(count) => {
                return ensure(false, "resources", || {
                    format!("node {observer} lost {count} events")
                });
            }
            _ => return Ok(()),
        };
        let Some(subject) = self.index(member.id) else {
            return ensure(self.forges, "no_forged_incarnation", || {
                format!("node {observer} is told of {}, whom nobody started", member.id)
            });
        };
        let now = rank(member);
        let at = observer as usize * self.nodes + subject as usize;
        let before = self.seen[at];
        let told = || format!("node {observer} of node {subject}: {before:?}, then {event:?}");
        ensure(observer != subject, "event_order", || {
            format!("node {observer} is told of itself: {event:?}")
        })?;
        if let Some(before) = before {
            let is_risen =
                !before.2.is_live() && now.2.is_live() && (now.0, now.1) <= (before.0, before.1);
            ensure(!is_risen, "no_resurrection", told)?;
            let is_lower = now < before || (now == before && !matches!(event, Event::Updated(_)));
            ensure(!is_lower, "incarnation_lattice", told)?;
        }
        ensure(is_in_order(before, event, now), "event_order", told)?;
        let begun = self.issued[subject as usize].get(&now.0).copied();
        ensure(
            self.forges || begun.is_some_and(|begun| now.1 <= begun),
            "no_forged_incarnation",
            || format!("{}; it has begun {begun:?} of that epoch", told()),
        )?;
        // A tombstone has no details to speak of.
        let is_owners = !now.2.is_live()
            || self.details[subject as usize].iter().any(|(epoch, addr, metadata)| {
                *epoch == now.0 && *addr == member.addr && *metadata == member.metadata
            });
        ensure(self.forges || is_owners, "owners_word", || {
            format!("{}; it has had {:?}", told(), self.details[subject as usize])
        })?;
        let (was_live, is_live) =
            (before.is_some_and(|before| before.2.is_live()), now.2.is_live());
        self.seen[at] = Some(now);
        self.live[observer as usize] += usize::from(is_live);
        self.live[observer as usize] -= usize::from(was_live);
        Ok(())
    }

    /// What `get` answers `observer` about one that an event was about.
    ///
    /// # Errors
    /// `events_fold`, `incarnation_lattice`.
    pub fn got(&self, observer: u32, subject: u32, got: Option<&Member>) -> Check {
        let (seen, got) = (self.of(observer, subject), got.map(rank));
        let told =
            || format!("node {observer} of node {subject}: events say {seen:?}, get says {got:?}");
        match (seen, got) {
            (Some(seen), got) if seen.2.is_live() => ensure(got == Some(seen), "events_fold", told),
            (Some(seen), Some(got)) if !got.2.is_live() => {
                ensure(got >= seen, "incarnation_lattice", told)
            }
            (_, got) => ensure(got.is_none_or(|got| !got.2.is_live()), "events_fold", told),
        }
    }

    /// The whole view of `observer`, against its events.
    ///
    /// # Errors
    /// `events_fold`.
    pub fn snapshot(&self, observer: u32, members: &[Member], live_count: usize) -> Check {
        let known =
            members.iter().filter_map(|member| Some((self.index(member.id)?, rank(member))));
        let row = &self.seen[observer as usize * self.nodes..][..self.nodes];
        let folded = (0u32..).zip(row).filter_map(|(subject, seen)| Some((subject, (*seen)?)));
        let is_equal = known.eq(folded.filter(|(_, seen)| seen.2.is_live()));
        let is_counted = members.len() == live_count;
        ensure(is_equal && is_counted, "events_fold", || {
            format!(
                "node {observer}: events give {row:?}, the snapshot {members:?}, counted as \
                    {live_count}"
            )
        })
    }

    /// The node with this id.
    pub fn index(&self, id: NodeId) -> Option<u32> {
        index(id, self.nodes)
    }

    fn was_given(&mut self, observer: u32, payload: &[u8]) -> Check {
        let is_known = self.forges || self.broadcasts.contains(payload);
        let is_new = self.given[observer as usize].insert(payload.to_vec()) || self.forges;
        ensure(is_known && is_new, "broadcast_once", || {
            format!("node {observer} is given {payload:?}: made {is_known}, new {is_new}")
        })
    }
}

/// §4.13: what may follow what.
fn is_in_order(before: Option<Rank>, event: &Event, now: Rank) -> bool {
    let live = before.filter(|before| before.2.is_live());
    let same_run = live.filter(|live| live.0 == now.0);
    match event {
        Event::Joined(_) => now.2.is_live() && same_run.is_none(),
        Event::Suspected(_) => {
            now.2 == State::Suspect && same_run.is_some_and(|was| was.2 == State::Alive)
        }
        Event::Recovered(_) => {
            now.2 == State::Alive && same_run.is_some_and(|was| was.2 == State::Suspect)
        }
        Event::Updated(_) => same_run.is_some_and(|was| was.2 == now.2),
        Event::Died(_) => now.2 == State::Dead && live.is_some(),
        Event::Left(_) => now.2 == State::Left && live.is_some(),
        _ => true,
    }
}
