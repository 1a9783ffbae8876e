//! A driver of one's own: chinwag's core on one thread, with std's sockets and nothing
//! asynchronous.
//!
//! ```text
//! cargo run --release --example custom_driver -- ID ADDR [SEED]...
//! cargo run --release --example custom_driver -- 3 127.0.0.1:8003 127.0.0.1:8001
//! ```
//!
//! It is a member like any other: it joins agents, sees who dies, is found dead when it does, and
//! leaves when its stdin ends (ctrl-D). This is the whole contract of the core: one turn takes in
//! what the world did, gives out what the machines want, and waits no longer than to their next
//! deadline. There are two kinds of machine: one [`Membership`], and one [`Connection`] for each
//! TCP stream, which carries gossip and calls.
//!
//! What it leaves out is what the crate `chinwag` adds: services and calls out (this node answers
//! each call with `UnknownService`), one connection where two nodes dial each other at once, waits
//! between dials that fail, names of foreign clusters, and a wait for all sockets at once: std has
//! none, so this one waits for a datagram, and looks at the rest every few milliseconds.

use std::error::Error;
use std::io::{self, ErrorKind, IoSlice, Read as _, Write as _};
use std::net::{TcpListener, TcpStream, ToSocketAddrs as _, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use chinwag::protocol::clock::SharedHlc;
use chinwag::protocol::id::Epoch;
use chinwag::protocol::membership::{
    Config, Destination, Event, Local, Member, Membership, Metadata, Plane,
};
use chinwag::protocol::rpc::{self, Code, Connection, Receiver, Side, Status, Transmit};
use chinwag::protocol::time::{Instant, Now, WallTime};

/// How long a stream waits at most until it is looked at.
const TURN_MAX: Duration = Duration::from_millis(5);
/// std can dial only by blocking, and nothing else happens meanwhile.
const DIAL_TIMEOUT: Duration = Duration::from_millis(100);

struct Driver {
    membership: Membership,
    streams: Vec<Stream>,
    udp: UdpSocket,
    listener: TcpListener,
}

/// A TCP stream with its machine, and bytes that the machine has given out and TCP has not taken
/// yet.
struct Stream {
    tcp: TcpStream,
    machine: Connection,
    receiver: Receiver,
    dialed: Option<Destination>,
    unsent: Transmit,
}

/// Runs until it has left, or nobody reads its stdout.
#[expect(clippy::disallowed_methods, reason = "std waits for stdin only by blocking a thread")]
pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, id, addr, seeds @ ..] = args.as_slice() else {
        return Err("custom_driver ID ADDR [SEED]...".into());
    };
    let stdin = std::thread::spawn(|| io::copy(&mut io::stdin(), &mut io::sink()));
    let clock = clock();
    let mut driver = Driver::start(id.parse()?, addr, clock())?;
    say("listening", &driver.membership.local())?;
    loop {
        let now = driver.wait(&clock)?;
        driver.take_in(now, seeds);
        if stdin.is_finished() {
            driver.membership.leave(now);
        }
        driver.give_out(now);
        while let Some(event) = driver.membership.poll_event() {
            if let Some(member) = event.member() {
                say(event.name(), member)?;
            } else if let Event::LeaveCompleted { .. } = event {
                return Ok(());
            }
        }
    }
}

impl Driver {
    fn start(id: u64, addr: &str, now: Now) -> Result<Self, Box<dyn Error>> {
        let listener = TcpListener::bind(addr)?;
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        let local = Local {
            id: id.into(),
            epoch: Epoch::at(now.wall),
            addr,
            metadata: Metadata::default(),
        };
        let clock = Arc::new(SharedHlc::new(Duration::from_secs(1)));
        // The seed decides everything that is left to chance: any number that others do not have.
        let seed = now.wall.as_nanos() ^ id;
        let mut membership = Membership::new(Config::local(), local, clock, seed, now)?;
        membership.join(now);
        Ok(Self { membership, streams: Vec::new(), udp: UdpSocket::bind(addr)?, listener })
    }

    /// Waits for a datagram until the next deadline, and takes it in.
    fn wait(&mut self, clock: impl Fn() -> Now) -> io::Result<Now> {
        let deadlines = self.streams.iter().filter_map(|stream| stream.machine.poll_timeout());
        let deadline =
            deadlines.chain(self.membership.poll_timeout()).min().unwrap_or(Instant::FAR_FUTURE);
        // The system's timeout must not be zero, which it takes for none at all.
        let wait = deadline.since(clock().mono).clamp(Duration::from_micros(1), TURN_MAX);
        self.udp.set_read_timeout(Some(wait))?;
        let mut datagram = [0; 65_536];
        let received = self.udp.recv_from(&mut datagram);
        let now = clock();
        // An error is the end of the wait, or concerns a datagram sent earlier: a port that is
        // closed, say.
        if let Ok((len, from)) = received {
            self.membership.handle_datagram(now, from, &datagram[..len]);
        }
        Ok(now)
    }

    /// What the world did besides: connections, bytes, names, time.
    fn take_in(&mut self, now: Now, seeds: &[String]) {
        if let Ok((tcp, _)) = self.listener.accept() {
            self.open(now, tcp, None);
        }
        self.streams.iter_mut().for_each(|stream| stream.take_in(now, &mut self.membership));
        if self.membership.poll_lookup() {
            // Afresh at every try: a name may mean another address by now.
            let found = seeds.iter().filter_map(|seed| seed.to_socket_addrs().ok()).flatten();
            self.membership.handle_seeds(now, &found.collect::<Vec<_>>());
        }
        self.membership.handle_timeout(now);
    }

    /// What the machines want: datagrams, gossip on streams, bytes.
    fn give_out(&mut self, now: Now) {
        let mut payload = Vec::new();
        while let Some(transmit) = self.membership.poll_transmit(now, &mut payload) {
            match transmit.plane {
                // What does not get out is lost, as on any network.
                Plane::Datagram => _ = self.udp.send_to(&payload, transmit.to.addr),
                Plane::Stream => self.gossip(now, transmit.to, &payload),
            }
        }
        self.streams.iter_mut().for_each(|stream| stream.give_out(now));
        for ended in self.streams.extract_if(.., |stream| stream.machine.is_closed()) {
            // So that nobody waits for an answer on it.
            ended.dialed.into_iter().for_each(|to| self.membership.handle_stream_failed(now, to));
        }
    }

    /// On the stream there is, or on a new one.
    fn gossip(&mut self, now: Now, to: Destination, payload: &[u8]) {
        if !self.streams.iter().any(|stream| stream.leads_to(to)) {
            match TcpStream::connect_timeout(&to.addr, DIAL_TIMEOUT) {
                Ok(tcp) => self.open(now, tcp, Some(to)),
                // Evidence that no node runs there, and no other error is.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    self.membership.handle_refused(now, to.addr);
                }
                Err(_) => {}
            }
        }
        let stream = self.streams.iter_mut().find(|stream| stream.leads_to(to));
        if stream.is_none_or(|stream| stream.machine.gossip(now, payload).is_err()) {
            self.membership.handle_stream_failed(now, to);
        }
    }

    fn open(&mut self, now: Now, tcp: TcpStream, dialed: Option<Destination>) {
        if tcp.set_nonblocking(true).and_then(|()| tcp.set_nodelay(true)).is_ok() {
            let side = if dialed.is_some() { Side::Dialer } else { Side::Acceptor };
            let (machine, receiver) = self.membership.connection(side, Arc::default(), now);
            self.streams.push(Stream { tcp, machine, receiver, dialed, unsent: Transmit::new() });
        }
    }
}

impl Stream {
    fn take_in(&mut self, now: Now, membership: &mut Membership) {
        match self.tcp.read(self.receiver.buffer()) {
            Ok(len) if len > 0 => self.machine.handle_received(now, &mut self.receiver, len),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            _ => self.machine.handle_closed(now),
        }
        self.machine.handle_timeout(now);
        while let Some(event) = self.machine.poll_event() {
            if let rpc::Event::Request { id, .. } = event {
                let unknown = Status::new(Code::UnknownService, "no service here");
                // The caller may have given up: then there is nobody to tell.
                _ = self.machine.respond(now, id, Err(unknown));
            } else if let (rpc::Event::Gossip(payload), Some(peer)) = (event, self.machine.peer()) {
                membership.handle_stream(now, peer.into(), &payload);
            }
        }
    }

    fn give_out(&mut self, now: Now) {
        while !self.unsent.is_empty() || self.machine.poll_transmit(now, &mut self.unsent) > 0 {
            let slices: Vec<_> = self.unsent.slices().map(IoSlice::new).collect();
            // If the stream has room no more, or has failed, then reading will say which.
            let Ok(len) = self.tcp.write_vectored(&slices) else { return };
            self.unsent.advance(len);
        }
    }

    /// Whether the peer is where `to` is: as it says, or until then as it was dialled.
    fn leads_to(&self, to: Destination) -> bool {
        let addr =
            self.machine.peer().map(|peer| peer.addr).or(self.dialed.map(|dialed| dialed.addr));
        addr == Some(to.addr) && !self.machine.is_closed()
    }
}

/// One line on stdout, as an agent's with `--json`.
fn say(event: &str, Member { id, epoch, addr, .. }: &Member) -> io::Result<()> {
    let (id, epoch) = (id.get(), epoch.get());
    writeln!(io::stdout(), r#"{{"event":"{event}","id":{id},"epoch":{epoch},"addr":"{addr}"}}"#)
}

/// Where time comes from: the machines have none of their own.
#[expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the outside world is a driver's"
)]
fn clock() -> impl Fn() -> Now {
    let start = std::time::Instant::now();
    move || {
        let wall = WallTime::UNIX_EPOCH + std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
        Now { mono: Instant::ZERO + start.elapsed(), wall }
    }
}
