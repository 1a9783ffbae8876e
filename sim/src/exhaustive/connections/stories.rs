//! What two ends ask of each other, and the limits within which they do.

use std::time::Duration;

use chinwag_core::rpc::{Config, Defect};

/// What one end asks of the other.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ask {
    /// A call of so many bytes, whose handler calls back with as many so many times.
    Hops { count: u8, len: usize },
    /// The same without handlers that call, made again when it is refused.
    Stubborn { len: usize },
    /// A call whose answer has so many thousand bytes; nobody takes it, or somebody does.
    Fetch { thousands: u8, is_taken: bool },
    /// A bidirectional stream of so many chunks, all of which come back.
    Echo { chunks: u8, len: usize, declared: u32 },
}

/// Two ends of one configuration, and what each asks.
#[derive(Clone, Debug)]
pub struct Story {
    /// In a few words.
    pub name: &'static str,
    pub(super) config: Config,
    /// Of the dialler and of the acceptor.
    pub(super) asks: [&'static [Ask]; 2],
    /// The rule without which it gets stuck.
    pub needs: Option<Defect>,
}

/// A body that is charged: more than 8 KiB.
const LARGE: usize = 8_500;

/// Limits as small as they may be, and timers of which only those of credit are near.
fn tiny() -> Config {
    let far = Duration::from_secs(1_000_000);
    Config {
        message_len_max: 10_000,
        request_budget: 0,
        stream_reserve_max: 0,
        stream_pool_max: 0,
        stream_window: 0,
        response_window: 0,
        response_window_max: 0,
        keepalive_calls: far,
        keepalive_idle: far,
        keepalive_timeout: far,
        ..Config::default()
    }
}

/// A stream that has the only slot, and calls that wait for it.
const WAITS_FOR_A_STREAM: &[Ask] = &[
    Ask::Echo { chunks: 3, len: 30_000, declared: 0 },
    Ask::Stubborn { len: 50_000 },
    Ask::Stubborn { len: 50_000 },
];

/// Every story: one for each rule of credit, and all kinds of calls at once.
pub fn stories() -> Vec<Story> {
    use Ask::{Echo, Fetch, Hops};
    vec![
        Story {
            name: "nested calls from both ends, larger than the budget together",
            config: tiny(),
            asks: [&[Hops { count: 2, len: LARGE }], &[Hops { count: 2, len: LARGE }]],
            needs: Some(Defect::BudgetIsWaitedFor),
        },
        Story {
            name: "nested calls from both ends, more than there are slots",
            config: Config { in_flight_max: 1, ..tiny() },
            asks: [&[Hops { count: 2, len: 10 }], &[Hops { count: 2, len: 10 }]],
            needs: Some(Defect::RoomWaitHasNoEnd),
        },
        Story {
            name: "answers larger than their window, of which nobody takes the first",
            config: Config { message_len_max: 20_000, ..tiny() },
            asks: [
                &[
                    Fetch { thousands: 18, is_taken: false },
                    Fetch { thousands: 9, is_taken: true },
                    Fetch { thousands: 9, is_taken: true },
                ],
                &[],
            ],
            needs: Some(Defect::UntakenStays),
        },
        Story {
            name: "a stream from each end, and no pool",
            config: tiny(),
            asks: [
                &[Echo { chunks: 2, len: LARGE, declared: 9_000 }],
                &[Echo { chunks: 2, len: LARGE, declared: 9_000 }],
            ],
            needs: Some(Defect::NoReserve),
        },
        Story {
            name: "chunks that are longer than what is declared",
            config: Config { message_len_max: 20_000, ..tiny() },
            asks: [
                &[Echo { chunks: 1, len: 18_000, declared: 9_000 }],
                &[Echo { chunks: 1, len: 10, declared: 9_000 }],
            ],
            needs: Some(Defect::ChunkExceedsReserve),
        },
        Story {
            name: "calls that wait for the slot of a stream",
            config: Config {
                in_flight_max: 1,
                message_len_max: 64 * 1024,
                stream_reserve_max: 4 << 20,
                outbound_len_max: 0,
                room_wait_max: Duration::from_secs(1_000),
                ..tiny()
            },
            asks: [WAITS_FOR_A_STREAM, WAITS_FOR_A_STREAM],
            needs: Some(Defect::OneLimitForAll),
        },
        Story {
            name: "a call, a nested call and a stream, from both ends",
            config: Config { in_flight_max: 2, ..tiny() },
            asks: [
                &[Hops { count: 1, len: LARGE }, Echo { chunks: 1, len: 100, declared: 100 }],
                &[Fetch { thousands: 9, is_taken: true }],
            ],
            needs: None,
        },
    ]
}
