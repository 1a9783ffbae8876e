//! chinwag's protocol as pure state machines.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod clock;
pub mod id;
pub mod membership;
pub mod rng;
pub mod rpc;
pub mod select;
pub mod time;
pub mod wire;
