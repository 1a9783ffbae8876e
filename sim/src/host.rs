//! One virtual machine with one process on it: what a driver would do around [`Membership`].

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use chinwag_core::clock::{SharedHlc, Timestamp};
use chinwag_core::id::Epoch;
use chinwag_core::membership::{Membership, Plane, StreamPeer, Transmit};
use chinwag_core::time::Now;

use crate::clock::HostClock;

/// Bytes of datagrams that wait for a process at most; more are dropped, as by Linux's default receive buffer.
pub(crate) const INBOX_LEN_MAX: usize = 208 * 1024;
const PORT: u16 = 7_000;

/// A payload under way, or waiting to be read.
#[derive(Debug)]
pub(crate) struct Payload {
    pub(crate) from: u32,
    /// Which run of the sender sent it.
    pub(crate) generation: u32,
    pub(crate) peer: StreamPeer,
    pub(crate) transmit: Transmit,
    pub(crate) sent_at: u64,
    /// Numbers it within the run; copies share it.
    pub(crate) number: u64,
    pub(crate) bytes: Vec<u8>,
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
    /// Nanoseconds between two payloads that it reads, one for each slow-reader fault under way.
    pub(crate) slow: Vec<u64>,
    /// A reading of one payload is in the queue.
    pub(crate) is_reading: bool,
    inbox: VecDeque<Payload>,
    inbox_len: usize,
    pub(crate) unsent: Vec<(Transmit, Vec<u8>)>,
    /// Numbers of faults that are commands to the process, to be done when it runs again.
    pub(crate) commands: Vec<usize>,
    /// The true time of the wake-up that counts; others in the queue are stale.
    pub(crate) wake_at: Option<u64>,
    pub(crate) wakes: u32,
    pub(crate) version: u64,
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
            port: PORT,
            pauses: 0,
            blocks: 0,
            early_timers: 0,
            nameless: 0,
            slow: Vec::new(),
            is_reading: false,
            inbox: VecDeque::new(),
            inbox_len: 0,
            unsent: Vec::new(),
            commands: Vec::new(),
            wake_at: None,
            wakes: 0,
            version: u64::MAX,
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
        self.wake_at = None;
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
    pub(crate) fn hold(&mut self, payload: Payload) -> bool {
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
    pub(crate) fn take_one(&mut self) -> Option<Payload> {
        let payload = self.inbox.pop_front()?;
        if payload.transmit.plane == Plane::Datagram {
            self.inbox_len -= payload.bytes.len();
        }
        Some(payload)
    }

    /// What has waited, in order.
    pub(crate) fn take_inbox(&mut self) -> VecDeque<Payload> {
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
    addr(node, PORT)
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
