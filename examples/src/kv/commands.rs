//! [`Commands`]: what the store can be asked on stdin.

use std::sync::{Mutex, PoisonError};

use chinwag::Consistency;
use chinwag_store::{IsKept, Keyspace, Store, WriteError, Written, limits};
use serde_json::{Value, json};

use crate::agent::commands::{failure, level};

/// All of this program's documents are in one keyspace.
pub(super) const KEYSPACE: &str = "kv";
/// Documents of one `fill` at most.
const FILL_MAX: usize = 100_000;

pub(super) struct Commands {
    store: Store,
    keyspace: Keyspace,
    level: Mutex<Consistency>,
}

impl Commands {
    pub(super) fn new(store: Store) -> Result<Self, String> {
        let keyspace = store.keyspace(KEYSPACE).map_err(|error| error.to_string())?;
        Ok(Self { store, keyspace, level: Mutex::new(Consistency::Quorum) })
    }

    /// The answer to a line, if it is one for the store.
    pub(super) async fn answer(&self, line: &str) -> Option<Value> {
        let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
        let level = *self.level.lock().unwrap_or_else(PoisonError::into_inner);
        Some(match (name, rest.split_once(' ')) {
            ("put", Some((key, text))) => {
                written(name, self.keyspace.put(key, text.to_owned(), level).await)
            }
            ("put", None) => failure(name, "put KEY TEXT"),
            ("get", _) => match self.keyspace.get(rest, level).await {
                Ok(value) => {
                    let text = value.map(|value| String::from_utf8_lossy(&value).into_owned());
                    json!({ "reply": name, "text": text })
                }
                Err(error) => failure(name, error),
            },
            ("delete", _) => written(name, self.keyspace.delete(rest, level).await),
            ("fill", _) => self.fill(rest, level).await,
            ("at", _) => self.set_level(rest),
            ("contents", _) => self.contents(),
            _ => return None,
        })
    }

    async fn fill(&self, count: &str, level: Consistency) -> Value {
        let count = match count.parse::<usize>() {
            Ok(count) if (1..=FILL_MAX).contains(&count) => count,
            _ => return failure("fill", format!("fill COUNT, from 1 to {FILL_MAX}")),
        };
        let documents: Vec<(String, String)> = (0..count)
            .map(|at| (format!("fill-{at}"), format!("document {at} of {count}")))
            .collect();
        let mut last = Value::Null;
        for batch in documents.chunks(limits::BATCH_MAX) {
            let batch = batch.iter().map(|(key, text)| (key.as_str(), text.clone()));
            last = written("fill", self.keyspace.put_many(batch, level).await);
            if last.get("error").is_some() {
                break;
            }
        }
        last
    }

    fn set_level(&self, name: &str) -> Value {
        match level(name) {
            Ok(level) => {
                *self.level.lock().unwrap_or_else(PoisonError::into_inner) = level;
                json!({ "reply": "at", "level": format!("{level:?}") })
            }
            Err(reason) => failure("at", reason),
        }
    }

    fn contents(&self) -> Value {
        let stats = self.store.stats();
        let replicas: Vec<u64> = self.store.replicas().iter().map(|id| id.get()).collect();
        let digest = self.store.digests().into_iter().find(|(name, _)| name == KEYSPACE);
        json!({
            "reply": "contents",
            "documents": stats.documents,
            "tombstones": stats.tombstones,
            "digest": format!("{:016x}", digest.map_or(0, |(_, digest)| digest)),
            "replicas": replicas,
        })
    }
}

fn written(name: &str, result: Result<Written, WriteError>) -> Value {
    match result {
        Ok(written) => {
            json!({ "reply": name, "replicas": written.replicas, "version": written.version.to_string() })
        }
        Err(error) => {
            let kept = match error.is_kept() {
                IsKept::No => "no",
                IsKept::Yes => "yes",
                IsKept::Maybe => "maybe",
            };
            json!({ "reply": name, "error": error.to_string(), "kept": kept })
        }
    }
}
