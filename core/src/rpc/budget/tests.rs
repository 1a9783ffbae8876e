use super::*;

#[test]
fn s5_12_9_what_is_drawn_counts_in_every_budget_above_until_it_is_dropped() {
    let node = Budget::new(1_000);
    let [one, other] = [(); 2].map(|()| Budget::within(800, Some(node.clone())));
    let first = one.draw(700, ALL_OF_IT).expect("room in both");
    assert!(one.draw(200, ALL_OF_IT).is_none(), "the connection's own has no room");
    assert!(other.draw(400, ALL_OF_IT).is_none(), "the node's has no room");
    assert_eq!((one.held(), other.held(), node.held()), (700, 0, 700), "a refusal changes nothing");
    assert!(first.add(100) && !first.add(1));
    assert_eq!((one.held(), node.held()), (800, 800));
    drop(first);
    assert_eq!((one.held(), node.held()), (0, 0));
}

#[test]
fn s5_12_3_shallower_calls_may_use_less_of_a_budget() {
    let budget = Budget::new(100);
    let half = budget.draw(50, 2).expect("half");
    assert!(budget.draw(1, 2).is_none() && budget.draw(26, 3).is_none());
    let quarter = budget.draw(25, 3).expect("three quarters");
    let rest = budget.draw(25, ALL_OF_IT).expect("all");
    assert!(budget.draw(1, ALL_OF_IT).is_none());
    drop((half, quarter, rest));
    assert_eq!(budget.held(), 0);
}

#[test]
fn s5_12_4_bytes_are_charged_until_their_last_view_is_dropped() {
    let budget = Budget::new(100);
    let mut body = Bytes::from_static(b"body");
    let mut beside = [Bytes::from_static(b"beside"), Bytes::new()];
    charged(budget.draw(60, ALL_OF_IT).expect("room"), &mut body, &mut beside);
    assert!(body == b"body"[..] && beside[0] == b"beside"[..]);
    let view = beside[0].slice(2..3);
    drop((body, beside));
    assert_eq!(budget.held(), 60);
    drop(view);
    assert_eq!(budget.held(), 0);
}
