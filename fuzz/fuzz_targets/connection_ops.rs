//! See [`chinwag_fuzz::connection_ops`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| chinwag_fuzz::connection_ops::run(data));
