//! [`Datacake`]: datacake-rpc 0.5. Its server leaves `TCP_NODELAY` off on accepted connections, and
//! offers no way to it.

#![allow(
    unsafe_op_in_unsafe_fn,
    reason = "what the derives of rkyv 0.7 write is older than the lint"
)]

use std::net::Ipv4Addr;
use std::sync::Arc;

use chinwag::Runtime;
use datacake_rpc::{
    Channel, Handler, Request, RpcClient, RpcService, Server, ServiceRegistry, Status,
};
use rkyv_old::{Archive, Deserialize, Serialize};

use super::super::contender::{Caller, Setup};
use super::{ID, NAME};

#[derive(Archive, Serialize, Deserialize)]
#[archive(crate = "rkyv_old", check_bytes)]
#[allow(missing_docs, reason = "the derive's own types have no documentation")]
pub(crate) struct Msg {
    id: u64,
    name: String,
    body: Vec<u8>,
}

struct Echo;

impl RpcService for Echo {
    fn register_handlers(registry: &mut ServiceRegistry<Self>) {
        registry.add_handler::<Msg>();
    }
}

#[datacake_rpc::async_trait]
impl Handler<Msg> for Echo {
    type Reply = Msg;

    async fn on_message(&self, msg: Request<Msg>) -> Result<Msg, Status> {
        Ok(msg.to_owned().expect("validated"))
    }
}

pub(crate) struct Datacake {
    channels: Vec<Channel>,
    _server: Server,
}

impl Setup for Datacake {
    type Caller = DatacakeCaller;

    async fn start(_: Arc<dyn Runtime>, connections: usize) -> Self {
        // It cannot be asked for the port that it got: find one that was free a moment ago.
        let free = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let addr = free.local_addr().expect("bound");
        drop(free);
        let server = Server::listen(addr).await.expect("the port is still free");
        server.add_service(Echo);
        let channels = (0..connections).map(|_| Channel::connect(addr)).collect();
        Self { channels, _server: server }
    }

    fn caller(&self, connection: usize, size: usize) -> DatacakeCaller {
        let message = Msg { id: ID, name: NAME.into(), body: vec![7; size] };
        let client = RpcClient::new(self.channels[connection].clone());
        DatacakeCaller { client, message: Arc::new(message) }
    }
}

#[derive(Clone)]
pub(crate) struct DatacakeCaller {
    client: RpcClient<Echo>,
    message: Arc<Msg>,
}

impl Caller for DatacakeCaller {
    async fn call(&mut self) {
        let Ok(answer) = self.client.send(&*self.message).await else { panic!("echoed") };
        assert!(answer.id == ID && answer.body.len() == self.message.body.len());
    }
}
