#![doc = include_str!("../../../docs/store.md")]

mod document;
mod key;
pub mod limits;
mod memory;
#[cfg(feature = "redb")]
mod redb;
mod storage;
#[cfg(feature = "suite")]
pub mod suite;

#[cfg(feature = "redb")]
pub use self::redb::{CACHE_LEN_DEFAULT, RedbError, RedbStorage};
pub use document::{Document, Entry, Version};
pub use key::{Key, KeyError};
pub use memory::MemoryStorage;
pub use storage::Storage;
