//! [`Calls`]: the calls made here that are open (`docs/protocol.md` §5.4).

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::config::SLOTS_MAX;
use super::event::CallId;

const SLOT_BITS: u32 = SLOTS_MAX.trailing_zeros();
const GENERATIONS: u32 = 1 << (u32::BITS - SLOT_BITS);

/// Slots that take turns at least, so that ids come back late even where one call follows another
/// (§5.4.1).
const SLOTS_TURNING: u32 = 64;

/// An open call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Open {
    pub(super) has_deadline: bool,
    pub(super) is_streaming: bool,
    /// Where in the stream its request begins; `None` while it waits for the peer's hello or in a
    /// flow.
    pub(super) position: Option<u64>,
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    open: Option<Open>,
}

#[derive(Debug, Default)]
pub(super) struct Calls {
    slots: Vec<Slot>,
    /// Free slots, the longest free first.
    free: VecDeque<u32>,
    open: u32,
}

impl Calls {
    /// Calls that are open.
    pub(super) fn open_count(&self) -> u32 {
        self.open
    }

    /// Opens a call in a slot below `limit`, or `None` if as many are open.
    pub(super) fn open(&mut self, limit: u32, call: Open) -> Option<CallId> {
        if self.open >= limit {
            return None;
        }
        let slot = self.free_slot(limit.min(SLOTS_MAX))?;
        let entry = &mut self.slots[slot as usize];
        entry.generation = (entry.generation + 1) % GENERATIONS;
        entry.open = Some(call);
        self.open += 1;
        Some(CallId(entry.generation << SLOT_BITS | slot))
    }

    fn free_slot(&mut self, limit: u32) -> Option<u32> {
        let known = u32::try_from(self.slots.len()).unwrap_or(SLOTS_MAX);
        if known < limit && self.free.len() < SLOTS_TURNING as usize {
            self.slots.push(Slot { generation: 0, open: None });
            return Some(known);
        }
        // Slots beyond the limit were opened before the peer said what it is; they are not used
        // again.
        while let Some(slot) = self.free.pop_front() {
            if slot < limit {
                return Some(slot);
            }
        }
        None
    }

    /// The open call with this id.
    pub(super) fn get(&self, call: CallId) -> Option<&Open> {
        let slot =
            self.slots.get(call.slot()).filter(|slot| slot.generation == call.0 >> SLOT_BITS)?;
        slot.open.as_ref()
    }

    /// The request of this open call begins at `position`.
    pub(super) fn set_position(&mut self, call: CallId, position: u64) {
        if let Some(open) = self.slots.get_mut(call.slot()).and_then(|slot| slot.open.as_mut()) {
            open.position = Some(position);
        }
    }

    /// Ends the open call with this id; `None` if it is not open, for whatever reason.
    pub(super) fn end(&mut self, call: CallId) -> Option<Open> {
        self.get(call)?;
        let ended = self.slots[call.slot()].open.take();
        self.free.push_back(call.0 & (SLOTS_MAX - 1));
        self.open -= 1;
        ended
    }

    /// Ends one open call, in slot order from `from`, and says where to go on.
    pub(super) fn end_any(&mut self, from: usize) -> Option<(CallId, Open)> {
        let at = from + self.slots.get(from..)?.iter().position(|slot| slot.open.is_some())?;
        let slot = u32::try_from(at).ok()?;
        let call = CallId(self.slots[at].generation << SLOT_BITS | slot);
        self.end(call).map(|open| (call, open))
    }
}
