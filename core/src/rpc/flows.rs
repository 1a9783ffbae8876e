//! [`Flows`]: messages that must not hold up small ones: chunks and long bodies (`docs/protocol.md` §5.10).
//!
//! ```text
//!   messages --> flow of their call --> ring: turns ------------> outbox, when the next write is composed
//!                                        |  ^   ^
//!                      no credit: parked -  |   - no lane: queued
//! ```
//!
//! A flow takes a turn at a time, of a fragment's length or of whatever small messages fit into
//! one. What is under way in fragments is limited: many large messages at once would all be half
//! done, and in memory, at once.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use hashbrown::HashTable;

use super::content::Content;
use super::credit::{Outflow, cost};
use super::frame::{FLAG_ABORT, FLAG_MORE, FrameHeader, Kind, LANES, lane_flags, padded};
use super::headers::Headers;
use super::hello::PeerHello;
use super::outbox::Outbox;
use super::stream::Window;
use crate::clock::Timestamp;
use crate::time::Instant;

/// Whose messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Owner {
    /// A call made here.
    Call(u32),
    /// A call of the peer.
    Inbound(u32),
    /// A one-way message has no call.
    Nobody,
}

/// A message that waits.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) header: FrameHeader,
    pub(super) stamp: Timestamp,
    pub(super) deadline: Option<Instant>,
    pub(super) headers: Headers,
    pub(super) content: Content,
    /// Whose credit it takes when it begins. A chunk has taken its stream's before, and a place in
    /// the connection's.
    pub(super) window: Option<Window>,
}

/// Messages of one call, in order.
#[derive(Debug)]
struct Flow {
    owner: Owner,
    /// Told from earlier flows in the same place.
    serial: u32,
    queue: VecDeque<Message>,
    /// The first message is under way: its lane, and how much of it is left.
    under_way: Option<(u8, usize)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    at: u32,
    serial: u32,
}

/// The connection's windows, as their sender keeps them.
#[derive(Debug, Default)]
pub(super) struct Outflows {
    pub(super) data: Outflow,
    pub(super) requests: Outflow,
    pub(super) responses: Outflow,
}

impl Outflows {
    /// What the peer grants at first.
    pub(super) fn new(peer: &PeerHello) -> Self {
        Self {
            data: Outflow::new(peer.data_window),
            requests: Outflow::new(peer.request_window),
            responses: Outflow::new(peer.response_window),
        }
    }

    /// A chunk goes at once. An end of a stream costs nothing.
    pub(super) fn begin_chunk(&mut self, cost: u32) {
        if cost > 0 {
            self.data.begin(cost);
        }
    }

    pub(super) fn of(&mut self, window: Window) -> &mut Outflow {
        match window {
            Window::Data => &mut self.data,
            Window::Requests => &mut self.requests,
            Window::Responses => &mut self.responses,
        }
    }
}

/// What one turn did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    /// The call whose request began, and where in the stream.
    pub(super) began: Option<(u32, u64)>,
}

/// What was dropped with a flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Dropped {
    /// The request itself had not wholly left.
    pub(super) has_request: bool,
    /// Cost of the chunks that had not begun.
    pub(super) reserved: u64,
}

#[derive(Debug)]
pub(super) struct Flows {
    flows: Vec<Flow>,
    free: Vec<u32>,
    /// Where the flow of each call is.
    index: HashTable<u32>,
    /// Flows that may take a turn. Keys of flows that are gone are passed over.
    ring: VecDeque<Key>,
    /// Flows whose first message waits for a lane.
    laneless: VecDeque<Key>,
    /// Flows whose first message waits for credit, by window.
    parked: [VecDeque<Key>; 3],
    /// Lanes in use, and those whose message is to be aborted, as bits.
    lanes: u8,
    aborts: u8,
    lanes_max: u8,
    turn_len: usize,
    /// Bytes of bodies and headers that wait, and those of answers and chunks to the peer's calls
    /// among them.
    len: usize,
    answers_len: usize,
    serial: u32,
    /// Where in the stream the last turn ended, or flows began to wait.
    turned_at: u64,
}

impl Flows {
    pub(super) fn new(fragment_len: usize, interleaved_max: u8) -> Self {
        Self {
            flows: Vec::new(),
            free: Vec::new(),
            index: HashTable::new(),
            ring: VecDeque::new(),
            laneless: VecDeque::new(),
            parked: Default::default(),
            lanes: 0,
            aborts: 0,
            lanes_max: interleaved_max,
            turn_len: fragment_len,
            len: 0,
            answers_len: 0,
            serial: 0,
            turned_at: 0,
        }
    }

    /// Bytes of bodies and headers that wait.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Those of answers and chunks to the peer's calls.
    pub(super) fn answers_len(&self) -> usize {
        self.answers_len
    }

    /// Messages that may take a turn.
    pub(super) fn ready_count(&self) -> u32 {
        u32::try_from(self.ring.len()).unwrap_or(u32::MAX)
    }

    /// Whether a turn may have something to send.
    pub(super) fn is_ready(&self) -> bool {
        !self.ring.is_empty() || self.aborts != 0 || !self.laneless.is_empty() && self.has_lane()
    }

    /// Whether messages of this call wait.
    pub(super) fn has(&self, owner: Owner) -> bool {
        self.find(owner).is_some()
    }

    /// Whether this call's request waits, or is not wholly sent.
    pub(super) fn has_request(&self, owner: Owner) -> bool {
        self.find(owner).is_some_and(|at| self.flows[at as usize].has_request())
    }

    /// Whether a request or a one-way message of any call waits, or is not wholly sent.
    pub(super) fn has_new_calls(&self) -> bool {
        self.flows.iter().any(Flow::has_new_call)
    }

    /// Whether small messages have gone on for long enough (§5.10.6).
    pub(super) fn is_overdue(&self, position: u64) -> bool {
        self.is_ready() && position - self.turned_at >= 3 * self.turn_len as u64
    }

    /// A message waits at the end of its call's flow. `position` is where the stream is.
    pub(super) fn push(&mut self, owner: Owner, message: Message, position: u64) {
        if !self.is_ready() {
            self.turned_at = position;
        }
        let len = message.content.len() + FrameHeader::LEN;
        self.len += len;
        self.answers_len += if matches!(owner, Owner::Inbound(_)) { len } else { 0 };
        if let Some(at) = self.find(owner) {
            self.flows[at as usize].queue.push_back(message);
            return;
        }
        let at = self.free.pop().unwrap_or_else(|| {
            let queue = VecDeque::new();
            self.flows.push(Flow { owner: Owner::Nobody, serial: 0, queue, under_way: None });
            u32::try_from(self.flows.len() - 1).expect("far fewer flows than 2^32 fit in memory")
        });
        self.serial = self.serial.wrapping_add(1);
        let flow = &mut self.flows[at as usize];
        (flow.owner, flow.serial) = (owner, self.serial);
        flow.queue.push_back(message);
        self.ring.push_back(Key { at, serial: self.serial });
        if owner != Owner::Nobody {
            let flows = &self.flows;
            self.index.insert_unique(hash(owner), at, |&at| hash(flows[at as usize].owner));
        }
    }

    /// Credit came for this window: those who wait for it may try.
    pub(super) fn unpark(&mut self, window: Window) {
        let mut parked = core::mem::take(self.parked(window));
        self.ring.append(&mut parked);
    }

    /// Lets the next flow have its turn: at most `len_max` bytes of bodies, beside the messages'
    /// headers. `None` when no flow can.
    pub(super) fn turn(
        &mut self,
        now: Instant,
        outflows: &mut Outflows,
        outbox: &mut Outbox,
        len_max: usize,
    ) -> Option<Turn> {
        self.send_aborts(outbox);
        while let Some(key) = self.next() {
            if !self.is_live(key) {
                continue;
            }
            let is_alone = self.ring.is_empty();
            let len_max = if is_alone { len_max.max(16) } else { len_max.clamp(16, self.turn_len) };
            let Some(turn) = self.turn_of(key, now, outflows, outbox, len_max) else {
                continue;
            };
            self.turned_at = outbox.position();
            return Some(turn);
        }
        None
    }

    /// The turn of one flow; `None` if it sends nothing, because it waits for a lane or for credit.
    fn turn_of(
        &mut self,
        key: Key,
        now: Instant,
        outflows: &mut Outflows,
        outbox: &mut Outbox,
        len_max: usize,
    ) -> Option<Turn> {
        let whole_len_max = self.whole_len_max();
        let (mut left, mut turn, mut has_sent) = (len_max, Turn { began: None }, false);
        loop {
            let has_lane = self.has_lane();
            if self.flows[key.at as usize].under_way.is_some() {
                let piece = self.continue_first(key.at, outbox, left);
                (left, has_sent) = (left - piece.min(left), has_sent || piece > 0);
                if self.flows[key.at as usize].under_way.is_some() {
                    self.ring.push_back(key);
                    break;
                }
            }
            let Some(message) = self.flows[key.at as usize].queue.front_mut() else {
                self.remove(key.at);
                break;
            };
            let len = message.content.len();
            let (is_long, need) = (len > whole_len_max, padded(len) + FrameHeader::LEN);
            if has_sent && (is_long || need > left) {
                self.ring.push_back(key);
                break;
            }
            if is_long && !has_lane {
                self.laneless.push_back(key);
                break;
            }
            if let Some(window) = message.window {
                if !outflows.of(window).is_open() {
                    self.parked(window).push_back(key);
                    break;
                }
                outflows.of(window).begin(cost(len));
                if window == Window::Data {
                    outflows.data.unreserve(u64::from(cost(len)));
                }
            }
            if message.header.kind == Kind::Request {
                turn.began = Some((message.header.call, outbox.position()));
            }
            self.begin_first(key.at, now, outbox, is_long);
            (left, has_sent) = (left.saturating_sub(if is_long { 0 } else { need }), true);
        }
        has_sent.then_some(turn)
    }

    /// What travels in one frame: also what would leave less than a quarter of a fragment for the
    /// last.
    fn whole_len_max(&self) -> usize {
        self.turn_len + self.turn_len / 4
    }

    /// Begins the first message of a flow: all of it, unless it is long.
    fn begin_first(&mut self, at: u32, now: Instant, outbox: &mut Outbox, is_long: bool) {
        let flow = &mut self.flows[at as usize];
        let Some(message) = flow.queue.front_mut() else { return };
        let len = message.content.len();
        let is_answer = matches!(flow.owner, Owner::Inbound(_));
        if is_long {
            let lane = (0..LANES)
                .find(|lane| self.lanes & 1 << lane == 0)
                .expect("a lane is free, it was asked before");
            self.lanes |= 1 << lane;
            message.header.flags |= FLAG_MORE | lane_flags(lane);
            outbox.head(now, message);
            flow.under_way = Some((lane, len));
            self.count_off(FrameHeader::LEN, is_answer);
        } else {
            outbox.whole(now, message);
            flow.queue.pop_front();
            self.count_off(len + FrameHeader::LEN, is_answer);
        }
    }

    /// Sends the next piece, of at most `len_max` bytes, of the message that a flow has under way,
    /// and says how long it is.
    fn continue_first(&mut self, at: u32, outbox: &mut Outbox, len_max: usize) -> usize {
        let flow = &mut self.flows[at as usize];
        let (Some((lane, rest)), Some(message)) = (flow.under_way, flow.queue.front_mut()) else {
            return 0;
        };
        let piece = rest.min(len_max & !15);
        if piece == 0 {
            return 0;
        }
        outbox.fragment(lane, piece, &mut message.content);
        let is_answer = matches!(flow.owner, Owner::Inbound(_));
        flow.under_way = Some((lane, rest - piece));
        if piece == rest {
            flow.under_way = None;
            flow.queue.pop_front();
            self.lanes &= !(1 << lane);
        }
        self.count_off(piece, is_answer);
        piece
    }

    fn count_off(&mut self, len: usize, is_answer: bool) {
        self.len -= len;
        self.answers_len -= if is_answer { len } else { 0 };
    }

    fn parked(&mut self, window: Window) -> &mut VecDeque<Key> {
        &mut self.parked[window as usize - 1]
    }

    /// The call is over: what waits of it is dropped, what is under way aborted (§5.10.8).
    pub(super) fn drop_call(&mut self, owner: Owner) -> Dropped {
        let Some(at) = self.find(owner) else {
            return Dropped::default();
        };
        let flow = &self.flows[at as usize];
        let reserved = flow
            .queue
            .iter()
            .skip(usize::from(flow.under_way.is_some()))
            .filter(|message| message.window == Some(Window::Data))
            .map(|message| u64::from(cost(message.content.len())))
            .sum();
        let dropped = Dropped { has_request: flow.has_request(), reserved };
        let all = |message: &Message| message.content.len() + FrameHeader::LEN;
        let waiting = match flow.under_way {
            Some((_, rest)) => rest + flow.queue.iter().skip(1).map(all).sum::<usize>(),
            None => flow.queue.iter().map(all).sum(),
        };
        if let Some((lane, _)) = flow.under_way {
            self.aborts |= 1 << lane;
        }
        self.count_off(waiting, matches!(owner, Owner::Inbound(_)));
        self.remove(at);
        dropped
    }

    /// Nothing more is to leave.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.turn_len, self.lanes_max);
    }

    fn send_aborts(&mut self, outbox: &mut Outbox) {
        for lane in 0..LANES {
            if self.aborts & 1 << lane != 0 {
                let flags = FLAG_ABORT | lane_flags(lane);
                outbox.plain(FrameHeader { flags, ..FrameHeader::new(Kind::Fragment, 0) }, &[]);
                self.aborts &= !(1 << lane);
                self.lanes &= !(1 << lane);
            }
        }
    }

    fn has_lane(&self) -> bool {
        self.lanes.count_ones() < u32::from(self.lanes_max)
    }

    /// Whose turn it is: those who waited for a lane go first.
    fn next(&mut self) -> Option<Key> {
        if self.has_lane()
            && let Some(key) = self.laneless.pop_front()
        {
            return Some(key);
        }
        self.ring.pop_front()
    }

    fn is_live(&self, key: Key) -> bool {
        let flow = &self.flows[key.at as usize];
        flow.serial == key.serial && !flow.queue.is_empty()
    }

    fn find(&self, owner: Owner) -> Option<u32> {
        if self.index.is_empty() {
            return None;
        }
        self.index.find(hash(owner), |&at| self.flows[at as usize].owner == owner).copied()
    }

    /// The flow is over, and its place free.
    fn remove(&mut self, at: u32) {
        let owner = self.flows[at as usize].owner;
        if let Ok(entry) = self.index.find_entry(hash(owner), |&other| other == at) {
            entry.remove();
        }
        let flow = &mut self.flows[at as usize];
        flow.queue.clear();
        (flow.owner, flow.under_way) = (Owner::Nobody, None);
        self.free.push(at);
        self.sweep();
    }

    /// Keys of flows that are gone go before they outnumber the others: an application that calls
    /// and cancels while nothing can be written must not fill memory with them.
    fn sweep(&mut self) {
        let live = self.flows.len() - self.free.len();
        let parked: usize = self.parked.iter().map(VecDeque::len).sum();
        let keys = self.ring.len() + self.laneless.len() + parked;
        if keys <= 2 * live + 64 {
            return;
        }
        let flows = &self.flows;
        let is_live = |key: &Key| {
            let flow = &flows[key.at as usize];
            flow.serial == key.serial && !flow.queue.is_empty()
        };
        self.ring.retain(is_live);
        self.laneless.retain(is_live);
        self.parked.iter_mut().for_each(|parked| parked.retain(is_live));
    }
}

impl Flow {
    fn has_request(&self) -> bool {
        self.queue.front().is_some_and(|message| message.header.kind == Kind::Request)
    }

    fn has_new_call(&self) -> bool {
        let is_one = |kind| matches!(kind, Kind::Request | Kind::OneWay);
        self.queue.front().is_some_and(|message| is_one(message.header.kind))
    }
}

fn hash(owner: Owner) -> u64 {
    crate::rng::mix(match owner {
        Owner::Call(call) => u64::from(call),
        Owner::Inbound(call) => u64::from(call) | 1 << 32,
        Owner::Nobody => u64::MAX,
    })
}
