//! What the users of nodes do to them: they leave, are changed, and are shut down.

use chinwag::Metadata;

use super::Cluster;
use crate::checker::{Check, ensure};
use crate::fault::Fault;
use crate::mutant::Defect;
use crate::node::tasks::lock;

impl Cluster {
    /// What a user of the node does.
    pub(super) fn command(&mut self, number: usize) {
        let fault = self.plan.faults[number].fault.clone();
        let Some(host) = fault.node() else { return };
        let Some(process) = &mut self.sites[host as usize].process else { return };
        let node = process.node.clone();
        self.engine.with(|state| state.strike(fault.family()));
        match fault {
            Fault::Leave(_) => {
                process.has_left = true;
                self.ledger.leaves(host, Some(self.engine.now()));
                self.hang_up(host);
                let run = self.engine.with(|state| state.machine(host).process);
                let post = self.post.clone();
                self.engine.runtime(host).spawn(Box::pin(async move {
                    // On the runtime, because a task of the node would end with the node.
                    let _report = node.leave().await;
                    node.shutdown().await;
                    lock(&post).left.push((host, run, number));
                }));
            }
            Fault::Metadata(_) => {
                let told = node.members().local().metadata.with("told", &number.to_string());
                // A node that has left refuses; there is nobody to tell.
                let _ = node.set_metadata(told.unwrap_or_else(|_| Metadata::new()));
            }
            Fault::Broadcast(_) => {
                let payload = (number as u64).to_le_bytes();
                if node.broadcast(&payload).is_ok() {
                    self.views.broadcast(&payload);
                }
            }
            _ => {}
        }
    }

    /// Whether a mutant puts off its leave, because no call to it is open that it could break.
    pub(super) fn puts_off(&self, number: usize) -> bool {
        let Fault::Leave(host) = self.plan.faults[number].fault else { return false };
        let now = self.engine.now();
        let has_defect =
            self.setup.mutant.is_some_and(|mutant| mutant.has(host, now, Defect::HangsUp));
        has_defect && !self.ledger.is_called(host)
    }

    /// A mutant that leaves breaks its connections at once.
    fn hang_up(&self, host: u32) {
        let now = self.engine.now();
        if self.setup.mutant.is_some_and(|mutant| mutant.has(host, now, Defect::HangsUp)) {
            (0..self.hosts()).for_each(|other| {
                self.engine.break_streams(host, other, true);
            });
        }
    }

    /// The node on `host` is shut down. When it has ended, nothing of it may be left.
    pub(crate) fn shut_down(&self, host: u32) {
        let Some(node) = self.node(host).cloned() else { return };
        let run = self.engine.with(|state| state.machine(host).process);
        let post = self.post.clone();
        // On the runtime, because a task of the node would end with the node.
        self.engine.runtime(host).spawn(Box::pin(async move {
            node.shutdown().await;
            drop(node);
            lock(&post).shut_down.push((host, run));
        }));
    }

    /// Fails if a task or a socket of the process on `host` is left.
    pub(crate) fn nothing_is_left(&self, host: u32) -> Check {
        let (tasks, sockets) = (self.engine.tasks_of(host), self.engine.sockets_of(host));
        ensure((tasks, sockets) == (0, 0), "leaks", || {
            let names = self.engine.with(|state| state.tasks.names_of(host)).join(" ");
            format!(
                "node {host} was shut down and left {tasks} tasks and {sockets} sockets: {names}"
            )
        })
    }
}
