//! What a member says about itself: a small map of strings.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use crate::wire::update::METADATA_LEN_MAX;
use crate::wire::{Reader, put};

/// The key under which a member names its data centre.
pub const DATA_CENTER_KEY: &str = "dc";

/// A bounded map of short strings that a member publishes about itself, sorted by key.
///
/// It is replaced as a whole, under a new incarnation. Cloning counts a reference. The bytes it
/// holds are its wire form (`docs/protocol.md` §2.5), at most [`METADATA_LEN_MAX`] of them; keys
/// are unique and not empty.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Metadata {
    /// `(key length, key, value length, value)*` in key order; `None` is the empty map.
    encoded: Option<Arc<[u8]>>,
}

/// Why a [`Metadata`] could not be made; the map is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetadataError {
    /// The map would encode to more than [`METADATA_LEN_MAX`] bytes.
    TooLong {
        /// Bytes it would take.
        len: usize,
    },
    /// A key is empty.
    EmptyKey,
    /// The node has left the cluster and says nothing more about itself.
    HasLeft,
}

impl fmt::Display for MetadataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { len } => {
                write!(f, "metadata takes {len} bytes, more than {METADATA_LEN_MAX}")
            }
            Self::EmptyKey => write!(f, "a metadata key is empty"),
            Self::HasLeft => write!(f, "this node has left the cluster"),
        }
    }
}

impl core::error::Error for MetadataError {}

impl Metadata {
    /// The empty map.
    pub const fn new() -> Self {
        Self { encoded: None }
    }

    /// This map with `key` set to `value`; an earlier value is replaced.
    ///
    /// # Errors
    /// [`MetadataError`] if the key is empty or the map would grow too long.
    pub fn with(&self, key: &str, value: &str) -> Result<Self, MetadataError> {
        if key.is_empty() {
            return Err(MetadataError::EmptyKey);
        }
        let others = self.iter().filter(|&(other, _)| other != key);
        let mut pairs: Vec<(&str, &str)> = others.chain([(key, value)]).collect();
        pairs.sort_unstable_by_key(|&(key, _)| key);
        Self::from_sorted(&pairs)
    }

    /// This map without `key`.
    pub fn without(&self, key: &str) -> Self {
        let pairs: Vec<(&str, &str)> = self.iter().filter(|&(other, _)| other != key).collect();
        Self::from_sorted(&pairs).expect("a part of a map that fits, fits")
    }

    fn from_sorted(pairs: &[(&str, &str)]) -> Result<Self, MetadataError> {
        let len: usize = pairs.iter().map(|(key, value)| key.len() + value.len() + 4).sum();
        // A refusal must not first build what it refuses; lengths take at most two bytes each below
        // the limit.
        if len > METADATA_LEN_MAX + 4 * pairs.len() {
            return Err(MetadataError::TooLong { len });
        }
        let mut encoded = Vec::with_capacity(len);
        for (key, value) in pairs {
            put::slice(&mut encoded, key.as_bytes());
            put::slice(&mut encoded, value.as_bytes());
        }
        if encoded.len() > METADATA_LEN_MAX {
            return Err(MetadataError::TooLong { len: encoded.len() });
        }
        Ok(Self { encoded: (!encoded.is_empty()).then(|| encoded.into()) })
    }

    /// The value of `key`, if it is set.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter().find(|&(other, _)| other == key).map(|(_, value)| value)
    }

    /// The member's data centre, empty if it names none.
    pub fn data_center(&self) -> &str {
        self.get(DATA_CENTER_KEY).unwrap_or_default()
    }

    /// All pairs in key order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut reader = Reader::new(self.as_bytes());
        core::iter::from_fn(move || pair(&mut reader))
    }

    /// Whether no key is set.
    pub const fn is_empty(&self) -> bool {
        self.encoded.is_none()
    }

    /// The wire form.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.encoded.as_deref().unwrap_or_default()
    }

    /// Reads the wire form: `None` unless it is whole, sorted, unique, UTF-8 and within the limit.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > METADATA_LEN_MAX {
            return None;
        }
        let mut reader = Reader::new(bytes);
        let mut last = "";
        while !reader.is_empty() {
            let (key, _) = pair(&mut reader)?;
            // The empty key sorts first, so this also refuses it.
            if key <= last {
                return None;
            }
            last = key;
        }
        Some(Self { encoded: (!bytes.is_empty()).then(|| bytes.into()) })
    }
}

/// Maps kept to be shared: a few data centres or racks of a large cluster.
const RECENT: usize = 8;

/// The maps read last. Members say the same again and again, and many say the same as others: a map
/// that is known is neither checked nor held a second time.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    maps: [Metadata; RECENT],
    next: usize,
}

impl Recent {
    /// [`Metadata::decode`].
    pub(crate) fn decode(&mut self, bytes: &[u8]) -> Option<Metadata> {
        if let Some(known) = self.maps.iter().find(|map| map.as_bytes() == bytes) {
            return Some(known.clone());
        }
        let read = Metadata::decode(bytes)?;
        self.maps[self.next] = read.clone();
        self.next = (self.next + 1) % RECENT;
        Some(read)
    }
}

fn pair<'a>(reader: &mut Reader<'a>) -> Option<(&'a str, &'a str)> {
    let key = core::str::from_utf8(reader.slice()?).ok()?;
    let value = core::str::from_utf8(reader.slice()?).ok()?;
    Some((key, value))
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::{String, ToString};

    #[test]
    fn a_map_keeps_its_pairs_sorted_and_replaces_values() {
        let map = Metadata::new()
            .with("zone", "b")
            .unwrap()
            .with("dc", "eu")
            .unwrap()
            .with("zone", "c")
            .unwrap();
        assert_eq!(map.iter().collect::<Vec<_>>(), [("dc", "eu"), ("zone", "c")]);
        assert_eq!(map.data_center(), "eu");
        assert_eq!(map.get("rack"), None);
        assert_eq!(map.without("zone").iter().collect::<Vec<_>>(), [("dc", "eu")]);
        assert_eq!(Metadata::decode(map.as_bytes()).as_ref(), Some(&map));
    }

    #[test]
    fn a_map_is_bounded() {
        let long: String = "x".repeat(METADATA_LEN_MAX - 4);
        let full = Metadata::new().with("k", &long).unwrap();
        assert_eq!(full.as_bytes().len(), METADATA_LEN_MAX);
        assert!(matches!(full.with("l", ""), Err(MetadataError::TooLong { .. })));
        assert_eq!(Metadata::new().with("", "v"), Err(MetadataError::EmptyKey));
    }

    #[test]
    fn maps_that_are_the_same_are_held_once() {
        let mut recent = Recent::default();
        let maps: Vec<Metadata> =
            (0..RECENT).map(|at| Metadata::new().with("rack", &at.to_string()).unwrap()).collect();
        let first: Vec<Metadata> =
            maps.iter().filter_map(|map| recent.decode(map.as_bytes())).collect();
        assert_eq!(first, maps);
        for (known, map) in first.iter().zip(&maps) {
            let again = recent.decode(map.as_bytes()).unwrap();
            let (Some(again), Some(known)) = (again.encoded, &known.encoded) else {
                panic!("not empty")
            };
            assert!(Arc::ptr_eq(&again, known));
        }
        assert_eq!(recent.decode(b""), Some(Metadata::new()));
        assert_eq!(recent.decode(b"\x01a"), None);
        assert_eq!(recent.decode(b"\x01a\x00"), Metadata::decode(b"\x01a\x00"));
    }

    #[test]
    fn only_the_canonical_form_is_read() {
        let ok = |bytes: &[u8]| Metadata::decode(bytes).is_some();
        assert!(ok(b"") && ok(b"\x01a\x00\x01b\x00"));
        let refused: [&[u8]; 6] = [
            b"\x01b\x00\x01a\x00",
            b"\x01a\x00\x01a\x00",
            b"\x00\x00",
            b"\x01a",
            b"\x01\xff\x00",
            &[0; 513],
        ];
        for bytes in refused {
            assert!(!ok(bytes), "{bytes:?}");
        }
    }
}
