//! [`Window`]: which of a session's counters have been seen (`docs/protocol.md` §2.9).

/// Counters below the newest one that may still come, once each. A datagram that is overtaken by
/// more than these is lost.
pub const WINDOW: u64 = 1_024;

/// One word more than the window needs, so that a whole word can be cleared when the newest counter
/// enters it (RFC 6479).
const WORDS: u64 = WINDOW / 64 + 1;
const WORDS_LEN: usize = 17;
const _: () = assert!(WORDS_LEN as u64 == WORDS);

/// The counters of one session: the newest one and those below it, a bit each.
#[derive(Clone, Debug)]
pub(super) struct Window {
    newest: u64,
    seen: [u64; WORDS_LEN],
}

impl Window {
    pub(super) const fn new() -> Self {
        Self { newest: 0, seen: [0; WORDS_LEN] }
    }

    /// Whether `counter` has not been taken, as far as is remembered. Counters begin at 1.
    pub(super) fn is_new(&self, counter: u64) -> bool {
        counter > self.newest
            || counter > 0
                && self.newest - counter < WINDOW
                && self.seen[word(counter)] & bit(counter) == 0
    }

    pub(super) fn take(&mut self, counter: u64) {
        if counter > self.newest {
            let entered = (counter / 64 - self.newest / 64).min(WORDS);
            for at in 1..=entered {
                self.seen[word((self.newest / 64 + at) * 64)] = 0;
            }
            self.newest = counter;
        }
        self.seen[word(counter)] |= bit(counter);
    }
}

fn word(counter: u64) -> usize {
    usize::try_from(counter / 64 % WORDS).unwrap_or(0)
}

const fn bit(counter: u64) -> u64 {
    1 << (counter % 64)
}
