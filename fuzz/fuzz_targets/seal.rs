//! See [`chinwag_fuzz::seal`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| chinwag_fuzz::seal::run(data));
