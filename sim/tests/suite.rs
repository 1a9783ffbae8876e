//! The simulator's runtime passes the suite of all runtimes, in virtual time: benign, and with
//! tasks out of order and reads and writes split.
//!
//! One case needs a thread of the outside (`a_task_is_woken_from_another_thread`): the engine waits
//! for it in real time, which it does only where nothing in the world can happen.

use std::net::SocketAddr;
use std::sync::Arc;

use chinwag_conformance::{Host, Story};
use chinwag_sim::choices::{Choices, Seeded, Tape};
use chinwag_sim::node::Engine;

use chinwag::{Runtime, Secret};

/// A world, and whether the clusters in it are encrypted.
struct Virtual(Engine, bool);

impl Virtual {
    fn new(choices: impl Choices + 'static) -> Self {
        Self(Engine::new(1, 7, Box::new(choices)), false)
    }

    fn encrypted(choices: impl Choices + 'static) -> Self {
        Self(Self::new(choices).0, true)
    }
}

impl Host for Virtual {
    fn runtime(&self) -> Arc<dyn Runtime> {
        self.0.runtime(0)
    }

    fn block_on(&self, story: Story<'_>) {
        self.0.block_on(story);
    }

    fn addr(&self) -> SocketAddr {
        self.0.addr(0)
    }

    fn secret(&self) -> Option<Secret> {
        self.1.then(|| Secret::from_bytes([1; 32]))
    }
}

mod benign {
    chinwag_conformance::suite!(super::super::Virtual::new(super::super::Tape::default()));
}

mod encrypted {
    chinwag_conformance::suite!(super::super::Virtual::encrypted(super::super::Seeded::new(4)));
}

mod seeded {
    chinwag_conformance::suite!(super::super::Virtual::new(super::super::Seeded::new(3)));
}
