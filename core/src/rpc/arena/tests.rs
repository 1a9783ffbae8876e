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

#[test]
fn a_chunk_whose_bodies_are_gone_is_used_again() {
    let mut arena = Arena::default();
    for _ in 0..1_000 {
        arena.copy(&[1; 100]);
    }
    assert_eq!(arena.held_len(), CHUNK_LEN_MAX);
    let first = arena.copy(&[1; 100]).as_ptr().addr();
    for _ in 0..10_000 {
        let at = arena.copy(&[1; 100]).as_ptr().addr();
        assert!(at.abs_diff(first) <= CHUNK_LEN_MAX, "all in one chunk");
    }
    // A body that is kept keeps its chunk, and no other.
    let kept = arena.copy(&[9; 100]);
    let others: Vec<_> = (0..10_000).map(|_| arena.copy(&[1; 100]).as_ptr().addr()).collect();
    let near =
        others.iter().filter(|at| at.abs_diff(kept.as_ptr().addr()) <= CHUNK_LEN_MAX).count();
    assert!(near < 1_000, "the other chunks are used again, this one is not: {near}");
    assert!(kept.iter().all(|&byte| byte == 9));
}
