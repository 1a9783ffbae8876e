use alloc::vec::Vec;

use super::*;

const LEN: usize = 100_000;

#[test]
fn a_buffer_is_used_again_once_nobody_reads_it() {
    let mut pool = Pool::default();
    assert!(pool.take(LEN).is_none());
    let body = pool.share(Pool::fresh(LEN), LEN - 7);
    let at = body.as_ptr().addr();
    assert!(at.is_multiple_of(ALIGN) && body.len() == LEN - 7);
    let view = body.slice(50..60);
    drop(body);
    assert!(pool.take(LEN).is_none(), "a part of it is still read");
    drop(view);
    assert!(
        pool.take(LEN / 5).is_none() && pool.take(LEN + 1).is_none(),
        "neither far too large nor too small"
    );
    let again = pool.take(LEN - 10).expect("free");
    assert_eq!((again.as_ptr().addr(), again.len(), pool.held_len()), (at, LEN, 0));
}

#[test]
fn what_is_kept_is_bounded_and_readers_do_not_notice() {
    let mut pool = Pool::default();
    let bodies: Vec<Bytes> = (0..200).map(|_| pool.share(Pool::fresh(LEN), LEN)).collect();
    assert!(pool.held_len() <= POOL_LEN_MAX);
    assert!(pool.take(LEN).is_none(), "all of them are read");
    assert!(bodies.iter().all(|body| body.len() == LEN));
    let huge = pool.share(Pool::fresh(POOL_LEN_MAX + 1), POOL_LEN_MAX + 1);
    assert!(huge.is_unique(), "too large to be kept");
    drop(bodies);
    assert!(pool.take(LEN).is_some());
}
