//! [`Meter`]: what one method has counted on one side, and how it is found without a map.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use chinwag_core::rpc::Code;
use chinwag_core::time::Instant;

use crate::latency::Histogram;
use crate::runtime::Runtime;
use crate::stats::{Counter, MethodStats, Role};
use crate::sync::lock;

/// Codes this version knows are 1 to 12; place 0 is for those of later versions.
const CODES: usize = 13;

/// Relaxed atomics: a call adds to three of them when it begins and to two when it ends.
#[derive(Debug)]
pub(crate) struct Meter {
    begun: Counter,
    one_ways: Counter,
    bytes_in: Counter,
    bytes_out: Counter,
    errors: [Counter; CODES],
    /// One entry for each call that has ended, however.
    latency: Histogram,
}

impl Meter {
    fn new() -> Self {
        Self {
            begun: Counter::default(),
            one_ways: Counter::default(),
            bytes_in: Counter::default(),
            bytes_out: Counter::default(),
            errors: Default::default(),
            latency: Histogram::new(),
        }
    }

    pub(crate) fn begin(&self) {
        self.begun.add(1);
    }

    pub(crate) fn sent(&self, len: usize) {
        self.bytes_out.add(len as u64);
    }

    pub(crate) fn received(&self, len: usize) {
        self.bytes_in.add(len as u64);
    }

    pub(crate) fn end(&self, error: Option<Code>, took: Duration) {
        self.latency.record(took);
        if let Some(code) = error {
            self.failed(code);
        }
    }

    pub(crate) fn one_way(&self) {
        self.one_ways.add(1);
    }

    pub(crate) fn failed(&self, code: Code) {
        let place = usize::from(code.get());
        self.errors[if place < CODES { place } else { 0 }].add(1);
    }

    fn read(&self, role: Role, service: &'static str, method: &'static str) -> MethodStats {
        // The endings first: what begins meanwhile is in flight, and nothing is counted as ended that has not begun.
        let latency = self.latency.read();
        let errors = self.errors.iter().enumerate().filter(|(_, count)| count.get() > 0);
        let code = |place: usize| Code::from_raw(u16::try_from(place).unwrap_or(0));
        MethodStats {
            role,
            service,
            method,
            errors: errors.map(|(place, count)| (code(place), count.get())).collect(),
            calls: self.begun.get(),
            in_flight: self.begun.get().saturating_sub(latency.count()),
            one_ways: self.one_ways.get(),
            bytes_in: self.bytes_in.get(),
            bytes_out: self.bytes_out.get(),
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

/// The meters of one service, in the order in which its methods were first used. Only ever added to, so they are read without
/// a lock; a service has few methods, so finding one compares a few addresses.
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
            let new = || Box::new(Entry { method, meter: Arc::new(Meter::new()), next: OnceLock::new() });
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

/// All meters of one side of a node. They are for names that the program itself has, called or offered, so a peer cannot
/// make them more. What a service has counted stays when it is removed.
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
            into.extend(service.entries().map(|entry| entry.meter.read(role, service.service, entry.method)));
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
        meters.read(Role::Caller, &mut read);
        let [x, y] = &read[..] else { panic!("two methods: {read:?}") };
        assert_eq!((x.service, x.method, x.calls, x.in_flight, x.latency.count()), ("a", "x", 2, 1, 1));
        assert_eq!(x.errors, [(Code::Other(0), 1), (Code::AppError, 1)]);
        assert_eq!((y.method, y.calls, y.one_ways), ("y", 0, 1));
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
