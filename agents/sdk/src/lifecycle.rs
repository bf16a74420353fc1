//! The methods of [`Context`] that change the lives of agents: spawning, commands and timers.

use wasm_engine_abi::Op;

use crate::{AgentId, Context, OutboxFull};

/// Lives and timers. An agent may give commands to itself, and to agents of the groups that its own group controls or supervises, as the
/// scenario says. Commands take effect at the start of the next frame. A command that can't be carried out comes back
/// as a bounce: [`crate::Message::bounce`] returns why, and [`crate::Message::bounced_from`] the agent or group that it was for.
///
/// ```
/// use wasm_engine_sdk::testing::{Harness, Incoming, Output};
/// use wasm_engine_sdk::{Agent, AgentId, Context, Failure, Message};
///
/// /// Keeps one agent of group 2 alive.
/// #[derive(Default)]
/// struct Keeper {
///     child: Option<AgentId>,
/// }
///
/// impl Agent for Keeper {
///     fn receive(&mut self, ctx: &mut Context<'_>, message: &Message<'_>) -> Result<(), Failure> {
///         if let Some(child) = message.spawned() {
///             self.child = Some(child);
///         }
///         if let Some(notice) = message.notice().filter(|notice| notice.escalated) {
///             ctx.restart(notice.agent)?;
///         }
///         Ok(())
///     }
///
///     fn step(&mut self, ctx: &mut Context<'_>) -> Result<(), Failure> {
///         if self.child.is_none() {
///             ctx.spawn(2, 0)?;
///         }
///         Ok(())
///     }
/// }
///
/// let mut keeper = Harness::new(Keeper::default(), 4096, 4096);
/// let spawn = Output::Spawn { group: 2, kind: 0, correlation: 0, payload: vec![] };
/// assert_eq!(keeper.step(1, &[]), Ok(vec![spawn]));
/// let child = AgentId::of_generation(2, 0, 3);
/// assert_eq!(keeper.step(2, &[Incoming::spawned(child)]), Ok(vec![]));
/// assert_eq!(keeper.agent().child, Some(child));
/// ```
impl Context<'_> {
    /// Spawns an agent in a group. It is initialised in the next frame. In that frame, this agent finds a message for which
    /// [`crate::Message::spawned`] returns the new agent, or a bounce. Both have the `correlation`. This needs the capability `spawn`.
    ///
    /// # Errors
    /// The outbox has no room.
    pub fn spawn(&mut self, group: u32, correlation: u64) -> Result<(), OutboxFull> {
        self.push(Op::Spawn, group.into(), correlation, 0, &[])
    }

    /// Spawns an agent like [`spawn`](Self::spawn), with a first message for it, which is delivered in the frame after its `init`. If the
    /// payload is empty, there is no message.
    ///
    /// # Errors
    /// The outbox has no room.
    pub fn spawn_with(&mut self, group: u32, kind: u32, correlation: u64, payload: &[u8]) -> Result<(), OutboxFull> {
        self.push(Op::Spawn, group.into(), correlation, kind, payload)
    }

    /// Pauses an active agent: it isn't stepped until it is resumed. This needs the capability `control`, as the next three do.
    ///
    /// # Errors
    /// The outbox has no room.
    pub fn pause(&mut self, agent: AgentId) -> Result<(), OutboxFull> {
        self.push(Op::Pause, agent.0, 0, 0, &[])
    }

    /// Resumes a paused agent.
    ///
    /// # Errors
    /// The outbox has no room.
    pub fn resume(&mut self, agent: AgentId) -> Result<(), OutboxFull> {
        self.push(Op::Resume, agent.0, 0, 0, &[])
    }

    /// Terminates an agent, after a last call of [`crate::Agent::shutdown`] if its module exports that.
    ///
    /// # Errors
    /// The outbox has no room.
    pub fn terminate(&mut self, agent: AgentId) -> Result<(), OutboxFull> {
        self.push(Op::Terminate, agent.0, 0, 0, &[])
    }

    /// Restarts an agent: it is initialised anew, with its module's initial memory and the same id.
    ///
    /// # Errors
    /// The outbox has no room.
    pub fn restart(&mut self, agent: AgentId) -> Result<(), OutboxFull> {
        self.push(Op::Restart, agent.0, 0, 0, &[])
    }

    /// Asks to be stepped in `frame`, whatever the group's schedule; in the next frame if `frame` isn't later than the current one. Only the
    /// last request of an agent counts, and 0 cancels it. This needs the capability `wake`.
    ///
    /// # Errors
    /// The outbox has no room.
    pub fn wake_at(&mut self, frame: u64) -> Result<(), OutboxFull> {
        self.push(Op::Wake, frame, 0, 0, &[])
    }

    /// Asks to be stepped `frames` frames after this one, or in the next one if that is 0: see [`wake_at`](Self::wake_at).
    ///
    /// # Errors
    /// The outbox has no room.
    pub fn wake_in(&mut self, frames: u64) -> Result<(), OutboxFull> {
        self.wake_at(self.frame().saturating_add(frames.max(1)))
    }
}
