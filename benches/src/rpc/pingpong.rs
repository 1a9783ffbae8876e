//! [`PingPong`]: one caller, one connection, a length and a body, no other task than the server's.
//! What loopback and the runtime cost; the floor should be near it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use chinwag::Runtime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::contender::{Caller, Setup};

pub(super) struct PingPong {
    addr: SocketAddr,
}

impl Setup for PingPong {
    type Caller = Pinger;

    async fn start(_: Arc<dyn Runtime>, _: usize) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let addr = listener.local_addr().expect("bound");
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).expect("a socket");
                tokio::spawn(echo(stream));
            }
        });
        Self { addr }
    }

    fn caller(&self, _: usize, size: usize) -> Pinger {
        let len = u32::try_from(size).expect("a message of less than 4 GiB");
        let mut message = len.to_le_bytes().to_vec();
        message.resize(4 + size, 7);
        Pinger { addr: self.addr, stream: None, buf: vec![0; message.len()], message }
    }
}

async fn echo(mut stream: TcpStream) {
    let mut message = vec![0; 4];
    loop {
        message.truncate(4);
        if stream.read_exact(&mut message).await.is_err() {
            return;
        }
        let len = u32::from_le_bytes([message[0], message[1], message[2], message[3]]) as usize;
        message.resize(4 + len, 0);
        if stream.read_exact(&mut message[4..]).await.is_err()
            || stream.write_all(&message).await.is_err()
        {
            return;
        }
    }
}

pub(super) struct Pinger {
    addr: SocketAddr,
    /// Connected by the first call.
    stream: Option<TcpStream>,
    message: Vec<u8>,
    buf: Vec<u8>,
}

impl Clone for Pinger {
    fn clone(&self) -> Self {
        Self { addr: self.addr, stream: None, message: self.message.clone(), buf: self.buf.clone() }
    }
}

impl Caller for Pinger {
    async fn call(&mut self) {
        if self.stream.is_none() {
            let stream = TcpStream::connect(self.addr).await.expect("it listens");
            stream.set_nodelay(true).expect("a socket");
            self.stream = Some(stream);
        }
        let stream = self.stream.as_mut().expect("connected");
        stream.write_all(&self.message).await.expect("the connection is open");
        stream.read_exact(&mut self.buf).await.expect("the connection is open");
        assert_eq!(self.buf[..4], self.message[..4]);
    }
}
