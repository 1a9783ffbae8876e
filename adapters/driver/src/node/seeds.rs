//! [`Seeds`]: the addresses to join through, how they are looked up (`docs/protocol.md` §4.8.3),
//! what came of trying them, and what the log says while nobody is found
//! (`docs/troubleshooting.md`).
//!
//! Each look-up is a task of its own, which leaves its answer in the inbox of the node task. So no
//! look-up waits for another one, and none is waited for longer than [`LOOKUP_TIMEOUT`].

use std::fmt::Write as _;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use chinwag_core::id::NodeId;
use chinwag_core::time::Instant;

use crate::base::limits::{
    LOOKUP_TIMEOUT, LOOKUPS_MAX, SEED_WARNING_MAX, SEED_WARNING_MIN, SEEDS_NAMED_MAX,
};
use crate::base::owned_task::OwnedTask;
use crate::base::runtime::Alarm;
use crate::base::seeds::{SeedList, Source};
use crate::base::state::NodeState;
use crate::base::sync::lock;

/// What the resolver says of one seed.
pub(super) type Answer = io::Result<Vec<SocketAddr>>;

/// One seed of a node.
struct Seed {
    name: String,
    source: Source,
    /// The addresses that its last good look-up gave.
    addrs: Vec<SocketAddr>,
    /// Why its last look-up gave none.
    fault: Option<String>,
    /// Whether it is to be looked up in this round and is not yet.
    is_due: bool,
    /// The number of its look-up that is under way.
    lookup: Option<u64>,
}

/// The seeds of one node.
pub(super) struct Seeds {
    all: Vec<Seed>,
    /// Look-ups begun.
    lookups: u64,
    /// Of addresses of seeds, why the last dial came to nothing.
    failures: Vec<(SocketAddr, String)>,
    /// This node's own addresses: it may be among its seeds.
    own: [SocketAddr; 2],
    has_begun: bool,
    /// When the log says again that nobody was found, and how long after that it does so next.
    warn_at: Option<Instant>,
    distance: Duration,
}

impl Seeds {
    pub(super) fn new(own: [SocketAddr; 2]) -> Self {
        Self {
            all: Vec::new(),
            lookups: 0,
            failures: Vec::new(),
            own,
            has_begun: false,
            warn_at: None,
            distance: SEED_WARNING_MIN,
        }
    }

    /// A round of joining begins, and the one before it is over: if `is_alone`, it found nobody.
    pub(super) fn begin_round(&mut self, now: Instant, is_alone: bool, local: NodeId) {
        if let Some(text) = self.warning(now, is_alone) {
            tracing::warn!(target: "chinwag::join", %local, "{text}");
        }
        self.has_begun = true;
        for seed in &mut self.all {
            match seed.source {
                Source::Address(addr) => seed.addrs = vec![addr],
                Source::Name | Source::Provider(_) => seed.is_due = seed.lookup.is_none(),
            }
        }
    }

    /// Takes over the list that the user has changed. What is known of those that stay is kept.
    pub(super) fn set_list(&mut self, list: &SeedList) {
        let mut before = std::mem::take(&mut self.all);
        for (name, source) in list.iter() {
            let known = before.iter().position(|seed| seed.name == *name);
            let mut seed = known.map_or_else(
                || Seed {
                    name: name.clone(),
                    source: source.clone(),
                    addrs: Vec::new(),
                    fault: None,
                    is_due: false,
                    lookup: None,
                },
                |at| before.swap_remove(at),
            );
            seed.source = source.clone();
            self.all.push(seed);
        }
        self.forget_failures();
    }

    /// Begins those look-ups that are due, as many as may be under way at once.
    pub(super) fn look_up(&mut self, node: &Arc<NodeState>, now: Instant) {
        let running = self.all.iter().filter(|seed| seed.lookup.is_some()).count();
        let due = self.all.iter_mut().filter(|seed| seed.is_due);
        for seed in due.take(LOOKUPS_MAX.saturating_sub(running)) {
            self.lookups += 1;
            seed.is_due = false;
            seed.lookup = Some(self.lookups);
            spawn_lookup(node, self.lookups, &seed.name, &seed.source, now);
        }
    }

    /// A look-up has ended. Returns whether it failed, if its seed is still one.
    pub(super) fn answered(&mut self, number: u64, answer: Answer) -> bool {
        let Some(seed) = self.all.iter_mut().find(|seed| seed.lookup == Some(number)) else {
            return false;
        };
        seed.lookup = None;
        seed.fault = match answer {
            Ok(addrs) if addrs.is_empty() => Some("the name has no address".into()),
            Ok(addrs) => {
                seed.addrs = addrs;
                None
            }
            Err(error) => Some(error.to_string()),
        };
        let is_failed = seed.fault.is_some();
        self.forget_failures();
        is_failed
    }

    /// All addresses of all seeds.
    pub(super) fn addrs(&self) -> Vec<SocketAddr> {
        self.all.iter().flat_map(|seed| &seed.addrs).copied().collect()
    }

    /// The node at `addr` was not connected. Returns whether it is a seed's.
    pub(super) fn dial_failed(&mut self, addr: SocketAddr, why: String) -> bool {
        if !self.all.iter().any(|seed| seed.addrs.contains(&addr)) {
            return false;
        }
        match self.failures.iter_mut().find(|(known, _)| *known == addr) {
            Some((_, known)) => *known = why,
            None => self.failures.push((addr, why)),
        }
        true
    }

    /// Forgets what came of addresses that no seed has any more.
    fn forget_failures(&mut self) {
        let all = &self.all;
        self.failures.retain(|(addr, _)| all.iter().any(|seed| seed.addrs.contains(addr)));
    }

    /// What the log is to say now: after the first round in which nobody was found, and then at a
    /// distance that doubles. A node that has found somebody begins anew.
    fn warning(&mut self, now: Instant, is_alone: bool) -> Option<String> {
        if !is_alone || !self.has_begun {
            self.warn_at = None;
            self.distance = SEED_WARNING_MIN;
            return None;
        }
        if self.warn_at.is_some_and(|at| now < at) {
            return None;
        }
        let text = self.summary()?;
        self.warn_at = Some(now + self.distance);
        self.distance = (self.distance * 2).min(SEED_WARNING_MAX);
        Some(text)
    }

    /// What came of each seed; `None` if all of them are this node itself.
    fn summary(&self) -> Option<String> {
        let mut text = String::from("no seed has answered yet, and this node keeps trying: ");
        let others = || self.all.iter().filter(|seed| !self.is_own(seed));
        for (at, seed) in others().take(SEEDS_NAMED_MAX).enumerate() {
            let separator = if at == 0 { "" } else { "; " };
            let _ = write!(text, "{separator}{}: {}", seed.name, self.outcome(seed));
        }
        match others().count() {
            0 => return None,
            count if count > SEEDS_NAMED_MAX => {
                let _ = write!(text, "; and {} more", count - SEEDS_NAMED_MAX);
            }
            _ => {}
        }
        Some(text)
    }

    fn is_own(&self, seed: &Seed) -> bool {
        !seed.addrs.is_empty() && seed.addrs.iter().all(|addr| self.own.contains(addr))
    }

    fn outcome(&self, seed: &Seed) -> String {
        if let Some(fault) = &seed.fault {
            return fault.clone();
        }
        if seed.addrs.is_empty() {
            return "its look-up is not answered yet".into();
        }
        match self.failures.iter().find(|(addr, _)| seed.addrs.contains(addr)) {
            None => "no answer".into(),
            Some((addr, why)) if addr.to_string() == seed.name => why.clone(),
            Some((addr, why)) => format!("{why} (at {addr})"),
        }
    }
}

/// Leaves what a look-up gave in the inbox, also if it gave nothing because it panicked.
struct Pending {
    node: Arc<NodeState>,
    number: u64,
    answer: Option<Answer>,
}

impl Pending {
    fn end(mut self, answer: Answer) {
        self.answer = Some(answer);
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let gone = || Err(io::Error::other("its look-up ended without an answer"));
        self.node.inbox.post_lookup(self.number, self.answer.take().unwrap_or_else(gone));
    }
}

fn spawn_lookup(node: &Arc<NodeState>, number: u64, name: &str, source: &Source, now: Instant) {
    let pending = Pending { node: node.clone(), number, answer: None };
    let (name, source) = (name.to_owned(), source.clone());
    let mut alarm = Alarm::new(&*node.runtime);
    let ends = now + LOOKUP_TIMEOUT;
    OwnedTask::spawn(
        node,
        Box::pin(async move {
            // Begun in here: what a provider does before its first wait is the user's code.
            let mut asked = match &source {
                Source::Address(addr) => Box::pin(std::future::ready(Ok(vec![*addr]))),
                Source::Name => pending.node.runtime.lookup(&name),
                Source::Provider(provider) => provider.addresses(),
            };
            let answer = poll_fn(|cx| match asked.as_mut().poll(cx) {
                Poll::Ready(answer) => Poll::Ready(answer),
                Poll::Pending => alarm.poll(cx, Some(ends)).map(|()| {
                    let text = format!("its look-up was not answered in {LOOKUP_TIMEOUT:?}");
                    Err(io::Error::new(io::ErrorKind::TimedOut, text))
                }),
            })
            .await;
            pending.end(answer);
        }),
    );
}

/// The seeds of a node that begins with `list`.
pub(super) fn of(node: &NodeState) -> Seeds {
    let mut seeds = Seeds::new([node.addr, node.bound]);
    seeds.set_list(&lock(&node.seeds));
    seeds
}

#[cfg(test)]
mod tests;
