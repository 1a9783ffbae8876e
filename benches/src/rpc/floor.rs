//! [`Floor`]: calls as one would write them by hand on tokio, multiplexed and coalesced, and
//! nothing more. chinwag's figures are ratios to it.
//!
//! ```text
//!   caller -> channel -> writer task -> [u32 length][u32 id][body].. -> reader task -> channel -> writer task
//!   caller <- oneshot <- reader task <- [u32 length][u32 id][body].. <-------------------------------+
//! ```
//!
//! A writer takes whatever has been queued and writes it at once with vectored writes. Before that
//! it lets the run queue turn once when more calls are in flight than are queued: their callers are
//! about to queue the next ones, and a writer that does not wait for them writes batches of one. No
//! deadlines, no limits, no types, no cancellation.
//!
//! The floor gives every body a slice of its own, as one does at first; [`FloorCopy`] copies small
//! ones behind their headers, which is cheaper. It is there to see, and no aim is set against it.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::Ipv4Addr;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Buf, Bytes, BytesMut};
use chinwag::Runtime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::yield_now;

use super::contender::{Caller, Setup};

const HEADER_LEN: usize = 8;
/// Bytes of a new receive buffer, unless one message is longer.
const READ_LEN: usize = 64 * 1_024;
/// Room in it below which there is a new one.
const READ_LEN_MIN: usize = 4 * 1_024;
/// Room behind a long message: a read that does not fill what it is given tells tokio that there is
/// no more.
const READ_LEN_OVER: usize = 64;
/// Messages, and then slices, that one write takes.
const BATCH: usize = 64;

pub(super) type Floor = FloorWith<0>;
pub(super) type FloorCopy = FloorWith<{ 4 * 1_024 }>;

/// Bodies up to `COPY` bytes are copied behind their headers.
pub(super) struct FloorWith<const COPY: usize> {
    connections: Vec<mpsc::UnboundedSender<Request>>,
}

struct Request {
    body: Bytes,
    answer: oneshot::Sender<Bytes>,
}

impl<const COPY: usize> Setup for FloorWith<COPY> {
    type Caller = FloorCaller;

    async fn start(_: Arc<dyn Runtime>, connections: usize) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let addr = listener.local_addr().expect("bound");
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                serve::<COPY>(stream);
            }
        });
        let mut floor = Self { connections: Vec::new() };
        for _ in 0..connections {
            floor
                .connections
                .push(connect::<COPY>(TcpStream::connect(addr).await.expect("it listens")));
        }
        floor
    }

    fn caller(&self, connection: usize, size: usize) -> FloorCaller {
        FloorCaller { queue: self.connections[connection].clone(), body: vec![7; size].into() }
    }
}

#[derive(Clone)]
pub(super) struct FloorCaller {
    queue: mpsc::UnboundedSender<Request>,
    body: Bytes,
}

impl Caller for FloorCaller {
    async fn call(&mut self) {
        let (answer, answered) = oneshot::channel();
        let request = Request { body: self.body.clone(), answer };
        assert!(self.queue.send(request).is_ok(), "the connection is open");
        let body = answered.await.expect("the connection is open");
        assert_eq!(body.len(), self.body.len());
    }
}

/// Calls that are in flight, by id.
#[derive(Default)]
struct Calls {
    slots: Vec<Option<oneshot::Sender<Bytes>>>,
    free: Vec<u32>,
}

impl Calls {
    fn begin(&mut self, answer: oneshot::Sender<Bytes>) -> u32 {
        let id = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).expect("few calls")
        });
        self.slots[id as usize] = Some(answer);
        id
    }

    fn end(&mut self, id: u32, body: Bytes) {
        let answer = self.slots[id as usize].take().expect("answered once");
        self.free.push(id);
        // A caller that is gone does not want it.
        let _ = answer.send(body);
    }

    fn in_flight(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

fn lock(calls: &Mutex<Calls>) -> MutexGuard<'_, Calls> {
    calls.lock().unwrap_or_else(PoisonError::into_inner)
}

fn connect<const COPY: usize>(stream: TcpStream) -> mpsc::UnboundedSender<Request> {
    stream.set_nodelay(true).expect("a socket");
    let (reader, mut writer) = stream.into_split();
    let (queue, mut queued) = mpsc::unbounded_channel::<Request>();
    let calls = Arc::new(Mutex::new(Calls::default()));
    let of_reader = calls.clone();
    tokio::spawn(async move {
        let mut reader = Reader::new(reader);
        while reader.fill().await.is_ok_and(|len| len > 0) {
            let mut calls = lock(&of_reader);
            while let Some((id, body)) = reader.next() {
                calls.end(id, body);
            }
        }
    });
    tokio::spawn(async move {
        let mut batch = Vec::with_capacity(BATCH);
        let mut out = Out::<COPY>::default();
        while queued.recv_many(&mut batch, BATCH).await > 0 {
            if lock(&calls).in_flight() > 0 {
                yield_now().await;
                while batch.len() < BATCH {
                    let Ok(request) = queued.try_recv() else { break };
                    batch.push(request);
                }
            }
            {
                let mut calls = lock(&calls);
                for Request { body, answer } in batch.drain(..) {
                    out.push(calls.begin(answer), body);
                }
            }
            if out.write(&mut writer).await.is_err() {
                break;
            }
        }
    });
    queue
}

fn serve<const COPY: usize>(stream: TcpStream) {
    stream.set_nodelay(true).expect("a socket");
    let (reader, mut writer) = stream.into_split();
    let (queue, mut queued) = mpsc::unbounded_channel::<(u32, Bytes)>();
    tokio::spawn(async move {
        let mut reader = Reader::new(reader);
        while reader.fill().await.is_ok_and(|len| len > 0) {
            while let Some(request) = reader.next() {
                if queue.send(request).is_err() {
                    return;
                }
            }
        }
    });
    tokio::spawn(async move {
        let mut batch = Vec::with_capacity(BATCH);
        let mut out = Out::<COPY>::default();
        // Everything in flight here is queued, so there is nobody to wait for.
        while queued.recv_many(&mut batch, BATCH).await > 0 {
            for (id, body) in batch.drain(..) {
                out.push(id, body);
            }
            if out.write(&mut writer).await.is_err() {
                break;
            }
        }
    });
}

struct Reader {
    stream: OwnedReadHalf,
    buf: BytesMut,
    /// Bytes that the message at the front still needs, if its header is there.
    missing: usize,
}

impl Reader {
    fn new(stream: OwnedReadHalf) -> Self {
        Self { stream, buf: BytesMut::new(), missing: 0 }
    }

    async fn fill(&mut self) -> io::Result<usize> {
        let spare = self.buf.capacity() - self.buf.len();
        if spare < self.missing.max(READ_LEN_MIN) {
            // By the time there is more to read, earlier bodies may be gone, and their memory can
            // be used again.
            self.stream.readable().await?;
            self.buf.reserve(self.missing.max(READ_LEN) + READ_LEN_OVER);
        }
        self.stream.read_buf(&mut self.buf).await
    }

    fn next(&mut self) -> Option<(u32, Bytes)> {
        let mut header = self.buf.get(..HEADER_LEN)?;
        let (len, id) = (header.get_u32_le() as usize, header.get_u32_le());
        if self.buf.len() < HEADER_LEN + len {
            self.missing = HEADER_LEN + len - self.buf.len();
            return None;
        }
        self.missing = 0;
        self.buf.advance(HEADER_LEN);
        Some((id, self.buf.split_to(len).freeze()))
    }
}

/// Messages on their way into one write, or a few.
#[derive(Default)]
struct Out<const COPY: usize> {
    segments: VecDeque<Segment>,
    small: Vec<u8>,
}

enum Segment {
    Small(Range<usize>),
    Body(Bytes),
}

impl<const COPY: usize> Out<COPY> {
    fn push(&mut self, id: u32, body: Bytes) {
        let begin = self.small.len();
        let len = u32::try_from(body.len()).expect("a message of less than 4 GiB");
        self.small.extend_from_slice(&len.to_le_bytes());
        self.small.extend_from_slice(&id.to_le_bytes());
        if body.len() <= COPY {
            self.small.extend_from_slice(&body);
        }
        match self.segments.back_mut() {
            Some(Segment::Small(range)) => range.end = self.small.len(),
            _ => self.segments.push_back(Segment::Small(begin..self.small.len())),
        }
        if body.len() > COPY {
            self.segments.push_back(Segment::Body(body));
        }
    }

    async fn write(&mut self, stream: &mut OwnedWriteHalf) -> io::Result<()> {
        while !self.segments.is_empty() {
            let mut slices = [IoSlice::new(&[]); BATCH];
            for (slice, segment) in slices.iter_mut().zip(&self.segments) {
                *slice = IoSlice::new(match segment {
                    Segment::Small(range) => &self.small[range.clone()],
                    Segment::Body(body) => body,
                });
            }
            let count = self.segments.len().min(BATCH);
            let written = stream.write_vectored(&slices[..count]).await?;
            self.advance(written);
        }
        self.small.clear();
        Ok(())
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(segment) = self.segments.front_mut() {
            let len = match segment {
                Segment::Small(range) => range.len(),
                Segment::Body(body) => body.len(),
            };
            if written < len {
                match segment {
                    Segment::Small(range) => range.start += written,
                    Segment::Body(body) => body.advance(written),
                }
                return;
            }
            written -= len;
            self.segments.pop_front();
        }
    }
}
