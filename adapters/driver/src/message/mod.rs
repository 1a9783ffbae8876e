//! What a call carries: messages, their encoding, and views of what was received.

pub(crate) mod answer;
pub(crate) mod archive;
pub(crate) mod method;
pub(crate) mod view;
