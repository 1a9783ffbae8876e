//! Nothing is left of a node with a store once it has been shut down: no task, no socket, no file,
//! no lock. The storage of these stories calls back into its node, as users' storages may.

use std::convert::Infallible;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use chinwag::{Bytes, Consistency, Node};
use chinwag_sim::{check, millis, secs};
use chinwag_store::{Document, Entry, Key, Storage, StoreExtension, Version};

use crate::cluster::{Disk, Disks, id, quick};

/// A file that only one process may have.
struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    fn take(path: &Path) -> Self {
        let file = File::create_new(path).expect("nobody has the lock");
        Self { path: path.to_owned(), _file: file }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // The folder goes with the story, before the nodes that it left running.
        let _ = fs::remove_file(&self.path);
    }
}

/// A disk whose process holds a lock.
struct Locked {
    disk: Disk,
    _lock: Lock,
}

impl Storage for Locked {
    type Error = Infallible;

    async fn keyspaces(&self) -> Result<Vec<String>, Infallible> {
        self.disk.keyspaces().await
    }

    async fn scan(
        &self,
        keyspace: &str,
        after: Option<&Key>,
        max: usize,
    ) -> Result<Vec<Entry>, Infallible> {
        self.disk.scan(keyspace, after, max).await
    }

    async fn get(&self, keyspace: &str, keys: &[Key]) -> Result<Vec<Option<Document>>, Infallible> {
        self.disk.get(keyspace, keys).await
    }

    async fn merge(
        &self,
        keyspace: &str,
        documents: Vec<(Key, Document)>,
    ) -> Result<(), Infallible> {
        self.disk.merge(keyspace, documents).await
    }

    async fn purge(&self, keyspace: &str, entries: &[(Key, Version)]) -> Result<(), Infallible> {
        self.disk.purge(keyspace, entries).await
    }

    async fn load_mark(&self, name: &str) -> Result<Option<Bytes>, Infallible> {
        self.disk.load_mark(name).await
    }

    async fn save_mark(&self, name: &str, mark: Bytes) -> Result<(), Infallible> {
        self.disk.save_mark(name, mark).await
    }
}

#[test]
fn nothing_is_left_of_a_store_whose_node_was_shut_down() {
    check(0..20, |world| async move {
        let folder = tempfile::tempdir().expect("a folder");
        let (disks, path) = (Disks::default(), folder.path().to_owned());
        let lock_of = move |node: &Node| path.join(node.id().to_string());
        let (opened, lock_at) = (disks.clone(), lock_of.clone());
        let boot = move |node: Node| {
            let disk = Disk::new(opened.of(node.id()), &node);
            let storage = Locked { disk, _lock: Lock::take(&lock_at(&node)) };
            async move { node.add_extension(quick(StoreExtension::new(storage))).await }
        };
        let (nodes, stores) = world.cluster_of(3, boot).await;
        world.run_for(secs(3)).await;
        // Writes, an exchange and a purge are under way when the node ends.
        for key in 0..20_u32 {
            let store = stores.get(key % 3).expect("it runs");
            nodes[(key % 3) as usize].spawn(async move {
                let keyspace = store.keyspace("k").expect("a name");
                // The node may end first.
                let _ = keyspace.put(u64::from(key), vec![1; 1_000], Consistency::One).await;
                let _ = keyspace.delete(u64::from(key), Consistency::One).await;
            });
        }
        let lock = lock_of(&nodes[1]);
        assert!(lock.exists());
        world.run_for(millis(u64::from(world.choose(20)))).await;
        drop(stores.take(1));
        world.shut_down(1).await;
        assert!(!lock.exists(), "the storage of node {} is still open", id(1));
        assert!(lock_of(&nodes[0]).exists());
        // All of it may be opened again at once.
        drop(Lock::take(&lock));
        world.run_for(secs(10)).await;
    });
}
