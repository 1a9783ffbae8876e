//! One virtual machine with one process on it: what a driver would do around [`Membership`].

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use chinwag_core::clock::{SharedHlc, Timestamp};
use chinwag_core::id::{Epoch, NodeId};
use chinwag_core::membership::{Destination, Membership, Plane, StreamPeer, Transmit};
use chinwag_core::time::Now;

use crate::clock::HostClock;
use crate::fault::Answers;

/// Bytes of datagrams that wait for a process at most; more are dropped, as by Linux's default
/// receive buffer.
pub(crate) const INBOX_LEN_MAX: usize = 208 * 1024;
/// The port that a node has at first.
pub(crate) const FIRST_PORT: u16 = 7_000;

/// Payloads kept to be used again at most, and the room of each: a quiet thousand of nodes has
/// fewer under way, and tables are rare.
const SPARES_MAX: usize = 4_096;
const SPARE_LEN_MAX: usize = 2_048;

/// A payload under way, or waiting to be read.
#[derive(Clone, Debug)]
pub(crate) struct Payload {
    pub(crate) from: u32,
    /// Which run of the sender sent it.
    pub(crate) generation: u32,
    /// As the connection's hello says; of a datagram only the address counts.
    pub(crate) peer: StreamPeer,
    pub(crate) transmit: Transmit,
    pub(crate) sent_at: u64,
    /// Numbers it within the run; copies share it.
    pub(crate) number: u64,
    pub(crate) bytes: Vec<u8>,
    /// Of the bytes.
    pub(crate) digest: u64,
}

/// Payloads that have arrived and are used again, so that a run that is under way allocates nothing
/// for them.
#[derive(Debug, Default)]
#[expect(clippy::vec_box, reason = "a payload moves through queues and inboxes as one word")]
pub(crate) struct Spares(Vec<Box<Payload>>);

impl Spares {
    /// A payload whose fields are of an earlier one, but for its bytes: it has none.
    pub(crate) fn take(&mut self) -> Box<Payload> {
        self.0.pop().unwrap_or_else(|| {
            let addr = first_addr(0);
            Box::new(Payload {
                from: 0,
                generation: 0,
                peer: StreamPeer { id: NodeId::new(0), epoch: Epoch::default(), addr },
                transmit: Transmit { to: Destination { addr, id: None }, plane: Plane::Datagram },
                sent_at: 0,
                number: 0,
                bytes: Vec::new(),
                digest: 0,
            })
        })
    }

    pub(crate) fn give(&mut self, mut payload: Box<Payload>) {
        if self.0.len() < SPARES_MAX && payload.bytes.capacity() <= SPARE_LEN_MAX {
            payload.bytes.clear();
            self.0.push(payload);
        }
    }
}

#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) machine: Option<Membership>,
    pub(crate) hlc: Arc<SharedHlc>,
    pub(crate) clock: HostClock,
    /// How often its process has been started.
    pub(crate) generation: u32,
    pub(crate) started_at: u64,
    pub(crate) port: u16,
    /// Full pauses and I/O blocks under way; they may overlap.
    pub(crate) pauses: u32,
    pub(crate) blocks: u32,
    pub(crate) early_timers: u32,
    /// Look-ups fail while this is not 0.
    pub(crate) nameless: u32,
    /// How look-ups are answered, one for each such fault under way: the last counts.
    pub(crate) answers: Vec<Answers>,
    pub(crate) lookups: u32,
    /// Nanoseconds between two payloads that it reads, one for each slow-reader fault under way.
    pub(crate) slow: Vec<u64>,
    /// A reading of one payload is in the queue.
    pub(crate) is_reading: bool,
    inbox: VecDeque<Box<Payload>>,
    inbox_len: usize,
    #[expect(clippy::vec_box, reason = "as in `Spares`")]
    pub(crate) unsent: Vec<Box<Payload>>,
    /// Numbers of faults that are commands to the process, to be done when it runs again.
    pub(crate) commands: Vec<usize>,
    /// Early wake-ups that were asked about.
    pub(crate) wakes: u32,
    /// The version of the view that the oracles have seen, and that of the local record; they look
    /// at what has changed.
    pub(crate) version: u64,
    pub(crate) own_version: u64,
    pub(crate) changes: u64,
    pub(crate) persisted: Timestamp,
    pub(crate) crashed_by: Option<usize>,
    pub(crate) dropped: u64,
}

impl Host {
    pub(crate) fn new() -> Self {
        Self {
            machine: None,
            hlc: Arc::new(SharedHlc::new(chinwag_core::clock::DRIFT_MAX_DEFAULT)),
            clock: HostClock::right(),
            generation: 0,
            started_at: 0,
            port: FIRST_PORT,
            pauses: 0,
            blocks: 0,
            early_timers: 0,
            nameless: 0,
            answers: Vec::new(),
            lookups: 0,
            slow: Vec::new(),
            is_reading: false,
            inbox: VecDeque::new(),
            inbox_len: 0,
            unsent: Vec::new(),
            commands: Vec::new(),
            wakes: 0,
            version: u64::MAX,
            own_version: u64::MAX,
            changes: 0,
            persisted: Timestamp::default(),
            crashed_by: None,
            dropped: 0,
        }
    }

    /// The process is gone, and everything in its sockets with it.
    pub(crate) fn stop(&mut self) {
        self.machine = None;
        self.inbox.clear();
        self.inbox_len = 0;
        self.unsent.clear();
        self.commands.clear();
    }

    pub(crate) fn now(&self, at: u64) -> Now {
        self.clock.read(at)
    }

    /// The epoch of a process that starts now.
    pub(crate) fn epoch(&self, at: u64) -> Epoch {
        Epoch::at(self.now(at).wall)
    }

    /// Whether it can take anything in at present.
    pub(crate) fn reads(&self) -> bool {
        self.pauses == 0 && self.blocks == 0
    }

    /// How long it takes over one payload, if it is slow at present.
    pub(crate) fn reads_every(&self) -> Option<u64> {
        self.slow.iter().max().copied()
    }

    /// Whether it takes in what comes as it comes.
    pub(crate) fn reads_at_once(&self) -> bool {
        self.reads() && self.slow.is_empty()
    }

    /// Whether something waits to be read.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.inbox.is_empty()
    }

    /// Whether it is up and reachable by the others, as far as its own process goes.
    pub(crate) fn is_well(&self) -> bool {
        self.reads() && self.machine.as_ref().is_some_and(|machine| !machine.has_left())
    }

    /// What comes waits to be read; false if there is no room for it.
    pub(crate) fn hold(&mut self, payload: Box<Payload>) -> bool {
        if payload.transmit.plane == Plane::Datagram {
            if self.inbox_len + payload.bytes.len() > INBOX_LEN_MAX {
                self.dropped += 1;
                return false;
            }
            self.inbox_len += payload.bytes.len();
        }
        self.inbox.push_back(payload);
        true
    }

    /// The payload that has waited longest.
    pub(crate) fn take_one(&mut self) -> Option<Box<Payload>> {
        let payload = self.inbox.pop_front()?;
        if payload.transmit.plane == Plane::Datagram {
            self.inbox_len -= payload.bytes.len();
        }
        Some(payload)
    }

    /// What has waited, in order.
    pub(crate) fn take_inbox(&mut self) -> VecDeque<Box<Payload>> {
        self.inbox_len = 0;
        std::mem::take(&mut self.inbox)
    }
}

/// Where node `node` is while it uses `port`.
pub(crate) fn addr(node: u32, port: u16) -> SocketAddr {
    let [_, high, middle, low] = node.to_be_bytes();
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, high, middle, low)), port)
}

/// Where a node starts.
pub(crate) fn first_addr(node: u32) -> SocketAddr {
    addr(node, FIRST_PORT)
}

/// Which node has this address, if one could.
pub(crate) fn node_at(addr: SocketAddr) -> Option<u32> {
    match addr.ip() {
        IpAddr::V4(ip) => {
            let [ten, high, middle, low] = ip.octets();
            (ten == 10).then(|| u32::from_be_bytes([0, high, middle, low]))
        }
        IpAddr::V6(_) => None,
    }
}
