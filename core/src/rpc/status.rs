//! [`Status`]: how a call ended when it did not end well (`docs/protocol.md` §5.5).

use alloc::string::String;
use core::fmt;

use super::config::STATUS_MESSAGE_LEN_MAX;
use super::headers::Headers;

/// What went wrong, as a kind that programs branch on.
/// Their numbers on the wire are in `docs/protocol.md` §5.5.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    /// The handler ran and answered with an error of its own.
    AppError,
    /// The peer has no service of that name (now).
    UnknownService,
    /// The service has no method of that name.
    UnknownMethod,
    /// The method exists with another layout of request or reply.
    SchemaMismatch,
    /// The deadline passed.
    DeadlineExceeded,
    /// The caller cancelled.
    Cancelled,
    /// A limit on calls or queues was reached; later may work.
    Overloaded,
    /// The request, its headers, or the reply is larger than the side that has to hold it allows.
    TooLarge,
    /// Membership declared the peer dead or restarted.
    PeerGone,
    /// The peer does not take calls (it is going away), or the connection ended before the request
    /// left.
    Unavailable,
    /// The connection ended while the call was open: it may have run.
    ConnectionLost,
    /// The handler or the driver failed in a way that is nobody's answer, such as a panic.
    Internal,
    /// A code of a later version.
    Other(u16),
}

impl Code {
    /// The number on the wire; 0 is success and no code.
    pub const fn get(self) -> u16 {
        match self {
            Self::AppError => 1,
            Self::UnknownService => 2,
            Self::UnknownMethod => 3,
            Self::SchemaMismatch => 4,
            Self::DeadlineExceeded => 5,
            Self::Cancelled => 6,
            Self::Overloaded => 7,
            Self::TooLarge => 8,
            Self::PeerGone => 9,
            Self::Unavailable => 10,
            Self::ConnectionLost => 11,
            Self::Internal => 12,
            Self::Other(code) => code,
        }
    }

    /// The code of a number on the wire.
    pub const fn from_raw(raw: u16) -> Self {
        match raw {
            1 => Self::AppError,
            2 => Self::UnknownService,
            3 => Self::UnknownMethod,
            4 => Self::SchemaMismatch,
            5 => Self::DeadlineExceeded,
            6 => Self::Cancelled,
            7 => Self::Overloaded,
            8 => Self::TooLarge,
            9 => Self::PeerGone,
            10 => Self::Unavailable,
            11 => Self::ConnectionLost,
            12 => Self::Internal,
            other => Self::Other(other),
        }
    }

    /// Whether this code alone says that no handler ran: it is what a dispatcher answers instead of
    /// calling one.
    const fn says_never_ran(self) -> bool {
        matches!(
            self,
            Self::UnknownService | Self::UnknownMethod | Self::SchemaMismatch | Self::Unavailable
        )
    }
}

/// How far a failed call got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    NeverSent,
    NeverRan,
    MayHaveRun,
}

/// The failure of a call: a [`Code`], a short message for humans, and how far the call got.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// The kind of failure.
    pub code: Code,
    /// For humans; at most 1 KiB travels.
    pub message: String,
    reach: Reach,
    headers: Headers,
}

impl Status {
    /// The status a handler or a dispatcher answers with. [`Status::may_have_run`] follows from the
    /// code; once a handler has answered with it, its caller is told that it may have run.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        let reach = if code.says_never_ran() { Reach::NeverRan } else { Reach::MayHaveRun };
        Self::reaching(reach, code, message.into())
    }

    /// A status for a request that no handler has seen or will see: safe to send again.
    pub fn never_ran(code: Code, message: impl Into<String>) -> Self {
        Self::reaching(Reach::NeverRan, code, message.into())
    }

    /// A status for a request of which no byte left this node.
    pub fn unsent(code: Code, message: impl Into<String>) -> Self {
        Self::reaching(Reach::NeverSent, code, message.into())
    }

    /// How a call ends whose answer was dropped because nobody took it (`docs/protocol.md`
    /// §5.12.7).
    pub fn untaken() -> Self {
        Self::new(Code::Overloaded, "nobody took the answer, and others needed its room")
    }

    const fn reaching(reach: Reach, code: Code, message: String) -> Self {
        Self { code, message, reach, headers: Headers::new() }
    }

    /// The same, of a handler that has begun: whatever the code says, and whoever's status it was
    /// at first.
    #[must_use]
    pub fn having_run(self) -> Self {
        Self { reach: Reach::MayHaveRun, ..self }
    }

    /// The same with the metadata that came beside it.
    #[must_use]
    pub fn with_headers(self, headers: Headers) -> Self {
        Self { headers, ..self }
    }

    /// The metadata that came beside a failed answer. To be read by the caller: a handler that
    /// answers with a status sends what was set on its context, not these.
    pub const fn headers(&self) -> &Headers {
        &self.headers
    }

    /// Whether no byte of the request left this node.
    pub const fn never_sent(&self) -> bool {
        matches!(self.reach, Reach::NeverSent)
    }

    /// Whether a handler may have run, wholly or in part. `false` is certain: sending again
    /// elsewhere runs it once.
    pub const fn may_have_run(&self) -> bool {
        matches!(self.reach, Reach::MayHaveRun)
    }

    /// The message as it travels: at most [`STATUS_MESSAGE_LEN_MAX`] bytes, cut at a character
    /// boundary.
    /// (`docs/protocol.md` §5.5.2)
    pub(super) fn wire_message(&self) -> &str {
        clip(&self.message, STATUS_MESSAGE_LEN_MAX)
    }

    /// A status from the wire (§5.5). An unreadable message is repaired, not refused: the code is
    /// what counts.
    pub(super) fn decode(code: u16, never_ran: bool, message: &[u8]) -> Self {
        let message = message.get(..STATUS_MESSAGE_LEN_MAX).unwrap_or(message);
        let reach = if never_ran { Reach::NeverRan } else { Reach::MayHaveRun };
        Self::reaching(reach, Code::from_raw(code), String::from_utf8_lossy(message).into_owned())
    }
}

/// The longest prefix of `text` that has at most `len` bytes and ends between characters.
pub(super) fn clip(text: &str, len: usize) -> &str {
    let mut end = len.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The code's name, and the number of one that this version does not know.
impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if self.message.is_empty() { Ok(()) } else { write!(f, ": {}", self.message) }
    }
}

impl core::error::Error for Status {}
