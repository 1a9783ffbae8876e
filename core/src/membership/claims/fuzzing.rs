//! Claims alone, as `fuzz/` drives them beside its own reading of `docs/protocol.md` §4.

use alloc::vec::Vec;
use core::net::SocketAddr;

use crate::id::{Epoch, Incarnation, NodeId};
use crate::membership::claims::{Changed, Claims, Effect, Given, Outcome};
use crate::membership::state::member::Rank;
use crate::membership::state::since::Since;
use crate::membership::state::speaker::Via;
use crate::membership::state::table::Entry;
use crate::membership::{Config, Event, Member, Metadata, State};
use crate::rng::Rng;
use crate::time::Instant;
use crate::wire::update::Update;
use crate::wire::{Reader, VERSION_MAX, VERSION_MIN};

/// How a claim comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Beside other messages.
    Gossip,
    /// In a table transfer.
    Transfer,
    /// In a table transfer, over the connection of a live member at its run.
    MemberTransfer,
    /// From its subject, which asks for the table.
    FirstHand,
    /// After the addresses that were asked have answered.
    Decided,
}

/// What a claim did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Whether it changed a record of another member, or brought an accuser.
    pub is_applied: bool,
    /// Whether it is kept aside until addresses have answered.
    pub waits: bool,
    /// Whether the node has raised its own life over it.
    pub is_refuted: bool,
    /// The change of the view.
    pub event: Option<Event>,
}

/// `Claims` with what its parent gives it.
#[derive(Debug)]
pub struct Machine {
    claims: Claims,
    config: Config,
    rng: Rng,
}

impl Machine {
    /// The claims of a node that knows only itself.
    pub fn new(config: Config, id: NodeId, epoch: Epoch, addr: SocketAddr, seed: u64) -> Self {
        let claims = Claims::new(Entry {
            id,
            rank: Rank { epoch, incarnation: Incarnation::ZERO, state: State::Alive },
            details: Incarnation::ZERO,
            addr,
            metadata: Metadata::new(),
            versions: VERSION_MIN << 4 | VERSION_MAX,
            since: Since::at(Instant::ZERO),
        });
        Self { claims, config, rng: Rng::new(seed) }
    }

    /// The body of an Update message (§2.5); `None` if it cannot be read.
    pub fn hear(&mut self, now: Instant, update: &[u8], origin: Origin) -> Option<Heard> {
        let update = Update::decode(&mut Reader::new(update))?;
        let via = match origin {
            Origin::Gossip => Via::Gossip,
            Origin::Transfer => Via::Transfer,
            Origin::MemberTransfer => Via::MemberTransfer,
            Origin::FirstHand => Via::FirstHand,
            Origin::Decided => Via::Decided,
        };
        let mut changed = Changed::default();
        let mut given = Given { now, config: &self.config, rng: &mut self.rng };
        self.claims.apply(&mut given, &update, via, &mut changed);
        let has = |wanted: fn(&Effect) -> bool| changed.effects.iter().any(wanted);
        Some(Heard {
            is_applied: changed.outcome == Outcome::Applied,
            waits: has(|effect| matches!(effect, Effect::Ask(_))),
            is_refuted: changed.outcome != Outcome::Refused
                && has(|effect| matches!(effect, Effect::Refuted)),
            event: changed.event,
        })
    }

    /// The local node's probe of `id` has failed. Answers the change of the view.
    pub fn accuse(&mut self, now: Instant, id: NodeId) -> Option<Event> {
        let slot = self.claims.table().find(id)?;
        let mut given = Given { now, config: &self.config, rng: &mut self.rng };
        self.claims.accuse(&mut given, slot).event
    }

    /// Ends what is over at `now`: suspicions, then tombstones. Answers the changes of the view.
    pub fn pass(&mut self, now: Instant) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(changed) = {
            let mut given = Given { now, config: &self.config, rng: &mut self.rng };
            self.claims.expire(&mut given)
        } {
            events.extend(changed.event);
        }
        while self.claims.forget_due(now, &self.config).is_some() {}
        events
    }

    /// The local node.
    pub fn local(&self) -> Member {
        self.claims.table().member(crate::membership::state::table::LOCAL)
    }

    /// What is known of `id`.
    pub fn get(&self, id: NodeId) -> Option<Member> {
        let table = self.claims.table();
        table.find(id).map(|slot| table.member(slot))
    }

    /// Other live members.
    pub fn live_count(&self) -> usize {
        self.claims.table().live_count()
    }

    /// Dead and left members that are remembered.
    pub fn tombstone_count(&self) -> usize {
        self.claims.table().tombstone_count()
    }
}
