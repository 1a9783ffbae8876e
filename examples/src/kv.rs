//! One node of a replicated store as a process: an [`agent`](crate::agent) with the store
//! extension.
//!
//! ```text
//! kv --id N --listen ADDR [--seed HOST:PORT]... [--data FILE] [..as an agent]
//! ```
//!
//! With `--data` the documents are in that file and survive the process, whatever its end; without
//! it they are in memory. It says what an agent says, then `opened`, with `documents` and
//! `tombstones`: what was there already. Besides the agent's commands it knows these, each answered
//! by one line:
//!
//! | command | fields of the answer |
//! |---|---|
//! | `put KEY TEXT` | `replicas`: how many have it; `version` |
//! | `get KEY` | `text`, null if there is none |
//! | `delete KEY` | as `put` |
//! | `fill COUNT` | writes so many documents, `fill-0` and on; `replicas` of the last batch |
//! | `at LEVEL` | `level` for what follows: at first `quorum`. `none` is this replica alone |
//! | `contents` | `documents`, `tombstones`, `digest`: the same on two replicas if they hold the same; `replicas`: ids of the other live ones |
//!
//! One that failed has `error`; of a write also `kept`: `no`, `yes` or `maybe`.

mod commands;
pub mod story;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use chinwag::Node;
use chinwag_store::{MemoryStorage, RedbError, RedbStorage, Storage, Store, StoreExtension};
use clap::Parser;
use serde_json::json;

use crate::agent::args::{Args, parsed};
use crate::agent::output::Output;
use crate::agent::run;
use commands::Commands;

/// Entries looked at in one step.
const PAGE_LEN: usize = 1_024;

/// One node of a replicated store, as a process.
///
/// Takes commands as lines on stdin: put KEY TEXT, get KEY, delete KEY, fill COUNT, at LEVEL,
/// contents, and those of an agent. With `--demo`, three of them tell a story.
#[derive(Debug, Parser)]
#[command(name = "kv")]
struct NodeArgs {
    #[command(flatten)]
    agent: Args,
    /// Where the documents are kept; without it, in memory
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
}

/// The node with these arguments, the program's own name first. Returns when it has ended.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let NodeArgs { agent, data } = match parsed(NodeArgs::try_parse_from(args)) {
        Ok(args) => args,
        Err(exit) => return exit,
    };
    run(agent, async |node: &Node, output: &Output| {
        let (store, held) = open(node, data).await?;
        output
            .event("opened", json!({ "documents": held.documents, "tombstones": held.tombstones }))
            .await;
        let commands = Commands::new(store)?;
        Ok(async move |line: &str| commands.answer(line).await)
    })
}

/// What a storage held before its node told anybody that it has a store.
#[derive(Default)]
struct Held {
    documents: u64,
    tombstones: u64,
}

async fn open(node: &Node, data: Option<PathBuf>) -> Result<(Store, Held), String> {
    let (extension, held) = match data {
        Some(file) => {
            let cannot = |error: RedbError| format!("cannot open {}: {error}", file.display());
            let storage = RedbStorage::open(&file).await.map_err(cannot)?;
            let held = held(&storage).await.map_err(cannot)?;
            (StoreExtension::new(storage), held)
        }
        None => (StoreExtension::new(MemoryStorage::new()), Held::default()),
    };
    let store = node.add_extension(extension).await.map_err(|error| error.to_string())?;
    Ok((store, held))
}

async fn held<S: Storage>(storage: &S) -> Result<Held, S::Error> {
    let mut held = Held::default();
    let mut after = None;
    loop {
        let page = storage.scan(commands::KEYSPACE, after.as_ref(), PAGE_LEN).await?;
        let tombstones = page.iter().filter(|entry| entry.is_tombstone).count();
        held.tombstones += tombstones as u64;
        held.documents += (page.len() - tombstones) as u64;
        match page.last() {
            Some(last) if page.len() == PAGE_LEN => after = Some(last.key.clone()),
            _ => return Ok(held),
        }
    }
}
