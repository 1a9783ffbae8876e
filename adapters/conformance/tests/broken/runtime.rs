//! [`Broken`]: smol on the story's own thread, with one fault.

use std::cell::Cell;
use std::future::{Future, pending};
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use chinwag::protocol::time::{Instant, Now};
use chinwag::runtime::{BoxFuture, Listener, Runtime, Stream, Timer, UdpSocket};
use chinwag_conformance::{Host, Story};
use chinwag_smol::Smol;
use smol::Executor;

use crate::fault::{Fault, Shared, waker};
use crate::sockets;

/// How long a task that starves others does so. Longer than a case may take, but not for ever.
const STARVATION: Duration = Duration::from_secs(5);

pub(crate) struct Broken {
    executor: Arc<Executor<'static>>,
    runtime: Faulty,
}

impl Broken {
    pub(crate) fn new(fault: Fault) -> Self {
        let executor: Arc<Executor<'static>> = Arc::default();
        let shared = Shared {
            fault,
            is_stuck: AtomicBool::new(false),
            count: AtomicU64::new(0),
            timers: AtomicU64::new(0),
        };
        let runtime = Faulty { inner: Smol::on(executor.clone()), shared: Arc::new(shared) };
        Self { executor, runtime }
    }
}

impl Host for Broken {
    fn runtime(&self) -> Arc<dyn Runtime> {
        Arc::new(self.runtime.clone())
    }

    fn block_on(&self, story: Story<'_>) {
        smol::block_on(self.executor.run(story));
    }
}

#[derive(Clone)]
pub(crate) struct Faulty {
    inner: Smol,
    pub(crate) shared: Arc<Shared>,
}

impl Faulty {
    /// `attempt`, which must not be dropped before its end if the fault is that.
    fn careful<T: 'static>(
        &self,
        fault: Fault,
        attempt: BoxFuture<io::Result<T>>,
    ) -> BoxFuture<io::Result<T>> {
        struct Guard {
            shared: Arc<Shared>,
            is_over: bool,
        }
        impl Guard {
            fn disarm(mut self) {
                self.is_over = true;
            }
        }
        impl Drop for Guard {
            fn drop(&mut self) {
                self.shared.is_stuck.fetch_or(!self.is_over, Ordering::SeqCst);
            }
        }
        if !self.shared.has(fault) {
            return attempt;
        }
        let guard = Guard { shared: self.shared.clone(), is_over: false };
        Box::pin(async move {
            if guard.shared.is_stuck.load(Ordering::SeqCst) {
                return pending().await;
            }
            let done = attempt.await;
            guard.disarm();
            done
        })
    }
}

impl Runtime for Faulty {
    fn now(&self) -> Now {
        let mut now = self.inner.now();
        if self.shared.has(Fault::StepsBack)
            && self.shared.count.fetch_add(1, Ordering::SeqCst) % 2 == 1
        {
            now.mono = earlier(now.mono, Duration::from_millis(1));
        }
        now
    }

    fn seed(&self) -> u64 {
        self.inner.seed()
    }

    fn spawn(&self, mut task: BoxFuture<()>) {
        if self.shared.has(Fault::ForgetsTasksOfTasks) && IS_IN_TASK.get() {
            return;
        }
        if self.shared.has(Fault::PollsInsideSpawn)
            && task.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
        {
            return;
        }
        self.inner.spawn(Box::pin(Task { task, runtime: self.clone() }));
    }

    fn timer(&self) -> Box<dyn Timer> {
        Box::new(FaultyTimer {
            inner: self.inner.timer(),
            runtime: self.clone(),
            number: self.shared.timers.fetch_add(1, Ordering::SeqCst),
            deadline: Instant::FAR_FUTURE,
            has_fired: false,
            waker: None,
        })
    }

    fn bind_udp(&self, addr: SocketAddr) -> BoxFuture<io::Result<Box<dyn UdpSocket>>> {
        let (inner, shared) = (self.inner.clone(), self.shared.clone());
        Box::pin(async move {
            let bound = match inner.bind_udp(addr).await {
                Err(_) if shared.has(Fault::GivesPortsTwice) => {
                    inner.bind_udp(SocketAddr::new(addr.ip(), 0)).await
                }
                bound => bound,
            };
            Ok(sockets::udp(bound?, shared))
        })
    }

    fn listen(&self, addr: SocketAddr) -> BoxFuture<io::Result<Box<dyn Listener>>> {
        let (listening, shared) = (self.inner.listen(addr), self.shared.clone());
        Box::pin(async move { Ok(sockets::listener(listening.await?, shared)) })
    }

    fn connect(&self, addr: SocketAddr) -> BoxFuture<io::Result<Box<dyn Stream>>> {
        let (connecting, shared) = (self.inner.connect(addr), self.shared.clone());
        let timer = self.inner.timer();
        self.careful(
            Fault::DroppedConnectHangs,
            Box::pin(async move {
                match connecting.await {
                    Err(_) if shared.has(Fault::ConnectHangs) => pending().await,
                    connected => Ok(sockets::stream(connected?, shared, timer)),
                }
            }),
        )
    }

    fn lookup(&self, name: &str) -> BoxFuture<io::Result<Vec<SocketAddr>>> {
        let (looking_up, shared) = (self.inner.lookup(name), self.shared.clone());
        self.careful(
            Fault::DroppedLookupHangs,
            Box::pin(async move {
                match looking_up.await {
                    Ok(_) if shared.has(Fault::NoAddresses) => Ok(Vec::new()),
                    Err(_) if shared.has(Fault::AnyName) => Ok(vec![([127, 0, 0, 1], 1).into()]),
                    found => found,
                }
            }),
        )
    }
}

fn earlier(at: Instant, by: Duration) -> Instant {
    Instant::from_nanos(at.as_nanos().saturating_sub(u64::try_from(by.as_nanos()).expect("short")))
}

thread_local! {
    static IS_IN_TASK: Cell<bool> = const { Cell::new(false) };
}

struct Task {
    task: BoxFuture<()>,
    runtime: Faulty,
}

impl Task {
    fn poll_inside(&mut self, waker: &Waker) -> Poll<()> {
        IS_IN_TASK.set(true);
        let polled = catch_unwind(AssertUnwindSafe(|| {
            self.task.as_mut().poll(&mut Context::from_waker(waker))
        }));
        IS_IN_TASK.set(false);
        polled.unwrap_or_else(|panic| {
            self.runtime.shared.is_stuck.store(true, Ordering::SeqCst);
            resume_unwind(panic)
        })
    }

    /// Again and again as long as it wakes itself.
    fn poll_to_exhaustion(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let give_up = self.runtime.now().mono + STARVATION;
        loop {
            let is_woken = Arc::new(AtomicBool::new(false));
            let (told, outer) = (is_woken.clone(), cx.waker().clone());
            let polled = self.poll_inside(&waker(move || {
                told.store(true, Ordering::SeqCst);
                outer.wake_by_ref();
            }));
            let is_exhausted =
                !is_woken.load(Ordering::SeqCst) || self.runtime.now().mono > give_up;
            if polled.is_ready() || is_exhausted {
                return polled;
            }
        }
    }
}

impl Future for Task {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let (shared, outer) = (self.runtime.shared.clone(), cx.waker().clone());
        match shared.fault {
            Fault::DiesOfPanics if shared.is_stuck.load(Ordering::SeqCst) => Poll::Pending,
            Fault::StarvesOthers => self.poll_to_exhaustion(cx),
            Fault::LosesWakeUps => self.poll_inside(&waker(move || {
                if shared.count.fetch_add(1, Ordering::SeqCst) % 1_000 != 999 {
                    outer.wake_by_ref();
                }
            })),
            Fault::IgnoresOtherThreads => {
                let own = std::thread::current().id();
                self.poll_inside(&waker(move || {
                    if std::thread::current().id() == own {
                        outer.wake_by_ref();
                    }
                }))
            }
            _ => self.poll_inside(&outer),
        }
    }
}

struct FaultyTimer {
    inner: Box<dyn Timer>,
    runtime: Faulty,
    /// Of the timers that are there.
    number: u64,
    deadline: Instant,
    has_fired: bool,
    waker: Option<Waker>,
}

impl Timer for FaultyTimer {
    fn reset(&mut self, deadline: Instant) {
        let is_armed = self.deadline != Instant::FAR_FUTURE;
        let now = self.runtime.now().mono;
        let deadline = match self.runtime.shared.fault {
            Fault::EarlyTimer if deadline != Instant::FAR_FUTURE => now,
            Fault::NeverEarlier if is_armed => deadline.max(self.deadline),
            Fault::NeverLater if is_armed => deadline.min(self.deadline),
            Fault::NoPast if deadline <= now => Instant::FAR_FUTURE,
            Fault::DisarmFires if deadline == Instant::FAR_FUTURE => now,
            _ => deadline,
        };
        self.deadline = deadline;
        self.has_fired = false;
        self.inner.reset(deadline);
    }

    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let fault = self.runtime.shared.fault;
        let is_dead = match fault {
            Fault::FiresOnce => self.has_fired,
            Fault::FewTimers => self.number >= 64,
            _ => false,
        };
        if is_dead {
            return Poll::Pending;
        }
        let first = self.waker.get_or_insert_with(|| cx.waker().clone()).clone();
        let waker = if fault == Fault::FirstWaker { &first } else { cx.waker() };
        let polled = self.inner.poll_expired(&mut Context::from_waker(waker));
        self.has_fired |= polled.is_ready();
        polled
    }
}

impl Drop for FaultyTimer {
    fn drop(&mut self) {
        self.runtime.shared.timers.fetch_sub(1, Ordering::SeqCst);
    }
}
