//! What the machine wants to say and to tell: filled by its parts, emptied by the driver.

use alloc::collections::VecDeque;
use core::net::SocketAddr;

use bytes::Bytes;

use crate::id::NodeId;
use crate::membership::state::ring::Slot;
use crate::membership::{EVENTS_MAX, Event, OUTBOX_MAX, Stats};
use crate::wire::datagram::Run;

/// How a message travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Plane {
    /// As one UDP datagram.
    Datagram,
    /// As one gossip frame on a connection.
    Stream,
}

/// Where a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Destination {
    /// The address of its datagram socket and listener.
    pub addr: SocketAddr,
    /// Who is expected there; `None` for a seed that has not been met. On the stream plane, an
    /// open connection to this node is used if there is one.
    pub id: Option<NodeId>,
}

/// A message that `poll_transmit` has written into the caller's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Where it goes.
    pub to: Destination,
    /// How.
    pub plane: Plane,
}

/// A message that is to be encoded when it is polled, so that it carries the freshest claims.
#[derive(Clone, Debug)]
pub(crate) struct Intent {
    pub(crate) to: Destination,
    pub(crate) plane: Plane,
    pub(crate) body: Body,
    /// The member it goes to, when what we think of it is to be said if it is not good (Buddy).
    pub(crate) peer: Option<Slot>,
    /// Whether the local node's own record goes along.
    pub(crate) tells_own: bool,
    /// Whether waiting rumours may fill it up: only towards addresses that are known to be the
    /// member's.
    pub(crate) carries_rumors: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Body {
    Ping {
        seq: u32,
        target: Run,
    },
    /// A ping that says what is thought of its target whether or not Buddy is on: it is sent for
    /// that.
    Warning {
        seq: u32,
        target: Run,
    },
    PingReq {
        seq: u32,
        target: Run,
        budget_ms: u32,
    },
    Ack {
        seq: u32,
        subject: Run,
    },
    Nack {
        seq: u32,
        subject: Run,
    },
    Gossip,
    Payload {
        target: Run,
        payload: Bytes,
    },
    SyncRequest {
        exchange: u32,
        is_joining: bool,
    },
    SyncBusy {
        exchange: u32,
    },
    Leave {
        seq: u32,
    },
    Conflict {
        rival: Run,
        addr: SocketAddr,
        /// The rival is silent, and its end is waited for.
        is_awaited: bool,
    },
}

/// Events whose memory is kept when all have been taken: what one datagram makes.
const EVENTS_KEPT: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    intents: VecDeque<Intent>,
    events: VecDeque<Event>,
    lost: u64,
}

impl Outbox {
    pub(crate) fn send(&mut self, intent: Intent, stats: &mut Stats) {
        if self.intents.len() >= OUTBOX_MAX {
            stats.outbox_shed += 1;
            return;
        }
        self.intents.push_back(intent);
    }

    pub(crate) fn next(&mut self) -> Option<Intent> {
        self.intents.pop_front()
    }

    /// Messages and events that wait.
    pub(crate) fn lens(&self) -> (usize, usize) {
        (self.intents.len(), self.events.len())
    }

    /// The last message queued, if it goes to `addr`.
    pub(crate) fn last_to(&mut self, addr: SocketAddr) -> Option<&mut Intent> {
        self.intents.back_mut().filter(|intent| intent.to.addr == addr)
    }

    #[inline]
    pub(crate) fn tell(&mut self, event: Event, stats: &mut Stats) {
        if self.events.len() >= EVENTS_MAX {
            // A gap in the middle would make what follows unreadable, so everything waiting is
            // given up.
            let shed = self.events.len() as u64;
            self.lost += shed;
            stats.events_shed += shed;
            self.events.clear();
        }
        self.events.push_back(event);
    }

    #[inline]
    pub(crate) fn next_event(&mut self) -> Option<Event> {
        if self.lost > 0 {
            return Some(Event::Lost(core::mem::take(&mut self.lost)));
        }
        let event = self.events.pop_front();
        // A burst, such as the table that a joiner gets, must not keep its memory for ever.
        if self.events.is_empty() && self.events.capacity() > EVENTS_KEPT {
            self.events = VecDeque::new();
        }
        event
    }
}
