//! A saved state, looked at without a world.

use wasm_engine_components::{AgentId, FaultHistory, JobData, Lifecycle, Recipient};

use super::agents::{history, lifecycle};
use super::message::{SavedMessage, decode_held, decode_places};
use super::section::{Reader, WorldState};

impl WorldState {
    /// Who has each place, or had it last, in the order of ids, and where each is in its life.
    pub fn agents(&self) -> impl Iterator<Item = (AgentId, Lifecycle)> {
        let entries = self.section("Lifecycle").into_iter().flat_map(|section| section.entries());
        entries.filter_map(|(id, value)| Some((AgentId(id), lifecycle(*value.first()?)?)))
    }

    /// What an agent's faults have led to.
    pub fn fault_history(&self, agent: AgentId) -> FaultHistory {
        let value = self.section("FaultHistory").and_then(|section| section.of(agent.0).next());
        value.and_then(|value| history(&mut Reader(value))).unwrap_or_default()
    }

    /// Messages of an agent's mailbox that were dropped so far.
    pub fn dropped(&self, agent: AgentId) -> u64 {
        let value = self.section("MailboxCounters").and_then(|section| section.of(agent.0).next());
        value.and_then(|value| Reader(value).u64()).unwrap_or(0)
    }

    /// What waits in an agent's mailbox, oldest first.
    pub fn backlog(&self, agent: AgentId) -> impl Iterator<Item = SavedMessage<'_>> {
        let value = self.section("Backlog").and_then(|section| section.of(agent.0).next());
        let held = self.section("HeldMessages");
        let places = value.zip(held).and_then(|(value, held)| decode_places(value, held.len()));
        places.into_iter().flatten().filter_map(move |place| {
            let (header, payload) = decode_held(held?.entry(place).1)?;
            Some(SavedMessage { to: Recipient::Agent(agent), header, payload })
        })
    }

    /// The messages that are delivered in the next frame, in canonical order: those of the host, then those of agents.
    pub fn messages(&self) -> impl Iterator<Item = SavedMessage<'_>> {
        let sections = ["Bounces", "NativeMessages", "Messages"].into_iter().filter_map(|name| self.section(name));
        sections.flat_map(|section| section.entries()).filter_map(|(_, value)| SavedMessage::decode(value))
    }

    /// What an inference job holds: its question, or its result.
    pub fn job_data(&self, job: wasm_engine_components::JobId) -> Option<JobData> {
        self.section("JobData")?.of(job.0).next().and_then(|value| Reader(value).serde())
    }
}
