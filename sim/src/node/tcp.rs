//! Virtual TCP: ordered, split at arbitrary points, held back by slow readers, half-closed,
//! half-open, reset, refused.
//!
//! A connection is two ends and two pipes; pipe 0 carries what end 0, which dialled, sends.
//! Everything on a pipe arrives in order. What cannot cross at present waits and tries again, as
//! TCP does; nothing is lost and nothing is altered.

mod breaks;
mod way;

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::task::Waker;

use super::state::{State, What};
use crate::choices::{Odds, Site};
use crate::trace::digest;
use crate::trace::frames::Frames;
use crate::trace::record::Way;

/// Bytes of one direction that are under way or unread at most: what holds a writer back.
pub(super) const WINDOW: usize = 128 * 1024;
/// Bytes that travel as one.
const SEGMENT_LEN_MAX: usize = 32 * 1024;
/// A read or a write takes less than it could about so often, in millionths.
const SPLIT_ODDS: u32 = 50_000;
/// What a slow reader takes at once: what fits one page.
const SLOW_LEN: usize = 4_096;

/// What goes from one end to the other.
#[derive(Debug)]
enum Packet {
    Open,
    Opened,
    /// With its number in the trace.
    Data(u64, Vec<u8>),
    End,
    Reset,
    /// So many bytes were read: there is room again.
    Room(usize),
}

/// Who has one end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It dialled, or waits to be accepted.
    Opening,
    Held,
    Gone,
}

#[derive(Debug)]
struct End {
    host: u32,
    own: SocketAddr,
    phase: Phase,
    error: Option<ErrorKind>,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// A slow reader waits before it reads again.
    is_resting: bool,
}

#[derive(Debug, Default)]
struct Pipe {
    under_way: VecDeque<(u64, Packet)>,
    is_scheduled: bool,
    /// When the last of `under_way` arrives.
    last_at: u64,
    unread: VecDeque<u8>,
    /// Bytes of the window that are taken, as the writer knows.
    taken: usize,
    /// Bytes that were read and not told yet.
    read: usize,
    has_ended: bool,
    has_end_arrived: bool,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Conn {
    ends: [End; 2],
    pipes: [Pipe; 2],
    opened_at: u64,
    /// Nothing crosses any more, for ever: a translator on the way has forgotten it.
    is_forgotten: bool,
    /// What its bytes say, for the trace.
    frames: Frames,
    /// A proxy on the way has accepted it for a host that is down.
    is_proxied: bool,
}

/// A listening socket.
#[derive(Debug)]
pub(crate) struct Listening {
    bound: SocketAddr,
    backlog: VecDeque<u64>,
    waker: Option<Waker>,
}

impl State {
    // ---- listeners ----

    pub(super) fn bind_listener(
        &mut self,
        host: u32,
        wanted: SocketAddr,
    ) -> io::Result<SocketAddr> {
        let port = self
            .port_for(host, wanted, |state, port| state.listeners.contains_key(&port))
            .ok_or_else(|| io::Error::from(ErrorKind::AddrNotAvailable))?;
        if self.listeners.contains_key(&(host, port)) {
            return Err(ErrorKind::AddrInUse.into());
        }
        let bound = SocketAddr::new(wanted.ip(), port);
        self.listeners
            .insert((host, port), Listening { bound, backlog: VecDeque::new(), waker: None });
        Ok(bound)
    }

    /// Takes a connection that was opened; `None` is to wait.
    pub(super) fn accept(
        &mut self,
        host: u32,
        port: u16,
        waker: &Waker,
    ) -> Option<io::Result<u64>> {
        let is_blocked = self.machine(host).blocks > 0;
        let Some(listening) = self.listeners.get_mut(&(host, port)) else {
            return Some(Err(ErrorKind::NotConnected.into()));
        };
        let waiting = if is_blocked { None } else { listening.backlog.pop_front() };
        let Some(id) = waiting else {
            listening.waker = Some(waker.clone());
            return None;
        };
        let conn = self.conns.get_mut(&id)?;
        conn.ends[1].phase = Phase::Held;
        Some(Ok(id))
    }

    pub(super) fn drop_listener(&mut self, host: u32, port: u16) {
        let Some(listening) = self.listeners.remove(&(host, port)) else { return };
        for id in listening.backlog {
            self.drop_end(id, 1);
        }
    }

    // ---- dialling ----

    /// Begins to open a connection.
    pub(super) fn dial(&mut self, host: u32, to: SocketAddr) -> u64 {
        let book = &self.network.addresses;
        let own = if to.ip().is_loopback() {
            to.ip()
        } else {
            book.source(self.now, host, book.home(host, 1)).0.ip()
        };
        let port = self.next_id() % 16_384 + 49_152;
        let own = SocketAddr::new(own, u16::try_from(port).unwrap_or(u16::MAX));
        let peer = self.host_at(host, to).unwrap_or(u32::MAX);
        let end = |host, own| End {
            host,
            own,
            phase: Phase::Opening,
            error: None,
            reader: None,
            writer: None,
            is_resting: false,
        };
        let id = self.next_id();
        let conn = Conn {
            ends: [end(host, own), end(peer, to)],
            pipes: Default::default(),
            opened_at: self.now,
            is_forgotten: false,
            frames: Frames::new(id, host, peer),
            is_proxied: false,
        };
        self.conns.insert(id, conn);
        self.hash.add(
            self.now,
            0x18 << 32 | u64::from(host),
            u64::from(peer) << 16 | u64::from(to.port()),
        );
        self.send_packet(id, 0, Packet::Open);
        id
    }

    /// How a dial stands; `None` is to wait.
    pub(super) fn dialled(&mut self, id: u64, waker: &Waker) -> Option<io::Result<()>> {
        let Some(conn) = self.conns.get_mut(&id) else {
            return Some(Err(ErrorKind::NotConnected.into()));
        };
        let end = &mut conn.ends[0];
        if let Some(error) = end.error {
            return Some(Err(error.into()));
        }
        if end.phase == Phase::Held {
            return Some(Ok(()));
        }
        end.reader = Some(waker.clone());
        None
    }

    // ---- reading and writing ----

    pub(super) fn read(
        &mut self,
        id: u64,
        end: usize,
        waker: &Waker,
        buf: &mut [u8],
    ) -> Option<io::Result<usize>> {
        let Some(conn) = self.conns.get_mut(&id) else {
            return Some(Err(ErrorKind::NotConnected.into()));
        };
        let pipe = &mut conn.pipes[1 - end];
        let (host, peer) = (conn.ends[end].host, conn.ends[1 - end].host);
        let machine = &self.machines[host as usize];
        if pipe.unread.is_empty() || machine.blocks > 0 || conn.ends[end].is_resting {
            if pipe.unread.is_empty() && machine.blocks == 0 {
                if let Some(error) = conn.ends[end].error {
                    return Some(Err(error.into()));
                }
                if pipe.has_end_arrived {
                    return Some(Ok(0));
                }
            }
            conn.ends[end].reader = Some(waker.clone());
            return None;
        }
        let slow = machine.reads_every();
        let most = pipe.unread.len().min(buf.len()).min(slow.map_or(usize::MAX, |_| SLOW_LEN));
        let len = most - self.split(host, peer, most);
        let conn = self.conns.get_mut(&id)?;
        let pipe = &mut conn.pipes[1 - end];
        let (front, back) = pipe.unread.as_slices();
        let (first, second) = buf[..len].split_at_mut(len.min(front.len()));
        first.copy_from_slice(&front[..first.len()]);
        second.copy_from_slice(&back[..second.len()]);
        pipe.unread.drain(..len);
        pipe.read += len;
        // Told when it matters, not at every read: a half of the window is a batch.
        let tells = pipe.read >= WINDOW / 2 || (pipe.unread.is_empty() && pipe.taken >= WINDOW / 2);
        let room = if tells { std::mem::take(&mut pipe.read) } else { 0 };
        if let Some(every) = slow {
            conn.ends[end].is_resting = true;
            self.queue.push(self.now + every, What::Readable { conn: id, end });
            self.strike("slow_reader");
        }
        if room > 0 {
            self.send_packet(id, end, Packet::Room(room));
        }
        Some(Ok(len))
    }

    pub(super) fn write(
        &mut self,
        id: u64,
        end: usize,
        waker: &Waker,
        bufs: &[IoSlice<'_>],
    ) -> Option<io::Result<usize>> {
        let Some(conn) = self.conns.get_mut(&id) else {
            return Some(Err(ErrorKind::NotConnected.into()));
        };
        let wanted: usize = bufs.iter().map(|buf| buf.len()).sum();
        if conn.ends[end].error.is_some() || conn.pipes[end].has_ended {
            return Some(Err(ErrorKind::BrokenPipe.into()));
        }
        let room = WINDOW - conn.pipes[end].taken;
        if wanted > 0 && room == 0 {
            conn.ends[end].writer = Some(waker.clone());
            return None;
        }
        let (host, peer) = (conn.ends[end].host, conn.ends[1 - end].host);
        let most = wanted.min(room).min(SEGMENT_LEN_MAX);
        let len = most - self.split(host, peer, most);
        if len == 0 {
            return Some(Ok(0));
        }
        let mut bytes = Vec::with_capacity(len);
        for buf in bufs {
            bytes.extend_from_slice(&buf[..buf.len().min(len - bytes.len())]);
        }
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.pipes[end].taken += len;
        }
        self.stream_bytes += len as u64;
        self.hash.add(self.now, 0x19 << 32 | u64::from(host), digest(&bytes) ^ u64::from(peer));
        let conn = self.conns.get_mut(&id).filter(|_| self.trace.is_on());
        let frames = conn.map_or_else(Vec::new, |conn| conn.frames.read(end, &bytes));
        let number = self.tell_send(host, peer, Way::Stream, &bytes, frames);
        self.send_packet(id, end, Packet::Data(number, bytes));
        Some(Ok(len))
    }

    /// Ends the sending direction.
    pub(super) fn close_end(&mut self, id: u64, end: usize) -> io::Result<()> {
        let Some(conn) = self.conns.get_mut(&id) else {
            return Err(ErrorKind::NotConnected.into());
        };
        if let Some(error) = conn.ends[end].error {
            return Err(error.into());
        }
        if !std::mem::replace(&mut conn.pipes[end].has_ended, true) {
            self.send_packet(id, end, Packet::End);
        }
        Ok(())
    }

    /// The holder of an end lets it go. Bytes unread are a reset, as systems have it.
    pub(super) fn drop_end(&mut self, id: u64, end: usize) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        if std::mem::replace(&mut conn.ends[end].phase, Phase::Gone) == Phase::Gone {
            return;
        }
        conn.ends[end].reader = None;
        conn.ends[end].writer = None;
        let has_unread = !conn.pipes[1 - end].unread.is_empty();
        let has_ended = std::mem::replace(&mut conn.pipes[end].has_ended, true);
        let is_over = conn.ends[end].error.is_some();
        if conn.ends[1 - end].phase == Phase::Gone {
            self.conns.remove(&id);
        } else if has_unread && !is_over {
            self.send_packet(id, end, Packet::Reset);
        } else if !has_ended && !is_over {
            self.send_packet(id, end, Packet::End);
        }
    }

    /// How many bytes fewer than `most` a read or a write takes.
    fn split(&mut self, host: u32, peer: u32, most: usize) -> usize {
        if most < 2 {
            return 0;
        }
        let fewer = u32::try_from(most - 1).unwrap_or(u32::MAX);
        self.choose(Site::Split, host, peer, Odds { per_million: SPLIT_ODDS, most: fewer }) as usize
    }

    /// The other end's address.
    pub(super) fn peer_of(&self, id: u64, end: usize) -> io::Result<SocketAddr> {
        let conn = self.conns.get(&id).ok_or_else(|| io::Error::from(ErrorKind::NotConnected))?;
        let (host, peer) = (conn.ends[end].host, conn.ends[1 - end].own);
        Ok(self.network.addresses.seen_by(host, peer).0)
    }
}
