//! The table of `docs/troubleshooting.md`.

use std::path::Path;

/// What stands for text that differs from host to host, in a line of the table.
const ANY: char = '…';

pub(crate) struct Row {
    pub(crate) mistake: String,
    pub(crate) line: String,
    pub(crate) advice: String,
}

/// The rows of every table whose head is "mistake, line, what to do".
pub(crate) fn rows() -> Vec<Row> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/troubleshooting.md");
    let text = std::fs::read_to_string(&path).expect("the page is there");
    let mut rows = Vec::new();
    let mut is_table = false;
    for line in text.lines() {
        let Some(cells) = line.strip_prefix('|').and_then(|line| line.strip_suffix('|')) else {
            is_table = false;
            continue;
        };
        let cells: Vec<&str> = cells.split('|').map(str::trim).collect();
        match cells[..] {
            ["mistake", "the line", "what to do"] => is_table = true,
            [mistake, line, advice] if is_table && !mistake.starts_with("---") => rows.push(Row {
                mistake: mistake.into(),
                line: line.trim_matches('`').trim().into(),
                advice: advice.into(),
            }),
            _ => {}
        }
    }
    rows
}

/// Whether `said` is `line`, in which `…` stands for any text.
pub(crate) fn matches(line: &str, said: &str) -> bool {
    let mut parts = line.split(ANY);
    let Some(mut rest) = parts.next().and_then(|first| said.strip_prefix(first)) else {
        return false;
    };
    let mut parts = parts.peekable();
    while let Some(part) = parts.next() {
        let found = if parts.peek().is_none() { rest.rfind(part) } else { rest.find(part) };
        let Some(at) = found else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.is_empty()
}

#[test]
fn what_stands_for_any_text_matches_any_text() {
    for (line, said, expected) in [
        ("a b", "a b", true),
        ("a b", "a b c", false),
        ("a …", "a b c", true),
        ("a … c", "a b c", true),
        ("a … c", "a b d", false),
        ("… c", "a b", false),
        ("x …", "a b", false),
        ("…a", "aba", true),
    ] {
        assert_eq!(matches(line, said), expected, "{line} / {said}");
    }
}
