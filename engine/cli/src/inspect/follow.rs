//! One agent through the frames: those in which something happened to it.

use serde::Serialize;
use wasm_engine_components::text::{Lines, Table};
use wasm_engine_components::{AgentId, FrameRecord, Lifecycle};
use wasm_engine_systems::inspect;

use super::ending::{self, Ending};
use super::view::View;
use crate::session::NotStarted;
use crate::travel::warn;
use wasm_engine_core::problem::{Problem, RunError};
use wasm_engine_core::simulation::Simulation;
use wasm_engine_core::time_travel::{RunReplayer, watch};

#[derive(Serialize)]
pub(super) struct FollowJson {
    agent: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<Ending>,
    /// The frame in which another agent got its place; none where that was before the first frame of a branch.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_frame: Option<u64>,
    #[serde(skip)]
    first_frame: u64,
    frames: Vec<FrameJson>,
}

#[derive(Serialize)]
struct FrameJson {
    frame: u64,
    lifecycle: &'static str,
    /// Number of messages that came to its mailbox.
    received: usize,
    sent: usize,
    waiting: usize,
    logged: usize,
    recorded: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<&'static str>,
}

/// Follows an agent through the run.
pub(super) fn follow(replayer: &RunReplayer<'_>, agent: AgentId) -> Result<FollowJson, NotStarted> {
    let (mut frames, mut before) = (Vec::new(), None);
    let (mut ended, mut next) = (None, None);
    let run = replayer.run;
    let mut visit = |record: &FrameRecord, simulation: &mut Simulation| {
        frames.extend(frame(record, simulation, agent, &mut before));
        if ended.is_none() && ending::has_ended(simulation.world(), agent) {
            ended = Some(record.frame);
        }
        if ended.is_some() && next.is_none() {
            next = ending::next(simulation.world(), agent).map(|next| (record.frame, next));
        }
    };
    let arrival = watch(replayer, run.first_frame(), run.end_frame(), &mut visit)?;
    warn(&arrival.warnings);
    if frames.is_empty() && ended.is_none() {
        let problem = Problem::new("there was no such agent in this run");
        let problem = problem.key(format!("--agent {}", run.scenario.agent_name(agent)));
        return Err(RunError::from(problem.help("`wasm-engine inspect` without --agent lists the groups")).into());
    }
    let first_frame = run.first_frame();
    let is_earlier = ended == Some(first_frame) && ending::ended_before(replayer, agent)?;
    let ended = ended.map(|frame| Ending {
        frame: Some(frame).filter(|_| !is_earlier),
        next: next.map(|(_, next)| run.scenario.agent_name(next)),
    });
    // An agent that had the place before the run's first frame got it in none of these frames.
    let next_frame = next.map(|(frame, _)| frame).filter(|&frame| !is_earlier || frame > first_frame);
    Ok(FollowJson { agent: run.scenario.agent_name(agent), ended, next_frame, first_frame, frames })
}

/// Returns what a frame was for the agent; `None` if it was nothing.
fn frame(
    record: &FrameRecord,
    simulation: &Simulation,
    id: AgentId,
    before: &mut Option<Lifecycle>,
) -> Option<FrameJson> {
    let world = simulation.world();
    let lifecycle = inspect::agent(world, id).map(|agent| agent.lifecycle);
    let changed = std::mem::replace(before, lifecycle) != lifecycle;
    let lifecycle = lifecycle?;
    let row = FrameJson {
        frame: record.frame,
        lifecycle: lifecycle.name(),
        received: inspect::inbox(world, id).len(),
        sent: inspect::sent(world).iter().filter(|message| message.header.sender == id.0).count(),
        waiting: inspect::backlog(world, id).len(),
        logged: record.logs.iter().filter(|line| line.agent == id).count(),
        recorded: record.outputs.iter().filter(|output| output.agent == id).count(),
        fault: record.faults.iter().find(|fault| fault.agent == id).map(|fault| fault.kind.name()),
    };
    let happened = row.received + row.sent + row.waiting + row.logged + row.recorded > 0;
    (changed || happened || row.fault.is_some()).then_some(row)
}

impl View for FollowJson {
    fn text(&self) -> Lines {
        let mut text = Lines::default();
        if !self.frames.is_empty() {
            text.line(format_args!("{}, in the frames in which something happened to it", self.agent));
            text.blank();
            text.append(&self.table());
        }
        if let Some(ended) = &self.ended {
            let next = match (&ended.next, self.next_frame) {
                (Some(next), Some(frame)) => format!("; {next} has its place from frame {frame} on"),
                (Some(next), None) => format!("; {next} has its place"),
                (None, _) => String::new(),
            };
            text.line(format_args!("{}{next}", ended.sentence(&self.agent, self.first_frame)));
        }
        text
    }
}

impl FollowJson {
    fn table(&self) -> Lines {
        let columns = ["frame", "state", "received", "sent", "waiting", "logged", "recorded", "fault"];
        let mut table = Table::new(columns);
        for frame in &self.frames {
            let numbers = [frame.received, frame.sent, frame.waiting, frame.logged, frame.recorded];
            let mut row = vec![frame.frame.to_string(), frame.lifecycle.to_owned()];
            row.extend(numbers.map(|number| number.to_string()));
            row.push(frame.fault.unwrap_or_default().to_owned());
            table.row(row);
        }
        table.lines()
    }
}
