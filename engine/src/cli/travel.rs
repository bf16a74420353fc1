//! What the commands that open a run have in common: opening it, and telling where a replay parts from it.

use std::path::Path;

use bevy_app::App;
use serde::Serialize;
use wasm_engine_components::Lane;
use wasm_engine_components::text::Lines;
use wasm_engine_systems::state::{StateDifference, StateEntity};

use super::session::{MachineArgs, NotStarted};
use super::terminal::say;
use crate::files::hex;
use crate::inference::Inference;
use crate::run_dir::{Access, OpenRun};
use crate::scenario::Scenario;
use crate::summary::Named;
use crate::time_travel::{
    Compared, Comparison, DIFFERENCES_MAX, Divergence, MemoryDifference, MemoryPart, Stop, Traveller,
};

/// How many bytes of a value are shown.
const BYTES_SHOWN: usize = 16;
/// What the two sides of a divergence are called.
const RECORDED_AND_NOW: [&str; 2] = ["recorded", "now"];

/// Opens a run directory.
pub(super) fn open(path: &Path, access: Access) -> Result<OpenRun, NotStarted> {
    let run = OpenRun::open(path, access).map_err(NotStarted::Input)?;
    let (recorded, here) = (&run.manifest.engine, env!("CARGO_PKG_VERSION"));
    if recorded != here {
        say(format_args!("warning: recorded by wasm-engine {recorded}, and this is {here}: digests may differ"));
    }
    Ok(run)
}

/// Travels in a run on this machine.
pub(super) fn traveller<'a>(run: &'a OpenRun, machine: &MachineArgs, inference: Inference) -> Traveller<'a> {
    Traveller { run, options: machine.options(), inference, author: &no_plugins }
}

fn no_plugins(_: &mut App) {}

/// Says what a person should know.
pub(super) fn warn(warnings: &[String]) {
    warnings.iter().for_each(|warning| say(format_args!("warning: {warning}")));
}

/// Why a run stopped, in one sentence.
pub(super) fn stop_text(stop: &Stop) -> String {
    match stop {
        Stop::Error(error) => error.to_string(),
        Stop::Diverged(divergence) => divergence_head(divergence),
    }
}

fn divergence_head(divergence: &Divergence) -> String {
    let lanes: Vec<_> = divergence.lanes.iter().map(|lane| lane.name()).collect();
    format!("frame {} doesn't come out as it was recorded: it differs in {}", divergence.frame, lanes.join(", "))
}

/// A divergence for people.
pub(super) fn divergence_text(divergence: &Divergence, scenario: &Scenario) -> Lines {
    let mut text = Lines::default();
    let mut line = |key: &str, value: &str| text.line(format_args!("  {key:<10} {value}"));
    line("frame", &divergence.frame.to_string());
    if let Some(stage) = divergence.stage() {
        line("stage", &format!("{stage:?}"));
    }
    let lanes: Vec<_> = divergence.lanes.iter().map(|lane| lane.name()).collect();
    line("lanes", &lanes.join(", "));
    line("digest", &format!("recorded {}, now {}", divergence.recorded, divergence.found));
    if !divergence.components.is_empty() {
        line("components", &divergence.components.join(", "));
    }
    if let Some(row) = &divergence.inference {
        let shown = |row: &Option<crate::journal::RecordedRow>| {
            row.as_ref().map_or("none".to_owned(), |row| format!("{:?} {}", row.status, start(&row.output, 0)))
        };
        line("model row", &format!("{}: recorded {}, now {}", row.row, shown(&row.recorded), shown(&row.computed)));
    }
    line("compared", &compared_text(divergence.compared));
    if let Some(trouble) = &divergence.trouble {
        line("trouble", trouble);
    }
    let sides = match divergence.compared {
        Compared::SecondExecution => ["the second time", "now"],
        _ => RECORDED_AND_NOW,
    };
    text.append(&comparison_text(&divergence.comparison, scenario, sides));
    text
}

fn compared_text(compared: Compared) -> String {
    match compared {
        Compared::Nothing => {
            "with nothing: no snapshot has the recorded values, and a second execution gave the same as this one; record \
             with --snapshot-every 1 to have them"
                .to_owned()
        }
        Compared::Recorded => "with the recorded values, of the snapshot after this frame".to_owned(),
        Compared::SecondExecution => "with a second execution of this frame, which gave yet another result".to_owned(),
        Compared::Later(frame) => format!("with the recorded values of a later frame: the snapshot before frame {frame}"),
    }
}

/// What differs between two states, for people. `sides` are what the two are called.
pub(super) fn comparison_text(comparison: &Comparison, scenario: &Scenario, sides: [&str; 2]) -> Lines {
    let [left, right] = sides;
    let mut text = Lines::default();
    for difference in &comparison.state {
        let StateDifference { lane, stage, component, entity, offset, .. } = difference;
        text.line(format_args!(
            "  {stage:?}, lane {}: {component} of {}, byte {offset}",
            lane.name(),
            entity_name(entity, scenario)
        ));
        let side =
            |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or("not there".to_owned(), |bytes| start(bytes, *offset));
        text.line(format_args!("    {left}: {}", side(&difference.left)));
        text.line(format_args!("    {right}: {}", side(&difference.right)));
    }
    if comparison.state_cut {
        text.line("  and perhaps more in the world's state: no more were looked for");
    }
    for MemoryDifference { agent, part, offset, left: a, right: b } in &comparison.memories {
        let part = match part {
            MemoryPart::Linear => "memory",
            MemoryPart::Globals => "globals",
        };
        text.line(format_args!("  Step, {part} of {}, byte {offset:#x}", scenario.agent_name(*agent)));
        text.line(format_args!("    {left}: {}", start(a, 0)));
        text.line(format_args!("    {right}: {}", start(b, 0)));
    }
    if comparison.memories_cut {
        text.line(format_args!("  and more in memories: {DIFFERENCES_MAX} are shown"));
    }
    text
}

/// Some bytes from an offset on.
fn start(bytes: &[u8], offset: usize) -> String {
    let rest = bytes.get(offset..).unwrap_or_default();
    let shown = &rest[..rest.len().min(BYTES_SHOWN)];
    match (shown.is_empty(), rest.len() > shown.len()) {
        (true, _) => "nothing further".to_owned(),
        (_, true) => format!("{}…", hex(shown)),
        (_, false) => hex(shown),
    }
}

/// What an entry of the state belongs to, as users write it.
pub(super) fn entity_name(entity: &StateEntity, scenario: &Scenario) -> String {
    let group =
        |id| scenario.group(id).map_or_else(|| format!("group {}", id.0), |group| format!("group {}", group.name));
    match entity {
        StateEntity::World => "the world".to_owned(),
        StateEntity::Agent(agent) => scenario.agent_name(*agent),
        StateEntity::Group(id) => group(*id),
        StateEntity::Topic(id) => {
            let topic = scenario.topics.iter().find(|topic| topic.id == *id);
            topic.map_or_else(|| format!("topic {:#x}", id.0), |topic| format!("topic {}", topic.name))
        }
        StateEntity::Region(id) => {
            let region = scenario.regions.iter().find(|region| region.id == *id);
            region.map_or_else(|| format!("region {:#x}", id.0), |region| format!("region {}", region.name))
        }
        StateEntity::Model(id) => {
            let model = scenario.models.iter().find(|model| model.id == *id);
            model.map_or_else(|| format!("model {:#x}", id.0), |model| format!("model {}", model.name))
        }
        other => other.to_string(),
    }
}

/// A divergence as JSON.
#[derive(Serialize)]
pub(super) struct DivergenceJson {
    frame: u64,
    stage: Option<String>,
    lanes: Vec<&'static str>,
    recorded_digest: String,
    digest: String,
    components: Vec<String>,
    compared: &'static str,
    #[serde(flatten)]
    comparison: ComparisonJson,
}

/// What differs between two states, as JSON.
#[derive(Serialize)]
pub(super) struct ComparisonJson {
    differences: Vec<DifferenceJson>,
    /// Whether there may be more, besides memories.
    state_cut: bool,
    /// Whether there are more memories.
    memories_cut: bool,
}

/// One difference as JSON.
#[derive(Serialize)]
struct DifferenceJson {
    stage: String,
    lane: &'static str,
    component: String,
    entity: String,
    byte: usize,
    /// The two values in hex, under the names of their sides.
    #[serde(flatten)]
    values: Named<Option<String>>,
}

impl DivergenceJson {
    pub fn new(divergence: &Divergence, scenario: &Scenario) -> Self {
        Self {
            frame: divergence.frame,
            stage: divergence.stage().map(|stage| format!("{stage:?}")),
            lanes: divergence.lanes.iter().map(|lane| lane.name()).collect(),
            recorded_digest: divergence.recorded.to_string(),
            digest: divergence.found.to_string(),
            components: divergence.components.clone(),
            compared: match divergence.compared {
                Compared::Nothing => "nothing",
                Compared::Recorded => "recorded",
                Compared::SecondExecution => "second_execution",
                Compared::Later(_) => "later_snapshot",
            },
            comparison: ComparisonJson::new(
                &divergence.comparison,
                scenario,
                match divergence.compared {
                    Compared::SecondExecution => ["second", "now"],
                    _ => RECORDED_AND_NOW,
                },
            ),
        }
    }
}

impl ComparisonJson {
    /// `sides` are what the two are called.
    pub fn new(comparison: &Comparison, scenario: &Scenario, sides: [&str; 2]) -> Self {
        let values = |left, right| Named(sides.map(str::to_owned).into_iter().zip([left, right]).collect());
        let state = comparison.state.iter().map(|difference| DifferenceJson {
            stage: format!("{:?}", difference.stage),
            lane: difference.lane.name(),
            component: difference.component.clone(),
            entity: entity_name(&difference.entity, scenario),
            byte: difference.offset,
            values: values(difference.left.as_deref().map(hex), difference.right.as_deref().map(hex)),
        });
        let memories = comparison.memories.iter().map(|difference| DifferenceJson {
            stage: "Step".to_owned(),
            lane: Lane::Memories.name(),
            component: match difference.part {
                MemoryPart::Linear => "memory".to_owned(),
                MemoryPart::Globals => "globals".to_owned(),
            },
            entity: scenario.agent_name(difference.agent),
            byte: difference.offset,
            values: values(Some(hex(&difference.left)), Some(hex(&difference.right))),
        });
        let (state_cut, memories_cut) = (comparison.state_cut, comparison.memories_cut);
        Self { differences: state.chain(memories).collect(), state_cut, memories_cut }
    }
}

#[cfg(test)]
mod tests {
    use wasm_engine_components::{AgentId, Digest, GroupId};

    use super::*;
    use crate::scenario::{LoadOptions, parse};

    fn scenario() -> Scenario {
        let text = "frames = 1\nmodules.a.path = \"a.wasm\"\n[[groups]]\nname = \"g\"\nmodule = \"a\"\nagents = 2\n";
        let options = LoadOptions { recorded: true, ..LoadOptions::default() };
        parse(text.to_owned(), Path::new("s.toml"), &options).unwrap()
    }

    fn divergence(compared: Compared) -> Divergence {
        let memory = MemoryDifference {
            agent: AgentId::new(GroupId(1), 1),
            part: MemoryPart::Linear,
            offset: 8,
            left: vec![1],
            right: vec![2],
        };
        Divergence {
            frame: 7,
            recorded: Digest(1),
            found: Digest(2),
            lanes: vec![Lane::Memories],
            components: Vec::new(),
            inference: None,
            compared,
            comparison: Comparison { memories: vec![memory], memories_cut: true, ..Comparison::default() },
            trouble: None,
        }
    }

    #[test]
    fn the_sides_of_a_divergence_are_called_what_they_are() {
        let scenario = scenario();
        for (compared, side) in
            [(Compared::Recorded, "recorded"), (Compared::Later(9), "recorded"), (Compared::SecondExecution, "second")]
        {
            let divergence = divergence(compared);
            let json = serde_json::to_value(DivergenceJson::new(&divergence, &scenario)).unwrap();
            let difference = &json["differences"][0];
            assert_eq!((&difference[side], &difference["now"]), (&"01".into(), &"02".into()), "{json}");
            assert_eq!((&json["state_cut"], &json["memories_cut"]), (&false.into(), &true.into()));
            let text = divergence_text(&divergence, &scenario).to_string();
            assert!(text.contains("\n  Step, memory of g/1, byte 0x8\n"), "{text}");
            assert!(text.ends_with("    now: 02\n  and more in memories: 16 are shown\n"), "{text}");
        }
    }
}
