//! [`Common`]: what every bench can be told on its command line.

use std::path::PathBuf;

use clap::Args;

use crate::table::{Table, Tables};
use crate::turns::Pace;

/// To be flattened into a bench's own arguments.
#[derive(Args, Debug)]
pub struct Common {
    /// Fewer and shorter measurements
    #[arg(long)]
    pub quick: bool,
    /// Writes every value there
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// Everything once and as short as can be: whether it runs
    #[arg(long)]
    pub test: bool,
    /// What cargo passes
    #[arg(long, hide = true)]
    pub bench: bool,
}

impl Common {
    /// How often and for how long contenders take their turns.
    pub fn pace(&self) -> Pace {
        Pace::new(self.quick, self.test)
    }

    /// Prints what was found, and writes it down if that is wanted.
    ///
    /// # Panics
    /// The file cannot be written.
    pub fn report(&self, tables: Vec<Table>) {
        let tables = Tables { tables };
        tables.print();
        if let Some(path) = &self.json {
            tables.write(path).expect("a file that can be written");
        }
    }
}
