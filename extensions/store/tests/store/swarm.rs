//! Writers on every node, on few keys, while anything goes wrong. Storages call back into their
//! nodes all the while.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use chinwag::{Bytes, Consistency, Node, NodeId};
use chinwag_sim::{World, check, millis, secs};
use chinwag_store::{Document, Keyspace, Storage};

use crate::cluster::{Disk, Disks, Stores, alike_within, quick};
use crate::oracle::Told;

const MACHINES: usize = 5;
const KEYS: u32 = 6;
/// Machines that lose their storage: not a majority.
const LOSERS_MAX: usize = 2;
/// For how long writers write, and things go wrong.
const TIME: u64 = 40;

/// What a run has met, to see that it is no empty one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Met {
    /// Writes that succeeded, failed and were kept, are nowhere, and nobody knows of.
    writes: [usize; 4],
    losses: usize,
    purged: u64,
    purges_failed: u64,
    stale: u64,
    fetched: u64,
    pushed: u64,
    /// Calls of storages back into their nodes.
    called_back: u64,
}

/// One operation of a user of `keyspace`, and what it was told.
async fn operate(
    keyspace: Keyspace,
    node: Node,
    choice: [u32; 3],
    number: u64,
    told: Arc<Mutex<Told>>,
) {
    let [key, what, level] = choice;
    let key = u64::from(key);
    let level = [
        Consistency::None,
        Consistency::One,
        Consistency::Quorum,
        Consistency::Quorum,
        Consistency::All,
    ][level as usize];
    match what {
        0..3 => {
            let value = Bytes::from(format!("{number} by {}", node.id()));
            let begun = told.lock().expect("whole").begin(key, Some(value.clone()), node.id());
            let outcome = keyspace.put(key, value, level).await.into();
            told.lock().expect("whole").end(begun, outcome);
        }
        3 => {
            let begun = told.lock().expect("whole").begin(key, None, node.id());
            let outcome = keyspace.delete(key, level).await.into();
            told.lock().expect("whole").end(begun, outcome);
        }
        _ => {
            if let Ok(value) = keyspace.get(key, level).await {
                told.lock().expect("whole").read(key, value);
            }
        }
    }
}

/// Every 200 ms an operation begins on each machine that runs: at the same moment, so that stamps
/// tie.
async fn users_write(world: &World, stores: &Stores, told: &Arc<Mutex<Told>>) {
    for number in 0..TIME * 5 {
        for machine in 0..MACHINES {
            let choice = [world.choose(KEYS), world.choose(5), world.choose(5)];
            let index = u32::try_from(machine).expect("few");
            let (Some(node), Some(store)) = (world.node(index), stores.at(machine)) else {
                continue;
            };
            let keyspace = store.keyspace("k").expect("a name");
            let told = told.clone();
            node.clone().spawn(async move { operate(keyspace, node, choice, number, told).await });
        }
        world.run_for(millis(200)).await;
    }
}

/// What a run is like.
#[derive(Clone, Copy)]
pub(crate) struct Scene<S> {
    /// What goes wrong while users write.
    pub(crate) trouble: fn(&World),
    /// Makes a storage of a disk.
    pub(crate) open: fn(Disk) -> S,
    /// Whether the first machines that come back do so with an empty disk.
    pub(crate) loses_disks: bool,
    /// In what all are to be alike in the end.
    pub(crate) looked_at: fn(&Document) -> bool,
}

/// Whatever the seed draws.
pub(crate) fn swarm(world: &World) {
    world.swarm(secs(TIME));
}

/// All machines stop at once, just after the last writes, and start again with the calm.
pub(crate) fn power_failure(world: &World) {
    let at = world.now() + secs(TIME) - millis(150) + millis(u64::from(world.choose(100)));
    (0..MACHINES).for_each(|machine| {
        world.at(at).lasting(secs(1)).crash(u32::try_from(machine).expect("few"));
    });
}

/// A run. Panics if something does not hold.
pub(crate) async fn users_write_and_things_go_wrong<S: Storage>(
    world: &World,
    scene: Scene<S>,
) -> Met {
    let Scene { trouble, open, loses_disks, looked_at } = scene;
    let (disks, losers) = (Disks::default(), Arc::new(Mutex::new(BTreeSet::new())));
    let starts = Mutex::new(BTreeMap::new());
    let called_back = Arc::new(AtomicU64::new(0));
    let (opened, lost, calls) = (disks.clone(), losers.clone(), called_back.clone());
    let boot = move |node: &Node| {
        let mut starts = starts.lock().expect("whole");
        let count = starts.entry(node.id()).or_insert(0);
        *count += 1;
        let mut lost = lost.lock().expect("whole");
        if loses_disks && *count == 2 && lost.len() < LOSERS_MAX {
            opened.lose(node.id());
            lost.insert(node.id());
        }
        let mut disk = Disk::new(opened.of(node.id()), node);
        disk.called_back = calls.clone();
        open(disk)
    };
    let stores = Stores::start(world, MACHINES, boot, quick).await;
    trouble(world);
    let told = Arc::new(Mutex::new(Told::default()));
    users_write(world, &stores, &told).await;
    world.calm().converges_within(secs(200)).await;
    // What was under way comes to its end, and connections that died of the faults are found out.
    world.run_for(secs(40)).await;
    let up = |machine: &usize| world.node(u32::try_from(*machine).expect("few")).is_some();
    let machines: Vec<usize> = (0..MACHINES).filter(up).collect();
    let held = alike_within(world, &disks, &machines, secs(60), looked_at).await;
    let losers = losers.lock().expect("whole").clone();
    // A machine that is still down keeps what only it has to itself.
    let down =
        (0..MACHINES).filter(|machine| !up(machine)).map(|machine| NodeId::new(machine as u64 + 1));
    let gone = losers.iter().copied().chain(down).collect();
    told.lock().expect("whole").check(&held, &gone).unwrap_or_else(|why| panic!("{why}"));
    reads_agree(&stores, &machines).await;
    let mut met = Met {
        writes: told.lock().expect("whole").counts(),
        losses: losers.len(),
        called_back: called_back.load(Ordering::Relaxed),
        ..Met::default()
    };
    for stats in machines.iter().filter_map(|machine| Some(stores.at(*machine)?.stats())) {
        met.purged += stats.purged;
        met.purges_failed += stats.purges_failed;
        met.stale += stats.stale;
        met.fetched += stats.fetched;
        met.pushed += stats.pushed;
        assert_eq!(
            (stats.refused, stats.dropped),
            (0, 0),
            "nobody is forgotten, or talks nonsense: {stats:?}"
        );
    }
    met
}

/// After the calm, each replica alone says what all together say.
async fn reads_agree(stores: &Stores, machines: &[usize]) {
    for key in 0..u64::from(KEYS) {
        let mut values = Vec::new();
        for machine in machines {
            let store = stores.at(*machine).expect("it runs");
            let keyspace = store.keyspace("k").expect("a name");
            for level in [Consistency::None, Consistency::All] {
                let value = keyspace.get(key, level).await;
                values.push(value.unwrap_or_else(|error| panic!("after the calm: {error}")));
            }
        }
        assert!(values.windows(2).all(|pair| pair[0] == pair[1]), "{key}: {values:?}");
    }
}

/// Runs seeds, and shows that the runs met what they are for.
#[test]
fn nothing_acknowledged_is_lost_and_all_become_equal() {
    let all = Mutex::new(Vec::new());
    check(0..36, |world| {
        let all = &all;
        async move {
            let loses_disks = world.seed() % 2 == 1;
            let scene =
                Scene { trouble: swarm, open: |disk| disk, loses_disks, looked_at: |_| true };
            let met = users_write_and_things_go_wrong(&world, scene).await;
            all.lock().expect("whole").push(met);
        }
    });
    let all = all.into_inner().expect("whole");
    let sum = |of: fn(&Met) -> u64| all.iter().map(of).sum::<u64>();
    let met = [
        ("succeeded", sum(|met| met.writes[0] as u64)),
        ("kept", sum(|met| met.writes[1] as u64)),
        ("unknown", sum(|met| met.writes[3] as u64)),
        ("losses", sum(|met| met.losses as u64)),
        ("purged", sum(|met| met.purged)),
        ("purges failed", sum(|met| met.purges_failed)),
        ("fetched", sum(|met| met.fetched)),
        ("pushed", sum(|met| met.pushed)),
        ("called back", sum(|met| met.called_back)),
    ];
    println!("{} seeds met {met:?}, stale {}", all.len(), sum(|met| met.stale));
    // A single seed may be lucky.
    if all.len() >= 30 {
        assert!(met.iter().all(|(_, count)| *count > 0), "{met:?}");
    }
}

#[test]
fn nothing_acknowledged_is_lost_when_the_power_fails() {
    check(0..8, |world| async move {
        let scene = Scene {
            trouble: power_failure,
            open: |disk| disk,
            loses_disks: false,
            looked_at: |_| true,
        };
        let met = users_write_and_things_go_wrong(&world, scene).await;
        assert!(met.writes[0] > 500, "{met:?}");
    });
}
