//! Topics: named lists of agents. What is published to a topic reaches each member.

use bevy_ecs::component::Component;
use serde::{Deserialize, Serialize};
use wasm_engine_abi::name_id;

use crate::{AgentId, TopicId};

/// A topic: all that a scenario says of it. Fixed for a run.
#[derive(Component, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct TopicSpec {
    /// The number of its name.
    pub id: TopicId,
    /// Its name.
    pub name: String,
}

impl TopicSpec {
    /// Returns the topic of that name.
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        Self { id: TopicId(name_id(&name)), name }
    }

    /// Returns the topic after a change.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
}

/// The members of a topic, sorted by id. State.
#[derive(Component, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Members(pub Vec<AgentId>);

impl Members {
    /// Carries out changes: each says which agent, and whether it joins or leaves. Of two for one agent, the later one counts. Returns whether any of them
    /// changed anything. All are carried out in one pass over the members, because each by itself would move all members that come after it.
    pub fn change(&mut self, changes: impl IntoIterator<Item = (AgentId, bool)>) -> bool {
        let mut changes: Vec<_> = changes.into_iter().collect();
        changes.sort_by_key(|(agent, _)| *agent);
        let is_member = |agent: AgentId| self.0.binary_search(&agent).is_ok();
        let last = |at: usize| changes.get(at + 1).is_none_or(|(next, _)| *next != changes[at].0);
        let real = |&at: &usize| last(at) && is_member(changes[at].0) != changes[at].1;
        let changes: Vec<_> = (0..changes.len()).filter(real).map(|at| changes[at]).collect();
        if changes.is_empty() {
            return false;
        }
        let mut all = Vec::with_capacity(self.0.len() + changes.len());
        let mut rest = self.0.as_slice();
        for (agent, joins) in changes {
            let (before, after) = rest.split_at(rest.partition_point(|member| *member < agent));
            all.extend_from_slice(before);
            if joins {
                all.push(agent);
                rest = after;
            } else {
                rest = &after[1..];
            }
        }
        all.extend_from_slice(rest);
        self.0 = all;
        true
    }

    /// Removes the members that are in `gone`, which is sorted. Returns whether there was one. It looks at no more entries of either list than the
    /// shorter one has: a frame in which one agent ends doesn't go through the members of all topics.
    pub fn remove(&mut self, gone: &[AgentId]) -> bool {
        let (few, many) = if gone.len() < self.0.len() { (gone, self.0.as_slice()) } else { (self.0.as_slice(), gone) };
        let gone: Vec<AgentId> = few.iter().copied().filter(|agent| many.binary_search(agent).is_ok()).collect();
        self.change(gone.into_iter().map(|agent| (agent, false)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn changes_together_are_as_one_after_another() {
        let (mut members, mut expected, mut number) = (Members::default(), BTreeSet::new(), 1_u64);
        for round in 0..300 {
            let before = expected.clone();
            let changes: Vec<_> = (0..round % 17)
                .map(|_| {
                    number = number.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                    (AgentId(number >> 33 & 31), number >> 63 == 0)
                })
                .collect();
            for (agent, joins) in &changes {
                if *joins {
                    expected.insert(*agent)
                } else {
                    expected.remove(agent)
                };
            }
            assert_eq!(members.change(changes), expected != before);
            assert!(members.0.iter().eq(&expected));
        }
    }

    #[test]
    fn who_is_gone_is_taken_out_whichever_list_is_the_shorter_one() {
        let every = |step: usize, until: u64| (0..until).step_by(step).map(AgentId).collect::<Vec<_>>();
        for (members, gone) in
            [(every(2, 60), every(3, 60)), (every(2, 60), every(20, 60)), (every(7, 60), every(1, 60))]
        {
            let mut all = Members(members.clone());
            assert!(all.remove(&gone));
            let left: Vec<_> = members.into_iter().filter(|agent| !gone.contains(agent)).collect();
            assert_eq!(all.0, left);
            assert!(!all.remove(&gone) && !all.remove(&[]));
        }
    }
}
