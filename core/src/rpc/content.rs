//! [`Content`]: the body of a message on its way out, with what is attached to it (`docs/protocol.md` §5.3.5).

use bytes::Bytes;
use smallvec::SmallVec;

use super::body::Body;
use super::config::{ATTACHMENTS_MAX, COPY_LEN_MAX};
use super::frame::padded;
use super::transmit::Transmit;

/// Bytes of an encoded table of attachments at most: count, and a length for the body and each of
/// them.
pub(super) const TABLE_LEN_MAX: usize = 1 + 4 * (1 + ATTACHMENTS_MAX);

/// The body proper, then the attachments. What has been taken is gone.
#[derive(Clone, Debug)]
pub(super) struct Content {
    parts: SmallVec<[Bytes; 1]>,
    /// The part that is next.
    at: usize,
}

/// Bytes of a frame's body with these parts.
pub(super) fn content_len(body_len: usize, attachments: &[Bytes]) -> usize {
    attachments.iter().fold(body_len, |len, attachment| padded(len) + attachment.len())
}

impl Content {
    pub(super) fn new(body: Body<'_>, attachments: &[Bytes]) -> Self {
        let mut parts = SmallVec::with_capacity(1 + attachments.len());
        parts.push(body.into_bytes());
        parts.extend(attachments.iter().cloned());
        Self { parts, at: 0 }
    }

    /// Bytes of it, all parts but the last padded.
    pub(super) fn len(&self) -> usize {
        content_len(self.parts[0].len(), &self.parts[1..])
    }

    /// The table of attachments, in `table`; empty if there are none. Nothing has been taken yet.
    pub(super) fn encode_table<'a>(&self, table: &'a mut [u8; TABLE_LEN_MAX]) -> &'a [u8] {
        debug_assert!(
            self.at == 0 && self.parts.len() <= 1 + ATTACHMENTS_MAX,
            "checked when it was given"
        );
        if self.parts.len() == 1 {
            return &[];
        }
        table[0] = u8::try_from(self.parts.len() - 1).expect("there are at most 16");
        for (field, part) in table[1..].chunks_exact_mut(4).zip(&self.parts) {
            let len =
                u32::try_from(part.len()).expect("bodies are checked against limits below 4 GiB");
            field.copy_from_slice(&len.to_le_bytes());
        }
        &table[..1 + 4 * self.parts.len()]
    }

    /// Moves the next `len` bytes, a multiple of 16 of the padded whole, to the end of `out`.
    pub(super) fn take(&mut self, len: usize, out: &mut Transmit) {
        debug_assert!(len.is_multiple_of(16), "pieces keep the alignment");
        let mut left = len;
        while left > 0
            && let Some(part) = self.parts.get_mut(self.at)
        {
            let piece = part.split_to(part.len().min(left));
            let padding = padded(piece.len()) - piece.len();
            left -= piece.len() + padding;
            if piece.len() <= COPY_LEN_MAX {
                out.encode(&[&piece]);
            } else {
                out.splice(piece);
                out.zeros(padding);
            }
            if part.is_empty() {
                self.at += 1;
            }
        }
        debug_assert_eq!(left, 0, "no more is taken than there is");
    }
}
