//! Tests with a replica that lies in every field of every message, drawn from the seed
//! (docs/store.md §6), and the table of the fields.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use chinwag::protocol::rng::{Rng, mix};
use chinwag::protocol::time::WallTime;
use chinwag::{Bytes, Context, Handler, Methods, Node, Service, Status, Timestamp, View};
use chinwag_sim::{World, check, millis, secs};

use crate::claims::{StampClaim, later};
use crate::peers;
use crate::replica::lock;
use crate::roster::{AbsenceClaim, Told};
use crate::service::StoreService;
use crate::wire::{
    Compare, Compared, Confirm, Confirmed, Doc, Fetch, Fetched, Found, Named, OriginClaim, Purge,
    Read, Replicate, Roots, RootsReply, Taken, Ticket, Turn,
};
use crate::{Consistency, Document, Key, MemoryStorage, Storage, Store, StoreExtension, Version};

const HONEST: usize = 4;
const KEYS: u64 = 6;
/// Keys that users delete: the janitor has work.
const DELETED_KEYS: u64 = 100;

fn deleted_key(at: u64) -> Vec<u8> {
    (DELETED_KEYS + at).to_be_bytes().to_vec()
}

fn is_deleted(key: &[u8]) -> bool {
    (0..3).any(|at| key == deleted_key(at))
}

/// A replica of which every answer is drawn, and every question, too.
#[derive(Clone)]
struct Liar(Arc<Mutex<Lies>>);

impl Liar {
    /// Draws a lie, and holds nothing while it is sent.
    fn draw<T>(&self, draw: impl FnOnce(&mut Lies) -> T) -> T {
        draw(&mut lock(&self.0))
    }
}

struct Lies {
    rng: Rng,
    wall: WallTime,
    epoch: u64,
    honest: Vec<u64>,
}

impl Lies {
    fn number(&mut self) -> u64 {
        match self.rng.index(8) {
            0 => 0,
            1 => self.rng.below_u64(5),
            2 => 1 << self.rng.index(64),
            3 => u64::MAX,
            4 => Timestamp::MAX.get(),
            5 => self.rng.next_u64(),
            _ => self.stamp(),
        }
    }

    /// A time about now, or about the bounds.
    fn stamp(&mut self) -> u64 {
        let hours = [0, 1, 11, 12, 13, 23, 24, 25][self.rng.index(8)];
        let micros = later(self.wall, secs(hours * 3_600)).micros();
        (micros - self.rng.below_u64(2_000_000)) << Timestamp::COUNTER_BITS
    }

    fn is(&mut self) -> bool {
        self.rng.index(2) == 0
    }

    fn some<T>(&mut self, max: usize, one: fn(&mut Self) -> T) -> Vec<T> {
        let count = self.rng.index(max + 1);
        (0..count).map(|_| one(self)).collect()
    }

    fn node(&mut self) -> u64 {
        if self.is() { 1 + self.rng.below_u64(HONEST as u64 + 3) } else { self.number() }
    }

    fn turn(&mut self) -> Turn {
        let epoch = if self.is() { self.epoch } else { self.number() };
        Turn { epoch, count: self.number() }
    }

    fn origin(&mut self) -> OriginClaim {
        let ticket = Ticket { epoch: self.number(), purges: self.number() };
        OriginClaim { turn: self.turn().into(), cleansed: self.number().into(), ticket }
    }

    fn key(&mut self) -> Vec<u8> {
        match self.rng.index(8) {
            0 => Vec::new(),
            1 => vec![7; self.rng.index(2_000)],
            2 => deleted_key(self.rng.below_u64(3)),
            _ => self.rng.below_u64(KEYS).to_be_bytes().to_vec(),
        }
    }

    fn keyspace(&mut self) -> String {
        match self.rng.index(8) {
            0 => String::new(),
            1 => "n".repeat(self.rng.index(400)),
            _ => "k".to_owned(),
        }
    }

    fn version(&mut self) -> (StampClaim, u64) {
        // Half of them are such that they are taken, and then win.
        let stamp = if self.is() { self.stamp() } else { self.number() };
        (stamp.into(), self.node())
    }

    /// Of one version there is one value: two of them are a lie that no replica can see
    /// (docs/store.md §6.3). Only keys that users delete are deleted by the liar: of the others an
    /// honest replica has something in the end.
    fn doc(&mut self) -> Doc {
        let raw = if self.is() { self.stamp() } else { self.number() };
        let (key, node) = (self.key(), self.node());
        let hash = mix(raw ^ mix(node));
        let is_deleted = hash.is_multiple_of(4) && is_deleted(&key);
        let value = (!is_deleted).then(|| hash.to_be_bytes().to_vec());
        Doc { key, stamp: raw.into(), node, value }
    }

    /// A tombstone of a key that users delete.
    fn deleted(&mut self) -> Named {
        let named = self.named();
        if is_deleted(&named.key) { named } else { Named { key: deleted_key(0), ..named } }
    }

    fn named(&mut self) -> Named {
        let (stamp, node) = self.version();
        Named { key: self.key(), stamp, node }
    }

    fn absence(&mut self) -> AbsenceClaim {
        AbsenceClaim { generation: self.number().into(), horizon: self.number().into() }
    }

    fn roster(&mut self) -> Told {
        if self.is() {
            // Within all bounds, and a lie all the same.
            let stamp = self.stamp().min(later(self.wall, secs(3_600)).get());
            let generation = 1 + self.rng.below_u64(9);
            let lie = AbsenceClaim { generation: generation.into(), horizon: stamp.into() };
            let members = (1..=HONEST as u64 + 3).map(|id| (id, lie)).collect();
            let (cleansed, wall) = (generation.into(), WallTime::from_nanos(self.number()).into());
            let floor = self.stamp().min(later(self.wall, secs(1)).get()).into();
            return Told { members, rest: lie, is_cleansed: self.is(), cleansed, floor, wall };
        }
        Told {
            members: self.some(9, |lies| (lies.node(), lies.absence())),
            rest: self.absence(),
            is_cleansed: self.is(),
            cleansed: self.number().into(),
            floor: self.number().into(),
            wall: WallTime::from_nanos(self.number()).into(),
        }
    }

    fn range(&mut self) -> (u8, u64) {
        let depth = u8::try_from(self.rng.index(20)).expect("few");
        if self.is() { (0, 0) } else { (depth, self.number()) }
    }
}

impl Service for Liar {
    const NAME: &'static str = StoreService::NAME;

    fn methods(methods: &mut Methods<Self>) {
        methods.add::<Replicate>().add::<Read>();
        methods.add::<Roots>().add::<Compare>().add::<Fetch>();
        methods.add::<Confirm>().add::<Purge>();
    }
}

impl Handler<Replicate> for Liar {
    async fn handle(&self, _: &Context, _: View<Replicate>) -> Result<Taken, Status> {
        let mut lies = lock(&self.0);
        let ticket = Ticket { epoch: lies.number(), purges: lies.number() };
        Ok(match lies.rng.index(5) {
            0 => Taken::Stale { ticket },
            1 => Taken::Forgotten,
            2 => Taken::Full,
            _ => Taken::Kept { newer: u32::try_from(lies.number() >> 32).expect("half") },
        })
    }
}

impl Handler<Read> for Liar {
    async fn handle(&self, _: &Context, _: View<Read>) -> Result<Found, Status> {
        let mut lies = lock(&self.0);
        let small = |lies: &mut Lies| u32::try_from(lies.rng.index(4)).expect("few");
        let (origin, answered) = (lies.origin(), small(&mut lies));
        Ok(Found { origin, answered, newer: lies.some(3, Lies::doc), older: lies.some(3, small) })
    }
}

impl Handler<Roots> for Liar {
    async fn handle(&self, _: &Context, _: View<Roots>) -> Result<RootsReply, Status> {
        let mut lies = lock(&self.0);
        let roster = lies.roster();
        Ok(RootsReply { roster, roots: lies.some(3, |lies| (lies.keyspace(), lies.number())) })
    }
}

impl Handler<Compare> for Liar {
    async fn handle(&self, _: &Context, asked: View<Compare>) -> Result<Vec<Compared>, Status> {
        let mut lies = lock(&self.0);
        let mut one = |_| {
            if lies.is() {
                let sums = if lies.is() { 16 } else { lies.rng.index(20) };
                return Compared::Children((0..sums).map(|_| lies.number()).collect());
            }
            Compared::Listed(lies.some(9, |lies| (lies.number(), lies.number(), lies.node())))
        };
        Ok((0..asked.ranges.len()).map(&mut one).collect())
    }
}

impl Handler<Fetch> for Liar {
    async fn handle(&self, _: &Context, _: View<Fetch>) -> Result<Fetched, Status> {
        let mut lies = lock(&self.0);
        let at = u32::try_from(lies.rng.index(3)).expect("few");
        let more = lies.is().then(|| (at, lies.is().then(|| lies.key())));
        Ok(Fetched { origin: lies.origin(), documents: lies.some(4, Lies::doc), more })
    }
}

impl Handler<Confirm> for Liar {
    async fn handle(&self, _: &Context, _: View<Confirm>) -> Result<Confirmed, Status> {
        let mut lies = lock(&self.0);
        Ok(Confirmed { is_held: lies.is(), origin: lies.origin(), roster: lies.roster() })
    }
}

impl Handler<Purge> for Liar {
    async fn handle(&self, _: &Context, _: View<Purge>) -> Result<(), Status> {
        Ok(())
    }
}

/// Sends one message, whatever it is, to one honest replica.
async fn lie(liar: &Liar, node: &Node) {
    let (to, what, keyspace) = {
        let mut lies = lock(&liar.0);
        lies.wall = node.now().wall;
        let to = lies.rng.index(HONEST);
        (lies.honest[to], lies.rng.index(7), lies.keyspace())
    };
    let client = node.client::<StoreService>(to).timeout(secs(1));
    let _answer = match what {
        0 => client.call(&liar.draw(|lies| replicate(lies, keyspace))).await.map(drop),
        1 => {
            let keys = liar.draw(|lies| lies.some(4, Lies::named));
            client.call(&Read { keyspace, keys }).await.map(drop)
        }
        2 => {
            let roster = liar.draw(Lies::roster);
            client.call(&Roots { roster }).await.map(drop)
        }
        3 => {
            let ranges = liar.draw(|lies| lies.some(70, Lies::range));
            client.call(&Compare { keyspace, ranges }).await.map(drop)
        }
        4 => client.call(&liar.draw(|lies| fetch(lies, keyspace))).await.map(drop),
        5 => client.call(&liar.draw(|lies| confirm(lies, keyspace))).await.map(drop),
        _ => client.call(&liar.draw(|lies| purge(lies, keyspace))).await.map(drop),
    };
}

fn replicate(lies: &mut Lies, keyspace: String) -> Replicate {
    Replicate { origin: lies.origin(), keyspace, documents: lies.some(4, Lies::doc) }
}

fn fetch(lies: &mut Lies, keyspace: String) -> Fetch {
    Fetch { keyspace, ranges: lies.some(4, Lies::range), after: Some(lies.key()) }
}

fn confirm(lies: &mut Lies, keyspace: String) -> Confirm {
    let (origin, tombstones) = (lies.origin(), lies.some(4, Lies::deleted));
    let without = lies.some(6, |lies| (lies.node(), lies.absence()));
    Confirm { origin, keyspace, tombstones, without }
}

fn purge(lies: &mut Lies, keyspace: String) -> Purge {
    let tombstones = lies.some(4, Lies::named);
    Purge { keyspace, tombstones, turns: lies.some(6, |lies| (lies.node(), lies.turn().into())) }
}

/// Four honest replicas and their storages, and a liar on the machine that the seed says: it may be
/// the one that all others join by, and the one with the lowest id.
async fn four_and_a_liar(world: &World) -> (Vec<Store>, Vec<MemoryStorage>) {
    let nodes = world.cluster(HONEST + 1, |_: &Node| Ok::<(), chinwag::AddServiceError>(())).await;
    let at = usize::try_from(world.seed()).expect("small") % nodes.len();
    let (node, mut honest) = (nodes[at].clone(), nodes);
    honest.remove(at);
    let storages: Vec<MemoryStorage> = (0..HONEST).map(|_| MemoryStorage::new()).collect();
    let mut stores = Vec::new();
    for (node, storage) in honest.iter().zip(&storages) {
        let extension = StoreExtension::new(storage.clone())
            .timeout(secs(1))
            .exchange_interval(secs(1))
            .purge_interval(secs(1))
            .purge_after(secs(2));
        stores.push(node.add_extension(extension).await.expect("it starts"));
    }
    let (rng, wall) = (Rng::new(mix(world.seed())), node.now().wall);
    let honest = honest.iter().map(|node| node.id().get()).collect();
    let lies = Lies { rng, wall, epoch: node.epoch().get(), honest };
    let liar = Liar(Arc::new(Mutex::new(lies)));
    node.add_service(liar.clone()).expect("added");
    node.set_metadata_entry(peers::ENTRY.0, peers::ENTRY.1).expect("there is room");
    let until = world.now() + secs(30);
    while stores.iter().any(|store| store.replicas().len() != HONEST) {
        assert!(world.now() < until, "the replicas do not know each other");
        world.run_for(millis(50)).await;
    }
    node.clone().spawn(async move {
        loop {
            node.sleep(millis(40)).await;
            lie(&liar, &node).await;
        }
    });
    (stores, storages)
}

type Acknowledged = BTreeMap<u64, (Version, Option<Bytes>)>;

/// Users write and delete on all honest nodes; gives the latest write of each key that was
/// acknowledged.
async fn users_write(world: &World, stores: &[Store]) -> Acknowledged {
    let mut acknowledged = Acknowledged::new();
    for number in 0..60_u64 {
        let store = &stores[world.choose(u32::try_from(HONEST).expect("few")) as usize];
        let keyspace = store.keyspace("k").expect("a name");
        let level =
            [Consistency::None, Consistency::One, Consistency::Quorum][world.choose(3) as usize];
        let put = u64::from(world.choose(u32::try_from(KEYS).expect("few")));
        let deleted = DELETED_KEYS + u64::from(world.choose(3));
        let value = Bytes::from(format!("{number}"));
        let again = if number % 3 == 0 { Some(value.clone()) } else { None };
        for (key, value) in [(put, Some(value)), (deleted, again)] {
            let written = match value.clone() {
                Some(value) => keyspace.put(key, value, level).await,
                None => keyspace.delete(key, level).await,
            };
            if let Ok(written) = written {
                let latest = acknowledged.entry(key).or_insert((written.version, value.clone()));
                if latest.0 < written.version {
                    *latest = (written.version, value);
                }
            }
        }
        world.run_for(millis(200)).await;
    }
    acknowledged
}

/// What was acknowledged is there, or something newer; of a key that is deleted, perhaps nothing.
fn check_kept(held: &BTreeMap<Key, Document>, acknowledged: &Acknowledged) {
    for (key, (version, value)) in acknowledged {
        let Some(document) = held.get(&Key::from(*key)) else {
            assert!(*key >= DELETED_KEYS, "{key} is lost: {value:?} of {version}");
            continue;
        };
        assert!(document.version >= *version, "{key}: {document:?} after {value:?} of {version}");
        if document.version == *version {
            assert_eq!(document.value, *value, "{key}");
        }
    }
}

fn contents(storage: &MemoryStorage) -> BTreeMap<Key, Document> {
    futures_lite::future::block_on(async {
        let entries = storage.scan("k", None, usize::MAX).await.expect("infallible");
        let keys: Vec<Key> = entries.into_iter().map(|entry| entry.key).collect();
        let got = storage.get("k", &keys).await.expect("infallible");
        keys.into_iter().zip(got).filter_map(|(key, document)| Some((key, document?))).collect()
    })
}

/// The honest four keep every write that was acknowledged, become equal, and stay writable, while
/// the fifth lies; docs/store.md §6.
#[test]
fn honest_replicas_outlive_a_liar() {
    let met = Mutex::new((0, 0, 0));
    check(0..8, |world| {
        let met = &met;
        async move {
            let (stores, storages) = four_and_a_liar(&world).await;
            let acknowledged = users_write(&world, &stores).await;
            let until = world.now() + secs(60);
            loop {
                let held: Vec<_> = storages.iter().map(contents).collect();
                if held.windows(2).all(|pair| pair[0] == pair[1]) {
                    check_kept(&held[0], &acknowledged);
                    break;
                }
                assert!(world.now() < until, "the honest four differ: {held:#?}");
                world.run_for(millis(100)).await;
            }
            for store in &stores {
                let keyspace = store.keyspace("k").expect("a name");
                for key in 0..KEYS {
                    let is_written = async {
                        for _ in 0..30 {
                            if keyspace.put(key, "on", Consistency::Quorum).await.is_ok() {
                                return true;
                            }
                            world.run_for(millis(50)).await;
                        }
                        false
                    };
                    assert!(is_written.await, "{key} takes no more writes");
                }
                assert!(store.shared.replica.roster().is_cleansed(), "nobody is forgotten");
                let stats = store.stats();
                let mut met = lock(met);
                *met = (met.0 + stats.refused, met.1 + stats.stale, met.2 + stats.exchanges_failed);
                assert_eq!((stats.dropped, stats.forgotten), (0, 0), "{stats:?}");
            }
        }
    });
    let (refused, stale, failed) = *lock(&met);
    println!("refused {refused}, stale {stale}, exchanges failed {failed}");
    assert!(refused > 0 && stale > 0 && failed > 0, "{refused} {stale} {failed}");
}

/// The table of docs/store.md §6.2 has every field that is sent, and names tests that there are.
#[test]
fn every_field_is_in_the_table() {
    let documented = include_str!("../docs/store.md");
    let sources = concat!(
        include_str!("lying.rs"),
        include_str!("service/tests.rs"),
        include_str!("exchange/tests.rs"),
        include_str!("roster/tests.rs"),
        include_str!("replica/gate.rs"),
        include_str!("votes.rs"),
    );
    let mut fields = BTreeSet::new();
    for source in [include_str!("wire.rs"), include_str!("roster.rs")] {
        let (mut is_sent, mut of) = (false, None);
        for line in source.lines() {
            if line.starts_with("#[derive(") {
                is_sent = line.contains("Archive");
            }
            if let Some(name) = line.strip_prefix("pub(crate) struct ") {
                let name = name.trim_end_matches(" {");
                of = is_sent.then(|| name.to_owned());
            } else if line.starts_with('}') {
                (is_sent, of) = (false, None);
            } else if let (Some(of), Some(field)) = (&of, line.strip_prefix("    pub(crate) ")) {
                let field = field.split(':').next().expect("a name");
                fields.insert(format!("{of}.{field}"));
            }
        }
    }
    assert!(fields.len() > 40, "the source is not read: {fields:?}");
    let mut rows = BTreeSet::new();
    for line in documented.lines().filter(|line| line.starts_with("| `") && line.contains('.')) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [field, _, test] = cells[..] else { continue };
        let (field, test) =
            (field.trim_matches('`'), test.trim_end_matches(" |").trim_matches('`'));
        if field.contains('.') {
            assert!(sources.contains(&format!("fn {test}()")), "{field}: there is no test {test}");
            rows.insert(field.to_owned());
        }
    }
    assert_eq!(rows, fields);
}
