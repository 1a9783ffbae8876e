//! [`Seal`]: seals what a node sends and opens what it receives (`docs/protocol.md` §2.6).

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use super::keyring::{Entry, KeyError, KeyId, Keyring};
use super::opened::{Opened, Refusal, SealedBy, Stats};
use super::peers::Peers;
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

/// What a node with a secret does about nodes that do not encrypt (`docs/protocol.md` §2.10).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mode {
    /// It hears nobody who does not encrypt, and sends nothing in clear.
    #[default]
    Required,
    /// It hears them too, and speaks in clear to those of whom it does not know that they encrypt.
    /// For the time in which a running cluster is given a secret: it protects against nobody who
    /// can send packets.
    Transitional,
}

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
    mode: Mode,
    peers: Peers,
    stats: Stats,
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
            mode: Mode::Required,
            peers: Peers::default(),
            stats: Stats::default(),
        }
    }

    /// What is done from now on about nodes that do not encrypt.
    pub fn set_mode(&mut self, mode: Mode) {
        self.mode = mode;
    }

    /// What is done about nodes that do not encrypt.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// This run is a member, and says that it uses `key`; `None` if it has no secret.
    pub fn handle_member(&mut self, id: NodeId, epoch: Epoch, key: Option<KeyId>) {
        self.peers.joined(id, epoch, key);
    }

    /// The node is no member any more.
    pub fn handle_gone(&mut self, id: NodeId) {
        self.peers.gone(id);
    }

    /// Whether the node encrypts with a key that this one has. `None` if nothing is known of it.
    pub fn encrypts(&self, id: NodeId) -> Option<bool> {
        self.peers.encrypts(id, |key| self.keyring.get(key).is_some())
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
    /// no session to seal in: then `payload` is empty, for nothing may leave in clear. In
    /// [`Mode::Transitional`] it may, and `payload` stays as it is if the receiver is not known to
    /// encrypt.
    pub fn seal(&mut self, to: NodeId, payload: &mut Vec<u8>) -> bool {
        if self.mode == Mode::Transitional && self.encrypts(to) != Some(true) {
            self.stats.plain_out += 1;
            return true;
        }
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
            Ok(opened) if !opened.is_sealed() => self.stats.plain_in += 1,
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
            return self.open_plain(datagram);
        }
        if datagram.len() < OVERHEAD + HEADER_LEN {
            return Err(Refusal::Malformed);
        }
        let key_id = KeyId::new(u32::from_le_bytes(field(datagram, 2)));
        let salt = Salt::new(field(datagram, 6));
        let counter = u48(datagram, 18);
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
        let epoch = Epoch::new(u48(datagram, SENDER_AT + 8));
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
        let by = SealedBy { salt, key_id, counter, stamp, sender, epoch };
        if is_proven {
            if self.sessions.get(&salt).is_none() {
                self.begin(&by, self.sessions.floor());
            }
            self.heard(&by);
        }
        Ok(Opened { start, end, by: Some(by), is_proven })
    }

    // docs/protocol.md §2.10.2
    fn open_plain(&self, datagram: &[u8]) -> Result<Opened, Refusal> {
        match self.mode {
            Mode::Required => Err(Refusal::Plain),
            Mode::Transitional => {
                Ok(Opened { start: 0, end: datagram.len(), by: None, is_proven: true })
            }
        }
    }

    fn heard(&mut self, by: &SealedBy) {
        if self.mode == Mode::Transitional {
            self.peers.heard(by.sender, by.epoch);
        }
    }

    /// The datagram has answered a question that this node asked just now, so its session is no
    /// replay: what is sealed in it later is believed.
    pub fn prove(&mut self, opened: &Opened) {
        let Some(by) = &opened.by else { return };
        if self.sessions.get(&by.salt).is_none() {
            self.begin(by, by.stamp);
        }
        self.heard(by);
    }

    fn begin(&mut self, by: &SealedBy, floor: Timestamp) {
        let Some(entry) = self.keyring.get(by.key_id) else { return };
        let subkey = subkey(&self.crypto, &entry.root, &by.salt);
        let mut session = Session::new(by.key_id, subkey, by.sender, floor);
        let _has_answered = session.take(by.counter, by.stamp);
        self.sessions.insert(by.salt, Box::new(session));
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

fn u48(bytes: &[u8], at: usize) -> u64 {
    let [a, b, c, d, e, f] = field(bytes, at);
    u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[at..at + N]);
    field
}
