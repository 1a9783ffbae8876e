//! smol passes the suite of all runtimes, on the global executor and on one of the program's own.

use std::sync::Arc;

use chinwag_conformance::{Host, Story};
use chinwag_smol::{Runtime, Secret, Smol};
use smol::Executor;

/// And whether the clusters are encrypted.
struct Global(Arc<Smol>, bool);

impl Host for Global {
    fn runtime(&self) -> Arc<dyn Runtime> {
        self.0.clone()
    }

    fn block_on(&self, story: Story<'_>) {
        smol::block_on(story);
    }

    fn secret(&self) -> Option<Secret> {
        self.1.then(|| Secret::from_bytes([1; 32]))
    }
}

fn global(is_encrypted: bool) -> Global {
    Global(Arc::new(Smol::new()), is_encrypted)
}

/// An executor on the story's own thread.
struct Own(Arc<Executor<'static>>);

impl Host for Own {
    fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::new(Smol::on(self.0.clone()))
    }

    fn block_on(&self, story: Story<'_>) {
        smol::block_on(self.0.run(story));
    }
}

mod on_the_global_executor {
    chinwag_conformance::suite!(super::super::global(false));
}

mod encrypted {
    chinwag_conformance::suite!(super::super::global(true));
}

mod on_an_executor_of_its_own {
    chinwag_conformance::suite!(super::super::Own(std::sync::Arc::default()));
}
