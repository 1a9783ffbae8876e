use super::*;

fn stamp(raw: u64) -> Timestamp {
    Timestamp::from_raw(raw)
}

fn node(id: u64) -> NodeId {
    NodeId::new(id)
}

fn roster_of(nodes: impl IntoIterator<Item = u64>) -> Roster {
    let mut roster = Roster::default();
    nodes.into_iter().for_each(|id| assert!(roster.add(node(id), |_| true)));
    roster
}

#[test]
fn a_mark_is_read_as_it_was_written() {
    let mut roster = roster_of([3, 9]);
    let proposal = roster.proposed(&[node(9)], stamp(5));
    assert!(roster.accept(&proposal, stamp(5), |_| true));
    roster.members.get_mut(&node(3)).expect("added").has_left = true;
    roster.own = Absence { generation: 4, horizon: stamp(2) };
    roster.cleansed = 3;
    let mark = roster.to_mark();
    assert_eq!(Roster::from_mark(mark.clone()), Some(roster));
    for len in 0..mark.len() {
        // Whatever is left of it: no panic.
        let _ = Roster::from_mark(mark.slice(..len));
    }
    assert_eq!(Roster::from_mark(Bytes::new()), None);
}

#[test]
fn what_enough_others_have_noted_is_noted() {
    let mut roster = roster_of([3]);
    let once = Absence { generation: 1, horizon: stamp(30) };
    for id in [1, 3, 4] {
        roster.note(node(id), once, node(1));
    }
    assert_eq!((roster.absence(node(3)), roster.own), (once, once));
    assert_eq!(roster.absence(node(4)), Absence::default(), "it is not in the roster");
    assert!(!roster.is_cleansed());
}

/// A proposal names nodes that this replica has seen go itself, and steps that can be counted.
#[test]
fn a_proposal_must_be_right_by_what_is_seen_here() {
    let before = roster_of([7, 8]);
    let proposal = |generation| [(node(8), Absence { generation, horizon: stamp(10) })];
    for (generation, is_gone, is_accepted) in [
        (1, true, true),
        (1, false, false),
        (0, true, false),
        (GENERATION_STEP_MAX, true, true),
        (GENERATION_STEP_MAX + 1, true, false),
        (u64::MAX, true, false),
    ] {
        let mut roster = before.clone();
        let accepted = roster.accept(&proposal(generation), stamp(10), |_| is_gone);
        assert_eq!(accepted, is_accepted, "{generation} {is_gone}");
        assert_eq!(roster == before, !is_accepted, "{generation} {is_gone}");
    }
}

/// Each purge without a node has a generation of its own, so that being cleansed of one is not
/// taken for being cleansed of the next.
#[test]
fn a_proposal_must_be_ahead_of_what_is_known() {
    let (mut one, mut other) = (roster_of([7, 8]), roster_of([7, 8]));
    let first = one.proposed(&[node(8)], stamp(10));
    assert!(one.accept(&first, stamp(10), |_| true) && other.accept(&first, stamp(10), |_| true));
    let before = one.clone();
    assert!(!one.accept(&first, stamp(10), |_| true), "the same again");
    let low = [(node(8), Absence { generation: 2, horizon: stamp(9) })];
    assert!(!one.accept(&low, stamp(10), |_| true), "a horizon below what is purged");
    assert_eq!(one, before);
    let second = other.proposed(&[node(8)], stamp(6));
    assert_eq!(second, [(node(8), Absence { generation: 2, horizon: stamp(10) })]);
    assert!(one.accept(&second, stamp(6), |_| true));
    assert_eq!(one.floor, stamp(10));
}

/// A full roster makes room, and who is not in it is held to all that is purged from then on.
#[test]
fn a_full_roster_makes_room() {
    let mut roster = roster_of(0..ROSTER_MAX as u64);
    let new = node(5_000);
    assert!(!roster.add(new, |_| true), "all are live");
    assert_eq!(roster.absence(new), Absence::default());
    roster.members.get_mut(&node(8)).expect("added").has_left = true;
    assert!(roster.add(new, |id| id != node(8) && id != node(4)));
    assert!(!roster.members.contains_key(&node(8)), "one that left goes first");
    assert_eq!(roster.members.len(), ROSTER_MAX);
    assert_eq!(roster.absence(node(8)).generation, 1, "it comes back as one to be cleansed");
    assert_eq!(roster.absence(new).generation, 1, "as may be this one");
    assert!(roster.accept(&[], stamp(70), |_| true));
    assert_eq!(roster.absence(node(8)), Absence { generation: 2, horizon: stamp(70) });
}
