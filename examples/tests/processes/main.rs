//! Agents as processes: what one of them says and does, what happens to clusters of them, on one
//! runtime and on several, and to hosts with a network between them.

#![cfg(unix)]

mod agent;
mod cluster;
mod common;
mod crash;
mod custom_driver;
#[cfg(target_os = "linux")]
mod hosts;
mod kv;
mod mixed;
mod secret;
