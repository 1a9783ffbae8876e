//! [`FanOut`]: one message to many members, and the first answers.

use std::fmt;
use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use chinwag_core::id::NodeId;
use chinwag_core::rpc::Status;

use crate::base::owned_task::OwnedTask;
use crate::base::runtime::BoxFuture;
use crate::call::client::{outbound, receive};
use crate::call::options::call_options;
use crate::call::target::{OutboundRequest, ReplyParts, Target};
use crate::message::method::{Message, Method, Received};
use crate::serve::service::{Handler, Service};

/// One message to several members at once: what quorums are made of. See
/// [`Node::fan_out`](crate::Node::fan_out).
///
/// ```
/// # use chinwag::{Consistency, Context, FanOutError, Handler, Message, Methods, Node, Service, Status, View};
/// # #[derive(rkyv::Archive, rkyv::Serialize)]
/// # struct Read { key: u64 }
/// # impl Message for Read { type Reply = u64; const NAME: &'static str = "read"; }
/// # struct Store;
/// # impl Service for Store { const NAME: &'static str = "store"; fn methods(_: &mut Methods<Self>) {} }
/// # impl Handler<Read> for Store {
/// #     async fn handle(&self, _: &Context, _: View<Read>) -> Result<u64, Status> { Ok(0) }
/// # }
/// # async fn example(node: Node) -> Result<(), Box<dyn std::error::Error>> {
/// let members = node.select(Consistency::All)?;
/// let answers = node.fan_out::<Store>(members).first(2, &Read { key: 7 }).await?;
/// let newest = answers.iter().map(|(_member, value)| value.to_native()).max();
/// # Ok(())
/// # }
/// ```
pub struct FanOut<S> {
    target: Target,
    members: Vec<NodeId>,
    keeps_rest: bool,
    service: PhantomData<fn() -> S>,
}

call_options!(FanOut);

impl<S: Service> FanOut<S> {
    /// Whom it calls is said for each call.
    pub(crate) fn new(
        target: Target,
        members: impl IntoIterator<Item = impl Into<NodeId>>,
    ) -> Self {
        Self {
            target,
            members: members.into_iter().map(Into::into).collect(),
            keeps_rest: false,
            service: PhantomData,
        }
    }

    /// Calls that are still open when the wanted answers are there go on to their end, in tasks of
    /// their own, instead of being cancelled: for writes that all are to get.
    #[must_use]
    pub fn keep_rest(mut self) -> Self {
        self.keeps_rest = true;
        self
    }

    /// Calls every member and waits for the first `needed` that answer well; the rest is cancelled.
    /// Fails as soon as so many have failed that it cannot be enough any more.
    ///
    /// Replies come in the order of their arrival. With `needed` 0 it is done at once, before
    /// anybody was called, unless the rest is [kept](FanOut::keep_rest).
    ///
    /// # Errors
    /// [`FanOutError`], which has what did arrive.
    pub async fn first<M: Message>(
        &self,
        needed: usize,
        message: &M,
    ) -> Result<Vec<(NodeId, Received<M::Reply>)>, FanOutError<M>>
    where
        S: Handler<M>,
    {
        let mut error = FanOutError { needed, answered: Vec::new(), failures: Vec::new() };
        let mut calls = match self.begin::<M>(message) {
            Ok(calls) => calls,
            Err(status) => {
                error.failures =
                    self.members.iter().map(|&member| (member, status.clone())).collect();
                return Err(error);
            }
        };
        while error.answered.len() < needed && error.answered.len() + calls.open() >= needed {
            match calls.next().await {
                Some((member, Ok(reply))) => error.answered.push((member, reply)),
                Some((member, Err(status))) => error.failures.push((member, status)),
                None => break,
            }
        }
        if self.keeps_rest {
            calls.detach();
        }
        if error.answered.len() >= needed { Ok(error.answered) } else { Err(error) }
    }

    /// Calls every member, and gives the calls: what is done with their answers, and which further
    /// members are called, is the caller's.
    ///
    /// # Errors
    /// A [`Status`] if the message could not be encoded: nobody is called.
    pub fn begin<M: Message>(&self, message: &M) -> Result<Calls<M>, Status>
    where
        S: Handler<M>,
    {
        let mut target = self.target.clone();
        if let Some(deadline) = target.deadline(target.shared.node.runtime.now().mono) {
            // One deadline for all of them, also for those that are added later.
            target.until(deadline);
            target.timeout = None;
        }
        let outbound = outbound::<S, M>(message, target.headers.clone())?;
        let mut calls = Calls { target, outbound, open: Vec::new(), method: PhantomData };
        self.members.iter().for_each(|&member| calls.add(member));
        Ok(calls)
    }
}

/// A call of a fan-out that has ended: of whom, and how.
pub type Answer<M> = (NodeId, Result<Received<<M as Method>::Reply>, Status>);

type Open = (NodeId, BoxFuture<Result<ReplyParts, Status>>);

/// Calls of one message to several members. Dropping it cancels those that are open.
///
/// It polls all of them whenever one has something to say: good for the tens of members that a
/// fan-out has, not for thousands.
pub struct Calls<M> {
    target: Target,
    outbound: OutboundRequest,
    open: Vec<Open>,
    method: PhantomData<fn(M)>,
}

impl<M: Method> Calls<M> {
    /// Calls one more member, with the same message and deadline. It begins when [`Calls::next`] is
    /// next waited for.
    pub fn add(&mut self, member: impl Into<NodeId>) {
        let member = member.into();
        let (target, outbound) = (self.target.at(member), self.outbound.clone());
        self.open.push((member, Box::pin(async move { target.send(outbound).await })));
    }

    /// How many have not ended.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// The next call that ends, and how; `None` when all have. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Answer<M>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Answer<M>>> {
        if self.open.is_empty() {
            return Poll::Ready(None);
        }
        let mut ended = None;
        for (place, (_, call)) in self.open.iter_mut().enumerate() {
            if let Poll::Ready(result) = Pin::new(call).poll(cx) {
                ended = Some((place, result));
                break;
            }
        }
        let Some((place, result)) = ended else { return Poll::Pending };
        // In order, so that which of two answers that are there at once comes first does not depend
        // on earlier ones.
        let (member, _) = self.open.remove(place);
        Poll::Ready(Some((member, result.and_then(|arrived| receive::<M>(arrived.body)))))
    }

    /// Lets the open calls go on to their end without anybody who waits for it, also those that
    /// have not begun.
    pub fn detach(self) {
        for (_, call) in self.open {
            let done = async {
                let _nobody_waits = call.await;
            };
            OwnedTask::spawn(&self.target.shared.node, Box::pin(done));
        }
    }
}

impl<M> fmt::Debug for Calls<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calls").field("open", &self.open.len()).finish_non_exhaustive()
    }
}

impl<S> fmt::Debug for FanOut<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FanOut").field("members", &self.members).finish_non_exhaustive()
    }
}

/// Fewer members answered than were needed.
#[non_exhaustive]
pub struct FanOutError<M: Method> {
    /// How many answers were needed.
    pub needed: usize,
    /// Who answered, and what, in the order of arrival: fewer than needed.
    pub answered: Vec<(NodeId, Received<M::Reply>)>,
    /// Who failed, and how. Members whose calls were open when it could not be enough any more are
    /// not in here.
    pub failures: Vec<(NodeId, Status)>,
}

impl<M: Method> fmt::Display for FanOutError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { needed, answered, failures } = self;
        write!(f, "{} of {needed} needed answers, {} failures", answered.len(), failures.len())?;
        for (member, status) in failures {
            write!(f, "; {member}: {status}")?;
        }
        Ok(())
    }
}

impl<M: Method> fmt::Debug for FanOutError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answered: Vec<NodeId> = self.answered.iter().map(|&(member, _)| member).collect();
        f.debug_struct("FanOutError")
            .field("needed", &self.needed)
            .field("answered", &answered)
            .field("failures", &self.failures)
            .finish()
    }
}

impl<M: Method> std::error::Error for FanOutError<M> {
    /// The first failure.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.failures.first().map(|(_, status)| status as _)
    }
}
