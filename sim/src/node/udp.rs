//! Virtual UDP.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::task::Waker;

use super::state::{Port, State, What};
use crate::host::INBOX_LEN_MAX;
use crate::trace::digest;
use crate::trace::record::{Way, What as Told};

/// The largest payload of a datagram over IPv4.
const DATAGRAM_LEN_MAX: usize = 65_507;
/// Nanoseconds that it takes within one machine.
pub(super) const LOOPBACK: u64 = 10_000;

/// A datagram under way.
#[derive(Debug)]
pub(crate) struct Datagram {
    /// Its number in the trace.
    id: u64,
    from_host: u32,
    from: SocketAddr,
    to_host: u32,
    to: SocketAddr,
    bytes: Vec<u8>,
}

/// A bound socket.
#[derive(Debug)]
pub(crate) struct Udp {
    bound: SocketAddr,
    inbox: VecDeque<(SocketAddr, Vec<u8>)>,
    inbox_len: usize,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// A slow reader waits before it reads again.
    is_resting: bool,
}

impl State {
    pub(super) fn bind_udp(&mut self, host: u32, wanted: SocketAddr) -> io::Result<SocketAddr> {
        let port = self
            .port_for(host, wanted, |state, port| state.udp.contains_key(&port))
            .ok_or_else(|| io::Error::from(ErrorKind::AddrNotAvailable))?;
        if self.udp.contains_key(&(host, port)) {
            return Err(ErrorKind::AddrInUse.into());
        }
        let bound = SocketAddr::new(wanted.ip(), port);
        let udp = Udp {
            bound,
            inbox: VecDeque::new(),
            inbox_len: 0,
            reader: None,
            writer: None,
            is_resting: false,
        };
        self.udp.insert((host, port), udp);
        Ok(bound)
    }

    /// Takes a datagram out of a socket; `None` is to wait.
    pub(super) fn receive_udp(
        &mut self,
        host: u32,
        port: u16,
        waker: &Waker,
        buf: &mut [u8],
    ) -> Option<io::Result<(usize, SocketAddr)>> {
        let (is_blocked, slow) = (self.machine(host).blocks > 0, self.machine(host).reads_every());
        let Some(udp) = self.udp.get_mut(&(host, port)) else {
            return Some(Err(ErrorKind::NotConnected.into()));
        };
        if is_blocked || udp.is_resting || udp.inbox.is_empty() {
            udp.reader = Some(waker.clone());
            return None;
        }
        let (from, bytes) = udp.inbox.pop_front()?;
        udp.inbox_len -= bytes.len();
        if let Some(every) = slow {
            udp.is_resting = true;
            self.queue.push(self.now + every, What::UdpReadable((host, port)));
            self.strike("slow_reader");
        }
        let len = bytes.len().min(buf.len());
        buf[..len].copy_from_slice(&bytes[..len]);
        self.hash.add(self.now, 0x15 << 32 | u64::from(host), digest(&bytes));
        Some(Ok((len, from)))
    }

    /// Sends a datagram, or says that there is no room (`None`).
    pub(super) fn send_udp(
        &mut self,
        host: u32,
        port: u16,
        waker: &Waker,
        bytes: &[u8],
        to: SocketAddr,
    ) -> Option<io::Result<()>> {
        let is_blocked = self.machine(host).blocks > 0;
        let is_full = self.machine(host).unsent_len + bytes.len() > INBOX_LEN_MAX;
        let Some(udp) = self.udp.get_mut(&(host, port)) else {
            return Some(Err(ErrorKind::NotConnected.into()));
        };
        if bytes.len() > DATAGRAM_LEN_MAX {
            return Some(Err(ErrorKind::InvalidInput.into()));
        }
        if is_blocked && is_full {
            udp.writer = Some(waker.clone());
            return None;
        }
        let bound = udp.bound;
        let from = self.source(host, bound, to);
        self.datagrams += 1;
        self.datagram_bytes += bytes.len() as u64;
        self.hash.add(self.now, 0x17 << 32 | u64::from(host), digest(bytes));
        if is_blocked {
            let machine = self.machine(host);
            machine.unsent_len += bytes.len();
            machine.unsent.push((from, to, bytes.to_vec()));
        } else {
            self.carry_datagram(host, from, to, bytes);
        }
        Some(Ok(()))
    }

    /// What waited in a machine that was blocked goes out, and whoever waits for its sockets looks
    /// again.
    pub(super) fn unblock_udp(&mut self, host: u32) {
        let machine = self.machine(host);
        machine.unsent_len = 0;
        for (from, to, bytes) in std::mem::take(&mut machine.unsent) {
            self.carry_datagram(host, from, to, &bytes);
        }
        let wakers: Vec<Waker> = self
            .udp
            .range_mut((host, 0)..=(host, u16::MAX))
            .flat_map(|(_, udp)| [udp.reader.clone(), udp.writer.clone()])
            .flatten()
            .collect();
        self.wakers.extend(wakers);
    }

    fn carry_datagram(&mut self, host: u32, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let Some(to_host) = self.host_at(host, to) else { return };
        if to_host == host {
            let datagram =
                Datagram { id: 0, from_host: host, from, to_host, to, bytes: bytes.to_vec() };
            self.queue.push(self.now + LOOPBACK, What::Datagram(Box::new(datagram)));
            return;
        }
        let id = self.tell_send(host, to_host, Way::Datagram, bytes, Vec::new());
        let (now, before) = (self.now, self.network.struck);
        let (network, choices) = self.network();
        let fates = network.datagram(choices, now, (host, to_host), bytes.len());
        if fates == [None; 2] {
            let why = network.struck.since(&before);
            self.trace.tell(now, host, || Told::Drop { peer: to_host, id, why: why.into() });
        }
        for fate in fates.into_iter().flatten() {
            let mut copy = bytes.to_vec();
            if let Some(bit) = fate.flips {
                copy[bit as usize / 8] ^= 1 << (bit % 8);
            }
            copy.truncate(fate.cut_to.unwrap_or(usize::MAX));
            let datagram = Datagram { id, from_host: host, from, to_host, to, bytes: copy };
            self.queue.push(self.now + fate.takes, What::Datagram(Box::new(datagram)));
        }
    }

    /// A slow reader looks again.
    pub(super) fn udp_reads_again(&mut self, port: Port) {
        let Some(udp) = self.udp.get_mut(&port) else { return };
        udp.is_resting = false;
        let waker = udp.reader.clone();
        self.wake(waker);
    }

    pub(super) fn datagram_arrives(&mut self, datagram: Datagram) {
        let Datagram { id, from_host, from, to_host, to, bytes } = datagram;
        let (from, is_mapped) = self.network.addresses.seen_by(to_host, from);
        if is_mapped {
            self.strike("mapped");
        }
        let lost = |why: &'static str| move || Told::Drop { peer: to_host, id, why: why.into() };
        let Some(udp) = self.udp.get_mut(&(to_host, to.port())) else {
            self.trace.tell(self.now, from_host, lost("nobody"));
            return;
        };
        // What is bound to one address of a machine does not hear the others.
        let is_loopback = to.ip().is_loopback();
        if !udp.bound.ip().is_unspecified() && udp.bound.ip().is_loopback() != is_loopback {
            return;
        }
        if udp.inbox_len + bytes.len() > INBOX_LEN_MAX {
            self.trace.tell(self.now, from_host, lost("buffer full"));
            return;
        }
        udp.inbox_len += bytes.len();
        let waker = udp.reader.take();
        self.trace.tell(self.now, to_host, || Told::Arrive { peer: from_host, id });
        self.hash.add(
            self.now,
            0x14 << 32 | u64::from(to_host),
            digest(&bytes) ^ u64::from(from_host),
        );
        udp.inbox.push_back((from, bytes));
        self.wake(waker);
    }
}
