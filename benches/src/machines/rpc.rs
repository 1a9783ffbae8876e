//! Two connections, and no stream between them but a copy.

use std::sync::Arc;

use bytes::Bytes;
use chinwag_core::clock::{DRIFT_MAX_DEFAULT, SharedHlc};
use chinwag_core::id::{Epoch, NodeId};
use chinwag_core::rpc::{
    Config, Connection, Event, Fingerprint, Headers, Hello, Receiver, Request, Shape, Side,
    Transmit,
};
use chinwag_core::time::{Instant, Now, WallTime};

/// A day in 2026.
pub const NOW: Now =
    Now { mono: Instant::from_nanos(5), wall: WallTime::from_nanos(1_790_000_000_000_000_000) };

/// So many bytes.
pub fn body(size: u64) -> Bytes {
    Bytes::from(vec![1; usize::try_from(size).expect("small")])
}

/// A call with these.
pub fn request(body: &Bytes) -> Request<'_> {
    Request {
        service: "kv",
        method: "get",
        fingerprint: Fingerprint::new(1),
        headers: Headers::new(),
        deadline: None,
        body: body.clone().into(),
        attachments: &[],
        shape: Shape::UNARY,
        chunk_len_max: 0,
        depth: 0,
        caller: 0,
    }
}

/// Two connections that have greeted each other.
pub struct Pair {
    /// The side that calls.
    pub dialer: Connection,
    dialer_reads: Receiver,
    /// The side that answers.
    pub acceptor: Connection,
    /// What it reads into.
    pub acceptor_reads: Receiver,
    /// What goes from one to the other.
    pub out: Transmit,
}

impl Pair {
    /// Opens them.
    pub fn open() -> Self {
        let connection = |side, id| {
            let addr = "127.0.0.1:7000".parse().expect("an address");
            let hello =
                Hello { cluster: "bench".into(), id: NodeId::new(id), epoch: Epoch::new(1), addr };
            let clock = Arc::new(SharedHlc::new(DRIFT_MAX_DEFAULT));
            Connection::new(side, Arc::new(Config::default()), hello, clock, NOW)
        };
        let (dialer, dialer_reads) = connection(Side::Dialer, 1);
        let (acceptor, acceptor_reads) = connection(Side::Acceptor, 2);
        let mut pair =
            Self { dialer, dialer_reads, acceptor, acceptor_reads, out: Transmit::new() };
        pair.carry_out();
        pair.carry_back();
        assert!(
            matches!(pair.dialer.poll_event(), Some(Event::Connected(_))),
            "the hellos are accepted"
        );
        assert!(matches!(pair.acceptor.poll_event(), Some(Event::Connected(_))), "on both sides");
        pair
    }

    /// The bytes of a one-way message, which the acceptor has read.
    pub fn one_way(&mut self, body: &Bytes) -> Vec<u8> {
        self.dialer.one_way(NOW, request(body)).expect("there is room");
        self.dialer.poll_transmit(NOW, &mut self.out);
        let frame = self.out.slices().flatten().copied().collect::<Vec<u8>>();
        self.out.clear();
        receive(&mut self.acceptor, &mut self.acceptor_reads, &frame);
        assert!(matches!(self.acceptor.poll_event(), Some(Event::OneWay { .. })), "it has come");
        frame
    }

    /// `batch` calls go out together, are echoed together, and come back.
    pub fn calls(&mut self, batch: u64, body: &Bytes) {
        for _ in 0..batch {
            self.dialer.request(NOW, request(body)).expect("a slot is free");
        }
        self.carry_out();
        while let Some(event) = self.acceptor.poll_event() {
            if let Event::Request { id, body, .. } = event {
                self.acceptor.respond(NOW, id, Ok(body.into())).expect("the call is open");
            }
        }
        self.carry_back();
        let mut count = 0;
        while let Some(event) = self.dialer.poll_event() {
            count += u64::from(matches!(event, Event::Response { .. }));
        }
        assert_eq!(count, batch, "every call has ended");
    }

    fn carry_out(&mut self) {
        carry(&mut self.dialer, &mut self.acceptor, &mut self.acceptor_reads, &mut self.out);
    }

    fn carry_back(&mut self) {
        carry(&mut self.acceptor, &mut self.dialer, &mut self.dialer_reads, &mut self.out);
    }
}

fn carry(from: &mut Connection, to: &mut Connection, reads: &mut Receiver, out: &mut Transmit) {
    while from.poll_transmit(NOW, out) > 0 {
        out.slices().for_each(|bytes| receive(to, reads, bytes));
        out.clear();
    }
}

/// The bytes come.
pub fn receive(connection: &mut Connection, receiver: &mut Receiver, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let room = receiver.buffer();
        let len = room.len().min(bytes.len());
        room[..len].copy_from_slice(&bytes[..len]);
        bytes = &bytes[len..];
        connection.handle_received(NOW, receiver, len);
    }
}
