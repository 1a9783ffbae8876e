//! Hedged calls over three replicas in one process, each of which pauses now and then.
//!
//! [`main`] starts them on tokio. The test runs the same story in the simulator, where no busy
//! machine lengthens a lookup.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chinwag_tokio::chinwag::Node;
use chinwag_tokio::{
    Code, Config, Context, Handler, Message, Methods, NodeId, Role, Service, Status, View,
};

/// How long a replica pauses: on the scale of a collection of garbage, or of a slow disk.
const PAUSE: Duration = Duration::from_millis(200);
/// A replica pauses at one key in so many. Each has its own, so that a second one asked for the
/// same key does not pause.
const PAUSE_EVERY: u64 = 20;
const LOOKUPS: u64 = 200;

/// Asks for what a key holds.
#[derive(rkyv::Archive, rkyv::Serialize)]
pub struct Lookup {
    /// The key.
    pub key: u64,
}

impl Message for Lookup {
    type Reply = u64;
    const NAME: &'static str = "lookup";
    /// Reading twice is as good as once, or it could not be hedged.
    const IDEMPOTENT: bool = true;
}

/// One of several that hold the same. Its clones are one.
#[derive(Clone, Default)]
pub struct Replica {
    abandoned: Arc<AtomicU64>,
}

impl Service for Replica {
    const NAME: &'static str = "replica";
    fn methods(methods: &mut Methods<Self>) {
        methods.add::<Lookup>();
    }
}

impl Handler<Lookup> for Replica {
    async fn handle(&self, cx: &Context, lookup: View<Lookup>) -> Result<u64, Status> {
        let node = cx.node().ok_or_else(|| Status::new(Code::Unavailable, "the node has ended"))?;
        if lookup.key % PAUSE_EVERY == node.id().get() {
            let waits = Abandoned(&self.abandoned);
            node.sleep(PAUSE).await;
            std::mem::forget(waits);
        }
        Ok(lookup.key * 2)
    }
}

/// Counts itself when it is dropped: when nobody waits for the answer any more.
struct Abandoned<'a>(&'a AtomicU64);

impl Drop for Abandoned<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Asks the first of `replicas`, and one more each time that `patience` passes without an answer,
/// or that one fails; gives the first answer that is well, and cancels the other calls.
///
/// # Errors
/// The last failure, when all have failed.
pub async fn hedged(
    node: &Node,
    replicas: &[NodeId],
    patience: Duration,
    message: &Lookup,
) -> Result<u64, Status> {
    let mut replicas = replicas.iter().copied();
    let mut calls = node.fan_out::<Replica>(replicas.next()).begin(message)?;
    let mut last = Status::unsent(Code::Unavailable, "there are no replicas");
    loop {
        tokio::select! {
            answer = calls.next() => match answer {
                Some((_, Ok(value))) => return Ok(value.to_native()),
                Some((_, Err(status))) => last = status,
                None => return Err(last),
            },
            () = node.sleep(patience) => {}
        }
        if let Some(replica) = replicas.next() {
            calls.add(replica);
        }
    }
}

/// Tells the story on stdout.
pub fn main() -> ExitCode {
    let told = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let told = told.map_err(Into::into).and_then(|runtime| {
        runtime.block_on(async {
            let (client, replicas) = cluster().await?;
            tell(&client, &replicas).await
        })
    });
    match told {
        Ok(()) => {
            line(format_args!("hedged: ok"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "hedged: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Tells the story of these nodes, all but its last line.
///
/// # Errors
/// What fell short.
pub async fn tell(
    client: &Node,
    replicas: &[(Node, Replica)],
) -> Result<(), Box<dyn std::error::Error>> {
    line(format_args!(
        "chinwag: three replicas, each pausing {PAUSE:?} at one key in {PAUSE_EVERY}.\n"
    ));
    let ids: Vec<NodeId> = replicas.iter().map(|(node, _)| node.id()).collect();

    let plain = measure(client, |key| {
        let (client, replica) = (client.clone(), ids[place(key, ids.len())]);
        async move {
            client.client::<Replica>(replica).call(&Lookup { key }).await.map(|v| v.to_native())
        }
    })
    .await?;
    report("plain", plain);

    // What nine in ten calls took, as the node has counted it; not less than a timer can tell
    // apart.
    let stats = client.stats();
    let taken = stats
        .method(Role::Outbound, Replica::NAME, <Lookup as Message>::NAME)
        .map(|m| m.latency.quantile(0.9));
    let patience = taken.unwrap_or_default().max(Duration::from_millis(5));
    line(format_args!("{:>8}  waits {patience:?} before it asks a second replica", "hedged"));

    let hedged = measure(client, |key| {
        let (client, mut ids) = (client.clone(), ids.clone());
        let first = place(key, ids.len());
        ids.rotate_left(first);
        async move { hedged(&client, &ids, patience, &Lookup { key }).await }
    })
    .await?;
    report("hedged", hedged);

    let abandoned: u64 =
        replicas.iter().map(|(_, replica)| replica.abandoned.load(Ordering::Relaxed)).sum();
    line(format_args!("{:>8}  {abandoned} handlers were dropped while they paused\n", ""));
    if plain.longest < PAUSE {
        return Err("no plain lookup met a pause, so nothing was shown".into());
    }
    if hedged.longest >= PAUSE {
        return Err(format!("a hedged lookup took {:?}", hedged.longest).into());
    }
    if abandoned == 0 {
        return Err("no handler felt that its call was cancelled".into());
    }
    Ok(())
}

async fn cluster() -> Result<(Node, Vec<(Node, Replica)>), Box<dyn std::error::Error>> {
    let client: Node = chinwag_tokio::Node::builder(1, "127.0.0.1:0".parse()?)
        .config(Config::local())
        .start()
        .await?
        .into_inner();
    let mut replicas = Vec::new();
    for id in 2..=4 {
        let node = chinwag_tokio::Node::builder(id, "127.0.0.1:0".parse()?)
            .config(Config::local())
            .seeds([client.local_addr().to_string()])
            .start()
            .await?
            .into_inner();
        let replica = Replica::default();
        node.add_service(replica.clone())?;
        replicas.push((node, replica));
    }
    client.wait_for(|view| view.members().len() == 3, Duration::from_secs(10)).await?;
    Ok((client, replicas))
}

/// Of many lookups, one after the other.
#[derive(Clone, Copy)]
struct Times {
    median: Duration,
    longest: Duration,
}

/// Times lookups by the clock of the runtime that `client` is on.
async fn measure<F>(
    client: &Node,
    lookup: impl Fn(u64) -> F,
) -> Result<Times, Box<dyn std::error::Error>>
where
    F: Future<Output = Result<u64, Status>>,
{
    let mut times = Vec::new();
    for key in 0..LOOKUPS {
        let begun = client.now().mono;
        let value = lookup(key).await?;
        times.push(client.now().mono.since(begun));
        if value != key * 2 {
            return Err(format!("the value of {key} is {value}").into());
        }
    }
    times.sort_unstable();
    Ok(Times { median: times[times.len() / 2], longest: times[times.len() - 1] })
}

fn place(key: u64, len: usize) -> usize {
    usize::try_from(key).unwrap_or(0) % len
}

fn report(how: &str, times: Times) {
    let Times { median, longest } = times;
    line(format_args!("{how:>8}  {LOOKUPS} lookups: median {median:?}, longest {longest:?}"));
}

/// One line on stdout. Without a reader the story is still told, for its exit code.
fn line(text: std::fmt::Arguments<'_>) {
    let _ = writeln!(io::stdout(), "{text}");
}

#[cfg(test)]
mod tests {
    use chinwag_sim::{World, check};

    use super::*;

    #[test]
    fn the_story_holds() {
        check(0..10, |world: World| async move {
            let boot = |node: Node| async move {
                let replica = Replica::default();
                // The first node is the client.
                if node.id() != NodeId::new(1) {
                    node.add_service(replica.clone())?;
                }
                Ok::<_, chinwag_tokio::AddServiceError>(replica)
            };
            let (mut nodes, handles) = world.cluster_of(4, boot).await;
            let client = nodes.remove(0);
            let replicas: Vec<_> = (1..)
                .zip(nodes)
                .map(|(at, node)| (node, handles.get(at).expect("a replica")))
                .collect();
            tell(&client, &replicas).await.expect("told to its end");
        });
    }
}
