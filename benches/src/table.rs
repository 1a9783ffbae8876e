//! [`Table`]: what a bench has found, as it is written to `--json FILE` and read by the page of
//! benchmarks.

use std::path::Path;
use std::{fs, io};

use serde::{Deserialize, Serialize};

/// A number for each contender in each group: a size, say.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Table {
    /// Its name in files and links: lower case, digits and dashes.
    pub id: String,
    /// Its headline.
    pub title: String,
    /// How it was measured, in Markdown.
    pub about: String,
    /// Of its numbers.
    pub unit: String,
    /// Which of two numbers is the better one.
    pub better: Better,
    /// The contender to whose numbers ratios are given; none, where they would say nothing.
    pub base: Option<String>,
    /// What the groups are, in the order of their columns.
    pub groups: Vec<String>,
    /// In the order of their rows.
    pub contenders: Vec<Contender>,
}

/// Which of two numbers is the better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Better {
    /// The lower one: a time, a size.
    Lower,
    /// The higher one: a rate.
    Higher,
}

/// A row of a table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Contender {
    /// As it is shown.
    pub name: String,
    /// Which side it is on.
    pub role: Role,
    /// For each group its numbers, one a round; none where it was not measured.
    pub rounds: Vec<Vec<f64>>,
}

/// Which side a contender is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// Chinwag's main figure: the one that peers are compared with.
    Main,
    /// Another figure of chinwag's.
    Chinwag,
    /// Another project.
    Peer,
    /// What nothing can be better than, or not by much.
    Floor,
}

/// What a bench writes.
#[derive(Debug, Serialize, Deserialize)]
pub struct Tables {
    /// In the order in which they are shown.
    pub tables: Vec<Table>,
}

impl Table {
    /// An empty one.
    pub fn new(id: &str, title: &str, unit: &str, better: Better) -> Self {
        Self {
            id: id.into(),
            title: title.into(),
            about: String::new(),
            unit: unit.into(),
            better,
            base: None,
            groups: Vec::new(),
            contenders: Vec::new(),
        }
    }

    /// Says how it was measured.
    #[must_use]
    pub fn about(mut self, about: &str) -> Self {
        self.about = about.into();
        self
    }

    /// Gives ratios to this contender.
    #[must_use]
    pub fn base(mut self, name: &str) -> Self {
        self.base = Some(name.into());
        self
    }

    /// The numbers of a contender in a group; rows and columns come in the order in which they are
    /// first named.
    pub fn add(&mut self, role: Role, name: &str, group: &str, rounds: Vec<f64>) {
        let column = self.groups.iter().position(|known| known == group).unwrap_or_else(|| {
            self.groups.push(group.into());
            self.groups.len() - 1
        });
        let row =
            self.contenders.iter().position(|known| known.name == name).unwrap_or_else(|| {
                self.contenders.push(Contender { name: name.into(), role, rounds: Vec::new() });
                self.contenders.len() - 1
            });
        for contender in &mut self.contenders {
            contender.rounds.resize(self.groups.len(), Vec::new());
        }
        self.contenders[row].rounds[column] = rounds;
    }

    /// The median of a contender's rounds in a group.
    pub fn median(&self, contender: usize, group: usize) -> Option<f64> {
        median(self.rounds(contender, group)?.to_vec())
    }

    /// A contender's number to the base's: the median of the rounds' ratios, so that what disturbs
    /// a whole round does not show; where they have not run in the same rounds, the ratio of
    /// the medians.
    pub fn ratio(&self, contender: usize, group: usize) -> Option<f64> {
        let base =
            self.contenders.iter().position(|known| Some(&known.name) == self.base.as_ref())?;
        self.ratio_to(contender, base, group)
    }

    /// The same to another contender than the base.
    pub fn ratio_to(&self, contender: usize, to: usize, group: usize) -> Option<f64> {
        let (values, base) = (self.rounds(contender, group)?, self.rounds(to, group)?);
        if values.len() == base.len() {
            median(values.iter().zip(base).map(|(value, base)| value / base).collect())
        } else {
            Some(median(values.to_vec())? / median(base.to_vec())?)
        }
    }

    /// Chinwag's main figure, if this table has one.
    pub fn main(&self) -> Option<usize> {
        self.contenders.iter().position(|contender| contender.role == Role::Main)
    }

    fn rounds(&self, contender: usize, group: usize) -> Option<&[f64]> {
        self.contenders[contender]
            .rounds
            .get(group)
            .map(Vec::as_slice)
            .filter(|rounds| !rounds.is_empty())
    }
}

impl Tables {
    /// Writes them as JSON.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        fs::write(path, format!("{}\n", serde_json::to_string_pretty(self)?))
    }

    /// Reads what [`Tables::write`] has written; other fields are let be.
    ///
    /// # Errors
    /// The file cannot be read, or is something else.
    pub fn read(path: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&fs::read(path)?)?)
    }

    /// Prints them: medians, and ratios in brackets.
    #[expect(clippy::print_stdout, reason = "a bench prints what it found")]
    pub fn print(&self) {
        for table in &self.tables {
            println!("\n{}, {}", table.title, table.unit);
            let head: String = table.groups.iter().map(|group| format!("{group:>22}")).collect();
            println!("{:<36}{head}", "");
            for (row, contender) in table.contenders.iter().enumerate() {
                let cells = (0..table.groups.len()).map(|column| {
                    let value = table.median(row, column).map_or_else(|| "-".into(), figure);
                    let ratio = table.ratio(row, column).map(|ratio| format!(" ({ratio:.2})"));
                    format!("{:>22}", value + &ratio.unwrap_or_default())
                });
                println!("{:<36}{}", contender.name, cells.collect::<String>());
            }
        }
    }
}

/// The middle one, or what is between the middle two; none of none.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let (low, high) =
        (values.get(values.len().checked_sub(1)? / 2)?, values.get(values.len() / 2)?);
    Some(f64::midpoint(*low, *high))
}

/// Three digits that count, or the whole number with a mark for thousands.
pub fn figure(value: f64) -> String {
    let digits = match value.abs() {
        ..0.1 => 3,
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    let text = format!("{value:.digits$}");
    let whole = text.find('.').unwrap_or(text.len());
    let mut marked = String::new();
    for (at, letter) in text.chars().enumerate() {
        if at > 0 && at < whole && (whole - at).is_multiple_of(3) && !marked.ends_with('-') {
            marked.push(',');
        }
        marked.push(letter);
    }
    marked
}

#[cfg(test)]
mod tests;
