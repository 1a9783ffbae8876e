//! What clients do beyond one call to one member, what is around calls, and what is counted of
//! them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chinwag::protocol::rpc;
use chinwag::{
    Bytes, CallInfo, Code, Consistency, Context, Handler, Interceptor, Message, Method, Methods,
    Node, Raw, Role, Service, Status, TRACEPARENT, TraceContext, View,
};
use futures_lite::future::{or, zip};

use crate::Host;
use crate::probe::{Echo, Hang, PATIENCE, Probe, builder, cluster, echo, sees, start};
use crate::tools::{Tally, eventually, spawn};

/// A service with every kind of body, whose instances tell apart who answered.
#[derive(Clone, Default)]
struct Mixed {
    handled: Arc<Tally>,
}

/// Raw both ways.
struct Reverse;

impl Method for Reverse {
    type Request = Raw;
    type Reply = Raw;
    const NAME: &'static str = "reverse";
}

/// Typed in, raw out.
#[derive(rkyv::Archive, rkyv::Serialize)]
struct Repeat {
    byte: u8,
    times: u32,
}

impl Message for Repeat {
    type Reply = Raw;
    const NAME: &'static str = "repeat";
    const IDEMPOTENT: bool = true;
}

/// Answers with the header that it was asked with, in a header, and fails if told to.
#[derive(rkyv::Archive, rkyv::Serialize)]
struct Tell {
    fails: bool,
}

impl Message for Tell {
    type Reply = String;
    const NAME: &'static str = "tell";
}

impl Service for Mixed {
    const NAME: &'static str = "mixed";
    fn methods(methods: &mut Methods<Self>) {
        methods.add::<Reverse>().add::<Repeat>().add::<Tell>();
    }
}

impl Handler<Reverse> for Mixed {
    async fn handle(&self, _: &Context, bytes: Bytes) -> Result<Raw, Status> {
        let mut bytes = bytes.to_vec();
        bytes.reverse();
        Ok(bytes.into())
    }
}

impl Handler<Repeat> for Mixed {
    async fn handle(&self, _: &Context, repeat: View<Repeat>) -> Result<Raw, Status> {
        self.handled.add();
        Ok(vec![repeat.byte; repeat.times.to_native() as usize].into())
    }
}

impl Handler<Tell> for Mixed {
    async fn handle(&self, cx: &Context, tell: View<Tell>) -> Result<String, Status> {
        let asked = cx.headers().get("asked").unwrap_or_default();
        let too_large = |error| Status::new(Code::TooLarge, format!("{error}"));
        cx.set_header("answered", asked).map_err(too_large)?;
        if tell.fails {
            return Err(Status::new(Code::AppError, "as told"));
        }
        Ok(String::from_utf8_lossy(asked).into_owned())
    }
}

async fn pair_with_mixed(host: &dyn Host) -> (Vec<(Node, Probe)>, Mixed) {
    let nodes = cluster(host, 2).await;
    let mixed = Mixed::default();
    for (node, _) in &nodes {
        node.add_service(mixed.clone()).expect("added");
    }
    (nodes, mixed)
}

/// Between nodes, and within one; of a few bytes, of none, and of more than is copied.
pub async fn raw_bodies_go_both_ways(host: &dyn Host) {
    let (nodes, _) = pair_with_mixed(host).await;
    for peer in [1, 2] {
        let client = nodes[0].0.client::<Mixed>(peer).timeout(PATIENCE);
        for len in [0_u32, 1, 3, 1_000, 100_000] {
            let bytes: Vec<u8> = (0..len).map(|at| at.to_le_bytes()[0]).collect();
            let mut reversed = bytes.clone();
            reversed.reverse();
            let reply = client.call_raw::<Reverse>(bytes).await.expect("answered");
            assert_eq!(reply, reversed);
            assert!(
                len == 0 || peer == 1 || reply.as_ptr().addr().is_multiple_of(16),
                "aligned as it came"
            );
            let repeated = client.call(&Repeat { byte: 7, times: len }).await.expect("answered");
            assert_eq!(repeated, vec![7; len as usize]);
        }
    }
}

/// Those of the client, of the call, and of the answer.
pub async fn headers_go_both_ways(host: &dyn Host) {
    let (nodes, _) = pair_with_mixed(host).await;
    for peer in [1, 2] {
        let client = nodes[0].0.client::<Mixed>(peer).timeout(PATIENCE);
        let none = client.call(&Tell { fails: false }).await.expect("answered");
        assert_eq!(*none, *"");
        let always = client.clone().header("asked", b"by the client").expect("fits");
        assert_eq!(*always.call(&Tell { fails: false }).await.expect("answered"), *"by the client");
        let tell = Tell { fails: false };
        let once = client.request::<Tell>(&tell).header("asked", b"by the call").expect("fits");
        let reply = once.send().await.expect("answered");
        assert_eq!(reply.headers.get("answered"), Some(&b"by the call"[..]));
        assert_eq!(*reply.body, *"by the call");
        let status = always.call(&Tell { fails: true }).await.expect_err("as told");
        assert_eq!((status.code, &*status.message), (Code::AppError, "as told"));
        assert_eq!(
            status.headers().get("answered"),
            Some(&b"by the client"[..]),
            "a failure has them too"
        );
    }
}

/// A node whose connections take so many calls at once.
async fn start_narrow(host: &dyn Host, id: u64, seeds: &[&Node], in_flight_max: u32) -> Node {
    let seeds = seeds.iter().map(|node| node.advertised_addr().to_string());
    let narrow = rpc::Config { in_flight_max, ..rpc::Config::default() };
    let node = builder(host, id).cluster("test").config(chinwag::Config::local()).seeds(seeds);
    node.rpc(narrow).start_on(host.runtime()).await.expect("starts")
}

/// As many as the peer takes run; the others wait, in order, until they run or their time is over.
pub async fn calls_wait_for_room_until_their_deadlines(host: &dyn Host) {
    let one = start(host, 1, &[]).await;
    let two = start_narrow(host, 2, &[&one], 4).await;
    let probe = Probe::default();
    two.add_service(probe.clone()).expect("added");
    sees(&one, 1).await;
    let runtime = host.runtime();

    let many = (0..300).map(|_| {
        let one = one.clone();
        spawn(&*runtime, async move { echo(&one, 2).await })
    });
    for call in many.collect::<Vec<_>>() {
        assert_eq!(call.await, Ok((1, 2)));
    }

    let client = one.client::<Probe>(2).timeout(PATIENCE);
    let hanging = (0..3).map(|_| {
        let (client, stop) = (client.clone(), Arc::new(Tally::default()));
        let stopped = stop.clone();
        let call = async move {
            or(async { drop(client.call(&Hang).await) }, stopped.reaches(1)).await;
        };
        (stop, spawn(&*runtime, call))
    });
    let hanging: Vec<_> = hanging.collect();
    probe.begun.reaches(3).await;
    let hurried = one.client::<Probe>(2).timeout(Duration::from_millis(50));
    let late = hurried.call(&Echo { text: String::new() }).await.expect_err("no room");
    assert_eq!((late.code, late.never_sent()), (Code::DeadlineExceeded, true), "{late}");

    // One that waits without a deadline runs once one of those that hang is given up.
    let waits = one.client::<Probe>(2).without_timeout();
    let at_last = Echo { text: "at last".into() };
    let waiting = waits.call(&at_last);
    let frees = async {
        eventually(&*runtime, || {
            let stats = one.stats();
            stats.method(Role::Outbound, "probe", "echo").is_some_and(|echo| echo.in_flight == 1)
        })
        .await;
        hanging[0].0.add();
    };
    let (echoed, ()) = zip(waiting, frees).await;
    assert_eq!(echoed.expect("answered").text, "at last");
    hanging.iter().for_each(|(stop, _)| stop.add());
    for (_, call) in hanging {
        call.await;
    }
    probe.dropped.reaches(3).await;
}

/// What an interceptor has seen, in order.
#[derive(Clone)]
struct Watcher {
    name: &'static str,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Watcher {
    fn note(&self, what: String) {
        self.seen.lock().expect("nobody panics with it").push(what);
    }
}

impl Interceptor for Watcher {
    fn before(&self, call: &mut CallInfo) -> Result<(), Status> {
        let Self { name, .. } = self;
        let (service, method, peer) = (call.service(), call.method(), call.peer());
        self.note(format!("{name} {:?} {service}.{method} with {peer}", call.role()));
        if call.headers().get("forbidden").is_some_and(|by| by == name.as_bytes()) {
            return Err(Status::new(Code::AppError, "forbidden"));
        }
        let too_large = |error| Status::new(Code::TooLarge, format!("{error}"));
        if call.role() == Role::Outbound && call.headers().get("asked").is_none() {
            call.headers_mut().push("asked", b"by the interceptor").map_err(too_large)?;
        }
        Ok(())
    }

    fn after(&self, call: &CallInfo, result: Result<(), &Status>, _took: Duration) {
        let result = result.map_err(|status| status.code);
        self.note(format!("{} {:?} {} {result:?}", self.name, call.role(), call.method()));
    }
}

/// Nested, the first one outermost, at both ends; each hears of the end of what it let pass, once.
pub async fn interceptors_see_change_and_refuse_calls(host: &dyn Host) {
    let (nodes, _) = pair_with_mixed(host).await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let watcher = |name| Watcher { name, seen: seen.clone() };
    nodes[0].0.add_interceptor(Role::Outbound, watcher("outer"));
    nodes[0].0.add_interceptor(Role::Outbound, watcher("inner"));
    nodes[1].0.add_interceptor(Role::Inbound, watcher("there"));
    let taken = || std::mem::take(&mut *seen.lock().expect("nobody panics with it"));

    let client = nodes[0].0.client::<Mixed>(2).timeout(PATIENCE);
    let told = client.call(&Tell { fails: false }).await.expect("answered");
    assert_eq!(*told, *"by the interceptor", "what it adds, the handler sees");
    let all = [
        "outer Outbound mixed.tell with 2",
        "inner Outbound mixed.tell with 2",
        "there Inbound mixed.tell with 1",
        "there Inbound tell Ok(())",
        "inner Outbound tell Ok(())",
        "outer Outbound tell Ok(())",
    ];
    assert_eq!(taken(), all);

    // Whoever refuses hears no end, and says for certain that nothing has run.
    for (by, sent) in [("inner", false), ("there", true)] {
        let forbidden = client.clone().header("forbidden", by.as_bytes()).expect("fits");
        let status = forbidden.call(&Tell { fails: false }).await.expect_err("refused");
        let reach = (status.may_have_run(), status.never_sent());
        assert_eq!((status.code, reach), (Code::AppError, (false, !sent)), "{by}");
        let seen = taken();
        assert!(
            !seen.iter().any(|what| what.starts_with(by) && what.contains("AppError")),
            "{seen:?}"
        );
        assert_eq!(seen.last().map(String::as_str), Some("outer Outbound tell Err(AppError)"));
    }

    // One that is given up has ended too.
    let hangs = nodes[0].0.client::<Probe>(2).timeout(PATIENCE);
    or(async { drop(hangs.call(&Hang).await) }, nodes[1].1.begun.reaches(1)).await;
    nodes[1].1.dropped.reaches(1).await;
    eventually(&*host.runtime(), || {
        let seen = seen.lock().expect("nobody panics with it");
        let cancelled = seen.iter().filter(|what| what.contains("hang Err(Cancelled)"));
        cancelled.count() == 3
    })
    .await;
}

/// By method, at the end that calls and at the one that answers.
pub async fn methods_are_counted_at_both_ends(host: &dyn Host) {
    let (nodes, _) = pair_with_mixed(host).await;
    let client = nodes[0].0.client::<Mixed>(2).timeout(PATIENCE);
    for _ in 0..5 {
        client.call_raw::<Reverse>(vec![1; 100]).await.expect("answered");
    }
    for fails in [true, false, true] {
        assert_eq!(client.call(&Tell { fails }).await.is_err(), fails);
    }
    let hangs = nodes[0].0.client::<Probe>(2).timeout(PATIENCE);
    let hanging = async {
        nodes[1].1.begun.reaches(1).await;
        let caller = nodes[0].0.stats();
        let hang = caller.method(Role::Outbound, "probe", "hang").expect("called");
        assert_eq!((hang.calls, hang.in_flight, hang.latency.count()), (1, 1, 0));
    };
    or(async { drop(hangs.call(&Hang).await) }, hanging).await;
    nodes[1].1.dropped.reaches(1).await;

    // The handler's task counts its end when it is gone.
    eventually(&*host.runtime(), || {
        let stats = nodes[1].0.stats();
        stats.method(Role::Inbound, "probe", "hang").is_some_and(|hang| hang.in_flight == 0)
    })
    .await;
    for (node, role) in [(0, Role::Outbound), (1, Role::Inbound)] {
        let stats = nodes[node].0.stats();
        let of = |service, method| stats.method(role, service, method).expect("counted").clone();
        let reverse = of("mixed", "reverse");
        assert_eq!(
            (reverse.calls, reverse.in_flight, &reverse.errors[..]),
            (5, 0, &[][..]),
            "{role:?}"
        );
        assert_eq!((reverse.bytes_in, reverse.bytes_out), (500, 500), "{role:?}");
        assert_eq!(reverse.latency.count(), 5, "{role:?}");
        assert_eq!(of("mixed", "tell").errors, [(Code::AppError, 2)], "{role:?}");
        assert_eq!(of("probe", "hang").errors, [(Code::Cancelled, 1)], "{role:?}");
        assert!(stats.method(role, "mixed", "repeat").is_none_or(|repeat| repeat.calls == 0));
    }
    let slowest = nodes[0]
        .0
        .stats()
        .method(Role::Outbound, "mixed", "tell")
        .map(|tell| tell.latency.quantile(1.0));
    assert!(slowest.is_some_and(|slowest| slowest > Duration::ZERO));
}

/// Past members that do not have the service, and past one that is gone and not yet known to be.
pub async fn a_balanced_call_finds_a_member_that_can(host: &dyn Host) {
    let nodes = cluster(host, 4).await;
    let mixed = Mixed::default();
    nodes[3].0.add_service(mixed.clone()).expect("added");
    let balanced = nodes[0].0.balanced::<Mixed>().timeout(PATIENCE);
    for _ in 0..6 {
        let reply =
            balanced.call(&Repeat { byte: 1, times: 2 }).await.expect("one of the three has it");
        assert_eq!(reply, vec![1; 2]);
    }
    assert_eq!(mixed.handled.count(), 6, "each ran once");
    let stats = nodes[0].0.stats();
    assert!(stats.retries > 0, "the selector does not know who has it");

    let once = balanced.clone().attempts(1);
    let mut refused = 0;
    for _ in 0..6 {
        refused += usize::from(once.call(&Repeat { byte: 1, times: 2 }).await.is_err());
    }
    assert!(refused > 0, "a single attempt is not tried again");

    // A failure of the handler's own is an answer.
    let before = nodes[0].0.stats().retries;
    for (node, _) in &nodes[1..3] {
        node.add_service(mixed.clone()).expect("added");
    }
    assert_eq!(
        balanced.call(&Tell { fails: true }).await.expect_err("as told").code,
        Code::AppError
    );
    assert_eq!(nodes[0].0.stats().retries, before);

    let alone = start(host, 9, &[]).await;
    let nobody =
        alone.balanced::<Mixed>().call(&Tell { fails: false }).await.expect_err("no member");
    assert_eq!((nobody.code, nobody.never_sent()), (Code::Unavailable, true));
}

/// The wanted number, or an error that says who failed.
pub async fn a_fan_out_takes_the_first_answers(host: &dyn Host) {
    let nodes = cluster(host, 4).await;
    let mixed = Mixed::default();
    for place in [0, 1, 2] {
        nodes[place].0.add_service(mixed.clone()).expect("added");
    }
    let one = &nodes[0].0;
    let repeat = Repeat { byte: 3, times: 1 };
    let fan_out = one.fan_out::<Mixed>([1_u64, 2, 3, 4]).timeout(PATIENCE);

    let answers = fan_out.first(2, &repeat).await.expect("three have it");
    assert_eq!(answers.len(), 2);
    assert!(answers.iter().all(|(member, reply)| member.get() < 4 && *reply == vec![3]));
    assert_eq!(fan_out.first(3, &repeat).await.expect("three have it").len(), 3);
    let error = fan_out.first(4, &repeat).await.expect_err("node 4 does not");
    assert_eq!(error.needed, 4);
    let [(member, status)] = &error.failures[..] else { panic!("one fails: {error}") };
    assert_eq!((member.get(), status.code), (4, Code::UnknownService));
    assert!(error.to_string().contains("of 4 needed answers"), "{error}");
    let too_few =
        one.fan_out::<Mixed>([2_u64]).first(2, &repeat).await.expect_err("one is not two");
    assert_eq!(
        (too_few.answered.len(), too_few.failures.len()),
        (0, 0),
        "nobody is called for nothing"
    );

    // What is kept goes on; what is not is cancelled.
    let hang = one.fan_out::<Probe>([2_u64, 3]).timeout(PATIENCE);
    assert!(hang.keep_rest().first(0, &Hang).await.is_ok_and(|answers| answers.is_empty()));
    for (_, probe) in &nodes[1..3] {
        probe.begun.reaches(1).await;
        assert_eq!(probe.dropped.count(), 0);
    }
    let mut calls = one.fan_out::<Probe>([2_u64]).begin(&Hang).expect("encoded");
    calls.add(3_u64);
    let begun = zip(nodes[1].1.begun.reaches(2), nodes[2].1.begun.reaches(2));
    or(async { drop(calls.next().await) }, async {
        let ((), ()) = begun.await;
    })
    .await;
    assert_eq!(calls.open(), 2);
    drop(calls);
    nodes[1].1.dropped.reaches(1).await;
    nodes[2].1.dropped.reaches(1).await;

    let all = one.select(Consistency::All).expect("the other three");
    let echoed =
        one.fan_out::<Probe>(all).first(3, &Echo { text: "x".into() }).await.expect("all have it");
    let mut servers: Vec<u64> =
        echoed.iter().map(|(_, echoed)| echoed.server.to_native()).collect();
    servers.sort_unstable();
    assert_eq!(servers, [2, 3, 4]);
}

/// Passes the context of its call on to another member.
#[derive(rkyv::Archive, rkyv::Serialize)]
struct Relay {
    to: u64,
}

impl Message for Relay {
    type Reply = (String, u64);
    const NAME: &'static str = "relay";
}

struct Relays;

impl Service for Relays {
    const NAME: &'static str = "relays";
    fn methods(methods: &mut Methods<Self>) {
        methods.add::<Relay>();
    }
}

impl Handler<Relay> for Relays {
    async fn handle(&self, cx: &Context, relay: View<Relay>) -> Result<(String, u64), Status> {
        if relay.to == 0 {
            let trace = String::from_utf8_lossy(cx.headers().get(TRACEPARENT).unwrap_or_default());
            let millis = cx
                .remaining()
                .map_or(u64::MAX, |left| left.as_millis().try_into().unwrap_or(u64::MAX));
            return Ok((trace.into_owned(), millis));
        }
        // An hour is what it would like.
        let client = cx.client::<Relays>(relay.to.to_native()).timeout(Duration::from_secs(3_600));
        let told = client.call(&Relay { to: 0 }).await?;
        Ok((told.0.as_str().to_owned(), told.1.to_native()))
    }
}

/// To the last of a chain of calls: the trace, and what is left of the time.
pub async fn nested_calls_inherit_trace_and_deadline(host: &dyn Host) {
    let nodes = cluster(host, 3).await;
    for (node, _) in &nodes {
        node.add_service(Relays).expect("added");
    }
    let trace = TraceContext::new(0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c, 0xb7ad_6b71, true)
        .expect("not 0");
    let client = nodes[0].0.client::<Relays>(2).timeout(PATIENCE);
    let told = client.clone().traced(trace).call(&Relay { to: 3 }).await.expect("answered");
    let arrived = TraceContext::parse(told.0.as_bytes()).expect("a context");
    assert_eq!(arrived.trace_id(), trace.trace_id());
    assert!(u128::from(told.1.to_native()) <= PATIENCE.as_millis(), "{} ms", told.1);
    let untraced = client.call(&Relay { to: 3 }).await.expect("answered");
    assert_eq!(untraced.0, "", "nobody wants spans, so nothing is sent");
}

/// Two calls share a slot for a moment when the first one ends before anybody has looked: neither
/// takes the other's end.
pub async fn a_slot_that_is_used_again_keeps_calls_apart(host: &dyn Host) {
    let one = start(host, 1, &[]).await;
    let two = start_narrow(host, 2, &[&one], 1).await;
    two.add_service(Probe::default()).expect("added");
    sees(&one, 1).await;
    assert_eq!(echo(&one, 2).await, Ok((1, 2)));
    for _ in 0..50 {
        // It ends as it is made, in the only slot there is, which the second call takes in the same
        // breath.
        let late = one.client::<Probe>(2).timeout(Duration::ZERO);
        let ended = async { late.call(&Echo { text: String::new() }).await.map(drop) };
        let (late, echoed) = zip(ended, echo(&one, 2)).await;
        assert_eq!(late.expect_err("no time").code, Code::DeadlineExceeded);
        assert_eq!(echoed, Ok((1, 2)));
    }
}
