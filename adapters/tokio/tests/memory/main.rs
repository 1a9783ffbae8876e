//! What nodes hold in memory, counted by the allocator: so in a process of its own, one test at a
//! time.

mod bodies;
mod common;
mod dialer;
mod unread;
