#![doc = include_str!("../README.md")]

mod adapter;

pub use adapter::AsyncStd;
pub use chinwag;
pub use chinwag::*;

/// [`chinwag::Node`], started on async-std: it has all its methods, and a
/// [`builder`](NodeOn::builder) that need not be told the runtime.
pub type Node = NodeOn<AsyncStd>;
