//! State that survives a hot swap: what an agent leaves for the module that takes its own's place.

use wasm_engine_abi::FrameContext;

use crate::{Agent, Context, Failure, OutboxFull};

/// An agent whose state survives a hot swap of its module, where both modules are [`agent!`](crate::agent!)s that are `swappable`.
///
/// The bytes are a matter between the two modules: put a version of your own first if there will be several. If one of the two
/// fails, the agent begins anew, with [`Agent::init`] alone.
pub trait Swappable: Agent {
    /// Called on the old module's agent. What it writes is handed to the new one's.
    ///
    /// # Errors
    /// Any [`Failure`]; `?` makes one of a state that is larger than the outbox area.
    fn export_state(&self, state: &mut StateWriter<'_>) -> Result<(), Failure>;

    /// Called on the new module's agent after its [`Agent::init`], in the same frame, before its messages. What either asks for
    /// is dropped: the agent isn't new, and its memberships are still there.
    ///
    /// # Errors
    /// Any [`Failure`], as for a state that it can't read.
    fn import_state(&mut self, ctx: &mut Context<'_>, state: &[u8]) -> Result<(), Failure>;
}

/// Where an agent writes its state: the outbox area, from its start. It must fit the new module's inbox area, too, behind a
/// header of 48 bytes.
#[derive(Debug)]
pub struct StateWriter<'a> {
    frame: &'a mut FrameContext,
    area: &'a mut [u8],
}

impl<'a> StateWriter<'a> {
    /// `area` is shorter than 2^32, and the frame's outbox is empty.
    pub(crate) const fn new(frame: &'a mut FrameContext, area: &'a mut [u8]) -> Self {
        Self { frame, area }
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// There is no room for all of them. None of them is written.
    #[expect(clippy::cast_possible_truncation, reason = "what fits the area is below 2^32")]
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), OutboxFull> {
        let used = self.frame.outbox_bytes as usize;
        let room = self.area.get_mut(used..).ok_or(OutboxFull)?;
        room.get_mut(..bytes.len()).ok_or(OutboxFull)?.copy_from_slice(bytes);
        self.frame.outbox_bytes += bytes.len() as u32;
        Ok(())
    }

    /// Bytes that were written so far.
    pub const fn len(&self) -> usize {
        self.frame.outbox_bytes as usize
    }

    /// Whether nothing was written so far.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
