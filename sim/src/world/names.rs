//! What a machine is told when it asks for the addresses of its seeds.

use std::net::SocketAddr;

use chinwag_core::time::Now;

use super::{SEEDS, What, World};
use crate::checker::Check;
use crate::clock::nanos;
use crate::fault::Answers;
use crate::host::{FIRST_PORT, addr};

impl World {
    /// The machine of `node` asks.
    pub(super) fn look_up(&mut self, node: u32, now: Now) {
        let host = &mut self.hosts[node as usize];
        host.lookups += 1;
        let (answers, generation) = (host.answers.last().copied(), host.generation);
        if host.nameless > 0 {
            self.strike("lookup");
            return self.answer(node, now, &[]);
        }
        if let Some(answers) = answers {
            self.strike(answers.family());
        }
        match answers {
            Some(Answers::Never) => {}
            Some(Answers::Slow(after)) => {
                self.queue.push(self.now + nanos(after), What::Seeds(node, generation));
            }
            _ => {
                let seeds = self.answered(node, answers);
                self.answer(node, now, &seeds);
            }
        }
    }

    /// A slow answer comes, to the run that has asked.
    pub(super) fn seeds_come(&mut self, node: u32, generation: u32) -> Check {
        let host = &self.hosts[node as usize];
        if host.generation != generation || host.machine.is_none() {
            return Ok(());
        }
        if host.pauses > 0 {
            // It waits in the process.
            self.queue.push(self.now + 100_000_000, What::Seeds(node, generation));
            return Ok(());
        }
        self.hash.add(self.now, 10 << 32 | u64::from(node), 0);
        let (now, seeds) = (host.now(self.now), self.seeds());
        self.answer(node, now, &seeds);
        self.settle(node).map(|_| ())
    }

    fn answer(&mut self, node: u32, now: Now, seeds: &[SocketAddr]) {
        if let Some(machine) = &mut self.hosts[node as usize].machine {
            self.tally.events += 1;
            machine.handle_seeds(now, seeds);
        }
    }

    /// The addresses that the names of all seeds have, in the eyes of `node`.
    fn answered(&self, node: u32, answers: Option<Answers>) -> Vec<SocketAddr> {
        let book = &self.network.addresses;
        let mut seeds = self.seeds();
        let host = &self.hosts[node as usize];
        match answers {
            Some(Answers::Partial) => {
                let mut name = 0;
                seeds.retain(|_| {
                    name += 1;
                    (name + node) % 2 == 1
                });
            }
            Some(Answers::Changing) => {
                let place = host.lookups as usize % seeds.len();
                seeds = vec![seeds[place]];
            }
            Some(Answers::Foreign) => {
                let nobody = addr(u32::try_from(self.hosts.len() + SEEDS).unwrap_or(0), FIRST_PORT);
                seeds = vec![book.home(node, host.port), nobody];
            }
            _ => {}
        }
        seeds
    }
}
