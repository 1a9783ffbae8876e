//! [`join_all`].

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

type Open<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Runs the futures together, and gives what they give, in their order. For the tens that a level
/// selects: all are polled whenever one moves.
pub(crate) async fn join_all<'a, T: Send>(
    futures: impl IntoIterator<Item = impl Future<Output = T> + Send + 'a>,
) -> Vec<T> {
    let mut open: Vec<Option<Open<'a, T>>> =
        futures.into_iter().map(|future| Some(Box::pin(future) as Open<'a, T>)).collect();
    let mut results: Vec<Option<T>> = open.iter().map(|_| None).collect();
    poll_fn(move |cx| {
        for (future, result) in open.iter_mut().zip(&mut results) {
            if let Some(pending) = future
                && let Poll::Ready(output) = pending.as_mut().poll(cx)
            {
                (*future, *result) = (None, Some(output));
            }
        }
        if open.iter().any(Option::is_some) {
            return Poll::Pending;
        }
        Poll::Ready(results.iter_mut().filter_map(Option::take).collect())
    })
    .await
}
