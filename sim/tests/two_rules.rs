//! The two rules that handlers keep (`docs/rpc.md`, "Two rules for handlers"; `docs/protocol.md`
//! §5.12.10): each mistake waits for ever, and what is to be done instead ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use chinwag::{
    Bytes, Context, Handler, Incoming, Method, Methods, Node, Outgoing, Raw, Service, Status,
    StreamHandler, Streaming,
};
use chinwag_sim::{World, check, millis, secs};

/// Takes the lock of its node and asks the other one, which asks back for what the lock protects.
struct Outer;
/// Asks its caller for `Inner`.
struct Between;
/// Needs the lock.
struct Inner;
/// Gives every chunk back.
struct Echo;

macro_rules! methods {
    ($($name:ident: $text:literal),*) => {$(
        impl Method for $name {
            type Request = Raw;
            type Reply = Raw;
            const NAME: &'static str = $text;
        }
    )*};
}
methods!(Outer: "outer", Between: "between", Inner: "inner", Echo: "echo");

impl Streaming for Echo {
    type In = Raw;
    type Out = Raw;
}

/// What one task at a time may have, across awaits.
#[derive(Clone, Default)]
struct Lock(Arc<AtomicBool>);

struct Locked(Arc<AtomicBool>);

impl Drop for Locked {
    fn drop(&mut self) {
        self.0.store(false, SeqCst);
    }
}

impl Lock {
    async fn lock(&self, cx: &Context) -> Locked {
        while self.0.swap(true, SeqCst) {
            cx.node().expect("it runs").sleep(millis(10)).await;
        }
        Locked(self.0.clone())
    }
}

#[derive(Clone)]
struct Work {
    lock: Lock,
    /// Whether the lock is held while the other node is asked: the mistake.
    is_held: bool,
}

impl Service for Work {
    const NAME: &'static str = "work";
    fn methods(methods: &mut Methods<Self>) {
        methods.add::<Outer>().add::<Between>().add::<Inner>().add_stream::<Echo>();
    }
}

impl Handler<Outer> for Work {
    async fn handle(&self, cx: &Context, _: Bytes) -> Result<Raw, Status> {
        let locked = self.lock.lock(cx).await;
        // Given back here, unless the mistake is made.
        let _held = self.is_held.then_some(locked);
        cx.client::<Self>(2).without_timeout().call_raw::<Between>(Bytes::new()).await.map(Raw)
    }
}

impl Handler<Between> for Work {
    async fn handle(&self, cx: &Context, _: Bytes) -> Result<Raw, Status> {
        cx.client::<Self>(1).without_timeout().call_raw::<Inner>(Bytes::new()).await.map(Raw)
    }
}

impl Handler<Inner> for Work {
    async fn handle(&self, cx: &Context, _: Bytes) -> Result<Raw, Status> {
        drop(self.lock.lock(cx).await);
        Ok(Raw::default())
    }
}

impl StreamHandler<Echo> for Work {
    async fn handle(
        &self,
        _: &Context,
        _: Bytes,
        mut incoming: Incoming<Raw>,
        mut outgoing: Outgoing<Raw>,
    ) -> Result<Raw, Status> {
        while let Some(chunk) = incoming.next().await {
            outgoing.send(&Raw(chunk?)).await?;
        }
        Ok(Raw::default())
    }
}

/// How many of the tasks that `begin` spawns have ended after ten minutes.
fn ended<F: Future<Output = ()> + Send>(
    is_held: bool,
    begin: impl Fn(World, Vec<Node>, Arc<AtomicUsize>) -> F + Send + Sync,
    expected: usize,
) {
    let begin = &begin;
    check(0..2, |world| async move {
        let work = Work { lock: Lock::default(), is_held };
        let nodes = world.cluster(2, move |node: &Node| node.add_service(work.clone())).await;
        let count = Arc::new(AtomicUsize::new(0));
        begin(world.clone(), nodes, count.clone()).await;
        world.run_for(secs(600)).await;
        assert_eq!(count.load(SeqCst), expected);
    });
}

/// The first rule: a handler waits only for its own calls and streams, or for work that ends.
#[test]
fn a_lock_that_is_held_across_a_call_that_needs_it_waits_for_ever() {
    for is_held in [true, false] {
        ended(
            is_held,
            |_, nodes, count| async move {
                let client = nodes[1].client::<Work>(1).without_timeout();
                nodes[1].spawn(async move {
                    client.call_raw::<Outer>(Bytes::new()).await.expect("answered");
                    count.fetch_add(1, SeqCst);
                });
            },
            usize::from(!is_held),
        );
    }
}

/// Opens an echoing stream, sends 10 MB and reads them: after all is sent, or while it is.
async fn echo(node: Node, reads_later: bool, count: Arc<AtomicUsize>) -> Result<(), Status> {
    let client = node.client::<Work>(2).without_timeout();
    let (mut outgoing, mut reader) = client.open_with::<Echo>(&Raw::default(), &[]).await?.split();
    let send = async move {
        for _ in 0..200 {
            outgoing.send(&Raw(vec![1; 50_000].into())).await?;
        }
        outgoing.finish();
        Ok::<(), Status>(())
    };
    if reads_later {
        send.await?;
    } else {
        node.spawn(async move { send.await.expect("all is taken") });
    }
    while let Some(chunk) = reader.next().await {
        chunk?;
    }
    reader.reply().await?;
    count.fetch_add(1, SeqCst);
    Ok(())
}

/// The second rule: reading never waits for writing. Whoever breaks it holds up nobody else.
#[test]
fn a_caller_that_reads_after_it_has_sent_all_waits_for_ever_and_alone() {
    ended(
        false,
        |_, nodes, count| async move {
            for reads_later in [true, false, true, false] {
                let (node, count) = (nodes[0].clone(), count.clone());
                nodes[0].spawn(async move { drop(echo(node, reads_later, count).await) });
            }
        },
        2,
    );
}

/// The second rule: whoever owns the receiving half reads it to its end or drops it.
#[test]
fn chunks_that_are_kept_unread_stop_their_sender_and_a_dropped_call_ends_it() {
    for is_dropped in [true, false] {
        ended(
            false,
            |world, nodes, count| async move {
                let client = nodes[0].client::<Work>(2).without_timeout();
                let call = client.open_with::<Echo>(&Raw::default(), &[]).await.expect("opened");
                let (mut outgoing, reader) = call.split();
                nodes[0].spawn(async move {
                    while outgoing.send(&Raw(vec![1; 50_000].into())).await.is_ok() {}
                    count.fetch_add(1, SeqCst);
                });
                world.run_for(secs(60)).await;
                if is_dropped {
                    drop(reader);
                } else {
                    nodes[0].spawn(async move {
                        std::future::pending::<()>().await;
                        drop(reader);
                    });
                }
            },
            usize::from(is_dropped),
        );
    }
}
