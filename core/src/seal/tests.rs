//! [`Seal`] with the algorithms of the RustCrypto project; the driver's tests hold the same vectors
//! against `ring`.

mod transition;

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::Cell;
use core::time::Duration;

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce, Tag};
use hkdf::Hkdf;
use sha2::{Digest, Sha256};

use super::machine::OVERHEAD;
use super::window::{WINDOW, Window};
use super::*;
use crate::clock::Timestamp;
use crate::id::{Epoch, Fence, NodeId};
use crate::rng::Rng;
use crate::time::{Instant, Now, WallTime};
use crate::wire::put;

/// The algorithms, and how often something was decrypted.
#[derive(Default)]
struct RustCrypto {
    opened: Cell<u32>,
}

impl Cryptography for RustCrypto {
    type Root = Hkdf<Sha256>;
    type Key = Aes256Gcm;

    fn extract(&self, salt: &[u8], secret: &[u8]) -> Self::Root {
        Hkdf::new(Some(salt), secret)
    }

    fn expand(&self, root: &Self::Root, info: &[&[u8]], out: &mut [u8]) {
        root.expand_multi_info(info, out).expect("short enough");
    }

    fn key(&self, root: &Self::Root, info: &[&[u8]]) -> Self::Key {
        let mut key = [0; 32];
        self.expand(root, info, &mut key);
        Aes256Gcm::new(&key.into())
    }

    fn seal(&self, key: &Self::Key, nonce: &[u8; 12], aad: &[u8], body: &mut [u8]) -> [u8; 16] {
        let tag = key.encrypt_inout_detached(&Nonce::from(*nonce), aad, body.into());
        tag.expect("short enough").into()
    }

    fn open(&self, key: &Self::Key, nonce: &[u8; 12], aad: &[u8], body: &mut [u8]) -> bool {
        self.opened.set(self.opened.get() + 1);
        let (body, tag) = body.split_at_mut(body.len() - TAG_LEN);
        let tag = Tag::try_from(&*tag).expect("16 bytes");
        key.decrypt_inout_detached(&Nonce::from(*nonce), aad, body.into(), &tag).is_ok()
    }

    fn hash(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut hash = Sha256::new();
        parts.iter().for_each(|part| hash.update(part));
        hash.finalize().into()
    }
}

const SECRET: [u8; 32] = [7; 32];
const OTHER: [u8; 32] = [8; 32];
const CLUSTER: &str = "demo";

fn at(secs: u64) -> Now {
    let nanos = secs * 1_000_000_000;
    Now {
        mono: Instant::ZERO + Duration::from_nanos(nanos),
        wall: WallTime::from_nanos(1_800_000_000_000_000_000 + nanos),
    }
}

fn stamp(secs: u64) -> Timestamp {
    Timestamp::at(at(secs).wall)
}

/// A node that has started at `secs`, with a session.
fn node(id: u64, secs: u64) -> Seal<RustCrypto> {
    node_of(CLUSTER, id, secs, 0)
}

fn node_of(cluster: &str, id: u64, secs: u64, draw: u8) -> Seal<RustCrypto> {
    let started = stamp(secs);
    let crypto = RustCrypto::default();
    let mut seal = Seal::new(crypto, cluster, NodeId::new(id), &SECRET, started);
    assert!(seal.poll_random(at(secs)));
    seal.handle_random(at(secs), Epoch::new(secs), &[draw; 32]);
    seal
}

/// A payload of node `id` as membership writes it, with `len` bytes of messages.
fn payload(id: u64, secs: u64, len: usize) -> Vec<u8> {
    let mut out = Vec::from([1, 0]);
    put::u64(&mut out, Fence::of(CLUSTER).get());
    put::u64(&mut out, id);
    put::u48(&mut out, secs);
    put::u32(&mut out, 0);
    put::u64(&mut out, stamp(secs).get());
    out.extend((0..=u8::MAX).cycle().take(len));
    out
}

/// A datagram from `from`, whose id is 1, to node `to`.
fn sealed(from: &mut Seal<RustCrypto>, to: u64, secs: u64) -> Vec<u8> {
    let mut datagram = payload(1, secs, 20);
    assert!(from.seal(NodeId::new(to), &mut datagram));
    datagram
}

fn open(by: &mut Seal<RustCrypto>, datagram: &[u8], secs: u64) -> Result<Opened, Refusal> {
    by.open(at(secs), &mut datagram.to_vec())
}

#[test]
fn s2_6_a_payload_comes_out_as_it_went_in() {
    let (mut one, mut two) = (node(1, 0), node(2, 0));
    for len in [0, 1, 15, 16, 17, 1_334] {
        let plain = payload(1, 1, len);
        let mut datagram = plain.clone();
        assert!(one.seal(NodeId::new(2), &mut datagram));
        assert_eq!(datagram.len(), plain.len() + OVERHEAD);
        assert_eq!(datagram[0], 0x81);
        let clear = &datagram[24..];
        assert!(len < 16 || !clear.windows(8).any(|it| plain[36..].starts_with(it)));
        let opened = two.open(at(1), &mut datagram).expect("it is good");
        assert!(opened.is_proven());
        assert_eq!(opened.payload(&datagram), plain);
    }
    assert_eq!((one.stats().sealed, two.stats().opened), (6, 6));
}

/// The bytes of one datagram, so that two implementations agree.
#[test]
fn s2_6_the_vector_is_what_it_was() {
    let mut one = node(1, 0);
    let mut datagram = payload(1, 1, 4);
    assert!(one.seal(NodeId::new(2), &mut datagram));
    let hex: String = datagram.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, VECTOR);
}

const VECTOR: &str = "810033caf16ce10c0b1f87875cf0c4932ebf010000000000013000e8084c10eee5f8ceaa2631f\
                      7ea1bb769def62412e6b253a9777e8d87abca7a00f4d232fc5d5bd7e8dc7a5e";

#[test]
fn s2_6_no_bit_may_change_and_no_byte_be_missing() {
    let (mut one, mut two) = (node(1, 0), node(2, 0));
    let datagram = sealed(&mut one, 2, 1);
    for at in 0..datagram.len() * 8 {
        let mut bytes = datagram.clone();
        bytes[at / 8] ^= 1 << (at % 8);
        let refused = open(&mut two, &bytes, 1);
        assert!(refused.is_err(), "bit {at}: {refused:?}");
    }
    for len in 0..datagram.len() {
        assert!(open(&mut two, &datagram[..len], 1).is_err(), "{len} bytes");
    }
    assert_eq!(two.sessions(), 0, "what is forged is not remembered");
    assert!(open(&mut two, &datagram, 1).is_ok(), "forgeries do not use the counter up");
}

#[test]
fn s2_6_a_datagram_is_for_one_node_of_one_cluster() {
    let (mut one, mut two, mut three) = (node(1, 0), node(2, 0), node(3, 0));
    let datagram = sealed(&mut one, 2, 1);
    assert_eq!(open(&mut three, &datagram, 1), Err(Refusal::Forged), "another receiver");
    assert_eq!(open(&mut one, &datagram, 1), Err(Refusal::Forged), "back to its sender");
    let mut other = node_of("other", 2, 0, 0);
    assert!(matches!(open(&mut other, &datagram, 1), Err(Refusal::UnknownKey(_))));
    assert!(open(&mut two, &datagram, 1).is_ok());
    assert_eq!(open(&mut two, &payload(1, 1, 9), 1), Err(Refusal::Plain));
    assert_eq!(open(&mut two, &[], 1), Err(Refusal::Plain));
}

#[test]
fn s2_9_a_datagram_is_opened_once_and_a_replay_is_not_decrypted() {
    let (mut one, mut two) = (node(1, 0), node(2, 0));
    let datagrams: Vec<_> = (0..2_000).map(|_| sealed(&mut one, 2, 1)).collect();
    // In another order, but none behind the newest by a whole window.
    for pair in datagrams.chunks(500) {
        for datagram in pair.iter().rev() {
            assert!(open(&mut two, datagram, 1).is_ok());
        }
    }
    let decrypted = two.crypto().opened.get();
    for datagram in &datagrams {
        assert_eq!(open(&mut two, datagram, 1), Err(Refusal::Replayed));
    }
    assert_eq!(two.crypto().opened.get(), decrypted);
    assert_eq!(two.stats().replayed, 2_000);
}

#[test]
fn s2_9_what_was_sealed_before_this_run_proves_nothing() {
    let mut one = node(1, 0);
    let recorded = sealed(&mut one, 2, 5);
    let mut restarted = node(2, 10);
    let opened = open(&mut restarted, &recorded, 10).expect("its tag is good");
    assert!(!opened.is_proven());
    assert_eq!((restarted.sessions(), restarted.stats().unproven), (0, 1));
    // Later ones of the same session do. The recorded one does not ride in on them, and once it
    // was refused it is not decrypted again.
    assert!(open(&mut restarted, &sealed(&mut one, 2, 11), 11).unwrap().is_proven());
    assert_eq!(open(&mut restarted, &recorded, 11), Err(Refusal::Replayed));
    let decrypted = restarted.crypto().opened.get();
    assert_eq!(open(&mut restarted, &recorded, 11), Err(Refusal::Replayed));
    assert_eq!(restarted.crypto().opened.get(), decrypted);
}

#[test]
fn s2_9_an_old_stamp_proves_nothing_until_a_ping_is_answered() {
    let (mut one, mut two) = (node(1, 0), node(2, 0));
    let behind = sealed(&mut one, 2, 10);
    let opened = open(&mut two, &behind, 71).unwrap();
    assert!(!opened.is_proven(), "its clock is more than a minute behind");
    let answer = sealed(&mut one, 2, 11);
    let proof = open(&mut two, &answer, 72).unwrap();
    assert!(!proof.is_proven());
    two.prove(&proof);
    assert!(open(&mut two, &sealed(&mut one, 2, 12), 73).unwrap().is_proven());
    for earlier in [behind, answer] {
        assert_eq!(open(&mut two, &earlier, 73), Err(Refusal::Replayed));
    }
}

#[test]
fn s2_9_what_is_forgotten_is_not_a_way_in() {
    let mut two = node(2, 0);
    let mut first = node(1, 0);
    let recorded = sealed(&mut first, 2, 1);
    assert!(open(&mut two, &recorded, 1).unwrap().is_proven());
    // Another draw of the salt for each: sessions without end.
    for draw in 0..SESSIONS_MAX as u64 {
        let crypto = RustCrypto::default();
        let mut other = Seal::new(crypto, CLUSTER, NodeId::new(1), &SECRET, stamp(0));
        let mut random = [0; 32];
        random[..8].copy_from_slice(&draw.to_le_bytes());
        other.handle_random(at(2), Epoch::new(1), &random);
        assert!(open(&mut two, &sealed(&mut other, 2, 2), 2).unwrap().is_proven());
        assert!(two.sessions() <= SESSIONS_MAX);
    }
    let replayed = open(&mut two, &recorded, 3).expect("its tag is good");
    assert!(!replayed.is_proven(), "nobody remembers it, so it proves nothing");
}

#[test]
fn s2_8_a_session_ends_with_time_with_a_clock_that_jumps_and_with_its_counter() {
    let one = node(1, 0);
    assert!(!one.poll_random(at(599)));
    assert!(one.poll_random(at(600)));
    let jumped = Now { wall: at(10).wall + Duration::from_millis(1_100), ..at(10) };
    assert!(one.poll_random(jumped), "suspended, or cloned");
    let back = Now { wall: at(10).wall - Duration::from_millis(1_100), ..at(10) };
    assert!(one.poll_random(back));
    let slewed = Now { wall: at(10).wall + Duration::from_millis(900), ..at(10) };
    assert!(!one.poll_random(slewed));
}

#[test]
fn s2_8_runs_that_share_an_epoch_and_a_clock_share_no_session() {
    let mut twins = [node_of(CLUSTER, 1, 0, 1), node_of(CLUSTER, 1, 0, 2)];
    let [a, b] = &mut twins;
    let (a, b) = (sealed(a, 2, 1), sealed(b, 2, 1));
    assert_ne!(a[6..18], b[6..18]);
    let mut two = node(2, 0);
    assert!(open(&mut two, &a, 1).is_ok() && open(&mut two, &b, 1).is_ok());
}

#[test]
fn s2_8_without_a_session_nothing_is_sent() {
    let crypto = RustCrypto::default();
    let mut one = Seal::new(crypto, CLUSTER, NodeId::new(1), &SECRET, stamp(0));
    let mut datagram = payload(1, 1, 20);
    assert!(!one.seal(NodeId::new(2), &mut datagram));
    assert!(datagram.is_empty(), "what is not sealed does not leave");
}

#[test]
fn s2_7_keys_are_changed_without_a_gap() {
    let (mut one, mut two) = (node(1, 0), node(2, 0));
    let old = one.key_in_use();
    let new = one.install(&OTHER).unwrap();
    assert_eq!(one.use_key(KeyId::new(1)), Err(KeyError::Unknown(KeyId::new(1))));
    one.use_key(new).unwrap();
    assert!(one.poll_random(at(1)), "another key is another session");
    one.handle_random(at(1), Epoch::new(0), &[1; 32]);
    let early = sealed(&mut one, 2, 1);
    assert_eq!(open(&mut two, &early, 1), Err(Refusal::UnknownKey(new)));
    assert_eq!(two.install(&OTHER), Ok(new));
    assert!(open(&mut two, &early, 1).is_ok());
    assert_eq!(one.remove(new), Err(KeyError::InUse(new)));
    one.remove(old).unwrap();
    assert_eq!(one.keys(), [new]);
    let mut datagram = payload(2, 1, 0);
    assert!(two.seal(NodeId::new(1), &mut datagram), "two still uses the old one");
    assert_eq!(open(&mut one, &datagram, 1), Err(Refusal::UnknownKey(old)));
}

#[test]
fn s2_7_a_key_that_comes_back_brings_no_replays() {
    let (mut one, mut two) = (node(1, 0), node(2, 0));
    let recorded = sealed(&mut one, 2, 1);
    assert!(open(&mut two, &recorded, 1).unwrap().is_proven());
    let (old, new) = (two.key_in_use(), two.install(&OTHER).unwrap());
    two.use_key(new).unwrap();
    two.remove(old).unwrap();
    two.install(&SECRET).unwrap();
    assert!(!open(&mut two, &recorded, 2).unwrap().is_proven());
}

#[test]
fn s2_7_a_keyring_has_an_end() {
    let mut one = node(1, 0);
    for key in (101..).take(KEYS_MAX - 1) {
        one.install(&[key; 32]).unwrap();
    }
    assert_eq!(one.install(&[1; 32]), Err(KeyError::Full));
    assert_eq!(one.install(&SECRET), Ok(one.key_in_use()), "installed twice is installed");
    assert_eq!(one.keys().len(), KEYS_MAX);
}

#[test]
fn a_session_has_one_sender() {
    let (mut one, mut two) = (node(1, 0), node(2, 0));
    assert!(open(&mut two, &sealed(&mut one, 2, 1), 1).is_ok());
    let mut datagram = payload(9, 1, 20);
    assert!(one.seal(NodeId::new(2), &mut datagram));
    assert_eq!(open(&mut two, &datagram, 1), Err(Refusal::Malformed));
}

/// The window against a set of all counters that were taken, in orders drawn from seeds.
#[test]
fn s2_9_the_window_takes_each_counter_once() {
    for seed in 0..200 {
        let mut rng = Rng::new(seed);
        let (mut window, mut taken) = (Window::new(), BTreeSet::new());
        let mut newest = 0_u64;
        for _ in 0..3_000 {
            let reach = [4, 70, 1_100, 5_000][rng.index(4)];
            let counter =
                (newest + u64::from(rng.below(reach))).saturating_sub(u64::from(reach / 2));
            let expected = counter > 0
                && !taken.contains(&counter)
                && (counter > newest || newest - counter < WINDOW);
            assert_eq!(window.is_new(counter), expected, "seed {seed}, {counter} after {newest}");
            if expected {
                window.take(counter);
                taken.insert(counter);
                newest = newest.max(counter);
            }
        }
    }
}
