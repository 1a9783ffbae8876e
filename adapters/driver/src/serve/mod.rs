//! Services: their registry, the context of a call, and the calls that peers make.

pub(crate) mod begin;
pub(crate) mod context;
pub(crate) mod inbound;
pub(crate) mod pace;
pub(crate) mod registry;
pub(crate) mod service;
pub(crate) mod shared;
pub(crate) mod tasks;
