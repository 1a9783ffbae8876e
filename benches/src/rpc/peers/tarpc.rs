//! [`Tarpc`]: tarpc 0.38 with bincode, each request handled in a task of its own as its examples
//! do.

use std::net::Ipv4Addr;
use std::sync::Arc;

use bytes::Bytes;
use chinwag::Runtime;
use futures_lite::StreamExt;
use serde::{Deserialize, Serialize};
use tarpc::serde_transport::Transport;
use tarpc::server::{BaseChannel, Channel};
use tarpc::tokio_serde::formats::Bincode;
use tarpc::{client, context};
use tokio::net::{TcpListener, TcpStream};

use super::super::contender::{Caller, Setup};
use super::{ID, NAME};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Msg {
    id: u64,
    name: String,
    body: Bytes,
}

#[tarpc::service]
trait Echo {
    async fn echo(msg: Msg) -> Msg;
}

#[derive(Clone)]
struct Server;

impl Echo for Server {
    async fn echo(self, _: context::Context, msg: Msg) -> Msg {
        msg
    }
}

pub(crate) struct Tarpc {
    clients: Vec<EchoClient>,
}

impl Setup for Tarpc {
    type Caller = TarpcCaller;

    async fn start(_: Arc<dyn Runtime>, connections: usize) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let addr = listener.local_addr().expect("bound");
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).expect("a socket");
                let channel =
                    BaseChannel::with_defaults(Transport::from((stream, Bincode::default())));
                tokio::spawn(channel.execute(Server.serve()).for_each(|handler| {
                    tokio::spawn(handler);
                }));
            }
        });
        let mut clients = Vec::new();
        for _ in 0..connections {
            let stream = TcpStream::connect(addr).await.expect("it listens");
            stream.set_nodelay(true).expect("a socket");
            let transport = Transport::from((stream, Bincode::default()));
            clients.push(EchoClient::new(client::Config::default(), transport).spawn());
        }
        Self { clients }
    }

    fn caller(&self, connection: usize, size: usize) -> TarpcCaller {
        let message = Msg { id: ID, name: NAME.into(), body: vec![7; size].into() };
        TarpcCaller { client: self.clients[connection].clone(), message }
    }
}

#[derive(Clone)]
pub(crate) struct TarpcCaller {
    client: EchoClient,
    message: Msg,
}

impl Caller for TarpcCaller {
    async fn call(&mut self) {
        let answer =
            self.client.echo(context::current(), self.message.clone()).await.expect("echoed");
        assert!(answer.id == ID && answer.body.len() == self.message.body.len());
    }
}
