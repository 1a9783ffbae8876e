//! [`Connection`]: the machine over one byte stream. This commit fixes its interface; the machine follows.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use super::config::Config;
use super::event::{
    CallId, CloseReason, Event, Flush, GossipError, InboundId, Request, RequestError, RespondError,
};
use super::headers::Headers;
use super::hello::Hello;
use super::stats::Stats;
use super::status::Status;
use crate::clock::SharedHlc;
use crate::time::{Instant, Now};

/// Which end of the stream this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// This node connected.
    Dialer,
    /// The peer connected.
    Acceptor,
}

/// The machine over one byte stream.
#[derive(Debug)]
pub struct Connection {
    side: Side,
    events: VecDeque<Event>,
    recv: Vec<u8>,
    is_closed: bool,
    stats: Stats,
}

#[expect(unused_variables, reason = "the interface first")]
impl Connection {
    /// A connection over a stream that has just opened.
    pub fn new(side: Side, config: Arc<Config>, hello: Hello, clock: Arc<SharedHlc>, now: Now) -> Self {
        Self { side, events: VecDeque::new(), recv: alloc::vec![0; 1024], is_closed: false, stats: Stats::default() }
    }
    /// Where the next bytes of the stream go. Never empty.
    pub fn recv_buffer(&mut self) -> &mut [u8] {
        &mut self.recv
    }
    /// `len` bytes were put at the front of [`Connection::recv_buffer`].
    pub fn handle_received(&mut self, now: Now, len: usize) {}
    /// The stream ended or was reset.
    pub fn handle_closed(&mut self, now: Now) {
        if !core::mem::replace(&mut self.is_closed, true) {
            self.events.push_back(Event::Closed(CloseReason::Lost));
        }
    }
    /// Time passed. Early calls are no-ops.
    pub fn handle_timeout(&mut self, now: Now) {}
    /// Membership declared the peer dead or restarted.
    pub fn handle_peer_gone(&mut self, now: Now) {}
    /// Appends bytes to write to `out` and returns how many.
    pub fn poll_transmit(&mut self, now: Now, out: &mut Vec<u8>) -> usize {
        0
    }
    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }
    /// When to call [`Connection::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }
    /// Calls the peer. # Errors: see [`RequestError`].
    pub fn request(&mut self, now: Now, request: Request<'_>) -> Result<CallId, RequestError> {
        Err(RequestError::Closed)
    }
    /// Sends a message that wants no answer.
    pub fn one_way(&mut self, now: Now, request: Request<'_>) -> Result<(), RequestError> {
        Err(RequestError::Closed)
    }
    /// Answers a call of the peer.
    pub fn respond(
        &mut self,
        now: Now,
        id: InboundId,
        result: Result<Bytes, Status>,
    ) -> Result<(), RespondError> {
        Err(RespondError::Ended)
    }
    /// Answers a call of the peer, with headers.
    pub fn respond_with(
        &mut self,
        now: Now,
        id: InboundId,
        headers: &Headers,
        result: Result<Bytes, Status>,
    ) -> Result<(), RespondError> {
        Err(RespondError::Ended)
    }
    /// Gives a call up. No event follows; returns whether the call was open (so `false`: its `Response` is or was an event).
    pub fn cancel(&mut self, now: Now, call: CallId) -> bool {
        false
    }
    /// Sends a gossip frame.
    pub fn gossip(&mut self, now: Now, payload: &[u8]) -> Result<(), GossipError> {
        Err(GossipError::Closed)
    }
    /// Takes no new calls, lets the open ones finish, then closes.
    pub fn go_away(&mut self, now: Now) {}
    /// When to write what is queued.
    pub fn flush(&self) -> Flush {
        Flush::Nothing
    }
    /// Counters.
    pub fn stats(&self) -> Stats {
        self.stats
    }
    /// Which end this is.
    pub fn side(&self) -> Side {
        self.side
    }
    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }
}
