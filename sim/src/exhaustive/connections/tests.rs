//! What the search over connections finds: that nothing gets stuck, and that without any one rule
//! of credit something does (`docs/protocol.md` §5.12.10).

use super::*;

/// §5.12.10: stories that are small enough are searched to their end, of the others a part.
#[test]
fn no_order_of_any_story_gets_stuck() {
    let mut complete = 0;
    for story in stories() {
        let calm = Search { hurries: 0, drops: 0, states_max: 800, ..Search::default() };
        for wanted in [Search { states_max: 300, ..Search::default() }, calm] {
            let found = search(&story, &wanted);
            assert_eq!((found.stuck, &found.order), (0, &None), "{}", story.name);
            assert!(found.states >= 50 && found.merged > 20, "{}: {found:?}", story.name);
            assert!(found.ends > 0, "{}: {found:?}", story.name);
            complete += usize::from(found.is_complete);
        }
    }
    assert!(complete >= 4, "only {complete} were searched to their end");
}

/// §5.12.10
#[test]
fn without_any_one_rule_a_story_gets_stuck() {
    for defect in Defect::ALL {
        let of = |story: &Story| story.needs == Some(defect);
        let story = stories().into_iter().find(of).expect("each has one");
        let calm = Search { hurries: 0, drops: 0, states_max: 500, defect: None };
        let found = search(&story, &Search { defect: Some(defect), ..calm.clone() });
        assert!(found.stuck > 0, "{defect:?}: {found:?}");
        assert_eq!(search(&story, &calm).stuck, 0, "with the rule it is not: {defect:?}");
    }
}

/// A search repeats to the state.
#[test]
fn a_search_is_the_same_again() {
    let story = &stories()[1];
    let wanted = Search { states_max: 300, ..Search::default() };
    let (one, other) = (search(story, &wanted), search(story, &wanted));
    assert_eq!((one.states, one.steps, one.merged), (other.states, other.steps, other.merged));
}
