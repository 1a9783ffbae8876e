//! [`Handles`]: what the nodes of a story's cluster hold beside services.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use chinwag::{Epoch, Node};

use super::world::World;
use crate::node::lock;

/// What `boot` has returned on each machine, for the process that runs there now; see
/// [`World::cluster_of`]. Cheap to clone; every clone holds the same.
pub struct Handles<T> {
    world: World,
    by_machine: Arc<Mutex<BTreeMap<u32, (Epoch, T)>>>,
}

impl<T> Clone for Handles<T> {
    fn clone(&self) -> Self {
        Self { world: self.world.clone(), by_machine: Arc::clone(&self.by_machine) }
    }
}

impl<T> Handles<T> {
    pub(super) fn new(world: World) -> Self {
        Self { world, by_machine: Arc::default() }
    }

    pub(super) fn put(&self, machine: u32, node: &Node, handle: T) {
        let old = lock(&self.by_machine).insert(machine, (node.epoch(), handle));
        // Users' code runs as it is dropped, so not under the lock.
        drop(old);
    }

    pub(super) fn has(&self, machine: u32) -> bool {
        lock(&self.by_machine).contains_key(&machine)
    }

    /// Takes the handle of a machine away, and so drops what only it holds alive; `None` as in
    /// [`Handles::get`].
    pub fn take(&self, machine: u32) -> Option<T> {
        let epoch = self.world.node(machine)?.epoch();
        let mut handles = lock(&self.by_machine);
        handles.get(&machine).filter(|(of, _)| *of == epoch)?;
        handles.remove(&machine).map(|(_, handle)| handle)
    }
}

impl<T: Clone> Handles<T> {
    /// Returns the handle of the node that runs on a machine; `None` while none runs there, while
    /// its `boot` is not done, and once its handle was taken.
    pub fn get(&self, machine: u32) -> Option<T> {
        let epoch = self.world.node(machine)?.epoch();
        let handles = lock(&self.by_machine);
        handles.get(&machine).filter(|(of, _)| *of == epoch).map(|(_, handle)| handle.clone())
    }
}
