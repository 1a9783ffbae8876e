//! Target `view`: any bytes as an archive of any of these types. Either they are refused, or every
//! byte that the view leads to can be read; the same bytes are the same wherever they lie; depth is
//! bounded.
//!
//! Run it with a sanitizer: what it looks for beside panics is a read past the end.

use std::collections::BTreeMap;

use bytes::Bytes;
use chinwag::limits::DEPTH_MAX;
use chinwag::{Body, Payload, View};
use rkyv::util::AlignedVec;

use crate::input::Input;

/// Archives start at multiples of this on a stream.
const ALIGN: usize = 16;
/// Bytes that one input damages at most.
const FLIPS_MAX: usize = 16;

/// Numbers, strings, lists, enums, boxes and maps, nested.
#[derive(rkyv::Archive, rkyv::Serialize)]
struct Rich {
    id: u64,
    wide: u128,
    name: String,
    rows: Vec<Row>,
    kind: Kind,
    maybe: Option<Box<u32>>,
    map: BTreeMap<String, Vec<u16>>,
    pair: (char, bool),
    fixed: [f32; 3],
}

/// A row of [`Rich`].
#[derive(rkyv::Archive, rkyv::Serialize)]
struct Row {
    key: String,
    values: Vec<u16>,
}

/// One of several shapes.
#[derive(rkyv::Archive, rkyv::Serialize)]
enum Kind {
    /// Nothing.
    Empty,
    /// Something out of line.
    Named(String),
    /// Both.
    Pair {
        /// In line.
        left: u64,
        /// Out of line, perhaps.
        right: Option<String>,
    },
}

/// A tree: the type that is nested as deeply as its bytes say.
#[derive(rkyv::Archive, rkyv::Serialize)]
#[rkyv(serialize_bounds(__S: rkyv::ser::Writer + rkyv::ser::Allocator, __S::Error: rkyv::rancor::Source))]
#[rkyv(bytecheck(bounds(__C: rkyv::validation::ArchiveContext, __C::Error: rkyv::rancor::Source)))]
struct Tree {
    label: u32,
    #[rkyv(omit_bounds)]
    children: Vec<Tree>,
}

/// A chain of boxes: a depth bomb when long.
#[derive(rkyv::Archive, rkyv::Serialize)]
#[rkyv(serialize_bounds(__S: rkyv::ser::Writer + rkyv::ser::Allocator, __S::Error: rkyv::rancor::Source))]
#[rkyv(bytecheck(bounds(__C: rkyv::validation::ArchiveContext, __C::Error: rkyv::rancor::Source)))]
struct Chain {
    #[rkyv(omit_bounds)]
    next: Option<Box<Chain>>,
}

/// Reads every byte that a valid view leads to, and says how deep it goes.
trait Walk {
    fn walk(&self) -> (u64, usize);
}

impl Walk for ArchivedRich {
    fn walk(&self) -> (u64, usize) {
        let rows = self.rows.iter().map(|row| sum(row.key.as_bytes()) ^ numbers(&row.values));
        let kind = match &self.kind {
            ArchivedKind::Empty => 0,
            ArchivedKind::Named(name) => sum(name.as_bytes()),
            ArchivedKind::Pair { left, right } => {
                left.to_native() ^ right.as_ref().map_or(0, |right| sum(right.as_bytes()))
            }
        };
        let map = self.map.iter().fold(0u64, |all, (key, values)| {
            all.wrapping_mul(31) ^ sum(key.as_bytes()) ^ numbers(values)
        });
        let maybe = self.maybe.as_ref().map_or(0, |maybe| u64::from(maybe.to_native()));
        let pair = u64::from(self.pair.0.to_native()) ^ u64::from(self.pair.1);
        let fixed =
            self.fixed.iter().fold(0, |all, float| all ^ u64::from(float.to_native().to_bits()));
        let wide = sum(&self.wide.to_native().to_le_bytes());
        let all = rows.fold(sum(self.name.as_bytes()) ^ self.id.to_native(), u64::wrapping_add);
        (all ^ kind ^ map ^ maybe ^ pair ^ fixed ^ wide, 2)
    }
}

impl Walk for ArchivedTree {
    fn walk(&self) -> (u64, usize) {
        self.children.iter().fold((u64::from(self.label.to_native()), 1), |(all, deep), child| {
            let (below, depth) = child.walk();
            (all.wrapping_mul(31) ^ below, deep.max(1 + depth))
        })
    }
}

impl Walk for ArchivedChain {
    fn walk(&self) -> (u64, usize) {
        self.next.as_ref().map_or((1, 1), |next| {
            let (all, depth) = next.walk();
            (all + 1, depth + 1)
        })
    }
}

fn numbers(values: &rkyv::vec::ArchivedVec<rkyv::rend::u16_le>) -> u64 {
    values
        .iter()
        .fold(values.len() as u64, |all, value| all.wrapping_mul(31) ^ u64::from(value.to_native()))
}

fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(bytes.len() as u64, |all, &byte| all.wrapping_mul(31) ^ u64::from(byte))
}

/// One input: a type, then bytes that are said to be an archive of it, or a value of it and what
/// damages its archive.
///
/// # Panics
/// If a view is not what it should be; a read past the end shows to a sanitizer alone.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    match input.u8() % 8 {
        0 => look::<Rich>(input.rest()),
        1 => look::<Tree>(input.rest()),
        2 => look::<Chain>(input.rest()),
        3 | 4 => {
            let value = rich(&mut input);
            damaged(&value, &mut input);
        }
        5 => {
            let value = tree(&mut input, 0);
            damaged(&value, &mut input);
        }
        6 => {
            let value = chain(1 + usize::from(input.u8()));
            damaged(&value, &mut input);
        }
        _ => bomb(&mut input),
    }
}

/// The archive of `value`, whole and then with some bytes changed and the end cut off.
fn damaged<T: Payload<Archived: Walk>>(value: &T, input: &mut Input<'_>) {
    let Ok(archive) = value.encode() else { return };
    let mut bytes = archive.to_vec();
    look::<T>(&bytes);
    for _ in 0..FLIPS_MAX {
        if input.is_empty() || bytes.is_empty() {
            break;
        }
        let at = usize::from(input.u16()) % bytes.len();
        bytes[at] ^= input.u8();
    }
    let len = bytes.len() - usize::from(input.u8()).min(bytes.len());
    look::<T>(&bytes[..len]);
}

/// Looks at `bytes` where they are aligned and where they are not.
fn look<T: Payload<Archived: Walk>>(bytes: &[u8]) {
    let at_home = View::<T>::new(aligned(bytes, 0)).ok().map(|view| view.walk());
    let elsewhere = View::<T>::new(aligned(bytes, 1)).ok().map(|view| view.walk());
    assert_eq!(at_home, elsewhere, "the same bytes are the same at any address");
    assert!(
        at_home.is_none_or(|(_, depth)| depth <= DEPTH_MAX.get() + 1),
        "deeper than a view may be"
    );
}

/// `bytes`, beginning `by` past a multiple of [`ALIGN`].
fn aligned(bytes: &[u8], by: usize) -> Bytes {
    let mut aligned = AlignedVec::<ALIGN>::with_capacity(by + bytes.len());
    aligned.resize(by, 0);
    aligned.extend_from_slice(bytes);
    Bytes::from_owner(aligned).slice(by..)
}

fn rich(input: &mut Input<'_>) -> Rich {
    let row = |input: &mut Input<'_>| Row { key: text(input), values: values(input) };
    Rich {
        id: input.u64(),
        wide: u128::from(input.u64()) << 64 | u128::from(input.u64()),
        name: text(input),
        rows: (0..input.below(4)).map(|_| row(input)).collect(),
        kind: match input.below(4) {
            0 => Kind::Empty,
            1 => Kind::Named(text(input)),
            2 => Kind::Pair { left: input.u64(), right: None },
            _ => Kind::Pair { left: input.u64(), right: Some(text(input)) },
        },
        maybe: input.bit().then(|| Box::new(input.u32())),
        map: (0..input.below(4)).map(|_| (text(input), values(input))).collect(),
        pair: (char::from(input.u8()), input.bit()),
        fixed: [0; 3].map(|_: u8| f32::from_bits(input.u32())),
    }
}

fn text(input: &mut Input<'_>) -> String {
    String::from_utf8_lossy(input.slice()).into_owned()
}

fn values(input: &mut Input<'_>) -> Vec<u16> {
    (0..input.below(20)).map(|_| input.u16()).collect()
}

fn tree(input: &mut Input<'_>, depth: usize) -> Tree {
    let children = if depth < 20 { input.below(4) } else { 0 };
    Tree { label: input.u32(), children: (0..children).map(|_| tree(input, depth + 1)).collect() }
}

fn chain(len: usize) -> Chain {
    (1..len).fold(Chain { next: None }, |chain, _| Chain { next: Some(Box::new(chain)) })
}

/// A chain of up to 65,537 links. Serialising one would recurse as deeply, so two links are encoded
/// and the outer one is repeated: its pointer is relative to itself.
fn bomb(input: &mut Input<'_>) {
    let Ok(two) = chain(2).encode() else { return };
    let (inner, outer) = two.split_at(two.len() / 2);
    let links = usize::from(input.u16());
    let bytes = [inner, &outer.repeat(1 + links)].concat();
    let view = View::<Chain>::new(aligned(&bytes, 0));
    match view {
        Ok(view) => assert_eq!(view.walk().1, links + 2, "a chain is as long as its bytes"),
        Err(_) => assert!(links > DEPTH_MAX.get() / 2, "a chain of {links} links is no bomb"),
    }
    damaged_bytes::<Chain>(bytes, input);
}

fn damaged_bytes<T: Payload<Archived: Walk>>(mut bytes: Vec<u8>, input: &mut Input<'_>) {
    if let Some(last) = bytes.len().checked_sub(1) {
        bytes[last - usize::from(input.u16()).min(last)] ^= input.u8();
        look::<T>(&bytes);
    }
}
