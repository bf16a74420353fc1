//! The groups that hear each group. Groups don't change in a run, so that this is worked out once, and a frame looks only at groups that
//! take a message.

use std::collections::BTreeMap;

use wasm_engine_abi::message::sender;
use wasm_engine_components::{AgentId, GroupIndex};

use crate::world::groups::Groups;

/// The groups that take the messages of each group. Groups with the same hearers share one list. Transient: made from the groups.
#[derive(Debug, Default)]
pub(crate) struct Hearers {
    /// The lists of each group by its index, and at the end those of the host: indexes in `along` and `later`.
    lists: Vec<SenderLists>,
    along: Vec<Along>,
    later: Vec<Later>,
}

/// A list of the groups that hear a sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum HearerList {
    /// Of those that take its messages in the frame in which they are sent: see [`Hearers::along`].
    Along(u32),
    /// Of those that take them in the next frame: see [`Hearers::later`].
    Later(u32),
}

/// The groups that take a group's messages in the frame in which they are sent.
#[derive(Debug, Default)]
pub(crate) struct Along {
    /// Their indexes, ascending.
    pub groups: Vec<GroupIndex>,
    /// The same, wave by wave.
    by_wave: Vec<GroupIndex>,
    /// The waves, ascending, and where the groups of each end in `by_wave`.
    waves: Vec<(u32, usize)>,
}

/// The lists of one sender.
#[derive(Clone, Copy, Debug)]
struct SenderLists {
    along: u32,
    later: u32,
}

impl Along {
    fn new(all: &Groups, groups: &[GroupIndex]) -> Self {
        let wave = |group: GroupIndex| all[group].wave;
        let mut along = Self { groups: groups.to_vec(), by_wave: groups.to_vec(), waves: Vec::new() };
        along.by_wave.sort_by_key(|&group| wave(group));
        let mut end = 0;
        for groups in along.by_wave.chunk_by(|&one, &other| wave(one) == wave(other)) {
            end += groups.len();
            along.waves.push((wave(groups[0]), end));
        }
        along
    }

    /// Returns those that are called in a wave, ascending.
    pub(crate) fn in_wave(&self, wave: u32) -> &[GroupIndex] {
        let found = self.waves.partition_point(|&(earlier, _)| earlier < wave);
        match self.waves.get(found) {
            Some(&(same, end)) if same == wave => {
                let start = found.checked_sub(1).map_or(0, |before| self.waves[before].1);
                &self.by_wave[start..end]
            }
            _ => &[],
        }
    }
}

/// The groups that take a group's messages in the next frame: all groups that accept everybody, without those in `had`, and with
/// those in `choosy`.
#[derive(Debug, Default)]
pub(crate) struct Later {
    /// Indexes of groups that accept everybody and got the messages along edges, ascending.
    pub had: Vec<GroupIndex>,
    /// Indexes of groups that say whose messages they accept, ascending.
    pub choosy: Vec<GroupIndex>,
}

impl Hearers {
    /// Finds out which groups hear which.
    pub(crate) fn of(groups: &Groups) -> Self {
        let host = groups.len();
        let (mut along, mut had, mut choosy) = (vec![vec![]; host + 1], vec![vec![]; host + 1], vec![vec![]; host + 1]);
        for (group, index) in groups.iter().zip((0..).map(GroupIndex)) {
            for &id in &group.spec.after {
                let Some(from) = groups.find(id) else { continue };
                if group.spec.accepts.is_none() {
                    had[from.index()].push(index);
                }
                if group.takes_from(AgentId::new(id, 0)) {
                    along[from.index()].push(index);
                }
            }
            for &id in group.spec.accepts.iter().flatten().filter(|&&id| !group.comes_after(id)) {
                if let Some(from) = groups.find(id)
                    && choosy[from.index()].last() != Some(&index)
                {
                    choosy[from.index()].push(index);
                }
            }
            if group.spec.accepts.is_some() {
                choosy[host].push(index);
            }
        }
        let mut hearers = Self::default();
        let (mut along_known, mut later_known) = (BTreeMap::new(), BTreeMap::new());
        for ((along, had), choosy) in along.into_iter().zip(had).zip(choosy) {
            let along = *along_known.entry(along).or_insert_with_key(|heard_by| {
                hearers.along.push(Along::new(groups, heard_by));
                hearers.along.len() as u32 - 1
            });
            let later = *later_known.entry((had, choosy)).or_insert_with_key(|(had, choosy)| {
                hearers.later.push(Later { had: had.clone(), choosy: choosy.clone() });
                hearers.later.len() as u32 - 1
            });
            hearers.lists.push(SenderLists { along, later });
        }
        hearers
    }

    /// Returns the list of the groups that hear a sender in the frame in which it sends.
    pub(crate) fn along_list(&self, groups: &Groups, from: AgentId) -> HearerList {
        HearerList::Along(self.lists_of(groups, from).along)
    }

    /// Returns the list of the groups that hear a sender in the next frame.
    pub(crate) fn later_list(&self, groups: &Groups, from: AgentId) -> HearerList {
        HearerList::Later(self.lists_of(groups, from).later)
    }

    fn lists_of(&self, groups: &Groups, from: AgentId) -> SenderLists {
        let host = self.lists.len() - 1;
        let is_host = from.0 <= sender::NATIVE;
        let index = if is_host { host } else { groups.find(from.group()).map_or(host, GroupIndex::index) };
        self.lists[index]
    }

    /// Returns the groups of a list [`HearerList::Along`].
    pub(crate) fn along(&self, list: u32) -> &Along {
        &self.along[list as usize]
    }

    /// Returns the groups of a list [`HearerList::Later`].
    pub(crate) fn later(&self, list: u32) -> &Later {
        &self.later[list as usize]
    }
}
