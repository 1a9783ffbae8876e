//! Method names once per connection and direction (`docs/protocol.md` §5.2.5): no string travels on
//! a hot call.

use alloc::boxed::Box;
use alloc::vec::Vec;

use hashbrown::HashTable;

use super::config::NAME_LEN_MAX;
use super::event::Fingerprint;
use crate::id::{fnv1a, fnv1a_from};
use crate::wire::Reader;

/// A method as both ends know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Method {
    pub(super) service: Box<str>,
    pub(super) method: Box<str>,
    pub(super) fingerprint: Fingerprint,
}

impl Method {
    fn is(&self, service: &str, method: &str, fingerprint: Fingerprint) -> bool {
        self.fingerprint == fingerprint && *self.method == *method && *self.service == *service
    }

    /// The body of an `Intern` frame.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.fingerprint.get().to_le_bytes());
        for name in [&self.service, &self.method] {
            out.push(u8::try_from(name.len()).expect("names are checked before they are interned"));
            out.extend_from_slice(name.as_bytes());
        }
    }

    /// The method in an `Intern` frame's body.
    pub(super) fn decode(body: &[u8]) -> Option<Self> {
        let mut rest = Reader::new(body);
        let fingerprint = Fingerprint::new(rest.u64()?);
        let mut name = || {
            let len = rest.u8()?;
            let name = core::str::from_utf8(rest.take(usize::from(len))?).ok()?;
            (!name.is_empty()).then(|| Box::<str>::from(name))
        };
        Some(Self { service: name()?, method: name()?, fingerprint })
    }
}

/// A method that the peer has named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MethodName<'a> {
    /// The service.
    pub service: &'a str,
    /// The method.
    pub method: &'a str,
    /// The layout the peer compiled with.
    pub fingerprint: Fingerprint,
}

/// Whether names may travel.
pub(super) fn are_names_valid(service: &str, method: &str) -> bool {
    (1..=NAME_LEN_MAX).contains(&service.len()) && (1..=NAME_LEN_MAX).contains(&method.len())
}

/// The methods this side has named to the peer.
#[derive(Debug, Default)]
pub(super) struct Named {
    methods: Vec<Method>,
    index: HashTable<u16>,
    /// The last one asked for: callers in a loop ask for the same.
    last: u16,
}

impl Named {
    /// The id of a method that has one.
    pub(super) fn find(
        &mut self,
        service: &str,
        method: &str,
        fingerprint: Fingerprint,
    ) -> Option<u16> {
        if self
            .methods
            .get(usize::from(self.last))
            .is_some_and(|m| m.is(service, method, fingerprint))
        {
            return Some(self.last);
        }
        let methods = &self.methods;
        let is_it = |&id: &u16| methods[usize::from(id)].is(service, method, fingerprint);
        self.last = *self.index.find(hash(service, method), is_it)?;
        Some(self.last)
    }

    /// Gives a method that has no id the next one, or `None` if `methods_max` are taken.
    pub(super) fn name(&mut self, method: Method, methods_max: u16) -> Option<u16> {
        let id = u16::try_from(self.methods.len()).ok().filter(|&id| id < methods_max)?;
        let hash_of = |m: &Method| hash(&m.service, &m.method);
        let at = hash_of(&method);
        self.methods.push(method);
        let methods = &self.methods;
        self.index.insert_unique(at, id, |&id| hash_of(&methods[usize::from(id)]));
        Some(id)
    }
}

/// The local user picks the names, so nobody gains by making them collide.
fn hash(service: &str, method: &str) -> u64 {
    crate::rng::mix(fnv1a_from(fnv1a(service.as_bytes()), method.as_bytes()))
}
