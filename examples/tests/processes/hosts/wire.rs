//! [`Wire`]: the network between hosts, packet by packet, in this process.
//!
//! Each host's only interface is a TUN device whose other end is here, so that loss, delay and cuts
//! need nothing of the kernel but that (`tc netem` is a module that many machines do not have).
//! What the hosts run is the kernel's own UDP and TCP.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use chinwag::protocol::rng::Rng;
use tun_rs::AsyncDevice;

/// Longer than what a device hands over at once.
const PACKET_LEN_MAX: usize = 65_536;

/// What happens to packets on their way from one host to another.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Line {
    /// Nothing passes.
    pub(crate) is_cut: bool,
    /// Of a hundred packets, so many are lost.
    pub(crate) loss_percent: u32,
    /// How long a packet is on its way, at least.
    pub(crate) delay: Duration,
    /// Up to so much longer, each as it comes: packets overtake each other.
    pub(crate) jitter: Duration,
    /// Datagrams do not pass.
    pub(crate) without_udp: bool,
    /// Streams do not pass.
    pub(crate) without_tcp: bool,
}

/// Packets since the wire was laid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) udp: u64,
    pub(crate) tcp: u64,
    pub(crate) udp_lost: u64,
    pub(crate) tcp_lost: u64,
}

/// Where packets go, by the last byte of their addresses.
#[derive(Clone)]
pub(crate) struct Wire(Arc<Mutex<Switch>>);

struct Switch {
    ends: BTreeMap<u8, Arc<AsyncDevice>>,
    lines: BTreeMap<(u8, u8), Line>,
    counts: Counts,
    rng: Rng,
}

impl Wire {
    pub(crate) fn new() -> Self {
        let rng = Rng::new(7);
        Self(Arc::new(Mutex::new(Switch {
            ends: BTreeMap::new(),
            lines: BTreeMap::new(),
            counts: Counts::default(),
            rng,
        })))
    }

    fn switch(&self) -> MutexGuard<'_, Switch> {
        self.0.lock().expect("nobody panics with it")
    }

    /// The host behind `device` is at `host` from now on, and nowhere else.
    pub(crate) fn plug(&self, host: u8, device: &Arc<AsyncDevice>) {
        let mut switch = self.switch();
        switch.ends.retain(|_, known| !Arc::ptr_eq(known, device));
        switch.ends.insert(host, device.clone());
    }

    /// One direction.
    pub(crate) fn set_one_way(&self, from: u8, to: u8, line: Line) {
        self.switch().lines.insert((from, to), line);
    }

    /// Both directions between every one of `ones` and every one of `others`.
    pub(crate) fn set_between(&self, ones: &[u8], others: &[u8], line: Line) {
        for (&one, &other) in
            ones.iter().flat_map(|one| others.iter().map(move |other| (one, other)))
        {
            self.set_one_way(one, other, line);
            self.set_one_way(other, one, line);
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        self.switch().counts
    }

    /// Carries what comes out of `device`, for ever.
    pub(crate) async fn carry(self, device: Arc<AsyncDevice>) {
        let mut packet = vec![0; PACKET_LEN_MAX];
        while let Ok(len) = device.recv(&mut packet).await {
            let packet = &packet[..len];
            let Some((to, delay)) = self.switch().pass(packet) else { continue };
            if delay.is_zero() {
                // As on any wire, what does not fit into the receiver is lost.
                _ = to.try_send(packet);
                continue;
            }
            let packet = packet.to_vec();
            tokio::spawn(async move {
                tokio::time::sleep(delay).await;
                _ = to.try_send(&packet);
            });
        }
    }
}

impl Switch {
    /// Where an IPv4 packet goes and how long that takes, unless it is lost.
    fn pass(&mut self, packet: &[u8]) -> Option<(Arc<AsyncDevice>, Duration)> {
        if packet.len() < 20 || packet[0] >> 4 != 4 {
            return None;
        }
        let (is_tcp, is_udp, from, to) = (packet[9] == 6, packet[9] == 17, packet[15], packet[19]);
        let end = self.ends.get(&to).cloned();
        let line = self.lines.get(&(from, to)).copied().unwrap_or_default();
        let is_lost = line.is_cut
            || (is_udp && line.without_udp)
            || (is_tcp && line.without_tcp)
            || self.rng.below_u64(100) < u64::from(line.loss_percent);
        let Counts { udp, tcp, udp_lost, tcp_lost } = &mut self.counts;
        match (is_udp, is_tcp, is_lost || end.is_none()) {
            (true, _, false) => *udp += 1,
            (true, _, true) => *udp_lost += 1,
            (_, true, false) => *tcp += 1,
            (_, true, true) => *tcp_lost += 1,
            _ => {}
        }
        let jitter = u64::try_from(line.jitter.as_nanos()).expect("not that long");
        let more = if jitter == 0 { 0 } else { self.rng.below_u64(jitter) };
        end.filter(|_| !is_lost).map(|end| (end, line.delay + Duration::from_nanos(more)))
    }
}
