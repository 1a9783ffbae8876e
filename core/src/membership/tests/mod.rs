//! Stories of clusters driven by hand. Each rule of `docs/protocol.md` §4 has a test that names it.

extern crate std;

mod cluster;
mod defects;
mod forge;
mod found;
mod identity;
mod net;
mod review;
mod rules;
mod scale;
mod seeds;
