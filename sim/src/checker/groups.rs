//! Nodes that are joined to each other, one way or the other, form a group.

/// The groups of `nodes`, the first with the first of them. `joins(a, b)`: `a` is joined to `b`, or
/// `b` to `a`.
pub fn groups(nodes: &[u32], joins: impl Fn(u32, u32) -> bool) -> Vec<Vec<u32>> {
    let (mut groups, mut apart) = (Vec::new(), nodes.to_vec());
    while !apart.is_empty() {
        let mut group = vec![apart.remove(0)];
        let mut at = 0;
        while let Some(&node) = group.get(at) {
            let (met, rest): (Vec<u32>, Vec<u32>) =
                apart.into_iter().partition(|&other| joins(node, other) || joins(other, node));
            apart = rest;
            group.extend(met);
            at += 1;
        }
        groups.push(group);
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_joined_one_way_or_the_other_is_in_one_group() {
        let joins = |a, b| [(0, 2), (4, 2), (3, 1)].contains(&(a, b));
        assert_eq!(groups(&[0, 1, 2, 3, 4, 5], joins), [vec![0, 2, 4], vec![1, 3], vec![5]]);
        assert_eq!(groups(&[], joins), Vec::<Vec<u32>>::new());
    }
}
