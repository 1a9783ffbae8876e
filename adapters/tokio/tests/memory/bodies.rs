//! Bodies far larger than what may be held.

use chinwag_conformance::probe::{PATIENCE, sees};
use chinwag_tokio::Raw;

use crate::common::{ALLOCATED, Drain, Flow, MIB, alone, start};

/// Both ends of it.
const MEMORY_MAX: usize = 64 * MIB;
const CHUNK_LEN: usize = 256 << 10;
const CHUNKS: usize = (1 << 30) / CHUNK_LEN;

/// In chunks, to a handler that takes them as they come; sender and receiver share the process.
#[test]
fn a_gigabyte_goes_through_64_mebibytes() {
    alone(async {
        let (one, _) = start(1, &[]).await;
        let (_two, _) = start(2, &[&one]).await;
        sees(&one, 1).await;
        let before = ALLOCATED.current_usage();
        ALLOCATED.reset_peak_usage();

        let client = one.client::<Flow>(2).timeout(4 * PATIENCE);
        let mut drain = client.open(&Drain).await.expect("open");
        for at in 0..CHUNKS {
            // Each a buffer of its own, as a file that is read would have.
            let chunk = vec![u8::try_from(at % 256).expect("below 256"); CHUNK_LEN];
            drain.send(&Raw::from(chunk)).await.expect("sent");
        }
        let len = drain.reply().await.expect("answered").body.to_native();
        assert_eq!(len, 1 << 30);
        let held = ALLOCATED.peak_usage().saturating_sub(before);
        assert!(held < MEMORY_MAX, "{} MiB at most", held / MIB);
    });
}
