use alloc::vec;
use alloc::vec::Vec;

use super::*;

#[test]
fn copies_are_aligned_exact_and_independent() {
    let mut arena = Arena::default();
    let mut kept = Vec::new();
    for len in (0..9_000).step_by(37) {
        let fill = u8::try_from(len % 251).expect("a byte");
        kept.push((fill, len, arena.copy(&vec![fill; len])));
    }
    for (fill, len, body) in &kept {
        assert!(body.as_ptr().addr().is_multiple_of(ALIGN) && body.len() == *len);
        assert!(body.iter().all(|byte| byte == fill), "no copy is written over");
    }
}

/// Chunks are counted and not told apart by their addresses, which the allocator chooses and other
/// tests of this process move.
#[test]
fn a_chunk_whose_bodies_are_gone_is_used_again() {
    /// Bodies of 100 bytes in a chunk of the largest size.
    const BODIES: usize = CHUNK_LEN_MAX / 112;

    let mut arena = Arena::default();
    while arena.held_len() < CHUNK_LEN_MAX {
        arena.copy(&[1; 100]);
    }
    let first = arena.counts;
    for _ in 0..100 * BODIES {
        arena.copy(&[1; 100]);
    }
    let Counts { made, reused } = arena.counts;
    assert_eq!(made, first.made, "all are copied to one chunk");
    assert_eq!(reused, first.reused + 100, "which is used again each time that it is full");

    // A body that is kept keeps its chunk, and no other.
    let kept = arena.copy(&[9; 100]);
    for _ in 0..100 * BODIES {
        arena.copy(&[1; 100]);
    }
    let last = arena.counts;
    assert_eq!(last.made, made + 1, "one chunk takes the place of the one that is kept");
    assert_eq!(last.reused, reused + 99, "and is used again each time that it is full");
    assert!(kept.iter().all(|&byte| byte == 9));
}
