//! Users that are no help: calls that are held and not polled, or dropped at any wait; calls that
//! ask back and forth with large bodies and no deadline; streams from both ends at once; a rush on
//! a service that is being removed; handlers that block their thread; and users' code that calls
//! back into the node when it is dropped, or around every call.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use chinwag::{
    Builder, Bytes, CallInfo, Client, Context, Interceptor, Node, OnRuntime, Role, Status,
};

use super::tasks::lock;
use super::workload::{Guest, How, Manner, PATIENCE, User, Work};
use crate::checker::views::id;
use crate::choices::Odds;
use crate::mutant::Defect;

/// Calls that everybody makes to a service that is about to be removed.
const RUSH: usize = 16;
/// Streams that each of two nodes opens to the other at once.
const BURST: usize = 24;
/// Calls that one task holds without polling them. The last is more than one connection has in
/// flight.
const HOARDS: [usize; 4] = [4, 32, 256, 1_100];
/// The longest body of nested calls is 2 to this power.
const NESTED_LOG_MAX: u32 = 23;
/// The longest that a handler blocks its thread, in milliseconds.
const BLOCKED_MAX: u64 = 100;

/// Where the users of all nodes meet.
#[derive(Default)]
pub(super) struct Square {
    nodes: Mutex<BTreeMap<u32, Node>>,
    /// The machine, counted from 1, whose guest service is about to be removed; 0 for none.
    rush: AtomicU32,
}

impl Square {
    pub(super) fn enter(&self, host: u32, node: &Node) {
        let before = lock(&self.nodes).insert(host, node.clone());
        drop(before);
    }

    /// Gives all handles of nodes back.
    pub(super) fn clear(&self) {
        let nodes = std::mem::take(&mut *lock(&self.nodes));
        drop(nodes);
    }

    fn node(&self, host: u32) -> Option<Node> {
        lock(&self.nodes).get(&host).cloned()
    }

    /// The guest service of `host` is about to be removed.
    pub(super) fn rush(&self, host: u32) {
        self.rush.store(host + 1, Ordering::SeqCst);
    }

    pub(super) fn take_rush(&self) -> Option<u32> {
        self.rush.swap(0, Ordering::SeqCst).checked_sub(1)
    }

    /// Puts an interceptor that calls back around everything that the node calls and handles.
    pub(super) fn watch(
        self: &Arc<Self>,
        builder: Builder<OnRuntime>,
        host: u32,
    ) -> Builder<OnRuntime> {
        let onlooker = || Onlooker { square: self.clone(), host };
        builder.interceptor(Role::Outbound, onlooker()).interceptor(Role::Inbound, onlooker())
    }
}

/// An interceptor that calls back into its node.
struct Onlooker {
    square: Arc<Square>,
    host: u32,
}

impl Onlooker {
    fn look(&self) {
        if let Some(node) = self.square.node(self.host) {
            look_at(&node);
        }
    }
}

impl Interceptor for Onlooker {
    fn before(&self, _: &mut CallInfo) -> Result<(), Status> {
        self.look();
        Ok(())
    }

    fn after(&self, _: &CallInfo, _: Result<(), &Status>, _: Duration) {
        self.look();
    }
}

/// Takes every lock that users can reach.
fn look_at(node: &Node) {
    drop(node.stats());
    drop(node.members());
    let _ = node.clock().now();
}

/// Calls back into its node when it is dropped.
pub(super) struct LooksBack {
    node: Node,
    user: User,
}

impl AsRef<[u8]> for LooksBack {
    fn as_ref(&self) -> &[u8] {
        &[7; 64]
    }
}

impl Drop for LooksBack {
    fn drop(&mut self) {
        look_at(&self.node);
        if !self.user.is_over.load(Ordering::SeqCst) {
            self.user.one_way(&self.node, (self.user.host + 1) % self.user.hosts, 32);
        }
    }
}

/// Polls `work` so often at most, and drops it at the wait that it is in then.
async fn polled_at_most(times: u32, work: impl Future<Output = ()>) {
    let (mut work, mut polls) = (pin!(work), 0);
    poll_fn(|cx| {
        polls += 1;
        if work.as_mut().poll(cx).is_ready() || polls >= times {
            return Poll::Ready(());
        }
        Poll::Pending
    })
    .await;
}

impl User {
    /// The run of its node, as a handler says it.
    pub(super) fn run_of(&self, node: &Node) -> u64 {
        node.epoch().get() + u64::from(self.has(Defect::ForgetsItsRun))
    }

    /// Something that calls back when the handler of call `id` is over, or when its answer is sent,
    /// for some calls.
    pub(super) fn looks_back(&self, node: &Node, cx: &Context, id: u64) -> Option<LooksBack> {
        let looks_back = || LooksBack { node: node.clone(), user: self.clone() };
        if id % 16 == 1 {
            cx.attach(Bytes::from_owner(looks_back()));
        }
        (id % 16 == 2).then(looks_back)
    }

    /// Blocks the thread of its process.
    pub(super) fn blocks(&self, id: u64) {
        let millis = 1 + id % BLOCKED_MAX;
        self.world.state().stall(self.host, millis * 1_000_000);
    }

    /// Asks the caller of `cx` the same, unless that is deep enough.
    pub(super) async fn nests(&self, node: &Node, cx: &Context, depth: u8, len: usize) {
        let Some(depth) = depth.checked_sub(1) else { return };
        let caller = u32::try_from(cx.caller().id.get() - 1).unwrap_or(0);
        let client: Client<Work> = cx.client(cx.caller().id);
        // Whether it comes to anything is the inner call's business.
        let _ = self.call(node, &client, caller, How { depth, ..nested(len) }).await;
    }

    /// Everybody asks for a service that is about to be removed from `to`.
    pub(super) fn rushes(&self, node: &Node, to: u32, open: &Arc<()>) {
        for _ in 0..RUSH {
            self.ask::<Guest>(node, to, How::new(Manner::AtOnce, 0, PATIENCE), open);
        }
    }

    /// Does something that few users do.
    pub(super) fn is_odd(&self, node: &Node, to: u32, oddity: u32, open: &Arc<()>) {
        match oddity {
            1 => {
                let len = match self.choose(17, Odds::up_to(NESTED_LOG_MAX + 1)) {
                    0 => 0,
                    log => 1 << (log - 1),
                };
                let depth = 1 + u8::try_from(self.choose(18, Odds::up_to(3))).unwrap_or(0);
                self.ask::<Work>(node, to, How { depth, ..nested(len) }, open);
            }
            2 => {
                let time = Duration::from_millis(u64::from(self.choose(19, Odds::up_to(3_000))));
                let how = How::new(Manner::Later, 1_000, PATIENCE);
                self.ask::<Work>(node, to, How { unpolled: Some(time), ..how }, open);
            }
            3 => self.drops(node, to, open),
            4 => self.bursts(node, to, open),
            _ => self.hoards(node, to, open),
        }
    }

    /// A call that its caller drops at one of its waits.
    fn drops(&self, node: &Node, to: u32, open: &Arc<()>) {
        let times = 1 + self.choose(20, Odds::up_to(11));
        let (user, on, held) = (self.clone(), node.clone(), open.clone());
        node.spawn(async move {
            let _held = held;
            let client = on.client::<Work>(id(to));
            let how = How::new(Manner::CallsBack, 200_000, PATIENCE);
            // Its status is in the books.
            let call = async { drop(user.call(&on, &client, to, how).await) };
            polled_at_most(times, call).await;
        });
    }

    /// Two nodes open many streams to each other at once.
    fn bursts(&self, node: &Node, to: u32, open: &Arc<()>) {
        let other = self.square.node(to);
        let user = Self { host: to, ..self.clone() };
        for number in 0..BURST {
            let shape = 1 + u32::try_from(number % 3).unwrap_or(0);
            self.streams(node, to, shape, open);
            if let Some(other) = &other {
                user.streams(other, self.host, shape, open);
            }
        }
    }

    /// One task makes many calls, polls each once, and comes back to them after a while.
    fn hoards(&self, node: &Node, to: u32, open: &Arc<()>) {
        let size = self.choose(21, Odds { per_million: 300_000, most: 3 });
        let count = HOARDS[size as usize];
        let (user, on, held) = (self.clone(), node.clone(), open.clone());
        node.spawn(async move {
            let _held = held;
            let client = on.client::<Work>(id(to));
            let how = How::new(Manner::AtOnce, 64, PATIENCE);
            let how = How { unpolled: Some(Duration::from_millis(1)), ..how };
            let calls = (0..count).map(|_| Box::pin(user.call(&on, &client, to, how)));
            let mut calls: Vec<_> = calls.collect();
            poll_fn(|cx| {
                calls.retain_mut(|call| call.as_mut().poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
            on.sleep(Duration::from_secs(1)).await;
            for call in calls {
                // Its status is in the books.
                let _ = call.await;
            }
        });
    }
}

/// A call that is asked back and forth and has no deadline.
const fn nested(len: usize) -> How {
    How { manner: Manner::Nests, len, depth: 0, patience: None, unpolled: None }
}
