//! What every layer above may use: the seam to the runtime, limits, locks, bells and watches, and a
//! node's plain state.

pub(crate) mod inbox;
pub(crate) mod life;
pub mod limits;
pub(crate) mod owned_task;
pub(crate) mod pipe;
pub mod runtime;
#[cfg(feature = "secure")]
pub(crate) mod secure;
#[cfg(not(feature = "secure"))]
#[path = "plain.rs"]
pub(crate) mod secure;
pub(crate) mod seeds;
pub(crate) mod state;
pub(crate) mod sync;
pub(crate) mod watch;
