//! What every layer above may use: the seam to the runtime, limits, locks, bells and watches, and a
//! node's plain state.

pub(crate) mod inbox;
pub(crate) mod life;
pub mod limits;
pub(crate) mod owned_task;
pub(crate) mod pipe;
pub mod runtime;
pub(crate) mod seeds;
pub(crate) mod state;
pub(crate) mod sync;
pub(crate) mod watch;
