//! One end of a byte stream, and frames written by hand after `docs/protocol.md` §5.1 to §5.3.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chinwag_core::clock::SharedHlc;
use chinwag_core::id::{Epoch, Fence, NodeId};
use chinwag_core::rpc::{
    Config, Connection, Event, Hello, Receiver, SLICES_MAX, Side, Transmit, archive_format,
};
use chinwag_core::time::{Instant, Now};

use crate::forge::{CLUSTER, WALL_START, home};

/// Frame kinds (§5.2.2).
pub const KINDS: [u8; 12] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 17, 18];
/// The timeout that means none (§5.3.1).
pub const NO_TIMEOUT: u64 = u64::MAX;
/// A message comes in fragments (§5.2.4).
pub const FLAG_MORE: u8 = 0x10;

thread_local! {
    /// A machine is at work.
    static IS_IN_MACHINE: Cell<bool> = const { Cell::new(false) };
}

/// Bytes of a user whose owner must not be dropped inside of a machine: where it is locked, that
/// is.
pub fn owned(bytes: Vec<u8>) -> Bytes {
    struct Owner(Vec<u8>);

    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }

    impl Drop for Owner {
        fn drop(&mut self) {
            assert!(!IS_IN_MACHINE.get(), "a machine drops nothing of a user's");
        }
    }

    Bytes::from_owner(Owner(bytes))
}

/// A machine, and the half of it that reads the stream.
pub struct End {
    /// The machine.
    pub machine: Connection,
    /// `None` while the machine reads from it.
    receiver: Option<Receiver>,
    was_open: bool,
}

impl End {
    /// Node `id`, 1 the dialler and 2 the acceptor.
    pub fn new(id: u64, config: Config) -> Self {
        let side = if id == 1 { Side::Dialer } else { Side::Acceptor };
        let clock = Arc::new(SharedHlc::new(Duration::from_millis(500)));
        let hello = Hello {
            cluster: CLUSTER.into(),
            id: NodeId::new(id),
            epoch: Epoch::new(7),
            addr: home(id),
        };
        let (machine, receiver) = Connection::new(side, Arc::new(config), hello, clock, start());
        Self { machine, receiver: Some(receiver), was_open: false }
    }

    /// Has the machine do something. It drops nothing that [`owned`] made: that is done after it.
    pub fn act<T>(&mut self, act: impl FnOnce(&mut Connection) -> T) -> T {
        IS_IN_MACHINE.set(true);
        let result = act(&mut self.machine);
        IS_IN_MACHINE.set(false);
        drop(self.machine.take_trash());
        result
    }

    /// Bytes of the stream come, `chunk` at a time at most.
    pub fn receive(&mut self, now: Now, mut bytes: &[u8], chunk: usize) {
        while !bytes.is_empty() {
            let buffer = self.receiver.as_mut().expect("it is put back").buffer();
            let len = buffer.len().min(bytes.len()).min(chunk.max(1));
            assert!(len > 0, "a receive buffer is never empty");
            buffer[..len].copy_from_slice(&bytes[..len]);
            bytes = &bytes[len..];
            let mut receiver = std::mem::take(&mut self.receiver).expect("it is put back");
            self.act(|machine| machine.handle_received(now, &mut receiver, len));
            self.receiver = Some(receiver);
            self.was_open |= self.machine.peer().is_some();
        }
    }

    /// What one write takes, put after `out`; how many bytes that is.
    pub fn transmit(&mut self, now: Now, out: &mut Vec<u8>) -> usize {
        let (mut transmit, was_closed) = (Transmit::new(), self.machine.is_closed());
        let added = self.act(|machine| machine.poll_transmit(now, &mut transmit));
        assert!(
            added == 0 || !was_closed || !self.was_open,
            "§5: closed, it says nothing: that would stand behind half a frame"
        );
        assert_eq!(added, transmit.len(), "what is added is what is there");
        let before = out.len();
        while !transmit.is_empty() {
            let from = out.len();
            transmit.slices().for_each(|slice| out.extend_from_slice(slice));
            assert!(
                out.len() > from && transmit.slices().count() <= SLICES_MAX,
                "some slices, and not too many"
            );
            transmit.advance(out.len() - from);
        }
        assert_eq!(out.len() - before, added, "all of it is in the slices");
        added
    }

    /// Everything there is to write.
    pub fn drain(&mut self, now: Now) -> Vec<u8> {
        let mut out = Vec::new();
        while self.transmit(now, &mut out) > 0 {}
        out
    }

    /// The next event, its body checked for where it lies.
    pub fn event(&mut self) -> Option<Event> {
        let event = self.machine.poll_event()?;
        let body = match &event {
            Event::Request { body, .. }
            | Event::OneWay { body, .. }
            | Event::Chunk { body, .. } => Some(body),
            Event::Gossip(body) | Event::Response { result: Ok(body), .. } => Some(body),
            _ => None,
        };
        let is_aligned = body.is_none_or(|body| body.as_ptr().addr().is_multiple_of(16));
        assert!(is_aligned, "§5.2.1: a body begins at a multiple of 16: {event:?}");
        Some(event)
    }

    /// Time is told; a timer that fires moves on.
    pub fn tell_time(&mut self, now: Now) {
        self.act(|machine| machine.handle_timeout(now));
        let due = self.machine.poll_timeout();
        assert!(
            due.is_none_or(|due| due > now.mono),
            "§5.8: what was due at {due:?} is done at {:?}",
            now.mono
        );
    }
}

/// When every story begins.
pub const fn start() -> Now {
    Now { mono: Instant::ZERO, wall: WALL_START }
}

/// `now`, and so much later.
pub fn later(now: Now, by: Duration) -> Now {
    Now { mono: now.mono + by, wall: now.wall + by }
}

/// What a hello says beside the name of the cluster (§5.1.2).
#[derive(Clone, Copy, Debug)]
pub struct Greeting {
    /// Lowest and highest version.
    pub versions: [u8; 2],
    /// The archive format.
    pub format: u8,
    /// Methods, calls, message length, headers length, and the four windows that the sender
    /// accepts.
    pub limits: [u32; 8],
}

impl Default for Greeting {
    fn default() -> Self {
        let limits = [100, 64, 1 << 20, 8_192, 1 << 18, 1 << 20, 1 << 20, 1 << 20];
        Self { versions: [1, 1], format: archive_format(), limits }
    }
}

/// The hello of node 2 of the cluster.
pub fn hello(greeting: &Greeting) -> Vec<u8> {
    let [methods, calls, message_len, headers_len, windows @ ..] = greeting.limits;
    let mut payload = vec![greeting.versions[0], greeting.versions[1], greeting.format];
    payload.push(u8::try_from(CLUSTER.len()).expect("a short name"));
    payload.extend_from_slice(&methods.to_le_bytes()[..2]);
    payload.extend_from_slice(&home(2).port().to_le_bytes());
    for id in [Fence::of(CLUSTER).get(), 2, 7] {
        payload.extend_from_slice(&id.to_le_bytes());
    }
    payload.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 0, 0, 2]);
    for limit in [calls, message_len, headers_len].into_iter().chain(windows).chain([0]) {
        payload.extend_from_slice(&limit.to_le_bytes());
    }
    payload.extend_from_slice(CLUSTER.as_bytes());
    let mut out = b"\xc7hinwag\n".to_vec();
    out.extend_from_slice(&u32::try_from(payload.len()).expect("a short hello").to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&payload);
    pad(&mut out);
    out
}

/// A frame's header (§5.2.1), without the lengths.
#[derive(Clone, Copy, Debug, Default)]
pub struct Head {
    /// Its kind.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// The call.
    pub call: u32,
    /// The method.
    pub method: u16,
    /// Status, or number of a window.
    pub code: u16,
}

/// The 16 bytes, with these lengths.
pub fn header(head: Head, extension_len: u16, body_len: u32) -> Vec<u8> {
    let mut out = body_len.to_le_bytes().to_vec();
    out.extend_from_slice(&head.call.to_le_bytes());
    out.extend_from_slice(&[head.kind, head.flags]);
    for field in [head.method, extension_len, head.code] {
        out.extend_from_slice(&field.to_le_bytes());
    }
    out
}

/// A whole frame.
pub fn frame(head: Head, extension: &[u8], body: &[u8]) -> Vec<u8> {
    let extension = &extension[..extension.len().min(usize::from(u16::MAX))];
    let extension_len = u16::try_from(extension.len()).unwrap_or(u16::MAX);
    let mut out = header(head, extension_len, u32::try_from(body.len()).unwrap_or(u32::MAX));
    for part in [extension, body] {
        out.extend_from_slice(part);
        pad(&mut out);
    }
    out
}

/// Zeros up to a multiple of 16.
pub fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(16), 0);
}

/// An extension of a stamp and a timeout (§5.3.1).
pub fn extension(stamp: u64, timeout: u64) -> Vec<u8> {
    [stamp.to_le_bytes(), timeout.to_le_bytes()].concat()
}

/// Names method `id` (§5.2.5).
pub fn intern(id: u16, service: &str, method: &str) -> Vec<u8> {
    let mut body = 9u64.to_le_bytes().to_vec();
    for name in [service, method] {
        body.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
        body.extend_from_slice(name.as_bytes());
    }
    frame(Head { kind: 5, method: id, ..Head::default() }, &[], &body)
}
