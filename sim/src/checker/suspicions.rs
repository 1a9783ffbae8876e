//! No death without its suspicion (`docs/protocol.md` §4.5).

use std::collections::BTreeMap;

use chinwag_core::membership::{Config, Event, Member, State};
use chinwag_core::time::Instant;

use super::{Check, ensure};

/// Since when each node suspects whom, by its own clock.
#[derive(Debug)]
pub struct Suspicions {
    least: std::time::Duration,
    forges: bool,
    since: BTreeMap<(u32, u64), (u64, Instant)>,
}

impl Suspicions {
    /// Nobody is suspected yet. With `forges`, bytes are forged, and deaths with them.
    pub fn new(config: &Config, forges: bool) -> Self {
        // The least over all sizes of the cluster: max(1, log10 n) is at least 1.
        Self {
            least: config.probe_interval * config.suspicion_mult,
            forges,
            since: BTreeMap::new(),
        }
    }

    /// `observer` is told of something when its own clock reads `now`.
    ///
    /// # Errors
    /// `suspicion_time`.
    pub fn event(&mut self, observer: u32, now: Instant, event: &Event) -> Check {
        let of = |member: &Member| (observer, member.id.get());
        match event {
            // A suspicion that is learnt together with its member counts from there, too.
            Event::Suspected(member) | Event::Joined(member) if member.state == State::Suspect => {
                self.since.insert(of(member), (member.epoch.get(), now));
            }
            Event::Joined(member) | Event::Recovered(member) | Event::Left(member) => {
                self.since.remove(&of(member));
            }
            Event::Died(member) => {
                let since = self.since.remove(&of(member));
                let lasted = since
                    .filter(|since| since.0 == member.epoch.get())
                    .map(|(_, since)| now.since(since));
                let least = self.least;
                return ensure(
                    self.forges || lasted.is_some_and(|lasted| lasted >= least),
                    "suspicion_time",
                    || {
                        format!(
                            "node {observer} buries {} after a suspicion of {lasted:?}; the least \
                                is {least:?}",
                            member.id
                        )
                    },
                );
            }
            _ => {}
        }
        Ok(())
    }

    /// `node` starts anew and suspects nobody.
    pub fn started(&mut self, node: u32) {
        self.since.retain(|&(observer, _), _| observer != node);
    }
}
