//! What the search over connections finds: that nothing gets stuck, and that without any one rule
//! of credit something does (`docs/protocol.md` §5.12.10).

use super::*;

/// §5.12.10
#[test]
fn no_order_of_any_story_gets_stuck() {
    for story in stories() {
        let found = search(&story, &Search { states_max: 3_000, ..Search::default() });
        assert_eq!((found.stuck, &found.order), (0, &None), "{}", story.name);
        assert!(found.states > 100 && found.merged > 100, "{}: {found:?}", story.name);
    }
}

/// §5.12.10
#[test]
fn without_any_one_rule_a_story_gets_stuck() {
    for defect in Defect::ALL {
        let of = |story: &Story| story.needs == Some(defect);
        let story = stories().into_iter().find(of).expect("each has one");
        let found = search(&story, &Search { defect: Some(defect), ..Search::default() });
        assert!(found.stuck > 0, "{defect:?}: {found:?}");
        let found = search(&story, &Search { states_max: found.states + 1, ..Search::default() });
        assert_eq!(found.stuck, 0, "with the rule it is not: {defect:?}");
    }
}
