//! Who is in the cluster, and who of them is alive.
//!
//! ```text
//!   datagrams, gossip frames, time            verbs: join, leave, set_metadata, broadcast, send
//!             |                                              |
//!         handle_*                                           v
//!             v      +------------------------------- Membership -------------------------------+
//!             +----->| Table + Ring   Probe  Suspicions  Rumors   Sync   Join   Relays   Checks |
//!                    +----------+------------------------+-------------------------+------------+
//!                               v                        v                         v
//!                      poll_transmit(&mut buf)      poll_event()            poll_timeout()
//! ```
//!
//! [`Membership`] is SWIM with all of Lifeguard: randomised round-robin probes with indirect and
//! stream-plane pings, suspicions that shrink with independent confirmations, refutation, rumours
//! on every datagram, and anti-entropy by digest. `docs/protocol.md` §4 is its specification; code
//! cites the rule it implements.
//!
//! It is a function of its inputs: no socket, clock, thread or chance but the seed. The driver's
//! loop is
//!
//! ```text
//! loop {
//!     wait until a datagram, a gossip frame, a command, or the instant of poll_timeout()
//!     handle_*(now, …)
//!     while let Some(transmit) = poll_transmit(now, &mut buf) { send buf }
//!     while let Some(event) = poll_event() { publish }
//!     if poll_lookup() { look the seeds up, then handle_seeds(now, addresses) }
//! }
//! ```
//!
//! It is not a consensus protocol: views of different members differ for moments, and two sides of
//! a partition both go on. Ownership of anything belongs to something that agrees.

mod admit;
mod apply;
mod awareness;
mod broadcast;
mod config;
mod event;
mod hash;
mod join;
mod leave;
mod member;
mod metadata;
mod outbox;
mod probe;
mod receive;
mod relay;
mod ring;
mod rumors;
mod since;
mod sizes;
mod stats;
mod suspicion;
mod sync;
mod table;
mod timers;
mod transmit;

#[cfg(test)]
mod tests;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;

pub use broadcast::{BroadcastError, SendError};
pub use config::*;
pub use event::{Event, Snapshot};
pub use member::{Member, State};
pub use metadata::{DATA_CENTER_KEY, METADATA_LEN_MAX, Metadata, MetadataError};
pub use outbox::{Destination, Plane, Transmit};
pub use sizes::Sizes;
pub use stats::Stats;
pub use timers::TimeoutReason;

use crate::clock::SharedHlc;
use crate::id::{Epoch, Fence, Incarnation, NodeId};
use crate::rng::Rng;
use crate::rpc::{self, Connection, Hello, PeerHello, Receiver, Side};
use crate::time::{Instant, Now};
use crate::wire::{VERSION_MAX, VERSION_MIN};
use member::Rank;
use table::{Entry, LOCAL, Table};

/// Who the local node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    /// Its id, unique in the cluster.
    pub id: NodeId,
    /// Its run, normally [`Epoch::at`] the wall time of its start.
    pub epoch: Epoch,
    /// Where others reach it, by datagram and by stream; the port is not 0.
    pub addr: SocketAddr,
    /// What it says about itself.
    pub metadata: Metadata,
}

/// The peer of a stream-plane payload, as its connection's hello and socket say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamPeer {
    /// Who.
    pub id: NodeId,
    /// Which run.
    pub epoch: Epoch,
    /// The address that the peer's hello advertises.
    pub addr: SocketAddr,
}

impl From<&PeerHello> for StreamPeer {
    fn from(hello: &PeerHello) -> Self {
        Self { id: hello.id, epoch: hello.epoch, addr: hello.addr }
    }
}

/// The membership machine of one node. See the [module](self) for the loop that drives it.
///
/// `handle_*` methods take the world in and never fail; `poll_*` methods give out what the machine
/// wants; verbs are the user's commands; the rest are getters.
#[derive(Debug)]
pub struct Membership {
    config: Config,
    fence: Fence,
    clock: Arc<SharedHlc>,
    rng: Rng,
    table: Table,
    rumors: rumors::Rumors,
    suspicions: suspicion::Suspicions,
    awareness: awareness::Awareness,
    round_trip: awareness::RoundTrip,
    probe: probe::Probe,
    relays: relay::Relays,
    checks: admit::Checks,
    sync: sync::Sync,
    join: join::Join,
    leave: leave::Leave,
    broadcasts: broadcast::Broadcasts,
    out: outbox::Outbox,
    /// When the next gossip tick is; `None` while nothing waits.
    gossip_at: Option<Instant>,
    /// When a dead member is tried next; `None` while none is remembered.
    reconnect_at: Option<Instant>,
    /// The last ping of a dead member: its number and whom it was for.
    reconnecting: Option<(u32, NodeId)>,
    /// Nodes of foreign clusters already reported, and the clusters' names where known.
    foreign: Vec<(SocketAddr, Option<Arc<str>>)>,
    metadata_read: metadata::Recent,
    next_seq: u32,
    stats: Stats,
}

impl Membership {
    /// A node that knows only itself. `seed` decides everything that is left to chance.
    ///
    /// # Errors
    /// [`ConfigError`] if `config` breaks one of its rules or `local.addr` has port 0.
    pub fn new(
        config: Config,
        local: Local,
        clock: Arc<SharedHlc>,
        seed: u64,
        now: Now,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        if local.addr.port() == 0 {
            return Err(ConfigError {
                field: "local.addr",
                rule: "must have a port that others can reach",
            });
        }
        let mut rng = Rng::new(seed);
        let table = Table::new(Entry {
            id: local.id,
            rank: Rank { epoch: local.epoch, incarnation: Incarnation::ZERO, state: State::Alive },
            details: Incarnation::ZERO,
            addr: local.addr,
            metadata: local.metadata,
            versions: VERSION_MIN << 4 | VERSION_MAX,
            since: since::Since::at(now.mono),
        });
        // Nodes that start together must not probe together.
        let first_probe = now.mono + timers::jitter(&mut rng, config.probe_interval);
        #[expect(clippy::cast_possible_truncation, reason = "any 32 bits will do")]
        let next_seq = rng.next_u64() as u32;
        Ok(Self {
            fence: Fence::of(&config.cluster),
            clock,
            table,
            rumors: rumors::Rumors::default(),
            suspicions: suspicion::Suspicions::default(),
            awareness: awareness::Awareness::new(config.awareness_max),
            round_trip: awareness::RoundTrip::default(),
            probe: probe::Probe::idle_until(first_probe),
            relays: relay::Relays::default(),
            checks: admit::Checks::default(),
            sync: sync::Sync::new(&config, now.mono),
            join: join::Join::new(&config),
            leave: leave::Leave::default(),
            broadcasts: broadcast::Broadcasts::default(),
            out: outbox::Outbox::default(),
            gossip_at: None,
            reconnect_at: None,
            reconnecting: None,
            foreign: Vec::new(),
            metadata_read: metadata::Recent::default(),
            next_seq,
            stats: Stats::default(),
            rng,
            config,
        })
    }

    /// The next event, if there is one.
    #[inline]
    pub fn poll_event(&mut self) -> Option<Event> {
        self.out.next_event()
    }

    /// Replaces the metadata as a whole and tells the cluster.
    ///
    /// # Errors
    /// [`MetadataError::HasLeft`] after [`leave`](Self::leave); nothing changes.
    pub fn set_metadata(&mut self, now: Now, metadata: Metadata) -> Result<(), MetadataError> {
        if self.leave.has_begun() {
            return Err(MetadataError::HasLeft);
        }
        if self.table.local().metadata == metadata {
            return Ok(());
        }
        self.raise(now, self.table.local().rank());
        let Self { table, rng, .. } = self;
        table.update(LOCAL, rng, now.mono, |record| record.metadata = metadata);
        self.spread(now, LOCAL);
        Ok(())
    }

    /// The local node as it presents itself; its epoch moves if the cluster knows a later one.
    pub fn local(&self) -> Member {
        self.table.member(LOCAL)
    }

    /// The machine of a stream that this node dials or takes now, and its receiver: with this
    /// node's hello, and on its clock. To be made when the stream is there: the node's run is
    /// another one once it has learned of a later run of its id.
    pub fn connection(
        &self,
        side: Side,
        config: Arc<rpc::Config>,
        now: Now,
    ) -> (Connection, Receiver) {
        let local = self.local();
        let cluster = self.config.cluster.clone();
        let hello = Hello { cluster, id: local.id, epoch: local.epoch, addr: local.addr };
        Connection::new(side, config, hello, self.clock.clone(), now)
    }

    /// Rises with every change of the view or of the local node.
    #[inline]
    pub fn version(&self) -> u64 {
        self.table.version()
    }

    /// The view as an immutable value: the one call, with a table transfer, whose cost follows the
    /// size.
    pub fn snapshot(&self) -> Snapshot {
        let others = self.table.iter().skip(1).filter(|(_, record)| record.state.is_live());
        let mut members: Vec<Member> = others.map(|(slot, _)| self.table.member(slot)).collect();
        members.sort_unstable_by_key(|member| member.id);
        Snapshot { version: self.version(), local: self.local(), members }
    }

    /// What is known of `id`, dead and left members included.
    pub fn get(&self, id: NodeId) -> Option<Member> {
        self.table.find(id).map(|slot| self.table.member(slot))
    }

    /// Other live members.
    #[inline]
    pub fn live_count(&self) -> usize {
        self.table.live_count()
    }

    /// Whether there is another live member.
    #[inline]
    pub fn is_joined(&self) -> bool {
        self.live_count() > 0
    }

    /// Whether [`leave`](Self::leave) has been called.
    #[inline]
    pub fn has_left(&self) -> bool {
        self.leave.has_begun()
    }

    /// The awareness score: 0 is healthy, each point stretches probes by one interval.
    pub fn awareness(&self) -> u8 {
        self.awareness.score()
    }

    /// What has been counted since the start.
    #[inline]
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// The configuration it was made with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Members of the cluster, the local one included.
    fn cluster_size(&self) -> usize {
        self.live_count() + 1
    }

    fn local_id(&self) -> NodeId {
        self.table.local().id
    }

    fn next_seq(&mut self) -> u32 {
        self.next_seq = self.next_seq.wrapping_add(1);
        self.next_seq
    }
}
