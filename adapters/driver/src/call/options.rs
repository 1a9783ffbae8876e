//! What every kind of client lets its user choose about a call, written once.

/// Gives a type that has a `target` the options of a call: its limits in time, its headers, and the
/// span that it belongs to.
macro_rules! call_options {
    ($client:ident) => {
        impl<S> $client<S> {
            /// How long each call may take, waiting and connecting included; it travels with the
            /// call. Where several attempts or several members are one call, it is for all of them
            /// together, from when the call begins. Default
            /// [`CALL_TIMEOUT_DEFAULT`](crate::limits::CALL_TIMEOUT_DEFAULT), or the node's
            /// [`call_timeout`](crate::Builder::call_timeout).
            #[must_use]
            pub fn timeout(mut self, timeout: std::time::Duration) -> Self {
                self.target.timeout = Some(timeout);
                self
            }

            /// Calls wait until the peer answers or is gone, however long that takes. A deadline
            /// that is set already stays.
            #[must_use]
            pub fn without_timeout(mut self) -> Self {
                self.target.timeout = None;
                self
            }

            /// Calls end at `deadline`, or after their timeout if that is sooner. Of several
            /// deadlines the earliest counts.
            #[must_use]
            pub fn until(mut self, deadline: chinwag_core::time::Instant) -> Self {
                self.target.until(deadline);
                self
            }

            /// Adds metadata to each call.
            ///
            /// # Errors
            /// [`HeadersError`](crate::HeadersError) when the key is empty or long, or all of it is
            /// more than 32 KiB.
            pub fn header(
                mut self,
                key: &str,
                value: &[u8],
            ) -> Result<Self, chinwag_core::rpc::HeadersError> {
                self.target.headers.push(key, value)?;
                Ok(self)
            }

            /// Has the spans of its calls be children of `parent`. The clients that a
            /// [`Context`](crate::Context) gives have the handler's already.
            #[must_use]
            pub fn traced(mut self, parent: crate::stats::trace::TraceContext) -> Self {
                self.target.trace = Some(parent);
                self
            }
        }
    };
}

pub(crate) use call_options;
