//! [`Slots`]: a table by small dense numbers, which its user picks or has picked.

use alloc::vec::Vec;

/// Values by slot. It grows to the highest slot that was ever used.
#[derive(Debug)]
pub(super) struct Slots<T> {
    slots: Vec<Option<T>>,
    /// Slots in use.
    count: u32,
    /// Slots that [`Slots::insert`] gave out and that are free again, the last freed last.
    free: Vec<u32>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), count: 0, free: Vec::new() }
    }
}

impl<T> Slots<T> {
    /// Slots in use.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    pub(super) fn get(&self, slot: usize) -> Option<&T> {
        self.slots.get(slot)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, slot: usize) -> Option<&mut T> {
        self.slots.get_mut(slot)?.as_mut()
    }

    /// Puts a value into a slot, in place of what was there.
    pub(super) fn put(&mut self, slot: usize, value: T) {
        if self.slots.len() <= slot {
            self.slots.resize_with(slot + 1, || None);
        }
        self.count += u32::from(self.slots[slot].replace(value).is_none());
    }

    /// Puts a value into a slot that is free. A table whose slots are given out so has no others.
    pub(super) fn insert(&mut self, value: T) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            u32::try_from(self.slots.len()).expect("far fewer values than 2^32 fit in memory")
        });
        self.put(slot as usize, value);
        slot
    }

    /// Takes a value out of its slot, if it is the one that is meant.
    pub(super) fn take_if(
        &mut self,
        slot: usize,
        is_meant: impl FnOnce(&mut T) -> bool,
    ) -> Option<T> {
        let taken = self.slots.get_mut(slot)?.take_if(is_meant);
        self.count -= u32::from(taken.is_some());
        taken
    }

    /// Takes a value out of a slot that [`Slots::insert`] gave out, if it is the one that is meant.
    pub(super) fn remove_if(
        &mut self,
        slot: u32,
        is_meant: impl FnOnce(&mut T) -> bool,
    ) -> Option<T> {
        let taken = self.take_if(slot as usize, is_meant)?;
        self.free.push(slot);
        Some(taken)
    }

    /// The first slot in use, from `from` on.
    pub(super) fn next_used(&self, from: usize) -> Option<usize> {
        Some(from + self.slots.get(from..)?.iter().position(Option::is_some)?)
    }

    /// All values, in the order of their slots.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().flatten()
    }

    /// All values, taken out.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = T> {
        core::mem::take(self).slots.into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn slots_that_are_given_out_are_used_again() {
        let mut slots = Slots::default();
        let [a, b, c] = ["a", "b", "c"].map(|value| slots.insert(value));
        assert_eq!((a, b, c, slots.count()), (0, 1, 2, 3));
        assert_eq!(slots.remove_if(b, |value| *value == "x"), None);
        assert_eq!(slots.remove_if(b, |value| *value == "b"), Some("b"));
        assert_eq!((slots.get(1), slots.next_used(1), slots.count()), (None, Some(2), 2));
        assert_eq!(slots.insert("d"), b);
        assert_eq!(slots.drain().collect::<Vec<_>>(), vec!["a", "d", "c"]);
        assert_eq!(slots.count(), 0);
    }

    #[test]
    fn slots_that_the_user_picks_count_once() {
        let mut slots = Slots::default();
        slots.put(5, 1);
        slots.put(5, 2);
        assert_eq!((slots.count(), slots.get(5), slots.get(4)), (1, Some(&2), None));
        assert_eq!(slots.take_if(5, |_| true), Some(2));
        assert_eq!((slots.count(), slots.iter().count(), slots.next_used(0)), (0, 0, None));
    }
}
