//! The usual frame, read the short way: a small request or answer, whole, with neither headers nor
//! attachments.
//!
//! Whatever is unusual about it is left to the long way in `dispatch`, which gives the same result;
//! this one only moves fewer bytes on the way. A frame that could be refused is unusual.

use super::close::Answer;
use super::config::COPY_LEN_MAX;
use super::connection::Connection;
use super::frame::{EXTENSION_FIXED_LEN, FrameHeader, Kind, NO_TIMEOUT};
use super::headers::Headers;
use super::inbound::InboundRequest;
use super::outbound::exceeds;
use super::receive::Receiver;
use super::stream::{Held, Shape};
use crate::clock::Timestamp;
use crate::time::Now;

/// Header and extension of a plain frame.
pub(super) const HEAD_LEN: usize = FrameHeader::LEN + EXTENSION_FIXED_LEN;

/// A plain frame at the front of the receiver.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plain {
    header: FrameHeader,
    stamp: Timestamp,
    timeout: u64,
}

impl Plain {
    /// The plain frame that begins with `head`, if it does.
    pub(super) fn decode(head: &[u8; HEAD_LEN]) -> Option<Self> {
        let (header, extension) = head.split_first_chunk()?;
        let header = FrameHeader::decode(header);
        let is_plain = header.flags == 0
            // Of an answer, success; of a request, its depth.
            && (header.code == 0 || header.kind == Kind::Request)
            && usize::from(header.extension_len) == EXTENSION_FIXED_LEN
            && header.body_len as usize <= COPY_LEN_MAX
            && matches!(header.kind, Kind::Request | Kind::Response);
        let (stamp, timeout) = extension.split_first_chunk()?;
        let timeout = u64::from_le_bytes(*timeout.first_chunk()?);
        is_plain.then(|| Self {
            header,
            stamp: Timestamp::from_raw(u64::from_le_bytes(*stamp)),
            timeout,
        })
    }

    /// Bytes of its body, and with the padding.
    pub(super) fn body_len(&self) -> (usize, usize) {
        (self.header.body_len as usize, self.header.body_padded())
    }
}

impl Connection {
    /// Handles the frame at the front if it is plain and there is nothing to say against it.
    /// Returns whether it did.
    pub(super) fn read_plain(&mut self, now: Now, receiver: &mut Receiver) -> bool {
        let Some(plain) = receiver.plain() else {
            return false;
        };
        let Plain { header, stamp, timeout } = plain;
        if exceeds(header.body_len as usize, self.config.message_len_max) {
            return false;
        }
        match header.kind {
            Kind::Request => {
                let is_known = usize::from(header.method) < self.methods.len();
                if timeout == 0 || !is_known || self.refusal(header.call).is_some() {
                    return false;
                }
                let body = receiver.take_plain(plain);
                self.observe(now, stamp);
                let timeout = (timeout != NO_TIMEOUT).then_some(timeout);
                let request = InboundRequest {
                    stamp,
                    timeout,
                    since: now.mono,
                    shape: Shape::UNARY,
                    chunk_len_max: 0,
                };
                let (headers, attachments) = (Headers::new(), Default::default());
                self.open_request(now, header, request, headers, body, attachments);
            }
            _ => {
                let body = receiver.take_plain(plain);
                self.observe(now, stamp);
                let answer = Answer {
                    headers: Headers::new(),
                    result: Ok(body),
                    attachments: Default::default(),
                    held: Held::NOTHING,
                };
                self.on_response(now, header.call, 0, answer);
            }
        }
        self.stats.frames_in += 1;
        true
    }
}
