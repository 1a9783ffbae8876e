//! [`Spread`], the default, and [`LocalFirst`]: all members in turn.

use super::topology::Pool;
use super::{Consistency, NodeSelector, Picks, SelectError, Topology, feasible};

/// The data-centre aware default: who should hold it.
///
/// - `One`, `Two`, `Three`: other data centres first, one member of each; then more of them,
///   evenly; members of the local data centre only when the others have no more. Data centres take
///   turns whatever their sizes, and so do the members of each.
/// - `Quorum`: over all data centres, the local one included, one member of each per round.
/// - `LocalQuorum`, `EachQuorum`: members of each data centre in turn.
///
/// In sequence, members of one data centre are selected equally often to within one, whatever the
/// mix of levels.
///
/// The levels mean what they mean in datacake, and the answers of its tests are answers of this
/// selector, but for one: for three of "2 others here, 2 in one other data centre", datacake's test
/// expects two local members and one remote. Here the other data centre comes first strictly, so it
/// is two remote and one local.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spread;

impl NodeSelector for Spread {
    #[inline]
    fn select(
        &self,
        on: &Topology,
        level: Consistency,
        out: &mut Picks,
    ) -> Result<(), SelectError> {
        out.clear();
        let required = match level {
            Consistency::One => 1,
            Consistency::Two => 2,
            Consistency::Three => 3,
            Consistency::None => return Ok(()),
            _ => {
                majority(on, level, out);
                return Ok(());
            }
        };
        others_first(on, feasible(on, required as usize)?, required, out);
        Ok(())
    }
}

/// The nearest members: who should answer.
///
/// `One`, `Two`, `Three` and `Quorum` take members of the local data centre in turn, and only what
/// that does not have from the other data centres, as [`Spread`] does. The other levels are those
/// of `Spread`.
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalFirst;

impl NodeSelector for LocalFirst {
    fn select(
        &self,
        on: &Topology,
        level: Consistency,
        out: &mut Picks,
    ) -> Result<(), SelectError> {
        out.clear();
        match level {
            Consistency::One | Consistency::Two | Consistency::Three | Consistency::Quorum => {
                let required = feasible(on, level.required(on))?;
                let here = required.min(on.zone(on.local_zone()).len());
                out.reserve(required);
                on.take(on.local_zone(), u32::try_from(here).unwrap_or(u32::MAX), out);
                on.take_evenly(Pool::Others, required - here, out);
            }
            _ => majority(on, level, out),
        }
        Ok(())
    }
}

/// `required` members, those of other data centres first. There are that many.
#[inline]
fn others_first(on: &Topology, required: usize, count: u32, out: &mut Picks) {
    let outside = on.others_len();
    if required < on.zones().len() {
        // As many other data centres as members wanted: each has at least one.
        on.take_one_each(count, out);
    } else if required <= outside {
        on.take_evenly(Pool::Others, required, out);
    } else {
        on.take_evenly(Pool::Others, outside, out);
        on.take(on.local_zone(), u32::try_from(required - outside).unwrap_or(u32::MAX), out);
    }
}

/// The levels that are always feasible, being a share of what is there.
fn majority(on: &Topology, level: Consistency, out: &mut Picks) {
    out.reserve(level.required(on));
    match level {
        Consistency::Quorum => on.take_evenly(Pool::Everywhere, on.quorum(), out),
        Consistency::LocalQuorum => take_quorum(on, on.local_zone(), out),
        Consistency::EachQuorum => on.zones().for_each(|zone| take_quorum(on, zone, out)),
        Consistency::All => out.extend(on.iter()),
        Consistency::None | Consistency::One | Consistency::Two | Consistency::Three => {}
    }
}

fn take_quorum(on: &Topology, zone: usize, out: &mut Picks) {
    on.take(zone, u32::try_from(on.zone_quorum(zone)).unwrap_or(u32::MAX), out);
}
