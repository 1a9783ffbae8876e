//! See [`chinwag_fuzz::connection_bytes`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    chinwag_fuzz::connection_bytes::run(data, chinwag_fuzz::allocated);
});
