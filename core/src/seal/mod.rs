//! Sealed datagrams: encryption, authentication, and the refusal of replays
//! (`docs/protocol.md` §2.6 to §2.10).
//!
//! ```text
//!   Membership::poll_transmit -> Seal::seal -> network
//!   network -> Seal::open -> Membership::handle_datagram
//! ```
//!
//! [`Seal`] is a machine like the others: it has no clock, no randomness and no cryptography of its
//! own. Time and random bytes are arguments, and the algorithms are behind [`Cryptography`], so
//! that this crate depends on none of their implementations.

mod keyring;
mod machine;
mod opened;
mod peers;
mod sessions;
mod window;

pub use keyring::{KEYS_MAX, KeyError, KeyId, ParseKeyIdError};
pub use machine::{Mode, OVERHEAD, Seal};
pub use opened::{Opened, Refusal, Stats};
pub use sessions::{SESSIONS_MAX, STAMP_AGE_MAX};
pub use window::WINDOW;

use core::fmt;

/// The key of the metadata under which a node with a secret says which key it uses
/// (`docs/protocol.md` §2.10).
pub const KEY_ID_KEY: &str = "chinwag.key";

/// Bytes of a session's salt.
pub const SALT_LEN: usize = 12;

/// Bytes of a tag.
pub const TAG_LEN: usize = 16;

/// Names one sealing session of one run: who opens its datagrams derives the session's key from it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Salt([u8; SALT_LEN]);

impl Salt {
    /// The salt with these bytes.
    pub const fn new(bytes: [u8; SALT_LEN]) -> Self {
        Self(bytes)
    }

    /// Its bytes, as they travel.
    pub const fn bytes(&self) -> &[u8; SALT_LEN] {
        &self.0
    }
}

impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The algorithms that a [`Seal`] needs: HKDF and SHA-256 (RFC 5869, FIPS 180-4) and AES-256-GCM
/// (NIST SP 800-38D).
pub trait Cryptography {
    /// What HKDF extracts from a secret. It is as secret as that.
    type Root;
    /// A key of AES-256-GCM.
    type Key;

    /// HKDF's first step, with HMAC-SHA-256.
    fn extract(&self, salt: &[u8], secret: &[u8]) -> Self::Root;

    /// HKDF's second step: fills `out` with what follows from `root` and from `info`, whose parts
    /// count as one string. `out` has at most 255 × 32 bytes.
    fn expand(&self, root: &Self::Root, info: &[&[u8]], out: &mut [u8]);

    /// The key whose 32 bytes [`Cryptography::expand`] would give.
    fn key(&self, root: &Self::Root, info: &[&[u8]]) -> Self::Key;

    /// Encrypts `body` in place and returns the tag over it and over `aad`.
    fn seal(&self, key: &Self::Key, nonce: &[u8; 12], aad: &[u8], body: &mut [u8])
    -> [u8; TAG_LEN];

    /// Decrypts `body`, which ends with its tag, in place. False if the tag is another one: then
    /// nothing may be read of `body`.
    fn open(&self, key: &Self::Key, nonce: &[u8; 12], aad: &[u8], body: &mut [u8]) -> bool;

    /// SHA-256 of the parts, one after another.
    fn hash(&self, parts: &[&[u8]]) -> [u8; 32];
}

#[cfg(test)]
mod tests;
