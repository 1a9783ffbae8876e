//! The repository keeps to its own rules: sizes and widths as ratchets (`docs/architecture.md`), no
//! unfinished code, no ignored test, `unsafe` in one audited file (and one attribute of the
//! fuzzer's programs), no citation of a rule that `docs/protocol.md` does not have, `.ci/run` runs
//! the README's commands, the workflows call scripts that exist, and each crate for users is a
//! package by itself.
//!
//! Not checked here: what rustfmt, clippy and rustdoc check. `.ci/run` runs those.

mod commands;
mod layers;
mod links;
mod logs;
mod packages;
mod protocol;
mod ratchet;
mod source;
mod widths;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use layers::Imports;
use ratchet::Allowances;
use source::Source;

/// Lines of one file, its tests aside, at most: what one can hold in mind, one noun with its parts.
const FILE_LINES_MAX: usize = 500;
/// Lines of one function at most, from `fn` to its last brace: what one sees at a glance.
const FUNCTION_LINES_MAX: usize = 70;
/// The files that may say `unsafe`. The product has it in the first alone; the second names a
/// linker's section, which Rust calls unsafe, in programs that only the fuzzer runs.
const UNSAFE_HOMES: [&str; 2] =
    ["adapters/driver/src/message/view.rs", "fuzz/fuzz_targets/counters.rs"];
/// Groups of files of the driver that import each other, inside of one layer. It only ever shrinks.
const DRIVER_CIRCLES_MAX: usize = 6;
/// Files in the longest chain of imports of the driver. It only ever shrinks.
const DRIVER_CHAIN_MAX: usize = 13;
/// What is over a limit, and by how much it may stay so. It only ever shrinks.
const ALLOWANCES: &str = "core/tests/tidy/allowances.txt";
/// The lines that are too wide, as a number for each file. It only ever shrinks, too.
const WIDTHS: &str = "core/tests/tidy/widths.txt";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("core lies in the repository")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every Rust file of the repository, by path from its root, sorted.
fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    walk(root(), &mut files, &[".rs"]);
    files.sort();
    assert!(files.len() > 50, "the walk found the repository: {} files", files.len());
    let named = files.into_iter().map(|path| {
        let name = path
            .strip_prefix(root())
            .expect("walked from the root")
            .to_string_lossy()
            .replace('\\', "/");
        Source::parse(&name, &read(&path))
    });
    named.collect()
}

/// Files below `folder` whose names end in one of `endings`.
fn walk(folder: &Path, files: &mut Vec<PathBuf>, endings: &[&str]) {
    for entry in
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
    {
        let path = entry.expect("a readable folder").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                walk(&path, files, endings);
            }
        } else if endings.iter().any(|ending| name.ends_with(ending)) {
            files.push(path);
        }
    }
}

fn assert_none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn sizes_only_shrink() {
    let allowances =
        Allowances::parse(&read(&root().join(ALLOWANCES))).expect("the list is well-formed");
    let mut sizes = Vec::new();
    for source in sources() {
        if !source.is_test {
            sizes.push((source.name.clone(), source.lines, FILE_LINES_MAX));
        }
        sizes.extend(
            source.functions.into_iter().map(|(name, lines)| (name, lines, FUNCTION_LINES_MAX)),
        );
    }
    assert_none(&allowances.complaints(&sizes));
}

#[test]
fn nothing_is_unfinished_or_ignored() {
    let complaints: Vec<String> =
        sources().into_iter().flat_map(|source| source.unfinished).collect();
    assert_none(&complaints);
}

#[test]
fn unsafe_has_its_homes() {
    let sources = sources();
    for home in UNSAFE_HOMES {
        assert!(sources.iter().any(|source| source.name == home), "{home} is where it was");
    }
    let strays = sources.into_iter().filter(|source| !UNSAFE_HOMES.contains(&source.name.as_str()));
    let complaints: Vec<String> = strays.flat_map(|source| source.unsafes).collect();
    assert_none(&complaints);
}

#[test]
fn every_cited_rule_exists() {
    let rules = protocol::rules(&read(&root().join("docs/protocol.md")));
    let mut files = Vec::new();
    for folder in ["core/src", "adapters"] {
        walk(&root().join(folder), &mut files, &[".rs"]);
    }
    files.sort();
    let mut complaints = Vec::new();
    let mut count = 0;
    for path in &files {
        for (line, cited) in protocol::citations(&read(path)) {
            count += 1;
            if !rules.contains(&cited) {
                complaints
                    .push(format!("{}:{line}: docs/protocol.md has no §{cited}", path.display()));
            }
        }
    }
    assert!(count > 50, "citations were found: {count}");
    assert_none(&complaints);
}

#[test]
fn every_rule_is_cited_by_code_and_by_a_test() {
    let rules = protocol::rules(&read(&root().join("docs/protocol.md")));
    let mut files = Vec::new();
    for folder in ["core/src", "adapters", "sim", "fuzz"] {
        walk(&root().join(folder), &mut files, &[".rs"]);
    }
    let (mut in_code, mut in_tests) = (BTreeSet::new(), BTreeSet::new());
    for path in &files {
        let name = path.strip_prefix(root()).expect("walked from there").to_string_lossy();
        let text = read(path);
        // The suite of the runtimes is all tests, and so are the simulator and the fuzz targets.
        let are_tests = ["sim/", "fuzz/", "adapters/conformance/"];
        let is_test = name.contains("tests") || are_tests.iter().any(|it| name.starts_with(it));
        let (code, tests) = match text.split_once("#[cfg(test)]\nmod tests {") {
            _ if is_test => ("", &text[..]),
            Some((code, tests)) => (code, tests),
            None => (&text[..], ""),
        };
        in_code.extend(protocol::citations(code).into_iter().map(|(_, rule)| rule));
        in_tests.extend(protocol::citations(tests).into_iter().map(|(_, rule)| rule));
        in_tests.extend(protocol::named(tests));
    }
    let mut complaints = Vec::new();
    for (what, cited) in [("code", in_code), ("test", in_tests)] {
        for rule in protocol::uncited(&rules, &cited) {
            complaints.push(format!("docs/protocol.md §{rule} is cited by no {what}"));
        }
    }
    assert_none(&complaints);
}

#[test]
fn the_driver_imports_downwards_alone() {
    let folder = root().join("adapters/driver/src");
    let mut files = Vec::new();
    walk(&folder, &mut files, &[".rs"]);
    let named = files.iter().map(|path| {
        let name = path.strip_prefix(&folder).expect("walked from there").to_string_lossy();
        (name.replace('\\', "/"), read(path))
    });
    let imports = Imports::parse(&named.collect::<Vec<_>>());
    assert!(imports.len() > 40, "the driver's files were found: {}", imports.len());
    assert_none(&imports.upward());
    let complaints: Vec<String> =
        imports.circles().iter().map(|circle| format!("a circle: {circle:?}")).collect();
    assert!(complaints.len() <= DRIVER_CIRCLES_MAX, "\n{}\n", complaints.join("\n"));
    assert!(imports.longest_chain() <= DRIVER_CHAIN_MAX, "a chain of {}", imports.longest_chain());
}

#[test]
fn ci_runs_the_commands_of_the_readme() {
    let text = |name: &str| read(&root().join(name));
    let mut complaints = commands::complaints(&text("README.md"), &text(".ci/run"));
    for script in [".ci/run", ".ci/repeat"] {
        complaints.extend(commands::other_runners(script, &text(script)));
    }
    assert_none(&complaints);
}

/// The folder of the crate that has the Markdown file `name` in its documentation, where that is a
/// copy of a guide.
fn including_crate(name: &Path) -> Option<&Path> {
    let folder = name.parent().filter(|folder| folder.ends_with("docs"))?;
    folder.parent().filter(|home| home.components().next().is_some())
}

#[test]
fn every_link_between_files_resolves() {
    let mut files = Vec::new();
    walk(root(), &mut files, &[".md", ".rs"]);
    files.sort();
    let read_from_root = |path: &Path| read(&root().join(path));
    let exists = |path: &Path| root().join(path).exists();
    let (mut complaints, mut count) = (Vec::new(), 0);
    for path in &files {
        let name = path.strip_prefix(root()).expect("walked from the root");
        if let Some(home) = including_crate(name) {
            let docs = links::docs(&read(&root().join(home).join("src/lib.rs")));
            complaints.extend(links::stranded(&name.display().to_string(), &read(path), &docs));
            continue;
        }
        let is_markdown = path.extension().is_some_and(|extension| extension == "md");
        let text = if is_markdown { read(path) } else { links::docs(&read(path)) };
        for (line, target) in links::links(&text) {
            count += 1;
            if let Some(fault) = links::fault(name, &target, &read_from_root, &exists) {
                complaints.push(format!("{}:{line}: {target}: {fault}", name.display()));
            }
        }
    }
    assert!(count > 50, "links were found: {count}");
    assert_none(&complaints);
}

/// The attacks of the guide to encryption are made by tests that there are.
#[test]
fn every_attack_has_its_test() {
    let mut files = Vec::new();
    for folder in ["core/src/seal", "adapters", "sim/tests"] {
        walk(&root().join(folder), &mut files, &[".rs"]);
    }
    let sources: String = files.iter().map(|path| read(path)).collect();
    let page = read(&root().join("docs/security.md"));
    let table = page.split("| attack | outcome | test |").nth(1).expect("the table of attacks");
    let (mut complaints, mut count) = (Vec::new(), 0);
    for row in table.lines().skip(2).take_while(|line| line.starts_with('|')) {
        let tests: Vec<_> = row.split('`').skip(1).step_by(2).collect();
        count += 1;
        if tests.is_empty() {
            complaints.push(format!("no test: {row}"));
        }
        for test in tests.iter().filter(|test| !sources.contains(&format!("fn {test}("))) {
            complaints.push(format!("docs/security.md names a test that is not there: {test}"));
        }
    }
    assert!(count > 10, "the table was read: {count} rows");
    assert_none(&complaints);
}

#[test]
fn every_log_target_is_documented() {
    let page = read(&root().join("docs/troubleshooting.md"));
    let mut files = Vec::new();
    walk(&root().join("adapters/driver/src"), &mut files, &[".rs"]);
    files.sort();
    let (mut complaints, mut count) = (Vec::new(), 0);
    for path in &files {
        for (line, target) in logs::targets(&read(path)) {
            count += 1;
            let at = format!("{}:{line}", path.display());
            match target {
                None => complaints.push(format!("{at}: this line has no target")),
                Some(target) if !page.contains(&format!("| `{target}` |")) => {
                    complaints.push(format!("{at}: the page does not have the target {target}"));
                }
                Some(_) => {}
            }
        }
    }
    assert!(count > 20, "log lines were found: {count}");
    assert_none(&complaints);
}

#[test]
fn crates_for_users_are_packages_by_themselves() {
    let (workspace, sources) = (read(&root().join("Cargo.toml")), sources());
    let repository = packages::repository(&workspace);
    let mut complaints = packages::member_complaints(&workspace);
    for (folder, name) in packages::FOR_USERS {
        let home = root().join(folder);
        complaints.extend(packages::manifest_complaints(name, &read(&home.join("Cargo.toml"))));
        complaints.extend(packages::copy_complaints(folder));
        complaints.extend(packages::include_complaints(folder, &sources));
    }
    let mut files = Vec::new();
    walk(root(), &mut files, &[".md", ".toml"]);
    for path in files {
        let name = path.strip_prefix(root()).unwrap_or(&path).display().to_string();
        complaints.extend(packages::address_complaints(&name, &read(&path), &repository));
    }
    assert_none(&complaints);
}

#[test]
fn lines_are_narrow() {
    let allowances =
        Allowances::parse(&read(&root().join(WIDTHS))).expect("the list is well-formed");
    let mut files = Vec::new();
    walk(root(), &mut files, &[".rs", ".md"]);
    files.sort();
    let files: Vec<_> = files
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(root()).unwrap_or(&path).to_string_lossy().into_owned();
            let wide = widths::wide_lines(&name, &read(&path));
            (name, wide)
        })
        .filter(|(name, wide)| !wide.is_empty() || allowances.names(name))
        .collect();
    assert_none(&widths::complaints(&allowances, &files));
}

#[test]
fn workflows_call_scripts_that_exist() {
    let mut files = vec![root().join(".ci/run"), root().join(".ci/release")];
    walk(&root().join(".github"), &mut files, &[".yml"]);
    assert!(files.len() >= 5, "the workflows were found: {files:?}");
    let mut called = 0;
    for file in files {
        // Folders that a workflow names are no scripts.
        for script in commands::scripts(&read(&file)) {
            let path = root().join(&script);
            if ["fuzz/corpus", "fuzz/artifacts"].contains(&&*script) {
                continue;
            }
            called += 1;
            assert!(path.is_file(), "{} calls {script}, which does not exist", file.display());
            assert_executable(&path);
        }
    }
    assert!(called >= 10, "calls were found: {called}");
}

#[cfg(unix)]
fn assert_executable(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = fs::metadata(path).expect("it exists").permissions().mode();
    assert!(mode & 0o111 != 0, "{} cannot be run", path.display());
}

#[cfg(not(unix))]
fn assert_executable(_: &Path) {}
