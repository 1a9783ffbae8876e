//! The cells of [`Reached`] where libFuzzer looks for further counters: a section of the program's,
//! found by its name. It sets them to zero before each input.
//!
//! Naming a section is `unsafe` to Rust, since anything could be put into one that the linker or
//! the loader reads. This one is libFuzzer's own, made of plain bytes, and so is what is put there.
//! There is no safe way to it, which is why it is in a program and not in the library.
#![allow(unsafe_code, reason = "one attribute, with the reason above")]

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use chinwag_fuzz::coverage::{CELLS, Reached};

// SAFETY: bytes of alignment 1 in a section that holds nothing but such.
#[unsafe(link_section = "__libfuzzer_extra_counters")]
static COUNTERS: [AtomicU8; CELLS] = [const { AtomicU8::new(0) }; CELLS];

/// Shows libFuzzer what an input has reached.
pub(crate) fn show(reached: &Reached) {
    for (counter, &count) in COUNTERS.iter().zip(reached.cells()) {
        counter.store(count, Relaxed);
    }
}
