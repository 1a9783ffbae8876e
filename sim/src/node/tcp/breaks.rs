//! Connections that are lost: with their process, or on the way.

use std::io::ErrorKind;

use super::Packet;
use super::{Conn, Phase};
use crate::node::state::State;

impl State {
    /// The process that held these ends is gone.
    pub(in crate::node) fn close_streams_of(&mut self, host: u32, is_told: bool) {
        let ports: Vec<u16> =
            self.listeners.keys().filter(|port| port.0 == host).map(|port| port.1).collect();
        let mut ends = Vec::new();
        for port in ports {
            let backlog = self.listeners.remove(&(host, port)).map(|listening| listening.backlog);
            ends.extend(backlog.into_iter().flatten().map(|id| (id, 1)));
        }
        for (&id, conn) in &self.conns {
            ends.extend((0..2).filter(|&end| conn.ends[end].host == host).map(|end| (id, end)));
        }
        for (id, end) in ends {
            let Some(conn) = self.conns.get_mut(&id) else { continue };
            let is_other_gone = conn.ends[1 - end].phase == Phase::Gone;
            if conn.ends[end].phase == Phase::Gone
                || (end == 1 && conn.ends[1].phase == Phase::Opening && !is_told)
            {
                continue;
            }
            conn.ends[end].phase = Phase::Gone;
            if is_other_gone {
                self.conns.remove(&id);
            } else if is_told {
                self.send_packet(id, end, Packet::Reset);
            }
        }
    }

    /// Breaks the connections between two machines. With `is_told` both ends learn it at once;
    /// otherwise neither does, and nothing crosses any more.
    pub(in crate::node) fn break_streams(&mut self, a: u32, b: u32, is_told: bool) -> usize {
        let between = |conn: &Conn| {
            let hosts = [conn.ends[0].host, conn.ends[1].host];
            hosts == [a, b] || hosts == [b, a]
        };
        let ids: Vec<u64> =
            self.conns.iter().filter(|(_, conn)| between(conn)).map(|(&id, _)| id).collect();
        for &id in &ids {
            if is_told {
                self.fail_end(id, 0, ErrorKind::ConnectionReset);
                self.fail_end(id, 1, ErrorKind::ConnectionReset);
            } else if let Some(conn) = self.conns.get_mut(&id) {
                conn.is_forgotten = true;
            }
        }
        ids.len()
    }

    /// Nothing crosses the connections of `host` any more, and nobody is told.
    pub(in crate::node) fn forget_streams_of(&mut self, host: u32) {
        let is_of = |conn: &Conn| {
            let hosts = [conn.ends[0].host, conn.ends[1].host];
            hosts.contains(&host) && hosts != [host; 2]
        };
        for conn in self.conns.values_mut().filter(|conn| is_of(conn)) {
            conn.is_forgotten = true;
        }
    }

    /// Whoever waits on a stream of `host` looks again.
    pub(in crate::node) fn unblock_streams(&mut self, host: u32) {
        let mut wakers = Vec::new();
        for conn in self.conns.values_mut() {
            let ends = conn.ends.iter_mut().filter(|end| end.host == host);
            wakers.extend(ends.flat_map(|end| [end.reader.clone(), end.writer.clone()]).flatten());
        }
        let listeners = self.listeners.range_mut((host, 0)..=(host, u16::MAX));
        wakers.extend(listeners.filter_map(|(_, listening)| listening.waker.clone()));
        self.wakers.extend(wakers);
    }

    /// Ends that somebody on `host` still holds, and its bound ports.
    pub(in crate::node) fn sockets_of(&self, host: u32) -> usize {
        let held = |conn: &Conn| {
            conn.ends.iter().filter(|end| end.host == host && end.phase == Phase::Held).count()
        };
        let streams: usize = self.conns.values().map(held).sum();
        let ports =
            self.listeners.keys().chain(self.udp.keys()).filter(|port| port.0 == host).count();
        streams + ports
    }
}
