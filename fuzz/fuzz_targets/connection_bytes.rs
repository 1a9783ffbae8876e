//! See [`chinwag_fuzz::connection_bytes`]; memory is counted by the allocator.
#![no_main]

use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    chinwag_fuzz::connection_bytes::run(data, || ALLOCATED.current_usage());
});
