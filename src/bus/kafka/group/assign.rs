//! Who reads which partition: what the leader of a classic group works out.
//!
//! `range` is the Java client's `RangeAssignor` to the letter. `cooperative_sticky` keeps to the contract of its
//! `CooperativeStickyAssignor` (balanced; nobody loses a partition without need; a partition changes hands only after its owner
//! has given it up, in a second round) without copying its way there.

use std::collections::BTreeMap;

/// A member as its subscription describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Member {
    /// The id the coordinator gave it.
    pub(super) id: String,
    /// `group.instance.id`, when it is static.
    pub(super) instance_id: Option<String>,
    /// What it subscribes to.
    pub(super) topics: Vec<String>,
    /// What it reads at present.
    pub(super) owned: Vec<(String, i32)>,
    /// The generation in which it was given that.
    pub(super) generation: i32,
}

/// Partitions by topic.
pub(super) type Assignment = BTreeMap<String, Vec<i32>>;

/// How many partitions a topic has; `None` when it is unknown, and then nobody is given any.
pub(super) type PartitionsOf<'a> = &'a dyn Fn(&str) -> Option<usize>;

/// Each topic is cut into as many ranges as it has subscribers, the first ones longer by one where it does not divide.
/// One assignment for each member, in their order.
#[must_use]
pub(super) fn range(members: &[Member], partitions_of: PartitionsOf<'_>) -> Vec<Assignment> {
    let mut assignments = vec![Assignment::new(); members.len()];
    for (topic, mut subscribers) in subscribers_by_topic(members) {
        // Static members come first and by their own name, so that a restart changes nothing.
        subscribers.sort_by_key(|&index| {
            let member = &members[index];
            (member.instance_id.is_none(), member.instance_id.as_ref().unwrap_or(&member.id))
        });
        let count = partitions_of(topic).unwrap_or(0);
        let (each, longer) = (count / subscribers.len(), count % subscribers.len());
        let mut next = 0;
        for (rank, &index) in subscribers.iter().enumerate() {
            let length = each + usize::from(rank < longer);
            if length > 0 {
                assignments[index].insert(topic.to_owned(), (next as i32..(next + length) as i32).collect());
            }
            next += length;
        }
    }
    assignments
}

/// Everyone keeps what it has as far as the balance allows; what must change hands is given to nobody in this round.
/// One assignment for each member, in their order.
#[must_use]
pub(super) fn cooperative_sticky(members: &[Member], partitions_of: PartitionsOf<'_>) -> Vec<Assignment> {
    let subscribers = subscribers_by_topic(members);
    let owners = owners(members);
    let mut load = vec![0_usize; members.len()];
    let mut shares = Vec::new();
    for (&topic, eligible) in &subscribers {
        for partition in 0..partitions_of(topic).unwrap_or(0) as i32 {
            let owner = owners.get(&(topic, partition)).copied().filter(|owner| eligible.contains(owner));
            if let Some(owner) = owner {
                load[owner] += 1;
            }
            shares.push(Share { topic, partition, eligible, owner, reader: owner });
        }
    }
    for share in shares.iter_mut().filter(|share| share.reader.is_none()) {
        let reader = share.least_loaded(&load);
        load[reader] += 1;
        share.reader = Some(reader);
    }
    balance(&mut shares, &mut load);

    let mut assignments = vec![Assignment::new(); members.len()];
    for share in &shares {
        if let Some(reader) = share.reader.filter(|&reader| share.owner.is_none_or(|owner| owner == reader)) {
            assignments[reader].entry(share.topic.to_owned()).or_default().push(share.partition);
        }
    }
    assignments
}

/// One partition on its way to a reader.
struct Share<'a> {
    topic: &'a str,
    partition: i32,
    eligible: &'a [usize],
    owner: Option<usize>,
    reader: Option<usize>,
}

impl Share<'_> {
    /// The eligible member with the fewest partitions; an eligible one exists, or the topic would have no entry.
    fn least_loaded(&self, load: &[usize]) -> usize {
        self.eligible.iter().copied().min_by_key(|&index| (load[index], index)).unwrap_or_default()
    }
}

/// Moves partitions until no move makes two loads more alike. Each move lowers the sum of their squares, so it ends.
fn balance(shares: &mut [Share<'_>], load: &mut [usize]) {
    loop {
        let mut moved = false;
        for share in shares.iter_mut() {
            let Some(from) = share.reader else { continue };
            let to = share.least_loaded(load);
            if load[from] > load[to] + 1 {
                load[from] -= 1;
                load[to] += 1;
                share.reader = Some(to);
                moved = true;
            }
        }
        if !moved {
            return;
        }
    }
}

/// Who owns what. Of several claims the one of the latest generation holds (the others missed a rebalance); two of the same
/// generation void each other.
fn owners(members: &[Member]) -> BTreeMap<(&str, i32), usize> {
    let mut claims: BTreeMap<(&str, i32), (i32, Option<usize>)> = BTreeMap::new();
    for (index, member) in members.iter().enumerate() {
        for (topic, partition) in &member.owned {
            let claim = claims.entry((topic, *partition)).or_insert((member.generation, Some(index)));
            if member.generation > claim.0 {
                *claim = (member.generation, Some(index));
            } else if member.generation == claim.0 && claim.1 != Some(index) {
                claim.1 = None;
            }
        }
    }
    claims.into_iter().filter_map(|(partition, (_, owner))| Some((partition, owner?))).collect()
}

fn subscribers_by_topic(members: &[Member]) -> BTreeMap<&str, Vec<usize>> {
    let mut subscribers: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, member) in members.iter().enumerate() {
        for topic in &member.topics {
            let entry = subscribers.entry(topic).or_default();
            if !entry.contains(&index) {
                entry.push(index);
            }
        }
    }
    subscribers
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn member(id: &str, owned: &[i32]) -> Member {
        let owned = owned.iter().map(|&partition| ("t".to_owned(), partition)).collect();
        Member { id: id.into(), topics: vec!["t".into()], owned, generation: 1, ..Member::default() }
    }

    fn of_t(assignments: &[Assignment]) -> Vec<Vec<i32>> {
        assignments.iter().map(|assignment| assignment.get("t").cloned().unwrap_or_default()).collect()
    }

    #[test]
    fn range_gives_what_the_java_client_gives() {
        let members = [member("c", &[]), member("a", &[]), member("b", &[])];
        assert_eq!(of_t(&range(&members, &|_| Some(7))), [vec![5, 6], vec![0, 1, 2], vec![3, 4]]);
        let mut fixed = member("z", &[]);
        fixed.instance_id = Some("site-1".into());
        assert_eq!(of_t(&range(&[member("a", &[]), fixed], &|_| Some(3))), [vec![2], vec![0, 1]]);
        assert_eq!(of_t(&range(&members[..1], &|_| None)), [Vec::<i32>::new()]);
    }

    #[test]
    fn a_partition_changes_hands_only_when_its_owner_has_given_it_up() {
        let newcomer = [member("a", &[0, 1, 2, 3]), member("b", &[])];
        assert_eq!(of_t(&cooperative_sticky(&newcomer, &|_| Some(4))), [vec![2, 3], vec![]]);
        let given_up = [member("a", &[2, 3]), member("b", &[])];
        assert_eq!(of_t(&cooperative_sticky(&given_up, &|_| Some(4))), [vec![2, 3], vec![0, 1]]);
    }

    #[test]
    fn a_claim_of_an_old_generation_is_void_and_equal_ones_void_each_other() {
        let mut stale = member("a", &[0]);
        stale.generation = 0;
        assert_eq!(of_t(&cooperative_sticky(&[stale, member("b", &[0, 1])], &|_| Some(2))), [vec![], vec![1]]);
        let both = [member("a", &[0]), member("b", &[0])];
        assert_eq!(of_t(&cooperative_sticky(&both, &|_| Some(1))), [vec![0], vec![]]);
    }

    fn members_of_some_topics() -> impl Strategy<Value = Vec<Member>> {
        let topics = prop::sample::subsequence(vec!["t", "u", "v"], 1..=3);
        prop::collection::vec(topics, 1..6).prop_map(|all| {
            let named = all.into_iter().enumerate();
            named
                .map(|(n, topics)| Member {
                    id: format!("m{n}"),
                    topics: topics.into_iter().map(Into::into).collect(),
                    ..Member::default()
                })
                .collect()
        })
    }

    /// Plays rounds as a group would, each member giving up what it lost, until nothing changes.
    fn settle(members: &mut [Member], partitions_of: PartitionsOf<'_>) -> Vec<Assignment> {
        for _ in 0..4 {
            let assignments = cooperative_sticky(members, partitions_of);
            for (member, assignment) in members.iter_mut().zip(&assignments) {
                member.generation += 1;
                member.owned =
                    assignment.iter().flat_map(|(topic, list)| list.iter().map(|&p| (topic.clone(), p))).collect();
            }
            if cooperative_sticky(members, partitions_of) == assignments {
                return assignments;
            }
        }
        panic!("no rest after four rounds: {members:?}");
    }

    proptest! {
        #[test]
        fn cooperative_sticky_comes_to_rest_complete_balanced_and_without_needless_moves(
            mut members in members_of_some_topics(), counts in prop::array::uniform3(0_usize..12), leaves: bool,
        ) {
            let partitions_of = move |topic: &str| Some(counts[["t", "u", "v"].iter().position(|name| *name == topic)?]);
            let before = settle(&mut members, &partitions_of);
            if leaves && members.len() > 1 {
                members.pop();
            }
            let after = settle(&mut members, &partitions_of);
            let load: Vec<usize> = after.iter().map(|assignment| assignment.values().map(Vec::len).sum()).collect();
            let mut seen = std::collections::BTreeSet::new();
            for (index, assignment) in after.iter().enumerate() {
                for (topic, list) in assignment {
                    prop_assert!(members[index].topics.contains(topic));
                    for &partition in list {
                        prop_assert!(seen.insert((topic.clone(), partition)), "given twice");
                        let eligible = (0..members.len()).filter(|&other| members[other].topics.contains(topic));
                        prop_assert!(eligible.map(|other| load[other]).min().unwrap() + 1 >= load[index], "unbalanced: {:?}", after);
                    }
                }
            }
            let subscribed = |topic: &str| members.iter().any(|member| member.topics.iter().any(|name| name == topic));
            let expected: usize = ["t", "u", "v"].iter().filter(|topic| subscribed(topic)).map(|topic| partitions_of(topic).unwrap()).sum();
            prop_assert_eq!(seen.len(), expected, "some partition has no reader");
            if !leaves {
                prop_assert_eq!(before, after, "a rebalance without a cause moved partitions");
            }
        }
    }
}
