//! §2.5: metadata is pairs of slices, key and value, UTF-8, keys rising, unique and not empty.

use super::claim::METADATA_LEN_MAX;

/// The pairs in `bytes`, or `None` if they are not metadata.
pub fn pairs(bytes: &[u8]) -> Option<Vec<(String, String)>> {
    if bytes.len() > METADATA_LEN_MAX {
        return None;
    }
    let mut rest = bytes;
    let mut pairs: Vec<(String, String)> = Vec::new();
    while !rest.is_empty() {
        let key = text(&mut rest)?;
        let value = text(&mut rest)?;
        let rises = pairs.last().is_none_or(|(last, _)| *last < key);
        if key.is_empty() || !rises {
            return None;
        }
        pairs.push((key, value));
    }
    Some(pairs)
}

/// The bytes of `pairs`, in the order given. Of wrong pairs they are bytes that [`pairs`] refuses.
pub fn bytes(pairs: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (key, value) in pairs {
        for text in [key, value] {
            let mut len = text.len();
            while len >= 0x80 {
                bytes.push(u8::try_from(len % 0x80).expect("less than 128") | 0x80);
                len /= 0x80;
            }
            bytes.push(u8::try_from(len).expect("less than 128"));
            bytes.extend_from_slice(text.as_bytes());
        }
    }
    bytes
}

/// §2.1: a slice is a varint length and that many bytes.
fn text(rest: &mut &[u8]) -> Option<String> {
    let len = usize::try_from(varint(rest)?).ok()?;
    let text = rest.get(..len)?;
    *rest = &rest[len..];
    String::from_utf8(text.to_vec()).ok()
}

/// §2.1: LEB128 of at most 32 bits in its shortest form.
fn varint(rest: &mut &[u8]) -> Option<u32> {
    let mut value: u64 = 0;
    for at in 0..5_u32 {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            let is_shortest = byte != 0 || at == 0;
            return u32::try_from(value).ok().filter(|_| is_shortest);
        }
    }
    None
}
