//! One node as a process: its events are lines on stdout, its commands lines on stdin.
//!
//! ```text
//! agent --id N --listen ADDR [--seed HOST:PORT]... [--cluster NAME] [--data-center DC] [--meta K=V]...
//!       [--preset local|lan|wan] [--json]
//! ```
//!
//! SIGTERM (and ctrl-C) leaves the cluster in good order and exits with 0; a second one does not wait for the leave. The end of
//! stdin ends nothing. A bad argument exits with 2, a node that cannot start with 1, each after one line on stderr.
//!
//! # Lines with `--json`
//!
//! Each is one object. The first is `listening`, with the port that was bound, the id and the epoch of this run. `at_ms` is
//! in milliseconds since the process started.
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
//! Each line is answered with one object, in order. `reply` names the command; one that failed has `error` instead of its fields.
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
//! | `leave` | `acked`, `needed`; then the process exits with 0 |
//!
//! Without `--json` the same is told in words.

mod args;
mod commands;
mod echo;
mod output;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use chinwag_tokio::{Node, StartError, Watch};
use tokio::time::Instant;

use args::Args;
use commands::Ended;
use echo::Echo;
use output::Output;

/// Events that the end itself causes have this long to get out: a reader that has stalled must not keep the process.
const LAST_LINES_TIMEOUT: Duration = Duration::from_secs(1);

/// The agent with these arguments, the program's own name first. Returns when it has ended.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let started = Instant::now();
    let args = match Args::parse(args) {
        Ok(args) => args,
        Err(exit) => return exit,
    };
    // One thread is plenty for one node.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&format!("cannot start a runtime: {error}")),
    };
    let ended = runtime.block_on(run(args, started));
    // A thread may be reading stdin, which nothing but stdin can end.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => failed(&reason),
    }
}

fn failed(reason: &str) -> ExitCode {
    // Without a stderr the exit code has to do.
    let _ = writeln!(io::stderr(), "error: {reason}");
    ExitCode::FAILURE
}

async fn run(args: Args, started: Instant) -> Result<(), String> {
    let mut termination =
        Termination::new().map_err(|error| format!("cannot listen for signals: {error}"))?;
    let output = Arc::new(Output::new(args.json, started));
    let is_tethered = args.tethered;
    let (node, watch) = start(args).await?;
    output.listening(&node).await;
    let events = tokio::spawn(output::report(watch, output.clone()));

    let ended = tokio::select! {
        ended = commands::serve(&node, &output, is_tethered) => ended,
        () = termination.wait() => Ended::Asked,
    };
    if ended == Ended::Asked {
        tokio::select! {
            // In good order or not, this is the end.
            _ = node.leave() => {}
            () = termination.wait() => {}
        }
    }
    node.shutdown().await;
    // The node's end is the watch's.
    let _ = tokio::time::timeout(LAST_LINES_TIMEOUT, events).await;
    Ok(())
}

/// The node, and a watch that misses nothing: conflicts and broadcasts are in no view, and told but once.
async fn start(args: Args) -> Result<(Node, Watch), String> {
    let mut builder = Node::builder(args.id, args.listen)
        .cluster(args.cluster)
        .config(args.preset.config())
        .seeds(args.seeds);
    for (key, value) in &args.metadata {
        builder = builder.metadata_entry(key, value);
    }
    if let Some(name) = &args.data_center {
        builder = builder.data_center(name);
    }
    let (node, watch) = builder.start_watched().await.map_err(|error| match error {
        StartError::NoAddress(addr) => {
            format!("cannot listen on {addr}: others would not know where this node is; name one address of this machine")
        }
        error => error.to_string(),
    })?;
    node.add_service(Echo::new(node.clock())).map_err(|error| error.to_string())?;
    Ok((node, watch))
}

/// The wish of the system or the user that the process ends, heard from the moment this is made.
struct Termination {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Termination {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[cfg(not(unix))]
impl Termination {
    fn new() -> io::Result<Self> {
        Ok(Self {})
    }

    async fn wait(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }
}
