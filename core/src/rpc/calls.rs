//! [`Calls`]: the calls made here that are open, those that wait for room too (`docs/protocol.md`
//! §5.4, §5.12.2).

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::charges::share_of_budget;
use super::config::SLOTS_MAX;
use super::event::CallId;
use super::room::WaitingCall;
use super::slots::Slots;

const SLOT_BITS: u32 = SLOTS_MAX.trailing_zeros();
const GENERATIONS: u32 = 1 << (u32::BITS - SLOT_BITS);

/// Slots that take turns at least, so that ids come back late even where one call follows another
/// (§5.4.1).
const SLOTS_TURNING: u32 = 64;

/// An open call.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) has_deadline: bool,
    pub(super) class: Class,
    pub(super) progress: Progress,
}

/// How far a call's request has got.
#[derive(Debug)]
pub(super) enum Progress {
    /// It waits for the peer's hello, or for room.
    Waiting(Box<WaitingCall>),
    /// It has a slot, and this number on the wire. `position` is where in the stream its request
    /// begins; `None` while that waits in a flow.
    Begun { number: u32, position: Option<u64> },
}

/// What decides which slots, and how much of the request budget, a call may have (§5.12.2,
/// §5.12.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Class {
    pub(super) is_streaming: bool,
    /// Calls around it.
    pub(super) depth: u8,
    /// What its request is charged at the peer; 0 for one of at most 8 KiB.
    pub(super) charge: u32,
}

/// What both ends accept of the calls made here.
#[derive(Clone, Copy, Debug)]
pub(super) struct CallLimits {
    pub(super) in_flight_max: u32,
    pub(super) request_budget: u32,
}

impl CallLimits {
    /// The same for a request that has waited until only the peer can say whether it fits.
    pub(super) fn whatever_is_held(self) -> Self {
        Self { request_budget: u32::MAX, ..self }
    }
}

#[derive(Debug)]
struct Entry {
    serial: u32,
    open: Open,
}

#[derive(Debug, Default)]
struct WireSlot {
    generation: u32,
    /// The slot in `entries` of the call that has it.
    call: Option<u32>,
}

#[derive(Debug, Default)]
pub(super) struct Calls {
    entries: Slots<Entry>,
    serial: u32,
    wire: Vec<WireSlot>,
    /// Free slots of the wire, the longest free first.
    free: VecDeque<u32>,
    /// Calls that have begun: all, those that stream, and those that no handler makes.
    begun: u32,
    begun_streaming: u32,
    begun_shallow: u32,
    /// What the requests of the calls that have begun are charged.
    charged: u64,
}

impl Calls {
    /// Calls that are open.
    pub(super) fn open_count(&self) -> u32 {
        self.entries.count()
    }

    /// Calls that have begun.
    pub(super) fn begun_count(&self) -> u32 {
        self.begun
    }

    /// Opens a call that waits.
    pub(super) fn open(&mut self, open: Open) -> CallId {
        self.serial = self.serial.wrapping_add(1);
        let serial = self.serial;
        CallId { slot: self.entries.insert(Entry { serial, open }), serial }
    }

    /// Whether a call of this class may begin (§5.12.2, §5.12.3).
    pub(super) fn has_room(&self, limits: CallLimits, class: Class) -> bool {
        let limit = limits.in_flight_max;
        // Three quarters, rounded up.
        let most = limit - limit / 4;
        self.begun < limit
            && (!class.is_streaming || self.begun_streaming < most)
            && (!class.is_shallow() || self.begun_shallow < most)
            && self.fits_budget(limits.request_budget, class)
    }

    /// Whether the peer can be expected to have room for the request (§5.12.3).
    fn fits_budget(&self, budget: u32, class: Class) -> bool {
        if class.charge == 0 || self.charged == 0 {
            return true;
        }
        let share = share_of_budget(budget as usize, class.depth) as u64;
        self.charged + u64::from(class.charge) <= share / 4 * 3
    }

    /// Opens a call that begins at once, for which [`Calls::has_room`] was asked: its id, and its
    /// number on the wire.
    pub(super) fn open_begun(
        &mut self,
        has_deadline: bool,
        class: Class,
        limits: CallLimits,
    ) -> Option<(CallId, u32)> {
        let number = self.take_slot(limits, class)?;
        let progress = Progress::Begun { number, position: None };
        let call = self.open(Open { has_deadline, class, progress });
        self.wire[slot_of(number)].call = Some(call.slot);
        Some((call, number))
    }

    /// Gives an open call that waits a slot, for which [`Calls::has_room`] was asked: its number on
    /// the wire, and what waited.
    pub(super) fn begin(
        &mut self,
        call: CallId,
        limits: CallLimits,
    ) -> Option<(u32, Box<WaitingCall>)> {
        let class = self.get(call)?.class;
        let number = self.take_slot(limits, class)?;
        self.wire[slot_of(number)].call = Some(call.slot);
        let open = self.get_mut(call)?;
        match core::mem::replace(&mut open.progress, Progress::Begun { number, position: None }) {
            Progress::Waiting(waiting) => Some((number, waiting)),
            Progress::Begun { .. } => None,
        }
    }

    fn take_slot(&mut self, limits: CallLimits, class: Class) -> Option<u32> {
        let slot = self.free_slot(limits.in_flight_max.min(SLOTS_MAX))?;
        let entry = &mut self.wire[slot as usize];
        entry.generation = (entry.generation + 1) % GENERATIONS;
        self.begun += 1;
        self.begun_streaming += u32::from(class.is_streaming);
        self.begun_shallow += u32::from(class.is_shallow());
        self.charged += u64::from(class.charge);
        Some(entry.generation << SLOT_BITS | slot)
    }

    fn free_slot(&mut self, limit: u32) -> Option<u32> {
        let known = u32::try_from(self.wire.len()).unwrap_or(SLOTS_MAX);
        if known < limit && self.free.len() < SLOTS_TURNING as usize {
            self.wire.push(WireSlot::default());
            return Some(known);
        }
        self.free.pop_front()
    }

    /// The open call with this id.
    pub(super) fn get(&self, call: CallId) -> Option<&Open> {
        let entry = self.entries.get(call.slot())?;
        (entry.serial == call.serial).then_some(&entry.open)
    }

    /// Whether this call is open and has not begun.
    pub(super) fn is_waiting(&self, call: CallId) -> bool {
        self.get(call).is_some_and(|open| open.number().is_none())
    }

    pub(super) fn get_mut(&mut self, call: CallId) -> Option<&mut Open> {
        let entry = self.entries.get_mut(call.slot())?;
        (entry.serial == call.serial).then_some(&mut entry.open)
    }

    /// The open call that the peer knows by this number.
    pub(super) fn find(&self, number: u32) -> Option<CallId> {
        let wire = self.wire.get(slot_of(number))?;
        let slot = wire.call.filter(|_| wire.generation == number >> SLOT_BITS)?;
        Some(CallId { slot, serial: self.entries.get(slot as usize)?.serial })
    }

    /// The handler of this call has sent something: its request counts no longer (§5.12.3).
    /// Returns whether it did until now.
    pub(super) fn uncharge(&mut self, call: CallId) -> bool {
        let begun = self.get_mut(call).filter(|open| open.number().is_some());
        let charge = begun.map_or(0, |open| core::mem::take(&mut open.class.charge));
        self.charged -= u64::from(charge);
        charge > 0
    }

    /// The request of this open call begins at `position`.
    pub(super) fn set_position(&mut self, call: CallId, at: u64) {
        if let Some(Open { progress: Progress::Begun { position, .. }, .. }) = self.get_mut(call) {
            *position = Some(at);
        }
    }

    /// Ends the open call with this id; `None` if it is not open, for whatever reason.
    pub(super) fn end(&mut self, call: CallId) -> Option<Open> {
        let entry = self.entries.remove_if(call.slot, |entry| entry.serial == call.serial)?;
        if let Progress::Begun { number, .. } = entry.open.progress {
            self.wire[slot_of(number)].call = None;
            self.free.push_back(number & (SLOTS_MAX - 1));
            let class = entry.open.class;
            self.begun -= 1;
            self.begun_streaming -= u32::from(class.is_streaming);
            self.begun_shallow -= u32::from(class.is_shallow());
            self.charged -= u64::from(class.charge);
        }
        Some(entry.open)
    }

    /// Ends one open call, in the order of slots from `from`, and says where to go on.
    pub(super) fn end_any(&mut self, from: usize) -> Option<(CallId, Open)> {
        let slot = u32::try_from(self.entries.next_used(from)?).ok()?;
        let call = CallId { slot, serial: self.entries.get(slot as usize)?.serial };
        self.end(call).map(|open| (call, open))
    }
}

impl Open {
    /// Its number on the wire, once it has begun.
    pub(super) fn number(&self) -> Option<u32> {
        match self.progress {
            Progress::Begun { number, .. } => Some(number),
            Progress::Waiting(_) => None,
        }
    }

    /// Where in the stream its request begins, once it does.
    pub(super) fn position(&self) -> Option<u64> {
        match self.progress {
            Progress::Begun { position, .. } => position,
            Progress::Waiting(_) => None,
        }
    }
}

impl Class {
    /// Levels of depth: deeper calls go first.
    pub(super) const LEVELS: usize = 3;
    /// Queues of one level, whose calls take turns.
    pub(super) const QUEUES_OF_LEVEL: usize = 4;
    /// Queues of calls that wait, one a class.
    pub(super) const QUEUES: usize = Self::LEVELS * Self::QUEUES_OF_LEVEL;

    /// The number of its queue: what handlers call goes first. Calls of one queue need the same of
    /// the peer, so that none waits behind one that needs more.
    pub(super) fn index(self) -> usize {
        let level = 2 - usize::from(self.depth.min(2));
        level << 2 | usize::from(self.is_charged()) << 1 | usize::from(self.is_streaming)
    }

    /// Whether the requests in the queue of this number are charged.
    pub(super) fn is_queue_charged(index: usize) -> bool {
        index & 2 > 0
    }

    /// Whether its request is charged.
    pub(super) fn is_charged(self) -> bool {
        self.charge > 0
    }

    /// Whether no handler makes it.
    fn is_shallow(self) -> bool {
        self.depth == 0
    }
}

fn slot_of(number: u32) -> usize {
    (number & (SLOTS_MAX - 1)) as usize
}
