//! Every limit of the driver, with the reason for its number. Those of the machines are in core.

use std::num::NonZeroUsize;
use std::time::Duration;

/// How deeply pointers in an archive may nest. Validation recurses once per level and a peer
/// chooses the levels: without a limit, 1.6 MB of nested boxes overflow a 2 MiB stack and abort the
/// process. 64 is the limit Cap'n Proto ships.
pub const DEPTH_MAX: NonZeroUsize = NonZeroUsize::new(64).expect("64 is not zero");

/// Events a [`Watch`](crate::Watch) holds for a reader that is behind; further ones are counted and
/// reported as `Lost`. A thousand joins at once, and still below 200 KiB.
pub const WATCH_EVENTS_MAX: usize = 1_024;

/// Gossip frames from connections that wait for the node task. Frames are at most 32 KiB as
/// membership makes them; what is shed here is repaired by the next exchange.
pub const INBOX_FRAMES_MAX: usize = 256;

/// Reports of failed gossip that wait for the node task; membership's own timers cover what is
/// shed.
pub const INBOX_FAILURES_MAX: usize = 1_024;

/// Connections of a node, dialled and accepted, strangers included. Far above what one node talks
/// to at once, and below the usual limit on descriptors of a service (65,536).
pub const CONNECTIONS_MAX: usize = 4_096;

/// One-way messages of one connection that are being handled at once; further ones are dropped. As
/// many as calls may be open at once by default.
pub const ONE_WAYS_MAX: usize = 1_024;

/// Cancelled handlers of one connection whose tasks have not dropped them yet; while there are so
/// many, further calls are refused as overloaded. As many as calls may be open at once by default,
/// so that cancelling all of them once is nobody's misfortune.
pub const CANCELLED_MAX: usize = 1_024;

/// How long the first poll of a handler may take that runs in the task of its connection: about as
/// long as a dozen calls take on the way, so that no call beside it is held up by much.
pub const LONG_POLL: Duration = Duration::from_micros(100);

/// Short first polls in a row after which a method's handler runs in the task of its connection.
/// What it costs to begin beside it is a few microseconds each, once.
pub const SHORT_POLLS: u32 = 8;

/// How long the handlers of one batch may take in the task of their connection before each of their
/// methods runs beside it again.
pub const LONG_BATCH: Duration = Duration::from_millis(1);

/// Bytes of a typed request up to which it is validated in the task of its connection. A request of
/// short strings, the slowest to validate, takes about 2 ns a byte: 65 µs for one of this length.
pub const VALIDATED_IN_PLACE_MAX: usize = 32 * 1024;

/// Bytes that all peers together can make a node hold by default: what sixteen of them may have
/// each, and little beside what a host has that serves more.
pub const HELD_MAX_DEFAULT: usize = 1 << 30;

/// Addresses whose failures to connect are remembered. Forgetting one costs one early dial.
pub const BACKOFFS_MAX: usize = 1_024;

/// The wait after the first failure to connect; it doubles with each further one, less up to half
/// as jitter. A peer that restarts is back within a second.
pub const BACKOFF_MIN: Duration = Duration::from_millis(50);

/// The longest wait before another attempt to connect. With it an attempt still has 3 s of the 5 s
/// that `rpc::Config::hello_timeout` gives it, the wait included.
pub const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// How long a connection without calls or gossip is kept by the side that dialled it. Anti-entropy
/// talks to random members: without this, a node ends up connected to everyone.
pub const IDLE_MAX: Duration = Duration::from_secs(60);

/// The same for a connection that another one to the same peer has replaced: time for the peer to
/// notice.
pub const IDLE_RETIRED_MAX: Duration = Duration::from_secs(1);

/// How often a call looks for another connection because the one in hand is going away, and how
/// often it is sent again because its peer turned it away for that reason: then it is certain that
/// no handler has seen it.
pub const CALL_ATTEMPTS_MAX: usize = 3;

/// Attempts at a balanced call, on as many members, unless its client says otherwise: with a tenth
/// of the members out of order and not known to be, one call in a thousand fails.
pub const RETRY_ATTEMPTS_DEFAULT: u32 = 3;

/// What each balanced call adds to the budget for retries, in hundredths of one: so when everything
/// fails, the load rises by a fifth. Finagle's default.
pub const RETRIES_PERCENT: u32 = 20;

/// Retries that a budget can hold, and begins with: enough for the calls that were under way to a
/// member that has just died.
pub const RETRIES_SAVED: u32 = 100;

/// How long a call may take unless the caller says otherwise.
pub const CALL_TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

/// Datagrams read, or sent, in one turn of the node task before it looks at the rest of its work.
pub const DATAGRAMS_PER_TURN_MAX: usize = 64;

/// Connections accepted in one turn of the node task.
pub const ACCEPTS_PER_TURN_MAX: usize = 16;

/// Bytes of buffers in which long typed messages were encoded, and which are kept, for the whole
/// process, to encode further ones in, where less than that is being sent. Eight of a megabyte, as
/// many as are being sent at once where connections keep up.
pub const ARCHIVES_LEN_MAX: usize = 8 * 1024 * 1024;

/// How long a look-up of a seed may take: a resolver that tries a second server after 5 s, as most
/// do, is waited for.
pub const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);

/// Look-ups of seeds that are under way at once. Runtimes look names up on threads of a pool, which
/// the program needs, too; a name whose server is silent keeps a thread for
/// [`LOOKUP_TIMEOUT`] and more.
pub const LOOKUPS_MAX: usize = 32;

/// The time from the first to the second warning that no seed has answered; each further one is
/// twice as long. Long enough for the other nodes of a new cluster to start.
pub const SEED_WARNING_MIN: Duration = Duration::from_secs(10);

/// The longest time between two such warnings.
pub const SEED_WARNING_MAX: Duration = Duration::from_secs(3_600);

/// Seeds that one such warning names; of the others it gives the number. A line stays readable.
pub const SEEDS_NAMED_MAX: usize = 8;

/// Turns a task takes before it lets others run.
pub const TURNS_MAX: usize = 16;

/// Groups in which callers are woken whose answers came together, and what a group is at least:
/// fewer calls do not pay for a write of their own. Of 64 calls in flight, in one write or in
/// these, the latter are 1.8 times as many a second (two cores).
pub const WAKE_GROUPS: usize = 3;
/// See [`WAKE_GROUPS`].
pub const WAKE_GROUP_MIN: usize = 16;

/// The wait after a failed accept. Out of descriptors, accepting fails at once, and for as long as
/// that lasts.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Tries at a port that is free for both TCP and UDP, when the port is the system's choice.
pub const BIND_ATTEMPTS_MAX: usize = 16;

/// The largest UDP payload over IPv4; what is longer cannot arrive.
pub const DATAGRAM_LEN_MAX: usize = 65_507;
