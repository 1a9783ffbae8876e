//! [`Dialer`]: the machine of one connection on a socket, with nothing around it: a peer that does
//! what a node would not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chinwag_tokio::Runtime;
use chinwag_tokio::protocol::clock::SharedHlc;
use chinwag_tokio::protocol::id::{Epoch, NodeId};
use chinwag_tokio::protocol::rpc::{
    CallId, Config, Connection, Event, Fingerprint, Headers, Hello, Receiver, Request, Shape, Side,
    Transmit,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What all of them share.
pub(crate) struct Dialing {
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) config: Arc<Config>,
    pub(crate) clock: Arc<SharedHlc>,
    pub(crate) to: SocketAddr,
}

impl Dialing {
    pub(crate) fn new(runtime: Arc<dyn Runtime>, config: Config, to: SocketAddr) -> Self {
        let clock = Arc::new(SharedHlc::new(Duration::from_millis(500)));
        Self { runtime, config: Arc::new(config), clock, to }
    }
}

pub(crate) struct Dialer {
    stream: TcpStream,
    machine: Connection,
    receiver: Receiver,
}

impl Dialer {
    /// Connects, and greets.
    pub(crate) async fn connect(dialing: &Dialing, id: u64) -> Self {
        let stream = TcpStream::connect(dialing.to).await.expect("it listens");
        let now = dialing.runtime.now();
        let addr = stream.local_addr().expect("connected");
        let hello =
            Hello { cluster: "test".into(), id: NodeId::new(id), epoch: Epoch::at(now.wall), addr };
        let (machine, receiver) = Connection::new(
            Side::Dialer,
            dialing.config.clone(),
            hello,
            dialing.clock.clone(),
            now,
        );
        let mut dialer = Self { stream, machine, receiver };
        assert!(matches!(dialer.next(dialing).await, Event::Connected(_)));
        dialer
    }

    /// A request of a raw body, put into the machine.
    pub(crate) fn request(
        &mut self,
        dialing: &Dialing,
        method: &str,
        of: Fingerprint,
        shape: Shape,
    ) -> CallId {
        let request = Request {
            service: "flow",
            method,
            fingerprint: of,
            headers: Headers::new(),
            deadline: None,
            body: (&b"x"[..]).into(),
            attachments: &[],
            shape,
            chunk_len_max: 0,
            depth: 0,
            caller: 0,
        };
        self.machine.request(dialing.runtime.now(), request).expect("room")
    }

    /// Grants so much to the handler's half of a call, whatever the machine would
    /// (docs/protocol.md §5.2.1, §5.12.8).
    pub(crate) async fn grant(&mut self, call: CallId, total: u64) {
        let number = self.machine.number_of(call).expect("it has begun");
        let mut frame = vec![0; 32];
        frame[..4].copy_from_slice(&8u32.to_le_bytes());
        frame[4..8].copy_from_slice(&number.to_le_bytes());
        frame[8] = 18;
        frame[16..24].copy_from_slice(&total.to_le_bytes());
        self.stream.write_all(&frame).await.expect("the node reads");
    }

    /// Writes what the machine has to say.
    pub(crate) async fn write(&mut self, dialing: &Dialing) {
        let mut out = Transmit::new();
        while self.machine.poll_transmit(dialing.runtime.now(), &mut out) > 0 {
            while !out.is_empty() {
                let slice = out.slices().next().expect("there is some");
                let len = self.stream.write(slice).await.expect("the node reads");
                out.advance(len);
            }
        }
    }

    /// Reads until something has happened.
    pub(crate) async fn next(&mut self, dialing: &Dialing) -> Event {
        loop {
            self.write(dialing).await;
            if let Some(event) = self.machine.poll_event() {
                return event;
            }
            let len = self.stream.read(self.receiver.buffer()).await.expect("the node writes");
            assert!(len > 0, "the connection ended");
            self.machine.handle_received(dialing.runtime.now(), &mut self.receiver, len);
        }
    }
}
