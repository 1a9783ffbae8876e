//! The books of all calls: each ends once, runs at most once, and runs not at all if its status
//! says so.

mod watch;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use chinwag::protocol::time::Instant;
use chinwag::{Code, Status};
use serde_json::{Value, json};

use super::tasks::lock;
use crate::checker::{Check, Violation, ensure};

/// How late a call's future may be, by the caller's clock: an answer and a deadline are both seen
/// at the instant they come.
const LATE_MAX: std::time::Duration = std::time::Duration::from_millis(100);

/// How calls ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// Begun, one-way messages included.
    pub begun: u64,
    /// Answered.
    pub answered: u64,
    /// Failed, and no handler ran.
    pub never_ran: u64,
    /// Failed, and a handler may have run.
    pub may_have_run: u64,
    /// Those that ran all the same, of the last.
    pub had_run: u64,
    /// Given up by their caller, or gone with its process.
    pub abandoned: u64,
    /// Failed because membership said that the peer is gone.
    pub peer_gone: u64,
    /// Failed because there is no such service now.
    pub unknown: u64,
    /// Chunks that were taken, at either end.
    pub chunks: u64,
    /// Directions of streams that were taken to their end.
    pub streams: u64,
}

impl Calls {
    /// As JSON.
    pub fn report(&self) -> Value {
        let Self {
            begun,
            answered,
            never_ran,
            may_have_run,
            had_run,
            abandoned,
            peer_gone,
            unknown,
            chunks,
            streams,
        } = *self;
        json!({
            "begun": begun, "answered": answered, "never_ran": never_ran,
            "may_have_run": may_have_run,
            "had_run": had_run, "abandoned": abandoned, "peer_gone": peer_gone,
            "unknown_service": unknown,
            "chunks": chunks, "streams": streams,
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Answered,
    NeverRan,
    MayHaveRun,
    Abandoned,
}

#[derive(Debug)]
struct Entry {
    from: u32,
    to: u32,
    runs: u32,
    ended: Option<Ending>,
    /// What its caller was told, if it failed.
    status: Option<Status>,
}

#[derive(Default)]
struct Books {
    entries: Vec<Entry>,
    open: BTreeMap<u64, u32>,
    /// Handlers that have begun and neither ended nor been dropped, by machine.
    running: BTreeMap<u32, i64>,
    calls: Calls,
    watched: watch::Watched,
    /// Bytes are forged in this run, so nobody's word counts.
    forges: bool,
    violation: Option<Violation>,
}

/// The books; clones are the same books.
#[derive(Clone, Default)]
pub(crate) struct Ledger {
    books: Arc<Mutex<Books>>,
}

/// A call that is under way. Dropped, it was given up.
pub(crate) struct Ticket {
    ledger: Ledger,
    pub(super) id: u64,
    is_over: bool,
}

impl Ledger {
    /// `from` begins a call to `to`.
    pub(super) fn begin(&self, from: u32, to: u32) -> Ticket {
        let mut books = lock(&self.books);
        let id = books.entries.len() as u64;
        books.entries.push(Entry { from, to, runs: 0, ended: None, status: None });
        books.open.insert(id, from);
        books.watched.begins(id);
        books.calls.begun += 1;
        Ticket { ledger: self.clone(), id, is_over: false }
    }

    /// A handler on `host` begins to answer; the guard is held while it does. `is_offered`: the
    /// service is on offer there.
    pub(super) fn runs(&self, id: u64, host: u32, is_offered: bool) -> Running {
        let mut books = lock(&self.books);
        *books.running.entry(host).or_default() += 1;
        books.watched.moves(id);
        let checked = books.runs(id, host, is_offered);
        books.note(checked);
        Running { ledger: self.clone(), host }
    }

    /// From now on bytes are forged, or not.
    pub(crate) fn set_forges(&self, forges: bool) {
        lock(&self.books).forges = forges;
    }

    /// Notes what an oracle found elsewhere.
    pub(super) fn note(&self, check: Check) {
        lock(&self.books).note(check);
    }

    /// The first violation, if there was one.
    pub(super) fn check(&self) -> Check {
        lock(&self.books).violation.clone().map_or(Ok(()), Err)
    }

    /// Whether a call of another machine to `host` is open, and a handler answers it.
    pub(super) fn is_called(&self, host: u32) -> bool {
        let books = lock(&self.books);
        let entries =
            books.open.keys().filter_map(|&id| books.entries.get(usize::try_from(id).ok()?));
        let mut calls = entries.filter(|entry| entry.runs > 0);
        calls.any(|entry| entry.to == host && entry.from != host)
    }

    /// Nobody on these machines waits for a call any more, and no handler runs on them.
    pub(super) fn is_quiet(&self, hosts: &[u32]) -> Check {
        let books = lock(&self.books);
        let waiting: Vec<_> = books.open.iter().filter(|(_, from)| hosts.contains(from)).collect();
        ensure(waiting.is_empty(), "rpc_pending", || {
            format!("these calls have not ended, by who made them: {waiting:?}")
        })?;
        let mut running = books.running.iter().filter(|(host, _)| hosts.contains(host));
        ensure(running.all(|(_, &count)| count == 0), "rpc_handlers", || {
            format!("handlers that nobody waits for still run: {:?}", books.running)
        })
    }

    /// How calls have ended so far.
    pub(super) fn calls(&self) -> Calls {
        lock(&self.books).calls
    }
}

impl Books {
    fn note(&mut self, check: Check) {
        if let Err(violation) = check {
            self.violation.get_or_insert(violation);
        }
    }

    fn runs(&mut self, id: u64, host: u32, is_offered: bool) -> Check {
        let entry = usize::try_from(id).ok().and_then(|at| self.entries.get_mut(at));
        let Some(entry) = entry else {
            return ensure(false, "rpc_once", || {
                format!("node {host} answers call {id}, which nobody made")
            });
        };
        entry.runs += 1;
        ensure(entry.to == host, "rpc_once", || {
            format!("node {host} answers call {id}: {entry:?}")
        })?;
        ensure(entry.runs == 1, "rpc_once", || format!("call {id} runs again: {entry:?}"))?;
        ensure(entry.ended != Some(Ending::NeverRan), "rpc_never_ran", || {
            format!("call {id} runs after its caller was told that it never did: {entry:?}")
        })?;
        ensure(is_offered, "rpc_removed", || {
            format!("node {host} answers call {id} after it removed the service")
        })
    }

    fn end(&mut self, id: u64, ending: Ending) -> Check {
        let Some(entry) = usize::try_from(id).ok().and_then(|at| self.entries.get_mut(at)) else {
            return Ok(());
        };
        let was_ended = entry.ended.replace(ending);
        self.open.remove(&id);
        self.watched.ends(id);
        match ending {
            Ending::Answered => self.calls.answered += 1,
            Ending::NeverRan => self.calls.never_ran += 1,
            Ending::MayHaveRun => {
                self.calls.may_have_run += 1;
                self.calls.had_run += u64::from(entry.runs > 0);
            }
            Ending::Abandoned => self.calls.abandoned += 1,
        }
        ensure(was_ended.is_none(), "rpc_once", || format!("call {id} ends again: {entry:?}"))?;
        let is_right = match ending {
            Ending::Answered => entry.runs == 1,
            Ending::NeverRan => entry.runs == 0,
            Ending::MayHaveRun | Ending::Abandoned => entry.runs <= 1,
        };
        ensure(is_right, "rpc_never_ran", || {
            let Entry { from, to, runs, status, .. } = entry;
            format!(
                "call {id} of node {from} to {to} ends as {ending:?}, having run {runs} times: \
                    {status:?}"
            )
        })
    }
}

impl Ticket {
    /// The call has ended.
    pub(super) fn ends(mut self, result: Result<(), &Status>) {
        self.is_over = true;
        let ending = match result {
            Ok(()) => Ending::Answered,
            Err(status) if status.may_have_run() => Ending::MayHaveRun,
            Err(_) => Ending::NeverRan,
        };
        let mut books = lock(&self.ledger.books);
        if let Some(entry) = usize::try_from(self.id).ok().and_then(|at| books.entries.get_mut(at))
        {
            entry.status = result.err().cloned();
        }
        match result.map_err(|status| status.code) {
            Err(Code::PeerGone) => books.calls.peer_gone += 1,
            Err(Code::ConnectionLost) => books.watched.is_lost(self.id),
            Err(Code::UnknownService) => books.calls.unknown += 1,
            _ => {}
        }
        let checked = books.end(self.id, ending);
        books.note(checked);
    }

    /// A one-way message was queued: nobody will hear of it.
    pub(super) fn leaves(mut self) {
        self.is_over = true;
        let mut books = lock(&self.ledger.books);
        let checked = books.end(self.id, Ending::Abandoned);
        books.note(checked);
    }

    /// The call ends at `now`; it should have by `deadline`.
    pub(super) fn is_in_time(&self, now: Instant, deadline: Instant, was_paused: bool) {
        let is_late = now > deadline + LATE_MAX;
        self.ledger.note(ensure(!is_late || was_paused, "rpc_deadline", || {
            format!("call {} ends at {now:?}, its deadline was {deadline:?}", self.id)
        }));
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.is_over {
            let mut books = lock(&self.ledger.books);
            let checked = books.end(self.id, Ending::Abandoned);
            books.note(checked);
        }
    }
}

/// The chunks of one direction of a call, as they are taken: in order, each once, none left out.
pub(super) struct Pieces {
    ledger: Ledger,
    of: u64,
    /// So many are sent, if nothing comes between.
    count: u32,
    taken: u32,
}

impl Pieces {
    pub(super) fn new(ledger: &Ledger, of: u64, count: u32) -> Self {
        Self { ledger: ledger.clone(), of, count, taken: 0 }
    }

    pub(super) const fn taken(&self) -> u32 {
        self.taken
    }

    /// The next one says this of itself.
    pub(super) fn takes(&mut self, of: u64, number: u32, is_whole: bool) {
        let is_next = of == self.of && number == self.taken && number < self.count;
        self.ledger.note(ensure(is_next && is_whole, "rpc_chunks", || {
            format!(
                "chunk {} of {} of call {} is {number} of call {of}, whole: {is_whole}",
                self.taken, self.count, self.of
            )
        }));
        self.taken += 1;
        let mut books = lock(&self.ledger.books);
        books.calls.chunks += 1;
        books.watched.moves(self.of);
    }

    /// There are no more, and nothing failed.
    pub(super) fn are_all(&self) {
        self.ledger.note(ensure(self.taken == self.count, "rpc_chunks", || {
            format!("call {} ends well after {} of {} chunks", self.of, self.taken, self.count)
        }));
        lock(&self.ledger.books).calls.streams += u64::from(self.count > 0);
    }
}

/// A handler that runs.
pub(crate) struct Running {
    ledger: Ledger,
    host: u32,
}

impl Drop for Running {
    fn drop(&mut self) {
        *lock(&self.ledger.books).running.entry(self.host).or_default() -= 1;
    }
}

#[cfg(test)]
mod tests;
