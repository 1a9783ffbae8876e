//! The service of the cases of streams: every shape, and handlers that do as they are told.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chinwag::{
    Client, Code, Context, Handler, Incoming, Message, Methods, Never, Node, Outgoing, Raw,
    Service, Status, StreamHandler, Streaming, View,
};

use crate::Host;
use crate::probe::{PATIENCE, Probe, cluster};
use crate::tools::Tally;

/// Client-streaming: the sum of what is sent, times the factor.
#[derive(rkyv::Archive, rkyv::Serialize)]
pub(crate) struct Sum {
    pub(crate) times: u64,
}

impl Message for Sum {
    type Reply = u64;
    const NAME: &'static str = "sum";
}

impl Streaming for Sum {
    type In = u64;
    type Out = Never;
}

/// Server-streaming: raw chunks of the given length, so many of them, and then what the last field
/// says.
#[derive(rkyv::Archive, rkyv::Serialize, Clone, Copy)]
pub(crate) struct Count {
    pub(crate) to: u64,
    pub(crate) chunk_len: u32,
    pub(crate) then: Then,
}

#[derive(rkyv::Archive, rkyv::Serialize, Clone, Copy, PartialEq, Eq)]
#[rkyv(compare(PartialEq))]
pub(crate) enum Then {
    Answer,
    Fail,
    Panic,
    Hang,
}

impl Message for Count {
    type Reply = String;
    const NAME: &'static str = "count";
}

impl Streaming for Count {
    type In = Never;
    type Out = Raw;
}

/// Bidirectional: each chunk comes back, with its attachments, until there were as many as wanted.
#[derive(rkyv::Archive, rkyv::Serialize)]
pub(crate) struct Repeat {
    pub(crate) chunks_max: u64,
}

impl Message for Repeat {
    type Reply = u64;
    const NAME: &'static str = "repeat";
}

impl Streaming for Repeat {
    type In = Raw;
    type Out = Raw;
    const CHUNK_LEN_MAX: u32 = 1 << 20;
}

/// Takes chunks only when it is let: one for each count of the gate.
#[derive(rkyv::Archive, rkyv::Serialize)]
pub(crate) struct Swallow;

impl Message for Swallow {
    type Reply = u64;
    const NAME: &'static str = "swallow";
}

impl Streaming for Swallow {
    type In = Raw;
    type Out = Never;
}

/// Unary, with attachments: what came beside the request goes back beside the answer.
#[derive(rkyv::Archive, rkyv::Serialize)]
pub(crate) struct Carry;

impl Message for Carry {
    type Reply = u64;
    const NAME: &'static str = "carry";
}

#[derive(Clone, Default)]
pub(crate) struct Flows {
    /// Handlers that have begun.
    pub(crate) begun: Arc<Tally>,
    /// Handlers that are no more.
    pub(crate) gone: Arc<Tally>,
    /// Chunks that handlers have sent.
    pub(crate) sent: Arc<AtomicUsize>,
    /// Chunks that may be swallowed.
    pub(crate) gate: Arc<Tally>,
}

pub(crate) struct Gone(Arc<Tally>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.add();
    }
}

impl Flows {
    fn begin(&self) -> Gone {
        self.begun.add();
        Gone(self.gone.clone())
    }
}

impl Service for Flows {
    const NAME: &'static str = "flows";
    fn methods(methods: &mut Methods<Self>) {
        methods
            .add_stream::<Sum>()
            .add_stream::<Count>()
            .add_stream::<Repeat>()
            .add_stream::<Swallow>();
        methods.add::<Carry>();
    }
}

impl StreamHandler<Sum> for Flows {
    async fn handle(
        &self,
        _: &Context,
        sum: View<Sum>,
        mut incoming: Incoming<u64>,
        _: Outgoing<Never>,
    ) -> Result<u64, Status> {
        let _gone = self.begin();
        let mut total = 0;
        while let Some(number) = incoming.next().await {
            total += number?.to_native();
        }
        Ok(total * sum.times.to_native())
    }
}

impl StreamHandler<Count> for Flows {
    async fn handle(
        &self,
        cx: &Context,
        count: View<Count>,
        _: Incoming<Never>,
        mut outgoing: Outgoing<Raw>,
    ) -> Result<String, Status> {
        let _gone = self.begin();
        for number in 0..count.to.to_native() {
            let mut chunk = number.to_le_bytes().to_vec();
            chunk.resize(count.chunk_len.to_native() as usize, 0);
            outgoing.send(&chunk.into()).await?;
            self.sent.fetch_add(1, Ordering::SeqCst);
        }
        let too_large = |error| Status::new(Code::TooLarge, format!("{error}"));
        cx.set_header("trailer", b"at the end").map_err(too_large)?;
        if count.then == Then::Panic {
            panic!("on purpose");
        }
        if count.then == Then::Hang {
            std::future::pending::<()>().await;
        }
        if count.then == Then::Fail {
            return Err(Status::new(Code::AppError, "enough"));
        }
        Ok(format!("{} chunks", count.to))
    }
}

impl StreamHandler<Repeat> for Flows {
    async fn handle(
        &self,
        _: &Context,
        repeat: View<Repeat>,
        mut incoming: Incoming<Raw>,
        mut outgoing: Outgoing<Raw>,
    ) -> Result<u64, Status> {
        let _gone = self.begin();
        let mut count = 0;
        while count < repeat.chunks_max.to_native() {
            let Some(chunk) = incoming.next_with().await else { break };
            let chunk = chunk?;
            outgoing.send_with(&Raw(chunk.body), &chunk.attachments).await?;
            count += 1;
        }
        Ok(count)
    }
}

impl StreamHandler<Swallow> for Flows {
    async fn handle(
        &self,
        _: &Context,
        _: View<Swallow>,
        mut incoming: Incoming<Raw>,
        _: Outgoing<Never>,
    ) -> Result<u64, Status> {
        let _gone = self.begin();
        let mut count = 0;
        loop {
            self.gate.reaches(count + 1).await;
            match incoming.next().await {
                Some(chunk) => drop(chunk?),
                None => return Ok(count as u64),
            }
            count += 1;
        }
    }
}

impl Handler<Carry> for Flows {
    async fn handle(&self, cx: &Context, _: View<Carry>) -> Result<u64, Status> {
        cx.attachments().iter().for_each(|bytes| cx.attach(bytes.clone()));
        Ok(cx.attachments().iter().map(|bytes| bytes.len() as u64).sum())
    }
}

pub(crate) async fn pair(host: &dyn Host) -> (Vec<(Node, Probe)>, [Flows; 2]) {
    let nodes = cluster(host, 2).await;
    let flows = [Flows::default(), Flows::default()];
    for ((node, _), flows) in nodes.iter().zip(&flows) {
        node.add_service(flows.clone()).expect("added");
    }
    (nodes, flows)
}

/// Clients for the other node, and for this one; and the services that they call.
pub(crate) async fn clients(host: &dyn Host) -> (Vec<(Node, Probe)>, Vec<(Client<Flows>, Flows)>) {
    let (nodes, [here, there]) = pair(host).await;
    let client = |id: u64| nodes[0].0.client::<Flows>(id).timeout(PATIENCE);
    let clients = vec![(client(2), there), (client(1), here)];
    (nodes, clients)
}
