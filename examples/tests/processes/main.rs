//! Agents as processes: what one of them says and does, and what happens to clusters of them.

#![cfg(unix)]

mod agent;
mod cluster;
mod common;
mod mixed;
