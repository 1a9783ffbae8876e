//! Makes `docs/benchmarks.md` and its plots of what the benches have written; `benches/run` calls
//! it.
//!
//! ```text
//!   FROM/core.json ... sim.json  -- Tables -->  page: Markdown     plot: a picture per table     host: what it ran on
//! ```

mod host;
mod page;
mod plot;

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use chinwag_benches::table::{Table, Tables};
use clap::Parser;

use crate::page::Page;

#[derive(Parser)]
#[command(about = "Makes the page of benchmarks of what the benches have written")]
struct Args {
    /// The folder in which each bench has written NAME.json
    #[arg(long)]
    from: PathBuf,
    /// The page; its plots go to the folder of the same name beside it
    #[arg(long)]
    page: PathBuf,
    /// When the run began
    #[arg(long)]
    began: String,
    /// The machine's load before it began
    #[arg(long)]
    load: f64,
    /// Whether it was the short run
    #[arg(long)]
    quick: bool,
}

/// Benches in the order of the page, and what is said of them.
const BENCHES: [(&str, &str); 7] = [
    ("clock", "Clocks"),
    ("membership", "Membership"),
    ("rpc", "Calls"),
    ("sim", "The simulator"),
    ("store", "The store"),
    ("core", "Machines of the core"),
    ("instructions", "Instructions"),
];

#[expect(clippy::print_stderr, reason = "what is wrong is told")]
fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("benchmarks: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> io::Result<()> {
    let plots = args.page.with_extension("");
    let folder = plots.file_name().map(|name| name.to_string_lossy().into_owned());
    let mut page = Page::new(&host::describe(&args.began, args.load), args.load, args.quick);
    fs::create_dir_all(&plots)?;
    // What a table that there is no more has left would pass for one of this run.
    for entry in fs::read_dir(&plots)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "svg") {
            fs::remove_file(path)?;
        }
    }
    for (bench, title) in BENCHES {
        let path = args.from.join(format!("{bench}.json"));
        if !path.exists() {
            continue;
        }
        page.section(title, bench);
        for table in Tables::read(&path)?.tables.iter().filter(|table| has_numbers(table)) {
            let name = format!("{}.svg", table.id);
            fs::write(plots.join(&name), plot::draw(table).map_err(io::Error::other)?)?;
            page.table(table, &format!("{}/{name}", folder.as_deref().unwrap_or(".")));
        }
    }
    fs::write(&args.page, page.finish())
}

fn has_numbers(table: &Table) -> bool {
    table
        .contenders
        .iter()
        .any(|contender| contender.rounds.iter().any(|rounds| !rounds.is_empty()))
}

#[cfg(test)]
mod tests;
