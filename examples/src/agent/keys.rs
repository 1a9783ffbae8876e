//! What an agent can be asked about its keys: `keys`, `install FILE`, `use KEY`, `remove KEY`,
//! `require`.

use chinwag::{KeyId, Node, Secret, Security, SecurityMode};
use serde_json::{Value, json};

use super::commands::failure;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum KeyCommand {
    List,
    Install(String),
    Use(KeyId),
    Remove(KeyId),
    Require,
}

impl KeyCommand {
    /// The command of this name, if it is one of these.
    pub(super) fn parse(name: &str, rest: &str) -> Option<Result<Self, String>> {
        let key = || rest.parse().map_err(|error| format!("{name} KEY: {error}"));
        Some(match (name, rest) {
            ("keys", "") => Ok(Self::List),
            ("require", "") => Ok(Self::Require),
            ("keys" | "require", _) => Err(format!("`{name}` stands alone")),
            ("install", "") => Err("install FILE, which holds a secret".to_owned()),
            ("install", file) => Ok(Self::Install(file.to_owned())),
            ("use", _) => key().map(Self::Use),
            ("remove", _) => key().map(Self::Remove),
            _ => return None,
        })
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::List => "keys",
            Self::Install(_) => "install",
            Self::Use(_) => "use",
            Self::Remove(_) => "remove",
            Self::Require => "require",
        }
    }
}

/// Every answer lists the keys as they are afterwards.
pub(super) fn answer(node: &Node, command: &KeyCommand) -> Value {
    let name = command.name();
    let Some(security) = node.security() else {
        return failure(name, "the node was started without a secret");
    };
    let done = match command {
        KeyCommand::List => Ok(()),
        KeyCommand::Install(file) => match Secret::from_file(file) {
            Ok(secret) => security.install(&secret).map(drop).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        },
        KeyCommand::Use(key) => security.use_key(*key).map_err(|error| error.to_string()),
        KeyCommand::Remove(key) => security.remove(*key).map_err(|error| error.to_string()),
        KeyCommand::Require => security.require().map_err(|error| error.to_string()),
    };
    match done {
        Ok(()) => keys(name, &security),
        Err(error) => failure(name, error),
    }
}

fn keys(name: &str, security: &Security<'_>) -> Value {
    let peers = security.peers().into_iter();
    let peers: Vec<Value> =
        peers.map(|(id, key)| json!({ "id": id.get(), "key": key.to_string() })).collect();
    let in_clear: Vec<u64> = security.in_clear().iter().map(|id| id.get()).collect();
    let all: Vec<String> = security.keys().iter().map(KeyId::to_string).collect();
    json!({
        "reply": name,
        "in_use": security.key_in_use().to_string(),
        "keys": all,
        "is_transitional": security.mode() == SecurityMode::Transitional,
        "peers": peers,
        "in_clear": in_clear,
    })
}
