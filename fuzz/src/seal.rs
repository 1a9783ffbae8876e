//! `seal`: two nodes that seal datagrams for each other, on a network that keeps, repeats, delays,
//! cuts, changes and invents them, while nodes restart, clocks jump and keys change.
//!
//! What must hold (`docs/protocol.md` §2.6 to §2.9):
//!
//! - a datagram that is opened is one that was sealed for this receiver, and its payload is the one
//!   that was sealed;
//! - no datagram is believed twice, in whatever run of the receiver;
//! - nothing else than a good tag changes what is remembered.

use std::collections::BTreeSet;
use std::time::Duration;

use chinwag_core::clock::Timestamp;
use chinwag_core::id::{Epoch, Fence, NodeId};
use chinwag_core::rng::mix;
use chinwag_core::seal::{Cryptography, KeyId, Opened, Refusal, Seal, TAG_LEN};
use chinwag_core::time::{Instant, Now, WallTime};

use crate::input::Input;

const CLUSTER: &str = "fuzz";
/// Steps of one story at most.
const STEPS_MAX: usize = 400;

/// Algorithms that are fast and keep nothing secret: a fuzzer does not guess 128 bits either.
struct Toy;

fn digest(parts: &[&[u8]]) -> [u64; 2] {
    let mut state = [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344];
    for part in parts {
        for chunk in part.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            let word = u64::from_le_bytes(word) ^ (chunk.len() as u64) << 59;
            state = [mix(state[0] ^ word), mix(state[1].wrapping_add(word) ^ state[0])];
        }
        state[0] = mix(state[0] ^ part.len() as u64);
    }
    state
}

fn fill(mut state: [u64; 2], out: &mut [u8]) {
    for chunk in out.chunks_mut(8) {
        state = [mix(state[0] ^ state[1]), mix(state[1].wrapping_add(1))];
        chunk.copy_from_slice(&state[0].to_le_bytes()[..chunk.len()]);
    }
}

impl Cryptography for Toy {
    type Root = [u64; 2];
    type Key = [u64; 2];

    fn extract(&self, salt: &[u8], secret: &[u8]) -> [u64; 2] {
        digest(&[salt, secret])
    }

    fn expand(&self, root: &[u64; 2], info: &[&[u8]], out: &mut [u8]) {
        let joined = info.concat();
        fill(digest(&[&root[0].to_le_bytes(), &root[1].to_le_bytes(), &joined]), out);
    }

    fn key(&self, root: &[u64; 2], info: &[&[u8]]) -> [u64; 2] {
        digest(&[&root[0].to_le_bytes(), &root[1].to_le_bytes(), &info.concat(), b"key"])
    }

    fn seal(&self, key: &[u64; 2], nonce: &[u8; 12], aad: &[u8], body: &mut [u8]) -> [u8; TAG_LEN] {
        let tag = tag(*key, nonce, aad, body);
        cipher(*key, nonce, body);
        tag
    }

    fn open(&self, key: &[u64; 2], nonce: &[u8; 12], aad: &[u8], body: &mut [u8]) -> bool {
        let (body, found) = body.split_at_mut(body.len() - TAG_LEN);
        cipher(*key, nonce, body);
        tag(*key, nonce, aad, body) == *found
    }

    fn hash(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut hash = [0; 32];
        fill(digest(&[&parts.concat()]), &mut hash);
        hash
    }
}

fn tag(key: [u64; 2], nonce: &[u8; 12], aad: &[u8], body: &[u8]) -> [u8; TAG_LEN] {
    let [one, two] = digest(&[&key[0].to_le_bytes(), &key[1].to_le_bytes(), nonce, aad, body]);
    let mut tag = [0; TAG_LEN];
    tag[..8].copy_from_slice(&one.to_le_bytes());
    tag[8..].copy_from_slice(&two.to_le_bytes());
    tag
}

fn cipher(key: [u64; 2], nonce: &[u8; 12], body: &mut [u8]) {
    let mut stream = vec![0; body.len()];
    fill(digest(&[&key[0].to_le_bytes(), &key[1].to_le_bytes(), nonce]), &mut stream);
    body.iter_mut().zip(stream).for_each(|(byte, stream)| *byte ^= stream);
}

/// A datagram as it was sealed.
struct Sealed {
    bytes: Vec<u8>,
    payload: Vec<u8>,
    to: usize,
    /// Some run of the receiver has believed it.
    believed: bool,
}

struct Node {
    seal: Seal<Toy>,
    keys: BTreeSet<u8>,
    /// The latest stamp it has given out: it does not run back, whatever the clock does.
    stamp: Timestamp,
}

fn secret(seed: u8) -> [u8; 32] {
    [seed; 32]
}

struct Story {
    nodes: [Node; 2],
    sealed: Vec<Sealed>,
    now: Now,
    draws: u64,
}

fn start(at: usize, now: Now) -> Node {
    let stamp = Timestamp::at(now.wall);
    let id = NodeId::new(at as u64 + 1);
    let seal = Seal::new(Toy, CLUSTER, id, &secret(0), stamp);
    Node { seal, keys: BTreeSet::from([0]), stamp }
}

impl Story {
    /// Node `at` seals something for the other one.
    fn say(&mut self, at: usize, len: usize) {
        self.draws += 1;
        let (now, draws) = (self.now, self.draws);
        let node = &mut self.nodes[at];
        if node.seal.poll_random(now) {
            let mut random = [0; 32];
            random[..8].copy_from_slice(&draws.to_le_bytes());
            // Epochs repeat, and clocks too: only what is random tells runs apart.
            node.seal.handle_random(Now::default(), Epoch::new(1), &random);
        }
        let next = Timestamp::from_raw(node.stamp.get() + 1);
        node.stamp = Timestamp::at(now.wall).max(next);
        let mut payload = vec![1, 0];
        payload.extend_from_slice(&Fence::of(CLUSTER).get().to_le_bytes());
        payload.extend_from_slice(&(at as u64 + 1).to_le_bytes());
        payload.extend_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        payload.extend_from_slice(&node.stamp.get().to_le_bytes());
        payload.extend((0..=u8::MAX).cycle().take(len));
        let (mut bytes, to) = (payload.clone(), 1 - at);
        if node.seal.seal(NodeId::new(to as u64 + 1), &mut bytes) {
            self.sealed.push(Sealed { bytes, payload, to, believed: false });
        } else {
            assert!(bytes.is_empty(), "what is not sealed does not leave");
        }
    }

    /// `bytes` come to node `at`. `of` is what they are a true copy of.
    fn deliver(&mut self, at: usize, bytes: &[u8], of: Option<usize>) -> Result<Opened, Refusal> {
        let mut buf = bytes.to_vec();
        let before = self.nodes[at].seal.sessions();
        let opened = self.nodes[at].seal.open(self.now, &mut buf);
        match &opened {
            Ok(opened) => {
                let of = of.expect("only what was sealed opens");
                let sealed = &mut self.sealed[of];
                assert_eq!(sealed.to, at, "it was sealed for the other one");
                assert_eq!(opened.payload(&buf), sealed.payload);
                if opened.is_proven() {
                    assert!(!sealed.believed, "it was believed before");
                    sealed.believed = true;
                }
            }
            Err(_) => assert_eq!(self.nodes[at].seal.sessions(), before),
        }
        opened
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let at = input.below(2);
        match input.below(12) {
            0..=2 => self.say(at, input.below(64)),
            3 | 4 => {
                let Some(which) = self.pick(input) else { return };
                let (bytes, to) = (self.sealed[which].bytes.clone(), self.sealed[which].to);
                let _result = self.deliver(to, &bytes, Some(which));
            }
            5 => {
                // To somebody else: its sender.
                let Some(which) = self.pick(input) else { return };
                let (bytes, to) = (self.sealed[which].bytes.clone(), self.sealed[which].to);
                assert!(self.deliver(1 - to, &bytes, None).is_err());
            }
            6 => {
                let Some(which) = self.pick(input) else { return };
                let (mut bytes, to) = (self.sealed[which].bytes.clone(), self.sealed[which].to);
                let place = usize::from(input.u16()) % bytes.len();
                // The flags are authenticated as well.
                bytes[place] ^= input.u8().max(1);
                if input.bit() {
                    bytes.truncate(place);
                }
                assert!(self.deliver(to, &bytes, None).is_err());
            }
            7 => {
                let bytes = input.slice().to_vec();
                let _result = self.deliver(at, &bytes, None);
            }
            8 => {
                let by = Duration::from_millis(u64::from(input.u16()) * 20);
                self.now.mono = self.now.mono + by;
                self.now.wall = match input.below(8) {
                    0 => self.now.wall - by,
                    1 => self.now.wall,
                    _ => self.now.wall + by,
                };
            }
            9 => {
                let keys = self.nodes[at].keys.clone();
                // Where clocks agree, a run starts after whatever was sealed before it. Where they
                // do not, what was sealed in the time between them may be believed once more.
                let stamps = self.nodes.iter().map(|node| node.stamp.wall()).max();
                let latest = stamps.expect("there are two") + Duration::from_millis(1);
                self.now.wall = self.now.wall.max(latest);
                self.nodes[at] = start(at, self.now);
                for key in keys.into_iter().filter(|key| *key != 0) {
                    let _full = self.nodes[at].seal.install(&secret(key));
                    self.nodes[at].keys.insert(key);
                }
            }
            10 => {
                let key = input.u8() % 4;
                let node = &mut self.nodes[at];
                if let Ok(id) = node.seal.install(&secret(key)) {
                    node.keys.insert(key);
                    if input.bit() {
                        node.seal.use_key(id).expect("installed");
                    }
                }
            }
            _ => self.prove_or_remove(at, input),
        }
    }

    fn prove_or_remove(&mut self, at: usize, input: &mut Input<'_>) {
        if input.bit() {
            let ids: Vec<KeyId> = self.nodes[at].seal.keys();
            let id = ids[input.below(ids.len())];
            let _in_use = self.nodes[at].seal.remove(id);
            return;
        }
        // The other one answers a ping just now: what it seals is no replay.
        self.say(1 - at, 4);
        let Some(which) = self.sealed.len().checked_sub(1) else { return };
        if self.sealed[which].to != at {
            return;
        }
        let bytes = self.sealed[which].bytes.clone();
        if let Ok(opened) = self.deliver(at, &bytes, Some(which))
            && !opened.is_proven()
        {
            self.nodes[at].seal.prove(&opened);
            self.sealed[which].believed = true;
        }
    }

    fn pick(&self, input: &mut Input<'_>) -> Option<usize> {
        let back = usize::from(input.u8());
        let last = self.sealed.len().checked_sub(1)?;
        Some(last - back % self.sealed.len())
    }
}

/// One story.
///
/// # Panics
/// If something does not hold.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let wall = WallTime::from_nanos(1_800_000_000_000_000_000);
    let now = Now { mono: Instant::ZERO, wall };
    let nodes = [start(0, now), start(1, now)];
    let mut story = Story { nodes, sealed: Vec::new(), now, draws: 0 };
    for _ in 0..STEPS_MAX {
        if input.is_empty() {
            break;
        }
        story.step(&mut input);
    }
}
