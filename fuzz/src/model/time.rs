//! What the passing of time does to the table (§4.1, §4.4.1, §4.5).

use super::{Choice, Model, Nanos, State, Window};

impl Model {
    /// It is `now`. `overdue` is how late that is for the node's earliest deadline of any kind, 0
    /// if it is not: whoever compares asks the implementation for its deadline before telling
    /// it the time.
    pub fn pass(&mut self, now: Nanos, overdue: Nanos) {
        self.open.clear();
        // §4.4.1: it was asleep.
        if self.config.pause_guard && overdue > self.config.probe_timeout_max {
            for record in self.records.values_mut() {
                if let Some(suspicion) = &mut record.suspicion {
                    suspicion.sleep(overdue);
                }
            }
        }
        // §4.5: "when it runs out, the member is dead".
        while let Some(id) = self.first_to_die(now) {
            self.die(now, id);
        }
        // §4.1: kept for `tombstone_lifetime`.
        while let Some(id) = self.first_to_forget(now) {
            self.forget(id);
        }
        for (&id, record) in &self.records {
            let may_die = record
                .suspicion
                .as_ref()
                .is_some_and(|suspicion| suspicion.deadline.earliest <= now);
            let ends = record.died.map(|died| died.later(self.config.tombstone_lifetime));
            if may_die {
                self.open.insert(id, Choice::Dies);
            } else if ends.is_some_and(|ends| ends.earliest <= now) {
                self.open.insert(id, Choice::Forgotten);
            }
        }
        self.keep_tombstones_max();
    }

    /// When the first suspicion runs out, at the earliest.
    pub fn first_deadline(&self) -> Option<Nanos> {
        let suspicions = self.records.values().filter_map(|record| record.suspicion.as_ref());
        suspicions.map(|suspicion| suspicion.deadline.earliest).min()
    }

    /// It is `now`, and late for something that was due at `due`. The text does not say in which
    /// order what is late is done; whoever does the suspicions first, because one of them was
    /// due before, does all of them.
    pub fn bury_due(&mut self, now: Nanos, due: Nanos) {
        if self.first_to_die(due - 1 + self.config.tolerance).is_none() {
            return;
        }
        while let Some(id) = self.first_to_die(now) {
            self.die(now, id);
        }
    }

    /// The suspicion of `id` has run out.
    pub(super) fn die(&mut self, now: Nanos, id: u64) {
        if let Some(record) = self.records.get_mut(&id) {
            let ran_out = record
                .suspicion
                .take()
                .map_or(now, |suspicion| suspicion.deadline.earliest.min(now));
            record.state = State::Dead;
            record.died = Some(Window { earliest: ran_out, latest: now });
        }
    }

    /// §4.9.4: of what is forgotten the epoch is remembered.
    pub(super) fn forget(&mut self, id: u64) {
        if let Some(record) = self.records.remove(&id) {
            self.watermark = self.watermark.max(Some(record.epoch));
        }
    }

    /// §4.1: "at most `tombstones_max` of them, the oldest forgotten first".
    pub(super) fn keep_tombstones_max(&mut self) {
        loop {
            let tombs: Vec<(u64, Window)> = self
                .records
                .iter()
                .filter_map(|(&id, record)| record.died.map(|died| (id, died)))
                .collect();
            let Some(excess) =
                tombs.len().checked_sub(self.config.tombstones_max).filter(|excess| *excess > 0)
            else {
                return;
            };
            // Whoever may be the oldest: as early as the one that is surely no later than the
            // others.
            let bound = tombs
                .iter()
                .map(|(_, died)| died.latest)
                .min()
                .expect("there is an excess of them");
            let oldest: Vec<u64> = tombs
                .iter()
                .filter(|(_, died)| died.earliest <= bound)
                .map(|(id, _)| *id)
                .collect();
            if oldest.len() > excess {
                self.open.extend(oldest.into_iter().map(|id| (id, Choice::Forgotten)));
                return;
            }
            for id in oldest {
                self.forget(id);
            }
        }
    }

    fn first_to_die(&self, now: Nanos) -> Option<u64> {
        let deadlines = self.records.iter().filter_map(|(&id, record)| {
            record.suspicion.as_ref().map(|suspicion| (suspicion.deadline.latest, id))
        });
        deadlines.filter(|(latest, _)| *latest <= now).min().map(|(_, id)| id)
    }

    fn first_to_forget(&self, now: Nanos) -> Option<u64> {
        let died = self
            .records
            .iter()
            .filter_map(|(&id, record)| record.died.map(|died| (died.latest, id)));
        died.filter(|(latest, _)| latest + self.config.tombstone_lifetime <= now)
            .min()
            .map(|(_, id)| id)
    }
}
