//! [`Balanced`]: calls to whichever member a selector chooses, and to another one when that did not work.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use chinwag_core::id::NodeId;
use chinwag_core::rpc::{Code, Status};
use chinwag_core::select::{Consistency, NodeSelector, Picks};

use crate::base::limits::{RETRIES_PERCENT, RETRIES_SAVED, RETRY_ATTEMPTS_DEFAULT};
use crate::call::client::{outbound, receive};
use crate::call::options::call_options;
use crate::call::target::Target;
use crate::message::method::{Message, Received};
use crate::serve::service::{Handler, Service};

/// Calls to the service `S` of any member; see [`Node::balanced`](crate::Node::balanced). Clones
/// share one budget for retries.
///
/// A call that failed is tried on another member
///
/// * if it is certain that no handler has run ([`Status::may_have_run`] is `false`): the member was
///   gone, overloaded, going away, or has no such service or method;
/// * if the method is [`IDEMPOTENT`](Message::IDEMPOTENT) and the connection or the member was lost
///   while it was under way.
///
/// It is not tried again when the handler answered, with whatever; when its time is over; when it
/// is too large. There are as many attempts as [`attempts`](Balanced::attempts) says, all of them
/// within one deadline, and no more retries than the budget has: each call adds a fifth of one to
/// it, so that when everything fails, the load rises by a fifth and not to a multiple.
pub struct Balanced<S> {
    target: Target,
    /// The node's own, unless there is one here.
    selector: Option<Arc<dyn NodeSelector>>,
    attempts: u32,
    budget: Arc<Budget>,
    service: PhantomData<fn() -> S>,
}

call_options!(Balanced);

impl<S: Service> Balanced<S> {
    /// Whom it calls is said for each attempt.
    pub(crate) fn new(target: Target) -> Self {
        Self {
            target,
            selector: None,
            attempts: RETRY_ATTEMPTS_DEFAULT,
            budget: Arc::new(Budget::default()),
            service: PhantomData,
        }
    }

    /// Who chooses. Default the node's selector. One that always chooses the same for a key
    /// ([`Rendezvous`](crate::Rendezvous)) has its next choice be the next attempt's.
    #[must_use]
    pub fn selector(mut self, selector: impl NodeSelector + 'static) -> Self {
        self.selector = Some(Arc::new(selector));
        self
    }

    /// Attempts at one call, the first one included: at least 1. Default
    /// [`RETRY_ATTEMPTS_DEFAULT`].
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    /// Calls some member, and waits for the answer.
    ///
    /// # Errors
    /// The status of the last attempt. [`Code::Unavailable`] if there is no other member at all.
    pub async fn call<M: Message>(&self, message: &M) -> Result<Received<M::Reply>, Status>
    where
        S: Handler<M>,
    {
        let outbound = outbound::<S, M>(message, self.target.headers.clone())?;
        let shared = &self.target.shared;
        let deadline = self.target.deadline(shared.node.runtime.now().mono);
        self.budget.deposit();
        let mut tried = Picks::new();
        let mut last = Status::unsent(Code::Unavailable, "there is no other member");
        while let Some(member) = self.choose(&tried) {
            if !tried.is_empty() {
                if !self.budget.withdraw() {
                    shared.links.counters.retries_unaffordable.add(1);
                    break;
                }
                shared.links.counters.retries.add(1);
            }
            tried.push(member);
            let mut target = self.target.at(member);
            target.timeout = None;
            target.deadline = deadline;
            last = match target.send(outbound.clone()).await {
                Ok(arrived) => return receive::<M>(arrived.body),
                Err(status) => status,
            };
            let is_last = tried.len() >= self.attempts as usize;
            if is_last || !is_worth_another(&last, <M as Message>::IDEMPOTENT) {
                break;
            }
            tracing::debug!(target: "chinwag::call", %member, status = %last, "the call is tried on another member");
        }
        Err(last)
    }

    /// A member that was not tried: of as few as the selector can be asked for that some of them
    /// must be new, else of all.
    fn choose(&self, tried: &[NodeId]) -> Option<NodeId> {
        let shared = &self.target.shared;
        let mut picks = Picks::new();
        let levels = [Consistency::One, Consistency::Two, Consistency::Three, Consistency::All];
        for level in levels.into_iter().skip(tried.len().min(levels.len() - 1)) {
            let selected = match &self.selector {
                Some(selector) => selector.select(&shared.board.topology(), level, &mut picks),
                None => shared.selector.load().select(&shared.board.topology(), level, &mut picks),
            };
            let new = picks.iter().copied().find(|pick| !tried.contains(pick));
            if selected.is_ok() && new.is_some() {
                return new;
            }
        }
        None
    }
}

/// Whether another member may do what this one did not.
fn is_worth_another(status: &Status, is_idempotent: bool) -> bool {
    match status.code {
        Code::TooLarge | Code::DeadlineExceeded | Code::Cancelled => false,
        Code::ConnectionLost | Code::PeerGone | Code::Unavailable | Code::Overloaded => {
            is_idempotent || !status.may_have_run()
        }
        _ => !status.may_have_run(),
    }
}

/// What retries cost: each call puts in [`RETRIES_PERCENT`], each retry takes out 100, and at most
/// what [`RETRIES_SAVED`] retries cost is kept. It begins full.
#[derive(Debug)]
struct Budget {
    balance: AtomicU32,
}

const RETRY_COST: u32 = 100;
const BALANCE_MAX: u32 = RETRIES_SAVED * RETRY_COST;

impl Default for Budget {
    fn default() -> Self {
        Self { balance: AtomicU32::new(BALANCE_MAX) }
    }
}

impl Budget {
    fn deposit(&self) {
        // A full budget, which is the rule, is only read.
        if self.balance.load(Ordering::Relaxed) < BALANCE_MAX {
            self.update(|balance| Some((balance + RETRIES_PERCENT).min(BALANCE_MAX)));
        }
    }

    fn withdraw(&self) -> bool {
        self.update(|balance| balance.checked_sub(RETRY_COST))
    }

    fn update(&self, change: impl Fn(u32) -> Option<u32>) -> bool {
        self.balance.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change).is_ok()
    }
}

impl<S> Clone for Balanced<S> {
    fn clone(&self) -> Self {
        Self {
            target: self.target.clone(),
            selector: self.selector.clone(),
            attempts: self.attempts,
            budget: self.budget.clone(),
            service: PhantomData,
        }
    }
}

impl<S> fmt::Debug for Balanced<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Balanced")
            .field("attempts", &self.attempts)
            .field("budget", &self.budget)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_begins_full_and_lets_a_share_of_calls_be_retried() {
        let budget = Budget::default();
        assert_eq!((0..1_000).filter(|_| budget.withdraw()).count(), RETRIES_SAVED as usize);
        // From then on, when every call fails and wants a retry:
        let retries = (0..1_000).filter(|_| {
            budget.deposit();
            budget.withdraw()
        });
        assert_eq!(retries.count(), 1_000 * RETRIES_PERCENT as usize / 100);
        (0..10_000).for_each(|_| budget.deposit());
        assert_eq!(
            (0..1_000).filter(|_| budget.withdraw()).count(),
            RETRIES_SAVED as usize,
            "no more is kept"
        );
    }

    #[test]
    fn only_what_another_member_may_do_is_tried_there() {
        let ran = |code| Status::new(code, "");
        let never_ran = |code| Status::never_ran(code, "");
        for (status, plain, idempotent) in [
            (ran(Code::AppError), false, false),
            (ran(Code::Internal), false, false),
            (ran(Code::ConnectionLost), false, true),
            (ran(Code::PeerGone), false, true),
            (never_ran(Code::PeerGone), true, true),
            (never_ran(Code::Overloaded), true, true),
            (ran(Code::Overloaded), false, true),
            (ran(Code::UnknownService), true, true),
            (ran(Code::UnknownMethod), true, true),
            (ran(Code::SchemaMismatch), true, true),
            (ran(Code::Unavailable), true, true),
            (never_ran(Code::AppError), true, true),
            (never_ran(Code::TooLarge), false, false),
            (never_ran(Code::DeadlineExceeded), false, false),
            (ran(Code::Cancelled), false, false),
        ] {
            assert_eq!(is_worth_another(&status, false), plain, "{status:?}");
            assert_eq!(is_worth_another(&status, true), idempotent, "{status:?}, idempotent");
        }
    }
}
