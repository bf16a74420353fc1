//! The calls of the harness around a hot swap.

use alloc::vec::Vec;

use wasm_engine_abi::{CallKind, kind};

use super::{Harness, Incoming};
use crate::{AgentId, Failure, StateWriter, Swappable};

impl<A: Swappable> Harness<A> {
    /// Calls `export_state`, and returns the state.
    ///
    /// # Errors
    /// The agent's failure.
    pub fn export_state(&mut self, frame: u64) -> Result<Vec<u8>, Failure> {
        self.open(frame, CallKind::Export, &[]);
        let (agent, frame, area) = self.raw_parts();
        agent.export_state(&mut StateWriter::new(frame, area))?;
        let bytes = frame.outbox_bytes as usize;
        Ok(area[..bytes].to_vec())
    }

    /// Calls `import_state`, with the state as the only message. What the agent asks for is dropped, as it is by the engine.
    ///
    /// # Errors
    /// The agent's failure.
    ///
    /// # Panics
    /// The state doesn't fit the inbox.
    pub fn import_state(&mut self, frame: u64, state: &[u8]) -> Result<(), Failure> {
        self.open(frame, CallKind::Import, &[Incoming::message(AgentId::ENGINE, kind::STATE, state)]);
        let (agent, mut ctx, mut inbox) = self.parts();
        let state = inbox.next().map_or(&[][..], |message| message.payload());
        agent.import_state(&mut ctx, state)
    }
}
