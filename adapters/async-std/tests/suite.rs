//! async-std passes the suite of all runtimes.

use std::sync::Arc;

use chinwag_async_std::{AsyncStd, Runtime};
use chinwag_conformance::{Host, Story};

struct OnAsyncStd(Arc<AsyncStd>);

impl Host for OnAsyncStd {
    fn runtime(&self) -> Arc<dyn Runtime> {
        self.0.clone()
    }

    fn block_on(&self, story: Story<'_>) {
        async_std::task::block_on(story);
    }
}

chinwag_conformance::suite!(OnAsyncStd(Arc::new(AsyncStd::new())));
