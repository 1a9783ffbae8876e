//! Calls: clients, balanced clients, fan-outs and streaming calls.

pub(crate) mod balanced;
pub(crate) mod client;
pub(crate) mod fan_out;
pub(crate) mod nested;
mod options;
mod refusal;
pub(crate) mod stream_call;
pub(crate) mod target;
