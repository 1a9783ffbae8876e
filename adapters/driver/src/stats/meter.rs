//! [`Meter`]: what one method has counted on one side, and how it is found without a map.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use chinwag_core::rpc::Code;
use chinwag_core::time::Instant;

use crate::base::runtime::Runtime;
use crate::base::sync::lock;
use crate::stats::counters::{Counter, MethodStats, Role};
use crate::stats::latency::{Histogram, Latency};

/// Codes this version knows are 1 to 12; place 0 is for those of later versions.
const CODES: usize = 13;

/// Parts of a meter. A word that two cores add to in turn costs each of them several times what one
/// of its own does, and a call adds to two when it begins and to two when it ends.
const SHARDS: usize = 8;

/// Relaxed atomics, in parts: a thread adds to its own, as far as there are enough, and what is
/// read is the sum.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    /// Each is made by the first thread that adds to it.
    shards: [OnceLock<Box<Shard>>; SHARDS],
    /// Failures are rare.
    errors: [Counter; CODES],
}

/// Aligned to a pair of cache lines, which is what cores fetch.
#[derive(Debug)]
#[repr(align(128))]
struct Shard {
    begun: Counter,
    one_ways: Counter,
    bytes_in: Counter,
    bytes_out: Counter,
    /// One entry for each call that has ended, however.
    latency: Histogram,
}

impl Shard {
    fn new() -> Self {
        Self {
            begun: Counter::default(),
            one_ways: Counter::default(),
            bytes_in: Counter::default(),
            bytes_out: Counter::default(),
            latency: Histogram::new(),
        }
    }
}

/// Which part this thread adds to. Sums do not show it.
fn shard_of_thread() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static SHARD: usize = THREADS.fetch_add(1, Ordering::Relaxed) % SHARDS;
    }
    SHARD.with(|shard| *shard)
}

impl Meter {
    fn shard(&self) -> &Shard {
        self.shards[shard_of_thread()].get_or_init(|| Box::new(Shard::new()))
    }

    fn shards(&self) -> impl Iterator<Item = &Shard> {
        self.shards.iter().filter_map(|shard| shard.get().map(|shard| &**shard))
    }

    fn sum(&self, of: fn(&Shard) -> &Counter) -> u64 {
        self.shards().map(|shard| of(shard).get()).sum()
    }

    pub(crate) fn begin(&self) {
        self.shard().begun.add(1);
    }

    pub(crate) fn sent(&self, len: usize) {
        self.shard().bytes_out.add(len as u64);
    }

    pub(crate) fn received(&self, len: usize) {
        self.shard().bytes_in.add(len as u64);
    }

    pub(crate) fn end(&self, error: Option<Code>, took: Duration) {
        self.shard().latency.record(took);
        if let Some(code) = error {
            self.failed(code);
        }
    }

    pub(crate) fn one_way(&self) {
        self.shard().one_ways.add(1);
    }

    pub(crate) fn failed(&self, code: Code) {
        let place = usize::from(code.get());
        self.errors[if place < CODES { place } else { 0 }].add(1);
    }

    fn read(&self, role: Role, service: &'static str, method: &'static str) -> MethodStats {
        // The endings first: what begins meanwhile is in flight, and nothing is counted as ended
        // that has not begun.
        let latency =
            self.shards().fold(Latency::default(), |sum, shard| sum.merged(&shard.latency.read()));
        let calls = self.sum(|shard| &shard.begun);
        let errors = self.errors.iter().enumerate().filter(|(_, count)| count.get() > 0);
        let code = |place: usize| Code::from_raw(u16::try_from(place).unwrap_or(0));
        MethodStats {
            role,
            service,
            method,
            errors: errors.map(|(place, count)| (code(place), count.get())).collect(),
            calls,
            in_flight: calls.saturating_sub(latency.count()),
            one_ways: self.sum(|shard| &shard.one_ways),
            bytes_in: self.sum(|shard| &shard.bytes_in),
            bytes_out: self.sum(|shard| &shard.bytes_out),
            latency,
        }
    }
}

/// A call that is being counted: dropped before [`Measured::end`], it was cancelled.
pub(crate) struct Measured<'a> {
    meter: &'a Meter,
    runtime: &'a dyn Runtime,
    begun: Instant,
    has_ended: bool,
}

impl<'a> Measured<'a> {
    pub(crate) fn begin(meter: &'a Meter, runtime: &'a dyn Runtime, begun: Instant) -> Self {
        meter.begin();
        Self { meter, runtime, begun, has_ended: false }
    }

    pub(crate) fn end(mut self, error: Option<Code>, at: Instant) {
        self.has_ended = true;
        self.meter.end(error, at.since(self.begun));
    }
}

impl Drop for Measured<'_> {
    fn drop(&mut self) {
        if !self.has_ended {
            let took = self.runtime.now().mono.since(self.begun);
            self.meter.end(Some(Code::Cancelled), took);
        }
    }
}

/// The meters of one service, in the order in which its methods were first used. Only ever added
/// to, so they are read without a lock; a service has few methods, so finding one compares a few
/// addresses.
#[derive(Debug)]
pub(crate) struct ServiceMeters {
    service: &'static str,
    first: OnceLock<Box<Entry>>,
}

#[derive(Debug)]
struct Entry {
    method: &'static str,
    meter: Arc<Meter>,
    next: OnceLock<Box<Entry>>,
}

impl ServiceMeters {
    pub(crate) fn of(&self, method: &'static str) -> &Arc<Meter> {
        let mut at = &self.first;
        loop {
            let new = || Box::new(Entry { method, meter: Arc::default(), next: OnceLock::new() });
            let entry = at.get_or_init(new);
            if std::ptr::eq(entry.method, method) || entry.method == method {
                return &entry.meter;
            }
            at = &entry.next;
        }
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        std::iter::successors(self.first.get(), |entry| entry.next.get()).map(|entry| &**entry)
    }
}

/// All meters of one side of a node. They are for names that the program itself has, called or
/// offered, so a peer cannot make them more. What a service has counted stays when it is removed.
#[derive(Debug, Default)]
pub(crate) struct Meters {
    services: Mutex<BTreeMap<&'static str, Arc<ServiceMeters>>>,
}

impl Meters {
    pub(crate) fn of(&self, service: &'static str) -> Arc<ServiceMeters> {
        let new = || Arc::new(ServiceMeters { service, first: OnceLock::new() });
        lock(&self.services).entry(service).or_insert_with(new).clone()
    }

    pub(crate) fn read(&self, role: Role, into: &mut Vec<MethodStats>) {
        for service in lock(&self.services).values() {
            into.extend(
                service
                    .entries()
                    .map(|entry| entry.meter.read(role, service.service, entry.method)),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_flight_is_what_has_begun_and_not_ended() {
        let meters = Meters::default();
        let service = meters.of("a");
        let meter = service.of("x");
        meter.begin();
        meter.begin();
        meter.end(Some(Code::AppError), Duration::from_millis(1));
        meter.failed(Code::Other(99));
        meters.of("a").of("y").one_way();
        let mut read = Vec::new();
        meters.read(Role::Outbound, &mut read);
        let [x, y] = &read[..] else { panic!("two methods: {read:?}") };
        assert_eq!(
            (x.service, x.method, x.calls, x.in_flight, x.latency.count()),
            ("a", "x", 2, 1, 1)
        );
        assert_eq!(x.errors, [(Code::Other(0), 1), (Code::AppError, 1)]);
        assert_eq!((y.method, y.calls, y.one_ways), ("y", 0, 1));
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "threads of its own are what the test is about")]
    fn what_threads_have_counted_is_added_up() {
        let meters = Meters::default();
        let meter = meters.of("a").of("x").clone();
        let count = |took| {
            let meter = meter.clone();
            move || {
                meter.begin();
                meter.sent(3);
                meter.received(5);
                meter.end(None, took);
            }
        };
        let threads =
            (1..=2 * SHARDS as u64).map(|ms| std::thread::spawn(count(Duration::from_millis(ms))));
        threads
            .collect::<Vec<_>>()
            .into_iter()
            .for_each(|thread| thread.join().expect("it counts"));
        meter.begin();
        let mut read = Vec::new();
        meters.read(Role::Outbound, &mut read);
        let count = 2 * SHARDS as u64;
        let [x] = &read[..] else { panic!("one method: {read:?}") };
        assert_eq!(
            (x.calls, x.in_flight, x.bytes_out, x.bytes_in),
            (count + 1, 1, 3 * count, 5 * count)
        );
        assert_eq!(x.latency.count(), count);
        assert!(x.latency.quantile(1.0) >= Duration::from_millis(count));
    }

    /// Also when the names are equal and lie elsewhere.
    #[test]
    fn a_method_has_one_meter() {
        let meters = Meters::default();
        let service = meters.of("a");
        let elsewhere: &'static str = String::from("x").leak();
        assert!(Arc::ptr_eq(service.of("x"), service.of(elsewhere)));
        assert!(!Arc::ptr_eq(service.of("x"), service.of("y")));
        assert!(Arc::ptr_eq(&meters.of("a"), &service));
    }
}
