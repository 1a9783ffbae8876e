//! What users do in a run of the standard workload: calls of every kind between all nodes, and a
//! service that comes and goes.

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use chinwag::protocol::clock::DRIFT_MAX_DEFAULT;
use chinwag::{
    Client, Context, Handler, Message, Methods, Node, Runtime as _, Service, Status, Timestamp,
    View,
};

use super::engine::Inner;
use super::ledger::{Ledger, Ticket};
use super::oddities::Square;
use super::runtime::Virtual;
use super::streams::{Chat, Download, Upload, unless_after};
use crate::checker::views::id;
use crate::checker::{Check, ensure};
use crate::choices::{Odds, Site};
use crate::mutant::{Defect, Mutant};

/// Calls of one node that are open at once at most; more would only wait for each other.
const OPEN_MAX: usize = 24;
/// The longest wait between two calls of a node.
const GAP_MAX_MS: u32 = 400;
/// How long a call that a user is in no hurry with may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// A user who is in a hurry gives a call this long.
pub(super) const HURRY: Duration = Duration::from_millis(30);

/// In stamps, by how much a node with a defect is ahead: far enough to be seen, near enough to be
/// believed.
const TOMORROW: u64 = 100_000 << 12;

/// How a request is to be handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// At once.
    AtOnce,
    /// After a moment, as a task of its own.
    Later,
    /// After asking the caller something.
    CallsBack,
    /// Never.
    Hangs,
    /// At once, but the thread stands still then, as if the handler slept on it.
    Blocks,
    /// After asking the caller the same, which asks back, to a depth that the request gives.
    Nests,
}

impl Manner {
    const ALL: [Self; 6] =
        [Self::AtOnce, Self::Later, Self::CallsBack, Self::Hangs, Self::Blocks, Self::Nests];
}

/// What a call is to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct How {
    pub(super) manner: Manner,
    /// Bytes that go there and come back.
    pub(super) len: usize,
    /// How often a handler that nests asks back.
    pub(super) depth: u8,
    /// Without one it has no deadline.
    pub(super) patience: Option<Duration>,
    /// So long it is held and not polled, once it has begun.
    pub(super) unpolled: Option<Duration>,
}

impl How {
    pub(super) const fn new(manner: Manner, len: usize, patience: Duration) -> Self {
        Self { manner, len, depth: 0, patience: Some(patience), unpolled: None }
    }
}

/// A request of the workload.
#[derive(rkyv::Archive, rkyv::Serialize)]
pub(super) struct Ask {
    id: u64,
    /// The caller's clock before it called.
    stamp: u64,
    manner: u8,
    depth: u8,
    pad: Vec<u8>,
}

/// Its answer.
#[derive(rkyv::Archive, rkyv::Serialize)]
pub(super) struct Answer {
    id: u64,
    /// The handler's clock.
    stamp: u64,
    pad: Vec<u8>,
}

impl Message for Ask {
    type Reply = Answer;
    const NAME: &'static str = "ask";
}

/// The service that is always there.
pub(super) struct Work(pub(super) Here);

/// The one that comes and goes.
pub(super) struct Guest(pub(super) Here);

/// What a service knows of where it is.
#[derive(Clone)]
pub(super) struct Here {
    pub(super) user: User,
    /// Cleared before the service is removed.
    is_offered: Arc<AtomicBool>,
}

impl Service for Work {
    const NAME: &'static str = "work";
    fn methods(methods: &mut Methods<Self>) {
        methods.add::<Ask>().add_stream::<Upload>().add_stream::<Download>().add_stream::<Chat>();
    }
}

impl Service for Guest {
    const NAME: &'static str = "guest";
    fn methods(methods: &mut Methods<Self>) {
        methods.add::<Ask>();
    }
}

impl Handler<Ask> for Work {
    async fn handle(&self, cx: &Context, ask: View<Ask>) -> Result<Answer, Status> {
        self.0.handle(cx, &ask).await
    }
}

impl Handler<Ask> for Guest {
    async fn handle(&self, cx: &Context, ask: View<Ask>) -> Result<Answer, Status> {
        self.0.handle(cx, &ask).await
    }
}

impl Here {
    pub(super) fn is_offered(&self) -> bool {
        self.is_offered.load(Ordering::SeqCst)
    }

    async fn handle(&self, cx: &Context, ask: &View<Ask>) -> Result<Answer, Status> {
        let User { ledger, host, .. } = &self.user;
        let _running = ledger.runs(ask.id.to_native(), *host, self.is_offered());
        let Some(node) = cx.node() else {
            return Err(Status::new(chinwag::Code::Internal, "no node"));
        };
        let asked = Timestamp::from_raw(ask.stamp.to_native());
        ledger.note(ensure(asked < cx.stamp(), "hlc_causality", || {
            format!("a call that was made after {asked} carries {}", cx.stamp())
        }));
        ledger.note(is_after(&node, cx.stamp(), "a call", self.user.stalled_for()));
        ledger.reaches(ask.id.to_native(), self.user.run_of(&node));
        let _looks = self.user.looks_back(&node, cx, ask.id.to_native());
        if self.user.has(Defect::NeverAnswers) {
            std::future::pending::<()>().await;
        }
        match Manner::ALL[usize::from(ask.manner) % Manner::ALL.len()] {
            Manner::AtOnce => {}
            Manner::Later => node.sleep(Duration::from_millis(ask.id.to_native() % 50)).await,
            Manner::CallsBack => {
                let caller = u32::try_from(cx.caller().id.get() - 1).unwrap_or(0);
                let client: Client<Work> = cx.client(cx.caller().id);
                // Whether it comes to anything is the inner call's business.
                let how = How::new(Manner::AtOnce, 0, PATIENCE);
                let _ = self.user.call(&node, &client, caller, how).await;
            }
            Manner::Blocks => self.user.blocks(ask.id.to_native()),
            Manner::Nests => self.user.nests(&node, cx, ask.depth, ask.pad.len()).await,
            Manner::Hangs => std::future::pending::<()>().await,
        }
        let late = if self.user.has(Defect::AnswersFromTomorrow) { TOMORROW } else { 0 };
        let stamp = node.clock().now().get() + late;
        let more = usize::from(self.user.has(Defect::GarblesAnswers));
        let pad = [ask.pad.as_slice(), &[0][..more]].concat();
        Ok(Answer { id: ask.id.to_native(), stamp, pad })
    }
}

/// A stamp that `node` gives now is later than `heard`, unless that was too far ahead to be
/// believed when it came, at most so long `ago`.
pub(super) fn is_after(node: &Node, heard: Timestamp, what: &str, ago: Duration) -> Check {
    let wall = node.now().wall;
    let now = node.clock().now();
    let is_far = heard.micros() > (wall + DRIFT_MAX_DEFAULT.saturating_sub(ago)).as_micros();
    ensure(heard < now || is_far, "hlc_causality", || {
        format!("node {} heard {heard} in {what} and stamps {now}", node.id())
    })
}

/// A user of one node.
#[derive(Clone)]
pub(super) struct User {
    pub(super) world: Arc<Inner>,
    pub(super) ledger: Ledger,
    pub(super) host: u32,
    pub(super) hosts: u32,
    pub(super) mutant: Option<Mutant>,
    /// Set when users are to begin nothing more.
    pub(super) is_over: Arc<AtomicBool>,
    pub(super) square: Arc<Square>,
}

impl User {
    /// Offers the services, and begins to call.
    pub(super) fn boot(&self, node: &Node) -> Result<(), String> {
        let always = Here { user: self.clone(), is_offered: Arc::new(AtomicBool::new(true)) };
        node.add_service(Work(always)).map_err(|error| error.to_string())?;
        self.square.enter(self.host, node);
        self.breaks(node)?;
        let (user, on) = (self.clone(), node.clone());
        node.spawn(async move { user.calls(on).await });
        let (user, on) = (self.clone(), node.clone());
        node.spawn(async move { user.has_guests(on).await });
        Ok(())
    }

    /// Whether its node has this defect, put in on purpose, now.
    pub(super) fn has(&self, defect: Defect) -> bool {
        self.mutant.is_some_and(|mutant| mutant.has(self.host, self.world.state().now, defect))
    }

    /// What a defective node does as it starts.
    fn breaks(&self, node: &Node) -> Result<(), String> {
        if self.has(Defect::OffersTwice) {
            let again = Here { user: self.clone(), is_offered: Arc::new(AtomicBool::new(true)) };
            node.add_service(Work(again)).map_err(|error| error.to_string())?;
        }
        if self.has(Defect::LeavesTasks) {
            let process = self.world.state().machine(self.host).process;
            let runtime = Virtual::new(self.world.clone(), self.host, process);
            runtime.spawn(Box::pin(std::future::pending()));
        }
        if self.has(Defect::BreaksDown) {
            // Not `panic!`, which would write of it.
            node.spawn(async { std::panic::resume_unwind(Box::new("broken on purpose")) });
        }
        Ok(())
    }

    pub(super) fn choose(&self, what: u32, odds: Odds) -> u32 {
        self.world.state().choose(Site::Call, self.host, what, odds)
    }

    /// How long ago what its tasks see now may have come to its process.
    pub(super) fn stalled_for(&self) -> Duration {
        Duration::from_nanos(self.world.state().stalled_for(self.host))
    }

    pub(super) fn pauses_so_far(&self) -> u32 {
        self.world.state().machine(self.host).pauses_begun
    }

    async fn calls(self, node: Node) {
        let open = Arc::new(());
        while !self.is_over.load(Ordering::SeqCst) {
            node.sleep(Duration::from_millis(u64::from(
                GAP_MAX_MS - self.choose(0, Odds::up_to(GAP_MAX_MS - 1)),
            )))
            .await;
            if Arc::strong_count(&open) > OPEN_MAX {
                continue;
            }
            if let Some(host) = self.square.take_rush().filter(|&host| host != self.host) {
                self.rushes(&node, host, &open);
            }
            // The next node is asked, if nothing else is chosen; itself too, if that is.
            let to = (self.host + 1 + self.choose(1, Odds::up_to(self.hosts - 1))) % self.hosts;
            let oddity = self.choose(16, Odds { per_million: 60_000, most: 5 });
            if oddity > 0 {
                self.is_odd(&node, to, oddity, &open);
                continue;
            }
            let shape = self.choose(9, Odds { per_million: 200_000, most: 3 });
            if shape > 0 {
                self.streams(&node, to, shape, &open);
                continue;
            }
            let manner =
                Manner::ALL[self.choose(2, Odds { per_million: 400_000, most: 4 }) as usize];
            let len = match self.choose(3, Odds { per_million: 200_000, most: 20 }) {
                size @ 1..=19 => 1 << size,
                20 => 2 << 20,
                _ => 0,
            };
            let hurries = self.choose(4, Odds::chance(150_000)) > 0 || manner == Manner::Hangs;
            let patience = if hurries { HURRY } else { PATIENCE };
            let how = How::new(manner, len, patience);
            match self.choose(5, Odds { per_million: 300_000, most: 3 }) {
                1 => self.one_way(&node, to, len),
                2 => self.ask::<Guest>(&node, to, how, &open),
                3 => self.gives_up(&node, to, How { patience: Some(PATIENCE), ..how }, &open),
                _ => self.ask::<Work>(&node, to, how, &open),
            }
        }
        if self.has(Defect::StopsServing) {
            node.remove_service::<Work>();
        }
    }

    pub(super) fn ask<S: Handler<Ask>>(&self, node: &Node, to: u32, how: How, open: &Arc<()>) {
        let (user, on, held) = (self.clone(), node.clone(), open.clone());
        node.spawn(async move {
            let _held = held;
            let client = on.client::<S>(id(to));
            // Its status is in the books.
            let _ = user.call(&on, &client, to, how).await;
        });
    }

    /// A call that its caller drops after a moment.
    fn gives_up(&self, node: &Node, to: u32, how: How, open: &Arc<()>) {
        let (user, on, held) = (self.clone(), node.clone(), open.clone());
        let wait = Duration::from_micros(u64::from(self.choose(6, Odds::up_to(20_000))));
        node.spawn(async move {
            let _held = held;
            let client = on.client::<Work>(id(to));
            // Its status is in the books.
            let call = async { drop(user.call(&on, &client, to, how).await) };
            unless_after(&on, wait, call).await;
        });
    }

    pub(super) fn one_way(&self, node: &Node, to: u32, len: usize) {
        let ticket = self.ledger.begin(self.host, to);
        let ask = self.question(node, &ticket, How::new(Manner::Later, len, PATIENCE));
        match node.client::<Work>(id(to)).one_way(&ask) {
            Ok(()) => ticket.leaves(),
            Err(status) => ticket.ends(Err(&status)),
        }
    }

    fn question(&self, node: &Node, ticket: &Ticket, how: How) -> Ask {
        let byte = u8::try_from(ticket.id % 251).unwrap_or(0);
        let early = if self.has(Defect::AsksFromTomorrow) { TOMORROW } else { 0 };
        Ask {
            id: ticket.id,
            stamp: node.clock().now().get() + early,
            manner: how.manner as u8,
            depth: how.depth,
            pad: vec![byte; how.len],
        }
    }

    /// One call, in the books.
    pub(super) async fn call<S: Handler<Ask>>(
        &self,
        node: &Node,
        client: &Client<S>,
        to: u32,
        how: How,
    ) -> Result<(), Status> {
        let ticket = self.ledger.begin(self.host, to);
        let ask = self.question(node, &ticket, how);
        let (begun, pauses) = (node.now().mono, self.pauses_so_far());
        let client = match how.patience {
            Some(patience) => client.clone().until(begun + patience),
            None => client.clone().without_timeout(),
        };
        let mut call = pin!(client.call(&ask));
        let mut result = poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await;
        if let (Poll::Pending, Some(time)) = (&result, how.unpolled) {
            ticket.is_polled(false);
            node.sleep(time).await;
            ticket.is_polled(true);
        }
        if result.is_pending() {
            result = Poll::Ready(call.await);
        }
        let Poll::Ready(result) = result else { unreachable!("it was waited for") };
        if let (Some(patience), None) = (how.patience, how.unpolled) {
            let was_paused = self.pauses_so_far() != pauses;
            ticket.is_in_time(node.now().mono, begun + patience, was_paused);
        }
        if let Ok(answer) = &result {
            let heard = Timestamp::from_raw(answer.stamp.to_native());
            // It may have come as soon as the call was held and not polled.
            let held = how.unpolled.map_or(Duration::ZERO, |_| node.now().mono.since(begun));
            let ago = held + self.stalled_for();
            self.ledger.note(is_after(node, heard, "an answer", ago));
            let is_ours = answer.id.to_native() == ticket.id && answer.pad.as_slice() == ask.pad;
            self.ledger.note(ensure(is_ours, "rpc_answer", || {
                format!(
                    "call {} is answered with {} and {} bytes",
                    ticket.id,
                    answer.id,
                    answer.pad.len()
                )
            }));
        }
        ticket.ends(result.as_ref().map(drop));
        result.map(drop)
    }

    /// A service that is added, used, and removed, again and again.
    async fn has_guests(self, node: Node) {
        while !self.is_over.load(Ordering::SeqCst) {
            let is_offered = Arc::new(AtomicBool::new(true));
            let here = Here { user: self.clone(), is_offered: is_offered.clone() };
            if let Err(error) = node.add_service(Guest(here)) {
                self.ledger
                    .note(ensure(false, "services", || format!("node {}: {error}", self.host)));
                return;
            }
            node.sleep(
                Duration::from_secs(3)
                    + Duration::from_millis(u64::from(self.choose(7, Odds::up_to(5_000)))),
            )
            .await;
            self.square.rush(self.host);
            node.sleep(Duration::from_millis(u64::from(self.choose(22, Odds::up_to(600))))).await;
            // From here on no call may reach it: the two are one step of this task.
            is_offered.store(false, Ordering::SeqCst);
            if self.has(Defect::LosesGuests) {
                node.remove_service::<Guest>();
            }
            let was_there = node.remove_service::<Guest>();
            if node.members().local().state == chinwag::State::Left {
                // The process is on its way out, and its services with it.
                return;
            }
            self.ledger.note(ensure(was_there, "services", || {
                format!("node {}: it was not there", self.host)
            }));
            node.sleep(Duration::from_millis(500 + u64::from(self.choose(8, Odds::up_to(2_000)))))
                .await;
        }
    }

    /// Whether a call to `to` is answered now.
    pub(super) async fn reaches(&self, node: &Node, to: u32) -> bool {
        let client = node.client::<Work>(id(to));
        self.call(node, &client, to, How::new(Manner::AtOnce, 100, PATIENCE)).await.is_ok()
    }
}
