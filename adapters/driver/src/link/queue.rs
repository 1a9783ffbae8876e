//! Calls that wait for room on their connection, in order: [`Line`], and a [`Turn`] in it.
//!
//! Whoever is first tries again whenever a call has ended or bytes have been written, and tells the
//! next when it is through.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use chinwag_core::rpc::{Code, Status};
use chinwag_core::time::Instant;

use super::handle::Link;
use crate::base::limits::CALLS_WAITING_MAX;
use crate::base::sync::lock;

/// Those who wait. Numbers rise, so the order of numbers is that of arrival.
#[derive(Default)]
pub(super) struct Line {
    next: u64,
    waiting: BTreeMap<u64, Waiter>,
    deadlines: BTreeSet<(Instant, u64)>,
}

struct Waiter {
    waker: Option<Waker>,
    deadline: Option<Instant>,
    /// There may be room: only ever said to the first.
    is_told: bool,
    has_expired: bool,
}

impl Line {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Something has become free: the waker of the first, if it is to be woken for it.
    #[must_use]
    pub(super) fn tell_first(&mut self) -> Option<Waker> {
        let mut first = self.waiting.first_entry()?;
        first.get_mut().is_told = true;
        first.get_mut().waker.take()
    }

    /// When the next of them gives up.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|&(deadline, _)| deadline)
    }

    /// Those whose time is over.
    pub(super) fn expire(&mut self, now: Instant, wakers: &mut Vec<Waker>) {
        while let Some(&(deadline, number)) = self.deadlines.first()
            && deadline <= now
        {
            self.deadlines.pop_first();
            if let Some(waiter) = self.waiting.get_mut(&number) {
                waiter.has_expired = true;
                wakers.extend(waiter.waker.take());
            }
        }
    }

    /// The connection takes no more calls: all are to look elsewhere.
    pub(super) fn disperse(&mut self, wakers: &mut Vec<Waker>) {
        wakers.extend(self.waiting.values_mut().filter_map(|waiter| waiter.waker.take()));
    }

    fn join(&mut self, deadline: Option<Instant>) -> Option<u64> {
        if self.waiting.len() >= CALLS_WAITING_MAX {
            return None;
        }
        let number = self.next;
        self.next += 1;
        // What there was no room for a moment ago may have room now, and nobody was there to be
        // told.
        let is_told = self.waiting.is_empty();
        self.waiting.insert(number, Waiter { waker: None, deadline, is_told, has_expired: false });
        self.deadlines.extend(deadline.map(|deadline| (deadline, number)));
        Some(number)
    }

    fn leave(&mut self, number: u64) -> Option<Waker> {
        let waiter = self.waiting.remove(&number)?;
        if let Some(deadline) = waiter.deadline {
            self.deadlines.remove(&(deadline, number));
        }
        let was_first = self.waiting.first_key_value().is_none_or(|(&first, _)| first > number);
        if was_first { self.tell_first() } else { None }
    }
}

/// A place in the line; dropping it gives it up.
pub(crate) struct Turn {
    link: Arc<Link>,
    number: u64,
}

impl Link {
    /// Takes a place at the end of the line.
    pub(crate) fn queue_up(self: &Arc<Self>, deadline: Option<Instant>) -> Result<Turn, Status> {
        let number = lock(&self.state).line.join(deadline);
        if deadline.is_some() {
            // Its task has a timer to set.
            self.bell.ring();
        }
        match number {
            Some(number) => Ok(Turn { link: self.clone(), number }),
            None => {
                Err(Status::unsent(Code::Overloaded, "too many calls wait for this connection"))
            }
        }
    }
}

impl Turn {
    /// Waits until it is worth to try again. `false`: the connection takes no more calls.
    pub(crate) async fn comes(&mut self) -> Result<bool, Status> {
        poll_fn(|cx| self.poll_comes(cx)).await
    }

    fn poll_comes(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Status>> {
        let mut state = lock(&self.link.state);
        let Some(waiter) = state.line.waiting.get_mut(&self.number) else {
            return Poll::Ready(Ok(false));
        };
        if waiter.has_expired {
            let why = "no call slot became free in time";
            return Poll::Ready(Err(Status::unsent(Code::DeadlineExceeded, why)));
        }
        if !self.link.is_usable() {
            return Poll::Ready(Ok(false));
        }
        if std::mem::take(&mut waiter.is_told) {
            return Poll::Ready(Ok(true));
        }
        waiter.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let waker = lock(&self.link.state).line.leave(self.number);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + std::time::Duration::from_secs(seconds)
    }

    fn told(line: &Line) -> Vec<u64> {
        line.waiting
            .iter()
            .filter(|(_, waiter)| waiter.is_told)
            .map(|(&number, _)| number)
            .collect()
    }

    #[test]
    fn only_the_first_is_told_and_the_next_when_it_leaves() {
        let mut line = Line::default();
        let numbers = [(); 3].map(|()| line.join(None).expect("room"));
        assert_eq!(told(&line), [numbers[0]], "it came to an empty line, so it tries once more");
        assert!(line.tell_first().is_none(), "nobody has left a waker");
        assert_eq!(told(&line), [numbers[0]]);
        line.leave(numbers[1]);
        assert_eq!(told(&line), [numbers[0]], "whoever leaves from the middle tells nobody");
        line.leave(numbers[0]);
        assert_eq!(told(&line), [numbers[2]]);
        line.leave(numbers[2]);
        assert!(line.is_empty() && line.tell_first().is_none());
    }

    #[test]
    fn a_deadline_ends_its_own_waiter_and_leaves_with_it() {
        let mut line = Line::default();
        let numbers =
            [Some(at(3)), None, Some(at(1))].map(|deadline| line.join(deadline).expect("room"));
        assert_eq!(line.next_deadline(), Some(at(1)));
        let mut wakers = Vec::new();
        line.expire(at(2), &mut wakers);
        let expired = line.waiting.iter().filter(|(_, waiter)| waiter.has_expired);
        assert_eq!(expired.map(|(&number, _)| number).collect::<Vec<_>>(), [numbers[2]]);
        assert_eq!(line.next_deadline(), Some(at(3)));
        line.leave(numbers[0]);
        assert_eq!(line.next_deadline(), None);
    }
}
