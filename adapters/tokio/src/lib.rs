#![doc = include_str!("../README.md")]

/// The main README's example, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

/// How services are written, called, tested and changed.
#[doc = include_str!("../docs/rpc.md")]
pub mod guide {}

mod adapter;

pub use adapter::Tokio;
pub use chinwag;
pub use chinwag::*;

/// [`chinwag::Node`], started on tokio: it has all its methods, and a [`builder`](NodeOn::builder)
/// that need not be told the runtime.
pub type Node = NodeOn<Tokio>;
