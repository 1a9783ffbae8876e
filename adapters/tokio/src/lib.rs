#![doc = include_str!("../README.md")]
//!
//! # Where to look
//!
//! [`Node`] is where everything begins, and [`Builder`] has its settings. [`Service`], [`Handler`]
//! and [`Message`] are for services; [`Client`], [`Balanced`] and [`FanOut`] make calls, which fail
//! with a [`Status`]; [`Consistency`] chooses members; [`Clock`] gives timestamps; [`Watch`] has
//! the events. [`guide`] shows how services are written, called, tested and changed, and
//! [`chinwag`] has the whole map.

/// The main README's example, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

/// The examples of the guide to encryption, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/security.md")]
struct SecurityGuide;

/// How services are written, called, tested and changed.
///
/// [protocol.md]: https://github.com/chinwag-rs/chinwag/blob/main/docs/protocol.md
/// [simulation.md]: https://github.com/chinwag-rs/chinwag/blob/main/docs/simulation.md
#[doc = include_str!("../docs/rpc.md")]
pub mod guide {}

mod adapter;

pub use adapter::Tokio;
pub use chinwag;
pub use chinwag::*;

/// [`chinwag::Node`], started on tokio: it has all its methods, and a [`builder`](NodeOn::builder)
/// that need not be told the runtime.
pub type Node = NodeOn<Tokio>;
