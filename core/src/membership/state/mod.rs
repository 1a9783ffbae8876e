//! What a membership machine remembers: plain state whose methods keep it consistent, and no rule
//! of the protocol that needs another part. The rules are one folder up.

pub(super) mod awareness;
pub(super) mod broadcasts;
pub(super) mod checks;
pub(super) mod config;
pub(super) mod due;
pub(super) mod event;
pub(super) mod exchanges;
pub(super) mod farewell;
pub(super) mod hash;
pub(super) mod local;
pub(super) mod member;
pub(super) mod metadata;
pub(super) mod outbox;
pub(super) mod relays;
pub(super) mod ring;
pub(super) mod round;
pub(super) mod rumors;
pub(super) mod seeds;
pub(super) mod since;
pub(super) mod speaker;
pub(super) mod stats;
pub(super) mod suspicion;
pub(super) mod table;
