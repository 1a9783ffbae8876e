//! What happens next: events by time, and among equals by the order in which they were put in.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A queue of events at instants of true time, in nanoseconds.
#[derive(Debug)]
pub struct Queue<T> {
    heap: BinaryHeap<Reverse<(u64, u64, u32)>>,
    slots: Vec<Option<T>>,
    free: Vec<u32>,
    count: u64,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), slots: Vec::new(), free: Vec::new(), count: 0 }
    }
}

impl<T> Queue<T> {
    /// Puts an event in.
    pub fn push(&mut self, at: u64, event: T) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 events wait")
        });
        self.slots[slot as usize] = Some(event);
        self.count += 1;
        self.heap.push(Reverse((at, self.count, slot)));
    }

    /// Takes the next event out, if it is not after `until`.
    pub fn pop(&mut self, until: u64) -> Option<(u64, T)> {
        let &Reverse((at, _, slot)) = self.heap.peek().filter(|next| next.0.0 <= until)?;
        self.heap.pop();
        self.free.push(slot);
        let event = self.slots[slot as usize].take().expect("a slot in the heap is filled");
        Some((at, event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_and_then_by_order() {
        let mut queue = Queue::default();
        for (at, name) in [(5, 'a'), (3, 'b'), (5, 'c'), (3, 'd'), (9, 'e')] {
            queue.push(at, name);
        }
        let mut taken = String::new();
        while let Some((_, name)) = queue.pop(5) {
            taken.push(name);
            if name == 'b' {
                queue.push(4, 'f');
            }
        }
        assert_eq!(taken, "bdfac");
        assert_eq!(queue.pop(u64::MAX), Some((9, 'e')));
        assert_eq!(queue.pop(u64::MAX), None);
    }
}
