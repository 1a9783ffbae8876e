//! Several hosts on this machine: each a network namespace with an address of its own, and agents
//! in them.
//!
//! This needs root (or CAP_NET_ADMIN and CAP_SYS_ADMIN), `ip`, `nsenter` and `/dev/net/tun`. Where
//! one of them is missing, each story says so in one line and is skipped. A line of
//! `what_this_machine_allows` is shown by every `cargo test`.

mod stories;
mod wire;

use std::io;
use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::task::JoinSet;
use tun_rs::{AsyncDevice, DeviceBuilder};

use crate::common::{Cluster, program};
use wire::Wire;

/// The port of every agent.
const PORT: u16 = 7946;

/// Hosts with a wire between them. Dropping it takes them down.
struct Network {
    wire: Wire,
    hosts: Vec<Host>,
    carriers: JoinSet<()>,
}

struct Host {
    /// The network namespace.
    name: String,
    /// The interface in it.
    interface: String,
    device: Arc<AsyncDevice>,
}

/// The address of host `at`. The range is for documentation: no packet to it leaves a machine,
/// should one ever get out.
fn addr(at: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, at)
}

fn listen(at: u8) -> String {
    format!("{}:{PORT}", addr(at))
}

impl Network {
    /// Hosts 1 to `count`; `None`, said aloud, where the machine does not allow that.
    #[expect(clippy::print_stdout, reason = "the line that says what is skipped")]
    fn of(count: u8) -> Option<Self> {
        let made = Self::make(count);
        made.inspect_err(|reason| println!("skipped: hosts in network namespaces: {reason}")).ok()
    }

    /// Hosts 1 to `count`, or why the machine does not allow that.
    fn make(count: u8) -> io::Result<Self> {
        sweep();
        let mut network = Self { wire: Wire::new(), hosts: Vec::new(), carriers: JoinSet::new() };
        for at in 1..=count {
            match network.add(at) {
                Ok(()) => {}
                // The first of them shows what the machine allows; from then on a failure is one.
                Err(reason) if at == 1 => return Err(reason),
                Err(reason) => panic!("host {at}: {reason}"),
            }
        }
        Ok(network)
    }

    fn add(&mut self, at: u8) -> io::Result<()> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}{number}", prefix(std::process::id()));
        // At most 15 bytes, and nobody else's while it is here and not in its namespace yet.
        let interface = format!("cw{}.{number}", std::process::id());
        run("nsenter", &["--version"])?;
        ip(&["netns", "add", &name])?;
        let device = match DeviceBuilder::new().name(&interface).enable(false).build_async() {
            Ok(device) => Arc::new(device),
            Err(error) => {
                ip(&["netns", "del", &name])?;
                return Err(io::Error::new(error.kind(), format!("/dev/net/tun: {error}")));
            }
        };
        // From here on it goes with the network.
        self.hosts.push(Host {
            name: name.clone(),
            interface: interface.clone(),
            device: device.clone(),
        });
        ip(&["link", "set", &interface, "netns", &name])?;
        ip(&["-n", &name, "link", "set", "lo", "up"])?;
        self.move_to(self.hosts.len() - 1, at)?;
        self.carriers.spawn(self.wire.clone().carry(device));
        Ok(())
    }

    /// The host in this place is at another address from now on.
    fn move_to(&self, place: usize, at: u8) -> io::Result<()> {
        let Host { name, interface, device } = &self.hosts[place];
        ip(&["-n", name, "addr", "flush", "dev", interface])?;
        ip(&["-n", name, "addr", "add", &format!("{}/24", addr(at)), "dev", interface])?;
        ip(&["-n", name, "link", "set", interface, "up"])?;
        self.wire.plug(at, device);
        Ok(())
    }

    /// An agent on the host in `place`, counted from 0, with `listen(at)` and the seeds given.
    async fn start(&self, cluster: &mut Cluster, place: usize, id: u64, at: u8, seeds: &[&str]) {
        let namespace = format!("--net=/run/netns/{}", self.hosts[place].name);
        let program = program().started_by("nsenter", &[&namespace]);
        cluster.start_as(&program, id, &listen(at), seeds, &[]).await;
    }

    /// Agents 1 to the number of hosts, each on the host of its number, all of which have the first
    /// two as seeds.
    async fn agents(&self) -> Cluster {
        let mut cluster = Cluster::empty();
        for (place, at) in (1..).take(self.hosts.len()).enumerate() {
            self.start(&mut cluster, place, at.into(), at, &[&listen(1), &listen(2)]).await;
        }
        cluster
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for host in &self.hosts {
            // One that is in use still goes with its last process.
            _ = ip(&["netns", "del", &host.name]);
        }
    }
}

/// What the names of the namespaces of one process begin with.
fn prefix(process: u32) -> String {
    format!("chinwag-{process}-")
}

/// Takes down what processes that were killed have left.
fn sweep() {
    let Ok(left) = std::fs::read_dir("/run/netns") else { return };
    for name in left.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        let process = name
            .strip_prefix("chinwag-")
            .and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        if process
            .is_some_and(|process| !std::path::Path::new(&format!("/proc/{process}")).exists())
        {
            // Another test may be at it too.
            _ = ip(&["netns", "del", &name]);
        }
    }
}

fn ip(args: &[&str]) -> io::Result<()> {
    run("ip", args)
}

fn run(command: &str, args: &[&str]) -> io::Result<()> {
    let failed =
        |reason: &str| io::Error::other(format!("`{command} {}`: {reason}", args.join(" ")));
    let output =
        Command::new(command).args(args).output().map_err(|error| failed(&error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(failed(String::from_utf8_lossy(&output.stderr).trim()))
}
