//! [`Tonic`]: tonic 0.14 with prost. What `tonic-build` would make of a .proto file is written by
//! hand, so that the bench needs no `protoc`: a service that routes one path, and a client that
//! calls it.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::Arc;

use bytes::Bytes;
use chinwag::Runtime;
use http::uri::PathAndQuery;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Context, Poll, Service};
use tonic::server::{NamedService, UnaryService};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use super::super::contender::{Caller, Setup};
use super::{ID, NAME};

const PATH: &str = "/bench.Echo/Echo";

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Msg {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(bytes = "bytes", tag = "3")]
    body: Bytes,
}

/// The handler.
struct Echo;

impl UnaryService<Msg> for Echo {
    type Response = Msg;
    type Future = BoxFuture<Response<Msg>, Status>;

    fn call(&mut self, request: Request<Msg>) -> Self::Future {
        Box::pin(async move { Ok(Response::new(request.into_inner())) })
    }
}

#[derive(Clone)]
struct EchoServer;

impl NamedService for EchoServer {
    const NAME: &'static str = "bench.Echo";
}

impl Service<http::Request<Body>> for EchoServer {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        assert_eq!(request.uri().path(), PATH);
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(ProstCodec::<Msg, Msg>::default());
            Ok(grpc.unary(Echo, request).await)
        })
    }
}

pub(crate) struct Tonic {
    channels: Vec<Channel>,
}

impl Setup for Tonic {
    type Caller = TonicCaller;

    async fn start(_: Arc<dyn Runtime>, connections: usize) -> Self {
        let incoming = TcpIncoming::bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port");
        let addr = incoming.local_addr().expect("bound");
        let incoming = incoming.with_nodelay(Some(true));
        tokio::spawn(Server::builder().add_service(EchoServer).serve_with_incoming(incoming));
        let mut channels = Vec::new();
        for _ in 0..connections {
            let endpoint = Endpoint::from_shared(format!("http://{addr}")).expect("an address");
            channels.push(endpoint.tcp_nodelay(true).connect().await.expect("it listens"));
        }
        Self { channels }
    }

    fn caller(&self, connection: usize, size: usize) -> TonicCaller {
        let message = Msg { id: ID, name: NAME.into(), body: vec![7; size].into() };
        TonicCaller { grpc: tonic::client::Grpc::new(self.channels[connection].clone()), message }
    }
}

#[derive(Clone)]
pub(crate) struct TonicCaller {
    grpc: tonic::client::Grpc<Channel>,
    message: Msg,
}

impl Caller for TonicCaller {
    async fn call(&mut self) {
        self.grpc.ready().await.expect("connected");
        let request = Request::new(self.message.clone());
        let codec = ProstCodec::<Msg, Msg>::default();
        let answer =
            self.grpc.unary(request, PathAndQuery::from_static(PATH), codec).await.expect("echoed");
        let answer = answer.into_inner();
        assert!(answer.id == ID && answer.body.len() == self.message.body.len());
    }
}
