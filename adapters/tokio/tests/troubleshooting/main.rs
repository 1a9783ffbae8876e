//! The lines that a user reads in the first hour are those of the table in
//! `docs/troubleshooting.md`: each mistake is made here, and what the library says is compared
//! with the table's text. A process of its own, because the log is the whole process's.

mod log;
mod mistakes;
mod table;

use std::collections::BTreeMap;

use table::Row;

/// What each mistake brings about, by its name in the table.
type Lines = BTreeMap<&'static str, String>;

#[test]
fn every_mistake_says_what_the_table_says() {
    log::listen();
    let rows = table::rows();
    let mut lines = Lines::new();
    mistakes::at_the_start(&mut lines);
    mistakes::with_secrets(&mut lines);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("tokio");
    runtime.block_on(async {
        mistakes::while_joining(&mut lines).await;
        mistakes::while_joining_with_secrets(&mut lines).await;
        mistakes::in_calls(&mut lines).await;
        mistakes::in_types(&mut lines).await;
    });
    let mut complaints = Vec::new();
    for Row { mistake, line, .. } in &rows {
        match lines.remove(mistake.as_str()) {
            None => complaints.push(format!("nobody makes this mistake: {mistake}")),
            Some(said) if table::matches(line, &said) => {}
            Some(said) => complaints.push(format!("{mistake}\n  table: {line}\n  said:  {said}")),
        }
    }
    complaints.extend(lines.into_iter().map(|(name, said)| format!("no row: {name}\n  {said}")));
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
    assert!(rows.len() > 15, "the table was read: {} rows", rows.len());
}

#[test]
fn every_row_says_what_to_do() {
    for Row { mistake, advice, .. } in table::rows() {
        assert!(advice.len() > 10, "{mistake}: {advice}");
    }
}
