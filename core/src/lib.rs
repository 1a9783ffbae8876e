//! chinwag turns Rust programs into a cluster: the nodes in them find each other, know who is
//! alive, share one causal clock, and call each other's services. This crate is its protocol as
//! pure state machines: bytes and time go in, bytes and events come out.
//!
//! A program that wants a cluster adds `chinwag-tokio`, `chinwag-smol` or `chinwag-async-std`,
//! which drive this crate on sockets. Add this crate itself to write a driver of your own.
//!
//! ```text
//!   membership::Membership   who is in the cluster, and alive        one a node
//!   rpc::Connection          calls and gossip over one byte stream   one a stream
//!   clock::SharedHlc         one causal clock for all of them        one a node
//!   seal::Seal               encrypts datagrams, refuses replays     one a node with a secret
//!   select                   which members to talk to                over an immutable Topology
//!   wire                     what it all looks like as bytes
//! ```
//!
//! There is no socket, clock, thread, task, global or OS randomness in here: `now` and `seed` are
//! arguments ([`time::Now`]), and a driver moves the bytes. Every machine has four families of
//! methods and no others: `handle_*` takes the world in, `poll_*` gives out what the machine wants,
//! verbs are the user's commands, the rest are getters. Nothing that a peer sends makes a machine
//! fail, hang, or grow past its limits.
//!
//! Two nodes that meet, with nothing but this crate:
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//! use chinwag_core::clock::SharedHlc;
//! use chinwag_core::id::{Epoch, NodeId};
//! use chinwag_core::membership::{Config, Local, Member, Membership, Metadata, StreamPeer};
//! use chinwag_core::time::{Instant, Now, WallTime};
//!
//! let now = Now { mono: Instant::ZERO, wall: WallTime::from_nanos(1_700_000_000_000_000_000) };
//! let node = |id, addr: &str| {
//!     let (id, epoch) = (NodeId::new(id), Epoch::at(now.wall));
//!     let local = Local { id, epoch, addr: addr.parse().unwrap(), metadata: Metadata::new() };
//!     let clock = Arc::new(SharedHlc::new(Duration::from_millis(500)));
//!     Membership::new(Config::lan(), local, clock, id.get(), now).unwrap()
//! };
//! let (mut a, mut b) = (node(1, "10.0.0.1:7000"), node(2, "10.0.0.2:7000"));
//!
//! a.join(now);
//! a.handle_timeout(now);
//! assert!(a.poll_lookup());
//! a.handle_seeds(now, &[b.local().addr]);
//!
//! // What a driver does: carry payloads until nobody has any.
//! let peer = |of: Member| StreamPeer { id: of.id, epoch: of.epoch, addr: of.addr };
//! let mut buf = Vec::new();
//! loop {
//!     let before = a.stats().streams_out + b.stats().streams_out;
//!     while a.poll_transmit(now, &mut buf).is_some() {
//!         b.handle_stream(now, peer(a.local()), &buf);
//!     }
//!     while b.poll_transmit(now, &mut buf).is_some() {
//!         a.handle_stream(now, peer(b.local()), &buf);
//!     }
//!     if a.stats().streams_out + b.stats().streams_out == before { break }
//! }
//! assert_eq!(a.snapshot().members()[0].id, NodeId::new(2));
//! assert_eq!(b.snapshot().members()[0].id, NodeId::new(1));
//! ```
//!
//! What it is not: it brings no cryptography of its own ([`seal::Cryptography`] asks for it), it
//! keeps nothing on disk, and it decides nothing by majority.
//!
//! Guides: [the protocol][protocol], rule by rule, which code and tests cite; [how it is
//! built][architecture]; `custom_driver`, [a driver on std's sockets][driver]. Features: `std`, on
//! by default, passes `std` on to the crate `bytes`; `fuzzing` is for chinwag's own fuzz targets.
//! Status: before 0.1, so the API and the wire format still change.
//!
//! [protocol]: https://github.com/chinwag-rs/chinwag/blob/main/docs/protocol.md
//! [architecture]: https://github.com/chinwag-rs/chinwag/blob/main/docs/architecture.md
//! [driver]: https://github.com/chinwag-rs/chinwag/blob/main/examples/custom_driver.rs
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod clock;
pub mod id;
pub mod membership;
pub mod rng;
pub mod rpc;
pub mod seal;
pub mod select;
pub mod time;
pub mod wire;
