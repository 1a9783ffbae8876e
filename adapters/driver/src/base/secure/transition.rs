//! [`Either`]: a stream that a peer dialled, encrypted or not (`docs/protocol.md` §2.10.3).

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use chinwag_core::id::NodeId;

use crate::base::runtime::Stream;

/// The first byte of a TLS handshake (RFC 8446, §5.1).
const HANDSHAKE: u8 = 0x16;

/// Makes of a stream what is read from it as TLS.
pub(super) type OverTls = Box<dyn FnOnce(Box<dyn Stream>) -> Box<dyn Stream> + Send>;

/// A stream whose first byte says whether it is encrypted. Whoever dials speaks first, so nothing
/// is written before that byte has come.
pub(super) struct Either(State);

enum State {
    /// `None` while it is being decided.
    Undecided(Option<(Box<dyn Stream>, OverTls, Arc<AtomicU64>)>),
    Decided(Box<dyn Stream>),
}

impl Either {
    /// `plain` counts those that are not encrypted.
    pub(super) fn new(inner: Box<dyn Stream>, over_tls: OverTls, plain: Arc<AtomicU64>) -> Self {
        Self(State::Undecided(Some((inner, over_tls, plain))))
    }

    fn poll_decided(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<&mut dyn Stream>> {
        if let State::Undecided(parts) = &mut self.0 {
            let mut first = [0];
            let ended = || io::Error::from(io::ErrorKind::UnexpectedEof);
            let (inner, ..) = parts.as_mut().ok_or_else(ended)?;
            if ready!(inner.poll_read(cx, &mut first))? == 0 {
                return Poll::Ready(Err(ended()));
            }
            let (inner, over_tls, plain) = parts.take().ok_or_else(ended)?;
            let inner = Box::new(Again { first: Some(first[0]), inner });
            self.0 = State::Decided(if first[0] == HANDSHAKE {
                over_tls(inner)
            } else {
                plain.fetch_add(1, Ordering::Relaxed);
                inner
            });
        }
        match &mut self.0 {
            State::Decided(stream) => Poll::Ready(Ok(&mut **stream)),
            State::Undecided(_) => Poll::Pending,
        }
    }

    fn current(&self) -> Option<&dyn Stream> {
        match &self.0 {
            State::Decided(stream) => Some(&**stream),
            State::Undecided(parts) => parts.as_ref().map(|(inner, ..)| &**inner),
        }
    }
}

impl Stream for Either {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_decided(cx))?.poll_read(cx, buf)
    }

    fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_decided(cx))?.poll_write_vectored(cx, bufs)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            State::Decided(stream) => stream.poll_flush(cx),
            State::Undecided(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            State::Decided(stream) => stream.poll_close(cx),
            State::Undecided(Some((inner, ..))) => inner.poll_close(cx),
            State::Undecided(None) => Poll::Ready(Ok(())),
        }
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.current().map_or(Err(io::ErrorKind::NotConnected.into()), Stream::peer_addr)
    }

    fn may_be(&self, peer: NodeId) -> bool {
        self.current().is_none_or(|stream| stream.may_be(peer))
    }
}

/// A stream of which one byte was read, which is given out again.
struct Again {
    first: Option<u8>,
    inner: Box<dyn Stream>,
}

impl Stream for Again {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        match (self.first, buf.first_mut()) {
            (Some(first), Some(place)) => {
                *place = first;
                self.first = None;
                Poll::Ready(Ok(1))
            }
            _ => self.inner.poll_read(cx, buf),
        }
    }

    fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.inner.poll_write_vectored(cx, bufs)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.poll_flush(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.poll_close(cx)
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.inner.peer_addr()
    }

    fn may_be(&self, peer: NodeId) -> bool {
        self.inner.may_be(peer)
    }
}
