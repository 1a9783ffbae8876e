//! [`Budget`]: bytes that many may hold together, and [`Charge`]: what one of them holds
//! (`docs/protocol.md` §5.12.3, §5.12.9).
//!
//! A budget is never waited for: what does not fit is refused. So giving back tells nobody, takes
//! no lock, and may happen anywhere, in the drop of a user's value too.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;

/// Quarters of a budget that may be used: all of it.
pub(super) const ALL_OF_IT: usize = 4;

/// So many quarters of a number of bytes.
pub(super) fn share(max: usize, quarters: usize) -> usize {
    max / 4 * quarters + max % 4 * quarters / 4
}

/// A number of bytes that is drawn on by many: by all connections of a node, or by the messages of
/// one connection. `Relaxed` is enough: nothing but the number itself is read because of it.
#[derive(Debug)]
pub struct Budget {
    held: AtomicUsize,
    max: usize,
    /// What is drawn here is drawn there, too.
    parent: Option<Arc<Self>>,
}

impl Budget {
    /// A budget of `max` bytes. One of a node is handed to
    /// [`Connection::draw_on`](super::Connection::draw_on) of each of its connections.
    pub fn new(max: usize) -> Arc<Self> {
        Self::within(max, None)
    }

    pub(super) fn within(max: usize, parent: Option<Arc<Self>>) -> Arc<Self> {
        Arc::new(Self { held: AtomicUsize::new(0), max, parent })
    }

    /// Bytes that are held now.
    pub fn held(&self) -> usize {
        self.held.load(Relaxed)
    }

    /// Bytes that may be held.
    pub fn max(&self) -> usize {
        self.max
    }

    /// Draws `amount`, if so many quarters of the budget, and of those above it, have room for it.
    pub(super) fn draw(self: &Arc<Self>, amount: usize, quarters: usize) -> Option<Charge> {
        self.add(amount, quarters)
            .then(|| Charge { budget: self.clone(), amount: AtomicUsize::new(amount) })
    }

    fn add(&self, amount: usize, quarters: usize) -> bool {
        let limit = share(self.max, quarters);
        let more = |held: usize| held.checked_add(amount).filter(|&sum| sum <= limit);
        if self.held.fetch_update(Relaxed, Relaxed, more).is_err() {
            return false;
        }
        let has_room = self.parent.as_ref().is_none_or(|parent| parent.add(amount, quarters));
        if !has_room {
            self.held.fetch_sub(amount, Relaxed);
        }
        has_room
    }

    fn give_back(&self, amount: usize) {
        let before = self.held.fetch_sub(amount, Relaxed);
        debug_assert!(before >= amount, "what is given back was drawn");
        if let Some(parent) = &self.parent {
            parent.give_back(amount);
        }
    }
}

/// Bytes drawn on a budget. Dropping it gives them back.
#[derive(Debug)]
pub(super) struct Charge {
    budget: Arc<Budget>,
    amount: AtomicUsize,
}

impl Charge {
    /// Draws as much more, if the budget has room for it.
    pub(super) fn add(&self, more: usize) -> bool {
        let has_room = self.budget.add(more, ALL_OF_IT);
        if has_room {
            self.amount.fetch_add(more, Relaxed);
        }
        has_room
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.give_back(*self.amount.get_mut());
    }
}

/// Bytes of a message with what they are charged.
struct Charged {
    bytes: Bytes,
    _charge: Arc<Charge>,
}

impl AsRef<[u8]> for Charged {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A message's body and attachments that hold the charge until the last view of them all is
/// dropped (§5.12.4).
pub(super) fn charged(charge: Charge, body: &mut Bytes, attachments: &mut [Bytes]) {
    let charge = Arc::new(charge);
    for bytes in core::iter::once(body).chain(attachments) {
        let owner = Charged { bytes: core::mem::take(bytes), _charge: charge.clone() };
        *bytes = Bytes::from_owner(owner);
    }
}

#[cfg(test)]
mod tests;
