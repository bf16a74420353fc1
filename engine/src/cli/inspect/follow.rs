//! One agent through the frames: those in which something happened to it.

use serde::Serialize;
use wasm_engine_components::{AgentId, FrameRecord, Lifecycle};
use wasm_engine_systems::look;

use super::{NotStarted, Shown, table, warn};
use crate::simulation::Simulation;
use crate::time_travel::{Traveller, watch};

#[derive(Serialize)]
pub(super) struct FollowJson {
    agent: String,
    frames: Vec<FrameJson>,
}

#[derive(Serialize)]
struct FrameJson {
    frame: u64,
    lifecycle: &'static str,
    /// Messages that came to its mailbox.
    received: usize,
    sent: usize,
    waiting: usize,
    logged: usize,
    recorded: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<&'static str>,
}

/// Follows an agent through the run.
pub(super) fn follow(traveller: &Traveller<'_>, agent: AgentId) -> Result<FollowJson, NotStarted> {
    let (mut frames, mut before) = (Vec::new(), None);
    let run = traveller.run;
    let mut visit = |record: &FrameRecord, simulation: &mut Simulation| {
        frames.extend(frame(record, simulation, agent, &mut before));
    };
    let arrival = watch(traveller, run.first_frame(), run.end_frame(), &mut visit)?;
    warn(&arrival.warnings);
    Ok(FollowJson { agent: run.scenario.agent_name(agent), frames })
}

/// What a frame was for the agent; `None` if it was nothing.
fn frame(
    record: &FrameRecord,
    simulation: &Simulation,
    id: AgentId,
    before: &mut Option<Lifecycle>,
) -> Option<FrameJson> {
    let world = simulation.world();
    let lifecycle = look::agent(world, id).map(|agent| agent.lifecycle);
    let changed = std::mem::replace(before, lifecycle) != lifecycle;
    let lifecycle = lifecycle?;
    let row = FrameJson {
        frame: record.frame,
        lifecycle: lifecycle.name(),
        received: look::inbox(world, id).len(),
        sent: look::sent(world).iter().filter(|message| message.header.sender == id.0).count(),
        waiting: look::backlog(world, id).len(),
        logged: record.logs.iter().filter(|line| line.agent == id).count(),
        recorded: record.outputs.iter().filter(|output| output.agent == id).count(),
        fault: record.faults.iter().find(|fault| fault.agent == id).map(|fault| fault.kind.name()),
    };
    let happened = row.received + row.sent + row.waiting + row.logged + row.recorded > 0;
    (changed || happened || row.fault.is_some()).then_some(row)
}

impl Shown for FollowJson {
    fn text(&self) -> String {
        if self.frames.is_empty() {
            return format!("there was no agent {} in this run\n", self.agent);
        }
        let row = |frame: &FrameJson| {
            let numbers = [frame.received, frame.sent, frame.waiting, frame.logged, frame.recorded];
            let mut row = vec![frame.frame.to_string(), frame.lifecycle.to_owned()];
            row.extend(numbers.map(|number| number.to_string()));
            row.push(frame.fault.unwrap_or_default().to_owned());
            row
        };
        let rows: Vec<_> = self.frames.iter().map(row).collect();
        let columns = ["frame", "state", "received", "sent", "waiting", "logged", "recorded", "fault"];
        format!("{}, in the frames in which something happened to it\n\n{}", self.agent, table(&columns, &rows))
    }
}
