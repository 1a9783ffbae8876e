//! One node of a replicated store as a process: an [`agent`](crate::agent) with the store extension.
//!
//! ```text
//! kv --id N --listen ADDR [--seed HOST:PORT]... [--data FILE] [..as an agent]
//! ```
//!
//! With `--data` the documents are in that file and survive the process, whatever its end; without it they are in memory. It says what an agent says, then `opened`, with `documents` and
//! `tombstones`: what was there already. Besides the agent's commands it knows these, each answered by one line:
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
use chinwag_store::{MemoryStorage, RedbStorage, Store, StoreExtension};
use clap::Parser;
use serde_json::json;

use crate::agent::args::{Args as AgentArgs, parsed};
use crate::agent::output::Output;
use crate::agent::run;
use commands::Commands;

/// One node of a replicated store, as a process.
///
/// Takes commands as lines on stdin: put KEY TEXT, get KEY, delete KEY, fill COUNT, at LEVEL, contents, and those of an agent. With `--demo`, three of them tell a story.
#[derive(Debug, Parser)]
#[command(name = "kv")]
struct Args {
    #[command(flatten)]
    agent: AgentArgs,
    /// Where the documents are kept; without it, in memory
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
}

/// The node with these arguments, the program's own name first. Returns when it has ended.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let Args { agent, data } = match parsed(Args::try_parse_from(args)) {
        Ok(args) => args,
        Err(exit) => return exit,
    };
    run(agent, async |node: &Node, output: &Output| {
        let store = open(node, data).await?;
        let stats = store.stats();
        output.event("opened", json!({ "documents": stats.documents, "tombstones": stats.tombstones })).await;
        let commands = Commands::new(store)?;
        Ok(async move |line: &str| commands.answer(line).await)
    })
}

async fn open(node: &Node, data: Option<PathBuf>) -> Result<Store, String> {
    let extension = match data {
        Some(file) => {
            let name = file.display().to_string();
            let storage =
                RedbStorage::open(file).await.map_err(|error| format!("cannot open {name}: {error}"))?;
            StoreExtension::new(storage)
        }
        None => StoreExtension::new(MemoryStorage::new()),
    };
    node.add_extension(extension).await.map_err(|error| error.to_string())
}
