//! The node: its handle, its builder, its task, its clock and its extensions.

pub(crate) mod builder;
pub(crate) mod clock;
pub(crate) mod extension;
pub(crate) mod handle;
pub(crate) mod node_on;
mod report;
#[cfg(feature = "secure")]
pub(crate) mod security;
mod seeds;
mod start;
pub(crate) mod task;
pub(crate) mod weak_node;
