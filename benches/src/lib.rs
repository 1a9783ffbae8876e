//! What chinwag costs; the figures come from `cargo bench -p chinwag-benches`.
