//! What an agent can be asked on stdin: [`Command`], and [`serve`], which answers.

use std::fmt;
use std::future::pending;
use std::io::Stdin;

use blocking::Unblock;
use chinwag::{Consistency, Member, Metadata, Node, NodeId, Timestamp};
use futures_lite::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use serde_json::{Map, Value, json};

use super::args::pair;
use super::echo::{Echo, Say};
use super::keys::{self, KeyCommand};
use super::output::Output;

/// Bytes of one command at most: the longest text that a call can carry at its default limits is
/// shorter.
const LINE_LEN_MAX: u64 = 1 << 24;

/// Why [`serve`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The node shall leave, or has left.
    Asked,
    /// Stdin has ended, and with it whoever started this agent.
    Untethered,
}

/// Answers commands one by one until one is `leave`, or stdin ends and the agent is tied to it.
/// `more` is asked first.
pub(super) async fn serve(
    node: &Node,
    output: &Output,
    is_tethered: bool,
    more: impl AsyncFn(&str) -> Option<Value>,
) -> Ended {
    let mut stdin = BufReader::new(Unblock::new(std::io::stdin()));
    while let Some(line) = next_line(&mut stdin).await {
        if let Ok(line) = &line
            && let Some(answer) = more(line).await
        {
            output.say(&answer).await;
            continue;
        }
        let command = line.and_then(|line| Command::parse(&line));
        let answer = match &command {
            Ok(command) => answer(node, command).await,
            Err(answer) => answer.clone(),
        };
        output.say(&answer).await;
        if matches!(command, Ok(Command::Leave)) {
            return Ended::Asked;
        }
    }
    if is_tethered { Ended::Untethered } else { pending().await }
}

/// The next line, `None` at the end of stdin. One that is too long is skipped, and an error.
async fn next_line(stdin: &mut BufReader<Unblock<Stdin>>) -> Option<Result<String, Value>> {
    let mut line = Vec::new();
    let mut is_too_long = false;
    loop {
        // An unreadable stdin is as good as one that has ended.
        let len = (&mut *stdin).take(LINE_LEN_MAX).read_until(b'\n', &mut line).await.ok()?;
        if len == 0 && line.is_empty() && !is_too_long {
            return None;
        }
        if line.last() != Some(&b'\n') && line.len() as u64 >= LINE_LEN_MAX {
            is_too_long = true;
            line.clear();
            continue;
        }
        if is_too_long {
            return Some(Err(failure("", format!("a command is at most {LINE_LEN_MAX} bytes"))));
        }
        return Some(Ok(String::from_utf8_lossy(&line).trim_ascii().to_owned()));
    }
}

/// All there are.
const COMMANDS: &str = "commands: members, call ID TEXT, select LEVEL, set K=V, broadcast TEXT, \
    now, stats, keys, install FILE, use KEY, remove KEY, require, leave";

#[derive(Clone, Debug, PartialEq, Eq)]
enum Command {
    Members,
    Call { id: NodeId, text: String },
    Select(Consistency),
    Set { key: String, value: String },
    Broadcast(String),
    Now,
    Stats,
    Keys(KeyCommand),
    Leave,
}

impl Command {
    /// The command a line is, or the answer that says why it is none.
    fn parse(line: &str) -> Result<Self, Value> {
        let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
        let alone = |command| {
            if rest.is_empty() { Ok(command) } else { Err(format!("`{name}` stands alone")) }
        };
        let command = match name {
            "members" => alone(Self::Members),
            "call" => {
                let (id, text) = rest.split_once(' ').unwrap_or((rest, ""));
                let id =
                    id.parse::<u64>().map_err(|_| "call ID TEXT, and an id is a number".to_owned());
                id.map(|id| Self::Call { id: id.into(), text: text.to_owned() })
            }
            "select" => level(rest).map(Self::Select),
            "set" => match pair(rest) {
                Ok((key, value)) => Ok(Self::Set { key, value }),
                Err(reason) => Err(reason.to_owned()),
            },
            "broadcast" => Ok(Self::Broadcast(rest.to_owned())),
            "now" => alone(Self::Now),
            "stats" => alone(Self::Stats),
            "leave" => alone(Self::Leave),
            _ => match KeyCommand::parse(name, rest) {
                Some(command) => command.map(Self::Keys),
                None => Err(COMMANDS.to_owned()),
            },
        };
        command.map_err(|reason| failure(name, reason))
    }
}

/// A level by its name in any case, its words apart or not.
pub(crate) fn level(name: &str) -> Result<Consistency, String> {
    let is_named = |level: &Consistency| {
        name.replace(['-', '_'], "").eq_ignore_ascii_case(&format!("{level:?}"))
    };
    let unknown =
        || "levels: none, one, two, three, quorum, local-quorum, each-quorum, all".to_owned();
    Consistency::EVERY.into_iter().find(is_named).ok_or_else(unknown)
}

async fn answer(node: &Node, command: &Command) -> Value {
    match command {
        Command::Members => members(node),
        Command::Call { id, text } => call(node, *id, text).await,
        Command::Select(level) => select(node, *level),
        Command::Set { key, value } => set(node, key, value),
        Command::Broadcast(text) => match node.broadcast(text.as_bytes()) {
            Ok(()) => json!({ "reply": "broadcast", "bytes": text.len() }),
            Err(error) => failure("broadcast", error),
        },
        Command::Now => {
            let now = node.clock().now();
            json!({ "reply": "now", "stamp": now.to_string(), "micros": now.micros(), "counter": now.counter() })
        }
        Command::Stats => stats(node),
        Command::Keys(command) => keys::answer(node, command),
        Command::Leave => match node.leave().await {
            Ok(report) => {
                json!({ "reply": "leave", "acked": report.acked, "needed": report.needed })
            }
            Err(error) => failure("leave", error),
        },
    }
}

pub(crate) fn failure(command: &str, reason: impl fmt::Display) -> Value {
    json!({ "reply": command, "error": reason.to_string() })
}

fn members(node: &Node) -> Value {
    let view = node.members();
    let members: Vec<_> = view.members().iter().map(member).collect();
    json!({ "reply": "members", "version": view.version(), "local": member(view.local()), "members": members })
}

fn member(member: &Member) -> Value {
    json!({
        "id": member.id.get(),
        "epoch": member.epoch.get(),
        "incarnation": member.incarnation.get(),
        "state": member.state.name(),
        "addr": member.addr.to_string(),
        "data_center": member.metadata.data_center(),
        "metadata": pairs(&member.metadata),
    })
}

fn pairs(metadata: &Metadata) -> Value {
    metadata.iter().collect()
}

async fn call(node: &Node, id: NodeId, text: &str) -> Value {
    let before = node.clock().now();
    let begun = node.now().mono;
    let said = node.client::<Echo>(id).call(&Say { text: text.to_owned() }).await;
    let round_trip = node.now().mono.since(begun);
    match said {
        Ok(said) => json!({
            "reply": "call",
            "id": id.get(),
            "text": said.text.as_str(),
            "round_trip_us": u64::try_from(round_trip.as_micros()).unwrap_or(u64::MAX),
            "stamps": {
                "before": before.to_string(),
                "there": Timestamp::from_raw(said.stamp.to_native()).to_string(),
                "after": node.clock().now().to_string(),
            },
        }),
        Err(status) => json!({ "reply": "call", "id": id.get(), "error": status.to_string() }),
    }
}

fn select(node: &Node, level: Consistency) -> Value {
    match node.select(level) {
        Ok(picks) => {
            let ids: Vec<_> = picks.iter().map(|id| id.get()).collect();
            json!({ "reply": "select", "level": format!("{level:?}"), "members": ids })
        }
        Err(error) => {
            json!({ "reply": "select", "level": format!("{level:?}"), "error": error.to_string() })
        }
    }
}

fn set(node: &Node, key: &str, value: &str) -> Value {
    let metadata = node.members().local().metadata.clone();
    let metadata =
        if value.is_empty() { Ok(metadata.without(key)) } else { metadata.with(key, value) };
    match metadata.and_then(|metadata| node.set_metadata(metadata.clone()).map(|()| metadata)) {
        Ok(metadata) => json!({ "reply": "set", "metadata": pairs(&metadata) }),
        Err(error) => failure("set", error),
    }
}

/// An object of the named fields of a struct, after `first` ones.
macro_rules! fields {
    ($first:expr, $of:expr, $($name:ident)*) => {{
        let mut fields: Map<String, Value> = $first;
        $(fields.insert(stringify!($name).to_owned(), $of.$name.into());)*
        Value::Object(fields)
    }};
}

fn stats(node: &Node) -> Value {
    let stats = node.stats();
    let name = Map::from_iter([("reply".to_owned(), "stats".into())]);
    let mut answer = fields!(name, stats,
        connections dialed dials_failed accepted connections_refused accepts_failed calls_out calls_in
        handlers_spawned gossip_shed datagrams_unsent);
    answer["membership"] = fields!(Map::new(), stats.membership,
        datagrams_out datagram_bytes_out datagrams_in datagram_bytes_in streams_out stream_bytes_out streams_in
        stream_bytes_in malformed foreign_version foreign_cluster misdirected unknown_kind updates_applied
        updates_stale updates_refused stamps_refused probes probes_failed acks_unmatched refutations pauses syncs
        syncs_equal syncs_failed syncs_busy outbox_shed events_shed broadcasts_shed broadcasts_seen
        broadcasts_stale relays_refused tombstones_forgotten);
    answer
}

#[cfg(test)]
mod tests;
