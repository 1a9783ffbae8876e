//! Calls, one-way messages and gossip over one byte stream (`docs/protocol.md` §5).

pub mod config;

mod calls;
mod connection;
mod deadlines;
mod dispatch;
mod ending;
mod event;
mod frame;
mod headers;
mod hello;
mod inbound;
mod methods;
mod read;
mod receive;
mod send;
mod stats;
mod status;

pub use config::{Config, ConfigError};
pub use connection::{Connection, Side};
pub use event::{
    CallId, CloseReason, Event, Fingerprint, Flush, GossipError, InboundId, Request, RequestError,
    RespondError,
};
pub use headers::{Headers, HeadersError};
pub use hello::{Hello, MAGIC, PeerHello, STREAM_VERSION_MAX, STREAM_VERSION_MIN, archive_format};
pub use stats::Stats;
pub use status::{Code, Status};
