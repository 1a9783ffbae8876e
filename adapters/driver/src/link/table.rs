//! [`Links`]: every connection of a node, and which one to use for whom.
//!
//! A connection is opened when somebody needs it, kept, and used by both ends for calls and gossip.
//! When two nodes dial each other at once, both keep the connection that the lower id dialled; the
//! other one is retired: it takes no new calls, and its dialler closes it once it is quiet.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use chinwag_core::id::{Epoch, NodeId};
use chinwag_core::membership::{Destination, Member};
use chinwag_core::rng::Rng;
use chinwag_core::rpc::Receiver;
use chinwag_core::time::{Instant, Now};

use crate::base::limits::{BACKOFF_MAX, BACKOFF_MIN, BACKOFFS_MAX};
use crate::base::runtime::Stream;
use crate::base::state::NodeState;
use crate::base::sync::lock;
use crate::link::handle::Link;
use crate::link::serve::Serve;
use crate::link::strangers::{Host, has_room};
use crate::link::task::{LinkTask, Origin};
use crate::stats::counters::Counters;

pub(crate) struct Links {
    pub(crate) node: Arc<NodeState>,
    pub(crate) counters: Counters,
    /// Answers the calls of peers. Gone once the node has ended.
    serve: Weak<dyn Serve>,
    table: Mutex<Table>,
    /// What the table has by peer, to be read by every call without a lock.
    routes: ArcSwap<Routes>,
    /// Batches of answers that have come, over whichever connection.
    batches: AtomicU64,
}

type Routes = BTreeMap<NodeId, Arc<Link>>;

/// Ordered maps throughout: what is iterated shows in the order of what happens.
struct Table {
    next_key: u64,
    all: BTreeMap<u64, Arc<Link>>,
    /// How many of them there may be.
    connections_max: usize,
    /// The one to use for a peer: connected to the run that membership holds, or dialled for it.
    by_peer: Routes,
    /// The run of each member that membership holds.
    held: BTreeMap<NodeId, Epoch>,
    /// The one that was dialled to an address, for those who know no id.
    by_addr: BTreeMap<SocketAddr, Arc<Link>>,
    /// All that are connected to a peer.
    of_peer: BTreeMap<(NodeId, u64), Arc<Link>>,
    /// By address, and by who was wanted there: another member may have taken the address.
    backoffs: BTreeMap<Place, Backoff>,
    rng: Rng,
    is_closed: bool,
}

type Place = (SocketAddr, Option<NodeId>);

struct Backoff {
    failures: u32,
    until: Instant,
    /// What the last dial came to.
    trouble: Option<String>,
}

/// Why there is no link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoLink {
    /// The node has ended.
    Closed,
    /// There are too many connections.
    TooMany,
}

/// What to do with a link whose peer has said who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Keep,
    Close,
}

/// What membership said about a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gone {
    /// It is dead in this epoch.
    Died,
    /// It left in this epoch.
    Left,
}

impl Links {
    pub(crate) fn new(
        node: Arc<NodeState>,
        serve: Weak<dyn Serve>,
        seed: u64,
        connections_max: usize,
    ) -> Self {
        let table = Table {
            next_key: 0,
            all: BTreeMap::new(),
            connections_max,
            by_peer: BTreeMap::new(),
            held: BTreeMap::new(),
            by_addr: BTreeMap::new(),
            of_peer: BTreeMap::new(),
            backoffs: BTreeMap::new(),
            rng: Rng::new(seed),
            is_closed: false,
        };
        Self {
            node,
            counters: Counters::default(),
            serve,
            table: Mutex::new(table),
            routes: ArcSwap::default(),
            batches: AtomicU64::new(0),
        }
    }

    pub(crate) fn len(&self) -> usize {
        lock(&self.table).all.len()
    }

    /// The link to `peer` that is there already.
    pub(crate) fn find(&self, peer: NodeId) -> Option<Arc<Link>> {
        self.routes.load().get(&peer).filter(|link| link.is_usable()).cloned()
    }

    /// A batch of answers has come: its number.
    pub(crate) fn count_batch(&self) -> u64 {
        self.batches.fetch_add(1, Ordering::Relaxed)
    }

    /// What the table has by peer has changed.
    fn publish(&self, table: &Table) {
        self.routes.store(Arc::new(table.by_peer.clone()));
    }

    /// The link to `to`, dialled if need be.
    pub(crate) fn find_or_dial(
        self: &Arc<Self>,
        now: Now,
        to: Destination,
    ) -> Result<Arc<Link>, NoLink> {
        let serve = self.serve.upgrade().ok_or(NoLink::Closed)?;
        let (link, receiver, not_before, trouble) = {
            let mut table = lock(&self.table);
            if table.is_closed {
                return Err(NoLink::Closed);
            }
            let known = match to.id {
                Some(id) => table.by_peer.get(&id),
                None => table.by_addr.get(&to.addr),
            };
            if let Some(link) = known.filter(|link| link.is_usable()) {
                return Ok(link.clone());
            }
            let (link, receiver) = table.add(&self.node, now, Some(to), None)?;
            if let Some(id) = to.id {
                table.by_peer.insert(id, link.clone());
                self.publish(&table);
            }
            table.by_addr.insert(to.addr, link.clone());
            let backoff = table.backoffs.get(&(to.addr, to.id));
            let not_before = backoff.map_or(now.mono, |backoff| backoff.until);
            (link, receiver, not_before, backoff.and_then(|backoff| backoff.trouble.clone()))
        };
        if let Some(trouble) = trouble {
            link.remember_trouble(trouble);
        }
        let (key, addr) = (link.key, to.addr);
        tracing::debug!(target: "chinwag::link", link = key, %addr, id = ?to.id, "dialling");
        LinkTask::spawn(self, serve, link.clone(), receiver, Origin::Dial(not_before));
        Ok(link)
    }

    /// Takes a connection in, unless there are too many: then it is dropped, which closes it.
    pub(crate) fn accept(self: &Arc<Self>, now: Now, stream: Box<dyn Stream>) {
        let Some(serve) = self.serve.upgrade() else { return };
        let host = stream.peer_addr().ok().map(|addr| Host::of(addr.ip()));
        let added = {
            let mut table = lock(&self.table);
            if table.is_closed {
                Err(NoLink::Closed)
            } else if table.has_room_for_strangers(host) {
                table.add(&self.node, now, None, host)
            } else {
                Err(NoLink::TooMany)
            }
        };
        match added {
            Ok((link, receiver)) => {
                self.counters.accepted.add(1);
                LinkTask::spawn(self, serve, link, receiver, Origin::Accepted(stream));
            }
            Err(NoLink::TooMany) => self.counters.connections_refused.add(1),
            Err(NoLink::Closed) => {}
        }
    }

    /// The peer of `link` has said who it is. That decides nothing about who holds its id: a
    /// connection to another run than the one that membership holds carries gossip, and no calls
    /// of this node (docs/protocol.md §4.9.5).
    pub(crate) fn connected(&self, link: &Arc<Link>, now: Now) -> Verdict {
        let Some(peer) = link.peer() else { return Verdict::Close };
        // Before the table is locked: callers lock a link first.
        let has_calls = link.has_calls();
        let mut table = lock(&self.table);
        let is_held = table.held.get(&peer.id).is_none_or(|epoch| *epoch == peer.epoch);
        if let Some(target) = link.target {
            // Another node that was given this id may have started in the same millisecond.
            let is_self = peer.id == self.node.id
                && peer.epoch == self.node.epoch()
                && peer.addr == self.node.addr;
            let is_other = target.id.is_some_and(|id| id != peer.id);
            if is_self || is_other || target.id.is_some() && !is_held && has_calls {
                // A dial that has not reached the run that was wanted has failed.
                let trouble = if is_other || is_self {
                    wrong_peer_text(target, peer.id)
                } else {
                    format!("another run of node {} answers there", peer.id)
                };
                self.counters.dials_failed.add(1);
                table.back_off((target.addr, target.id), now.mono, Some(trouble.clone()));
                drop(table);
                link.remember_trouble(trouble);
                return Verdict::Close;
            }
            table.backoffs.remove(&(target.addr, target.id));
        }
        table.of_peer.insert((peer.id, link.key), link.clone());
        if peer.id == self.node.id {
            // Somebody else claims this node's id. Gossip may pass, so that both hear of it; calls
            // do not go there.
            drop(table);
            link.retire();
            return Verdict::Keep;
        }
        if !is_held {
            // It may have been dialled for the run that is held.
            if table.route(peer.id, self.node.id) {
                self.publish(&table);
            }
            return Verdict::Keep;
        }
        let rival = table.by_peer.get(&peer.id).filter(|rival| rival.key != link.key).cloned();
        let Some(rival) = rival.filter(|rival| rival.is_usable()) else {
            table.by_peer.insert(peer.id, link.clone());
            self.publish(&table);
            return Verdict::Keep;
        };
        let (winner, loser) = if supersedes(link, &rival, self.node.id) {
            (link.clone(), rival)
        } else {
            (rival, link.clone())
        };
        table.by_peer.insert(peer.id, winner.clone());
        self.publish(&table);
        // What ends with a connection, and who is woken, is user code.
        drop(table);
        loser.retire();
        Verdict::Keep
    }

    /// `link` has ended.
    pub(crate) fn remove(&self, link: &Arc<Link>, now: Now) {
        let mut table = lock(&self.table);
        table.all.remove(&link.key);
        if let Some(target) = link.target {
            if table.by_addr.get(&target.addr).is_some_and(|known| known.key == link.key) {
                table.by_addr.remove(&target.addr);
            }
            if link.peer().is_none() && !table.is_closed {
                self.counters.dials_failed.add(1);
                table.back_off((target.addr, target.id), now.mono, link.trouble());
            }
        }
        let peers = [link.peer().map(|peer| peer.id), link.target.and_then(|target| target.id)];
        for peer in peers.into_iter().flatten() {
            table.of_peer.remove(&(peer, link.key));
            if table.by_peer.get(&peer).is_some_and(|known| known.key == link.key) {
                // A connection the peer dialled may be left, where this node's dial came to
                // nothing.
                table.by_peer.remove(&peer);
                let _ = table.route(peer, self.node.id);
                self.publish(&table);
            }
        }
    }

    /// Membership holds this run of `member` from now on: calls go to it alone, and those that are
    /// open to the run before it end (docs/protocol.md §4.9.5).
    pub(crate) fn hold(&self, member: &Member, now: Now) {
        let Member { id: peer, epoch, addr, .. } = *member;
        let mut table = lock(&self.table);
        let before = table.held.insert(peer, epoch);
        let is_over = |link: &&Arc<Link>| match link.peer_epoch() {
            Some(of_link) => of_link < epoch || of_link != epoch && Some(of_link) == before,
            // Still being dialled: for the run that has just begun if that is where it is, else for
            // one that is over.
            None => link.target.is_some_and(|target| target.addr != addr),
        };
        let over = table.end_links(peer, is_over);
        if table.route(peer, self.node.id) {
            self.publish(&table);
        }
        // What ends with a connection, and who is woken, is user code.
        drop(table);
        over.iter().for_each(|link| link.peer_gone(now));
    }

    /// Membership says that `peer` is gone: its pending calls end, at once unless it left in good
    /// order.
    pub(crate) fn peer_gone(&self, peer: &Member, gone: Gone, now: Now) {
        let Member { id: peer, epoch, .. } = *peer;
        let mut table = lock(&self.table);
        if table.held.get(&peer) == Some(&epoch) {
            table.held.remove(&peer);
        }
        let affected =
            table.end_links(peer, |link| link.peer_epoch().is_none_or(|of_link| of_link <= epoch));
        if table.route(peer, self.node.id) {
            self.publish(&table);
        }
        // What ends with a connection, and who is woken, is user code.
        drop(table);
        for link in affected {
            if gone == Gone::Left { link.peer_left(now) } else { link.peer_gone(now) }
        }
    }

    /// Forgets that dialling `addr` failed: there is news of a member there.
    pub(crate) fn forget_failures(&self, addr: SocketAddr) {
        lock(&self.table).backoffs.retain(|(at, _), _| *at != addr);
    }

    /// The node leaves: every connection goes away, and closes once it has drained.
    pub(crate) fn drain(&self, now: Now) {
        self.links().iter().for_each(|link| link.drain(now));
    }

    /// Whether a call is in flight over any connection, either way, or may be on its way here from
    /// a peer that is waited for.
    pub(crate) fn is_busy(&self, awaits_peers: bool) -> bool {
        self.links().iter().any(|link| link.is_busy(awaits_peers))
    }

    fn links(&self) -> Vec<Arc<Link>> {
        lock(&self.table).all.values().cloned().collect()
    }

    /// The node ends: wakes every connection's task, and takes no more.
    pub(crate) fn close(&self) {
        let links = {
            let mut table = lock(&self.table);
            table.is_closed = true;
            table.all.values().cloned().collect::<Vec<_>>()
        };
        links.iter().for_each(|link| link.bell.ring());
    }
}

impl Table {
    fn add(
        &mut self,
        node: &NodeState,
        now: Now,
        target: Option<Destination>,
        host: Option<Host>,
    ) -> Result<(Arc<Link>, Receiver), NoLink> {
        if self.all.len() >= self.connections_max {
            return Err(NoLink::TooMany);
        }
        let key = self.next_key;
        self.next_key += 1;
        let (link, receiver) = Link::new(node, key, target, host, now);
        self.all.insert(key, link.clone());
        Ok((link, receiver))
    }

    /// Whether somebody who is not known may connect from `host` (docs/protocol.md §5.7.8).
    fn has_room_for_strangers(&self, host: Option<Host>) -> bool {
        let is_held = |link: &Link| {
            link.peer().is_some_and(|peer| self.held.get(&peer.id) == Some(&peer.epoch))
        };
        let accepted = self.all.values().filter(|link| link.target.is_none() && !is_held(link));
        let hosts = accepted.map(|link| link.host);
        has_room(self.connections_max, self.all.len(), host, hosts)
    }

    /// Takes no new calls on those links to `peer` that `is_over` names, and returns them.
    fn end_links(&mut self, peer: NodeId, is_over: impl Fn(&&Arc<Link>) -> bool) -> Vec<Arc<Link>> {
        let connected = self.of_peer.range((peer, 0)..=(peer, u64::MAX)).map(|(_, link)| link);
        let dialed = self.by_peer.get(&peer).filter(|link| link.peer().is_none());
        let over: Vec<_> = connected.chain(dialed).filter(is_over).cloned().collect();
        over.iter().for_each(|link| link.is_usable.store(false, Ordering::SeqCst));
        over
    }

    /// Chooses the link to use for `peer`: one to the run that membership holds, or to any run
    /// while it holds none, or one that is being dialled.
    /// Returns whether that is another one than before.
    fn route(&mut self, peer: NodeId, local: NodeId) -> bool {
        let held = self.held.get(&peer);
        let fits = |link: &&Arc<Link>| {
            let epoch = link.peer_epoch();
            link.is_usable() && (epoch.is_none() || held.is_none() || epoch.as_ref() == held)
        };
        let connected = self.of_peer.range((peer, 0)..=(peer, u64::MAX)).map(|(_, link)| link);
        let dialed = self.by_peer.get(&peer).filter(|link| link.peer().is_none());
        let best = connected
            .chain(dialed)
            .filter(fits)
            .reduce(|best, link| if supersedes(link, best, local) { link } else { best })
            .cloned();
        let key = best.as_ref().map(|link| link.key);
        let before = match best {
            Some(link) => self.by_peer.insert(peer, link),
            None => self.by_peer.remove(&peer),
        };
        key != before.map(|link| link.key)
    }

    fn back_off(&mut self, place: Place, now: Instant, trouble: Option<String>) {
        if self.backoffs.len() >= BACKOFFS_MAX && !self.backoffs.contains_key(&place) {
            // Those that are over mean nothing more than a higher count of failures.
            self.backoffs.retain(|_, backoff| backoff.until > now);
            if self.backoffs.len() >= BACKOFFS_MAX {
                return;
            }
        }
        let failures = self.backoffs.get(&place).map_or(0, |backoff| backoff.failures);
        let wait = backoff(failures, &mut self.rng);
        let failures = failures.saturating_add(1);
        self.backoffs.insert(place, Backoff { failures, until: now + wait, trouble });
    }
}

/// What a dial came to that reached somebody else.
fn wrong_peer_text(target: Destination, there: NodeId) -> String {
    let addr = target.addr;
    match target.id {
        Some(wanted) => format!("cannot connect to node {wanted} at {addr}: node {there} is there"),
        None => format!("cannot connect to the node at {addr}: it is this node"),
    }
}

/// The wait after `failures` failures and one more: doubled each time up to the longest, less up to
/// half of it.
fn backoff(failures: u32, rng: &mut Rng) -> Duration {
    let full = BACKOFF_MIN.saturating_mul(1 << failures.min(16)).min(BACKOFF_MAX);
    let half = full / 2;
    let jitter = rng.below_u64(u64::try_from(half.as_nanos()).unwrap_or(u64::MAX));
    full - Duration::from_nanos(jitter)
}

/// Whether `link` takes the place of `rival`, both to one peer. A later run of the peer wins; of
/// one run, the lower dialler's wins on both sides alike; of one dialler, the newer does, since it
/// dials only when the old one is no use.
pub(super) fn supersedes(link: &Link, rival: &Link, local: NodeId) -> bool {
    if let (Some(ours), Some(theirs)) = (link.peer_epoch(), rival.peer_epoch())
        && ours != theirs
    {
        return ours > theirs;
    }
    match (link.dialer(local), rival.dialer(local)) {
        (Some(ours), Some(theirs)) if ours != theirs => ours < theirs,
        _ => link.key > rival.key,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_to_its_limit_and_keeps_at_least_half() {
        let mut rng = Rng::new(1);
        let mut full = BACKOFF_MIN;
        for failures in 0..40 {
            let wait = backoff(failures, &mut rng);
            assert!(wait <= full && wait >= full / 2, "{failures}: {wait:?} of {full:?}");
            full = (full * 2).min(BACKOFF_MAX);
        }
    }
}
