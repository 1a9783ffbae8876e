//! [`Content`]: the body of a message on its way out, with what is attached to it (`docs/protocol.md` §5.3.5).

use bytes::Bytes;
use smallvec::SmallVec;

use super::body::Body;
use super::config::{ATTACHMENTS_MAX, COPY_LEN_MAX};
use super::frame::padded;
use super::transmit::Transmit;
use super::trash::Trash;

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
    /// The parts as they will be taken. An empty one has nothing to be taken, so that its owner
    /// would be dropped here in the end: it goes to `trash` at once.
    pub(super) fn new(body: Body<'_>, attachments: &[Bytes], trash: &mut Trash) -> Self {
        let mut parts = SmallVec::with_capacity(1 + attachments.len());
        if body.is_empty() {
            trash.put_body(body);
            parts.push(Bytes::new());
        } else {
            parts.push(body.into_bytes());
        }
        let kept = |part: &Bytes| if part.is_empty() { Bytes::new() } else { part.clone() };
        parts.extend(attachments.iter().map(kept));
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

    /// Moves the next `len` bytes, a multiple of 16 of the padded whole, to the end of `out`. What
    /// is copied on the way goes to `trash`.
    pub(super) fn take(&mut self, len: usize, out: &mut Transmit, trash: &mut Trash) {
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
                trash.put(piece);
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

    /// What is left of it is not sent.
    pub(super) fn discard(self, trash: &mut Trash) {
        trash.extend(self.parts);
    }
}
