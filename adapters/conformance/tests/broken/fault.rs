//! [`Fault`]: one way in which a runtime can be wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Mutex, MutexGuard};
use std::task::{Context, Wake, Waker};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    EarlyTimer,
    FiresOnce,
    NeverEarlier,
    NeverLater,
    NoPast,
    DisarmFires,
    FirstWaker,
    FewTimers,
    StepsBack,
    ForgetsTasksOfTasks,
    PollsInsideSpawn,
    LosesWakeUps,
    StarvesOthers,
    DiesOfPanics,
    IgnoresOtherThreads,
    WrongSender,
    KeepsTheRest,
    SkipsEmpty,
    EndsOnError,
    EndsOnClosedPort,
    KeepsPorts,
    GivesPortsTwice,
    OneWaker,
    WrongPeer,
    ClosesBothWays,
    HidesErrors,
    KeepsStreams,
    NoBackPressure,
    OneSlice,
    ConnectHangs,
    DroppedConnectHangs,
    HoldsWritesBack,
    NoAddresses,
    AnyName,
    DroppedLookupHangs,
}

/// What the parts of one broken runtime share.
pub(crate) struct Shared {
    pub(crate) fault: Fault,
    /// Something has happened after which nothing works.
    pub(crate) is_stuck: AtomicBool,
    pub(crate) count: AtomicU64,
    pub(crate) timers: AtomicU64,
}

impl Shared {
    pub(crate) fn has(&self, fault: Fault) -> bool {
        self.fault == fault
    }
}

/// Where both directions of a socket leave their waker, if the fault is that there is but one
/// place.
#[derive(Default)]
pub(crate) struct OnePlace(Arc<Place>);

#[derive(Default)]
struct Place(Mutex<Option<Waker>>);

impl Place {
    fn waker(&self) -> MutexGuard<'_, Option<Waker>> {
        self.0.lock().expect("nobody panics with it")
    }
}

impl Wake for Place {
    fn wake(self: Arc<Self>) {
        let waker = self.waker().take();
        waker.into_iter().for_each(Waker::wake);
    }
}

impl OnePlace {
    /// Polls with the waker in its proper place, or in the only one.
    pub(crate) fn poll<T>(
        &self,
        shared: &Shared,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> T,
    ) -> T {
        if !shared.has(Fault::OneWaker) {
            return poll(cx);
        }
        *self.0.waker() = Some(cx.waker().clone());
        poll(&mut Context::from_waker(&self.0.clone().into()))
    }
}

/// A waker that does `wake`.
pub(crate) fn waker(wake: impl Fn() + Send + Sync + 'static) -> Waker {
    struct Does<F>(F);
    impl<F: Fn() + Send + Sync + 'static> Wake for Does<F> {
        fn wake(self: Arc<Self>) {
            self.0();
        }
    }
    Arc::new(Does(wake)).into()
}
