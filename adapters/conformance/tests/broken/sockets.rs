//! Sockets with faults.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use chinwag::runtime::{Listener, Stream, Timer, UdpSocket};
use chinwag_smol::{Runtime, Smol};

use crate::fault::{Fault, OnePlace, Shared};

/// As a stream without `TCP_NODELAY` on a peer that delays its acknowledgements.
const DELAY: Duration = Duration::from_millis(40);

fn ended() -> io::Error {
    io::Error::other("the socket has ended")
}

pub(crate) fn udp(inner: Box<dyn UdpSocket>, shared: Arc<Shared>) -> Box<dyn UdpSocket> {
    let (rest, has_ended, place) = (None, false, OnePlace::default());
    Box::new(Udp { inner: Some(inner), shared, rest, has_ended, place })
}

struct Udp {
    /// `None` once it is forgotten.
    inner: Option<Box<dyn UdpSocket>>,
    shared: Arc<Shared>,
    /// What did not fit, and from whom it came.
    rest: Option<(Vec<u8>, SocketAddr)>,
    has_ended: bool,
    place: OnePlace,
}

impl Udp {
    fn inner(&mut self) -> &mut dyn UdpSocket {
        &mut **self.inner.as_mut().expect("until it is dropped")
    }

    fn poll_recv_with_rest(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        let (mut datagram, from) = match self.rest.take() {
            Some(rest) => rest,
            None => {
                let mut whole = vec![0; 65_536];
                let (len, from) = ready!(self.inner().poll_recv_from(cx, &mut whole))?;
                whole.truncate(len);
                (whole, from)
            }
        };
        let len = datagram.len().min(buf.len());
        buf[..len].copy_from_slice(&datagram[..len]);
        datagram.drain(..len);
        self.rest = (!datagram.is_empty()).then_some((datagram, from));
        Poll::Ready(Ok((len, from)))
    }
}

impl UdpSocket for Udp {
    fn poll_recv_from(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        let shared = self.shared.clone();
        if shared.has(Fault::KeepsTheRest) {
            return self.poll_recv_with_rest(cx, buf);
        }
        let inner = self.inner.as_mut().expect("until it is dropped");
        loop {
            let (len, from) =
                ready!(self.place.poll(&shared, cx, |cx| inner.poll_recv_from(cx, buf)))?;
            match shared.fault {
                Fault::SkipsEmpty if len == 0 => {}
                Fault::WrongSender => return Poll::Ready(Ok((len, inner.local_addr()?))),
                _ => return Poll::Ready(Ok((len, from))),
            }
        }
    }

    fn poll_send_to(
        &mut self,
        cx: &mut Context<'_>,
        datagram: &[u8],
        to: SocketAddr,
    ) -> Poll<io::Result<()>> {
        if self.has_ended {
            return Poll::Ready(Err(ended()));
        }
        let inner = self.inner.as_mut().expect("until it is dropped");
        let sent =
            ready!(self.place.poll(&self.shared, cx, |cx| inner.poll_send_to(cx, datagram, to)));
        self.has_ended = match self.shared.fault {
            Fault::EndsOnError => sent.is_err(),
            // Who can bind it now finds it closed.
            Fault::EndsOnClosedPort => std::net::UdpSocket::bind(to).is_ok(),
            _ => false,
        };
        Poll::Ready(sent)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.as_ref().ok_or_else(ended)?.local_addr()
    }
}

impl Drop for Udp {
    fn drop(&mut self) {
        if self.shared.has(Fault::KeepsPorts) {
            std::mem::forget(self.inner.take());
        }
    }
}

pub(crate) fn listener(inner: Box<dyn Listener>, shared: Arc<Shared>) -> Box<dyn Listener> {
    Box::new(Tcp { inner: Some(inner), shared })
}

struct Tcp {
    inner: Option<Box<dyn Listener>>,
    shared: Arc<Shared>,
}

impl Listener for Tcp {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Box<dyn Stream>>> {
        let inner = self.inner.as_mut().expect("until it is dropped");
        let accepted = ready!(inner.poll_accept(cx))?;
        Poll::Ready(Ok(stream(accepted, self.shared.clone(), Smol::new().timer())))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.as_ref().ok_or_else(ended)?.local_addr()
    }
}

impl Drop for Tcp {
    fn drop(&mut self) {
        if self.shared.has(Fault::KeepsPorts) {
            std::mem::forget(self.inner.take());
        }
    }
}

pub(crate) fn stream(
    inner: Box<dyn Stream>,
    shared: Arc<Shared>,
    timer: Box<dyn Timer>,
) -> Box<dyn Stream> {
    let (place, has_written) = (OnePlace::default(), false);
    Box::new(Bytes { inner: Some(inner), shared, place, clock: Smol::new(), timer, has_written })
}

struct Bytes {
    inner: Option<Box<dyn Stream>>,
    shared: Arc<Shared>,
    place: OnePlace,
    /// For delays alone.
    clock: Smol,
    timer: Box<dyn Timer>,
    /// Since it last read.
    has_written: bool,
}

impl Stream for Bytes {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let Some(inner) = &mut self.inner else { return Poll::Ready(Err(ended())) };
        let read = ready!(self.place.poll(&self.shared, cx, |cx| inner.poll_read(cx, buf)));
        self.has_written = false;
        if read.is_err() && self.shared.has(Fault::HidesErrors) {
            Poll::Pending
        } else {
            Poll::Ready(read)
        }
    }

    fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Some(inner) = &mut self.inner else { return Poll::Ready(Err(ended())) };
        let wanted = bufs.iter().map(|buf| buf.len()).sum();
        match self.shared.fault {
            Fault::HoldsWritesBack => {
                if self.has_written {
                    ready!(self.timer.poll_expired(cx));
                }
                self.has_written = true;
                self.timer.reset(self.clock.now().mono + DELAY);
                inner.poll_write_vectored(cx, bufs)
            }
            Fault::NoBackPressure => match inner.poll_write_vectored(cx, bufs) {
                Poll::Pending => Poll::Ready(Ok(wanted)),
                written => written,
            },
            Fault::OneSlice => {
                let first = bufs.iter().find(|buf| !buf.is_empty()).map_or(&[][..], |buf| &buf[..]);
                inner.poll_write_vectored(cx, &[IoSlice::new(first)]).map_ok(|_| wanted)
            }
            _ => self.place.poll(&self.shared, cx, |cx| inner.poll_write_vectored(cx, bufs)),
        }
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.shared.has(Fault::ClosesBothWays) {
            self.inner = None;
            return Poll::Ready(Ok(()));
        }
        self.inner.as_mut().ok_or_else(ended)?.poll_close(cx)
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        if self.shared.has(Fault::WrongPeer) {
            return Ok(([192, 0, 2, 1], 1).into());
        }
        self.inner.as_ref().ok_or_else(ended)?.peer_addr()
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        if self.shared.has(Fault::KeepsStreams) {
            std::mem::forget(self.inner.take());
        }
    }
}
