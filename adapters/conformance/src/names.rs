//! Looking names up.

use crate::Host;
use crate::tools::poll_and_drop;

/// Of either family.
pub async fn an_address_is_its_own_name(host: &dyn Host) {
    for name in ["127.0.0.1:80", "[::1]:8000"] {
        let addr: std::net::SocketAddr = name.parse().expect("an address");
        assert_eq!(host.runtime().lookup(name).await.expect("an address"), [addr]);
    }
}

/// With an error or an empty list; both mean the same.
pub async fn a_name_that_is_none_fails(host: &dyn Host) {
    for name in ["no such host.invalid:1", "127.0.0.1", "127.0.0.1:no port", ""] {
        let found = host.runtime().lookup(name).await.unwrap_or_default();
        assert!(found.is_empty(), "{name:?} is at {found:?}");
    }
}

/// Before it was polled, or after.
pub async fn a_dropped_look_up_harms_nothing(host: &dyn Host) {
    for _ in 0..10 {
        drop(host.runtime().lookup("127.0.0.1:80"));
        drop(poll_and_drop(host.runtime().lookup("no such host.invalid:1")));
    }
    assert!(host.runtime().lookup("127.0.0.1:80").await.is_ok_and(|found| found.len() == 1));
}
