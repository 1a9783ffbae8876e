//! Other frameworks at the same echo: `{u64, String, bytes}`, which the handler takes as a typed
//! message and gives back.
//!
//! Each in its best case: `TCP_NODELAY` where it lets one set it, `Bytes` where it knows them, one
//! connection a client.

mod datacake;
mod tarpc;
mod tonic;

pub(super) use datacake::Datacake;
pub(super) use tarpc::Tarpc;
pub(super) use tonic::Tonic;

/// What is in the messages beside their bytes.
const ID: u64 = 7;
const NAME: &str = "a-short-name";
