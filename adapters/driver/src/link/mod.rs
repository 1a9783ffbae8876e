//! Connections: the half that callers share, its task, its streams, and the table of all of them.

pub(crate) mod calls;
mod ending;
pub(crate) mod handle;
pub(crate) mod local;
pub(crate) mod serve;
pub(crate) mod state;
mod strangers;
pub(crate) mod stream_halves;
pub(crate) mod streams;
pub(crate) mod table;
pub(crate) mod task;
pub(crate) mod writing;

#[cfg(test)]
mod tests;
