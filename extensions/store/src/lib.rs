#![doc = include_str!("../README.md")]
//!
//! # Where to look
//!
//! [`StoreExtension`] is added to a node and has the settings. It gives a [`Store`], whose
//! [`Keyspace`]s are read and written at a [`Consistency`]. [`rules`] says what is promised.

/// What the store promises, rule by rule.
#[doc = include_str!("../docs/store.md")]
pub mod rules {}

mod any_storage;
mod claims;
mod config;
mod document;
mod error;
mod exchange;
mod extension;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod gather;
mod index;
mod janitor;
mod join;
mod key;
mod keyspace;
pub mod limits;
#[cfg(test)]
mod lying;
mod memory;
mod peers;
mod range;
#[cfg(feature = "redb")]
mod redb;
mod repair;
mod replica;
mod roster;
mod service;
mod shelf;
mod spread;
mod stats;
mod storage;
mod store;
#[cfg(feature = "suite")]
pub mod suite;
mod votes;
mod wire;

#[cfg(feature = "redb")]
pub use self::redb::{CACHE_LEN_DEFAULT, RedbError, RedbStorage};
pub use any_storage::StorageError;
pub use chinwag::{Bytes, Consistency};
pub use document::{Document, Entry, Version};
pub use error::{IsKept, LimitError, ReadError, TooFew, WriteError};
pub use extension::StoreExtension;
pub use key::{IntoKey, Key, KeyError};
pub use keyspace::{Keyspace, Page, Written};
pub use memory::MemoryStorage;
pub use repair::{Repaired, repair};
pub use replica::OpenError;
pub use stats::Stats;
pub use storage::Storage;
pub use store::Store;
