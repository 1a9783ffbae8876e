//! [`Args`]: the command line of an agent.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use chinwag::Config;
use clap::error::ErrorKind;
use clap::{Parser, ValueEnum};

use crate::runtime::Kind;

/// One node of a chinwag cluster, as a process.
///
/// Prints what happens in the cluster on stdout, and takes commands as lines on stdin: members,
/// call ID TEXT, select LEVEL, set K=V, broadcast TEXT, now, stats, keys, install FILE, use KEY,
/// remove KEY, require, leave.
#[derive(Debug, Parser)]
#[command(name = "agent")]
pub(crate) struct Args {
    /// The node's id; no other live node may have it
    #[arg(long, value_name = "N")]
    pub(super) id: u64,
    /// Where to listen, UDP and TCP; port 0 is the system's choice
    #[arg(long, value_name = "ADDR")]
    pub(super) listen: SocketAddr,
    /// A member to join through, there yet or not
    #[arg(long = "seed", value_name = "HOST:PORT", value_parser = seed)]
    pub(super) seeds: Vec<String>,
    /// The cluster's name: nodes of other clusters are not heard
    #[arg(long, value_name = "NAME", default_value = "chinwag")]
    pub(super) cluster: String,
    /// The file with the cluster's secret: everything is encrypted, and nobody without it is heard
    #[arg(long, value_name = "FILE")]
    pub(super) secret: Option<PathBuf>,
    /// Also hear nodes without the secret, until the command `require`: for a running cluster
    #[arg(long, requires = "secret")]
    pub(super) transitional: bool,
    /// The node's certificate, with those that lead to a root after it
    #[arg(long, value_name = "FILE", requires_all = ["key", "ca", "secret"])]
    pub(super) cert: Option<PathBuf>,
    /// The certificate's private key
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(super) key: Option<PathBuf>,
    /// The roots that the certificates of other nodes have to lead to
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(super) ca: Option<PathBuf>,
    /// The trust domain of the certificates: this node's names it spiffe://DOMAIN/CLUSTER/ID
    #[arg(long, value_name = "DOMAIN", default_value = "chinwag")]
    pub(super) domain: String,
    /// Write a new secret to a file that is not there yet, and do nothing else
    #[arg(long, value_name = "FILE", exclusive = true)]
    pub(super) generate_secret: Option<PathBuf>,
    /// The data centre the node is in
    #[arg(long, value_name = "DC")]
    pub(super) data_center: Option<String>,
    /// Something the node says about itself
    #[arg(long = "meta", value_name = "K=V", value_parser = pair)]
    pub(super) metadata: Vec<(String, String)>,
    /// What kind of network the timings are for
    #[arg(long, value_enum, default_value = "lan")]
    pub(super) preset: Preset,
    /// What the node runs on
    #[arg(long, value_enum, default_value = "tokio")]
    pub(super) runtime: Kind,
    /// One JSON object for each line of output
    #[arg(long)]
    pub(super) json: bool,
    /// End at once when stdin ends: a parent that dies takes the agent with it
    #[arg(long, hide = true)]
    pub(super) tethered: bool,
}

/// `--generate-secret`, which needs none of the other arguments.
#[derive(Debug, Parser)]
#[command(name = "agent")]
pub(super) struct Generate {
    #[arg(long, value_name = "FILE")]
    pub(super) generate_secret: PathBuf,
}

impl Generate {
    /// `None` if it is not asked for.
    pub(super) fn parse(args: &[OsString]) -> Option<Result<Self, ExitCode>> {
        let is_asked = |arg: &OsString| arg.to_string_lossy().starts_with("--generate-secret");
        args.iter().any(is_asked).then(|| parsed(Self::try_parse_from(args)))
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Preset {
    /// One machine
    Local,
    /// One network
    Lan,
    /// Several data centres
    Wan,
}

impl Preset {
    pub(super) fn config(self) -> Config {
        match self {
            Self::Local => Config::local(),
            Self::Lan => Config::lan(),
            Self::Wan => Config::wan(),
        }
    }
}

impl Args {
    pub(super) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, ExitCode> {
        parsed(Self::try_parse_from(args))
    }
}

/// The arguments, or the exit that they lead to: help is printed in full, a mistake as one line on
/// stderr.
pub(crate) fn parsed<A>(args: Result<A, clap::Error>) -> Result<A, ExitCode> {
    args.map_err(|error| {
        if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        let _ = writeln!(io::stderr(), "{}", one_line(&error.render().to_string()));
        ExitCode::from(2)
    })
}

/// clap's message without the usage that follows it: its first paragraph, as one line.
fn one_line(message: &str) -> String {
    let paragraph = message.lines().take_while(|line| !line.trim().is_empty());
    paragraph.map(str::trim).collect::<Vec<_>>().join(" ")
}

fn seed(text: &str) -> Result<String, &'static str> {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
            Ok(text.to_owned())
        }
        _ => Err("a seed is HOST:PORT"),
    }
}

/// `K=V`, as on the command line and in the command `set`.
pub(super) fn pair(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("metadata is K=V"),
    }
}
