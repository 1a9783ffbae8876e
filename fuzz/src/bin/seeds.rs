//! Writes seeds from what real nodes and connections say, and the words of the two protocols as
//! libFuzzer's dictionaries: `seeds DIR`, into `DIR/seeds/TARGET/trace-N` and `DIR/dict/TARGET`.
//!
//! They are a beginning: what a fuzzer finds from them is made small with libFuzzer's `-merge` and
//! kept beside them (`docs/fuzzing.md`).

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use chinwag::Body;
use chinwag_core::id::Fence;
use chinwag_core::membership::Plane;
use chinwag_fuzz::forge::{CLUSTER, epoch, home};
use chinwag_fuzz::input::put;
use chinwag_fuzz::packet;
use chinwag_fuzz::stream::{self, Greeting, Head, KINDS, NO_TIMEOUT};
use chinwag_fuzz::traces::{self, Carried};

/// Bytes of a stream that one seed holds at most.
const STREAM_LEN: usize = 3_000;

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(std::env::args().nth(1).ok_or("seeds DIR")?);
    let dir = root.join("seeds");
    let said = traces::membership();
    write(&dir, "wire_roundtrip", &payloads(&said))?;
    write(&dir, "datagram", &stories(&said))?;
    write(&dir, "connection_bytes", &streams())?;
    write(&dir, "view", &views())?;
    fs::create_dir_all(root.join("dict"))?;
    let (payloads, frames) = (dictionary(&payload_words()), dictionary(&frame_words()));
    for (target, words) in
        [("datagram", &payloads), ("wire_roundtrip", &payloads), ("connection_bytes", &frames)]
    {
        fs::write(root.join("dict").join(target), words)?;
    }
    Ok(())
}

fn write(dir: &Path, target: &str, seeds: &[Vec<u8>]) -> std::io::Result<()> {
    let dir = dir.join(target);
    fs::create_dir_all(&dir)?;
    for (number, seed) in seeds.iter().enumerate() {
        fs::write(dir.join(format!("trace-{number}")), seed)?;
    }
    Ok(())
}

/// One payload of each combination of messages.
fn payloads(said: &[Carried]) -> Vec<Vec<u8>> {
    let mut seen = BTreeSet::new();
    let is_new = |carried: &&Carried| {
        let packet = packet::decode(&carried.bytes).expect("what is sent can be read");
        let mut kinds: Vec<_> = packet.messages.iter().map(std::mem::discriminant).collect();
        kinds.dedup();
        kinds.len() < 4 && seen.insert(format!("{kinds:?}"))
    };
    said.iter().filter(is_new).map(|carried| [&[200, 1, 2], &carried.bytes[..]].concat()).collect()
}

/// What node 1 hears, as steps of `datagram`: twenty payloads a seed, with the time between them.
fn stories(said: &[Carried]) -> Vec<Vec<u8>> {
    let heard: Vec<&Carried> = said
        .iter()
        .filter(|carried| carried.to == home(1) && carried.plane == Plane::Datagram)
        .collect();
    let story = |heard: &[&Carried]| {
        let mut seed = 7u64.to_le_bytes().to_vec();
        let mut at = 0;
        for carried in heard {
            let wait = u16::try_from(carried.at.saturating_sub(at)).unwrap_or(u16::MAX);
            at = carried.at;
            seed.push(9);
            seed.extend_from_slice(&wait.to_le_bytes());
            seed.extend_from_slice(&[0, u8::try_from(carried.from).unwrap_or(0)]);
            put::slice(&mut seed, &carried.bytes);
        }
        seed
    };
    heard.chunks(20).step_by(1 + heard.len() / 200).map(story).collect()
}

/// Both directions of a stream, cut at frames of the first bytes, for a connection that has said
/// nothing.
fn streams() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for stream in traces::connection() {
        for len in [128, 1_000, STREAM_LEN] {
            let mut seed = vec![0, 0];
            put::slice(&mut seed, &stream[..len.min(stream.len())]);
            seeds.push(seed);
        }
    }
    seeds
}

/// An archive of each type, and each way to make one.
fn views() -> Vec<Vec<u8>> {
    let archive =
        vec![String::from("an archive of another type")].encode().map(|bytes| bytes.to_vec());
    let mut seeds: Vec<Vec<u8>> = (0..8).map(|way| [&[way], &[way; 80][..]].concat()).collect();
    seeds.extend(archive.map(|bytes| [&[1], &bytes[..]].concat()));
    seeds
}

/// One quoted word a line, every byte in hex.
fn dictionary(words: &[Vec<u8>]) -> String {
    let word = |word: &Vec<u8>| -> String {
        let hex: String = word.iter().map(|byte| format!("\\x{byte:02x}")).collect();
        format!("\"{hex}\"\n")
    };
    words.iter().map(word).collect()
}

/// What stands in payloads (`docs/protocol.md` §2): a header's beginning, runs, addresses, empty
/// messages of each kind.
fn payload_words() -> Vec<Vec<u8>> {
    let fence = Fence::of(CLUSTER).get().to_le_bytes();
    let mut words = vec![[&[1, 0], &fence[..]].concat(), epoch().to_le_bytes()[..6].to_vec()];
    words.extend((1..4u8).map(|id| [4, 10, 0, 0, id, 88, 27].to_vec()));
    words.extend((1..=12u8).map(|kind| [kind, 0, 0].to_vec()));
    words.extend([vec![0xff; 6], vec![0xff; 8], b"\x02dc\x02eu".to_vec()]);
    words
}

/// What stands on streams (§5): the magic, names, and the header of an empty frame of each kind.
fn frame_words() -> Vec<Vec<u8>> {
    let mut words = vec![
        b"\xc7hinwag\n".to_vec(),
        stream::hello(&Greeting::default()),
        stream::intern(0, "echo", "say"),
    ];
    words.extend(KINDS.map(|kind| stream::header(Head { kind, ..Head::default() }, 0, 0)));
    words.extend([stream::extension(0, NO_TIMEOUT), vec![0xff; 8]]);
    words
}
