//! The README's commands, which `.ci/run` has to run as they stand there.

/// What the README's two commands begin with.
const BEGINNINGS: [&str; 2] =
    ["cargo run --release --example quickstart", "cargo test --workspace"];
/// Words that no step of `.ci/run` and no line of `.ci/repeat` may have: another way to run the
/// tests has other faults, and hides those that a user meets.
const OTHER_RUNNERS: [&str; 1] = ["nextest"];

/// The README's commands: lines of its shell samples that begin as one of the two does, without
/// their comments.
fn commands(readme: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut is_shell = false;
    for line in readme.lines() {
        if let Some(language) = line.strip_prefix("```") {
            is_shell = matches!(language.trim(), "sh" | "bash" | "console" | "shell");
        } else if is_shell {
            let command = line.split(" #").next().unwrap_or_default().trim();
            let command = command.strip_prefix("$ ").unwrap_or(command);
            if BEGINNINGS.iter().any(|beginning| command.starts_with(beginning)) {
                commands.push(command.to_owned());
            }
        }
    }
    commands
}

/// What is wrong with `.ci/run`, given the README.
pub(crate) fn complaints(readme: &str, run: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let commands = commands(readme);
    for beginning in BEGINNINGS {
        if !commands.iter().any(|command| command.starts_with(beginning)) {
            complaints.push(format!("README.md has no command `{beginning}`"));
        }
    }
    let steps: Vec<&str> = run.lines().map(str::trim).collect();
    for command in commands {
        // `step "test" cargo test --workspace`: a name of the step, and the command to the end.
        let is_step = |line: &&&str| {
            line.strip_prefix("step ").is_some_and(|step| {
                step.strip_suffix(&*command).is_some_and(|name| name.ends_with("\" "))
            })
        };
        let count = steps.iter().filter(is_step).count();
        if count != 1 {
            complaints.push(format!("`{command}` is a step of .ci/run {count} times, not once"));
        }
    }
    complaints
}

/// Where another test runner is named, in a script with this name.
pub(crate) fn other_runners(name: &str, script: &str) -> Vec<String> {
    let named = OTHER_RUNNERS.iter().filter(|runner| script.contains(**runner));
    named.map(|runner| format!("{name} names {runner}")).collect()
}

/// The scripts of this repository that a workflow or another script calls.
pub(crate) fn scripts(text: &str) -> Vec<String> {
    let is_comment = |line: &&str| line.trim_start().starts_with('#');
    let words = text.lines().filter(|line| !is_comment(line)).flat_map(str::split_whitespace);
    let is_script = |word: &&str| {
        let name = word.strip_prefix(".ci/").or_else(|| word.strip_prefix(".github/"));
        name.or_else(|| word.strip_prefix("fuzz/"))
            .is_some_and(|name| name.chars().all(|c| c.is_ascii_lowercase()) && !name.is_empty())
    };
    words.filter(is_script).map(str::to_owned).collect()
}

#[test]
fn scripts_are_found_where_they_are_called() {
    let text =
        "# .ci/none\nrun: .ci/repeat 20 4\n  .github/tools cargo-fuzz\nfuzz/run 60 fuzz/seeds/x\n";
    assert_eq!(scripts(text), [".ci/repeat", ".github/tools", "fuzz/run"]);
}

#[test]
fn each_command_is_one_step_as_it_stands() {
    let readme = "cargo test --workspace\n```sh\ncargo run --release --example quickstart   # why\n\
        $ cargo test --workspace\ncargo add chinwag\n```\n";
    let right = "step \"quick\" cargo run --release --example quickstart\n\
        step \"test\" cargo test --workspace\n";
    assert_eq!(complaints(readme, right), [""; 0]);
    for (from, to) in [
        ("cargo test --workspace", "cargo test --locked --workspace"),
        ("cargo test --workspace", "run_tests"),
        ("cargo test --workspace", "cargo test --workspace || true"),
        ("step \"test\" cargo test", "# step \"test\" cargo test"),
        ("example quickstart\n", "example quickstart -- --runtime smol\n"),
        ("step \"test\"", "step \"test\" cargo test --workspace\nstep \"test\""),
    ] {
        let wrong = right.replacen(from, to, 1);
        assert_eq!(complaints(readme, &wrong).len(), 1, "{wrong}");
    }
    assert_eq!(complaints("```sh\ncargo test\n```\n", right).len(), 2, "neither is in the README");
    assert_eq!(other_runners("run", "cargo nextest run").len(), 1);
    assert_eq!(other_runners("run", right), [""; 0]);
}
