//! What the fingerprint of a method sees of its messages, as `docs/rpc.md` says it, "Changing a
//! service": sizes and alignments of the outermost types.

use super::*;

/// A type before a change and after it, and whether the fingerprints differ.
macro_rules! changes {
    ($($why:literal: $before:tt => $after:tt, $is_seen:literal;)*) => {$(
        {
            mod before {
                #[derive(rkyv::Archive, rkyv::Serialize)]
                pub(super) struct Row { pub(super) key: u32 }
                #[derive(rkyv::Archive, rkyv::Serialize)]
                pub(super) enum Kind { First, Second(u32) }
                #[derive(rkyv::Archive, rkyv::Serialize)]
                pub(super) struct Changed $before
            }
            #[allow(dead_code)]
            mod after {
                #[derive(rkyv::Archive, rkyv::Serialize)]
                pub(super) struct Row { pub(super) key: u64 }
                #[derive(rkyv::Archive, rkyv::Serialize)]
                pub(super) enum Kind { Zeroth, First, Second(u32) }
                #[derive(rkyv::Archive, rkyv::Serialize)]
                pub(super) struct Changed $after
            }
            let (before, after) =
                (half::<before::Changed>("name"), half::<after::Changed>("name"));
            assert_eq!(before != after, $is_seen, $why);
        }
    )*};
}

#[test]
#[allow(dead_code)]
fn changes_of_size_or_alignment_are_seen_and_others_are_not() {
    changes! {
        "a field that is added": { a: u32 } => { a: u32, b: u32 }, true;
        "a wider number": { a: u32 } => { a: u64 }, true;
        "a number that may be absent": { a: u32 } => { a: Option<u32> }, true;
        "a number in place of a text": { a: String } => { a: u64 }, true;
        "a number in place of a list": { a: Vec<u8> } => { a: u64 }, true;
        "the elements of a list": { a: Vec<u64> } => { a: Vec<u32> }, false;
        "a signed number that is a float": { a: i64 } => { a: f64 }, false;
        "two fields of one type that are swapped": { a: u32, b: u32 } => { b: u32, a: u32 }, false;
        "a field of another name": { a: u32 } => { other: u32 }, false;
        "bytes in place of a text": { a: String } => { a: Vec<u8> }, false;
        "a field within a list": { a: Vec<Row> } => { a: Vec<Row> }, false;
        "a variant that is inserted": { a: Kind } => { a: Kind }, false;
    }
}
