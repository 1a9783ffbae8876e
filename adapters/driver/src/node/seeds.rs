//! [`Seeds`]: the addresses to join through, what came of trying them, and what the log says while
//! nobody is found (`docs/troubleshooting.md`).

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chinwag_core::id::NodeId;
use chinwag_core::time::Instant;

use crate::base::limits::{SEED_WARNING_MAX, SEED_WARNING_MIN, SEEDS_NAMED_MAX};

/// What the resolver says of one seed.
pub(super) type Answer = io::Result<Vec<SocketAddr>>;

/// Why `seed` is not `host:port`, if it is not. Whether there is such a host is not asked here.
pub(super) fn fault_of(seed: &str) -> Option<&'static str> {
    let numbered = seed.parse::<SocketAddr>().ok().map(|addr| addr.port());
    let Some((host, port)) = seed.rsplit_once(':') else { return Some("it has no port") };
    if numbered.is_none() && port.parse::<u16>().is_err() {
        return Some("its port is not a number from 1 to 65535");
    }
    if numbered == Some(0) || port.parse() == Ok(0u16) {
        return Some("its port is 0");
    }
    if numbered.is_some() {
        return None;
    }
    if host.is_empty() {
        return Some("it has no host");
    }
    let is_foreign = |c: char| c.is_whitespace() || c.is_control() || "/@?#[]".contains(c);
    if host.contains(is_foreign) {
        return Some("its host is neither a name nor an address");
    }
    host.contains(':').then_some("an IPv6 address is written in brackets, as in [::1]:7000")
}

/// The seeds of one node.
pub(super) struct Seeds {
    names: Arc<[String]>,
    /// For each seed, what the last look-up gave: its addresses, or why there are none.
    found: Vec<Result<Vec<SocketAddr>, String>>,
    /// Of addresses of seeds, why the last dial came to nothing.
    failures: Vec<(SocketAddr, String)>,
    /// This node's own addresses: it may be among its seeds.
    own: [SocketAddr; 2],
    /// When the log says again that nobody was found, and how long after that it does so next.
    warn_at: Option<Instant>,
    distance: Duration,
}

impl Seeds {
    pub(super) fn new(names: Vec<String>, own: [SocketAddr; 2]) -> Self {
        Self {
            names: names.into(),
            found: Vec::new(),
            failures: Vec::new(),
            own,
            warn_at: None,
            distance: SEED_WARNING_MIN,
        }
    }

    pub(super) fn names(&self) -> Arc<[String]> {
        self.names.clone()
    }

    /// A round of joining begins, and the one before it is over: if `is_alone`, it found nobody.
    pub(super) fn begin_round(&mut self, now: Instant, is_alone: bool, local: NodeId) {
        if let Some(text) = self.warning(now, is_alone) {
            tracing::warn!(target: "chinwag::join", %local, "{text}");
        }
        self.failures.clear();
    }

    /// What the log is to say now: after the first round in which nobody was found, and then at a
    /// distance that doubles. A node that has found somebody begins anew.
    fn warning(&mut self, now: Instant, is_alone: bool) -> Option<String> {
        if !is_alone || self.found.is_empty() {
            self.warn_at = None;
            self.distance = SEED_WARNING_MIN;
            return None;
        }
        if self.warn_at.is_some_and(|at| now < at) {
            return None;
        }
        let text = self.summary()?;
        self.warn_at = Some(now + self.distance);
        self.distance = (self.distance * 2).min(SEED_WARNING_MAX);
        Some(text)
    }

    /// What came of each seed; `None` if all of them are this node itself.
    fn summary(&self) -> Option<String> {
        let mut text = String::from("no seed has answered yet, and this node keeps trying: ");
        let others = || self.names.iter().zip(&self.found).filter(|(_, found)| !self.is_own(found));
        for (at, (name, found)) in others().take(SEEDS_NAMED_MAX).enumerate() {
            let separator = if at == 0 { "" } else { "; " };
            let _ = write!(text, "{separator}{name}: {}", self.outcome(name, found));
        }
        match others().count() {
            0 => return None,
            count if count > SEEDS_NAMED_MAX => {
                let _ = write!(text, "; and {} more", count - SEEDS_NAMED_MAX);
            }
            _ => {}
        }
        Some(text)
    }

    fn is_own(&self, found: &Result<Vec<SocketAddr>, String>) -> bool {
        let is_own = |addrs: &Vec<SocketAddr>| {
            !addrs.is_empty() && addrs.iter().all(|addr| self.own.contains(addr))
        };
        found.as_ref().is_ok_and(is_own)
    }

    fn outcome(&self, name: &str, found: &Result<Vec<SocketAddr>, String>) -> String {
        let addrs = match found {
            Err(error) => return error.clone(),
            Ok(addrs) if addrs.is_empty() => return "the name has no address".into(),
            Ok(addrs) => addrs,
        };
        match self.failures.iter().find(|(addr, _)| addrs.contains(addr)) {
            None => "no answer".into(),
            Some((addr, why)) if addr.to_string() == name => why.clone(),
            Some((addr, why)) => format!("{why} (at {addr})"),
        }
    }

    /// Keeps what the resolver says of each seed, and gives the addresses.
    pub(super) fn looked_up(&mut self, found: Vec<Answer>) -> Vec<SocketAddr> {
        self.found = found.into_iter().map(|found| found.map_err(|e| e.to_string())).collect();
        self.found.iter().flatten().flatten().copied().collect()
    }

    /// The node at `addr` was not connected. If it is no seed's, that is nothing to this.
    pub(super) fn dial_failed(&mut self, addr: SocketAddr, why: String) {
        if !self.found.iter().flatten().any(|addrs| addrs.contains(&addr)) {
            return;
        }
        match self.failures.iter_mut().find(|(known, _)| *known == addr) {
            Some((_, known)) => *known = why,
            None => self.failures.push((addr, why)),
        }
    }
}

#[cfg(test)]
mod tests;
