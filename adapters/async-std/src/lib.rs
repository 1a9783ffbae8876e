#![doc = include_str!("../README.md")]
//!
//! # Where to look
//!
//! [`Node`] is where everything begins, and [`Builder`] has its settings. [`Service`], [`Handler`]
//! and [`Message`] are for services; [`Client`], [`Balanced`] and [`FanOut`] make calls, which fail
//! with a [`Status`]; [`Consistency`] chooses members; [`Clock`] gives timestamps; [`Watch`] has
//! the events. [`chinwag`] has the whole map.

mod adapter;

pub use adapter::AsyncStd;
pub use chinwag;
pub use chinwag::*;

/// [`chinwag::Node`], started on async-std: it has all its methods, and a
/// [`builder`](NodeOn::builder) that need not be told the runtime.
pub type Node = NodeOn<AsyncStd>;
