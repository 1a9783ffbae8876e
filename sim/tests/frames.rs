//! The trace and the timeline name the RPC frames of a failing story.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};

use chinwag::{Context, Handler, Message, Methods, Node, Service, Status, View};
use chinwag_sim::run::{Level, Scenario, run};
use chinwag_sim::trace::frames::{Frame, Kind};
use chinwag_sim::trace::record::What;
use chinwag_sim::{World, check, millis, secs};
use serde_json::Value;

/// A register that forgets what was put while it is busy.
#[derive(Clone, Default)]
struct Register {
    text: Arc<Mutex<String>>,
}

#[derive(rkyv::Archive, rkyv::Serialize)]
struct Put {
    text: String,
}

#[derive(rkyv::Archive, rkyv::Serialize)]
struct Get;

impl Message for Put {
    type Reply = u32;
    const NAME: &'static str = "put";
}

impl Message for Get {
    type Reply = String;
    const NAME: &'static str = "get";
}

impl Service for Register {
    const NAME: &'static str = "register";
    fn methods(methods: &mut Methods<Self>) {
        methods.add::<Put>();
        methods.add::<Get>();
    }
}

impl Handler<Put> for Register {
    async fn handle(&self, cx: &Context, put: View<Put>) -> Result<u32, Status> {
        if let Some(node) = cx.node() {
            node.sleep(millis(5)).await;
        }
        put.text.as_str().clone_into(&mut self.text.lock().expect("whole"));
        Ok(put.text.len().try_into().unwrap_or(u32::MAX))
    }
}

impl Handler<Get> for Register {
    async fn handle(&self, _: &Context, _: View<Get>) -> Result<String, Status> {
        Ok(self.text.lock().expect("whole").clone())
    }
}

async fn the_last_put_is_read(world: World) {
    let nodes = world.cluster(3, |node: &Node| node.add_service(Register::default())).await;
    world.now_goes_wrong().lasting(secs(2)).delay(millis(20), millis(50));
    let (one, other) = (nodes[1].client::<Register>(1), nodes[2].client::<Register>(1));
    let slow = nodes[2].clone();
    let task = async move {
        slow.sleep(millis(30)).await;
        // A body of several payloads.
        _ = other.call(&Put { text: "b".repeat(100_000) }).await;
    };
    nodes[2].spawn(task);
    for _ in 0..20 {
        one.call(&Put { text: "a".into() }).await.expect("put");
        let read = one.call(&Get).await.expect("got");
        assert!(*read == *"a", "another text was read");
    }
}

#[test]
fn a_failing_story_shows_which_call_did_what() {
    let failed = std::panic::catch_unwind(|| check(0..20, the_last_put_is_read));
    let panic = failed.expect_err("the story fails");
    let text = panic.downcast_ref::<String>().expect("words");
    assert!(text.contains("another text was read"), "{text}");
    let page = text.lines().find_map(|line| line.trim().strip_prefix("look at it in: "));
    let page = Path::new(page.expect("a timeline"));
    let trace = std::fs::read_to_string(page.with_file_name("trace.jsonl")).expect("a trace");
    let mut ends: BTreeMap<(u64, u64, u64), Vec<String>> = BTreeMap::new();
    for line in trace.lines() {
        let record: Value = serde_json::from_str(line).expect("JSON");
        for frame in record["frames"].as_array().into_iter().flatten() {
            let call = ["connection", "caller", "call"].map(|name| frame[name].as_u64());
            let [Some(connection), Some(caller), Some(call)] = call else { continue };
            let (kind, method) = (frame["frame"].as_str(), frame["method"].as_str());
            let words = format!("{} {}", kind.expect("a kind"), method.expect("a method"));
            ends.entry((connection, caller, call)).or_default().push(words);
        }
    }
    let whole = |method: &str| {
        let of = |frames: &&Vec<String>, kind: &str| frames.contains(&format!("{kind} {method}"));
        ends.values().filter(|frames| of(frames, "request") && of(frames, "answer")).count()
    };
    assert!(whole("register.put") > 0 && whole("register.get") > 0, "{ends:?}");
    assert!(ends.values().all(|frames| frames[0].starts_with("request ")), "{ends:?}");
    let page = std::fs::read_to_string(page).expect("a page");
    assert!(page.contains(r#""methods":["register."#), "the page has the names");
}

/// The standard workload has every kind of call: long bodies in fragments, chunks both ways, calls
/// that are given up. What is read from the bytes has to fit together.
#[test]
fn the_frames_of_the_standard_workload_fit_together() {
    let span = 20_000_000_000;
    let scenario =
        Scenario { level: Level::Node, traces: true, span, seed: 3, ..Scenario::default() };
    let outcome = run(&scenario);
    assert_eq!(outcome.failure, None);
    let mut kinds = BTreeSet::new();
    let mut asked = BTreeSet::new();
    let mut answered = 0;
    let sends = outcome.trace.iter().filter_map(|record| match &record.what {
        What::Send { frames, .. } => Some(frames),
        _ => None,
    });
    for Frame { frame, method, call, caller, connection, .. } in sends.flatten() {
        kinds.insert(format!("{frame:?}"));
        let call = (*connection, *caller, *call);
        match frame {
            Kind::Request => {
                assert!(method.is_some(), "a request without a name");
                asked.insert(call);
            }
            Kind::Answer => {
                assert!(asked.contains(&call), "an answer to no request: {call:?}");
                assert!(method.is_some(), "an answer without a name");
                answered += 1;
            }
            Kind::Unknown => panic!("the bytes were read wrongly"),
            _ => {}
        }
    }
    let calls = outcome.calls.expect("there is a workload");
    assert!(answered > calls.answered / 2, "{answered} answers were seen, {calls:?}");
    for kind in ["Hello", "Name", "OneWay", "Chunk", "Fragment", "Credit", "Gossip", "Cancel"] {
        assert!(kinds.contains(kind), "{kind} is not in {kinds:?}");
    }
}
