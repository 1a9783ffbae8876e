//! [`Ring`]: the algorithms of `core::seal`, by the crate `ring`.

use chinwag_core::seal::{Cryptography, TAG_LEN};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::digest::{Context, SHA256};
use ring::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use zeroize::Zeroizing;

#[derive(Debug)]
pub(crate) struct Ring;

struct Len(usize);

impl KeyType for Len {
    fn len(&self) -> usize {
        self.0
    }
}

impl Cryptography for Ring {
    type Root = Prk;
    type Key = LessSafeKey;

    fn extract(&self, salt: &[u8], secret: &[u8]) -> Prk {
        Salt::new(HKDF_SHA256, salt).extract(secret)
    }

    fn expand(&self, root: &Prk, info: &[&[u8]], out: &mut [u8]) {
        let filled = root.expand(info, Len(out.len())).and_then(|okm| okm.fill(out));
        filled.expect("HKDF gives as many bytes as core asks for");
    }

    fn key(&self, root: &Prk, info: &[&[u8]]) -> LessSafeKey {
        let mut bytes = Zeroizing::new([0; 32]);
        self.expand(root, info, &mut *bytes);
        LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &*bytes).expect("a key has 32 bytes"))
    }

    fn seal(
        &self,
        key: &LessSafeKey,
        nonce: &[u8; 12],
        aad: &[u8],
        body: &mut [u8],
    ) -> [u8; TAG_LEN] {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let tag = key.seal_in_place_separate_tag(nonce, Aad::from(aad), body);
        let mut bytes = [0; TAG_LEN];
        bytes.copy_from_slice(tag.expect("a datagram is short enough").as_ref());
        bytes
    }

    fn open(&self, key: &LessSafeKey, nonce: &[u8; 12], aad: &[u8], body: &mut [u8]) -> bool {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        key.open_in_place(nonce, Aad::from(aad), body).is_ok()
    }

    fn hash(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = Context::new(&SHA256);
        parts.iter().for_each(|part| context.update(part));
        let mut hash = [0; 32];
        hash.copy_from_slice(context.finish().as_ref());
        hash
    }
}
