//! The members of a topic, group by group: a group that doesn't accept the sender of a message is skipped at once, however many members of the
//! topic it has.

use std::ops::Range;

use wasm_engine_components::{AgentId, AgentSlot, GroupIndex, TopicIndex};

use crate::world::hearers::{HearerList, Hearers};
use crate::world::looks::look;
use crate::world::sent::{Arrival, Sent};

/// Members of a topic that are of one group.
#[derive(Debug)]
struct Run {
    group: GroupIndex,
    /// Range of the group's members in the topic's list.
    members: Range<usize>,
    /// Number that a message to all of them counts for against budgets of deliveries, for each unit of its size.
    weight: u64,
    /// Their slots. They are looked up when the first message is delivered to them.
    slots: Option<Vec<AgentSlot>>,
}

/// The members of a topic, group by group.
#[derive(Debug)]
pub(crate) struct TopicRuns {
    topic: TopicIndex,
    /// Ascending by group.
    runs: Vec<Run>,
    /// The weight of all runs whose groups accept messages of everybody.
    open_weight: u64,
}

impl TopicRuns {
    /// Finds the runs of a topic.
    pub(crate) fn of(sent: &Sent<'_, '_, '_>, topic: TopicIndex) -> Self {
        let all = sent.members(topic);
        let mut found = Self { topic, runs: Vec::new(), open_weight: 0 };
        let mut start = 0;
        while let Some(first) = all.get(start) {
            look(1);
            let id = first.group();
            let end = start + all[start..].partition_point(|member| member.group() == id);
            if let Some(index) = sent.directory.group_index(id) {
                let group = &sent.directory.groups[index];
                let weight = (end - start) as u64 * group.delivery_weight();
                if group.spec.accepts.is_none() {
                    found.open_weight += weight;
                }
                found.runs.push(Run { group: index, members: start..end, weight, slots: None });
            }
            start = end;
        }
        found
    }

    /// Returns what a message counts for all members in the groups of a list.
    pub(crate) fn weight(&self, hearers: &Hearers, list: HearerList) -> u64 {
        match list {
            HearerList::Along(index) => self.weight_of(&hearers.along(index).groups),
            HearerList::Later(index) => {
                let later = hearers.later(index);
                self.open_weight - self.weight_of(&later.had) + self.weight_of(&later.choosy)
            }
        }
    }

    fn weight_of(&self, groups: &[GroupIndex]) -> u64 {
        let mut weight = 0;
        self.each_among(groups, |_, run| weight += run.weight);
        weight
    }

    /// Returns the waves in which a message arrives at members in the groups of a list, ascending. There are none for a list of the next frame.
    pub(crate) fn waves(&self, sent: &Sent<'_, '_, '_>, list: HearerList) -> Vec<u32> {
        let mut waves = Vec::new();
        let HearerList::Along(list) = list else { return waves };
        let groups = &sent.directory.hearers.along(list).groups;
        self.each_among(groups, |_, run| waves.push(sent.directory.groups[run.group].wave));
        waves.sort_unstable();
        waves.dedup();
        waves
    }

    /// Returns the indexes of the runs that get a message of `from` at an arrival. `list` is that of who hears it then.
    pub(crate) fn choose(
        &self,
        sent: &Sent<'_, '_, '_>,
        (from, list): (AgentId, HearerList),
        arrival: Arrival,
    ) -> Vec<u32> {
        let mut chosen = Vec::new();
        if let (Arrival::Wave(wave), HearerList::Along(list)) = (arrival, list) {
            let groups = sent.directory.hearers.along(list).in_wave(wave);
            self.each_among(groups, |index, _| chosen.push(index));
        } else {
            look(self.runs.len());
            let takes = |run: &Run| sent.takes(&sent.directory.groups[run.group], from, arrival);
            chosen.extend(self.runs.iter().zip(0..).filter(|(run, _)| takes(run)).map(|(_, index)| index));
        }
        chosen
    }

    /// Returns the slots of a run's members, ascending.
    pub(crate) fn slots(&mut self, sent: &Sent<'_, '_, '_>, run: u32) -> &[AgentSlot] {
        let Run { members, slots, .. } = &mut self.runs[run as usize];
        slots.get_or_insert_with(|| {
            let members = &sent.members(self.topic)[members.clone()];
            look(members.len());
            members.iter().filter_map(|&member| sent.directory.slot(member)).collect()
        })
    }

    /// Calls `visit` with the index of each run whose group is among `groups`, and with the run, ascending. Both lists ascend by group: where one is
    /// much shorter than the other, its groups are searched for in the other; else both are gone through side by side.
    fn each_among(&self, groups: &[GroupIndex], mut visit: impl FnMut(u32, &Run)) {
        /// Ratio of lengths from which on the longer list is searched.
        const SEARCHED_IF_LONGER: usize = 16;
        if self.runs.len() * SEARCHED_IF_LONGER < groups.len() {
            look(self.runs.len());
            let is_among = |run: &Run| groups.binary_search(&run.group).is_ok();
            self.runs.iter().zip(0..).filter(|(run, _)| is_among(run)).for_each(|(run, index)| visit(index, run));
            return;
        }
        let is_searched = groups.len() * SEARCHED_IF_LONGER < self.runs.len();
        look(groups.len() + if is_searched { 0 } else { self.runs.len() });
        let mut index = 0;
        for &group in groups {
            let rest = &self.runs[index..];
            index += if is_searched {
                rest.partition_point(|run| run.group < group)
            } else {
                rest.iter().take_while(|run| run.group < group).count()
            };
            if let Some(run) = self.runs.get(index).filter(|run| run.group == group) {
                // A topic has fewer runs than there are groups.
                visit(index as u32, run);
            }
        }
    }
}
