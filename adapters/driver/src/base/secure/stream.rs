//! [`TlsStream`]: TLS 1.3 as a stream over a stream (`docs/protocol.md` §5.13).

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use chinwag_core::id::NodeId;
use rustls::{AlertDescription, Connection, Error, PeerIncompatible};

use super::Refusals;
use super::certificates::{self, Checks};
use crate::base::runtime::Stream;

/// The first byte of a hello (§5.1), where a TLS record was expected.
const MAGIC_FIRST: u8 = 0xc7;

/// A stream whose bytes are TLS records on another one. The handshake goes on in whichever of its
/// methods is polled.
pub(crate) struct TlsStream {
    inner: Box<dyn Stream>,
    /// Where the other end is: a connection that was reset does not know it any more.
    peer: Option<SocketAddr>,
    tls: Connection,
    refusals: Arc<Refusals>,
    /// What tells which node a certificate names, where there are certificates.
    checks: Option<Arc<Checks>>,
    /// The first byte that came.
    first: Option<u8>,
    /// A peer that does not encrypt is no reason for a warning.
    may_be_plain: bool,
    is_closing: bool,
}

impl TlsStream {
    pub(crate) fn new(
        inner: Box<dyn Stream>,
        tls: impl Into<Connection>,
        refusals: Arc<Refusals>,
        checks: Option<Arc<Checks>>,
    ) -> Self {
        let (peer, tls) = (inner.peer_addr().ok(), tls.into());
        let (first, may_be_plain, is_closing) = (None, false, false);
        Self { inner, peer, tls, refusals, checks, first, may_be_plain, is_closing }
    }

    /// As it is; but a peer that does not encrypt is expected.
    pub(super) fn tolerating(self, may_be_plain: bool) -> Self {
        Self { may_be_plain, ..self }
    }

    /// Whether the handshake failed because the peer does not encrypt.
    pub(super) fn met_plain(&self) -> bool {
        self.first == Some(MAGIC_FIRST)
    }

    pub(super) fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.tls.is_handshaking() {
            let _sent_later = self.poll_send(cx)?;
            if !self.tls.is_handshaking() {
                break;
            }
            if ready!(self.poll_fill(cx))? == 0 {
                let error = "the peer closed the connection before it was encrypted";
                return Poll::Ready(Err(io::Error::new(ErrorKind::UnexpectedEof, error)));
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Takes in what has come, and says how many bytes; zero is the end. The reader is empty, so
    /// there is room.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut io = Io { stream: &mut *self.inner, cx, first: &mut self.first };
        let len = match self.tls.read_tls(&mut io) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Poll::Pending,
            read => read?,
        };
        let is_handshaking = self.tls.is_handshaking();
        if let Err(error) = self.tls.process_new_packets() {
            // The alert that says why.
            let _sent_or_not = self.poll_send(cx);
            let why = explain(&error, self.first, self.checks.is_some());
            if is_handshaking && !(self.may_be_plain && self.met_plain()) {
                self.refusals.note(self.peer, &why);
            }
            return Poll::Ready(Err(io::Error::new(ErrorKind::InvalidData, why)));
        }
        Poll::Ready(Ok(len))
    }

    /// Hands on what is encrypted. Ready once all of it is.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.tls.wants_write() {
            let mut io = Io { stream: &mut *self.inner, cx, first: &mut self.first };
            match self.tls.write_tls(&mut io) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Poll::Pending,
                Ok(0) => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                written => written.map(|_| ())?,
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Stream for TlsStream {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_handshake(cx))?;
        loop {
            match self.tls.reader().read(buf) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // docs/protocol.md §5.13.4
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                    let why = "the connection was cut off: its end was not authenticated";
                    return Poll::Ready(Err(io::Error::new(ErrorKind::UnexpectedEof, why)));
                }
                read => return Poll::Ready(read),
            }
            // A change of keys that the peer has asked for is answered.
            let _sent_later = self.poll_send(cx)?;
            ready!(self.poll_fill(cx))?;
        }
    }

    fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_handshake(cx))?;
        // So what one write has encrypted is all that is held.
        ready!(self.poll_send(cx))?;
        let len = self.tls.writer().write_vectored(bufs)?;
        let _sent_later = self.poll_send(cx)?;
        Poll::Ready(Ok(len))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        self.inner.poll_flush(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Before the handshake is done there is nothing that could be cut off.
        if !std::mem::replace(&mut self.is_closing, true) && !self.tls.is_handshaking() {
            self.tls.send_close_notify();
        }
        ready!(self.poll_send(cx))?;
        self.inner.poll_close(cx)
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.inner.peer_addr()
    }

    fn may_be(&self, peer: NodeId) -> bool {
        let Some(checks) = &self.checks else { return true };
        let shown = self.tls.peer_certificates().and_then(|chain| chain.first());
        shown.and_then(|certificate| checks.node_of(certificate)) == Some(peer)
    }
}

/// A stream as rustls wants it, for as long as one poll takes: what is pending would block, and the
/// waker is registered.
struct Io<'a, 'b, 'c> {
    stream: &'a mut dyn Stream,
    cx: &'b mut Context<'c>,
    first: &'a mut Option<u8>,
}

fn or_block<T>(poll: Poll<io::Result<T>>) -> io::Result<T> {
    match poll {
        Poll::Ready(result) => result,
        Poll::Pending => Err(ErrorKind::WouldBlock.into()),
    }
}

impl Read for Io<'_, '_, '_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = or_block(self.stream.poll_read(self.cx, buf))?;
        if self.first.is_none() {
            *self.first = buf[..len].first().copied();
        }
        Ok(len)
    }
}

impl Write for Io<'_, '_, '_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(buf)])
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        or_block(self.stream.poll_write_vectored(self.cx, bufs))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What went wrong, for whoever runs the node (`docs/protocol.md` §5.13.3).
fn explain(error: &Error, first: Option<u8>, has_certificates: bool) -> String {
    if let Some(why) = certificates::reason(error) {
        return why;
    }
    match error {
        _ if first == Some(MAGIC_FIRST) => {
            "the peer does not encrypt: it was started without a secret".into()
        }
        Error::InvalidMessage(_) if first != Some(0x16) && first != Some(0x15) => {
            "the peer does not speak TLS".into()
        }
        Error::General(_)
        | Error::NoCertificatesPresented
        | Error::InvalidCertificate(_)
        | Error::AlertReceived(
            AlertDescription::AccessDenied
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateRequired
            | AlertDescription::CertificateUnknown
            | AlertDescription::HandshakeFailure
            | AlertDescription::UnknownCA,
        ) => match has_certificates {
            true => "the peer does not accept this node's certificate".into(),
            false => "the peer has another secret, or one for another cluster name".into(),
        },
        Error::PeerIncompatible(PeerIncompatible::IncorrectCertificateTypeExtension)
        | Error::AlertReceived(AlertDescription::UnsupportedCertificate) => {
            "one of the two nodes has certificates, and the other one has a secret alone".into()
        }
        Error::AlertReceived(AlertDescription::CertificateRevoked) => {
            "the peer refuses this node's certificate: it is revoked".into()
        }
        Error::AlertReceived(AlertDescription::CertificateExpired) => {
            "the peer refuses this node's certificate: it has expired".into()
        }
        other => format!("TLS failed: {other}"),
    }
}
