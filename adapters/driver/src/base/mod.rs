//! What every layer above may use: the seam to the runtime, limits, locks, bells and watches.

pub mod limits;
pub(crate) mod pipe;
pub mod runtime;
pub(crate) mod sync;
pub(crate) mod watch;
