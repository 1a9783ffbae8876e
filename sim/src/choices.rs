//! Where chance comes from: every choice of a run goes through [`Choices`], keyed, with **0 meaning
//! benign**.
//!
//! A choice is asked for by [`Key`]: what for ([`Site`]), for whom, and the how-manieth time. Its
//! answer depends on nothing else, so taking one fault out of a run leaves all others where they
//! were. Sites belong to separate [`Domain`]s, so that drawing the workload anew does not draw the
//! network anew.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::str::FromStr;

use chinwag_core::rng::mix;

/// Who chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Domain {
    /// What users and operators do: the plan of faults, leaves, metadata.
    Workload,
    /// What the network does to one payload.
    Network,
    /// What one node does by chance: its seed, when it wakes.
    Node,
    /// Which of the tasks that were woken runs next, and how much a read or a write takes.
    Executor,
}

const DOMAINS: usize = 4;

/// What a choice is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Site {
    /// Whether a fault family is in the plan, and how much of it.
    Family,
    /// A number of one fault of the plan.
    Plan,
    /// A payload is lost by itself.
    Loss,
    /// A link enters a burst of losses.
    BurstEnter,
    /// A link leaves it again.
    BurstLeave,
    /// A payload is lost in a burst.
    BurstLoss,
    /// How much longer than the least a payload takes, in 256ths of the jitter.
    Jitter,
    /// A datagram comes twice.
    Duplicate,
    /// A datagram is overtaken.
    Reorder,
    /// A bit flips: which.
    Corrupt,
    /// The end is cut off: where.
    Truncate,
    /// A segment of a stream is sent again: how often.
    Retransmit,
    /// A node wakes up early, for nothing.
    EarlyWake,
    /// A node that wakes from a pause reads before it looks at its timers.
    ReadFirst,
    /// A stream falls silent.
    HalfOpen,
    /// A stream is reset.
    Reset,
    /// A task runs before others that were woken earlier: how many.
    Schedule,
    /// A read or a write takes less than it could: by how many bytes.
    Split,
    /// A machine dies with its process, and tells nobody.
    PowerCut,
    /// What a user does next.
    Call,
    /// What happens next, where there is no common time: [`crate::exhaustive`].
    Order,
}

impl Site {
    /// Every site.
    pub const ALL: [Self; 21] = [
        Self::Family,
        Self::Plan,
        Self::Loss,
        Self::BurstEnter,
        Self::BurstLeave,
        Self::BurstLoss,
        Self::Jitter,
        Self::Duplicate,
        Self::Reorder,
        Self::Corrupt,
        Self::Truncate,
        Self::Retransmit,
        Self::EarlyWake,
        Self::ReadFirst,
        Self::HalfOpen,
        Self::Reset,
        Self::Schedule,
        Self::Split,
        Self::PowerCut,
        Self::Call,
        Self::Order,
    ];

    /// The domain it belongs to.
    pub const fn domain(self) -> Domain {
        match self {
            Self::Family | Self::Plan | Self::Call => Domain::Workload,
            Self::EarlyWake | Self::ReadFirst | Self::PowerCut => Domain::Node,
            Self::Schedule | Self::Split | Self::Order => Domain::Executor,
            _ => Domain::Network,
        }
    }
}

/// One choice of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// What for.
    pub site: Site,
    /// For whom: the sending node, the node, the fault.
    pub who: u32,
    /// And towards whom; 0 where there is nobody.
    pub whom: u32,
    /// How often this has been asked before for the same three.
    pub nth: u32,
}

/// How likely an answer other than 0 is, and how large it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Odds {
    /// Chance of an answer other than 0, in millionths.
    pub per_million: u32,
    /// The greatest answer; answers other than 0 are uniform in `1..=most`.
    pub most: u32,
}

impl Odds {
    /// 1 with this chance in millionths, else 0.
    pub const fn chance(per_million: u32) -> Self {
        Self { per_million, most: 1 }
    }

    /// Uniform in `0..=most`, to a millionth.
    pub fn up_to(most: u32) -> Self {
        let nonzero = u64::from(most) * 1_000_000 / (u64::from(most) + 1);
        Self { per_million: u32::try_from(nonzero).unwrap_or(1_000_000), most }
    }
}

/// A source of choices. 0 is always the benign answer: no fault, no delay, nothing out of order.
pub trait Choices: Send {
    /// Answers `key`, in `0..=odds.most`.
    fn choose(&mut self, key: Key, odds: Odds) -> u32;

    /// What was chosen other than 0, if this source writes it down.
    fn take_tape(&mut self) -> Option<Tape> {
        None
    }
}

/// Choices that follow from a seed: a hash of seed and key, with no state at all.
#[derive(Clone, Debug)]
pub struct Seeded {
    seeds: [u64; DOMAINS],
}

impl Seeded {
    /// All domains from one seed.
    pub fn new(seed: u64) -> Self {
        let of = |domain: u64| mix(mix(seed).wrapping_add(mix(domain + 1)));
        Self { seeds: [of(0), of(1), of(2), of(3)] }
    }

    /// One domain from another seed, the others as before.
    #[must_use]
    pub fn with_domain(mut self, domain: Domain, seed: u64) -> Self {
        self.seeds[domain as usize] = Self::new(seed).seeds[domain as usize];
        self
    }
}

impl Choices for Seeded {
    fn choose(&mut self, key: Key, odds: Odds) -> u32 {
        if odds.per_million == 0 || odds.most == 0 {
            return 0;
        }
        let pair = u64::from(key.who) << 32 | u64::from(key.whom);
        let place = u64::from(key.nth) << 8 | key.site as u64;
        let hash = mix(mix(self.seeds[key.site.domain() as usize] ^ place).wrapping_add(pair));
        if ((hash >> 32) * 1_000_000) >> 32 >= u64::from(odds.per_million) {
            return 0;
        }
        let value = ((mix(hash) >> 32) * u64::from(odds.most)) >> 32;
        1 + u32::try_from(value).expect("a product of 32 bits by 32 bits, shifted by 32")
    }
}

/// Choices read from bytes, in the order they are asked for: a fuzzer's input. Past its end all is
/// calm.
#[derive(Clone, Debug, Default)]
pub struct Bytes {
    bytes: Vec<u8>,
    at: usize,
}

impl Bytes {
    /// Choices out of these bytes.
    pub fn new(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), at: 0 }
    }

    fn next(&mut self) -> u32 {
        let byte = self.bytes.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        u32::from(byte)
    }
}

impl Choices for Bytes {
    /// One byte: 0 is 0. Another is the answer itself where answers are small, and else picks where
    /// in a row of 255 a second byte refines.
    fn choose(&mut self, _: Key, odds: Odds) -> u32 {
        if odds.per_million == 0 || odds.most == 0 {
            return 0;
        }
        match (self.next(), odds.most) {
            (0, _) => 0,
            (byte, most @ 1..=255) => 1 + (byte - 1) % most,
            (byte, most) => {
                let fine = u64::from((byte - 1) << 8 | self.next());
                1 + u32::try_from(fine * u64::from(most - 1) / 0xfeff).expect("at most `most - 1`")
            }
        }
    }
}

/// The choices of a run that were not benign: its faults. Replayed, everything else is calm.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tape {
    chosen: BTreeMap<Key, u32>,
}

impl Tape {
    /// Choices written down.
    pub fn len(&self) -> usize {
        self.chosen.len()
    }

    /// Whether nothing was chosen: a calm run.
    pub fn is_empty(&self) -> bool {
        self.chosen.is_empty()
    }

    /// Keeps the choices for which `is_kept`.
    pub fn retain(&mut self, mut is_kept: impl FnMut(&Key) -> bool) {
        self.chosen.retain(|key, _| is_kept(key));
    }

    /// One choice a line: site, who, whom, nth, answer.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for (key, value) in &self.chosen {
            let Key { site, who, whom, nth } = key;
            writeln!(text, "{} {who} {whom} {nth} {value}", *site as u8).expect("strings take all");
        }
        text
    }
}

impl Choices for Tape {
    fn choose(&mut self, key: Key, odds: Odds) -> u32 {
        self.chosen.get(&key).map_or(0, |&value| value.min(odds.most))
    }
}

/// A text that is not a tape: the number of its first bad line, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TapeError {
    /// The line.
    pub line: usize,
}

impl std::fmt::Display for TapeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {} of the tape is not `site who whom nth answer`", self.line)
    }
}

impl std::error::Error for TapeError {}

impl FromStr for Tape {
    type Err = TapeError;

    fn from_str(text: &str) -> Result<Self, TapeError> {
        let mut chosen = BTreeMap::new();
        for (at, line) in text.lines().enumerate() {
            let numbers: Result<Vec<u32>, _> = line.split_whitespace().map(str::parse).collect();
            let parsed = match numbers.as_deref() {
                Ok(&[site, who, whom, nth, value]) => {
                    let site = Site::ALL.iter().find(|&&known| known as u32 == site);
                    site.map(|&site| (Key { site, who, whom, nth }, value))
                }
                _ => None,
            };
            let (key, value) = parsed.ok_or(TapeError { line: at + 1 })?;
            chosen.insert(key, value);
        }
        Ok(Self { chosen })
    }
}

/// Writes down what another source chooses.
#[derive(Clone, Debug)]
pub struct Recorder<C> {
    source: C,
    tape: Tape,
}

impl<C: Choices> Recorder<C> {
    /// Chooses as `source` does.
    pub fn new(source: C) -> Self {
        Self { source, tape: Tape::default() }
    }
}

impl<C: Choices> Choices for Recorder<C> {
    fn choose(&mut self, key: Key, odds: Odds) -> u32 {
        let value = self.source.choose(key, odds);
        if value != 0 {
            self.tape.chosen.insert(key, value);
        }
        value
    }

    fn take_tape(&mut self) -> Option<Tape> {
        Some(std::mem::take(&mut self.tape))
    }
}

#[cfg(test)]
mod tests;
