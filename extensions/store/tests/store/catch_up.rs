//! Catching up moves what differs, and not much more.

use crate::cluster::{Disks, Stores, equal_within, id, quick};
use chinwag::{Bytes, Timestamp};
use chinwag_sim::{World, check, millis, secs};
use chinwag_store::{Document, Key, MemoryStorage, Storage, Version};

const KEYS: u64 = 100_000;
const DIFFERENT: u64 = 100;

fn written(stamp: u64, text: &str) -> Document {
    let version = Version { stamp: Timestamp::from_raw(stamp), node: id(0) };
    // A hundred bytes.
    Document { version, value: Some(Bytes::from(format!("{text:100}"))) }
}

fn fill(storage: &MemoryStorage, documents: impl Iterator<Item = (Key, Document)>) {
    futures_lite::future::block_on(storage.merge("k", documents.collect())).expect("infallible");
}

/// How many bytes the stores have sent each other until they are equal.
async fn bytes_until_equal(world: &World, disks: &Disks, count: usize) -> u64 {
    let opened = disks.clone();
    let stores = Stores::start(world, count, move |node| opened.of(node.id()), quick).await;
    let machines: Vec<usize> = (0..count).collect();
    let held = equal_within(world, disks, &machines, secs(60)).await;
    assert_eq!(held.len() as u64, KEYS);
    // What is under way is counted when it has come.
    world.run_for(millis(500)).await;
    (0..count).map(|at| stores.at(at).expect("started").stats().bytes_in).sum()
}

#[test]
fn a_hundred_of_a_hundred_thousand_keys_move_less_than_a_hundredth() {
    let moved = std::sync::Mutex::new(0);
    check(0..1, |world| {
        let moved = &moved;
        async move {
            let disks = Disks::default();
            let step = KEYS / DIFFERENT;
            for at in 0..2_usize {
                let is_different = |key: u64| key.is_multiple_of(step);
                let third = |key: u64| key / step % 3;
                // A third is newer here, a third there, a third is here alone.
                let is_kept = |key: &u64| at == 0 || !is_different(*key) || third(*key) != 2;
                let is_newer = |key: u64| is_different(key) && third(key) == at as u64;
                let stamp = |key: u64| if is_newer(key) { KEYS * 2 } else { key + 1 };
                let keys = (0..KEYS).filter(is_kept);
                fill(
                    &disks.of(id(at)),
                    keys.map(|key| (Key::from(key), written(stamp(key), "as it is"))),
                );
            }
            *moved.lock().expect("whole") = bytes_until_equal(&world, &disks, 2).await;
        }
    });
    let moved = moved.into_inner().expect("whole");
    // Bare keys and values, without versions or anything around them.
    let all = KEYS * (8 + 100);
    println!("{DIFFERENT} of {KEYS} keys: {moved} bytes; all keys and values: {all}");
    assert!(moved > 0 && moved * 100 < all, "{moved} of {all}");
}
