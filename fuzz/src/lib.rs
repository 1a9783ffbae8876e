//! What chinwag's fuzz targets do with their bytes: each a library function, so that stable `cargo
//! test -p chinwag-fuzz` replays what is kept, seeds and past crashes, without a fuzzer.
//!
//! ```text
//!   datagram            anything on both planes of a node; a twin that is spared what fails a check
//!   membership_ops      claims, verbs, timers, against a model written from the protocol's text
//!   claims              claims alone against that model, in `tests/claims.rs` and not a target
//!   connection_bytes    a peer that may say anything, to one connection
//!   connection_ops      two connections, with the stream split anywhere and not split
//!   schedule            a fuzzer's bytes as everything that the simulator leaves to chance
//!   seal                two nodes that seal datagrams, and a network that repeats and changes them
//!   store_merge         one history of writes and purges, in any order, on replicas of the store and on a naive model
//!   view                any bytes as an archive
//!   hlc                 both clocks against one in wide integers
//!   wire_roundtrip      any bytes as a payload, against a second codec
//!
//!   input               numbers out of bytes       packet, forge, stream     payloads and frames by hand
//! ```
#![doc = include_str!("../../docs/fuzzing.md")]

pub mod claims;
pub mod connection_bytes;
pub mod connection_ops;
pub mod coverage;
pub mod datagram;
pub mod forge;
pub mod hlc;
pub mod input;
pub mod membership_ops;
pub mod model;
pub mod packet;
pub mod schedule;
pub mod seal;
pub mod store_merge;
pub mod stream;
pub mod traces;
pub mod view;
pub mod wire_roundtrip;

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use peak_alloc::PeakAlloc;

/// The allocator of every program here: it counts, for [`connection_bytes`].
#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

/// A target's name and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 10] = [
    ("connection_bytes", |data| connection_bytes::run(data, allocated)),
    ("connection_ops", connection_ops::run),
    ("datagram", datagram::run),
    ("hlc", hlc::run),
    ("membership_ops", |data| _ = membership_ops::run(data)),
    ("schedule", |data| _ = schedule::run(data)),
    ("seal", seal::run),
    ("store_merge", store_merge::run),
    ("view", view::run),
    ("wire_roundtrip", wire_roundtrip::run),
];

/// Bytes that this process has allocated at present, on all its threads.
pub fn allocated() -> usize {
    ALLOCATED.current_usage()
}

/// Whether stories are told as they go, for whoever reads a failing one: `replay` sets it.
pub static IS_TOLD: AtomicBool = AtomicBool::new(false);

/// Says one line of a story, if stories are told.
#[expect(clippy::print_stderr, reason = "only where somebody has asked for it")]
fn tell(line: impl FnOnce() -> String) {
    if IS_TOLD.load(Relaxed) {
        eprintln!("{}", line());
    }
}
