//! Who is in the cluster, and who of them is alive.
//!
//! ```text
//!   datagrams, gossip frames, time            verbs: join, leave, set_metadata, broadcast, send
//!             |                                              |
//!         handle_*                                           v
//!             v      +------------------------------- Membership -------------------------------+
//!             +----->| Table + Ring   Probe  Suspicions  Rumors   Sync   Join   Relays   Checks |
//!                    +----------+------------------------+-------------------------+------------+
//!                               v                        v                         v
//!                      poll_transmit(&mut buf)      poll_event()            poll_timeout()
//! ```
//!
//! [`Membership`] is SWIM with all of Lifeguard: randomised round-robin probes with indirect and
//! stream-plane pings, suspicions that shrink with independent confirmations, refutation, rumours
//! on every datagram, and anti-entropy by digest. `docs/protocol.md` §4 is its specification; code
//! cites the rule it implements.
//!
//! It is a function of its inputs: no socket, clock, thread or chance but the seed. The driver's
//! loop is
//!
//! ```text
//! loop {
//!     wait until a datagram, a gossip frame, a command, or the instant of poll_timeout()
//!     handle_*(now, …)
//!     while let Some(transmit) = poll_transmit(now, &mut buf) { send buf }
//!     while let Some(event) = poll_event() { publish }
//!     if poll_lookup() { look the seeds up, then handle_seeds(now, addresses) }
//! }
//! ```
//!
//! It is not a consensus protocol: views of different members differ for moments, and two sides of
//! a partition both go on. Ownership of anything belongs to something that agrees.

mod admit;
mod apply;
mod broadcast;
mod claims;
mod join;
mod leave;
mod machine;
mod probe;
mod receive;
mod relay;
mod say;
mod sizes;
mod state;
mod sync;
mod timers;
mod transmit;

#[cfg(test)]
mod tests;

#[cfg(feature = "fuzzing")]
pub use claims::fuzzing;
pub use machine::Membership;
pub use state::broadcasts::{BroadcastError, SendError};
pub use state::config::*;
pub use state::due::TimeoutReason;
pub use state::event::{Event, Snapshot};
pub use state::local::{Local, StreamPeer};
pub use state::member::Member;
pub use state::metadata::{DATA_CENTER_KEY, Metadata, MetadataError};
pub use state::outbox::{Destination, Plane, Transmit};
pub use state::stats::{Sizes, Stats};

pub use crate::wire::update::{ACCUSERS_MAX, METADATA_LEN_MAX, State};
