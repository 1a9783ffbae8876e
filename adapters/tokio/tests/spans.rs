//! Spans of a call's two ends join: in a process of its own, because whoever listens to spans does
//! so for the whole process.

use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chinwag_tokio::{Config, Context, Handler, Message, Methods, Node, Service, Status, View};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Every span of calls, with its fields, in the order of their beginning.
#[derive(Default)]
struct Listener {
    ids: AtomicU64,
    spans: Mutex<Vec<Span>>,
    entered: Mutex<Vec<Id>>,
}

#[derive(Clone, Debug)]
struct Span {
    id: u64,
    name: &'static str,
    fields: Vec<(&'static str, String)>,
    /// Events of the test's own inside of it.
    events: usize,
}

impl Span {
    fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| *field == name).map(|(_, value)| value.as_str())
    }
}

impl Visit for Span {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.fields.push((field.name(), format!("{value:?}")));
    }
}

static LISTENER: Listener = Listener {
    ids: AtomicU64::new(1),
    spans: Mutex::new(Vec::new()),
    entered: Mutex::new(Vec::new()),
};

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Global;

impl Subscriber for Global {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "chinwag::call" && *metadata.level() <= Level::DEBUG
            || metadata.target() == "spans"
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let id = LISTENER.ids.fetch_add(1, Ordering::Relaxed);
        let mut span =
            Span { id, name: attributes.metadata().name(), fields: Vec::new(), events: 0 };
        attributes.record(&mut span);
        lock(&LISTENER.spans).push(span);
        Id::from_u64(id)
    }

    fn record(&self, id: &Id, values: &Record<'_>) {
        if let Some(span) = lock(&LISTENER.spans).iter_mut().find(|span| span.id == id.into_u64()) {
            values.record(span);
        }
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        if event.metadata().target() != "spans" {
            return;
        }
        let innermost = lock(&LISTENER.entered).last().cloned();
        let mut spans = lock(&LISTENER.spans);
        let innermost =
            spans.iter_mut().find(|span| Some(span.id) == innermost.as_ref().map(Id::into_u64));
        innermost.expect("the event is inside of a span").events += 1;
    }

    // The test has one thread, so those entered are a stack.
    fn enter(&self, id: &Id) {
        lock(&LISTENER.entered).push(id.clone());
    }

    fn exit(&self, id: &Id) {
        assert_eq!(lock(&LISTENER.entered).pop().as_ref(), Some(id));
    }
}

/// Handled by a nested call to the node it names, or by a fan-out to it, unless that is 0: then it
/// fails.
#[derive(rkyv::Archive, rkyv::Serialize)]
struct Hop {
    to: u64,
    fans_out: bool,
}

impl Message for Hop {
    type Reply = ();
    const NAME: &'static str = "hop";
}

struct Hops;

impl Service for Hops {
    const NAME: &'static str = "hops";
    fn methods(methods: &mut Methods<Self>) {
        methods.add::<Hop>();
    }
}

impl Handler<Hop> for Hops {
    async fn handle(&self, cx: &Context, hop: View<Hop>) -> Result<(), Status> {
        // So that it runs as a task, too.
        tokio::task::yield_now().await;
        tracing::info!(target: "spans", "handled");
        if hop.to == 0 {
            return Err(Status::new(chinwag_tokio::Code::AppError, "the end of it"));
        }
        let (to, last) = (hop.to.to_native(), Hop { to: 0, fans_out: false });
        if hop.fans_out {
            let all = cx.fan_out::<Hops>([to]).first(1, &last).await;
            return all.map(drop).map_err(|mut error| error.failures.remove(0).1);
        }
        cx.client::<Hops>(to).call(&last).await.map(drop)
    }
}

async fn start(id: u64, seed: Option<&Node>) -> Node {
    let seeds = seed.map(|node| node.local_addr().to_string());
    let node = Node::builder(id, ([127, 0, 0, 1], 0).into()).config(Config::local()).seeds(seeds);
    let node = node.start().await.expect("starts");
    node.add_service(Hops).expect("added");
    node
}

/// From node 1 to 2, and from there to 3: four spans, one trace, each the child of the one before.
#[tokio::test]
async fn spans_join_across_nodes() {
    tracing::subscriber::set_global_default(Global).expect("the first one");
    let one = start(1, None).await;
    let (two, three) = (start(2, Some(&one)).await, start(3, Some(&one)).await);
    for node in [&one, &two, &three] {
        let sees = node.wait_for(|view| view.members().len() == 2, Duration::from_secs(30)).await;
        sees.expect("they find each other");
    }
    for fans_out in [false, true] {
        lock(&LISTENER.spans).clear();
        let hop = Hop { to: 3, fans_out };
        one.client::<Hops>(2).call(&hop).await.expect_err("as the last one says");
        assert_joined();
    }
}

fn assert_joined() {
    let spans = lock(&LISTENER.spans).clone();
    let names: Vec<_> = spans.iter().map(|span| span.name).collect();
    assert_eq!(names, ["call", "handle", "call", "handle"]);
    let trace = spans[0].get("trace_id").expect("named");
    assert_eq!(spans[0].get("parent_id"), None, "it is the root");
    for pair in spans.windows(2) {
        assert_eq!(pair[1].get("trace_id"), Some(trace));
        assert_eq!(pair[1].get("parent_id"), pair[0].get("span_id"), "{pair:#?}");
    }
    for (place, span) in spans.iter().enumerate() {
        assert_eq!((span.get("service"), span.get("method")), (Some("\"hops\""), Some("\"hop\"")));
        assert_eq!(span.get("status"), Some("AppError"));
        assert_eq!(span.events, place % 2, "what a handler tells is inside of its span");
    }
}
