//! `wasm-engine inspect`: shows the state of a recorded run after any frame, one agent in that state or through the frames, or the
//! messages of a frame. The frames since the last snapshot are run again for it.

mod agent;
mod ending;
mod follow;
mod messages;
mod state;
mod view;

use clap::Args;
use wasm_engine_components::{AgentId, FrameRecord};

use super::session::{MachineArgs, NotStarted, RunDirArgs, SummaryForm, report_not_started};
use super::status::Status;
use super::terminal;
use super::travel::{open, replayer, warn};
use view::View;
use wasm_engine_core::problem::{Problem, RunError, nearest_name};
use wasm_engine_core::run_dir::{Access, Inference};
use wasm_engine_core::scenario::Scenario;
use wasm_engine_core::simulation::Simulation;
use wasm_engine_core::time_travel::{RunReplayer, watch};

#[derive(Debug, Args)]
pub(super) struct InspectArgs {
    #[command(flatten)]
    run: RunDirArgs,
    /// The frame after which to look [default: the last one]
    #[arg(long, value_name = "F", allow_negative_numbers = true)]
    at: Option<u64>,
    /// Look at this agent, such as `clerks/3`: with --at, at its mailbox and memory; without, at all that it did
    #[arg(long, value_name = "ID")]
    agent: Option<String>,
    /// List the messages that were sent in the frame
    #[arg(long)]
    messages: bool,
    #[command(flatten)]
    machine: MachineArgs,
    /// How to print it: as text, or as one line of JSON
    #[arg(long, value_enum, default_value_t = SummaryForm::Text)]
    summary: SummaryForm,
}

/// Runs the command.
pub(super) fn main(args: &InspectArgs) -> Status {
    match run(args) {
        Ok(()) => Status::Done,
        Err(why) => report_not_started(&why),
    }
}

fn run(args: &InspectArgs) -> Result<(), NotStarted> {
    let run = open(&args.run.run, Access::Read)?;
    warn(&run.warnings);
    let replayer = replayer(&run, &args.machine, Inference::Recorded);
    let agent = args.agent.as_deref().map(|name| agent_of(&run.scenario, name)).transpose();
    let agent = agent?;
    let Some(last) = run.last_frame() else {
        let problem = Problem::new("no frame of the run was recorded").file(&run.path);
        return Err(RunError::from(problem.help("`wasm-engine resume` goes on with it")).into());
    };
    let at = args.at.unwrap_or(last);
    match (agent, args.at, args.messages) {
        (Some(agent), None, false) => print(args, &follow::follow(&replayer, agent)?),
        (Some(agent), _, false) => {
            let (record, mut simulation) = after(&replayer, at)?;
            let ended = match ending::has_ended(simulation.world(), agent) {
                true => Some(ending::ending(&replayer, &run.scenario, simulation.world(), agent, at)?),
                false => None,
            };
            let shown = agent::AgentJson::new(&run, &record, &mut simulation, agent, ended);
            print(args, &shown?)
        }
        (agent, _, true) => {
            let (record, simulation) = after(&replayer, at)?;
            print(args, &messages::MessagesJson::new(&run.scenario, &record, &simulation, agent))
        }
        (None, _, false) => {
            let (record, mut simulation) = after(&replayer, at)?;
            print(args, &state::StateJson::new(&run, &record, &mut simulation))
        }
    }
}

fn print(args: &InspectArgs, view: &impl View) -> Result<(), NotStarted> {
    let printed = match args.summary {
        SummaryForm::Text => terminal::print(&view.text()),
        SummaryForm::Json => terminal::print_json(&serde_json::to_string(view).unwrap_or_default()),
    };
    Ok(printed?)
}

/// Returns the simulation right after a frame, and that frame's record.
fn after(replayer: &RunReplayer<'_>, frame: u64) -> Result<(FrameRecord, Simulation), NotStarted> {
    let mut last = FrameRecord::default();
    let arrival = watch(replayer, frame, frame.saturating_add(1), &mut |record, _| last = record.clone())?;
    warn(&arrival.warnings);
    Ok((last, arrival.simulation))
}

/// Finds the agent that a user names as `GROUP/ORDINAL`, with `#GENERATION` if the ordinal was used before.
fn agent_of(scenario: &Scenario, name: &str) -> Result<AgentId, Problem> {
    let problem = |what: String| Problem::new(what).key(format!("--agent {name}"));
    let form = || {
        problem("isn't the name of an agent".to_owned())
            .help("write GROUP/NUMBER, such as clerks/3, and clerks/3#1 for the second agent with that number")
    };
    let (group_name, rest) = name.rsplit_once('/').ok_or_else(form)?;
    let (ordinal, generation) = rest.split_once('#').unwrap_or((rest, "0"));
    let (Ok(ordinal), Ok(generation)) = (ordinal.parse(), generation.parse::<u32>()) else { return Err(form()) };
    let groups = || scenario.groups.iter().filter(|group| group.enabled);
    let Some(group) = groups().find(|group| group.name == group_name) else {
        let known = nearest_name(group_name, groups().map(|group| group.name.as_str()));
        return Err(problem(format!("there is no group `{group_name}`")).help(known.unwrap_or_default()));
    };
    if generation > AgentId::GENERATION_MAX {
        return Err(form());
    }
    Ok(AgentId::of_generation(group.id, ordinal, generation))
}
