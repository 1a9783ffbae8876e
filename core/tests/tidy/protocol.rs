//! Rule numbers: those that `docs/protocol.md` has, and those that code cites.

use std::collections::BTreeSet;

/// Whose sections are not the protocol's, when named right before the sign.
const PAPERS: [&str; 2] = ["SWIM", "Lifeguard"];

/// Every rule of the protocol: `## 4.` and `### 4.3` as headings, `**§4.3.1 …**` or `§4.3.1` at the
/// start of a line, and the items of a numbered list under a heading (`2.` under `### 5.4` is
/// 5.4.2).
pub(crate) fn rules(text: &str) -> BTreeSet<String> {
    let mut rules = BTreeSet::new();
    let mut heading = None;
    for line in text.lines() {
        if let Some(title) = line.strip_prefix('#') {
            heading = number(title.trim_start_matches('#').trim_start());
            rules.extend(heading.clone());
        } else if let Some(rule) = line.trim_start_matches('*').strip_prefix('§') {
            rules.extend(number(rule));
        } else if let (Some(heading), Some((item, _))) = (&heading, line.split_once(". "))
            && number(item).is_some_and(|number| number == item)
        {
            rules.insert(format!("{heading}.{item}"));
        }
    }
    rules
}

/// Every citation in `text`: its line, from 1, and the rule's number. Papers' sections are left
/// out.
pub(crate) fn citations(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, line) in text.lines().enumerate() {
        for (sign, _) in line.match_indices('§') {
            let before = line[..sign].split_whitespace().last().unwrap_or_default();
            let is_paper = PAPERS.iter().any(|paper| before.ends_with(paper));
            if let Some(number) = number(&line[sign + '§'.len_utf8()..]).filter(|_| !is_paper) {
                found.push((at + 1, number));
            }
        }
    }
    found
}

/// The rules that the names of functions in `text` cite: `s5_4_2_a_call_ends` cites 5.4.2, and
/// `rules_3_4_and_3_7_hold` cites 3.4 and 3.7.
pub(crate) fn named(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for line in text.lines() {
        let Some((_, name)) = line.split_once("fn ") else { continue };
        let Some(mut rest) = ["rules_", "rule_", "s"].iter().find_map(|it| name.strip_prefix(it))
        else {
            continue;
        };
        loop {
            let is_part =
                |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            let parts: Vec<&str> = rest.split('_').take_while(is_part).collect();
            if parts.is_empty() {
                break;
            }
            found.insert(parts.join("."));
            let after = rest[parts.join("_").len()..].strip_prefix('_').unwrap_or_default();
            match ["and_", "to_"].iter().find_map(|it| after.strip_prefix(it)) {
                Some(more) => rest = more,
                None => break,
            }
        }
    }
    found
}

/// The rules of `all` that nothing in `cited` is about. A rule that is only the heading of others
/// is cited by any of them.
pub(crate) fn uncited(all: &BTreeSet<String>, cited: &BTreeSet<String>) -> Vec<String> {
    let is_cited = |rule: &String| {
        let below = format!("{rule}.");
        cited.contains(rule) || cited.iter().any(|it| it.starts_with(&below))
    };
    all.iter().filter(|rule| !is_cited(rule)).cloned().collect()
}

/// The number at the start of `text`: digits with single dots between, such as 4 or 5.9.4.
fn number(text: &str) -> Option<String> {
    let end =
        text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let parts = text[..end].split('.').take_while(|part| !part.is_empty());
    let number = parts.collect::<Vec<_>>().join(".");
    (!number.is_empty()).then_some(number)
}

#[test]
fn rules_are_read_in_every_form() {
    let text = "## 3. The clock\n**§3.10 Layout.** as §3.4 says\n§3.2 x\n## 5. RPC\n### 5.4 Calls\n1. A call\n12. ends\n1.5 times. x\n# End\n3. no";
    let expected = ["3", "3.10", "3.2", "5", "5.4", "5.4.1", "5.4.12"].map(String::from);
    assert_eq!(rules(text), expected.into());
}

#[test]
fn citations_are_the_protocols_own() {
    let text = "// (`docs/protocol.md` §4.2, §4.5.1)\n/// SWIM §4.3; `docs/protocol.md` §4.3.\n// Lifeguard §IV-A, §5 and \"**§3. x";
    let expected = [(1, "4.2"), (1, "4.5.1"), (2, "4.3"), (3, "5"), (3, "3")];
    assert_eq!(citations(text), expected.map(|(line, rule)| (line, rule.to_string())));
}

#[test]
fn rules_are_cited_by_the_names_of_tests() {
    let text =
        "fn s5_4_2_a_call_ends() {\nfn rules_3_4_and_3_7_hold() {\nfn sum() {\nfn s5_6_x() {}";
    assert_eq!(named(text), ["5.4.2", "3.4", "3.7", "5.6"].map(String::from).into());
}

#[test]
fn a_rule_that_nothing_is_about_is_found() {
    let all = ["4", "4.1", "4.1.1", "4.2"].map(String::from).into();
    assert_eq!(uncited(&all, &["4.1.1".to_owned()].into()), ["4.2"]);
}
