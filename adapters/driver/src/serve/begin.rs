//! How a call that has arrived becomes a running handler, inside of its interceptors and its span.

use std::sync::Arc;

use bytes::Bytes;
use tracing::Instrument;

use crate::link::stream_halves::End;
use crate::message::answer::{HandlerFuture, Response};
use crate::serve::context::{Caller, Context, InboundRequest};
use crate::serve::registry::Endpoint;
use crate::serve::shared::Shared;
use crate::stats::counters::Role;
use crate::stats::interceptor::CallInfo;

/// Begins the handler of a call, or of a one-way message. `end` is the stream of a call that has
/// one.
pub(crate) fn begin(
    shared: &Arc<Shared>,
    endpoint: Arc<dyn Endpoint>,
    caller: Caller,
    request: InboundRequest,
    body: Bytes,
    end: Option<End>,
) -> HandlerFuture {
    if shared.inbound.is_watched(None) {
        let handling = begin_watched(shared.clone(), endpoint, caller, request, body, end);
        return HandlerFuture::new(Box::pin(handling));
    }
    HandlerFuture::new(endpoint.begin(Context::new(shared.clone(), caller, request), body, end))
}

/// All of it is inside of the future whose panics become statuses.
async fn begin_watched(
    shared: Arc<Shared>,
    endpoint: Arc<dyn Endpoint>,
    caller: Caller,
    mut request: InboundRequest,
    body: Bytes,
    end: Option<End>,
) -> Response {
    let call = CallInfo {
        role: Role::Inbound,
        service: endpoint.service(),
        method: endpoint.method(),
        peer: caller.id,
        is_one_way: request.is_one_way,
        headers: std::mem::take(&mut request.headers),
        deadline: request.deadline,
    };
    let begun = shared.node.runtime.now().mono;
    let (mut entered, passed) = match shared.inbound.enter(begun, call, None) {
        Ok(entered) => entered,
        Err(status) => return status.into(),
    };
    request.headers = passed.headers;
    request.deadline = passed.deadline;
    request.trace = passed.trace.map(Box::new);
    let context = Context::new(shared.clone(), caller, request);
    let span = entered.span().clone();
    let response = endpoint.begin(context, body, end).instrument(span).await;
    entered.finish(response.result.as_ref().map(drop), shared.node.runtime.now().mono);
    response
}
