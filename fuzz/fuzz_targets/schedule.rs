//! See [`chinwag_fuzz::schedule`].
#![no_main]

mod counters;

libfuzzer_sys::fuzz_target!(|data: &[u8]| counters::show(&chinwag_fuzz::schedule::run(data)));
