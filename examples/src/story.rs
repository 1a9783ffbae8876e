//! What stories of several processes have in common: steps with bounds, lines that say when, an
//! exit code.

use std::fmt;
use std::future::Future;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, timeout};

use crate::process::{Agent, Program};

/// What a story fell short of.
#[derive(Debug)]
pub struct Shortfall(pub(crate) String);

impl fmt::Display for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Shortfall {}

impl From<io::Error> for Shortfall {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

/// Tells the story called `name` on stdout, and ends it with `name: ok` there, or with what it fell
/// short of on stderr.
pub(crate) fn main(
    name: &str,
    program: io::Result<Program>,
    tell: impl AsyncFnOnce(&Program) -> Result<(), Shortfall>,
) -> ExitCode {
    let told = program.and_then(|program| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(runtime.block_on(tell(&program)))
    });
    let shortfall = match told {
        Ok(Ok(())) => {
            line(format_args!("{name}: ok"));
            return ExitCode::SUCCESS;
        }
        Ok(Err(shortfall)) => shortfall.to_string(),
        Err(error) => error.to_string(),
    };
    let _ = writeln!(io::stderr(), "{name}: {shortfall}");
    ExitCode::FAILURE
}

/// One step within its bound.
pub(crate) async fn within(
    bound: Duration,
    wanted: &str,
    step: impl Future<Output = Result<(), Shortfall>>,
) -> Result<(), Shortfall> {
    let reason = match timeout(bound, step).await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(shortfall)) => shortfall.to_string(),
        Err(_) => format!("not within {} s", bound.as_secs()),
    };
    Err(Shortfall(format!("did not {wanted}: {reason}")))
}

/// Says what happened, and how long after the story `began`.
pub(crate) fn say(began: Instant, what: &str, how: fmt::Arguments<'_>) {
    line(format_args!("{:>7.3} s  {what:<9} {how}", began.elapsed().as_secs_f64()));
}

/// One line on stdout. Without a reader the story is still told, for its exit code.
pub(crate) fn line(text: fmt::Arguments<'_>) {
    let _ = writeln!(io::stdout(), "{text}");
}

/// What the one of `agents` with this id answers to `command`.
///
/// # Errors
/// There is no such agent, it has ended, or its answer is an error.
pub(crate) async fn ask(agents: &mut [Agent], id: u64, command: &str) -> Result<Value, Shortfall> {
    let answer = find(agents, id)?.ask(command).await?;
    match answer.get("error") {
        Some(error) => Err(Shortfall(format!("node {id} answered `{command}` with {error}"))),
        None => Ok(answer),
    }
}

/// The one of `agents` with this id.
///
/// # Errors
/// There is none.
pub(crate) fn find(agents: &mut [Agent], id: u64) -> Result<&mut Agent, Shortfall> {
    let agent = agents.iter_mut().find(|agent| agent.id() == id);
    agent.ok_or_else(|| Shortfall(format!("there is no node {id}")))
}
