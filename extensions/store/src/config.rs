//! [`Config`]: how often and how long.

use std::time::Duration;

/// Times of a store. [`StoreExtension`](crate::StoreExtension) sets them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) timeout: Duration,
    pub(crate) exchange_interval: Duration,
    pub(crate) purge_interval: Duration,
    pub(crate) purge_after: Duration,
    pub(crate) forget_after: Duration,
    /// How many replicas count, whoever is seen.
    pub(crate) replicas: Option<usize>,
    /// How many replicas count at least.
    pub(crate) replicas_min: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            exchange_interval: Duration::from_secs(10),
            purge_interval: Duration::from_secs(60),
            purge_after: Duration::from_secs(3_600),
            forget_after: Duration::from_secs(7 * 24 * 3_600),
            replicas: None,
            replicas_min: 1,
        }
    }
}
