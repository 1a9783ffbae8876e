//! One node as a process: its events are lines on stdout, its commands lines on stdin.
//!
//! ```text
//! agent --id N --listen ADDR [--seed HOST:PORT]... [--cluster NAME] [--data-center DC]
//!       [--secret FILE [--transitional] [--cert FILE --key FILE --ca FILE [--domain DOMAIN]]]
//!       [--meta K=V]...
//!       [--preset local|lan|wan] [--runtime tokio|smol|async-std] [--json]
//! agent --generate-secret FILE
//! ```
//!
//! The second one writes a new secret, for `--secret` on every node, and exits.
//!
//! SIGTERM (and ctrl-C) leaves the cluster in good order and exits with 0; a second one does not
//! wait for the leave. The end of stdin ends nothing. What a node is told and says is the same on
//! every runtime, and so is this program: only [`runtime`](crate::runtime) names them. A bad
//! argument exits with 2, a node that cannot start with 1, each after one line on stderr.
//!
//! # Lines with `--json`
//!
//! Each is one object. The first is `listening`, with the port that was bound, the id and the epoch
//! of this run. `at_ms` is in milliseconds since the process started.
//!
//! ```json
//! {"at_ms":2,"event":"listening","addr":"127.0.0.1:8001","id":1,"epoch":1785000000000}
//! {"at_ms":9,"event":"joined","id":2,"epoch":1785000000007,"incarnation":0,"addr":"127.0.0.1:8002","data_center":"eu-west"}
//! ```
//!
//! | `event` | further fields |
//! |---|---|
//! | `joined`, `suspected`, `recovered`, `died`, `left`, `updated` | `id`, `epoch`, `incarnation`, `addr`, `data_center`: the member as it is after the change |
//! | `conflict` | `id`, and the `addr` of the other claimant |
//! | `isolated` | |
//! | `foreign` | `addr`, `cluster`: a node of another cluster talks to this one, or was talked to; a null name was not told |
//! | `lost` | `count`: events shed because nobody read stdout |
//! | `broadcast`, `message` | `from`, `text` |
//!
//! # Commands
//!
//! Each line is answered with one object, in order. `reply` names the command; one that failed has
//! `error` instead of its fields.
//!
//! | command | fields of the answer |
//! |---|---|
//! | `members` | `version`; `local` and each of `members`: `id`, `epoch`, `incarnation`, `state`, `addr`, `data_center`, `metadata` |
//! | `call ID TEXT` | `id`, `text` as the member echoed it, `round_trip_us`, `stamps`: before the call here, at the member, after it here |
//! | `select LEVEL` | `level`, `members`: ids. Levels: `none one two three quorum local-quorum each-quorum all` |
//! | `set K=V` | `metadata`, now; an empty `V` removes `K` |
//! | `broadcast TEXT` | `bytes` |
//! | `now` | `stamp`: `micros.counter`, later ones sorting later as text; `micros`, `counter` |
//! | `stats` | what the node has counted; `membership`: what its membership machine has |
//! | `keys`, `install FILE`, `use KEY`, `remove KEY`, `require` | `in_use`, `keys`, `is_transitional`, `peers`: `id`, `key`; `in_clear`: ids |
//! | `leave` | `acked`, `needed`; then the process exits with 0 |
//!
//! Without `--json` the same is told in words.

pub(crate) mod args;
pub(crate) mod commands;
mod echo;
mod greeter;
mod keys;
pub(crate) mod output;

use std::ffi::OsString;
use std::future::Future;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use async_channel::Receiver;
use chinwag::{Certificates, Node, Runtime, Secret, SecurityMode, StartError, Watch};
use futures_lite::future::or;
use serde_json::Value;

use args::{Args, Generate};
use commands::Ended;
use echo::Echo;
use greeter::Greeter;
use output::Output;

/// Events that the end itself causes have this long to get out: a reader that has stalled must not
/// keep the process.
const LAST_LINES_TIMEOUT: Duration = Duration::from_secs(1);

/// The agent with these arguments, the program's own name first. Returns when it has ended.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    match Generate::parse(&args) {
        Some(Ok(Generate { generate_secret })) => {
            let written = Secret::generate().and_then(|secret| secret.write_new(generate_secret));
            return written.map_or_else(|error| failed(&error.to_string()), |()| ExitCode::SUCCESS);
        }
        Some(Err(exit)) => return exit,
        None => {}
    }
    let args = match Args::parse(args) {
        Ok(args) => args,
        Err(exit) => return exit,
    };
    // It has no commands but its own.
    run(args, async |_, _| Ok(async |_: &str| None))
}

/// An agent to which `begin` adds something once its node has started: it gives what answers lines
/// that the agent itself does not know.
pub(crate) fn run<M: AsyncFn(&str) -> Option<Value>>(
    args: Args,
    begin: impl AsyncFnOnce(&Node, &Output) -> Result<M, String>,
) -> ExitCode {
    match args.runtime.block_on(|runtime| live(args, runtime, begin)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(reason)) => failed(&reason),
        Err(error) => failed(&format!("cannot start a runtime: {error}")),
    }
}

fn failed(reason: &str) -> ExitCode {
    // Without a stderr the exit code has to do.
    let _ = writeln!(io::stderr(), "error: {reason}");
    ExitCode::FAILURE
}

async fn live<M: AsyncFn(&str) -> Option<Value>>(
    args: Args,
    runtime: Arc<dyn Runtime>,
    begin: impl AsyncFnOnce(&Node, &Output) -> Result<M, String>,
) -> Result<(), String> {
    let termination =
        termination().map_err(|error| format!("cannot listen for signals: {error}"))?;
    let is_asked = async || _ = termination.recv().await;
    let output = Arc::new(Output::new(args.json, runtime.clone()));
    let is_tethered = args.tethered;
    let (node, watch) = start(args, runtime.clone()).await?;
    output.listening(&node).await;
    let more = begin(&node, &output).await?;
    let reported = spawned(&*runtime, output::report(watch, output.clone()));

    let asked = async {
        is_asked().await;
        Ended::Asked
    };
    if or(commands::serve(&node, &output, is_tethered, more), asked).await == Ended::Asked {
        // In good order or not, this is the end.
        or(async { _ = node.leave().await }, is_asked()).await;
    }
    node.shutdown().await;
    // The node's end is the watch's.
    or(reported, node.sleep(LAST_LINES_TIMEOUT)).await;
    Ok(())
}

/// Runs `task` on the runtime, so that it can outlive the node. The returned future waits for its
/// end.
fn spawned(
    runtime: &dyn Runtime,
    task: impl Future<Output = ()> + Send + 'static,
) -> impl Future<Output = ()> {
    let (ends, ended) = async_channel::bounded::<()>(1);
    runtime.spawn(Box::pin(async move {
        task.await;
        drop(ends);
    }));
    async move { _ = ended.recv().await }
}

/// The node, and a watch that misses nothing: conflicts and broadcasts are in no view, and told but
/// once.
async fn start(args: Args, runtime: Arc<dyn Runtime>) -> Result<(Node, Watch), String> {
    let mut builder = Node::builder(args.id, args.listen)
        .cluster(args.cluster)
        .config(args.preset.config())
        .seeds(args.seeds);
    if let Some(file) = args.secret {
        builder = builder.secret(Secret::from_file(file).map_err(|error| error.to_string())?);
        if args.transitional {
            builder = builder.security(SecurityMode::Transitional);
        }
    }
    if let (Some(cert), Some(key), Some(ca)) = (args.cert, args.key, args.ca) {
        builder = builder.certificates(Certificates::new(args.domain, cert, key, ca));
    }
    for (key, value) in &args.metadata {
        builder = builder.metadata_entry(key, value);
    }
    if let Some(name) = &args.data_center {
        builder = builder.data_center(name);
    }
    let (node, watch) = builder.start_watched_on(runtime).await.map_err(|error| match error {
        StartError::NoAddress(addr) => {
            format!("cannot listen on {addr}: others would not know where this node is; name one address of this machine")
        }
        error => error.to_string(),
    })?;
    node.add_service(Echo::new(node.clock())).map_err(|error| error.to_string())?;
    node.add_service(Greeter).map_err(|error| error.to_string())?;
    Ok((node, watch))
}

/// The wish of the system or the user that the process ends, as often as it is said from now on.
fn termination() -> Result<Receiver<()>, ctrlc::Error> {
    let (asks, is_asked) = async_channel::unbounded();
    ctrlc::set_handler(move || _ = asks.try_send(()))?;
    Ok(is_asked)
}
