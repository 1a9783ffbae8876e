//! [`TraceContext`]: what joins the spans of a call's two ends, in the form of W3C Trace Context.
//!
//! A call made while `tracing` wants spans of the target `chinwag::call` at level DEBUG has one,
//! named `call`, with the header `traceparent` that names it. The handler at the other end is in a
//! span named `handle` with the same `trace_id`, and the caller's `span_id` as `parent_id`; calls
//! it makes through its [`Context`](crate::Context) go on with the trace. A node that wants no
//! spans passes the context on. Where nobody wants spans, nothing is sent.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use chinwag_core::id::NodeId;
use chinwag_core::rng::mix;
use chinwag_core::rpc::Headers;
use tracing::Span;
use tracing::field::Empty;

/// The header's key.
pub const TRACEPARENT: &str = "traceparent";

/// `00-<32 digits of trace>-<16 of span>-<2 of flags>`.
const TRACEPARENT_LEN: usize = 55;

/// A place in a trace: the trace, the span, and whether it is sampled.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceContext {
    trace_id: u128,
    span_id: u64,
    flags: u8,
}

impl TraceContext {
    /// The span `span_id` of the trace `trace_id`, or `None` if either is 0, which names nothing.
    pub const fn new(trace_id: u128, span_id: u64, is_sampled: bool) -> Option<Self> {
        if trace_id == 0 || span_id == 0 {
            return None;
        }
        Some(Self { trace_id, span_id, flags: is_sampled as u8 })
    }

    /// A `traceparent` header's value, or `None` if it is not one. Of a later version, what this
    /// one knows of it is read.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?;
        let mut parts = text.split('-');
        let [version, trace_id, span_id, flags] = [(); 4].map(|()| parts.next());
        let version = hex(version?, 2)?;
        if version == 0xff || version == 0 && text.len() != TRACEPARENT_LEN {
            return None;
        }
        let (trace_id, span_id) = (hex(trace_id?, 32)?, hex(span_id?, 16)?);
        let flags = hex(flags?, 2)?;
        let context = Self::new(trace_id, u64::try_from(span_id).ok()?, false)?;
        Some(Self { flags: u8::try_from(flags).ok()?, ..context })
    }

    /// The context that a message's headers carry.
    pub fn of(headers: &Headers) -> Option<Self> {
        headers.get(TRACEPARENT).and_then(Self::parse)
    }

    /// The trace.
    pub const fn trace_id(&self) -> u128 {
        self.trace_id
    }

    /// The span.
    pub const fn span_id(&self) -> u64 {
        self.span_id
    }

    /// Whether somebody keeps the trace.
    pub const fn is_sampled(&self) -> bool {
        self.flags & 1 == 1
    }
}

/// As a `traceparent` header's value.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, self.flags)
    }
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Exactly `digits` lower-case hexadecimal digits.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let is_number = text.len() == digits && text.bytes().all(is_digit);
    is_number.then(|| u128::from_str_radix(text, 16).ok())?
}

/// Where ids of traces and spans come from. They need not be secret, only different.
#[derive(Debug)]
pub(crate) struct TraceIds {
    state: AtomicU64,
}

impl TraceIds {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: AtomicU64::new(mix(seed)) }
    }

    /// SplitMix64: `mix` of a counter with a large odd step visits every number once.
    fn next(&self) -> u64 {
        let state = self.state.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        mix(state).max(1)
    }

    fn child(&self, parent: Option<TraceContext>) -> TraceContext {
        match parent {
            Some(parent) => TraceContext { span_id: self.next(), ..parent },
            None => {
                let trace_id = u128::from(self.next()) << 64 | u128::from(self.next());
                TraceContext { trace_id, span_id: self.next(), flags: 1 }
            }
        }
    }
}

/// Whether anybody wants spans of calls. Two loads where nobody does.
pub(crate) fn is_wanted() -> bool {
    tracing::enabled!(target: "chinwag::call", tracing::Level::DEBUG)
}

/// The caller's span, and its context in `headers`. One that the user has put there is left, and is
/// taken for the span's own.
pub(crate) fn call_span(
    ids: &TraceIds,
    parent: Option<TraceContext>,
    headers: &mut Headers,
    (service, method, peer): (&str, &str, NodeId),
) -> Span {
    let is_wanted = is_wanted();
    let context = match TraceContext::of(headers) {
        Some(given) => given,
        None if !is_wanted && parent.is_none() => return Span::none(),
        None => {
            // What passes through is the parent itself: there is no span of this node in between.
            let context = parent.filter(|_| !is_wanted).unwrap_or_else(|| ids.child(parent));
            // Headers that are full stay without it.
            let _full = headers.push(TRACEPARENT, context.to_string().as_bytes());
            context
        }
    };
    tracing::debug_span!(
        target: "chinwag::call",
        "call",
        service,
        method,
        peer = peer.get(),
        trace_id = format_args!("{:032x}", context.trace_id),
        span_id = format_args!("{:016x}", context.span_id),
        parent_id = parent.map(|parent| tracing::field::display(Id(parent.span_id))),
        status = Empty,
    )
}

/// The handler's span, and its context, or the caller's where there is no span.
pub(crate) fn handler_span(
    ids: &TraceIds,
    headers: &Headers,
    (service, method, caller): (&str, &str, NodeId),
) -> (Span, Option<TraceContext>) {
    let parent = TraceContext::of(headers);
    if !is_wanted() {
        return (Span::none(), parent);
    }
    let context = ids.child(parent);
    let span = tracing::debug_span!(
        target: "chinwag::call",
        "handle",
        service,
        method,
        caller = caller.get(),
        trace_id = format_args!("{:032x}", context.trace_id),
        span_id = format_args!("{:016x}", context.span_id),
        parent_id = parent.map(|parent| tracing::field::display(Id(parent.span_id))),
        status = Empty,
    );
    (span, Some(context))
}

struct Id(u64);

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_nobody_watches_sends_no_context() {
        let mut headers = Headers::new();
        let names = ("service", "method", NodeId::new(1));
        let span = call_span(&TraceIds::new(1), None, &mut headers, names);
        assert!(span.is_none() && headers.get(TRACEPARENT).is_none());
    }

    const EXAMPLE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_context_reads_as_it_was_written() {
        let context =
            TraceContext::parse(EXAMPLE.as_bytes()).expect("the example of the recommendation");
        assert_eq!(context.trace_id(), 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c);
        assert_eq!((context.span_id(), context.is_sampled()), (0xb7ad_6b71_6920_3331, true));
        assert_eq!(context.to_string(), EXAMPLE);
    }

    #[test]
    fn what_is_no_context_is_refused() {
        let upper = EXAMPLE.to_uppercase();
        for (why, text) in [
            ("empty", ""),
            ("upper case", upper.as_str()),
            ("no trace", "00-00000000000000000000000000000000-b7ad6b7169203331-01"),
            ("no span", "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01"),
            ("the forbidden version", "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            (
                "more than version 0 has",
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            ),
            ("a sign", "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            ("short", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331"),
        ] {
            assert_eq!(TraceContext::parse(text.as_bytes()), None, "{why}");
        }
        assert_eq!(TraceContext::parse(&[0xff; 55]), None, "no text");
        let later = "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more";
        assert!(TraceContext::parse(later.as_bytes()).is_some(), "a later version may add");
    }

    #[test]
    fn a_child_is_another_span_of_its_parents_trace() {
        let ids = TraceIds::new(7);
        let (one, other) = (ids.child(None), ids.child(None));
        assert_ne!(one.trace_id(), other.trace_id());
        let child = ids.child(Some(one));
        assert_eq!((child.trace_id(), child.is_sampled()), (one.trace_id(), true));
        assert_ne!(child.span_id(), one.span_id());
    }
}
