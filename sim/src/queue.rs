//! What happens next: events by time, and among equals by the order in which they were put in.
//!
//! Two structures share one order. [`Queue`] holds what is under way; on a quiet network that is
//! next to nothing. [`Timers`] hold one instant a node, which moves with nearly every input: in the
//! queue each move would leave a stale entry behind, to be taken out later for nothing.

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
    /// A place in the order, after all that were given before.
    pub fn next_order(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    /// Puts an event in.
    pub fn push(&mut self, at: u64, event: T) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 events wait")
        });
        self.slots[slot as usize] = Some(event);
        let order = self.next_order();
        self.heap.push(Reverse((at, order, slot)));
    }

    /// When the next event is, and its place in the order.
    pub fn next(&self) -> Option<(u64, u64)> {
        self.heap.peek().map(|&Reverse((at, order, _))| (at, order))
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

const NOWHERE: u32 = u32::MAX;
/// Children of one place in the heap: four are one or two lines of cache, and the heap is half as
/// deep as with two.
const CHILDREN: usize = 4;

#[derive(Clone, Copy, Debug)]
struct Timer {
    at: u64,
    order: u64,
    node: u32,
}

impl Timer {
    fn is_before(&self, other: &Self) -> bool {
        (self.at, self.order) < (other.at, other.order)
    }
}

/// One timer a node, the next to fire first: a heap in which every node's place is known, so that a
/// timer is moved where it stands.
#[derive(Debug)]
pub struct Timers {
    heap: Vec<Timer>,
    /// Where each node stands in the heap, or [`NOWHERE`].
    places: Vec<u32>,
}

impl Timers {
    /// None of `nodes` nodes has a timer.
    pub fn new(nodes: usize) -> Self {
        Self { heap: Vec::with_capacity(nodes), places: vec![NOWHERE; nodes] }
    }

    /// When `node`'s timer fires, if it has one.
    pub fn get(&self, node: u32) -> Option<u64> {
        self.heap.get(self.places[node as usize] as usize).map(|timer| timer.at)
    }

    /// The next timer to fire: when, its place in the order, whose.
    pub fn next(&self) -> Option<(u64, u64, u32)> {
        self.heap.first().map(|timer| (timer.at, timer.order, timer.node))
    }

    /// Sets or moves the timer of `node`.
    pub fn set(&mut self, node: u32, at: u64, order: u64) {
        let timer = Timer { at, order, node };
        let place = self.places[node as usize] as usize;
        match self.heap.get(place) {
            None => {
                self.heap.push(timer);
                self.rise(self.heap.len() - 1, timer);
            }
            Some(before) if timer.is_before(before) => self.rise(place, timer),
            Some(_) => self.sink(place, timer),
        }
    }

    /// Takes the timer of `node` away, if it has one.
    pub fn clear(&mut self, node: u32) {
        let place = std::mem::replace(&mut self.places[node as usize], NOWHERE) as usize;
        if place >= self.heap.len() {
            return;
        }
        let removed = self.heap.swap_remove(place);
        if let Some(&moved) = self.heap.get(place) {
            if moved.is_before(&removed) {
                self.rise(place, moved);
            } else {
                self.sink(place, moved);
            }
        }
    }

    /// Puts `timer` at `place` or nearer to the top.
    fn rise(&mut self, mut place: usize, timer: Timer) {
        while place > 0 {
            let parent = (place - 1) / CHILDREN;
            if !timer.is_before(&self.heap[parent]) {
                break;
            }
            self.put(place, self.heap[parent]);
            place = parent;
        }
        self.put(place, timer);
    }

    /// Puts `timer` at `place` or further from the top.
    fn sink(&mut self, mut place: usize, timer: Timer) {
        loop {
            let first = place * CHILDREN + 1;
            let end = (first + CHILDREN).min(self.heap.len());
            let children = first..end;
            let least =
                children.reduce(|a, b| if self.heap[b].is_before(&self.heap[a]) { b } else { a });
            let Some(least) = least.filter(|&least| self.heap[least].is_before(&timer)) else {
                break;
            };
            self.put(place, self.heap[least]);
            place = least;
        }
        self.put(place, timer);
    }

    fn put(&mut self, place: usize, timer: Timer) {
        self.heap[place] = timer;
        self.places[timer.node as usize] =
            u32::try_from(place).expect("nodes are counted in 32 bits");
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

    #[test]
    fn a_timer_stands_once_wherever_it_is_moved() {
        let nodes = 97;
        let mut timers = Timers::new(nodes);
        let mut model = vec![None; nodes];
        for step in 0..20_000_u64 {
            let drawn = chinwag_core::rng::mix(step);
            let node = usize::try_from(drawn % 97).expect("below 97");
            let who = u32::try_from(node).expect("below 97");
            if drawn >> 60 == 0 {
                timers.clear(who);
                model[node] = None;
            } else {
                let at = drawn >> 16 & 0xff;
                timers.set(who, at, step);
                model[node] = Some((at, step, who));
            }
            assert_eq!(timers.next(), model.iter().flatten().min().copied(), "step {step}");
            assert_eq!(timers.get(who), model[node].map(|(at, ..)| at));
        }
        while let Some((_, _, node)) = timers.next() {
            assert_eq!(timers.next(), model.iter().flatten().min().copied());
            timers.clear(node);
            model[node as usize] = None;
        }
        assert_eq!(model.iter().flatten().count(), 0);
    }
}
