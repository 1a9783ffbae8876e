use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;

#[test]
fn a_handler_that_is_given_up_and_panics_while_it_is_dropped_harms_nobody() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("on purpose");
        }
    }
    let bomb = Bomb;
    let future = HandlerFuture::new(Box::pin(async move {
        let _bomb = bomb;
        std::future::pending().await
    }));
    assert!(catch_unwind(AssertUnwindSafe(|| drop(future))).is_ok());
}
