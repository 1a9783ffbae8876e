//! What a node-level world writes into its trace; nothing of this runs unless a trace is kept.

use chinwag::{Member, State as Life};

use super::state::State;
use crate::clock::WALL_START;
use crate::fault::Fault;
use crate::trace::record::{Belief, What as Told};

impl State {
    pub(super) fn tell_fault(&mut self, number: usize, fault: &Fault) {
        self.trace.tell(self.now, fault.node(), || {
            let (from, to) = fault.sides();
            Told::Begin {
                fault: u32::try_from(number).unwrap_or(u32::MAX),
                family: fault.family().into(),
                from,
                to,
                text: fault.to_string(),
            }
        });
    }

    pub(super) fn tell_clock(&mut self, host: u32) {
        let clock = self.machine(host).clock;
        let at = self.now;
        self.trace.tell(at, host, || {
            let wall = clock.read(at).wall.as_nanos();
            let ahead = i128::from(wall) - i128::from(WALL_START.as_nanos()) - i128::from(at);
            Told::Clock {
                ahead_ns: i64::try_from(ahead).unwrap_or(i64::MAX),
                drift_ppm: clock.drift_ppm(),
            }
        });
    }

    pub(super) fn tell_view(&mut self, host: u32, peer: u32, member: &Member) {
        self.trace.tell(self.now, host, || {
            let state = match member.state {
                Life::Alive => Belief::Alive,
                Life::Suspect => Belief::Suspect,
                Life::Dead => Belief::Dead,
                Life::Left => Belief::Left,
            };
            Told::View {
                peer,
                state,
                epoch: member.epoch.get(),
                incarnation: member.incarnation.get(),
            }
        });
    }
}
