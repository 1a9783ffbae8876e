use alloc::vec::Vec;

use super::*;
use crate::rng::Rng;

fn read(out: &Transmit) -> Vec<u8> {
    out.slices().flatten().copied().collect()
}

/// A queue of frames and long bodies, and the same bytes in a row.
fn filled(rng: &mut Rng) -> (Transmit, Vec<u8>) {
    let (mut queue, mut plain) = (Transmit::new(), Vec::new());
    for at in 0..rng.below(12) {
        let fill = u8::try_from(at).expect("small");
        let bytes: Vec<u8> = core::iter::repeat_n(fill, 16 * rng.index(5)).collect();
        if rng.below(2) == 0 {
            queue.encode(&[&bytes]);
        } else {
            queue.splice(bytes.clone().into());
        }
        plain.extend_from_slice(&bytes);
    }
    (queue, plain)
}

#[test]
fn what_goes_in_comes_out_in_order_however_it_is_taken_and_written() {
    for seed in 0..500 {
        let mut rng = Rng::new(seed);
        let (mut queue, mut plain) = filled(&mut rng);
        let (mut out, mut written) = (Transmit::new(), Vec::new());
        while !(queue.is_empty() && out.is_empty()) {
            if plain.len() < 2_000 && rng.below(3) == 0 {
                let (mut more, bytes) = filled(&mut rng);
                queue.take(&mut more, usize::MAX);
                plain.extend_from_slice(&bytes);
            }
            let (len_max, before) = (1 + rng.index(150), out.len());
            let taken = out.take(&mut queue, len_max);
            assert!(taken <= len_max && out.len() == before + taken, "seed {seed}");
            let len = rng.index(out.len() + 1);
            written.extend_from_slice(&read(&out)[..len]);
            out.advance(len);
        }
        assert_eq!(written, plain, "seed {seed}");
    }
}

#[test]
fn long_bodies_are_neither_copied_in_nor_when_taken_nor_cut() {
    let body = Bytes::from(alloc::vec![7; 100_000]);
    let (mut queue, mut out) = (Transmit::new(), Transmit::new());
    queue.encode(&[b"header"]);
    queue.splice(body.clone());
    assert_eq!(out.take(&mut queue, 50_000), 50_000);
    let slices: Vec<&[u8]> = out.slices().collect();
    assert_eq!(slices.iter().map(|slice| slice.len()).collect::<Vec<_>>(), [16, 49_984]);
    assert_eq!(slices[1].as_ptr(), body.as_ptr());
    out.advance(16 + 1_000);
    assert_eq!(out.slices().next().map(<[u8]>::as_ptr), Some(body[1_000..].as_ptr()));
    out.advance(usize::MAX);
    assert!(out.is_empty() && out.slices().next().is_none());
    out.take(&mut queue, usize::MAX);
    assert_eq!(out.slices().next().map(<[u8]>::as_ptr), Some(body[49_984..].as_ptr()));
}

#[test]
fn at_most_64_slices_at_once_and_the_rest_after_them() {
    let mut out = Transmit::new();
    for _ in 0..100 {
        out.encode(&[&[1; 16]]);
        out.splice(Bytes::from_static(&[2; 16]));
    }
    assert_eq!(out.slices().count(), SLICES_MAX);
    out.advance(SLICES_MAX * 16);
    assert_eq!((out.slices().count(), out.len()), (SLICES_MAX, 3_200 - 1_024));
}

#[test]
fn a_long_queue_that_never_empties_gives_back_what_has_left() {
    let mut out = Transmit::new();
    out.encode(&[&[0; 1_024]]);
    for _ in 0..10_000 {
        out.encode(&[&[1; 1_024]]);
        out.splice(Bytes::from_static(&[2; 16]));
        out.advance(1_040);
    }
    assert_eq!(out.len(), 1_024);
    assert!(out.encoded.len() < 2 * KEPT_CAPACITY + 2_048, "{} bytes kept", out.encoded.len());
    assert_eq!(read(&out).iter().filter(|&&byte| byte == 2).count(), 16);
}
