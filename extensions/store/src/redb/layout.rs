//! What is where in the file: four tables, read by [`Reader`] and written by [`Tables`].
//!
//! Versions and values are apart, so that the scan at a start, and the look before a write, do not
//! read values.

use std::ops::Bound;

use chinwag::{Bytes, NodeId, Timestamp};
use redb::{
    Database, ReadOnlyTable, ReadableDatabase as _, ReadableTable as _, Table, TableDefinition,
    TableHandle as _, WriteTransaction,
};

use super::error::RedbError;
use crate::document::{Document, Entry, Version};
use crate::key::Key;

/// The version of this layout, in the table [`HEAD`].
pub(super) const FORMAT: u64 = 1;

/// Keyspace and key, in this order.
type Place = (&'static str, &'static [u8]);
/// Stamp, node, and whether it is a tombstone.
type Held = (u64, u64, bool);

const HEAD: TableDefinition<'static, &str, u64> = TableDefinition::new("chinwag-store");
const VERSIONS: TableDefinition<'static, Place, Held> = TableDefinition::new("versions");
/// Of those that are no tombstones.
const VALUES: TableDefinition<'static, Place, &[u8]> = TableDefinition::new("values");
const MARKS: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("marks");

const FORMAT_ENTRY: &str = "format";

/// Makes the tables of a new file, and looks whether this layout is that of an old one.
pub(super) fn prepare(database: &Database) -> Result<(), RedbError> {
    let reads = database.begin_read()?;
    let mut tables = reads.list_tables()?;
    if tables.any(|table| table.name() == HEAD.name()) {
        let found = reads.open_table(HEAD)?.get(FORMAT_ENTRY)?.map(|found| found.value());
        return match found {
            Some(FORMAT) => Ok(()),
            Some(found) => Err(RedbError::Format { found, known: FORMAT }),
            None => Err(RedbError::NotAStore),
        };
    }
    if reads.list_tables()?.next().is_some() || reads.list_multimap_tables()?.next().is_some() {
        return Err(RedbError::NotAStore);
    }
    let writes = database.begin_write()?;
    writes.open_table(HEAD)?.insert(FORMAT_ENTRY, FORMAT)?;
    drop(Tables::open(&writes)?);
    Ok(writes.commit()?)
}

/// The file at one moment.
pub(super) struct Reader {
    versions: ReadOnlyTable<Place, Held>,
    values: ReadOnlyTable<Place, &'static [u8]>,
    marks: ReadOnlyTable<&'static str, &'static [u8]>,
}

impl Reader {
    pub(super) fn new(database: &Database) -> Result<Self, RedbError> {
        let reads = database.begin_read()?;
        Ok(Self {
            versions: reads.open_table(VERSIONS)?,
            values: reads.open_table(VALUES)?,
            marks: reads.open_table(MARKS)?,
        })
    }

    /// Jumps from the first key of one keyspace to the first past all of it.
    pub(super) fn keyspaces(&self) -> Result<Vec<String>, RedbError> {
        let mut names: Vec<String> = Vec::new();
        let mut from = String::new();
        while let Some(first) = self.versions.range((from.as_str(), &[][..])..)?.next() {
            let (place, _) = first?;
            let name = place.value().0.to_owned();
            // The next name there can be.
            from = name.clone() + "\0";
            names.push(name);
        }
        Ok(names)
    }

    pub(super) fn scan(
        &self,
        keyspace: &str,
        after: Option<&Key>,
        max: usize,
    ) -> Result<Vec<Entry>, RedbError> {
        let from = match after {
            Some(key) => Bound::Excluded((keyspace, key.as_bytes())),
            None => Bound::Included((keyspace, &[][..])),
        };
        let mut entries = Vec::new();
        for found in self.versions.range::<(&str, &[u8])>((from, Bound::Unbounded))?.take(max) {
            let (place, held) = found?;
            let (of, key) = place.value();
            if of != keyspace {
                break;
            }
            let key =
                Key::try_from(key).map_err(|error| RedbError::Corrupt(error.to_string().into()))?;
            let (version, is_tombstone) = version(held.value());
            entries.push(Entry { key, version, is_tombstone });
        }
        Ok(entries)
    }

    pub(super) fn get(&self, keyspace: &str, key: &Key) -> Result<Option<Document>, RedbError> {
        let place = (keyspace, key.as_bytes());
        let Some(held) = self.versions.get(place)? else { return Ok(None) };
        let (version, is_tombstone) = version(held.value());
        if is_tombstone {
            return Ok(Some(Document { version, value: None }));
        }
        let value = self.values.get(place)?;
        let value =
            value.ok_or_else(|| RedbError::Corrupt("a version without its value".into()))?;
        Ok(Some(Document { version, value: Some(Bytes::copy_from_slice(value.value())) }))
    }

    pub(super) fn mark(&self, name: &str) -> Result<Option<Bytes>, RedbError> {
        Ok(self.marks.get(name)?.map(|mark| Bytes::copy_from_slice(mark.value())))
    }
}

/// The tables of a transaction that writes.
pub(super) struct Tables<'a> {
    versions: Table<'a, Place, Held>,
    values: Table<'a, Place, &'static [u8]>,
    marks: Table<'a, &'static str, &'static [u8]>,
}

impl<'a> Tables<'a> {
    pub(super) fn open(writes: &'a WriteTransaction) -> Result<Self, RedbError> {
        Ok(Self {
            versions: writes.open_table(VERSIONS)?,
            values: writes.open_table(VALUES)?,
            marks: writes.open_table(MARKS)?,
        })
    }

    pub(super) fn merge(
        &mut self,
        keyspace: &str,
        documents: &[(Key, Document)],
    ) -> Result<(), RedbError> {
        for (key, document) in documents {
            let place = (keyspace, key.as_bytes());
            if self.version(place)?.is_some_and(|stored| stored >= document.version) {
                continue;
            }
            let Version { stamp, node } = document.version;
            self.versions.insert(place, (stamp.get(), node.get(), document.is_tombstone()))?;
            match &document.value {
                Some(value) => drop(self.values.insert(place, &value[..])?),
                None => drop(self.values.remove(place)?),
            }
        }
        Ok(())
    }

    pub(super) fn purge(
        &mut self,
        keyspace: &str,
        entries: &[(Key, Version)],
    ) -> Result<(), RedbError> {
        for (key, version) in entries {
            let place = (keyspace, key.as_bytes());
            if self.version(place)? == Some(*version) {
                self.versions.remove(place)?;
                self.values.remove(place)?;
            }
        }
        Ok(())
    }

    pub(super) fn save_mark(&mut self, name: &str, mark: &[u8]) -> Result<(), RedbError> {
        self.marks.insert(name, mark)?;
        Ok(())
    }

    fn version(&self, place: (&str, &[u8])) -> Result<Option<Version>, RedbError> {
        Ok(self.versions.get(place)?.map(|held| version(held.value()).0))
    }
}

fn version((stamp, node, is_tombstone): Held) -> (Version, bool) {
    (Version { stamp: Timestamp::from_raw(stamp), node: NodeId::new(node) }, is_tombstone)
}
