//! Passes tokens around a ring of agents: the workload of the benchmarks, and a check that no message is lost, doubled,
//! late or altered.
//!
//! There are `agents` agents and `tokens` tokens; token t starts at agent t mod `agents`, in frame 0, with the value 0. An
//! agent adds one to each token that it receives and sends it on. So a token that is sent on in frame f has the value f,
//! and an agent that injected s tokens expects to contribute s * f: over all agents, the sum of the values that were sent on
//! is the sum of what was expected. Each agent also checks each token, and fails if one has a wrong value.
//!
//! In each frame f for which `audit_every` divides f + 1, each agent records `sum`, `expected`, and as `tokens` the number of tokens
//! that it sent on. Over all agents, `sum` equals `expected`, and `tokens` the parameter of that name. If `audit_every` is 0, there are no audits.
#![cfg_attr(target_arch = "wasm32", no_std)]

use wasm_engine_sdk::{Agent, AgentId, Context, Failure, Message, Params, agent};

/// Kind of a message that is a token. Its payload is the value, a u64.
const TOKEN: u32 = 1;

/// Maximum number of tokens that one agent holds. With this number, the top of the stack, the block and the state share a page of 4 KiB.
const TOKENS_MAX: u64 = 32;
const INBOX_BYTES: usize = TOKENS_MAX as usize * 56;
/// Size of the outbox area in bytes: room for the tokens, and for the three records of an audit.
const OUTBOX_BYTES: usize = TOKENS_MAX as usize * 40 + 128;

/// A token doesn't have the value that follows from the frame, or isn't a number.
const WRONG_TOKEN: Failure = Failure::new(1);
/// There are more than [`TOKENS_MAX`] tokens for an agent, or no agents, or the agent's ordinal is beyond the ring.
const BAD_PARAMS: Failure = Failure::new(2);
/// The agent was initialised after frame 0: its tokens are lost, and new ones would be late.
const RESTARTED: Failure = Failure::new(3);

struct Ring {
    /// The agent after this one.
    next: AgentId,
    /// Number of tokens that this agent injected.
    injected: u64,
    audit_every: u64,
    /// The next frame with an audit. It is kept, because a division in each step would cost more than the rest of the step.
    audit_frame: u64,
    /// Number of tokens sent on in this frame; below it, the sum of their values.
    tokens: u64,
    sum: u64,
}

impl Ring {
    const NEW: Self = Self { next: AgentId::ENGINE, injected: 0, audit_every: 0, audit_frame: 0, tokens: 0, sum: 0 };

    fn audit(&mut self, ctx: &mut Context<'_>) -> Result<(), Failure> {
        self.audit_frame += self.audit_every;
        ctx.record_i64("sum", self.sum.cast_signed())?;
        ctx.record_i64("expected", (self.injected * ctx.frame()).cast_signed())?;
        ctx.record_i64("tokens", self.tokens.cast_signed())?;
        Ok(())
    }
}

impl Agent for Ring {
    fn init(&mut self, ctx: &mut Context<'_>, params: Params<'_>) -> Result<(), Failure> {
        let agents = params.u32("agents")?;
        let tokens = params.u64("tokens")?;
        let ordinal = ctx.ordinal();
        if ctx.frame() != 0 {
            return Err(RESTARTED);
        }
        if ordinal >= agents || tokens.div_ceil(u64::from(agents)) > TOKENS_MAX {
            return Err(BAD_PARAMS);
        }
        self.next = AgentId::new(ctx.group(), if ordinal + 1 == agents { 0 } else { ordinal + 1 });
        self.injected = tokens / u64::from(agents) + u64::from(u64::from(ordinal) < tokens % u64::from(agents));
        self.audit_every = params.u64("audit_every")?;
        // The first audit is after frame 0, because there is no step in frame 0.
        self.audit_frame = if self.audit_every == 1 { 1 } else { self.audit_every.wrapping_sub(1) };
        for _ in 0..self.injected {
            ctx.send(self.next, TOKEN, &0_u64.to_le_bytes())?;
        }
        Ok(())
    }

    fn receive(&mut self, ctx: &mut Context<'_>, message: &Message<'_>) -> Result<(), Failure> {
        let value = message.read::<u64>().ok_or(WRONG_TOKEN)?.wrapping_add(1);
        if value != ctx.frame() || message.kind() != TOKEN {
            return Err(WRONG_TOKEN);
        }
        self.tokens += 1;
        self.sum += value;
        Ok(ctx.send(self.next, TOKEN, &value.to_le_bytes())?)
    }

    fn step(&mut self, ctx: &mut Context<'_>) -> Result<(), Failure> {
        if ctx.frame() == self.audit_frame {
            self.audit(ctx)?;
        }
        self.tokens = 0;
        self.sum = 0;
        Ok(())
    }
}

agent!(Ring, inbox_bytes = INBOX_BYTES, outbox_bytes = OUTBOX_BYTES, state = Ring::NEW);

#[cfg(test)]
mod tests;
