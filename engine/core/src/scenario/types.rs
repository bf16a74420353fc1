//! A scenario after it was read and checked: every reference is resolved, every number is in range.

use std::path::{Path, PathBuf};

use wasm_engine_components::{
    AgentId, GroupId, GroupSpec, ModelSpec, RegionSpec, SchedulerSettings, Swap, Tenant, TopicSpec,
};

/// A checked scenario.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// Its name: the key `name`, or the file's stem.
    pub name: String,
    /// The file it was read from.
    pub path: PathBuf,
    /// The file's text, for the run directory.
    pub source: String,
    /// Seed of all random numbers. Default 0.
    pub seed: u64,
    /// Number of frames to run, at least 1.
    pub frames: u64,
    /// Simulated length of a frame in microseconds, told to the agents. Default 0: not stated.
    pub frame_period_us: u32,
    /// The entries of `[params]` after `--set`, as TOML text, sorted by name.
    pub params: Vec<(String, String)>,
    /// Modules, in the order of their names.
    pub modules: Vec<ModuleEntry>,
    /// Models, in the order of their names.
    pub models: Vec<ModelSpec>,
    /// Topics, in the order of their names.
    pub topics: Vec<TopicSpec>,
    /// Budgets of a frame, and which groups go first.
    pub scheduler: SchedulerSettings,
    /// Tenants, in the order of their names. The tenant at position `i` has the id `i`.
    pub tenants: Vec<Tenant>,
    /// Shared regions, in the order of their names.
    pub regions: Vec<RegionSpec>,
    /// Groups in the order of the file. The group at position `i` has the id `i + 1`, also where it is disabled.
    pub groups: Vec<GroupSpec>,
    /// The events file, if any: `-` is standard input.
    pub input: Option<PathBuf>,
    /// Expectations that are checked at the end.
    pub expect: Vec<Expectation>,
    /// Modules and models that are replaced while the run goes on, by frame. Those of groups that don't take part are left out.
    pub swaps: Vec<SwapEntry>,
}

impl Scenario {
    /// Returns whether its events come from standard input.
    pub fn reads_standard_input(&self) -> bool {
        self.input.as_deref() == Some(Path::new("-"))
    }

    /// Returns the group with that number.
    pub fn group(&self, id: GroupId) -> Option<&GroupSpec> {
        self.groups.get((id.0 as usize).checked_sub(1)?)
    }

    /// Returns an agent as users write it: `group/ordinal`, and `#generation` where it isn't the first with that ordinal.
    pub fn agent_name(&self, agent: AgentId) -> String {
        match self.group(agent.group()) {
            Some(group) => agent_in_group(&group.name, agent),
            None => agent.to_string(),
        }
    }
}

/// Returns an agent of the group with that name, as users write it.
pub(crate) fn agent_in_group(group: &str, agent: AgentId) -> String {
    match agent.generation() {
        0 => format!("{group}/{}", agent.ordinal()),
        generation => format!("{group}/{}#{generation}", agent.ordinal()),
    }
}

/// A WebAssembly module.
#[derive(Clone, Debug, PartialEq)]
pub struct ModuleEntry {
    /// Its name in the scenario.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// SHA-256 that the file must have, if the scenario says it.
    pub sha256: Option<[u8; 32]>,
}

/// Something that is replaced while the run goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SwapEntry {
    /// Frame at whose start it is carried out; `None` for a swap that is only prepared, for a command.
    pub frame: Option<u64>,
    /// The replacement. Modules are positions in [`Scenario::modules`].
    pub swap: Swap,
}

/// Something that must hold at the end of a run; if it doesn't, the run has failed.
#[derive(Clone, Debug, PartialEq)]
pub struct Expectation {
    /// Id of the group; `None` for the whole run, which has counts only.
    pub group: Option<GroupId>,
    /// The output's name, or the name of a count. The value of an output is the sum, over the group's agents, of the last number
    /// that each recorded under the name.
    pub output: String,
    /// The count that is expected; `None` for an output.
    pub count: Option<Counted>,
    /// Bound that the value must keep.
    pub value: ExpectedValue,
    /// Line of the scenario file.
    pub line: usize,
}

/// Count of a run or a group that an expectation may be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Agents that haven't ended.
    Agents,
    /// Faults, from the first frame on.
    Faults,
    /// Lines of the level `error` that agents logged, of the whole run.
    ErrorLines,
}

impl Counted {
    /// All counts, each with its name in a scenario.
    pub const ALL: [(&'static str, Self); 3] =
        [("agents", Self::Agents), ("faults", Self::Faults), ("error_lines", Self::ErrorLines)];
}

/// A bound for a value.
#[derive(Clone, Debug, PartialEq)]
pub enum ExpectedValue {
    /// Equal to this number.
    Equals(f64),
    /// At least this number.
    AtLeast(f64),
    /// At most this number.
    AtMost(f64),
    /// Equal to another output of the group.
    EqualsOutput(String),
}
