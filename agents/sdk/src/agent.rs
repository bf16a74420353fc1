//! The trait [`Agent`], which the authors of agents implement.

use crate::{Context, Failure, Inbox, Message, Params};

/// The behaviour of an agent. All methods have a default that does nothing.
///
/// In each frame, [`receive`](Self::receive) is called for each message, and then [`step`](Self::step). An error ends the frame's call:
/// what the agent asked for in that frame is dropped, and the engine does what the group's fault policy says.
pub trait Agent {
    /// Called once before the agent's first step, again after a restart, and in the new module after a swap.
    ///
    /// # Errors
    /// Any [`Failure`]. The operator `?` converts the error of a missing parameter or of a full outbox into one.
    fn init(&mut self, ctx: &mut Context<'_>, params: Params<'_>) -> Result<(), Failure> {
        let _ = (ctx, params);
        Ok(())
    }

    /// Called for each message, in the order of delivery: messages that waited, then all others by sender and in the order of sending.
    ///
    /// # Errors
    /// Any [`Failure`].
    fn receive(&mut self, ctx: &mut Context<'_>, message: &Message<'_>) -> Result<(), Failure> {
        let _ = (ctx, message);
        Ok(())
    }

    /// Called once in each frame in which the agent is stepped, after `receive` was called for each message.
    ///
    /// # Errors
    /// Any [`Failure`].
    fn step(&mut self, ctx: &mut Context<'_>) -> Result<(), Failure> {
        let _ = ctx;
        Ok(())
    }

    /// Called once when the agent is terminated, with the messages of its last frame, for which `receive` isn't called. What it asks for
    /// still counts. It is called only if [`crate::agent!`] has the option `shutdown_exported`.
    ///
    /// # Errors
    /// Any [`Failure`]. The agent ends nevertheless.
    fn shutdown(&mut self, ctx: &mut Context<'_>, inbox: Inbox<'_>) -> Result<(), Failure> {
        let _ = (ctx, inbox);
        Ok(())
    }
}
