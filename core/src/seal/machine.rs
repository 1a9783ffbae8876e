//! [`Seal`]: seals what a node sends and opens what it receives (`docs/protocol.md` §2.6).

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use super::keyring::{Entry, KeyError, KeyId, Keyring};
use super::sessions::{Session, Sessions, Subkey};
use super::{Cryptography, SALT_LEN, Salt, TAG_LEN};
use crate::clock::Timestamp;
use crate::id::{Epoch, Fence, NodeId};
use crate::time::Now;
use crate::wire::datagram::HEADER_LEN;

/// Bytes before the sealed part.
const HEAD_LEN: usize = 24;

/// Bytes of a plain payload that are not sealed: version, flags and fence. A receiver knows them.
const KNOWN_LEN: usize = 10;

/// Bytes that sealing adds to a payload.
pub const OVERHEAD: usize = HEAD_LEN - KNOWN_LEN + TAG_LEN;

/// Where the sender's id and the stamp are in the sealed part.
const SENDER_AT: usize = HEAD_LEN;
const STAMP_AT: usize = HEAD_LEN + 18;

/// The bit of the first byte that says that a datagram is sealed.
const SEALED: u8 = 0x80;

/// How long a salt is used.
const SALT_AGE_MAX: Duration = Duration::from_secs(600);

/// How many datagrams are sealed with one salt.
const COUNTER_MAX: u64 = 1 << 32;

/// How far the wall clock and the monotonic one may part before the salt is drawn anew: a machine
/// that was suspended, or cloned, has its own session from then on.
const CLOCKS_PART_MAX: Duration = Duration::from_secs(1);

/// The session in which this node seals.
struct Sending<C: Cryptography> {
    key_id: KeyId,
    salt: Salt,
    subkey: Subkey<C>,
    counter: u64,
    began: Now,
}

/// Seals and opens the datagrams of one node.
pub struct Seal<C: Cryptography> {
    crypto: C,
    /// HKDF's salt: it binds every key to the cluster's name.
    context: Vec<u8>,
    fence: Fence,
    local: NodeId,
    keyring: Keyring<C>,
    sending: Option<Sending<C>>,
    sessions: Sessions<C>,
    stats: Stats,
}

/// What a [`Seal`] has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Datagrams sealed.
    pub sealed: u64,
    /// Datagrams opened.
    pub opened: u64,
    /// Of those opened: datagrams of a session that may be a replay, so that only pings in them are
    /// answered.
    pub unproven: u64,
    /// Datagrams that were not sealed.
    pub plain: u64,
    /// Sealed datagrams that were too short, or had a counter out of range.
    pub malformed: u64,
    /// Datagrams sealed with a key that this node does not have.
    pub unknown_key: u64,
    /// Datagrams that had been received before, or were overtaken by too many.
    pub replayed: u64,
    /// Datagrams whose tag was wrong: forged, damaged, or sealed for another node.
    pub forged: u64,
}

/// A datagram that was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Where the plain payload is, in the bytes that were opened.
    start: usize,
    end: usize,
    salt: Salt,
    key_id: KeyId,
    counter: u64,
    stamp: Timestamp,
    sender: NodeId,
    is_proven: bool,
}

impl Opened {
    /// The plain payload, as the sender's machine wrote it, in the bytes that were opened.
    pub fn payload<'a>(&self, datagram: &'a [u8]) -> &'a [u8] {
        &datagram[self.start..self.end]
    }

    /// Whether it is certain that the datagram was not received before. If not, it is for
    /// [`Membership::handle_unproven`](crate::membership::Membership::handle_unproven), and for
    /// [`Seal::prove`] if that says so.
    pub fn is_proven(&self) -> bool {
        self.is_proven
    }
}

/// Why a datagram was not opened. It is counted, and nothing else changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// It is not sealed.
    Plain,
    /// It is too short, its counter is out of range, or its session has another sender.
    Malformed,
    /// This node does not have the key.
    UnknownKey(KeyId),
    /// Its counter was taken before, or is too old to tell.
    Replayed,
    /// Its tag is wrong.
    Forged,
}

impl<C: Cryptography> Seal<C> {
    /// The seal of node `local` in the cluster `cluster`, which begins with one key. `started` is
    /// the node's own stamp at its start.
    pub fn new(
        crypto: C,
        cluster: &str,
        local: NodeId,
        secret: &[u8; 32],
        started: Timestamp,
    ) -> Self {
        let mut context = Vec::from(*b"chinwag/1 ");
        context.extend_from_slice(cluster.as_bytes());
        let first = Self::entry(&crypto, &context, secret);
        Self {
            crypto,
            context,
            fence: Fence::of(cluster),
            local,
            keyring: Keyring::new(first),
            sending: None,
            sessions: Sessions::new(started),
            stats: Stats::default(),
        }
    }

    // docs/protocol.md §2.7
    fn entry(crypto: &C, context: &[u8], secret: &[u8; 32]) -> Entry<C> {
        let root = crypto.extract(context, secret);
        let mut id = [0; 4];
        crypto.expand(&root, &[b"key id"], &mut id);
        Entry { id: KeyId::new(u32::from_le_bytes(id)), root }
    }

    /// Whether 32 random bytes are wanted before the next datagram is sealed
    /// (`docs/protocol.md` §2.8).
    pub fn poll_random(&self, now: Now) -> bool {
        self.sending.as_ref().is_none_or(|sending| {
            let (mono, wall) = (now.mono.since(sending.began.mono), now.wall);
            let expected = sending.began.wall + mono;
            mono >= SALT_AGE_MAX
                || sending.counter >= COUNTER_MAX
                || sending.key_id != self.keyring.in_use().id
                || wall > expected + CLOCKS_PART_MAX
                || expected > wall + CLOCKS_PART_MAX
        })
    }

    /// Begins a session with a salt made of `random`, which the operating system gave.
    pub fn handle_random(&mut self, now: Now, epoch: Epoch, random: &[u8; 32]) {
        let hash = self.crypto.hash(&[
            random,
            &self.local.get().to_le_bytes(),
            &epoch.get().to_le_bytes(),
            &now.mono.as_nanos().to_le_bytes(),
            &now.wall.as_nanos().to_le_bytes(),
        ]);
        let mut salt = [0; SALT_LEN];
        salt.copy_from_slice(&hash[..SALT_LEN]);
        let salt = Salt::new(salt);
        let entry = self.keyring.in_use();
        let subkey = subkey(&self.crypto, &entry.root, &salt);
        self.sending = Some(Sending { key_id: entry.id, salt, subkey, counter: 0, began: now });
    }

    /// Seals `payload`, which [`poll_transmit`](crate::membership::Membership::poll_transmit) has
    /// written, for the node `to`: what `payload` has afterwards is the datagram. False if there is
    /// no session to seal in: then `payload` is empty, for nothing may leave in clear.
    pub fn seal(&mut self, to: NodeId, payload: &mut Vec<u8>) -> bool {
        let sending = self.sending.as_mut().filter(|sending| sending.counter < COUNTER_MAX);
        let (Some(sending), true) = (sending, payload.len() >= HEADER_LEN) else {
            payload.clear();
            return false;
        };
        sending.counter += 1;
        let version = payload[0];
        let plain_len = payload.len();
        payload.resize(plain_len + HEAD_LEN - KNOWN_LEN, 0);
        payload.copy_within(KNOWN_LEN..plain_len, HEAD_LEN);
        payload[0] = SEALED | version;
        payload[1] = 0;
        payload[2..6].copy_from_slice(&sending.key_id.get().to_le_bytes());
        payload[6..18].copy_from_slice(sending.salt.bytes());
        payload[18..24].copy_from_slice(&sending.counter.to_le_bytes()[..6]);
        let (head, body) = payload.split_at_mut(HEAD_LEN);
        let aad = aad(head, to);
        let nonce = nonce(&sending.subkey.iv, sending.counter);
        let tag = self.crypto.seal(&sending.subkey.key, &nonce, &aad, body);
        payload.extend_from_slice(&tag);
        self.stats.sealed += 1;
        true
    }

    /// Opens a datagram in place. The replay window is asked before anything is decrypted, and
    /// moves only once the tag has turned out to be good (`docs/protocol.md` §2.9).
    ///
    /// # Errors
    /// [`Refusal`]; it has been counted.
    pub fn open(&mut self, now: Now, datagram: &mut [u8]) -> Result<Opened, Refusal> {
        let opened = self.try_open(now, datagram);
        match &opened {
            Ok(opened) => {
                self.stats.opened += 1;
                self.stats.unproven += u64::from(!opened.is_proven);
            }
            Err(Refusal::Plain) => self.stats.plain += 1,
            Err(Refusal::Malformed) => self.stats.malformed += 1,
            Err(Refusal::UnknownKey(_)) => self.stats.unknown_key += 1,
            Err(Refusal::Replayed) => self.stats.replayed += 1,
            Err(Refusal::Forged) => self.stats.forged += 1,
        }
        opened
    }

    fn try_open(&mut self, now: Now, datagram: &mut [u8]) -> Result<Opened, Refusal> {
        if datagram.first().is_none_or(|first| first & SEALED == 0) {
            return Err(Refusal::Plain);
        }
        if datagram.len() < OVERHEAD + HEADER_LEN {
            return Err(Refusal::Malformed);
        }
        let key_id = KeyId::new(u32::from_le_bytes(field(datagram, 2)));
        let salt = Salt::new(field(datagram, 6));
        let mut counter = [0; 8];
        counter[..6].copy_from_slice(&field::<6>(datagram, 18));
        let counter = u64::from_le_bytes(counter);
        if counter == 0 || counter > COUNTER_MAX {
            return Err(Refusal::Malformed);
        }
        let entry = self.keyring.get(key_id).ok_or(Refusal::UnknownKey(key_id))?;
        let known = self.sessions.get(&salt);
        if let Some(session) = &known {
            if session.key_id != key_id {
                return Err(Refusal::Malformed);
            }
            if !session.window.is_new(counter) {
                return Err(Refusal::Replayed);
            }
        }
        let fresh;
        let subkey = if let Some(session) = &known {
            &session.subkey
        } else {
            fresh = subkey(&self.crypto, &entry.root, &salt);
            &fresh
        };
        let (head, body) = datagram.split_at_mut(HEAD_LEN);
        let aad = aad(head, self.local);
        if !self.crypto.open(&subkey.key, &nonce(&subkey.iv, counter), &aad, body) {
            return Err(Refusal::Forged);
        }
        let sender = NodeId::new(u64::from_le_bytes(field(datagram, SENDER_AT)));
        let stamp = Timestamp::from_raw(u64::from_le_bytes(field(datagram, STAMP_AT)));
        let is_proven = if let Some(session) = known {
            if session.sender != sender {
                return Err(Refusal::Malformed);
            }
            if !session.take(counter, stamp) {
                return Err(Refusal::Replayed);
            }
            true
        } else {
            self.sessions.is_recent(stamp, now.wall)
        };
        // What a receiver knows goes before the rest, as the plain payload has it.
        let start = HEAD_LEN - KNOWN_LEN;
        datagram[start] = datagram[0] & !SEALED;
        datagram[start + 1] = 0;
        datagram[start + 2..HEAD_LEN].copy_from_slice(&self.fence.get().to_le_bytes());
        let end = datagram.len() - TAG_LEN;
        let opened = Opened { start, end, salt, key_id, counter, stamp, sender, is_proven };
        if is_proven && self.sessions.get(&salt).is_none() {
            self.begin(&opened, self.sessions.floor());
        }
        Ok(opened)
    }

    /// The datagram has answered a question that this node asked just now, so its session is no
    /// replay: what is sealed in it later is believed.
    pub fn prove(&mut self, opened: &Opened) {
        if self.sessions.get(&opened.salt).is_none() {
            self.begin(opened, opened.stamp);
        }
    }

    fn begin(&mut self, opened: &Opened, floor: Timestamp) {
        let Some(entry) = self.keyring.get(opened.key_id) else { return };
        let subkey = subkey(&self.crypto, &entry.root, &opened.salt);
        let mut session = Session::new(opened.key_id, subkey, opened.sender, floor);
        let _has_answered = session.take(opened.counter, opened.stamp);
        self.sessions.insert(opened.salt, Box::new(session));
    }

    /// Accepts what is sealed with this secret, from now on.
    ///
    /// # Errors
    /// [`KeyError::Full`].
    pub fn install(&mut self, secret: &[u8; 32]) -> Result<KeyId, KeyError> {
        let entry = Self::entry(&self.crypto, &self.context, secret);
        let id = entry.id;
        self.keyring.install(entry)?;
        Ok(id)
    }

    /// Seals with this key from now on. Every member should have it by then.
    ///
    /// # Errors
    /// [`KeyError::Unknown`].
    pub fn use_key(&mut self, id: KeyId) -> Result<(), KeyError> {
        self.keyring.use_key(id)
    }

    /// Accepts nothing any more that is sealed with this key.
    ///
    /// # Errors
    /// [`KeyError::Unknown`], [`KeyError::InUse`].
    pub fn remove(&mut self, id: KeyId) -> Result<(), KeyError> {
        self.keyring.remove(id)?;
        self.sessions.remove_key(id);
        Ok(())
    }

    /// The key that this node seals with.
    pub fn key_in_use(&self) -> KeyId {
        self.keyring.in_use().id
    }

    /// The keys that this node accepts.
    pub fn keys(&self) -> Vec<KeyId> {
        self.keyring.ids().collect()
    }

    /// With which key each node that is remembered sealed its latest datagram for this one, in the
    /// order of ids.
    pub fn peers(&self) -> Vec<(NodeId, KeyId)> {
        let mut latest = BTreeMap::new();
        for session in self.sessions.iter() {
            let known = latest.entry(session.sender).or_insert((session.newest(), session.key_id));
            *known = (*known).max((session.newest(), session.key_id));
        }
        latest.into_iter().map(|(peer, (_, key))| (peer, key)).collect()
    }

    /// Sessions of peers that are remembered.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// What has been counted.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// The algorithms it was given.
    pub fn crypto(&self) -> &C {
        &self.crypto
    }
}

impl<C: Cryptography> fmt::Debug for Seal<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.key_in_use();
        f.debug_struct("Seal").field("key_in_use", &key).finish_non_exhaustive()
    }
}

fn subkey<C: Cryptography>(crypto: &C, root: &C::Root, salt: &Salt) -> Subkey<C> {
    let mut iv = [0; 12];
    crypto.expand(root, &[b"datagram iv ", salt.bytes()], &mut iv);
    Subkey { key: crypto.key(root, &[b"datagram key ", salt.bytes()]), iv }
}

/// As TLS 1.3 makes it: the session's own bytes, and the counter over the last eight.
fn nonce(iv: &[u8; 12], counter: u64) -> [u8; 12] {
    let mut nonce = *iv;
    for (byte, counter) in nonce[4..].iter_mut().zip(counter.to_be_bytes()) {
        *byte ^= counter;
    }
    nonce
}

/// What is authenticated beside the sealed part: what stands before it, and who it is for.
fn aad(head: &[u8], to: NodeId) -> [u8; HEAD_LEN + 8] {
    let mut aad = [0; HEAD_LEN + 8];
    aad[..HEAD_LEN].copy_from_slice(head);
    aad[HEAD_LEN..].copy_from_slice(&to.get().to_le_bytes());
    aad
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[at..at + N]);
    field
}
