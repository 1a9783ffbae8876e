//! See [`chinwag_fuzz::membership_ops`].
#![no_main]

mod counters;

libfuzzer_sys::fuzz_target!(|data: &[u8]| counters::show(&chinwag_fuzz::membership_ops::run(data)));
