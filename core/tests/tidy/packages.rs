//! What a registry takes: each crate for users says what it is, carries its licences, and builds
//! from its own directory alone (`docs/architecture.md`, "Packages").

use std::fs;
use std::path::{Path, PathBuf};

use crate::source::Source;
use crate::{read, root};

/// A crate for users: its directory and its name.
pub(crate) const FOR_USERS: [(&str, &str); 9] = [
    ("core", "chinwag-core"),
    ("adapters/driver", "chinwag"),
    ("adapters/tokio", "chinwag-tokio"),
    ("adapters/smol", "chinwag-smol"),
    ("adapters/async-std", "chinwag-async-std"),
    ("adapters/async-io", "chinwag-async-io"),
    ("adapters/conformance", "chinwag-conformance"),
    ("sim", "chinwag-sim"),
    ("extensions/store", "chinwag-store"),
];
/// Directories of the other members, which no registry gets.
const PRIVATE: [&str; 3] = ["fuzz", "examples", "benches"];
const LICENCES: [&str; 2] = ["LICENSE-MIT", "LICENSE-APACHE"];
/// What crates.io takes.
const KEYWORDS_MAX: usize = 5;
const KEYWORD_LEN_MAX: usize = 20;

/// Every member of the workspace is one or the other.
pub(crate) fn member_complaints(workspace: &str) -> Vec<String> {
    let members = list(workspace, "members");
    let known: Vec<&str> = FOR_USERS.map(|(folder, _)| folder).into_iter().chain(PRIVATE).collect();
    let unknown = members.iter().filter(|member| !known.contains(&member.as_str()));
    let mut complaints: Vec<String> = unknown
        .map(|member| format!("{member}: is it for users or private? packages.rs does not say"))
        .collect();
    let gone = known.iter().filter(|folder| !members.iter().any(|member| member == *folder));
    complaints.extend(gone.map(|folder| format!("{folder}: no member of the workspace")));
    for folder in PRIVATE {
        if !read(&root().join(folder).join("Cargo.toml")).lines().any(|l| l == "publish = false") {
            complaints.push(format!("{folder}: it is not for users and may be published"));
        }
    }
    complaints
}

/// The strings of the list `key`, which stands on one line.
fn list(manifest: &str, key: &str) -> Vec<String> {
    let prefix = format!("{key} = [");
    let line = manifest.lines().find_map(|line| line.strip_prefix(&*prefix)).unwrap_or_default();
    let strings = line.trim_end_matches(']').split(',').map(|item| item.trim().trim_matches('"'));
    strings.filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

/// What is wrong with the manifest of a crate for users.
pub(crate) fn manifest_complaints(name: &str, manifest: &str) -> Vec<String> {
    let documentation = format!("documentation = \"https://docs.rs/{name}\"");
    let wanted = [
        "version.workspace = true",
        "edition.workspace = true",
        "rust-version.workspace = true",
        "license.workspace = true",
        "repository.workspace = true",
        "homepage.workspace = true",
        "readme = \"README.md\"",
        "[package.metadata.docs.rs]",
        &documentation,
    ];
    let has = |wanted: &str| manifest.lines().any(|line| line == wanted);
    let missing = wanted.iter().filter(|wanted| !has(wanted));
    let mut complaints: Vec<String> =
        missing.map(|wanted| format!("{name}: its manifest lacks `{wanted}`")).collect();
    if manifest.lines().any(|line| line.starts_with("publish")) {
        complaints.push(format!("{name}: it is for users, and its manifest restricts `publish`"));
    }
    let keywords = list(manifest, "keywords");
    let is_long = |keyword: &String| keyword.len() > KEYWORD_LEN_MAX;
    if !(1..=KEYWORDS_MAX).contains(&keywords.len()) || keywords.iter().any(is_long) {
        complaints.push(format!("{name}: keywords that crates.io does not take: {keywords:?}"));
    }
    if list(manifest, "categories").is_empty() {
        complaints.push(format!("{name}: no categories"));
    }
    complaints.extend(cycle_complaints(name, manifest));
    complaints
}

/// Dev-dependencies on the workspace that name a version: cargo keeps those in a package, and then
/// neither of two crates that test each other can be published first.
fn cycle_complaints(name: &str, manifest: &str) -> Vec<String> {
    let mut is_dev = false;
    let mut complaints = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            is_dev = line.contains("dev-dependencies");
        } else if is_dev && line.starts_with("chinwag") {
            let is_by_path = line.contains("{ path = ") && !line.contains("version");
            if !is_by_path {
                complaints.push(format!("{name}: a dev-dependency not by path alone: {line}"));
            }
        }
    }
    complaints
}

/// Files of the crate in `folder` that differ from what they are copies of.
pub(crate) fn copy_complaints(folder: &str) -> Vec<String> {
    let home = root().join(folder);
    let mut copies: Vec<(PathBuf, PathBuf)> =
        LICENCES.map(|name| (home.join(name), root().join(name))).into();
    if let Ok(entries) = fs::read_dir(home.join("docs")) {
        for entry in entries {
            let copy = entry.expect("a readable folder").path();
            let name = copy.file_name().expect("a file has a name").to_owned();
            copies.push((copy, root().join("docs").join(name)));
        }
    }
    let differs = |(copy, original): &(PathBuf, PathBuf)| {
        fs::read(copy).ok().is_none_or(|bytes| fs::read(original).ok() != Some(bytes))
    };
    let stale = copies.iter().filter(|pair| differs(pair));
    let name = |path: &Path| path.strip_prefix(root()).unwrap_or(path).display().to_string();
    stale
        .map(|(copy, original)| format!("{} is not {}: run .ci/copies", name(copy), name(original)))
        .collect()
}

/// Files from outside the crate in `folder` that its code includes. Tests of this repository and
/// doctests may: neither is part of a build.
pub(crate) fn include_complaints(folder: &str, sources: &[Source]) -> Vec<String> {
    let inside = format!("{folder}/src/");
    let code = sources.iter().filter(|source| source.name.starts_with(&inside) && !source.is_test);
    let mut complaints = Vec::new();
    for source in code {
        let text = read(&root().join(&source.name));
        // Folders between the file and the crate's own.
        let depth = source.name[folder.len() + 1..].matches('/').count();
        complaints.extend(
            outside_includes(&text, depth)
                .into_iter()
                .map(|path| format!("{}: includes {path}, which no package has", source.name)),
        );
    }
    complaints
}

/// Paths that are included from more than `depth` folders above.
fn outside_includes(text: &str, depth: usize) -> Vec<String> {
    let mut outside = Vec::new();
    let mut previous = "";
    for line in text.lines() {
        for macro_name in ["include_str!(\"", "include_bytes!(\"", "include!(\""] {
            let Some((_, rest)) = line.split_once(macro_name) else { continue };
            let path = rest.split('"').next().unwrap_or_default();
            let is_outside = path.split('/').take_while(|part| *part == "..").count() > depth;
            if is_outside && previous.trim() != "#[cfg(doctest)]" {
                outside.push(path.to_owned());
            }
        }
        previous = line;
    }
    outside
}

/// Addresses of this repository in `text` that are not `repository`.
pub(crate) fn address_complaints(name: &str, text: &str, repository: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    for (at, _) in text.match_indices("https://github.com/") {
        let address: String = text[at..]
            .chars()
            .take_while(|&c| c.is_ascii_alphanumeric() || matches!(c, '/' | ':' | '.' | '-' | '_'))
            .collect();
        let project: String = address.splitn(6, '/').take(5).collect::<Vec<_>>().join("/");
        if project.ends_with("/chinwag") && project != repository {
            complaints.push(format!("{name}: {project} is not {repository}"));
        }
    }
    complaints
}

/// The address of the repository, as the workspace's manifest says it.
pub(crate) fn repository(workspace: &str) -> String {
    let line = workspace.lines().find_map(|line| line.strip_prefix("repository = \""));
    line.expect("the workspace names its repository").trim_end_matches('"').to_owned()
}

#[test]
fn a_manifest_that_a_registry_refuses_is_seen() {
    let good = read(&root().join("adapters/smol/Cargo.toml"));
    assert_eq!(manifest_complaints("chinwag-smol", &good), [""; 0]);
    for (from, to) in [
        ("license.workspace = true\n", ""),
        ("[package.metadata.docs.rs]\n", ""),
        ("readme = \"README.md\"\n", "publish = false\nreadme = \"README.md\"\n"),
        ("keywords = [", "keywords = [\"a\", "),
        ("\"smol\"]", "\"a-word-of-twenty-one-c\"]"),
        ("categories = [\"network-programming\", \"asynchronous\"]", "categories = []"),
        ("{ path = \"../conformance\" }", "{ path = \"../conformance\", version = \"0.1\" }"),
        ("{ path = \"../conformance\" }", "{ workspace = true }"),
    ] {
        let bad = good.replacen(from, to, 1);
        assert_eq!(manifest_complaints("chinwag-smol", &bad).len(), 1, "{from}");
    }
}

#[test]
fn what_a_package_does_not_have_is_seen() {
    let text = "#[doc = include_str!(\"../docs/a.md\")]\n#[doc = include_str!(\"../../b.md\")]\n\
        #[cfg(doctest)]\n#[doc = include_str!(\"../../../c.md\")]\n\
        const D: &[u8] = include_bytes!(\"../../d\");";
    assert_eq!(outside_includes(text, 1), ["../../b.md", "../../d"]);
    assert_eq!(outside_includes(text, 2), [""; 0]);
}

#[test]
fn another_address_is_seen() {
    let text = "https://github.com/one/chinwag/blob/main/a.md https://github.com/other/thing.";
    let complaints = |repository| address_complaints("a.md", text, repository).len();
    assert_eq!(complaints("https://github.com/one/chinwag"), 0);
    assert_eq!(complaints("https://github.com/two/chinwag"), 1);
}
