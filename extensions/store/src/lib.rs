#![doc = include_str!("../../../docs/store.md")]

mod document;
mod key;
pub mod limits;
mod memory;
mod storage;
#[cfg(feature = "suite")]
pub mod suite;

pub use document::{Document, Entry, Version};
pub use key::{Key, KeyError};
pub use memory::MemoryStorage;
pub use storage::Storage;
