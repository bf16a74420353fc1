//! State that survives a hot swap: the trait for agents that hand it over to their new module, and the writer that they use.

use wasm_engine_abi::FrameContext;

use crate::{Agent, Context, Failure, OutboxFull};

/// An agent whose state survives a hot swap of its module, if both modules are [`agent!`](crate::agent!)s with the option `swappable`.
///
/// Only the two modules need to agree on the bytes: begin with a version number of your own if there will be several forms. If one of the two
/// calls fails, the agent begins anew, with [`Agent::init`] alone.
pub trait Swappable: Agent {
    /// Called on the agent of the old module. What it writes is handed to the agent of the new module.
    ///
    /// # Errors
    /// Any [`Failure`]. The operator `?` converts the error of a state that is larger than the outbox area into one.
    fn export_state(&self, state: &mut StateWriter<'_>) -> Result<(), Failure>;

    /// Called on the agent of the new module after its [`Agent::init`], in the same frame, before its messages. What the two calls ask for
    /// is dropped, because the agent isn't new: its memberships are still there.
    ///
    /// # Errors
    /// Any [`Failure`], such as one for a state that it can't read.
    fn import_state(&mut self, ctx: &mut Context<'_>, state: &[u8]) -> Result<(), Failure>;
}

/// Writes an agent's state into the outbox area, from its start. The state must also fit the new module's inbox area, behind a
/// header of 48 bytes.
#[derive(Debug)]
pub struct StateWriter<'a> {
    frame: &'a mut FrameContext,
    area: &'a mut [u8],
}

impl<'a> StateWriter<'a> {
    /// Returns a writer into `area`, which must be shorter than 2^32 bytes. The frame's outbox must be empty.
    pub(crate) const fn new(frame: &'a mut FrameContext, area: &'a mut [u8]) -> Self {
        Self { frame, area }
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// There is no room for all of them; none of them is written then.
    #[expect(clippy::cast_possible_truncation, reason = "what fits the area is below 2^32")]
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), OutboxFull> {
        let used = self.frame.outbox_bytes as usize;
        let room = self.area.get_mut(used..).ok_or(OutboxFull)?;
        room.get_mut(..bytes.len()).ok_or(OutboxFull)?.copy_from_slice(bytes);
        self.frame.outbox_bytes += bytes.len() as u32;
        Ok(())
    }

    /// Returns the number of bytes that were written so far.
    pub const fn len(&self) -> usize {
        self.frame.outbox_bytes as usize
    }

    /// Returns whether nothing was written so far.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
