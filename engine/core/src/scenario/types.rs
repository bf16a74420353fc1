//! A scenario after it was read and checked: every reference is resolved, every number is in range.

use std::path::{Path, PathBuf};

use wasm_engine_components::{
    AgentId, GroupId, GroupSpec, ModelSpec, RegionSpec, SchedulerSettings, Swap, Tenant, TopicSpec,
};

/// What to run.
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
    /// How many frames to run, at least 1.
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
    /// What a frame may cost, and who goes first.
    pub scheduler: SchedulerSettings,
    /// Tenants, in the order of their names. The tenant at position `i` has the id `i`.
    pub tenants: Vec<Tenant>,
    /// Shared regions, in the order of their names.
    pub regions: Vec<RegionSpec>,
    /// Groups in the order of the file. The group at position `i` has the id `i + 1`, also where it is disabled.
    pub groups: Vec<GroupSpec>,
    /// The events file, if any: `-` is standard input.
    pub input: Option<PathBuf>,
    /// What must hold at the end.
    pub expect: Vec<Expectation>,
    /// Modules and models that are replaced while the run goes on, by frame. Those of groups that don't take part are left out.
    pub swaps: Vec<SwapEntry>,
}

impl Scenario {
    /// Whether its events come from standard input.
    pub fn reads_standard_input(&self) -> bool {
        self.input.as_deref() == Some(Path::new("-"))
    }

    /// The group with that number.
    pub fn group(&self, id: GroupId) -> Option<&GroupSpec> {
        self.groups.get((id.0 as usize).checked_sub(1)?)
    }

    /// An agent as users write it: `group/ordinal`, and `#generation` where it isn't the first with that ordinal.
    pub fn agent_name(&self, agent: AgentId) -> String {
        match self.group(agent.group()) {
            Some(group) => agent_in_group(&group.name, agent),
            None => agent.to_string(),
        }
    }
}

/// An agent of the group with that name, as users write it.
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
    /// What the file must hash to, if the scenario says so.
    pub sha256: Option<[u8; 32]>,
}

/// Something that is replaced while the run goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SwapEntry {
    /// At the start of which frame; `None` for one that is only prepared, for whoever asks for it.
    pub frame: Option<u64>,
    /// What, and by what: modules by their position in [`Scenario::modules`].
    pub swap: Swap,
}

/// Something that must hold at the end of a run; if it doesn't, the run has failed.
#[derive(Clone, Debug, PartialEq)]
pub struct Expectation {
    /// Whose: a group's number; none for the whole run, of which only what is counted is known.
    pub group: Option<GroupId>,
    /// The output's name. The value is the sum over the group's agents of the last number that each recorded under it.
    /// Where something is counted instead, this is its name.
    pub output: String,
    /// What is counted, where it isn't an output that is expected.
    pub count: Option<Counted>,
    /// What it must be.
    pub value: ExpectedValue,
    /// Line of the scenario file.
    pub line: usize,
}

/// What is counted of a run or a group.
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
    /// Each with its name in a scenario.
    pub const ALL: [(&'static str, Self); 3] =
        [("agents", Self::Agents), ("faults", Self::Faults), ("error_lines", Self::ErrorLines)];
}

/// What an output must be.
#[derive(Clone, Debug, PartialEq)]
pub enum ExpectedValue {
    /// This number.
    Equals(f64),
    /// At least this number.
    AtLeast(f64),
    /// At most this number.
    AtMost(f64),
    /// The same as another output of the group.
    EqualsOutput(String),
}
