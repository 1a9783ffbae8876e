//! [`Security`]: the keys of a cluster, changed while it runs.

use std::fmt;

use chinwag_core::id::NodeId;
use chinwag_core::seal::{KEY_ID_KEY, KeyError, KeyId, Mode as SecurityMode};

use crate::base::secure::{self, CertificateFault, Secret};
use crate::node::handle::Node;

/// The keys that a node accepts, and the one it uses. A cluster changes its secret in three steps,
/// each of them on every member before the next one begins, in any order of members: *install* the
/// new secret, *use* its key, *remove* the old key. No call fails meanwhile, and nobody is
/// suspected.
#[derive(Clone, Copy)]
pub struct Security<'a> {
    node: &'a Node,
    keys: &'a secure::Security,
}

/// Why a key was not removed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RemoveKeyError {
    /// The keyring does not have it, or it is in use here.
    Key(KeyError),
    /// These live members still use it: they would not be heard any more.
    StillUsed(KeyId, Vec<NodeId>),
}

/// Why clear text is still heard: these live members do not encrypt with a key that this node has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequireError(pub Vec<NodeId>);

impl Node {
    /// The keys of the node; `None` if it was started without a secret, so that nothing is
    /// encrypted.
    pub fn security(&self) -> Option<Security<'_>> {
        let keys = self.shared().node.security.as_deref()?;
        Some(Security { node: self, keys })
    }
}

impl Security<'_> {
    /// The key that the node uses for what it sends.
    pub fn key_in_use(&self) -> KeyId {
        self.keys.key_in_use()
    }

    /// The keys that the node accepts, in the order in which they were installed.
    pub fn keys(&self) -> Vec<KeyId> {
        self.keys.keys()
    }

    /// Which key each live member uses, as it says itself. A member that is not named has no
    /// secret.
    pub fn peers(&self) -> Vec<(NodeId, KeyId)> {
        let members = self.node.members();
        let members = members.members().iter();
        members.filter_map(|member| Some((member.id, secure::key_of(member)?))).collect()
    }

    /// What the node does about others that do not encrypt.
    pub fn mode(&self) -> SecurityMode {
        self.keys.mode()
    }

    /// The live members that do not encrypt with a key that this node has: it speaks to them in
    /// clear as long as it is [`SecurityMode::Transitional`].
    pub fn in_clear(&self) -> Vec<NodeId> {
        let members = self.node.members();
        let ids = members.members().iter().map(|member| member.id);
        ids.filter(|id| self.keys.encrypts(*id) != Some(true)).collect()
    }

    /// Hears nobody from now on who does not encrypt: [`SecurityMode::Required`], the last step of
    /// giving a running cluster a secret. Connections in clear end in good order.
    ///
    /// # Errors
    /// [`RequireError`]: some live members do not encrypt yet.
    pub fn require(&self) -> Result<(), RequireError> {
        match self.in_clear() {
            users if users.is_empty() => {
                self.require_anyway();
                Ok(())
            }
            users => Err(RequireError(users)),
        }
    }

    /// [`Security::require`], whoever does not encrypt: they are shut out.
    pub fn require_anyway(&self) {
        if self.mode() == SecurityMode::Required {
            return;
        }
        self.keys.require();
        let local = self.node.id();
        tracing::info!(target: "chinwag::security", %local, "nobody is heard who does not encrypt");
        // docs/protocol.md §2.10.5
        let shared = self.node.shared();
        shared.links.drain(shared.node.runtime.now());
    }

    /// Accepts this secret too, from now on, and says what its key is called. The same secret has
    /// the same key id on every member. Installing one twice changes nothing.
    ///
    /// # Errors
    /// [`KeyError::Full`].
    pub fn install(&self, secret: &Secret) -> Result<KeyId, KeyError> {
        let id = self.keys.install(secret)?;
        self.log("installed", id);
        Ok(id)
    }

    /// Uses this key from now on. Every member should have it by then; one that does not have it
    /// does not hear this node.
    ///
    /// # Errors
    /// [`KeyError::Unknown`].
    pub fn use_key(&self, id: KeyId) -> Result<(), KeyError> {
        self.keys.use_key(id)?;
        // It fails only in a node that is leaving: then it does not matter any more.
        let _said = self.node.set_metadata_entry(KEY_ID_KEY, &id.to_string());
        self.log("used from now on", id);
        Ok(())
    }

    /// Accepts this key no longer. Every connection drains, and is dialled again when it is needed,
    /// so that none rests on the key.
    ///
    /// # Errors
    /// [`RemoveKeyError`]: also while a live member uses the key. Members that are away are not
    /// waited for: one that comes back with this key alone is refused.
    pub fn remove(&self, id: KeyId) -> Result<(), RemoveKeyError> {
        let peers = self.peers();
        let users: Vec<NodeId> =
            peers.into_iter().filter(|(_, key)| *key == id).map(|(peer, _)| peer).collect();
        if !users.is_empty() && id != self.key_in_use() {
            return Err(RemoveKeyError::StillUsed(id, users));
        }
        self.remove_anyway(id).map_err(RemoveKeyError::Key)
    }

    /// [`Security::remove`], whoever uses the key: they are shut out.
    ///
    /// # Errors
    /// [`KeyError::Unknown`], [`KeyError::InUse`].
    pub fn remove_anyway(&self, id: KeyId) -> Result<(), KeyError> {
        self.keys.remove(id)?;
        self.log("removed", id);
        // docs/protocol.md §5.13.5
        let shared = self.node.shared();
        shared.links.drain(shared.node.runtime.now());
        Ok(())
    }

    /// Reads the files of the node's certificates again: to be called when they have been replaced,
    /// or every minute. If they are good, connections are made with them from now on, and those
    /// there are drain and are made again when they are needed, so that none rests on what was
    /// replaced or revoked. If not, those from before stay. False if the node has no certificates.
    ///
    /// # Errors
    /// [`CertificateFault`].
    pub fn reload_certificates(&self) -> Result<bool, CertificateFault> {
        // docs/protocol.md §5.14.4
        let has_any = self.keys.reload_certificates()?;
        if has_any {
            let shared = self.node.shared();
            shared.links.drain(shared.node.runtime.now());
        }
        Ok(has_any)
    }

    fn log(&self, what: &str, key: KeyId) {
        let local = self.node.id();
        tracing::info!(target: "chinwag::security", %local, %key, "a key is {what}");
    }
}

impl fmt::Debug for Security<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Security")
            .field("key_in_use", &self.key_in_use())
            .field("keys", &self.keys())
            .finish_non_exhaustive()
    }
}

impl fmt::Display for RemoveKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(error) => error.fmt(f),
            Self::StillUsed(id, users) => {
                write!(f, "key {id} is still used by {} live members:", users.len())?;
                write_some(f, users)
            }
        }
    }
}

fn write_some(f: &mut fmt::Formatter<'_>, ids: &[NodeId]) -> fmt::Result {
    ids.iter().take(8).try_for_each(|id| write!(f, " {id}"))?;
    f.write_str(if ids.len() > 8 { ", and others" } else { "" })
}

impl fmt::Display for RequireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} live members do not encrypt yet:", self.0.len())?;
        write_some(f, &self.0)
    }
}

impl std::error::Error for RequireError {}

impl std::error::Error for RemoveKeyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Key(error) => Some(error),
            Self::StillUsed(..) => None,
        }
    }
}
