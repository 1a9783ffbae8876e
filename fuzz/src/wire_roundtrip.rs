//! Target `wire_roundtrip`: any bytes as a payload (`docs/protocol.md` §2). The product's codec and
//! [`packet`] accept the same, read the same, and write it in the same one way; what a later
//! version may add is skipped by both.

use chinwag_core::wire::reread::{Reread, reread};

use crate::input::Input;
use crate::packet::{self, Packet, put_raw};

/// One input: how a later version would write it, and the payload.
///
/// # Panics
/// If the codec breaks a rule.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let (kind, tail) = (input.u8(), [input.u8(), input.u8()]);
    let payload = input.rest();
    let (product, naive) = (reread(payload), packet::decode(payload));
    let (Some(product), Some(naive)) = (&product, &naive) else {
        assert!(
            product.is_none() && naive.is_none(),
            "§2.3: one reads a header that the other does not"
        );
        return;
    };
    same(product, naive);

    // Every value has one encoding: what was written is read as the same, and written the same
    // (§2.1).
    let canonical = packet::encode(&naive.head, &naive.messages);
    assert_eq!(product.bytes, canonical, "§2.3: the two write the same values in the same bytes");
    let again = reread(&canonical).expect("a payload that was written can be read");
    let expected = Reread { unknown: 0, is_cut: false, ..product.clone() };
    assert_eq!(again, expected, "§2.1: what was written is read as what it was");

    // A reader of this version takes what a later one writes for what it knows of it (§2.2).
    let mut later = packet::encode_with(&naive.head, &naive.messages, |_| &tail);
    let known_kinds = 1..=12;
    let is_unknown = !known_kinds.contains(&kind);
    put_raw(&mut later, if is_unknown { kind } else { 200 }, &tail);
    let read = reread(&later).expect("its header is of this version");
    assert_eq!(
        read,
        Reread { unknown: 1, ..expected },
        "§2.2: what a later version adds is skipped"
    );

    truncations(&canonical, product);
}

fn same(product: &Reread, naive: &Packet) {
    assert_eq!(product.messages, naive.messages.len(), "§2.3: as many messages are read");
    assert_eq!(product.unknown, naive.unknown, "§2.2: the same messages are unknown");
    assert_eq!(product.is_cut, naive.is_cut, "§2.3: the same message ends the payload");
}

/// A payload that ends early is read up to there: no message is made of less than it takes (§2.1).
fn truncations(canonical: &[u8], whole: &Reread) {
    let step = 1 + canonical.len() / 64;
    for len in (0..canonical.len()).step_by(step) {
        let part = reread(&canonical[..len]);
        assert_eq!(
            part.is_some(),
            len >= packet::HEADER_LEN,
            "§2.3: a header has {} bytes",
            packet::HEADER_LEN
        );
        if let Some(part) = part {
            assert!(
                part.messages <= whole.messages && canonical.starts_with(&part.bytes),
                "§2.3: a prefix is a prefix"
            );
        }
    }
}
