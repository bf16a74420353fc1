//! What an author writes.

use crate::{Context, Failure, Inbox, Message, Params};

/// The behaviour of an agent. All methods have a default that does nothing.
///
/// A frame is: [`receive`](Self::receive) for each message, then [`step`](Self::step). An error ends the frame's call; what
/// the agent asked for in that frame is dropped then, and the engine treats it as the group's fault policy says.
pub trait Agent {
    /// Called once before the first frame in which the agent is stepped, again after a restart, and by the new module after a swap.
    ///
    /// # Errors
    /// Any [`Failure`]; `?` makes one of a missing parameter and of a full outbox.
    fn init(&mut self, ctx: &mut Context<'_>, params: Params<'_>) -> Result<(), Failure> {
        let _ = (ctx, params);
        Ok(())
    }

    /// Called for each message, in the order of delivery: by sender, then in the order of sending.
    ///
    /// # Errors
    /// Any [`Failure`].
    fn receive(&mut self, ctx: &mut Context<'_>, message: &Message<'_>) -> Result<(), Failure> {
        let _ = (ctx, message);
        Ok(())
    }

    /// Called once in each frame in which the group's schedule steps the agent, after the messages.
    ///
    /// # Errors
    /// Any [`Failure`].
    fn step(&mut self, ctx: &mut Context<'_>) -> Result<(), Failure> {
        let _ = ctx;
        Ok(())
    }

    /// Called once when the agent is terminated, with the messages of its last frame, for which `receive` isn't called: what it
    /// asks for still counts. Only where [`crate::agent!`] is told to export it, by `shutdown_exported`.
    ///
    /// # Errors
    /// Any [`Failure`]. The agent ends all the same.
    fn shutdown(&mut self, ctx: &mut Context<'_>, inbox: Inbox<'_>) -> Result<(), Failure> {
        let _ = (ctx, inbox);
        Ok(())
    }
}
