//! A list of what is over its limit, which may only shrink.

use std::collections::BTreeMap;

/// What may be over its limit: `path` or `path::function`, and the lines it has.
pub(crate) struct Allowances(BTreeMap<String, usize>);

impl Allowances {
    /// Reads lines of `name lines`; `#` begins a comment.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut allowances = BTreeMap::new();
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let parsed = line
                .rsplit_once(' ')
                .and_then(|(name, lines)| Some((name.trim(), lines.parse().ok()?)));
            let (name, lines) = parsed.ok_or_else(|| format!("not `name lines`: {line}"))?;
            if allowances.insert(name.into(), lines).is_some() {
                return Err(format!("twice: {name}"));
            }
        }
        Ok(Self(allowances))
    }

    /// Whether there is an allowance for `name`.
    pub(crate) fn names(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// What is wrong with `sizes`, each a name, its lines, and their limit.
    pub(crate) fn complaints(&self, sizes: &[(String, usize, usize)]) -> Vec<String> {
        let mut complaints = Vec::new();
        let mut unused = self.0.clone();
        for (name, lines, limit) in sizes {
            let allowed = unused.remove(name);
            let complaint = match allowed {
                None if lines > limit => {
                    format!("{lines} lines, over the limit of {limit}: part it")
                }
                Some(_) if lines <= limit => {
                    format!("{lines} lines, within the limit: take its allowance out")
                }
                Some(allowed) if *lines > allowed => {
                    format!("{lines} lines, grown past its allowance of {allowed}")
                }
                Some(allowed) if *lines < allowed => {
                    format!("shrunk to {lines} lines: lower its allowance")
                }
                _ => continue,
            };
            complaints.push(format!("{name}: {complaint}"));
        }
        complaints
            .extend(unused.into_keys().map(|name| format!("{name}: gone: take its allowance out")));
        complaints
    }
}

#[test]
fn what_is_over_may_not_grow_and_nothing_new_goes_over() {
    let allowances =
        Allowances::parse("# why\n\na.rs 600 # soon\na.rs::f 80\n").expect("well-formed");
    let sizes =
        |a, f, b| vec![("a.rs".into(), a, 500), ("a.rs::f".into(), f, 70), ("b.rs".into(), b, 500)];
    for (sizes, expected) in [
        (sizes(600, 80, 500), ""),
        (sizes(601, 80, 500), "a.rs: 601 lines, grown past its allowance of 600"),
        (sizes(600, 80, 501), "b.rs: 501 lines, over the limit of 500: part it"),
        (sizes(599, 80, 1), "a.rs: shrunk to 599 lines: lower its allowance"),
        (sizes(600, 70, 1), "a.rs::f: 70 lines, within the limit: take its allowance out"),
        (vec![("a.rs".into(), 600, 500)], "a.rs::f: gone: take its allowance out"),
    ] {
        assert_eq!(allowances.complaints(&sizes).join("|"), expected);
    }
}

#[test]
fn a_broken_list_is_refused() {
    for text in ["a.rs", "a.rs x", "a.rs 1\na.rs 2"] {
        assert!(Allowances::parse(text).is_err(), "{text}");
    }
}
