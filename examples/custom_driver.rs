//! A driver of one's own: chinwag's core on one thread, with std's sockets and nothing asynchronous.
//!
//! ```text
//! cargo run --release --example custom_driver -- ID ADDR [SEED]...
//! cargo run --release --example custom_driver -- 3 127.0.0.1:8003 127.0.0.1:8001
//! ```
//!
//! It is a member like any other: it joins agents, sees who dies, and is found dead when it does. This is the whole contract of the core:
//! one turn takes in what the world did, gives out what the machines want, and waits no longer than to their next deadline. There are two kinds
//! of machine: one [`Membership`], and one [`Connection`] for each TCP stream, which carries gossip and calls.
//!
//! What it leaves out is what the crate `chinwag` adds: services and calls out (this node answers each call with `UnknownService`),
//! one connection where two nodes dial each other at once, waits between dials that fail, a good leave, and a wait for all sockets
//! at once: std has none, so this one waits for a datagram, and looks at the rest every few milliseconds.

use std::error::Error;
use std::io::{self, ErrorKind, IoSlice, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs as _, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use chinwag::core::clock::SharedHlc;
use chinwag::core::id::Epoch;
use chinwag::core::membership::{Config, Destination, Event, Local, Member, Membership, Plane, StreamPeer};
use chinwag::core::rpc::{self, CloseReason, Code, Connection, Hello, Receiver, Side, Status, Transmit};
use chinwag::core::time::{Instant, Now, WallTime};

/// How long a stream waits at most until it is looked at.
const TURN_MAX: Duration = Duration::from_millis(5);
/// std can dial only by blocking, and nothing else happens meanwhile.
const DIAL_TIMEOUT: Duration = Duration::from_millis(100);

struct Driver {
    membership: Membership,
    streams: Vec<Stream>,
    clock: Arc<SharedHlc>,
    hello: Hello,
    udp: UdpSocket,
    listener: TcpListener,
    seeds: Vec<String>,
}

/// A TCP stream with its machine, and bytes that the machine has given out and TCP has not taken yet.
struct Stream {
    tcp: TcpStream,
    machine: Connection,
    receiver: Receiver,
    dialed: Option<Destination>,
    unsent: Transmit,
}

/// Runs until nobody reads its stdout.
pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, id, addr, seeds @ ..] = args.as_slice() else {
        return Err("custom_driver ID ADDR [SEED]...".into());
    };
    let clock = clock();
    let listener = TcpListener::bind(addr)?;
    listener.set_nonblocking(true)?;
    let mut driver = Driver::new(id.parse()?, listener, seeds.to_vec(), clock())?;
    say("listening", &driver.membership.local())?;
    loop {
        let now = driver.wait(&clock)?;
        driver.take_in(now);
        driver.give_out(now);
        driver.publish(now)?;
    }
}

impl Driver {
    fn new(id: u64, listener: TcpListener, seeds: Vec<String>, now: Now) -> Result<Self, Box<dyn Error>> {
        let addr = listener.local_addr()?;
        let config = Config::local();
        let hello =
            Hello { cluster: config.cluster.clone(), id: id.into(), epoch: Epoch::at(now.wall), addr };
        let clock = Arc::new(SharedHlc::new(Duration::from_secs(1)));
        let local = Local { id: hello.id, epoch: hello.epoch, addr, metadata: Default::default() };
        // The seed decides everything that is left to chance: any number that others do not have.
        let seed = now.wall.as_nanos() ^ id;
        let mut membership = Membership::new(config, local, clock.clone(), seed, now)?;
        membership.join(now);
        Ok(Self {
            membership,
            streams: Vec::new(),
            clock,
            hello,
            udp: UdpSocket::bind(addr)?,
            listener,
            seeds,
        })
    }

    /// Waits for a datagram until the next deadline, and takes it in.
    fn wait(&mut self, clock: &impl Fn() -> Now) -> io::Result<Now> {
        let deadlines = self.streams.iter().filter_map(|stream| stream.machine.poll_timeout());
        let deadline = deadlines.chain(self.membership.poll_timeout()).min().unwrap_or(Instant::FAR_FUTURE);
        // The system's timeout must not be zero, which it takes for none at all.
        let wait = deadline.since(clock().mono).clamp(Duration::from_micros(1), TURN_MAX);
        self.udp.set_read_timeout(Some(wait))?;
        let mut datagram = [0; 65_536];
        let received = self.udp.recv_from(&mut datagram);
        let now = clock();
        // An error is the end of the wait, or concerns a datagram sent earlier: a port that is closed, say.
        if let Ok((len, from)) = received {
            self.membership.handle_datagram(now, from, &datagram[..len]);
        }
        Ok(now)
    }

    /// What the world did: connections, bytes, names, time.
    fn take_in(&mut self, now: Now) {
        while let Ok((tcp, _)) = self.listener.accept() {
            self.streams.extend(self.stream(now, tcp, None));
        }
        for stream in &mut self.streams {
            stream.take_in(now, &mut self.membership);
        }
        if self.membership.poll_lookup() {
            // Afresh at every try: a name may mean another address by now.
            let found = self.seeds.iter().filter_map(|seed| seed.to_socket_addrs().ok());
            self.membership.handle_seeds(now, &found.flatten().collect::<Vec<_>>());
        }
        if self.membership.poll_timeout().is_some_and(|deadline| deadline <= now.mono) {
            self.membership.handle_timeout(now);
        }
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
        for stream in &mut self.streams {
            stream.give_out(now);
        }
        for ended in self.streams.extract_if(.., |stream| stream.machine.is_closed()) {
            // So that nobody waits for an answer on it.
            ended.dialed.into_iter().for_each(|to| self.membership.handle_stream_failed(now, to));
        }
    }

    /// On the stream there is, or on a new one.
    fn gossip(&mut self, now: Now, to: Destination, payload: &[u8]) {
        if !self.streams.iter().any(|stream| stream.leads_to(to)) {
            let tcp = TcpStream::connect_timeout(&to.addr, DIAL_TIMEOUT);
            self.streams.extend(tcp.ok().and_then(|tcp| self.stream(now, tcp, Some(to))));
        }
        let stream = self.streams.iter_mut().find(|stream| stream.leads_to(to));
        if stream.is_none_or(|stream| stream.machine.gossip(now, payload).is_err()) {
            self.membership.handle_stream_failed(now, to);
        }
    }

    fn stream(&self, now: Now, tcp: TcpStream, dialed: Option<Destination>) -> Option<Stream> {
        tcp.set_nonblocking(true).and_then(|()| tcp.set_nodelay(true)).ok()?;
        let side = if dialed.is_some() { Side::Dialer } else { Side::Acceptor };
        let config = Arc::new(rpc::Config::default());
        let (machine, receiver) = Connection::new(side, config, self.hello.clone(), self.clock.clone(), now);
        Some(Stream { tcp, machine, receiver, dialed, unsent: Transmit::default() })
    }

    /// What happened to the cluster.
    fn publish(&mut self, now: Now) -> io::Result<()> {
        while let Some(event) = self.membership.poll_event() {
            match &event {
                Event::Joined(member) => say("joined", member)?,
                Event::Suspected(member) => say("suspected", member)?,
                Event::Recovered(member) => say("recovered", member)?,
                Event::Updated(member) => say("updated", member)?,
                Event::Left(member) => say("left", member)?,
                Event::Died(member) => say("died", member)?,
                _ => {}
            }
            if let Event::Died(member) = &event {
                let streams = self.streams.iter_mut().filter(|stream| stream.is_of(member));
                streams.for_each(|stream| stream.machine.handle_peer_gone(now));
            }
        }
        // The cluster may know a later run of this id: then this node has moved past it, and says so to whoever it meets next.
        self.hello.epoch = self.membership.local().epoch;
        Ok(())
    }
}

impl Stream {
    fn take_in(&mut self, now: Now, membership: &mut Membership) {
        loop {
            match self.tcp.read(self.receiver.buffer()) {
                Ok(len) if len > 0 => self.machine.handle_received(now, &mut self.receiver, len),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                _ => break self.machine.handle_closed(now),
            }
        }
        self.machine.handle_timeout(now);
        while let Some(event) = self.machine.poll_event() {
            match event {
                rpc::Event::Gossip(payload) => {
                    if let Some(peer) = self.machine.peer() {
                        let peer = StreamPeer { id: peer.id, epoch: peer.epoch, addr: peer.addr };
                        membership.handle_stream(now, peer, &payload);
                    }
                }
                rpc::Event::Request { id, method_id, .. } => {
                    let service = self.machine.method(method_id).map_or("", |method| method.service);
                    let unknown = Status::new(Code::UnknownService, format!("no service {service:?}"));
                    // The caller may have given up: then there is nobody to tell.
                    _ = self.machine.respond(now, id, Err(unknown));
                }
                rpc::Event::Closed(CloseReason::ForeignCluster { theirs, .. }) => {
                    if let Ok(from) = self.tcp.peer_addr() {
                        membership.handle_foreign_hello(from, &theirs);
                    }
                }
                _ => {}
            }
        }
    }

    fn give_out(&mut self, now: Now) {
        while !self.unsent.is_empty() || self.machine.poll_transmit(now, &mut self.unsent) > 0 {
            let slices: Vec<_> = self.unsent.slices().map(IoSlice::new).collect();
            match self.tcp.write_vectored(&slices) {
                Ok(len) => self.unsent.advance(len),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => {
                    self.unsent.clear();
                    self.machine.handle_closed(now);
                }
            }
        }
    }

    fn leads_to(&self, to: Destination) -> bool {
        let is_dialed = self.dialed.is_some_and(|dialed| dialed.addr == to.addr);
        let peer = self.machine.peer().map(|peer| peer.id);
        !self.machine.is_closed() && if peer.is_some() && to.id.is_some() { peer == to.id } else { is_dialed }
    }

    fn is_of(&self, member: &Member) -> bool {
        self.machine.peer().is_some_and(|peer| peer.id == member.id && peer.epoch <= member.epoch)
    }
}

/// One line on stdout, as an agent's with `--json`.
fn say(event: &str, member: &Member) -> io::Result<()> {
    let (id, epoch, addr): (_, _, SocketAddr) = (member.id.get(), member.epoch.get(), member.addr);
    writeln!(io::stdout(), r#"{{"event":"{event}","id":{id},"epoch":{epoch},"addr":"{addr}"}}"#)
}

/// Where time comes from: the machines have none of their own.
#[expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a driver is where the outside world is"
)]
fn clock() -> impl Fn() -> Now {
    let start = std::time::Instant::now();
    move || {
        let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Now { mono: Instant::ZERO + start.elapsed(), wall: WallTime::UNIX_EPOCH + wall }
    }
}
