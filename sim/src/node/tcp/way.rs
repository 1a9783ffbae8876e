//! What is under way on a connection, and what it does where it arrives.

use std::io::ErrorKind;
use std::net::SocketAddr;

use super::{Conn, Packet, Phase};
use crate::node::state::{State, What};
use crate::node::udp::LOOPBACK;
use crate::trace::digest;
use crate::trace::record::What as Told;

/// Connections that wait to be accepted at most (Linux's `SOMAXCONN` was as many for long).
const BACKLOG_MAX: usize = 128;
/// What cannot cross tries again after this long, and an opening of a connection after
/// [`OPEN_AGAIN`].
const SEND_AGAIN: u64 = 200_000_000;
/// See [`SEND_AGAIN`].
const OPEN_AGAIN: u64 = 1_000_000_000;
/// A connection that nobody answers fails after this long (Linux gives up after about two minutes).
const OPEN_FAILS: u64 = 120_000_000_000;

impl State {
    pub(super) fn send_packet(&mut self, id: u64, pipe: usize, packet: Packet) {
        let Some(conn) = self.conns.get(&id) else { return };
        let (from, to) = (conn.ends[pipe].host, conn.ends[1 - pipe].host);
        let is_known = (to as usize) < self.machines.len() && (from as usize) < self.machines.len();
        let now = self.now;
        let takes = if from == to || !is_known {
            LOOPBACK
        } else {
            let len = if let Packet::Data(_, bytes) = &packet { bytes.len() } else { 0 };
            let (network, choices) = self.network();
            let fate = network.segment(choices, now, (from, to), len);
            if fate.is_reset {
                self.fail_end(id, 0, ErrorKind::ConnectionReset);
                self.fail_end(id, 1, ErrorKind::ConnectionReset);
            } else if fate.falls_silent
                && let Some(conn) = self.conns.get_mut(&id)
            {
                conn.is_forgotten = true;
            }
            fate.takes
        };
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let pipe_of = &mut conn.pipes[pipe];
        let at = (now + takes).max(pipe_of.last_at);
        pipe_of.last_at = at;
        pipe_of.under_way.push_back((at, packet));
        if !std::mem::replace(&mut pipe_of.is_scheduled, true) {
            self.queue.push(at, What::Arrive { conn: id, pipe });
        }
    }

    /// What is due on a pipe arrives, or tries again later.
    pub(in crate::node) fn packets_arrive(&mut self, id: u64, pipe: usize) {
        loop {
            let Some(conn) = self.conns.get(&id) else { return };
            let Some((at, packet)) = conn.pipes[pipe].under_way.front() else { break };
            if *at > self.now {
                break;
            }
            let (is_open, opened_at) = (matches!(packet, Packet::Open), conn.opened_at);
            let (from, to) = (conn.ends[pipe].host, conn.ends[1 - pipe].host);
            if self.is_stuck(conn, pipe, is_open) {
                if is_open && self.proxy_accepts(id) {
                    continue;
                }
                self.network.stops_stream(from, to, is_open);
                if is_open && self.now - opened_at > OPEN_FAILS {
                    self.fail_end(id, 0, ErrorKind::TimedOut);
                    return;
                }
                let again = self.now + if is_open { OPEN_AGAIN } else { SEND_AGAIN };
                self.queue.push(again, What::Arrive { conn: id, pipe });
                return;
            }
            let packet =
                self.conns.get_mut(&id).and_then(|conn| conn.pipes[pipe].under_way.pop_front());
            if let Some((_, packet)) = packet {
                self.packet_arrives(id, 1 - pipe, packet);
            }
        }
        let Some(pipe_of) = self.conns.get_mut(&id).map(|conn| &mut conn.pipes[pipe]) else {
            return;
        };
        match pipe_of.under_way.front() {
            Some(&(at, _)) => self.queue.push(at, What::Arrive { conn: id, pipe }),
            None => pipe_of.is_scheduled = false,
        }
    }

    /// Whether nothing gets through on this pipe now.
    fn is_stuck(&self, conn: &Conn, pipe: usize, is_open: bool) -> bool {
        let (from, to) = (conn.ends[pipe].host, conn.ends[1 - pipe].host);
        let Some(there) = self.machines.get(to as usize) else { return true };
        let is_silent = self.machines.get(from as usize).is_some_and(|machine| machine.blocks > 0);
        let is_cut = from != to && self.network.is_stream_cut(from, to, is_open);
        is_cut || is_silent || conn.is_forgotten || !(there.is_up || conn.is_proxied)
    }

    fn packet_arrives(&mut self, id: u64, end: usize, packet: Packet) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let host = conn.ends[end].host;
        let digest_of = if let Packet::Data(_, bytes) = &packet { digest(bytes) } else { 0 };
        self.hash.add(self.now, 0x1a << 32 | u64::from(host), digest_of);
        let is_gone = conn.ends[end].phase == Phase::Gone;
        match packet {
            Packet::Open => self.open_arrives(id),
            Packet::Data(..) | Packet::Opened if is_gone => {
                self.send_packet(id, end, Packet::Reset);
            }
            Packet::Opened => {
                conn.ends[end].phase = Phase::Held;
                let waker = conn.ends[end].reader.take();
                self.wake(waker);
            }
            Packet::Data(number, bytes) => {
                let peer = conn.ends[1 - end].host;
                self.trace.tell(self.now, host, || Told::Arrive { peer, id: number });
                conn.pipes[1 - end].unread.extend(bytes);
                let waker = conn.ends[end].reader.take();
                self.wake(waker);
            }
            Packet::End => {
                conn.pipes[1 - end].has_end_arrived = true;
                let waker = conn.ends[end].reader.take();
                self.wake(waker);
            }
            Packet::Reset => {
                let is_refused = end == 0 && conn.ends[0].phase == Phase::Opening;
                let kind = if is_refused {
                    ErrorKind::ConnectionRefused
                } else {
                    ErrorKind::ConnectionReset
                };
                self.fail_end(id, end, kind);
            }
            Packet::Room(len) => {
                let pipe = &mut conn.pipes[end];
                pipe.taken = pipe.taken.saturating_sub(len);
                let waker = conn.ends[end].writer.take();
                self.wake(waker);
            }
        }
    }

    /// A proxy on the way accepts a connection for a host that is down, if there is one. Nobody
    /// holds the other end, so what is sent on it is answered with a reset.
    fn proxy_accepts(&mut self, id: u64) -> bool {
        let Some(conn) = self.conns.get(&id) else { return false };
        let [from, to] = [conn.ends[0].host, conn.ends[1].host];
        let is_down = self.machines.get(to as usize).is_some_and(|machine| !machine.is_up);
        if !is_down || self.network.is_stream_cut(from, to, true) {
            return false;
        }
        if !self.network.is_proxied(from, to) {
            return false;
        }
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.pipes[0].under_way.pop_front();
            conn.ends[1].phase = Phase::Gone;
            conn.is_proxied = true;
        }
        self.send_packet(id, 1, Packet::Opened);
        true
    }

    /// Somebody dials: the machine answers, whatever its process does.
    fn open_arrives(&mut self, id: u64) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let (from, host, to) = (conn.ends[0].host, conn.ends[1].host, conn.ends[1].own);
        if from != host && self.network.refuses(from, host) {
            conn.ends[1].phase = Phase::Gone;
            return self.send_packet(id, 1, Packet::Reset);
        }
        let listening = self.listeners.get_mut(&(host, to.port()));
        let hears = |bound: SocketAddr| {
            bound.ip().is_unspecified() || bound.ip().is_loopback() == to.ip().is_loopback()
        };
        match listening.filter(|listening| hears(listening.bound)) {
            Some(listening) if listening.backlog.len() < BACKLOG_MAX => {
                listening.backlog.push_back(id);
                let waker = listening.waker.take();
                self.wake(waker);
                self.send_packet(id, 1, Packet::Opened);
            }
            Some(_) => self.send_packet(id, 0, Packet::Open),
            None => {
                conn.ends[1].phase = Phase::Gone;
                self.send_packet(id, 1, Packet::Reset);
            }
        }
    }

    /// One end learns that the connection is over; the other may not.
    pub(super) fn fail_end(&mut self, id: u64, end: usize, kind: ErrorKind) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        if conn.ends[end].phase == Phase::Gone {
            if conn.ends[1 - end].phase == Phase::Gone {
                self.conns.remove(&id);
            }
            return;
        }
        conn.ends[end].error.get_or_insert(kind);
        let wakers = [conn.ends[end].reader.take(), conn.ends[end].writer.take()];
        self.wakers.extend(wakers.into_iter().flatten());
    }

    /// A slow reader looks again.
    pub(in crate::node) fn reads_again(&mut self, id: u64, end: usize) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.ends[end].is_resting = false;
        let waker = conn.ends[end].reader.clone();
        self.wake(waker);
    }
}
