//! Whether a seed is a run: two runs of one seed are compared, event by event.

use std::fmt::Write as _;

use crate::trace::record::Record;

/// One seed in so many is run twice, unless all are.
const TWICE_EVERY: u64 = 16;
const TAKES_ALL: &str = "strings take all";

/// What an author looks for when two runs of one seed differ.
pub(crate) const CAUSES: &str = "Something outside of the seed changes the run. Look for: \
    the order of a HashMap or HashSet (take a BTreeMap, or a hasher with a fixed seed); \
    the real clock (take `node.now()` and `node.clock()`), also inside of a library, \
    as in the locks of async-lock; \
    threads; timers and sockets of another runtime; addresses in memory; \
    a static or an Arc that keeps state from one run to the next.";

/// Which seeds are run twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Twice {
    /// One seed in 16, the first of a range among them.
    #[default]
    Some,
    /// Every seed.
    All,
}

impl Twice {
    /// Whether the seed that is `number` places after the first one is run twice.
    pub(crate) const fn holds(self, number: u64) -> bool {
        match self {
            Self::Some => number.is_multiple_of(TWICE_EVERY),
            Self::All => true,
        }
    }
}

/// Returns the last event that two traces have in common and the first two that differ, as lines of
/// text; `None` if the traces are equal.
pub(crate) fn difference(one: &[Record], other: &[Record]) -> Option<String> {
    let shared = one.iter().zip(other).take_while(|(one, other)| one == other).count();
    if shared == one.len() && shared == other.len() {
        return None;
    }
    let line = |record: Option<&Record>| {
        record.map_or_else(
            || "nothing: the run is over".into(),
            |record| serde_json::to_string(record).unwrap_or_else(|error| error.to_string()),
        )
    };
    let mut text = String::new();
    let last = shared.checked_sub(1).and_then(|last| one.get(last));
    let last = last.map_or_else(|| "their beginning".into(), |last| line(Some(last)));
    writeln!(text, "the last event that both runs have: {last}").expect(TAKES_ALL);
    writeln!(text, "the next event of one run: {}", line(one.get(shared))).expect(TAKES_ALL);
    write!(text, "the next event of the other: {}", line(other.get(shared))).expect(TAKES_ALL);
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::record::What;

    fn note(at: u64, text: &str) -> Record {
        Record { at, node: Some(1), what: What::Note { text: text.into() } }
    }

    #[test]
    fn the_first_seed_is_always_run_twice_and_one_in_sixteen_after_it() {
        assert_eq!((0..48).filter(|&number| Twice::Some.holds(number)).count(), 3);
        assert!(Twice::Some.holds(0) && !Twice::Some.holds(1));
        assert!((0..48).all(|number| Twice::All.holds(number)));
    }

    #[test]
    fn where_two_traces_part_is_shown() {
        let one = [note(0, "a"), note(1_000_000_000, "b"), note(2_000_000_000, "c")];
        assert_eq!(difference(&one, &one), None);
        let other = [note(0, "a"), note(1_000_000_000, "x")];
        let text = difference(&one, &other).expect("they differ");
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].contains(r#""text":"a""#), "{text}");
        assert!(lines[1].contains(r#""text":"b""#), "{text}");
        assert!(lines[2].contains(r#""text":"x""#), "{text}");
        let text = difference(&one[..1], &one).expect("one is longer");
        assert!(text.contains("nothing: the run is over"), "{text}");
        let text = difference(&one, &[]).expect("one is empty");
        assert!(text.contains("their beginning"), "{text}");
    }
}
