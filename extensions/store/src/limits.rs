//! The store's limits, each with its reason. What is over one is refused with an error, or counted
//! and dropped; `docs/store.md` §6 says which.

use std::time::Duration;

use chinwag::protocol::time::WallTime;

/// Bytes of a key. Keys are in memory, all of them; names and paths fit.
pub const KEY_LEN_MAX: usize = 1_024;

/// Bytes of a value. A sixteenth of the largest message (`message_len_max`), so that a batch has
/// room for several: what is larger is a file.
pub const VALUE_LEN_MAX: usize = 1 << 20;

/// Keys of one call. What a replica holds in memory for one caller at once.
pub const BATCH_MAX: usize = 1_024;

/// Bytes of keys and values in one call or one answer: a quarter of the largest message, which
/// leaves room for what is around them, and room for one value more than fits.
pub const BATCH_LEN_MAX: usize = 4 << 20;

/// Bytes of a keyspace's name.
pub const KEYSPACE_LEN_MAX: usize = 255;

/// Keyspaces of a store. Each exchange compares a digest for each of them, in one message.
pub const KEYSPACES_MAX: usize = 256;

/// Keys that wait to be sent to one replica in the background. Behind by more than this, catching
/// up compares better than a queue remembers.
pub const QUEUE_MAX: usize = 4_096;

/// Nodes of a roster. Every one of them has every document: a cluster of a thousand full copies is
/// far past what is sensible.
pub const ROSTER_MAX: usize = 1_024;

/// Ranges of hashes compared in one message: their answer is at most 64 times 16 sums or entries,
/// below 32 KiB unless keys collide.
pub const COMPARE_MAX: usize = 64;

/// Ranges of hashes fetched in one message: as many entries as a few answers of [`COMPARE_MAX`]
/// hold.
pub const RANGES_MAX: usize = 256;

/// Entries listed for one range; of a range with more, sums are given. At the depth where hashes
/// end, keys that collide are listed all the same.
pub const LISTED_MAX: usize = 16;

/// Exchanges that one replica has under way at once. A peer that is slow, or lies, holds one.
pub const EXCHANGES_MAX: usize = 4;

/// How long an exchange takes, in timeouts of a call. What it has moved stays moved, and the next
/// one goes on from there.
pub const EXCHANGE_TIMEOUTS_MAX: u32 = 12;

/// Questions of an exchange in a row that move no document that is newer on one side. Differences
/// that fill a batch are found with at most 16 times 1,024 ranges, which is 256 questions.
pub const EXCHANGE_IDLE_MAX: usize = 512;

/// How far ahead of the receiver's wall clock a document's stamp may be. Twice
/// [`CLOCK_APART_MAX`], so that a write by a clock that is allowed is taken by every clock that is.
pub const STAMP_AHEAD_MAX: Duration = Duration::from_secs(24 * 3_600);

/// How far a wall clock may be from those of most other replicas before writes are refused, and how
/// far ahead of the receiver's wall clock a horizon or floor may be. A clock that takes local time
/// for UTC is at most this far off.
pub const CLOCK_APART_MAX: Duration = Duration::from_secs(12 * 3_600);

/// The last wall-clock reading at which writes are accepted: the year 2100, 12 years before the
/// last timestamp. A clock past it is wrong.
pub const CLOCK_LAST: WallTime = WallTime::from_nanos(4_102_444_800 * 1_000_000_000);

/// The greatest generation of an absence. A purge a minute takes 8,000 years to count so far.
pub const GENERATION_MAX: u64 = 1 << 32;

/// How far a generation that a janitor proposes may be past the one that the receiver knows.
pub const GENERATION_STEP_MAX: u64 = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of docs/store.md §6.
    #[test]
    fn the_documented_limits_are_these() {
        let documented = include_str!("../docs/store.md");
        let thousands = |count: usize| format!("{},{:03}", count / 1_000, count % 1_000);
        let rows = [
            format!("| `KEY_LEN_MAX` | {} bytes |", thousands(KEY_LEN_MAX)),
            format!("| `VALUE_LEN_MAX` | {} MiB |", VALUE_LEN_MAX >> 20),
            format!(
                "| `BATCH_MAX`, `BATCH_LEN_MAX` | {} keys, {} MiB |",
                thousands(BATCH_MAX),
                BATCH_LEN_MAX >> 20
            ),
            format!(
                "| `KEYSPACE_LEN_MAX`, `KEYSPACES_MAX` | 1 to {KEYSPACE_LEN_MAX} bytes, \
                    {KEYSPACES_MAX} |"
            ),
            format!("| `QUEUE_MAX` | {} keys a peer |", thousands(QUEUE_MAX)),
            format!("| `ROSTER_MAX` | {} nodes |", thousands(ROSTER_MAX)),
            format!(
                "| `COMPARE_MAX`, `RANGES_MAX` | {COMPARE_MAX}, {RANGES_MAX} ranges a message |"
            ),
            format!("| `LISTED_MAX` | {LISTED_MAX} entries of a range |"),
            format!("| `EXCHANGES_MAX` | {EXCHANGES_MAX} |"),
            format!("| `EXCHANGE_TIMEOUTS_MAX` | {EXCHANGE_TIMEOUTS_MAX} timeouts |"),
            format!("| `EXCHANGE_IDLE_MAX` | {EXCHANGE_IDLE_MAX} questions |"),
            format!("| `STAMP_AHEAD_MAX` | {} h |", STAMP_AHEAD_MAX.as_secs() / 3_600),
            format!("| `CLOCK_APART_MAX` | {} h |", CLOCK_APART_MAX.as_secs() / 3_600),
            format!("| `GENERATION_MAX` | 2^{} |", GENERATION_MAX.ilog2()),
            format!("| `GENERATION_STEP_MAX` | 2^{} |", GENERATION_STEP_MAX.ilog2()),
        ];
        for row in rows {
            assert!(documented.contains(&row), "{row}");
        }
    }
}
