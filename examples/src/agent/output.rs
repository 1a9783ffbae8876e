//! [`Output`]: what the agent says, as JSON or in words.

use std::fmt::Write as _;
use std::io::Stdout;
use std::sync::Arc;

use blocking::Unblock;
use chinwag::protocol::time::Instant;
use chinwag::runtime::Runtime;
use chinwag::{Event, Member, Node, Watch};
use futures_lite::io::AsyncWriteExt as _;
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;

/// Lines on stdout. A reader that stalls holds up the line that is being written and nothing else;
/// one that is gone is written to in vain, and the node goes on.
pub(crate) struct Output {
    is_json: bool,
    runtime: Arc<dyn Runtime>,
    started: Instant,
    stdout: Mutex<Unblock<Stdout>>,
}

impl Output {
    pub(super) fn new(is_json: bool, runtime: Arc<dyn Runtime>) -> Self {
        let started = runtime.now().mono;
        Self { is_json, runtime, started, stdout: Mutex::new(Unblock::new(std::io::stdout())) }
    }

    /// Says one object in one line; in words, what it lists follows in lines of their own.
    pub(super) async fn say(&self, object: &Value) {
        let mut text = if self.is_json { object.to_string() } else { in_words(object) };
        text.push('\n');
        let mut stdout = self.stdout.lock().await;
        if stdout.write_all(text.as_bytes()).await.is_ok() {
            let _ = stdout.flush().await;
        }
    }

    pub(super) async fn listening(&self, node: &Node) {
        let addr = node.local_addr().to_string();
        self.event(
            "listening",
            json!({ "addr": addr, "id": node.id().get(), "epoch": node.epoch().get() }),
        )
        .await;
    }

    pub(crate) async fn event(&self, name: &str, fields: Value) {
        let mut object = json!({ "at_ms": self.at_ms(), "event": name });
        if let (Value::Object(object), Value::Object(mut fields)) = (&mut object, fields) {
            object.append(&mut fields);
        }
        self.say(&object).await;
    }

    fn at_ms(&self) -> u64 {
        u64::try_from(self.runtime.now().mono.since(self.started).as_millis()).unwrap_or(u64::MAX)
    }
}

/// Says what happens, until the node ends.
pub(super) async fn report(mut watch: Watch, output: Arc<Output>) {
    // Who was there before the watch began has joined, too.
    let members = watch.members().clone();
    for member in members.members() {
        output.event("joined", member_event(member)).await;
    }
    while let Some(event) = watch.next().await {
        let name = event.name();
        let fields = match event {
            Event::Conflict { id, known, other } => {
                json!({ "id": id.get(), "known": known.to_string(), "other": other.to_string() })
            }
            Event::Waiting { addr } => json!({ "addr": addr.to_string() }),
            Event::Isolated => json!({}),
            Event::ForeignCluster { from, cluster } => {
                json!({ "addr": from.to_string(), "cluster": cluster.as_deref() })
            }
            Event::Lost(count) => json!({ "count": count }),
            Event::Broadcast { from, payload } | Event::Message { from, payload } => {
                json!({ "from": from.get(), "text": String::from_utf8_lossy(&payload) })
            }
            // What is left is of a member, but for the end of a leave: `leave` is answered when it
            // is done.
            event => match event.member() {
                Some(member) => member_event(member),
                None => continue,
            },
        };
        output.event(name, fields).await;
    }
}

fn member_event(member: &Member) -> Value {
    json!({
        "id": member.id.get(),
        "epoch": member.epoch.get(),
        "incarnation": member.incarnation.get(),
        "addr": member.addr.to_string(),
        "data_center": member.metadata.data_center(),
    })
}

/// `at_ms` and the name of the event or reply, then the fields; objects in a list each on a line of
/// its own.
fn in_words(object: &Value) -> String {
    let Value::Object(fields) = object else { return object.to_string() };
    let mut text = String::new();
    // Writing to a string cannot fail.
    match fields.get("at_ms").and_then(Value::as_u64) {
        Some(at) => _ = write!(text, "{:>5}.{:03} s  ", at / 1_000, at % 1_000),
        None => text.push_str("  "),
    }
    let name = fields
        .get("event")
        .or_else(|| fields.get("reply"))
        .and_then(Value::as_str)
        .unwrap_or_default();
    text.push_str(name);
    text.push_str(&in_line(fields, "  "));
    for (key, listed) in fields {
        for object in listed.as_array().into_iter().flatten().filter_map(Value::as_object) {
            _ = write!(text, "\n    {key}:{}", in_line(object, "  "));
        }
    }
    text
}

/// Each field after a `gap`, but for those that head the line; an object's in braces.
fn in_line(fields: &Map<String, Value>, gap: &str) -> String {
    let mut text = String::new();
    for (key, value) in
        fields.iter().filter(|(key, _)| !matches!(key.as_str(), "at_ms" | "event" | "reply"))
    {
        match value {
            Value::String(value) => _ = write!(text, "{gap}{key}={value}"),
            Value::Object(fields) => {
                _ = write!(text, "{gap}{key}={{{}}}", in_line(fields, " ").trim());
            }
            Value::Array(listed) if listed.iter().any(Value::is_object) => {}
            value => _ = write!(text, "{gap}{key}={value}"),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_in_words_starts_with_its_time_and_name() {
        let event = json!({ "at_ms": 1_042, "event": "joined", "id": 2, "addr": "127.0.0.1:1", "data_center": "eu" });
        assert_eq!(in_words(&event), "    1.042 s  joined  id=2  addr=127.0.0.1:1  data_center=eu");
    }

    #[test]
    fn what_an_answer_lists_follows_in_lines_of_their_own() {
        let member = json!({ "id": 2, "metadata": { "dc": "eu", "role": "db" } });
        let answer = json!({ "reply": "members", "version": 3, "members": [member, { "id": 3 }], "ids": [1, 2] });
        let expected = "  members  version=3  ids=[1,2]\n    members:  id=2  metadata={dc=eu role=db}\n    members:  id=3";
        assert_eq!(in_words(&answer), expected);
    }
}
