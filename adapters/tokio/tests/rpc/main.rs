//! Calls over real sockets, beyond what every runtime is tested for (`chinwag-conformance`): many
//! at once, peers that freeze, connections that are cut, services side by side.

mod common;
mod cut;
mod load;
mod pace;
mod proxy;
mod services;
