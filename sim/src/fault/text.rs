//! How plans stand in JSON: spans such as `"250ms"`, chances as shares of 1, faults under `at`,
//! `for` and `fault`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Fault, Timed};
use crate::clock::nanos;

/// Whether a field need not be written.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A fault and its span, as written; without `for` it never ends.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TimedText {
    #[serde(with = "span")]
    at: Duration,
    #[serde(rename = "for", with = "span_or_ever", default, skip_serializing_if = "is_default")]
    lasts: Option<Duration>,
    fault: Fault,
}

impl From<TimedText> for Timed {
    fn from(text: TimedText) -> Self {
        let TimedText { at, lasts, fault } = text;
        let at = nanos(at);
        let until = lasts.map_or(u64::MAX, |lasts| at.saturating_add(nanos(lasts)));
        Self { at, until, fault }
    }
}

impl From<Timed> for TimedText {
    fn from(timed: Timed) -> Self {
        let Timed { at, until, fault } = timed;
        let lasts = (until != u64::MAX).then(|| Duration::from_nanos(until.saturating_sub(at)));
        Self { at: Duration::from_nanos(at), lasts, fault }
    }
}

/// A span as it is written: the largest unit that says it exactly.
pub(crate) fn span_text(span: Duration) -> String {
    let count = span.as_nanos();
    let units = [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us")];
    let (of, unit) =
        units.into_iter().find(|(of, _)| count.is_multiple_of(*of)).unwrap_or((1, "ns"));
    format!("{}{unit}", count / of)
}

pub(crate) mod span {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(span: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&super::span_text(*span))
    }

    pub(crate) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Duration, D::Error> {
        crate::args::span(&String::deserialize(from)?).map_err(D::Error::custom)
    }
}

mod span_or_ever {
    use std::time::Duration;

    use serde::{Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        span: &Option<Duration>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match span {
            Some(span) => super::span::serialize(span, to),
            None => to.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'a, D: Deserializer<'a>>(
        from: D,
    ) -> Result<Option<Duration>, D::Error> {
        super::span::deserialize(from).map(Some)
    }
}

const MILLION: f64 = 1_000_000.0;

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be 0 to 1")]
fn millionths(share: f64) -> Result<u32, String> {
    if (0.0..=1.0).contains(&share) {
        Ok((share * MILLION).round() as u32)
    } else {
        Err(format!("{share} is not a share, 0 to 1"))
    }
}

pub(crate) mod share {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(millionths: &u32, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_f64(f64::from(*millionths) / super::MILLION)
    }

    pub(crate) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<u32, D::Error> {
        super::millionths(f64::deserialize(from)?).map_err(D::Error::custom)
    }
}

pub(crate) mod shares {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(
        burst: &Option<[u32; 3]>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        burst.map(|three| three.map(|one| f64::from(one) / super::MILLION)).serialize(to)
    }

    pub(crate) fn deserialize<'a, D: Deserializer<'a>>(
        from: D,
    ) -> Result<Option<[u32; 3]>, D::Error> {
        let Some([enter, leave, loss]) = Option::<[f64; 3]>::deserialize(from)? else {
            return Ok(None);
        };
        let of = |share| super::millionths(share).map_err(D::Error::custom);
        Ok(Some([of(enter)?, of(leave)?, of(loss)?]))
    }
}
