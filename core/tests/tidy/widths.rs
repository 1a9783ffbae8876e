//! Lines have at most 100 columns: rustfmt does not break comments, long strings or what stands in
//! macros, and nothing else looks at Markdown.

use crate::ratchet::Allowances;

/// Columns of a line at most.
pub(crate) const COLUMNS_MAX: usize = 100;
/// Files of Markdown that a program writes.
const GENERATED: [&str; 1] = ["docs/benchmarks.md"];

/// The lines of a file that are too wide, by their numbers.
pub(crate) fn wide_lines(name: &str, text: &str) -> Vec<usize> {
    let is_wide = |line: &str| line.chars().count() > COLUMNS_MAX;
    if GENERATED.contains(&name) {
        return Vec::new();
    }
    let mut wide = Vec::new();
    let mut is_fenced = false;
    for (number, line) in (1..).zip(text.lines()) {
        let is_markdown = name.ends_with(".md");
        if is_markdown && line.trim_start().starts_with("```") {
            is_fenced = !is_fenced;
        }
        let may_be_wide = if is_markdown {
            is_fenced || is_row(line) || line.contains("](") || line.contains("://")
        } else {
            documentation(line).is_some_and(is_row)
        };
        if !may_be_wide && is_wide(line) {
            wide.push(number);
        }
    }
    wide
}

/// A row of a table, which is no row any more in two lines.
fn is_row(line: &str) -> bool {
    line.trim_start().starts_with('|')
}

/// The text of a line of documentation, which is Markdown as well.
fn documentation(line: &str) -> Option<&str> {
    let line = line.trim_start();
    line.strip_prefix("//!").or_else(|| line.strip_prefix("///"))
}

/// What is wrong with the wide lines of each file, given how many it may have.
pub(crate) fn complaints(allowances: &Allowances, files: &[(String, Vec<usize>)]) -> Vec<String> {
    let sizes: Vec<_> = files.iter().map(|(name, wide)| (name.clone(), wide.len(), 0)).collect();
    let mut complaints = allowances.complaints(&sizes);
    for complaint in &mut complaints {
        let of = files.iter().find(|(name, _)| complaint.starts_with(&format!("{name}: ")));
        if let Some((_, wide)) = of {
            *complaint = format!("{complaint} (lines of over {COLUMNS_MAX} columns: {wide:?})");
        }
    }
    complaints
}

#[test]
fn wide_lines_are_found_where_they_can_be_broken() {
    let wide = "ä ".repeat(51);
    let narrow = "ä ".repeat(50);
    let code = format!("{wide}\n{narrow}\n// {wide}\n| {wide}\n//! | {wide}\n/// {wide}\n");
    assert_eq!(wide_lines("a.rs", &code), [1, 3, 4, 6]);
    let prose = format!(
        "{wide}\n{narrow}\n| {wide}\n[{wide}](b)\nhttps://{wide}\n```text\n{wide}\n```\n{wide}\n"
    );
    assert_eq!(wide_lines("a.md", &prose), [1, 9]);
    assert_eq!(wide_lines("docs/benchmarks.md", &prose), [0; 0]);
}

#[test]
fn wide_lines_only_become_fewer() {
    let allowances = Allowances::parse("a.rs 2\n").expect("well-formed");
    let found = |a: &[usize], b: &[usize]| {
        complaints(&allowances, &[("a.rs".into(), a.to_vec()), ("b.md".into(), b.to_vec())])
    };
    assert_eq!(found(&[1, 2], &[]), [""; 0]);
    for (a, b, word) in [
        (&[1, 2, 3][..], &[][..], "[1, 2, 3]"),
        (&[1], &[], "lower"),
        (&[], &[], "take its allowance out"),
        (&[1, 2], &[7], "b.md"),
    ] {
        let complaints = found(a, b);
        assert!(complaints.len() == 1 && complaints[0].contains(word), "{complaints:?}");
    }
}
