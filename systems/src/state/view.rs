//! A saved state, looked at without a world.

use wasm_engine_components::{AgentId, FaultHistory, JobData, Lifecycle, Recipient};

use super::section::WorldState;
use crate::codec::{
    BacklogRuns, Bounces, HeldMessages, Job, Mailboxes, Messages, NativeMessages, Reader, SavedMessage, StateCodec,
    places,
};

impl WorldState {
    /// The first value of a kind under an id.
    fn value<C: StateCodec>(&self, id: u64) -> Option<C::Decoded<'_>> {
        let value = self.section(C::NAME)?.of(id).next()?;
        C::decode(&mut Reader(value))
    }

    /// Who has each place, or had it last, in the order of ids, and where each is in its life.
    pub fn agents(&self) -> impl Iterator<Item = (AgentId, Lifecycle)> {
        let entries = self.section(Lifecycle::NAME).into_iter().flat_map(|section| section.entries());
        entries.filter_map(|(id, value)| Some((AgentId(id), Lifecycle::decode(&mut Reader(value))?)))
    }

    /// What an agent's faults have led to.
    pub fn fault_history(&self, agent: AgentId) -> FaultHistory {
        self.value::<FaultHistory>(agent.0).unwrap_or_default()
    }

    /// Messages of an agent's mailbox that were dropped so far.
    pub fn dropped(&self, agent: AgentId) -> u64 {
        self.value::<Mailboxes>(agent.0).map_or(0, |mailbox| mailbox.dropped)
    }

    /// What waits in an agent's mailbox, oldest first.
    pub fn backlog(&self, agent: AgentId) -> impl Iterator<Item = SavedMessage<'_>> {
        let held = self.section(HeldMessages::NAME);
        let runs = self.value::<BacklogRuns>(agent.0);
        let places = runs.zip(held).and_then(|(runs, held)| places(runs, held.len()));
        places.into_iter().flatten().filter_map(move |place| {
            let (header, payload) = HeldMessages::decode(&mut Reader(held?.entry(place).1))?;
            Some(SavedMessage { to: Recipient::Agent(agent), header, payload })
        })
    }

    /// The messages that are delivered in the next frame, in canonical order: those of the host, then those of agents.
    pub fn messages(&self) -> impl Iterator<Item = SavedMessage<'_>> {
        let names = [Bounces::NAME, NativeMessages::NAME, Messages::NAME];
        let sections = names.into_iter().filter_map(|name| self.section(name));
        sections.flat_map(|section| section.entries()).filter_map(|(_, value)| SavedMessage::decode(&mut Reader(value)))
    }

    /// What an inference job holds: its question, or its result.
    pub fn job_data(&self, job: wasm_engine_components::JobId) -> Option<JobData> {
        self.value::<Job>(job.0).map(|(_, data)| data)
    }
}
