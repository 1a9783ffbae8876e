//! Compiles only if nothing that `chinwag-core` links is `std`: a panic handler beside std's is a
//! duplicate lang item (E0152).
//!
//! It is the proof that needs no bare-metal target: `cargo check --no-default-features` for the
//! host passes with std in the tree too. `.ci/run` compiles it against core with and without std,
//! and wants the first to fail.
#![no_std]

extern crate chinwag_core as _;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
