//! The process's log, kept.

use std::fmt::{Debug, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Far longer than anything here takes on a busy host.
const WAIT_MAX: Duration = Duration::from_secs(60);

static LINES: Mutex<Vec<Line>> = Mutex::new(Vec::new());

#[derive(Clone, Debug, Default)]
struct Line {
    target: String,
    level: String,
    local: String,
    message: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => _ = write!(self.message, "{value:?}"),
            "local" => _ = write!(self.local, "{value:?}"),
            _ => {}
        }
    }
}

struct Listener;

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("chinwag::")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let (target, level) = (event.metadata().target(), event.metadata().level());
        let mut line = Line { target: target.into(), level: level.to_string(), ..Line::default() };
        event.record(&mut line);
        LINES.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// Keeps what is logged from now on.
pub(crate) fn listen() {
    tracing::subscriber::set_global_default(Listener).expect("nobody else listens");
}

/// The message that the node `local` logs under `target`, as soon as there is one with `part`. Its
/// level comes before it.
pub(crate) async fn line(local: u64, target: &str, part: &str) -> String {
    let found = async {
        loop {
            let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let is_it = |line: &&Line| {
                line.local == local.to_string()
                    && line.target == target
                    && line.message.contains(part)
            };
            if let Some(line) = lines.iter().find(is_it) {
                return format!("{} {}", line.level, line.message);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(WAIT_MAX, found).await;
    waited.unwrap_or_else(|_| {
        let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner).clone();
        panic!("node {local} logs nothing like {part:?} under {target}: {lines:#?}")
    })
}
