//! Models that many services are.

use std::collections::BTreeMap;

use chinwag::protocol::id::fnv1a;

use super::Model;

/// One value.
pub enum Register {}

/// What is asked of a [`Register`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegisterOp {
    /// Answered with the value, if there is one.
    Read,
    /// Answered with nothing.
    Write(u64),
    /// Writes the second if the value is the first; answered with the value before.
    CompareAndSet(u64, u64),
}

impl Model for Register {
    type State = Option<u64>;
    type Op = RegisterOp;
    type Answer = Option<u64>;

    fn apply(state: &mut Option<u64>, op: &RegisterOp) -> Option<u64> {
        match *op {
            RegisterOp::Read => *state,
            RegisterOp::Write(value) => {
                *state = Some(value);
                None
            }
            RegisterOp::CompareAndSet(expected, value) => {
                let before = *state;
                if before == Some(expected) {
                    *state = Some(value);
                }
                before
            }
        }
    }
}

/// Values by key, each key a register of its own.
pub enum KeyValue {}

/// What is asked of a [`KeyValue`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyValueOp {
    /// Answered with the key's value, if it has one.
    Get(String),
    /// Answered with the value before.
    Put(String, String),
    /// Answered with the value before.
    Delete(String),
}

impl KeyValueOp {
    fn key(&self) -> &str {
        match self {
            Self::Get(key) | Self::Put(key, _) | Self::Delete(key) => key,
        }
    }
}

impl Model for KeyValue {
    type State = BTreeMap<String, String>;
    type Op = KeyValueOp;
    type Answer = Option<String>;

    fn apply(state: &mut BTreeMap<String, String>, op: &KeyValueOp) -> Option<String> {
        match op {
            KeyValueOp::Get(key) => state.get(key).cloned(),
            KeyValueOp::Put(key, value) => state.insert(key.clone(), value.clone()),
            KeyValueOp::Delete(key) => state.remove(key),
        }
    }

    fn part(op: &KeyValueOp) -> u64 {
        fnv1a(op.key().as_bytes())
    }
}
