//! What a node counts and reports: counters, meters, latencies, traces and interceptors.

pub(crate) mod counters;
pub(crate) mod interceptor;
pub(crate) mod latency;
pub(crate) mod meter;
pub(crate) mod trace;
