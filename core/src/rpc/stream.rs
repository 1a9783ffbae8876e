//! The streams of a connection: their [types], the [table] of the halves that are
//! open, and their [flow control](flow_control) (`docs/protocol.md` §5.11, §5.12).

mod flow_control;
mod table;
mod types;

pub(super) use flow_control::{ANSWERS, FlowControl};
pub(super) use table::{Reading, Sending, Streams, chunk_len_max};
pub(super) use types::What;
pub use types::{Held, Shape, StreamError, StreamRef};
