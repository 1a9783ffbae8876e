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

mod message;

use alloc::collections::VecDeque;

use hashbrown::HashTable;

use super::credit::{Outflow, charge_of};
use super::event::CallId;
use super::frame::{FLAG_ABORT, FLAG_MORE, FrameHeader, Kind, LANES, lane_flags, padded};
use super::outbox::Outbox;
use super::slots::Slots;
use super::trash::Trash;
use crate::time::Instant;
use message::{Lens, hash};
pub(super) use message::{Message, Owner};

/// Bytes of a message up to which it may have the last lane: longer ones leave it to those that are
/// soon through (§5.10.5).
const LAST_LANE_LEN_MAX: usize = 256 * 1024;

/// Messages of one call, in order.
/// Messages of one call keep their order (`docs/protocol.md` §5.10.7).
#[derive(Debug)]
struct Flow {
    owner: Owner,
    /// Told from earlier flows in the same place.
    serial: u32,
    queue: VecDeque<Message>,
    /// The first message is under way: its lane, and how much of it is left.
    under_way: Option<(u8, usize)>,
    /// The first message is an answer that waits for credit.
    is_parked: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    at: u32,
    serial: u32,
}

/// What one turn did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    /// The call whose request began, and where in the stream.
    pub(super) began: Option<(CallId, u64)>,
}

#[derive(Debug)]
pub(super) struct Flows {
    flows: Slots<Flow>,
    /// Where the flow of each call is.
    index: HashTable<u32>,
    /// Flows that may take a turn. Keys of flows that are gone are passed over.
    ring: VecDeque<Key>,
    /// Flows whose first message waits for a lane.
    laneless: VecDeque<Key>,
    /// Flows whose first message is an answer that waits for credit.
    parked: VecDeque<Key>,
    /// Lanes in use, and those whose message is to be aborted, as bits.
    lanes: u8,
    aborts: u8,
    lanes_max: u8,
    turn_len: usize,
    lens: Lens,
    serial: u32,
    /// Where in the stream the last turn ended, or flows began to wait.
    turned_at: u64,
}

impl Flows {
    pub(super) fn new(fragment_len: usize, interleaved_max: u8) -> Self {
        Self {
            flows: Slots::default(),
            index: HashTable::new(),
            ring: VecDeque::new(),
            laneless: VecDeque::new(),
            parked: VecDeque::new(),
            lanes: 0,
            aborts: 0,
            lanes_max: interleaved_max,
            turn_len: fragment_len,
            lens: Lens::default(),
            serial: 0,
            turned_at: 0,
        }
    }

    /// Bytes of bodies and headers that wait.
    pub(super) fn len(&self) -> usize {
        self.lens.all
    }

    /// Whether more messages than may be under way at once would wait if there was one more.
    pub(super) fn are_lanes_wanted(&self) -> bool {
        self.flows.count() >= u32::from(self.lanes_max)
    }

    /// Those that wait for the socket alone.
    pub(super) fn socket_len(&self) -> usize {
        self.lens.all - self.lens.parked
    }

    /// Those of answers and chunks to the peer's calls.
    pub(super) fn inbound_len(&self) -> usize {
        self.lens.inbound
    }

    /// Those of answers.
    pub(super) fn answers_len(&self) -> usize {
        self.lens.answers
    }

    /// Messages that may take a turn.
    pub(super) fn ready_count(&self) -> u32 {
        u32::try_from(self.ring.len()).unwrap_or(u32::MAX)
    }

    /// Whether a turn may have something to send.
    pub(super) fn is_ready(&self) -> bool {
        !self.ring.is_empty() || self.aborts != 0 || self.has_lane_for_waiting()
    }

    /// Whether messages of this call wait.
    pub(super) fn has(&self, owner: Owner) -> bool {
        self.find(owner).is_some()
    }

    /// Whether this call's request waits, or is not wholly sent.
    pub(super) fn has_request(&self, owner: Owner) -> bool {
        self.find(owner).is_some_and(|at| self.flow(at).has_request())
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
        let len = message.len();
        self.lens.add(&message, owner, len);
        if let Some(at) = self.find(owner) {
            self.flow_mut(at).queue.push_back(message);
            return;
        }
        self.serial = self.serial.wrapping_add(1);
        let (serial, queue) = (self.serial, VecDeque::from([message]));
        let at =
            self.flows.insert(Flow { owner, serial, queue, under_way: None, is_parked: false });
        self.ring.push_back(Key { at, serial });
        if owner != Owner::Nobody {
            let flows = &self.flows;
            let hash_of = |&at: &u32| flows.get(at as usize).map_or(0, |flow| hash(flow.owner));
            self.index.insert_unique(hash(owner), at, hash_of);
        }
    }

    /// Credit came for answers: those that wait for it may try.
    pub(super) fn unpark(&mut self) {
        for key in core::mem::take(&mut self.parked) {
            if self.is_live(key) {
                self.flow_mut(key.at).is_parked = false;
                self.ring.push_back(key);
            }
        }
        self.lens.parked = 0;
    }

    fn flow(&self, at: u32) -> &Flow {
        self.flows.get(at as usize).expect("a flow that was found")
    }

    fn flow_mut(&mut self, at: u32) -> &mut Flow {
        self.flows.get_mut(at as usize).expect("a flow that was found")
    }

    /// Lets the next flow have its turn: at most `len_max` bytes of bodies, beside the messages'
    /// headers. `None` when no flow can.
    pub(super) fn turn(
        &mut self,
        now: Instant,
        answers: &mut Outflow,
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
            let Some(turn) = self.turn_of(key, now, answers, outbox, len_max) else {
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
        answers: &mut Outflow,
        outbox: &mut Outbox,
        len_max: usize,
    ) -> Option<Turn> {
        let whole_len_max = self.whole_len_max();
        let (mut left, mut turn, mut has_sent) = (len_max, Turn { began: None }, false);
        loop {
            if self.flow(key.at).under_way.is_some() {
                let piece = self.continue_first(key.at, outbox, left);
                (left, has_sent) = (left - piece.min(left), has_sent || piece > 0);
                if self.flow(key.at).under_way.is_some() {
                    self.ring.push_back(key);
                    break;
                }
            }
            let Some(message) = self.flow_mut(key.at).queue.front_mut() else {
                self.remove(key.at, &mut outbox.trash);
                break;
            };
            let len = message.content.len();
            let (is_long, need) = (len > whole_len_max, padded(len) + FrameHeader::LEN);
            if has_sent && (is_long || need > left) {
                self.ring.push_back(key);
                break;
            }
            let (kind, is_answer) = (message.header.kind, message.takes_credit());
            if is_long && !self.has_lane(len) {
                self.laneless.push_back(key);
                break;
            }
            if is_answer && !answers.is_open() {
                self.park(key);
                break;
            }
            if is_answer {
                answers.begin(charge_of(len));
            }
            if let (Kind::Request, Owner::Call(call)) = (kind, self.flow(key.at).owner) {
                turn.began = Some((call, outbox.position()));
            }
            self.begin_first(key.at, now, outbox, is_long);
            (left, has_sent) = (left.saturating_sub(if is_long { 0 } else { need }), true);
        }
        has_sent.then_some(turn)
    }

    /// The first message of this flow is an answer without credit.
    fn park(&mut self, key: Key) {
        let flow = self.flow_mut(key.at);
        flow.is_parked = true;
        let len = flow.queue.front().map_or(0, Message::len);
        self.lens.parked += len;
        self.parked.push_back(key);
    }

    /// What travels in one frame: also what would leave less than a quarter of a fragment for the
    /// last.
    /// (`docs/protocol.md` §5.10.1)
    fn whole_len_max(&self) -> usize {
        self.turn_len + self.turn_len / 4
    }

    /// Begins the first message of a flow: all of it, unless it is long.
    fn begin_first(&mut self, at: u32, now: Instant, outbox: &mut Outbox, is_long: bool) {
        let flow = self.flows.get_mut(at as usize).expect("a flow that was found");
        let Some(message) = flow.queue.front_mut() else { return };
        let len = message.content.len();
        if is_long {
            let lane = (0..LANES)
                .find(|lane| self.lanes & 1 << lane == 0)
                .expect("a lane is free, it was asked before");
            self.lanes |= 1 << lane;
            message.header.flags |= FLAG_MORE | lane_flags(lane);
            outbox.head(now, message);
            flow.under_way = Some((lane, len));
            self.lens.sub(message, flow.owner, FrameHeader::LEN);
        } else {
            self.lens.sub(message, flow.owner, message.len());
            outbox.whole(now, message);
            flow.queue.pop_front();
        }
    }

    /// Sends the next piece, of at most `len_max` bytes, of the message that a flow has under way,
    /// and says how long it is.
    fn continue_first(&mut self, at: u32, outbox: &mut Outbox, len_max: usize) -> usize {
        let flow = self.flows.get_mut(at as usize).expect("a flow that was found");
        let (Some((lane, rest)), Some(message)) = (flow.under_way, flow.queue.front_mut()) else {
            return 0;
        };
        let piece = rest.min(len_max & !15);
        if piece == 0 {
            return 0;
        }
        outbox.fragment(lane, piece, &mut message.content);
        self.lens.sub(message, flow.owner, piece);
        flow.under_way = Some((lane, rest - piece));
        if piece == rest {
            flow.under_way = None;
            flow.queue.pop_front();
            self.lanes &= !(1 << lane);
        }
        piece
    }

    /// The call is over: what waits of it is dropped, what is under way aborted (§5.10.8). Returns
    /// whether its request had not wholly left.
    pub(super) fn drop_call(&mut self, owner: Owner, trash: &mut Trash) -> bool {
        let Some(at) = self.find(owner) else { return false };
        let flow = self.flow(at);
        let has_request = flow.has_request();
        if let Some((lane, _)) = flow.under_way {
            self.aborts |= 1 << lane;
        }
        self.remove(at, trash);
        has_request
    }

    /// Nothing more is to leave.
    pub(super) fn clear(&mut self, trash: &mut Trash) {
        for flow in self.flows.drain() {
            flow.queue.into_iter().for_each(|message| message.content.discard(trash));
        }
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

    /// Whether a message of this length may have a lane: the last one is for those that are soon
    /// through (§5.10.5).
    fn has_lane(&self, len: usize) -> bool {
        let max = match self.lanes_max {
            max @ 2.. if len > LAST_LANE_LEN_MAX => max - 1,
            max => max,
        };
        self.lanes.count_ones() < u32::from(max)
    }

    /// Whether one of the flows that wait for a lane may have one now: the first that does.
    fn has_lane_for_waiting(&self) -> bool {
        self.laneless.iter().any(|&key| self.fits_lane(key))
    }

    fn fits_lane(&self, key: Key) -> bool {
        let flow = self.flows.get(key.at as usize).filter(|flow| flow.serial == key.serial);
        let first = flow.and_then(|flow| flow.queue.front());
        first.is_none_or(|first| self.has_lane(first.content.len()))
    }

    /// Whose turn it is: those who waited for a lane go first.
    fn next(&mut self) -> Option<Key> {
        if let Some(at) = self.laneless.iter().position(|&key| self.fits_lane(key)) {
            return self.laneless.remove(at);
        }
        self.ring.pop_front()
    }

    fn is_live(&self, key: Key) -> bool {
        let flow = self.flows.get(key.at as usize);
        flow.is_some_and(|flow| flow.serial == key.serial && !flow.queue.is_empty())
    }

    fn find(&self, owner: Owner) -> Option<u32> {
        if self.index.is_empty() {
            return None;
        }
        self.index.find(hash(owner), |&at| self.flow(at).owner == owner).copied()
    }

    /// The flow is over, and its place free.
    fn remove(&mut self, at: u32, trash: &mut Trash) {
        let owner = self.flow(at).owner;
        if let Ok(entry) = self.index.find_entry(hash(owner), |&other| other == at) {
            entry.remove();
        }
        let Some(flow) = self.flows.remove_if(at, |_| true) else { return };
        for (nth, message) in flow.queue.into_iter().enumerate() {
            let left = match flow.under_way.filter(|_| nth == 0) {
                Some((_, rest)) => rest,
                None => message.len(),
            };
            self.lens.sub(&message, owner, left);
            self.lens.parked -= if flow.is_parked && nth == 0 { left } else { 0 };
            message.content.discard(trash);
        }
        self.sweep();
    }

    /// Keys of flows that are gone go before they outnumber the others: an application that calls
    /// and cancels while nothing can be written must not fill memory with them.
    fn sweep(&mut self) {
        let live = self.flows.count() as usize;
        let keys = self.ring.len() + self.laneless.len() + self.parked.len();
        if keys <= 2 * live + 64 {
            return;
        }
        let flows = &self.flows;
        let is_live = |key: &Key| {
            let flow = flows.get(key.at as usize);
            flow.is_some_and(|flow| flow.serial == key.serial && !flow.queue.is_empty())
        };
        self.ring.retain(is_live);
        self.laneless.retain(is_live);
        self.parked.retain(is_live);
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
