//! One contender, measured for a while.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this is where time is measured"
)]

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::{Duration, Instant};

use chinwag::Runtime;
use futures_lite::future::block_on;
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::oneshot;

use super::contender::Caller;

/// Of the time of a cell, what goes by before it is measured: a fourth.
const WARM_UP: u32 = 4;

/// What a number of callers got done.
#[derive(Clone, Copy, Debug)]
pub struct Throughput {
    /// Calls a second.
    pub calls: f64,
    /// Microseconds of CPU a call, of both sides, user and system.
    pub cpu: f64,
}

/// Runs `future` as a task.
pub(crate) fn spawn<T, F>(runtime: &dyn Runtime, future: F) -> impl Future<Output = T> + use<T, F>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let (done, result) = oneshot::channel();
    runtime.spawn(Box::pin(async move {
        let _ = done.send(future.await);
    }));
    async { result.await.expect("a caller that fails ends the measurement") }
}

pub(crate) fn sequential(
    runtime: &dyn Runtime,
    mut caller: impl Caller,
    time: Duration,
) -> Vec<u64> {
    block_on(spawn(runtime, async move {
        timed(&mut caller, time / WARM_UP).await;
        timed(&mut caller, time).await
    }))
}

pub(crate) fn calls(runtime: &dyn Runtime, mut caller: impl Caller, count: usize) {
    block_on(spawn(runtime, async move {
        for _ in 0..count {
            caller.call().await;
        }
    }));
}

/// Nanoseconds of each call; at least one.
async fn timed(caller: &mut impl Caller, time: Duration) -> Vec<u64> {
    let mut nanos = Vec::with_capacity(1 << 12);
    let begun = Instant::now();
    let mut at = begun;
    while nanos.is_empty() || at - begun < time {
        caller.call().await;
        let now = Instant::now();
        nanos.push(u64::try_from((now - at).as_nanos()).expect("shorter than centuries"));
        at = now;
    }
    nanos
}

/// Where a measurement stands, as its callers see it.
const WARMING: u8 = 0;
const COUNTING: u8 = 1;
const OVER: u8 = 2;

/// Calls until told to stop; how many ended while that counted.
async fn repeat(mut caller: impl Caller, phase: Arc<AtomicU8>) -> u64 {
    let mut count = 0;
    loop {
        caller.call().await;
        match phase.load(Relaxed) {
            WARMING => {}
            COUNTING => count += 1,
            _ => return count,
        }
    }
}

pub(crate) fn throughput(
    runtime: &dyn Runtime,
    callers: impl Iterator<Item = impl Caller>,
    time: Duration,
) -> Throughput {
    let phase = Arc::new(AtomicU8::new(WARMING));
    let tasks: Vec<_> =
        callers.map(|caller| spawn(runtime, repeat(caller, phase.clone()))).collect();
    std::thread::sleep(time / WARM_UP);
    let (begun, cpu) = (Instant::now(), cpu_time());
    phase.store(COUNTING, Relaxed);
    std::thread::sleep(time);
    phase.store(OVER, Relaxed);
    let (elapsed, cpu) = (begun.elapsed(), cpu_time() - cpu);
    let count: u64 = tasks.into_iter().map(block_on).sum();
    // A contender so slow that nothing ended gets the best it could have done.
    let count = count.max(1) as f64;
    Throughput { calls: count / elapsed.as_secs_f64(), cpu: cpu.as_secs_f64() * 1e6 / count }
}

pub(crate) fn behind(
    runtime: &dyn Runtime,
    small: impl Caller,
    large: impl Iterator<Item = impl Caller>,
    time: Duration,
) -> (Vec<u64>, f64) {
    let phase = Arc::new(AtomicU8::new(COUNTING));
    let tasks: Vec<_> = large.map(|caller| spawn(runtime, repeat(caller, phase.clone()))).collect();
    let begun = Instant::now();
    let nanos = sequential(runtime, small, time);
    phase.store(OVER, Relaxed);
    let elapsed = begun.elapsed();
    let count: u64 = tasks.into_iter().map(block_on).sum();
    (nanos, count as f64 / elapsed.as_secs_f64())
}

/// CPU time of this process, user and system.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// Bytes that this process has had in memory at most; `None` where the system does not say (it is
/// Linux that does).
pub fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1_024)
}
