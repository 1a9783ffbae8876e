//! Algorithms for encrypted streams whose every byte follows from a seed.
//!
//! Ciphers and signatures are those of `ring`. Random bytes come from the world, and the key
//! exchange is none: `ring` does not let its own be seeded. It has a number of the private range,
//! so that it never meets a real node.

use std::cell::RefCell;
use std::sync::Arc;

use chinwag_core::rng::Rng;
use ring::digest::{Context, SHA256};
use rustls::crypto::ring::{cipher_suite, default_provider};
use rustls::crypto::{
    ActiveKeyExchange, CryptoProvider, GetRandomFailed, SecureRandom, SharedSecret,
    SupportedKxGroup,
};
use rustls::{Error, NamedGroup};

thread_local! {
    /// rustls asks for randomness without saying for whom. A world runs on one thread, in an order
    /// that its seed decides, so all of its nodes draw from here in that order.
    static RANDOM: RefCell<Rng> = RefCell::new(Rng::new(0));
}

const GROUP: NamedGroup = NamedGroup::Unknown(0xfe11);

/// The algorithms; random bytes on this thread follow from `seed` from now on.
pub(super) fn provider(seed: u64) -> Arc<CryptoProvider> {
    RANDOM.set(Rng::new(seed));
    Arc::new(CryptoProvider {
        cipher_suites: vec![cipher_suite::TLS13_AES_128_GCM_SHA256],
        kx_groups: vec![&NoExchange],
        secure_random: &Drawn,
        ..default_provider()
    })
}

/// Fills `buf` with what `rng` gives.
pub(super) fn fill(rng: &mut Rng, buf: &mut [u8]) {
    for chunk in buf.chunks_mut(8) {
        chunk.copy_from_slice(&rng.next_u64().to_le_bytes()[..chunk.len()]);
    }
}

fn draw(buf: &mut [u8]) {
    RANDOM.with_borrow_mut(|rng| fill(rng, buf));
}

#[derive(Debug)]
struct Drawn;

impl SecureRandom for Drawn {
    fn fill(&self, buf: &mut [u8]) -> Result<(), GetRandomFailed> {
        draw(buf);
        Ok(())
    }
}

/// Both ends show each other random bytes in the open, and what they share is the hash of them. It
/// keeps nothing secret, and needs not: nobody listens.
#[derive(Debug)]
struct NoExchange;

struct Shown([u8; 32]);

impl SupportedKxGroup for NoExchange {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let mut shown = [0; 32];
        draw(&mut shown);
        Ok(Box::new(Shown(shown)))
    }

    fn name(&self) -> NamedGroup {
        GROUP
    }
}

impl ActiveKeyExchange for Shown {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        let (first, second) =
            if self.0.as_slice() < peer { (&self.0[..], peer) } else { (peer, &self.0[..]) };
        let mut hash = Context::new(&SHA256);
        hash.update(first);
        hash.update(second);
        Ok(SharedSecret::from(hash.finish().as_ref()))
    }

    fn pub_key(&self) -> &[u8] {
        &self.0
    }

    fn group(&self) -> NamedGroup {
        GROUP
    }
}
