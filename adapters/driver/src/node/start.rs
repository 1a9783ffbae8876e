//! Parts of a node's start: its sockets, and what is said of it.

use std::io;
use std::net::SocketAddr;

use chinwag_core::membership::Planes;

use crate::base::limits::BIND_ATTEMPTS_MAX;
use crate::base::runtime::Runtime;
use crate::base::state::NodeState;
use crate::node::builder::StartError;
use crate::node::task::Sockets;
use crate::serve::shared::Shared;

/// Says that the node starts, and whether what it sends can be read.
pub(super) fn announce(shared: &Shared, is_exposed: bool) {
    let NodeState { id, bound, addr, cluster, .. } = &*shared.node;
    let epoch = shared.node.epoch();
    tracing::info!(
        target: "chinwag::node", local = %id, %epoch, %bound, %addr, cluster, "node starts"
    );
    if let Some(security) = shared.node.security.as_ref().filter(|it| it.is_transitional()) {
        tracing::warn!(
            target: "chinwag::security", local = %id, key = %security.key_in_use(),
            "the node also hears nodes that do not encrypt: start every node with the secret, and \
             then call `require`"
        );
    } else if let Some(security) = &shared.node.security {
        tracing::info!(
            target: "chinwag::security", local = %id, key = %security.key_in_use(),
            "everything that the node sends and receives is encrypted"
        );
    } else if is_exposed {
        tracing::warn!(
            target: "chinwag::node",
            local = %id,
            "nothing that this node sends or receives at {addr} is encrypted: give every node \
             of the cluster the same `secret`, or run it on a network that you trust"
        );
    }
}

/// TCP and UDP on one port. The system picks a TCP port without asking whether UDP's is free, so
/// that may take a few tries.
pub(super) async fn bind(
    runtime: &dyn Runtime,
    listen: SocketAddr,
    planes: Planes,
) -> Result<Sockets, StartError> {
    let failed = |error| StartError::Bind { addr: listen, error };
    for attempt in 1..=BIND_ATTEMPTS_MAX {
        let listener = runtime.listen(listen).await.map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        if planes == Planes::StreamOnly {
            return Ok(Sockets { addr, listener, udp: None });
        }
        match runtime.bind_udp(addr).await {
            Ok(udp) => return Ok(Sockets { addr, listener, udp: Some(udp) }),
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse
                    && listen.port() == 0
                    && attempt < BIND_ATTEMPTS_MAX => {}
            Err(error) => return Err(failed(error)),
        }
    }
    unreachable!("the last attempt returns")
}
