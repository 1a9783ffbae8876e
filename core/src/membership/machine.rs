//! The membership machine itself: what it is made of, how it is made, and what can be asked of it.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;

use crate::clock::SharedHlc;
use crate::id::{Fence, Incarnation, NodeId};
use crate::membership::claims::{Changed, Claims, Given};
use crate::membership::state::member::Rank;
use crate::membership::state::table::{Entry, LOCAL};
use crate::membership::state::{
    awareness, broadcasts, checks, exchanges, farewell, outbox, relays, round, seeds, since,
};
use crate::membership::{
    Config, ConfigError, Event, Local, Member, Metadata, MetadataError, Snapshot, State, Stats,
};
use crate::rng::Rng;
use crate::rpc::{self, Connection, Hello, Receiver, Side};
use crate::time::{Instant, Now};
use crate::wire::{VERSION_MAX, VERSION_MIN};

/// The membership machine of one node. See the [module](crate::membership) for the loop that drives
/// it.
///
/// `handle_*` methods take the world in and never fail; `poll_*` methods give out what the machine
/// wants; verbs are the user's commands; the rest are getters.
#[derive(Debug)]
pub struct Membership {
    pub(super) config: Config,
    pub(super) fence: Fence,
    pub(super) clock: Arc<SharedHlc>,
    pub(super) rng: Rng,
    pub(super) claims: Claims,
    /// What the claim that is being applied asks for; empty between two.
    pub(super) changed: Changed,
    pub(super) awareness: awareness::Awareness,
    pub(super) round_trip: awareness::RoundTrip,
    pub(super) probe: round::Probe,
    pub(super) relays: relays::Relays,
    pub(super) checks: checks::Checks,
    pub(super) sync: exchanges::Sync,
    pub(super) join: seeds::Join,
    pub(super) leave: farewell::Leave,
    pub(super) broadcasts: broadcasts::Broadcasts,
    pub(super) out: outbox::Outbox,
    /// When the next gossip tick is; `None` while nothing waits.
    pub(super) gossip_at: Option<Instant>,
    /// When a dead member is tried next; `None` while none is remembered.
    pub(super) reconnect_at: Option<Instant>,
    /// The last ping of a dead member: its number and whom it was for.
    pub(super) reconnecting: Option<(u32, NodeId)>,
    /// Nodes of foreign clusters already reported, and the clusters' names where known.
    pub(super) foreign: Vec<(SocketAddr, Option<Arc<str>>)>,
    pub(super) next_seq: u32,
    pub(super) stats: Stats,
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
        let claims = Claims::new(Entry {
            id: local.id,
            rank: Rank { epoch: local.epoch, incarnation: Incarnation::ZERO, state: State::Alive },
            details: Incarnation::ZERO,
            addr: local.addr,
            metadata: local.metadata,
            versions: VERSION_MIN << 4 | VERSION_MAX,
            since: since::Since::at(now.mono),
        });
        // Nodes that start together must not probe together.
        let first_probe = now.mono + since::jitter(&mut rng, config.probe_interval);
        #[expect(clippy::cast_possible_truncation, reason = "any 32 bits will do")]
        let next_seq = rng.next_u64() as u32;
        Ok(Self {
            fence: Fence::of(&config.cluster),
            clock,
            claims,
            changed: Changed::default(),
            awareness: awareness::Awareness::new(config.awareness_max),
            round_trip: awareness::RoundTrip::default(),
            probe: round::Probe::Idle { due: first_probe },
            relays: relays::Relays::default(),
            checks: checks::Checks::default(),
            sync: exchanges::Sync::new(&config, now.mono),
            join: seeds::Join::new(&config),
            leave: farewell::Leave::default(),
            broadcasts: broadcasts::Broadcasts::default(),
            out: outbox::Outbox::default(),
            gossip_at: None,
            reconnect_at: None,
            reconnecting: None,
            foreign: Vec::new(),
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
        if self.claims.table().local().metadata == metadata {
            return Ok(());
        }
        let mut given = Given { now: now.mono, config: &self.config, rng: &mut self.rng };
        let changed = self.claims.set_metadata(&mut given, metadata);
        self.carry_out(now, changed);
        Ok(())
    }

    /// The local node as it presents itself; its epoch moves if the cluster knows a later one.
    pub fn local(&self) -> Member {
        self.claims.table().member(LOCAL)
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
        self.claims.table().version()
    }

    /// The view as an immutable value: the one call, with a table transfer, whose cost follows the
    /// size.
    pub fn snapshot(&self) -> Snapshot {
        let others =
            self.claims.table().iter().skip(1).filter(|(_, record)| record.state.is_live());
        let mut members: Vec<Member> =
            others.map(|(slot, _)| self.claims.table().member(slot)).collect();
        members.sort_unstable_by_key(|member| member.id);
        Snapshot { version: self.version(), local: self.local(), members }
    }

    /// What is known of `id`, dead and left members included.
    pub fn get(&self, id: NodeId) -> Option<Member> {
        self.claims.table().find(id).map(|slot| self.claims.table().member(slot))
    }

    /// Other live members.
    #[inline]
    pub fn live_count(&self) -> usize {
        self.claims.table().live_count()
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
    pub(super) fn cluster_size(&self) -> usize {
        self.claims.cluster_size()
    }

    pub(super) fn local_id(&self) -> NodeId {
        self.claims.table().local().id
    }

    pub(super) fn next_seq(&mut self) -> u32 {
        self.next_seq = self.next_seq.wrapping_add(1);
        self.next_seq
    }
}
