//! See [`chinwag_fuzz::store_merge`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| chinwag_fuzz::store_merge::run(data));
