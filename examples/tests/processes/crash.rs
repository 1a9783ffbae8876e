//! A process that writes to a file is killed at moments drawn from a seed; nothing that it
//! acknowledged is lost, and nothing is torn.
//!
//! `CRASH_KILLS=200 cargo test --release -p chinwag-examples --test processes crash -- --nocapture`
//! kills more often, `CRASH_SEED` at other moments.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use chinwag::protocol::rng::Rng;
use chinwag_examples::crash::{LANES, inspect};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use super::common::PATIENCE;

const WRITER: &str = env!("CARGO_BIN_EXE_chinwag-store-writer");
const KILLS: u64 = 30;
/// A file is given up for a new one after so many, so that the making of files is met too.
const KILLS_PER_FILE: u64 = 10;

/// When the process is killed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// It has said so many lines.
    Lines(u32),
    /// So long after it was started, whatever it has said: while it makes its file, or opens it, or
    /// later.
    After(Duration),
}

#[tokio::test]
async fn a_writer_killed_at_any_moment_loses_nothing_acknowledged() {
    let kills = number("CRASH_KILLS").unwrap_or(KILLS);
    let seed = number("CRASH_SEED").unwrap_or(1);
    let directory = tempfile::tempdir().expect("there is room");
    let mut chance = Rng::new(seed);
    let mut held = [0; LANES];
    let (mut lines, mut unsaid, mut early) = (0, 0, 0);
    for kill in 0..kills {
        let path = directory.path().join(format!("file-{}", kill / KILLS_PER_FILE));
        if kill % KILLS_PER_FILE == 0 {
            held = [0; LANES];
        }
        let moment = match chance.below(3) {
            // Its first milliseconds, in which it makes the file.
            _ if kill % KILLS_PER_FILE == 0 => {
                Moment::After(Duration::from_micros(chance.below_u64(8_000)))
            }
            0 => Moment::After(Duration::from_micros(chance.below_u64(60_000))),
            _ => Moment::Lines(chance.below(120)),
        };
        let said = write_until(&path, moment, &held).await;
        if !path.exists() {
            assert_eq!(said.lines, 0, "it wrote to no file");
            early += 1;
            continue;
        }
        let inspected = inspect(&path)
            .await
            .unwrap_or_else(|error| panic!("seed {seed}, kill {kill}, {moment:?}: {error}"));
        for (lane, (&last, &found)) in said.acknowledged.iter().zip(&inspected).enumerate() {
            assert!(
                found == last || found == last + 1,
                "seed {seed}, kill {kill}, {moment:?}: lane {lane} was acknowledged {last} and \
                    holds {found}"
            );
            unsaid += found - last;
        }
        lines += said.lines;
        held = inspected;
    }
    println!(
        "{kills} kills: {lines} batches acknowledged, none lost, none torn; {unsaid} were there \
            without having been acknowledged; \
         {early} kills before there was a file"
    );
    assert!(lines > kills * 10, "only {lines} batches were written");
}

struct Said {
    /// The last batch of each lane.
    acknowledged: [u64; LANES],
    lines: u64,
}

/// Starts the writer, kills it, and gives what it said until then.
async fn write_until(path: &Path, moment: Moment, held: &[u64; LANES]) -> Said {
    let mut command = Command::new(WRITER);
    let mut child =
        command.arg(path).stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("it starts");
    let mut stdout = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut said = Said { acknowledged: *held, lines: 0 };
    let mut is_killed = false;
    let patience = match moment {
        Moment::Lines(_) => PATIENCE,
        Moment::After(delay) => delay,
    };
    let listen = async {
        loop {
            if matches!(moment, Moment::Lines(wanted) if said.lines >= wanted.into()) && !is_killed
            {
                is_killed = true;
                child.start_kill().expect("it runs");
            }
            // What it said before it died is still in the pipe.
            let Some(line) = stdout.next_line().await.expect("text") else { return };
            said.hear(&line);
        }
    };
    let heard_all = timeout(patience, listen).await.is_ok();
    if !heard_all {
        assert!(matches!(moment, Moment::After(_)), "it says nothing");
        child.start_kill().expect("it runs");
        while let Some(line) = stdout.next_line().await.expect("text") {
            said.hear(&line);
        }
    }
    let status = child.wait().await.expect("it was ours");
    assert_eq!(status.code(), None, "it was killed, and did not end by itself");
    said
}

impl Said {
    fn hear(&mut self, line: &str) {
        let (lane, batch) = line.split_once(' ').expect("two numbers");
        let (lane, batch): (usize, u64) =
            (lane.parse().expect("a lane"), batch.parse().expect("a batch"));
        assert_eq!(
            batch,
            self.acknowledged[lane] + 1,
            "batches of lane {lane} come one after the other"
        );
        self.acknowledged[lane] = batch;
        self.lines += 1;
    }
}

/// A test has no arguments of its own.
#[allow(clippy::disallowed_methods, reason = "how a test is told to do more")]
fn number(name: &str) -> Option<u64> {
    Some(std::env::var(name).ok()?.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}
