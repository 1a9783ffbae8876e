//! See [`chinwag_fuzz::wire_roundtrip`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| chinwag_fuzz::wire_roundtrip::run(data));
