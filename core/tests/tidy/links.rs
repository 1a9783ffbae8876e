//! Links between files: those of Markdown, and those of doc comments to Markdown.

use std::path::{Component, Path, PathBuf};

/// The headings of a Markdown text, as the names that links have for them.
pub(crate) fn anchors(text: &str) -> Vec<String> {
    let mut is_code = false;
    let mut anchors: Vec<String> = Vec::new();
    for line in text.lines() {
        if line.starts_with("```") {
            is_code = !is_code;
        }
        let title = line.trim_start_matches('#');
        if is_code || !line.starts_with('#') || !title.starts_with(' ') {
            continue;
        }
        let anchor: String = title
            .trim()
            .chars()
            .filter_map(|letter| match letter {
                ' ' => Some('-'),
                '-' | '_' => Some(letter),
                _ if letter.is_alphanumeric() => Some(letter.to_ascii_lowercase()),
                _ => None,
            })
            .collect();
        anchors.push(anchor);
    }
    anchors
}

/// Every link of a Markdown text outside of code: its line, from 1, and where it goes.
pub(crate) fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut is_code = false;
    for (at, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        }
        if is_code {
            continue;
        }
        let line = without_code(line);
        for (start, _) in line.match_indices("](") {
            let rest = &line[start + 2..];
            if let Some(end) = rest.find(')') {
                found.push((at + 1, rest[..end].to_owned()));
            }
        }
        for attribute in ["src=\"", "href=\"", "srcset=\""] {
            for (start, _) in line.match_indices(attribute) {
                let rest = &line[start + attribute.len()..];
                if let Some(end) = rest.find('"') {
                    found.push((at + 1, rest[..end].to_owned()));
                }
            }
        }
        // A reference: `[name]: target`.
        if let Some((name, target)) = line.trim_start().split_once("]: ")
            && name.starts_with('[')
            && !name.starts_with("[^")
            && !target.trim().contains(' ')
        {
            found.push((at + 1, target.trim().to_owned()));
        }
    }
    found
}

/// `line` with what is between backticks taken out.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect::<Vec<_>>().join("`")
}

/// The Markdown of a Rust file's doc comments, line by line as in the file.
pub(crate) fn docs(source: &str) -> String {
    let doc = |line: &str| {
        let line = line.trim_start();
        let text = line.strip_prefix("//!").or_else(|| line.strip_prefix("///"));
        text.map(|text| text.strip_prefix(' ').unwrap_or(text).to_owned()).unwrap_or_default()
    };
    source.lines().map(doc).collect::<Vec<_>>().join("\n")
}

/// Why the file at `path` cannot have a link to `target`, if it cannot. What is on the web, or an
/// item of Rust's, is rustdoc's to check. `read` gives the text of a file, `exists` whether
/// there is something.
pub(crate) fn fault(
    path: &Path,
    target: &str,
    read: &dyn Fn(&Path) -> String,
    exists: &dyn Fn(&Path) -> bool,
) -> Option<String> {
    let is_remote = target.contains("://") || target.starts_with("mailto:");
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let is_file = file.contains('/') || file.contains('.');
    if is_remote || (!file.is_empty() && !is_file) || file.contains("::") {
        return None;
    }
    let to = match file {
        "" => path.to_owned(),
        _ => normal(&path.parent().unwrap_or(Path::new("")).join(file)),
    };
    if !exists(&to) {
        return Some(format!("there is no {}", to.display()));
    }
    let is_markdown = to.extension().is_some_and(|extension| extension == "md");
    if !anchor.is_empty() && is_markdown && !anchors(&read(&to)).iter().any(|a| a == anchor) {
        return Some(format!("{} has no heading {anchor:?}", to.display()));
    }
    None
}

/// `path` without `..`.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => _ = normal.pop(),
            Component::CurDir => {}
            part => normal.push(part),
        }
    }
    normal
}

#[test]
fn links_are_read_outside_of_code_alone() {
    let text =
        "[a](b.md#c) `[x](y.md)` [d](e)\n```\n[f](g.md)\n```\n[h]: i.md\n<img src=\"j.svg\">";
    let expected = [(1, "b.md#c"), (1, "e"), (5, "i.md"), (6, "j.svg")];
    assert_eq!(links(text), expected.map(|(line, to)| (line, to.to_owned())));
    assert_eq!(docs("//! [a](b.md)\nfn f() {}\n    /// x\n"), "[a](b.md)\n\nx");
}

#[test]
fn headings_are_named_as_on_the_web() {
    let text = "# From datacake\n## What `x` is, and isn't\n```sh\n# not one\n```\n#not\n";
    assert_eq!(anchors(text), ["from-datacake", "what-x-is-and-isnt"]);
}

#[test]
fn broken_links_are_found() {
    let read = |path: &Path| match path.to_str() {
        Some("docs/b.md") => "# Here\n".to_owned(),
        _ => "# Top\n".to_owned(),
    };
    let exists = |path: &Path| matches!(path.to_str(), Some("docs/a.md" | "docs/b.md" | "x.rs"));
    let fault = |target| fault(Path::new("docs/a.md"), target, &read, &exists);
    for good in
        ["b.md", "b.md#here", "#top", "../x.rs", "https://e.org/no.md", "Node::select", "Node"]
    {
        assert_eq!(fault(good), None, "{good}");
    }
    for bad in ["c.md", "b.md#there", "#here", "../y.rs", "./images/no.svg"] {
        assert!(fault(bad).is_some(), "{bad}");
    }
}
