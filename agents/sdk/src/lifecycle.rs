//! What an agent can ask for that changes lives, its own or others': spawning, commands, timers.

use wasm_engine_abi::Op;

use crate::{AgentId, Context, OutboxFull};

/// Lives and timers. Commands are for agents of the groups that the agent's own group controls or supervises, says the
/// scenario, and for the agent itself. They take effect at the start of the next frame. One that can't be carried out comes back
/// as a bounce: [`crate::Message::bounce`] says why, [`crate::Message::bounced_from`] for whom it was.
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
    /// Spawns an agent in a group, which is initialised in the next frame. In that frame this agent finds a message for which
    /// [`crate::Message::spawned`] is the new agent, or a bounce, either with `correlation`. Capability `spawn`.
    ///
    /// # Errors
    /// The outbox has no room.
    pub fn spawn(&mut self, group: u32, correlation: u64) -> Result<(), OutboxFull> {
        self.push(Op::Spawn, group.into(), correlation, 0, &[])
    }

    /// Like [`spawn`](Self::spawn), with a first message for the new agent, delivered in the frame after its `init`. There is
    /// none if the payload is empty.
    ///
    /// # Errors
    /// The outbox has no room.
    pub fn spawn_with(&mut self, group: u32, kind: u32, correlation: u64, payload: &[u8]) -> Result<(), OutboxFull> {
        self.push(Op::Spawn, group.into(), correlation, kind, payload)
    }

    /// Stops an active agent's steps until it is resumed. Capability `control`, as for the next three.
    ///
    /// # Errors
    /// The outbox has no room.
    pub fn pause(&mut self, agent: AgentId) -> Result<(), OutboxFull> {
        self.push(Op::Pause, agent.0, 0, 0, &[])
    }

    /// Lets a paused agent go on.
    ///
    /// # Errors
    /// The outbox has no room.
    pub fn resume(&mut self, agent: AgentId) -> Result<(), OutboxFull> {
        self.push(Op::Resume, agent.0, 0, 0, &[])
    }

    /// Ends an agent, after a last call of [`crate::Agent::shutdown`].
    ///
    /// # Errors
    /// The outbox has no room.
    pub fn terminate(&mut self, agent: AgentId) -> Result<(), OutboxFull> {
        self.push(Op::Terminate, agent.0, 0, 0, &[])
    }

    /// Initialises an agent anew: with its module's initial memory, and the same id.
    ///
    /// # Errors
    /// The outbox has no room.
    pub fn restart(&mut self, agent: AgentId) -> Result<(), OutboxFull> {
        self.push(Op::Restart, agent.0, 0, 0, &[])
    }

    /// Asks to be stepped in `frame`, whatever the group's schedule; in the next frame if that one isn't later than this. There is
    /// one such wish, the last; 0 forgets it. Capability `wake`.
    ///
    /// # Errors
    /// The outbox has no room.
    pub fn wake_at(&mut self, frame: u64) -> Result<(), OutboxFull> {
        self.push(Op::Wake, frame, 0, 0, &[])
    }

    /// Asks to be stepped after `frames` frames, at least one: see [`wake_at`](Self::wake_at).
    ///
    /// # Errors
    /// The outbox has no room.
    pub fn wake_in(&mut self, frames: u64) -> Result<(), OutboxFull> {
        self.wake_at(self.frame().saturating_add(frames.max(1)))
    }
}
