//! How a call that has arrived becomes a running handler, with whatever is around it.

use std::sync::Arc;

use bytes::Bytes;
use chinwag_core::rpc::Status;
use tracing::Instrument;

use crate::link::stream_halves::End;
use crate::serve::context::{Caller, Context, Given};
use crate::serve::registry::{Answer, Answered, Endpoint};
use crate::serve::shared::Shared;
use crate::stats::counters::Role;
use crate::stats::interceptor::CallInfo;
use crate::stats::trace;

/// Begins the handler of a call, or of a one-way message. `end` is the stream of a call that has
/// one.
pub(crate) fn begin(
    shared: &Arc<Shared>,
    endpoint: Arc<dyn Endpoint>,
    caller: Caller,
    given: Given,
    body: Bytes,
    end: Option<End>,
) -> Answer {
    if shared.handled.has_any() || trace::is_wanted() {
        return begin_watched(shared.clone(), endpoint, caller, given, body, end);
    }
    Answer::new(endpoint.begin(Context::new(shared.clone(), caller, given), body, end))
}

/// All of it inside of the future whose panics are statuses.
fn begin_watched(
    shared: Arc<Shared>,
    endpoint: Arc<dyn Endpoint>,
    caller: Caller,
    mut given: Given,
    body: Bytes,
    end: Option<End>,
) -> Answer {
    let (service, method) = (endpoint.service(), endpoint.method());
    let (span, trace) =
        trace::handler_span(&shared.trace_ids, &given.headers, (service, method, caller.id));
    given.trace = trace.map(Box::new);
    let this = span.clone();
    let handling = async move {
        let call = CallInfo {
            role: Role::Callee,
            service,
            method,
            peer: caller.id,
            is_one_way: given.is_one_way,
            headers: std::mem::take(&mut given.headers),
            deadline: given.deadline,
        };
        let begun = shared.runtime.now().mono;
        let mut entered = match shared.handled.enter(&shared, begun, call) {
            Ok(entered) => entered,
            // Whatever it says: the handler has not run.
            Err(status) => return Status::never_ran(status.code, status.message).into(),
        };
        given.headers = entered.call.headers.clone();
        given.deadline = entered.call.deadline;
        let answered: Answered =
            endpoint.begin(Context::new(shared.clone(), caller, given), body, end).await;
        entered.finish(answered.result.as_ref().map(drop), shared.runtime.now().mono);
        if let Err(status) = &answered.result {
            this.record("status", tracing::field::debug(status.code));
        }
        answered
    };
    Answer::new(Box::pin(handling.instrument(span)))
}
