//! What happens in a simulated world does not depend on how fast its host is.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chinwag::Consistency;
use chinwag_sim::{World, check, secs};

use crate::cluster::{Disk, Disks, Stores, id, quick};

const MACHINES: usize = 5;

/// `check` runs a seed twice and compares the runs. Every second run is on a host so slow that any
/// real time which the store looks at differs. A lock that becomes fair after half a millisecond of
/// real time failed this.
#[test]
fn a_slow_host_changes_nothing() {
    let runs = AtomicU64::new(0);
    check(0..4, |world: World| {
        let is_slow = runs.fetch_add(1, Ordering::Relaxed) % 2 == 1;
        let real_time = Duration::from_millis(if is_slow { 1 } else { 0 });
        async move { all_write_at_once(&world, real_time).await }
    });
}

/// Every machine writes again and again, before its earlier writes have ended.
async fn all_write_at_once(world: &World, real_time: Duration) {
    let disks = Disks::default();
    let opened = disks.clone();
    let open = move |node: &chinwag::Node| {
        let mut disk = Disk::new(opened.of(node.id()), node);
        disk.real_time = real_time;
        disk
    };
    let stores = Stores::start(world, MACHINES, open, quick).await;
    for number in 0..50_u64 {
        for machine in 0..MACHINES {
            let store = stores.at(machine).expect("a store");
            let node = world.node(u32::try_from(machine).expect("few")).expect("a node");
            let users = store.keyspace("users").expect("a name");
            let value = format!("{number} by {}", id(machine));
            // One that fails does so in both runs, which is all that counts here.
            node.spawn(async move { drop(users.put(number, value, Consistency::All).await) });
        }
        world.run_for(Duration::from_micros(u64::from(world.choose(1_000)))).await;
    }
    world.run_for(secs(5)).await;
}
