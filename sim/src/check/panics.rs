//! Panics of stories: where they were, and none shown of those that a search meets again and again.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// A panic that was caught: what it said, and its file, line and column, if it began on this
/// thread.
pub(super) struct Caught {
    pub(super) payload: Box<dyn Any + Send>,
    pub(super) place: Option<String>,
}

/// Runs `work`, which may panic.
pub(super) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, Caught> {
    watch();
    PLACE.take();
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| Caught { payload, place: PLACE.take() })
}

/// Runs `work` without a message for every panic on this thread: a search reports the failure that
/// it has found once.
pub(super) fn quietly<T>(work: impl FnOnce() -> T) -> T {
    watch();
    let was_quiet = IS_QUIET.replace(true);
    let done = work();
    IS_QUIET.set(was_quiet);
    done
}

#[expect(
    clippy::disallowed_methods,
    reason = "the hook is set once, looks at its own thread alone, and shows the rest as before"
)]
fn watch() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let shown = take_hook();
        set_hook(Box::new(move |panic| {
            PLACE.set(panic.location().map(ToString::to_string));
            if !IS_QUIET.get() {
                shown(panic);
            }
        }));
    });
}
