//! Which run holds an id: the one rule that every claim about another run, or about another address
//! of a run, goes through (`docs/protocol.md` §4.9).
//!
//! The rule is a function of what is held, what is claimed, and which of the two addresses have
//! answered. It knows no clock and sends nothing, so it is tested row by row.

use core::cmp::Ordering;

/// What is known here of the id that a claim is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    Nobody,
    /// The run is dead or has left.
    Gone,
    Live,
}

/// Who makes the claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Voice {
    /// The claimant itself: it asks for the table.
    Claimant,
    /// A live member, over its own connection.
    Member,
    Anybody,
}

/// A claim beside what is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) held: Held,
    /// The claimed epoch, against the held one.
    pub(crate) order: Ordering,
    /// Whether the claimed address is the held one.
    pub(crate) is_same_address: bool,
    /// Whether the claim says that the run lives.
    pub(crate) is_live: bool,
    /// Whether the details of the claim are of a later incarnation than those known of the same
    /// run.
    pub(crate) is_later_word: bool,
    pub(crate) voice: Voice,
}

/// What has come of the question at one address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Nothing yet.
    #[default]
    Open,
    /// The run that was asked for has answered.
    Alive,
    /// Nobody has answered in time.
    Silent,
    /// The host refuses connections to the address, and nobody has answered since.
    Refused,
}

impl Answer {
    /// Whether nobody is there, as far as the question goes.
    const fn is_missing(self) -> bool {
        matches!(self, Self::Silent | Self::Refused)
    }
}

/// What both addresses have answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answers {
    pub(crate) claimed: Answer,
    pub(crate) held: Answer,
}

/// What becomes of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The order of claims decides (§4.2): no two runs are in question.
    Merge,
    /// The addresses have to answer first, or go on being asked.
    Ask,
    /// The record becomes what the claim says.
    Take,
    Refuse,
    /// Both live: the held run stays, and both are told.
    Conflict,
    /// The claimant waits until the held run has been silent for as long as is forgiven.
    Wait,
    /// The claimant is told that the held run is over, and moves past it.
    MovePast,
}

/// Decides about a claim.
pub(crate) fn decide(case: Case, answers: Answers) -> Decision {
    let Case { held, order, is_same_address, is_live, is_later_word, voice } = case;
    let is_elsewhere = !is_same_address;
    if held != Held::Nobody && is_live && answers.claimed.is_missing() {
        return Decision::Refuse;
    }
    match (held, order) {
        (Held::Nobody, _) | (Held::Gone, Ordering::Less | Ordering::Greater) => Decision::Merge,
        (_, Ordering::Equal | Ordering::Less) if is_same_address => Decision::Merge,
        (Held::Gone, Ordering::Equal) if !is_later_word => Decision::Merge,
        (_, Ordering::Equal) if !is_later_word && voice != Voice::Claimant => Decision::Merge,
        (_, Ordering::Equal) if !is_live => Decision::Refuse,
        (_, Ordering::Less) if voice == Voice::Anybody || !is_live => Decision::Merge,
        (_, Ordering::Greater) if !is_live && is_same_address => Decision::Merge,
        // There is nobody at the claimed address to be asked.
        (_, Ordering::Greater) if !is_live => match answers.held {
            Answer::Open => Decision::Ask,
            Answer::Alive => Decision::Refuse,
            Answer::Silent | Answer::Refused => Decision::Take,
        },
        _ if answers.claimed == Answer::Open => Decision::Ask,
        (_, Ordering::Greater) if is_same_address => Decision::Take,
        (_, Ordering::Less) if voice == Voice::Member => match answers.held {
            Answer::Open => Decision::Ask,
            Answer::Alive => Decision::Take,
            Answer::Silent | Answer::Refused => Decision::Refuse,
        },
        (_, order) => {
            debug_assert!(is_elsewhere, "what is at one address has been decided");
            match answers.held {
                Answer::Open => Decision::Ask,
                Answer::Alive => Decision::Conflict,
                Answer::Silent | Answer::Refused if order.is_eq() && is_later_word => {
                    Decision::Take
                }
                Answer::Refused if order.is_gt() => Decision::Take,
                Answer::Refused => Decision::MovePast,
                Answer::Silent => Decision::Wait,
            }
        }
    }
}

#[cfg(test)]
mod tests;
