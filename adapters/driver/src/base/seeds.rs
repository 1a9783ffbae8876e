//! What a node joins through: [`SeedList`], and [`SeedProvider`] for addresses that no name has.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::base::runtime::BoxFuture;

/// A source of seed addresses that is neither an address nor a name: the API of an orchestrator, a
/// registry, a file. Every `async` closure that gives addresses is one:
///
/// ```
/// # use std::net::SocketAddr;
/// async fn instances() -> std::io::Result<Vec<SocketAddr>> {
///     Ok(vec!["10.0.0.1:7000".parse().unwrap()])
/// }
/// # fn with<R>(builder: chinwag::Builder<R>) -> chinwag::Builder<R> {
/// builder.seed_provider("instances", instances)
/// # }
/// ```
///
/// It is asked for as long as the node runs: in each round of joining, every few seconds while the
/// node is alone and more rarely afterwards (`docs/protocol.md` §4.8). An answer that takes longer
/// than [`LOOKUP_TIMEOUT`](crate::limits::LOOKUP_TIMEOUT), an error and an empty list are counted
/// ([`Stats::lookups_failed`](crate::Stats::lookups_failed)), and the addresses of the last good
/// answer stay.
pub trait SeedProvider: Send + Sync + 'static {
    /// The addresses at this time. The future is dropped if it takes too long.
    fn addresses(&self) -> BoxFuture<io::Result<Vec<SocketAddr>>>;
}

impl<F, A> SeedProvider for F
where
    F: Fn() -> A + Send + Sync + 'static,
    A: Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static,
{
    fn addresses(&self) -> BoxFuture<io::Result<Vec<SocketAddr>>> {
        Box::pin(self())
    }
}

/// A seed that is not `host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeedError {
    /// The seed as it was given.
    pub seed: String,
    /// What is wrong with it.
    pub fault: &'static str,
}

impl fmt::Display for SeedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, fault } = self;
        write!(f, "the seed {seed:?} is not `host:port`: {fault}")
    }
}

impl std::error::Error for SeedError {}

/// Where the addresses of a seed come from.
#[derive(Clone)]
pub(crate) enum Source {
    /// The seed is an address.
    Address(SocketAddr),
    /// The seed is a name, which the runtime looks up.
    Name,
    /// A function of the user's.
    Provider(Arc<dyn SeedProvider>),
}

impl Source {
    /// What `seed` is.
    pub(crate) fn of(seed: &str) -> Result<Self, SeedError> {
        if let Some(fault) = fault_of(seed) {
            return Err(SeedError { seed: seed.to_owned(), fault });
        }
        Ok(seed.parse().map_or(Self::Name, Self::Address))
    }
}

/// Why `seed` is not `host:port`, if it is not. Whether there is such a host is not asked here.
fn fault_of(seed: &str) -> Option<&'static str> {
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

/// The seeds that the user has given, each once.
#[derive(Clone, Default)]
pub(crate) struct SeedList {
    seeds: Vec<(String, Source)>,
}

impl SeedList {
    /// Adds a seed, or gives the one of that name another source. Returns the source before.
    pub(crate) fn add(&mut self, name: String, source: Source) -> Option<Source> {
        match self.seeds.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => Some(std::mem::replace(known, source)),
            None => {
                self.seeds.push((name, source));
                None
            }
        }
    }

    /// Takes a seed out, and returns its source if it was there.
    pub(crate) fn remove(&mut self, name: &str) -> Option<Source> {
        let at = self.seeds.iter().position(|(known, _)| known == name)?;
        Some(self.seeds.remove(at).1)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.seeds.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &(String, Source)> {
        self.seeds.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_host_and_a_port() {
        for good in
            ["10.0.0.1:7000", "[::1]:7000", "db-1:7000", "db_1.eu.example:1", "[fe80::1%2]:9"]
        {
            assert_eq!(fault_of(good), None, "{good}");
        }
        for (bad, expected) in [
            ("", "no port"),
            ("db-1", "no port"),
            ("10.0.0.1", "no port"),
            (":7000", "no host"),
            ("db-1:", "not a number"),
            ("db-1:http", "not a number"),
            ("db-1:65536", "not a number"),
            ("db-1:0", "port is 0"),
            ("10.0.0.1:0", "port is 0"),
            ("::1:7000", "brackets"),
            ("http://db-1:7000", "neither"),
            ("db 1:7000", "neither"),
        ] {
            let fault = fault_of(bad);
            assert!(fault.is_some_and(|fault| fault.contains(expected)), "{bad}: {fault:?}");
        }
    }

    #[test]
    fn a_seed_is_in_the_list_once() {
        let mut list = SeedList::default();
        assert!(list.add("db:7".into(), Source::Name).is_none());
        assert!(list.add("db:7".into(), Source::Name).is_some());
        assert_eq!(list.iter().count(), 1);
        assert!(list.remove("db:7").is_some());
        assert!(list.remove("db:7").is_none());
        assert!(list.is_empty());
    }
}
