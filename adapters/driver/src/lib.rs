//! A cluster layer to embed: who is in the cluster and alive, one causal clock, zero-copy calls
//! between members, a choice of members to talk to, and a place to plug extensions in.
//!
//! ```text
//!            your services, clients, extensions
//!                        |
//!                      Node                        cheap to clone; its last drop is its end
//!                        |
//!    NodeTask ----- Shared: registry, board, links ----- LinkTask, one for each connection
//!        |                                                   |
//!   protocol::Membership                              protocol::rpc::Connection
//!        |                                                   |
//!        +------------------- dyn Runtime -------------------+
//! ```
//!
//! This crate is the part of chinwag that is asynchronous and the same on every runtime. The
//! protocol is in [`protocol`]; a runtime is behind [`runtime::Runtime`]. Programs add an adapter
//! crate, such as `chinwag-tokio`, which re-exports this one and has a `Node::builder(..).start()`
//! of its own:
//!
//! ```
//! # use chinwag::{Consistency, Runtime};
//! # use std::sync::Arc;
//! # async fn example(runtime: Arc<dyn Runtime>) -> Result<(), Box<dyn std::error::Error>> {
//! use chinwag::Node;
//!
//! let node = Node::builder(1, "127.0.0.1:8000".parse()?)
//!     .cluster("demo").data_center("eu-west").seeds(["127.0.0.1:8001"])
//!     .start_on(runtime).await?;             // binds; joins in the background
//! let peer = node.select(Consistency::One)?[0];
//! let stamp = node.clock().now();
//! node.leave().await?;
//! # Ok(())
//! # }
//! ```
//!
//! Libraries of services and extensions depend on this crate alone, and run on every runtime, and
//! in the simulator.
//!
//! What it is not: it has no server of its own and no coordinator; it gives no consensus and stores
//! nothing.

mod base;
mod call;
mod link;
mod message;
mod node;
mod serve;
mod stats;

pub use base::{limits, runtime};
pub use bytes::Bytes;
pub use chinwag_core as protocol;
pub use chinwag_core::clock::{ParseTimestampError, Stamp, Timestamp};
pub use chinwag_core::id::{Epoch, Incarnation, NodeId};
pub use chinwag_core::membership::{
    BroadcastError, Config, Event, Member, Metadata, MetadataError, Planes, SendError, Snapshot,
    State,
};
pub use chinwag_core::rpc::{Code, Fingerprint, Headers, HeadersError, Status};
pub use chinwag_core::select::{
    Consistency, LocalFirst, NodeSelector, Picks, PowerOfTwo, Rendezvous, SelectError, Spread,
    Topology,
};
/// The archive format of messages, in the version that chinwag uses. With it a program needs no
/// dependency of its own on rkyv: a derive names it by `#[rkyv(crate = chinwag::rkyv)]`.
pub use rkyv;

pub use base::life::LeaveReport;
pub use base::runtime::{Ambient, Runtime};
pub use base::watch::{Members, Watch};
pub use call::balanced::Balanced;
pub use call::client::{Client, Reply, Request};
pub use call::fan_out::{Answer, Calls, FanOut, FanOutError};
pub use call::stream_call::{CallReader, StreamCall};
pub use link::stream_halves::{Chunk, Incoming, Outgoing};
pub use message::method::{Body, Message, Method, Never, Payload, Raw, Received, Streaming};
pub use message::view::{Malformed, View};
pub use node::builder::{Builder, OnRuntime, StartError};
pub use node::clock::Clock;
pub use node::extension::ClusterExtension;
pub use node::handle::{LeaveError, Node, WaitError};
pub use node::node_on::NodeOn;
pub use node::weak_node::WeakNode;
pub use serve::context::{Caller, Context};
pub use serve::service::{AddServiceError, Handler, Methods, Service, StreamHandler};
pub use stats::counters::{MethodStats, Role, Stats};
pub use stats::interceptor::{CallInfo, Interceptor};
pub use stats::latency::Latency;
pub use stats::trace::{TRACEPARENT, TraceContext};
