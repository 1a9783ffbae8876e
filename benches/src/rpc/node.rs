//! [`Typed`] and [`TypedVec`]: chinwag's own calls between nodes, on any runtime.
//!
//! Between two nodes there is one connection, so four connections are four servers that one node
//! calls.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chinwag::{
    Client, Config, Context, Handler, Message, Method, Methods, Node, Raw, Runtime, Secret,
    Service, Status, View,
};

use super::contender::{Caller, Setup};

/// The node that calls; servers have the next ids.
const CLIENT: u64 = 1;

/// Every call has a deadline, as a program's would, whose cost is part of what is measured; none is
/// to reach it, however busy the machine is.
const CALL_TIMEOUT: Duration = Duration::from_secs(600);

/// A node, and the servers it sees.
struct Nodes {
    client: Node,
    servers: Vec<Node>,
}

impl Nodes {
    async fn start(runtime: &Arc<dyn Runtime>, connections: usize) -> Self {
        Self::start_with(runtime, connections, None).await
    }

    async fn start_with(
        runtime: &Arc<dyn Runtime>,
        connections: usize,
        secret: Option<&Secret>,
    ) -> Self {
        let client = start(runtime, CLIENT, &[], secret).await;
        let seed = [client.advertised_addr().to_string()];
        let mut servers = Vec::new();
        for id in (CLIENT + 1..).take(connections) {
            let server = start(runtime, id, &seed, secret).await;
            server.add_service(Echo).expect("the first");
            servers.push(server);
        }
        let patience = Duration::from_secs(30);
        let seen = client.wait_for(|view| view.members().len() == connections, patience).await;
        seen.expect("they join within moments");
        Self { client, servers }
    }

    fn typed(&self, connection: usize, size: usize) -> TypedCaller<Msg> {
        let message = Arc::new(Msg { id: 7, name: NAME.into(), body: vec![7; size].into() });
        let is_answer = |answer: &View<Msg>, message: &Msg| {
            answer.id == message.id && answer.body.len() == message.body.len()
        };
        TypedCaller {
            client: self.client.client(self.servers[connection].id()),
            message,
            is_answer,
        }
    }
}

async fn start(
    runtime: &Arc<dyn Runtime>,
    id: u64,
    seeds: &[String],
    secret: Option<&Secret>,
) -> Node {
    // On a machine that measures, nobody is to be found dead for being late.
    let config = Config { suspicion_mult: 1_000, ..Config::lan() };
    let builder =
        Node::builder(id, (Ipv4Addr::LOCALHOST, 0).into()).cluster("bench").config(config);
    let builder = match secret {
        Some(secret) => builder.secret(secret.clone()),
        None => builder,
    };
    builder
        .call_timeout(CALL_TIMEOUT)
        .seeds(seeds)
        .start_on(runtime.clone())
        .await
        .expect("free ports")
}

/// Answers with what it is sent.
struct Echo;

impl Service for Echo {
    const NAME: &'static str = "bench";
    fn methods(methods: &mut Methods<Self>) {
        methods.add::<Msg>().add::<MsgVec>().add::<EchoRaw>();
    }
}

const NAME: &str = "a-short-name";

/// What peers with a `Bytes` field send.
#[derive(rkyv::Archive, rkyv::Serialize)]
pub(super) struct Msg {
    id: u64,
    name: String,
    body: Bytes,
}

impl Message for Msg {
    type Reply = Self;
    const NAME: &'static str = "echo";
}

impl Handler<Msg> for Echo {
    async fn handle(&self, _: &Context, msg: View<Msg>) -> Result<Msg, Status> {
        let body = msg.bytes().slice_ref(&msg.body);
        Ok(Msg { id: msg.id.to_native(), name: msg.name.as_str().to_owned(), body })
    }
}

/// The same, owned.
#[derive(rkyv::Archive, rkyv::Serialize)]
pub(super) struct MsgVec {
    id: u64,
    name: String,
    body: Vec<u8>,
}

impl Message for MsgVec {
    type Reply = Self;
    const NAME: &'static str = "echo vec";
}

impl Handler<MsgVec> for Echo {
    async fn handle(&self, _: &Context, msg: View<MsgVec>) -> Result<MsgVec, Status> {
        let body = msg.body.as_slice().to_owned();
        Ok(MsgVec { id: msg.id.to_native(), name: msg.name.as_str().to_owned(), body })
    }
}

/// Bytes as they are.
struct EchoRaw;

impl Method for EchoRaw {
    type Request = Raw;
    type Reply = Raw;
    const NAME: &'static str = "echo raw";
}

impl Handler<EchoRaw> for Echo {
    async fn handle(&self, _: &Context, body: Bytes) -> Result<Raw, Status> {
        Ok(Raw(body))
    }
}

#[derive(Clone)]
pub(super) struct RawCaller {
    client: Client<Echo>,
    body: Bytes,
}

impl Caller for RawCaller {
    async fn call(&mut self) {
        let answer = self.client.call_raw::<EchoRaw>(self.body.clone()).await.expect("echoed");
        assert_eq!(answer.len(), self.body.len());
    }
}

/// Raw bytes.
pub(super) struct RawBytes(Nodes);

impl Setup for RawBytes {
    type Caller = RawCaller;

    async fn start(runtime: Arc<dyn Runtime>, connections: usize) -> Self {
        Self(Nodes::start(&runtime, connections).await)
    }

    fn caller(&self, connection: usize, size: usize) -> RawCaller {
        RawCaller {
            client: self.0.client.client(self.0.servers[connection].id()),
            body: vec![7; size].into(),
        }
    }
}

/// Calls by reference: a caller keeps its message.
pub(super) struct TypedCaller<M: Message<Reply = M>> {
    client: Client<Echo>,
    message: Arc<M>,
    is_answer: fn(&View<M>, &M) -> bool,
}

impl<M: Message<Reply = M>> Clone for TypedCaller<M> {
    fn clone(&self) -> Self {
        Self {
            client: self.client.clone(),
            message: self.message.clone(),
            is_answer: self.is_answer,
        }
    }
}

impl<M: Message<Reply = M>> Caller for TypedCaller<M>
where
    Echo: Handler<M>,
{
    async fn call(&mut self) {
        let answer = self.client.call(&*self.message).await.expect("echoed");
        assert!((self.is_answer)(&answer, &self.message));
    }
}

/// Messages with a `Bytes` field.
pub(super) struct Typed(Nodes);

impl Setup for Typed {
    type Caller = TypedCaller<Msg>;

    async fn start(runtime: Arc<dyn Runtime>, connections: usize) -> Self {
        Self(Nodes::start(&runtime, connections).await)
    }

    fn caller(&self, connection: usize, size: usize) -> TypedCaller<Msg> {
        self.0.typed(connection, size)
    }
}

/// [`Typed`] in a cluster with a secret.
pub(super) struct Encrypted(Nodes);

impl Setup for Encrypted {
    type Caller = TypedCaller<Msg>;

    async fn start(runtime: Arc<dyn Runtime>, connections: usize) -> Self {
        Self(Nodes::start_with(&runtime, connections, Some(&Secret::from_bytes([7; 32]))).await)
    }

    fn caller(&self, connection: usize, size: usize) -> TypedCaller<Msg> {
        self.0.typed(connection, size)
    }
}

/// Messages with a `Vec<u8>` field.
pub(super) struct TypedVec(Nodes);

impl Setup for TypedVec {
    type Caller = TypedCaller<MsgVec>;

    async fn start(runtime: Arc<dyn Runtime>, connections: usize) -> Self {
        Self(Nodes::start(&runtime, connections).await)
    }

    fn caller(&self, connection: usize, size: usize) -> TypedCaller<MsgVec> {
        let message = Arc::new(MsgVec { id: 7, name: NAME.into(), body: vec![7; size] });
        let is_answer = |answer: &View<MsgVec>, message: &MsgVec| {
            answer.id == message.id && answer.body.len() == message.body.len()
        };
        TypedCaller {
            client: self.0.client.client(self.0.servers[connection].id()),
            message,
            is_answer,
        }
    }
}
