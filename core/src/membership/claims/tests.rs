//! The merge rules as a table: what is held, what is claimed, and what comes of it
//! (`docs/protocol.md` §4.2, §4.5.1).

use core::net::SocketAddr;
use core::time::Duration;

use smallvec::smallvec;

use super::{Changed, Claims, Effect, Given, Outcome};
use crate::id::{Epoch, Incarnation, NodeId};
use crate::membership::state::member::Rank;
use crate::membership::state::since::Since;
use crate::membership::state::speaker::Via;
use crate::membership::state::table::{Entry, LOCAL};
use crate::membership::{Config, Metadata, State};
use crate::rng::Rng;
use crate::time::Instant;
use crate::wire::update::{Accusers, Details, Update};

const OWN: u64 = 1;
const SUBJECT: u64 = 2;

/// (epoch, incarnation, state), and whether it has details.
type Said = (u64, u32, State, bool);

fn home(id: u64) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, u8::try_from(id).unwrap()], 7_000))
}

fn claim(id: u64, (epoch, incarnation, state, has_details): Said) -> Update<'static> {
    let incarnation = Incarnation::new(incarnation);
    let details = Details { incarnation, versions: 0x11, addr: home(id), metadata: &[] };
    Update {
        id: NodeId::new(id),
        epoch: Epoch::new(epoch),
        incarnation,
        state,
        accusers: if state == State::Suspect { smallvec![NodeId::new(9)] } else { Accusers::new() },
        age: (!state.is_live()).then_some(3),
        details: has_details.then_some(details),
    }
}

struct Bench {
    claims: Claims,
    config: Config,
    rng: Rng,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let rank =
            Rank { epoch: Epoch::new(5), incarnation: Incarnation::ZERO, state: State::Alive };
        let claims = Claims::new(Entry {
            id: NodeId::new(OWN),
            rank,
            details: Incarnation::ZERO,
            addr: home(OWN),
            metadata: Metadata::new(),
            versions: 0x11,
            since: Since::at(Instant::ZERO),
        });
        let now = Instant::ZERO + Duration::from_secs(100);
        Self { claims, config: Config::lan(), rng: Rng::new(7), now }
    }

    fn hear(&mut self, update: &Update<'_>, via: Via) -> Changed {
        let mut given = Given { now: self.now, config: &self.config, rng: &mut self.rng };
        let mut changed = Changed::default();
        self.claims.apply(&mut given, update, via, &mut changed);
        changed
    }

    fn rank(&self, id: u64) -> Option<(u64, u32, State)> {
        let slot = self.claims.table().find(NodeId::new(id))?;
        let rank = self.claims.table().get(slot).rank();
        Some((rank.epoch.get(), rank.incarnation.get(), rank.state))
    }
}

#[test]
fn the_greater_claim_holds_and_every_change_says_what_it_asks_for() {
    use Outcome::{Applied, Other, Stale};
    use State::{Alive, Dead, Left, Suspect};
    // Held, claimed, outcome, event, and what is held afterwards.
    type Row = (Option<Said>, Said, Outcome, Option<&'static str>, Option<(u64, u32, State)>);
    let alive = Some((3, 1, Alive, true));
    let suspect = Some((3, 1, Suspect, true));
    let dead = Some((3, 1, Dead, true));
    let left = Some((3, 1, Left, true));
    let rows: [Row; 20] = [
        (None, (3, 1, Alive, true), Applied, Some("joined"), Some((3, 1, Alive))),
        (None, (3, 1, Suspect, true), Applied, Some("joined"), Some((3, 1, Suspect))),
        (None, (3, 1, Suspect, false), Stale, None, None),
        (None, (3, 1, Dead, true), Applied, None, Some((3, 1, Dead))),
        (None, (3, 1, Left, false), Stale, None, None),
        (alive, (3, 1, Alive, true), Stale, None, Some((3, 1, Alive))),
        (alive, (3, 0, Suspect, false), Stale, None, Some((3, 1, Alive))),
        (alive, (3, 1, Suspect, false), Applied, Some("suspected"), Some((3, 1, Suspect))),
        (alive, (3, 2, Alive, true), Applied, Some("updated"), Some((3, 2, Alive))),
        // §4.5.1: a told death is doubted.
        (alive, (3, 1, Dead, false), Applied, Some("suspected"), Some((3, 1, Suspect))),
        (alive, (3, 1, Left, false), Applied, Some("left"), Some((3, 1, Left))),
        (alive, (2, 9, Left, true), Stale, None, Some((3, 1, Alive))),
        // §4.9: another run than a live one is asked for first.
        (alive, (4, 0, Alive, true), Other, None, Some((3, 1, Alive))),
        (dead, (4, 0, Alive, true), Applied, Some("joined"), Some((4, 0, Alive))),
        (alive, (4, 0, Suspect, false), Stale, None, Some((3, 1, Alive))),
        (suspect, (3, 1, Alive, true), Stale, None, Some((3, 1, Suspect))),
        (suspect, (3, 2, Alive, true), Applied, Some("recovered"), Some((3, 2, Alive))),
        (dead, (3, 1, Alive, true), Stale, None, Some((3, 1, Dead))),
        (dead, (3, 2, Alive, true), Applied, Some("joined"), Some((3, 2, Alive))),
        (left, (3, 1, Dead, true), Stale, None, Some((3, 1, Left))),
    ];
    for (at, (held, said, outcome, event, after)) in rows.into_iter().enumerate() {
        let mut bench = Bench::new();
        if let Some(held) = held {
            bench.hear(&claim(SUBJECT, held), Via::FirstHand);
        }
        let changed = bench.hear(&claim(SUBJECT, said), Via::Gossip);
        let name = changed.event.as_ref().map(crate::membership::Event::name);
        assert_eq!((changed.outcome, name), (outcome, event), "row {at}");
        assert_eq!(bench.rank(SUBJECT), after, "row {at}");
        let is_news = changed.effects.contains(&Effect::Gossip);
        let is_live_news = outcome == Applied && (event.is_some() || held.is_some());
        assert_eq!(is_news, is_live_news, "row {at}: {changed:?}");
        let is_asleep = bench.claims.suspicions().len() == 0;
        let is_suspect = after.is_some_and(|(.., state)| state == Suspect);
        assert_ne!(is_asleep, is_suspect, "row {at}: exactly the suspects have a suspicion");
    }
}

#[test]
fn a_claim_about_the_node_itself_is_refuted_answered_or_asked_about() {
    use State::{Alive, Dead, Suspect};
    let elsewhere = |said: Said| {
        let mut update = claim(OWN, said);
        if let Some(details) = &mut update.details {
            details.addr = home(77);
        }
        update
    };
    // §4.9.3: a rival is asked whether it lives.
    let asked = [Effect::Ask(Via::Gossip)];
    let refuted = [Effect::Refuted, Effect::Gossip];
    let rows: [(Update<'_>, &[Effect], (u64, u32)); 7] = [
        (claim(OWN, (5, 0, Suspect, false)), &refuted, (5, 1)),
        (claim(OWN, (5, 7, Dead, false)), &refuted, (5, 8)),
        (claim(OWN, (6, 3, Alive, true)), &refuted, (7, 0)),
        // D7: answered with the present record.
        (claim(OWN, (4, 7, Dead, false)), &[Effect::Gossip], (5, 0)),
        (claim(OWN, (5, 0, Alive, true)), &[], (5, 0)),
        (elsewhere((6, 0, Alive, true)), &asked, (5, 0)),
        (elsewhere((4, 0, Alive, true)), &[], (5, 0)),
    ];
    for (at, (update, effects, (epoch, incarnation))) in rows.into_iter().enumerate() {
        let mut bench = Bench::new();
        let changed = bench.hear(&update, Via::Gossip);
        assert_eq!(changed.effects.as_slice(), effects, "row {at}");
        assert_eq!(bench.rank(OWN), Some((epoch, incarnation, Alive)), "row {at}");
    }
    // §4.2: after a leave a node refutes nothing.
    let mut bench = Bench::new();
    let mut given = Given { now: bench.now, config: &bench.config, rng: &mut bench.rng };
    bench.claims.depart(&mut given);
    let changed = bench.hear(&claim(OWN, (5, 0, Suspect, false)), Via::Gossip);
    assert_eq!((changed.outcome, changed.effects.len()), (Outcome::Stale, 0));
}

#[test]
fn a_change_says_that_the_last_member_is_gone_and_that_one_is_back() {
    let mut bench = Bench::new();
    let changed = bench.hear(&claim(SUBJECT, (3, 0, State::Alive, true)), Via::Gossip);
    assert_eq!(changed.effects.as_slice(), [Effect::EndSolitude, Effect::Gossip]);
    let changed = bench.hear(&claim(SUBJECT, (3, 0, State::Left, false)), Via::Gossip);
    let gone = [Effect::Isolate, Effect::Gossip, Effect::Reconnect];
    assert_eq!(changed.effects.as_slice(), gone);
    let changed = bench.hear(&claim(SUBJECT, (4, 0, State::Alive, true)), Via::Transfer);
    let back = [
        Effect::EndSolitude,
        Effect::SyncSoon(NodeId::new(SUBJECT)),
        Effect::Gossip,
        Effect::Reconnect,
    ];
    assert_eq!(changed.effects.as_slice(), back);
    assert_eq!(bench.claims.table().local().id, bench.claims.table().get(LOCAL).id);
}

/// §4.9.2: what is decided is taken, also an earlier run; and an address of the held run moves.
#[test]
fn what_is_decided_replaces_the_record() {
    let later = |at: u8, said: Said| {
        let mut update = claim(SUBJECT, said);
        if let Some(details) = &mut update.details {
            details.addr = home(u64::from(at));
        }
        update
    };
    let rows: [(Update<'_>, (u64, u32, State), u64); 3] = [
        (later(50, (4, 0, State::Alive, true)), (4, 0, State::Alive), 50),
        (later(50, (2, 0, State::Alive, true)), (2, 0, State::Alive), 50),
        (later(50, (3, 7, State::Alive, true)), (3, 7, State::Alive), 50),
    ];
    for (at, (update, after, home_after)) in rows.into_iter().enumerate() {
        let mut bench = Bench::new();
        bench.hear(&claim(SUBJECT, (3, 1, State::Alive, true)), Via::Gossip);
        let is_new_run = update.epoch != Epoch::new(3);
        let changed = bench.hear(&update, Via::Decided);
        assert_eq!(changed.outcome, Outcome::Applied, "row {at}");
        let name = changed.event.as_ref().map(crate::membership::Event::name);
        assert_eq!(name, Some(if is_new_run { "joined" } else { "updated" }), "row {at}");
        assert_eq!(bench.rank(SUBJECT), Some(after), "row {at}");
        let slot = bench.claims.table().find(NodeId::new(SUBJECT)).unwrap();
        assert_eq!(bench.claims.table().addr(slot), home(home_after), "row {at}");
    }
}

#[test]
fn accusations_and_their_end_are_changes_like_claims() {
    let mut bench = Bench::new();
    bench.hear(&claim(SUBJECT, (3, 0, State::Alive, true)), Via::Gossip);
    let slot = bench.claims.table().find(NodeId::new(SUBJECT)).unwrap();
    let mut given = Given { now: bench.now, config: &bench.config, rng: &mut bench.rng };
    let changed = bench.claims.accuse(&mut given, slot);
    assert_eq!(changed.event.unwrap().name(), "suspected");
    let mut given = Given { now: bench.now, config: &bench.config, rng: &mut bench.rng };
    assert_eq!(bench.claims.expire(&mut given), None, "it has just begun");
    let later = bench.now + Duration::from_secs(3_600);
    let mut given = Given { now: later, config: &bench.config, rng: &mut bench.rng };
    let changed = bench.claims.expire(&mut given).unwrap();
    assert_eq!(changed.event.unwrap().name(), "died");
    assert!(changed.effects.contains(&Effect::Isolate));
    let lifetime = bench.config.tombstone_lifetime;
    assert_eq!(bench.claims.forget_due(later, &bench.config), None);
    let id = bench.claims.forget_due(later + lifetime, &bench.config);
    assert_eq!(id, Some(NodeId::new(SUBJECT)));
    assert_eq!(bench.rank(SUBJECT), None);
}
