//! Streaming calls where their connection has little room: for calls, for large requests.

use std::sync::Arc;

use chinwag::protocol::rpc;
use chinwag::{
    Bytes, Context, Handler, Incoming, Method, Methods, Never, Node, Outgoing, Raw, Service,
    Status, StreamHandler, Streaming,
};

use crate::Host;
use crate::probe::{PATIENCE, builder, sees, start};
use crate::tools::{Tally, spawn};

/// Server-streaming: one chunk with the length of the request, then another one when the gate lets
/// it.
struct Watch;

impl Method for Watch {
    type Request = Raw;
    type Reply = Raw;
    const NAME: &'static str = "watch";
}

impl Streaming for Watch {
    type In = Never;
    type Out = Raw;
}

/// Unary, with as much to send.
struct Weigh;

impl Method for Weigh {
    type Request = Raw;
    type Reply = Raw;
    const NAME: &'static str = "weigh";
}

#[derive(Clone, Default)]
struct Watches {
    begun: Arc<Tally>,
    gate: Arc<Tally>,
}

impl Service for Watches {
    const NAME: &'static str = "watches";
    fn methods(methods: &mut Methods<Self>) {
        methods.add_stream::<Watch>().add::<Weigh>();
    }
}

fn len_of(bytes: &Bytes) -> Raw {
    bytes.len().to_string().into_bytes().into()
}

impl StreamHandler<Watch> for Watches {
    async fn handle(
        &self,
        _: &Context,
        request: Bytes,
        _: Incoming<Never>,
        mut outgoing: Outgoing<Raw>,
    ) -> Result<Raw, Status> {
        self.begun.add();
        let len = len_of(&request);
        drop(request);
        outgoing.send(&len).await?;
        self.gate.reaches(1).await;
        outgoing.send(&len).await?;
        Ok(len)
    }
}

impl Handler<Weigh> for Watches {
    async fn handle(&self, _: &Context, request: Bytes) -> Result<Raw, Status> {
        Ok(len_of(&request))
    }
}

/// Two nodes that have never called each other, and the second one's service.
async fn pair_with(host: &dyn Host, config: rpc::Config) -> (Node, Node, Watches) {
    let one = start(host, 1, &[]).await;
    let seed = one.advertised_addr().to_string();
    let two = builder(host, 2).cluster("test").config(chinwag::Config::local()).seeds([seed]);
    let two = two.rpc(config).start_on(host.runtime()).await.expect("starts");
    let watches = Watches::default();
    two.add_service(watches.clone()).expect("added");
    sees(&one, 1).await;
    (one, two, watches)
}

/// More streams at once than the peer takes, the first of which find no connection: nobody knows
/// yet how many it takes.
pub async fn streams_wait_for_room_before_there_is_a_connection(host: &dyn Host) {
    let narrow = rpc::Config { in_flight_max: 3, ..rpc::Config::default() };
    let (one, _two, watches) = pair_with(host, narrow).await;
    watches.gate.add();
    let runtime = host.runtime();
    let many = (1..=50_usize).map(|len| {
        let client = one.client::<Watches>(2).timeout(PATIENCE);
        spawn(&*runtime, async move {
            let mut watch = client.open_with::<Watch>(&vec![7; len].into(), &[]).await?;
            let mut chunks = Vec::new();
            while let Some(chunk) = watch.next().await {
                chunks.push(chunk?);
            }
            watch.reply().await.map(|reply| (chunks, reply.body))
        })
    });
    for (at, call) in many.collect::<Vec<_>>().into_iter().enumerate() {
        let len = Bytes::from((at + 1).to_string());
        assert_eq!(call.await, Ok((vec![len.clone(), len.clone()], len)));
    }
}

/// Handlers that live for long have let go of their requests: what those held goes back, and others
/// can be sent.
pub async fn a_request_that_was_let_go_leaves_its_room_to_others(host: &dyn Host) {
    let tight = rpc::Config {
        message_len_max: 100_000,
        // Half of it, for calls that no handler makes: three of the largest.
        request_budget: 400_000,
        ..rpc::Config::default()
    };
    let (one, _two, watches) = pair_with(host, tight).await;
    let client = one.client::<Watches>(2).timeout(PATIENCE);
    let (large, blob) = (Raw(vec![7; 40_000].into()), Bytes::from(vec![8; 20_000]));
    let mut open = Vec::new();
    for count in 1..=20 {
        // With bytes beside it, which the context would hold for as long as the handler lives.
        let beside = if count == 20 { std::slice::from_ref(&blob) } else { &[] };
        let mut watch = client.open_with::<Watch>(&large, beside).await.expect("open");
        assert_eq!(watch.next().await.expect("one").expect("well"), b"40000"[..]);
        open.push(watch);
    }
    assert_eq!(watches.begun.count(), 20);
    watches.gate.add();
    for mut watch in open {
        assert_eq!(watch.next().await.expect("another").expect("well"), b"40000"[..]);
        assert_eq!(watch.reply().await.expect("answered").body, b"40000"[..]);
    }
    for _ in 0..20 {
        assert_eq!(
            client.call_raw::<Weigh>(large.0.clone()).await.expect("answered"),
            b"40000"[..]
        );
    }
}
