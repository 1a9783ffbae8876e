//! Calls, one-way messages and gossip over one byte stream (`docs/protocol.md` §5).
//!
//! ```text
//!  bytes --> receive --> dispatch, fast_path --> inbound, inbound_data --> events (to the driver)
//!                                   |
//!                     calls, deadlines, stream, close
//!                                   |
//!  bytes <-- outbox <------------ outbound <------------------ verbs (from the driver)
//!               \---- flows <-------/
//! ```
//!
//! `receive` has the slab, small bodies in the `arena`, large ones in buffers of the `pool`;
//! `transmit` is what the driver writes, long bodies in it uncopied. `hello` says who speaks and
//! within which limits, `frame` has the 16-byte headers and the extension, `methods` sends names
//! once per connection, `lanes` puts fragments together, `flows` lets long messages and chunks take
//! turns behind small ones, `stream` has the halves of streams and their flow control, `credit`
//! counts windows, `fast_path` reads the usual small frame, `close` has deadlines, timers, go-away
//! and the end.
//!
//! [`Connection`] is the machine; each box is a noun of its own beside it. Not here: opening and
//! reconnecting streams, choosing a peer, retries, encoding messages. Those are the driver's.

pub mod config;

mod arena;
mod body;
mod budget;
mod calls;
mod charges;
mod close;
mod connection;
mod content;
mod credit;
mod deadlines;
mod dispatch;
mod event;
mod fast_path;
mod flows;
mod frame;
mod headers;
mod hello;
mod inbound;
mod inbound_data;
mod lanes;
mod methods;
mod mutant;
mod outbound;
mod outbox;
mod pool;
mod receive;
mod room;
mod slots;
mod stats;
mod status;
mod stream;
mod transmit;
mod trash;
mod verbs;
mod wait_queue;

pub use body::Body;
pub use budget::Budget;
pub use config::{Config, ConfigError};
pub use connection::{Connection, Side};
pub use event::{
    CallId, CloseReason, Event, Fingerprint, Flush, GossipError, InboundId, Request, RequestError,
    RespondError,
};
pub use headers::{Headers, HeadersError};
pub use hello::{Hello, MAGIC, PeerHello, STREAM_VERSION_MAX, STREAM_VERSION_MIN, archive_format};
pub use methods::MethodName;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub use mutant::Defect;
pub use receive::Receiver;
pub use stats::Stats;
pub use status::{Code, Status};
pub use stream::{Held, Shape, StreamError, StreamRef};
pub use transmit::{SLICES_MAX, Transmit};
pub use trash::Trash;

#[cfg(test)]
mod tests;
