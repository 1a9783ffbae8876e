//! [`Agent`]: an agent as a child process, known by the lines it prints.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// A program that is an agent, perhaps after some first arguments.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    first_args: Vec<OsString>,
}

impl Program {
    /// The program at `path`.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), first_args: Vec::new() }
    }

    /// This program, which is an agent when its first argument is `subcommand`.
    ///
    /// # Errors
    /// When the system does not say where this program is.
    pub fn this_as(subcommand: &str) -> io::Result<Self> {
        Ok(Self { path: std::env::current_exe()?, first_args: vec![subcommand.into()] })
    }

    /// This program, started by `path` with `args`, as by `nice`, whose last arguments are the
    /// program and its own arguments.
    #[must_use]
    pub fn started_by(self, path: impl Into<PathBuf>, args: &[&str]) -> Self {
        let mut first_args: Vec<OsString> = args.iter().map(OsString::from).collect();
        first_args.push(self.path.into());
        first_args.extend(self.first_args);
        Self { path: path.into(), first_args }
    }
}

/// A running agent. Dropping it kills it, and so does the death of this process, since the agent's
/// stdin ends then.
///
/// Waiting is without bounds here: whoever waits sets one.
#[derive(Debug)]
pub struct Agent {
    id: u64,
    addr: String,
    epoch: u64,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Lines<BufReader<ChildStdout>>,
    events: Vec<Value>,
    replies: VecDeque<Value>,
}

impl Agent {
    /// Starts an agent with JSON output, timings for one machine, and further arguments; ready once
    /// it listens.
    ///
    /// # Errors
    /// When there is no such program, or it ends without listening. (Its stderr is this process's.)
    pub async fn start(
        program: &Program,
        id: u64,
        listen: &str,
        seeds: &[&str],
        more: &[&str],
    ) -> io::Result<Self> {
        let id_text = id.to_string();
        let mut args =
            vec!["--id", &id_text, "--listen", listen, "--preset", "local", "--json", "--tethered"];
        args.extend(seeds.iter().flat_map(|seed| ["--seed", seed]));
        args.extend(more);
        Self::start_like(program, id, &args).await
    }

    /// Starts a program that says what an agent says, with just these arguments; ready once it
    /// listens.
    ///
    /// # Errors
    /// As [`Agent::start`].
    pub async fn start_like(program: &Program, id: u64, args: &[&str]) -> io::Result<Self> {
        let mut command = Command::new(&program.path);
        command.args(&program.first_args).args(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let stdin = child.stdin.take();
        let stdout =
            child.stdout.take().ok_or_else(|| io::Error::other("the agent has no stdout"))?;
        let mut agent = Self {
            id,
            addr: String::new(),
            epoch: 0,
            child,
            stdin,
            stdout: BufReader::new(stdout).lines(),
            events: Vec::new(),
            replies: VecDeque::new(),
        };
        agent.read().await?;
        let listening = agent.events.first().filter(|event| event["event"] == "listening");
        let fields = listening
            .and_then(|event| Some((event["addr"].as_str()?.to_owned(), event["epoch"].as_u64()?)));
        (agent.addr, agent.epoch) =
            fields.ok_or_else(|| io::Error::other("the first line is not `listening`"))?;
        Ok(agent)
    }

    /// Its node's id.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Where its node listens.
    pub fn addr(&self) -> &str {
        &self.addr
    }

    /// Which run of the node it is, as it said when it began to listen.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The process's id, unless it has ended and been waited for.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Every event read so far, from `listening` on.
    pub fn events(&self) -> &[Value] {
        &self.events
    }

    /// Whether it has reported `event` about the member `id`, in what was read so far.
    pub fn has_reported(&self, event: &str, id: u64) -> bool {
        self.events.iter().any(|line| line["event"] == event && line["id"] == id)
    }

    /// Reads until `condition` holds for all events so far.
    ///
    /// # Errors
    /// When the agent ends first, or prints what is not JSON.
    pub async fn until(&mut self, condition: impl Fn(&[Value]) -> bool) -> io::Result<()> {
        while !condition(&self.events) {
            self.read().await?;
        }
        Ok(())
    }

    /// The first event that `is_wanted`, read already or not.
    ///
    /// # Errors
    /// As [`Agent::until`].
    pub async fn event(&mut self, is_wanted: impl Fn(&Value) -> bool) -> io::Result<Value> {
        let mut checked = 0;
        loop {
            if let Some(event) = self.events[checked..].iter().find(|event| is_wanted(event)) {
                return Ok(event.clone());
            }
            checked = self.events.len();
            self.read().await?;
        }
    }

    /// `event` about the member `id`, in its run `epoch` or a later one.
    ///
    /// # Errors
    /// As [`Agent::until`].
    pub async fn reports(&mut self, event: &str, id: u64, epoch: u64) -> io::Result<Value> {
        let is_late_enough = |line: &Value| line["epoch"].as_u64().is_some_and(|at| at >= epoch);
        self.event(|line| line["event"] == event && line["id"] == id && is_late_enough(line)).await
    }

    /// Sends one command and gives its answer, whether that is an `error` or not. To be awaited to
    /// its end: the answer to a command that was given up would be taken for the next one's.
    ///
    /// # Errors
    /// As [`Agent::until`].
    pub async fn ask(&mut self, command: &str) -> io::Result<Value> {
        let stdin = self.stdin.as_mut().ok_or_else(|| io::Error::other("stdin is closed"))?;
        stdin.write_all(format!("{command}\n").as_bytes()).await?;
        stdin.flush().await?;
        loop {
            if let Some(reply) = self.replies.pop_front() {
                return Ok(reply);
            }
            self.read().await?;
        }
    }

    /// Ends its stdin, and so the agent.
    pub fn hang_up(&mut self) {
        self.stdin = None;
    }

    /// Kills it at once (SIGKILL), and waits until it is gone.
    ///
    /// # Errors
    /// The system's.
    pub async fn kill(&mut self) -> io::Result<()> {
        self.child.kill().await
    }

    /// Reads what it still says, and waits until it has ended by itself.
    ///
    /// # Errors
    /// The system's, and when it prints what is not JSON.
    pub async fn ends(&mut self) -> io::Result<ExitStatus> {
        loop {
            match self.read().await {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return self.child.wait().await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes one more line in. Cancelling it loses nothing.
    async fn read(&mut self) -> io::Result<()> {
        let ended =
            || io::Error::new(io::ErrorKind::UnexpectedEof, format!("agent {} has ended", self.id));
        let line = self.stdout.next_line().await?.ok_or_else(ended)?;
        let object: Value = serde_json::from_str(&line).map_err(|error| {
            io::Error::other(format!("agent {} printed {line:?}: {error}", self.id))
        })?;
        if object.get("event").is_some() {
            self.events.push(object);
        } else {
            self.replies.push_back(object);
        }
        Ok(())
    }
}
