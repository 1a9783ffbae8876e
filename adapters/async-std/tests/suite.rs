//! async-std passes the suite of all runtimes.

use std::sync::Arc;

use chinwag_async_std::{AsyncStd, Runtime, Secret};
use chinwag_conformance::{Host, Story};

/// The runtime, and whether the clusters on it are encrypted.
struct OnAsyncStd(Arc<AsyncStd>, bool);

impl Host for OnAsyncStd {
    fn runtime(&self) -> Arc<dyn Runtime> {
        self.0.clone()
    }

    fn block_on(&self, story: Story<'_>) {
        async_std::task::block_on(story);
    }

    fn secret(&self) -> Option<Secret> {
        self.1.then(|| Secret::from_bytes([1; 32]))
    }
}

fn host(is_encrypted: bool) -> OnAsyncStd {
    OnAsyncStd(Arc::new(AsyncStd::new()), is_encrypted)
}

mod in_clear {
    chinwag_conformance::suite!(super::super::host(false));
}

mod encrypted {
    chinwag_conformance::suite!(super::super::host(true));
}
