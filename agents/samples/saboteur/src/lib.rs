//! Does what agents mustn't do, deterministically, so that a run shows that nobody else is disturbed.
//!
//! Parameters: `start_frame`; `clerks` and `ledger`, the numbers of the groups to bother; `desks`, the number of desks. From `start_frame` on,
//! the agent with ordinal o does in each step what row o mod 8 says:
//!
//! | row | what the agent does | what comes of it |
//! |---|---|---|
//! | 0 | executes `unreachable` | fault `unreachable` |
//! | 1 | loops forever | fault `out_of_fuel` |
//! | 2 | fills its outbox with records | fault `over_limit` |
//! | 3 | writes beyond the end of its memory | fault `memory_out_of_bounds` |
//! | 4 | lies about its outbox | fault `bad_outbox` |
//! | 5 | calls itself without end | fault `call_depth` |
//! | 6 | forges votes and verdicts, floods the next saboteur's mailbox | bounces |
//! | 7 | takes all memory; asks models and agents that don't exist | bounces, failed inferences |
//!
//! The agents of rows 6 and 7 stay within all limits and go on. They record what came back: `bounces`, `failed_jobs`.
#![cfg_attr(target_arch = "wasm32", no_std)]

mod crime;

use postroom::{PIXELS, VERDICT, VOTE, Verdict, Vote};
use wasm_engine_sdk::{Agent, AgentId, Context, Failure, Message, Params, agent, model, topic};

/// Number of rows in the table above.
const CRIMES: u32 = 8;

/// Number of messages that row 6 sends to its victim in each frame; below it, the size of each payload in bytes.
const FLOOD_MESSAGES: u64 = 24;
const FLOOD_BYTES: usize = 64;
/// Kind of those messages.
const FLOOD: u32 = 9;

#[derive(Default)]
struct Saboteur {
    start_frame: u64,
    clerks: u32,
    desks: u32,
    ledger: AgentId,
    bounces: i64,
    failed_jobs: i64,
    /// Whether one of the counts changed in this frame.
    changed: bool,
}

impl Agent for Saboteur {
    fn init(&mut self, _ctx: &mut Context<'_>, params: Params<'_>) -> Result<(), Failure> {
        self.start_frame = params.u64("start_frame")?;
        self.clerks = params.u32("clerks")?;
        self.desks = params.u32("desks")?;
        self.ledger = AgentId::new(params.u32("ledger")?, 0);
        Ok(())
    }

    fn receive(&mut self, _ctx: &mut Context<'_>, message: &Message<'_>) -> Result<(), Failure> {
        self.bounces += i64::from(message.is_bounce());
        self.failed_jobs += i64::from(message.is_inference() && message.status() != 0);
        self.changed |= message.is_bounce() || message.is_inference();
        Ok(())
    }

    fn step(&mut self, ctx: &mut Context<'_>) -> Result<(), Failure> {
        if core::mem::take(&mut self.changed) {
            ctx.record_i64("bounces", self.bounces)?;
            ctx.record_i64("failed_jobs", self.failed_jobs)?;
        }
        if ctx.frame() < self.start_frame {
            return Ok(());
        }
        match ctx.ordinal() % CRIMES {
            0 => crime::trap(),
            1 => crime::loop_forever(),
            2 => fill_outbox(ctx),
            3 => crime::write_out_of_bounds(ctx.frame()),
            4 => crime::lie_about_outbox(ctx)?,
            5 => crime::recurse(),
            6 => self.forge_and_flood(ctx)?,
            _ => ask_for_too_much(ctx)?,
        }
        Ok(())
    }
}

/// Records outputs until the outbox has no room.
fn fill_outbox(ctx: &mut Context<'_>) {
    while ctx.record_i64("flood", 1).is_ok() {}
}

impl Saboteur {
    /// Sends forged votes and verdicts, and floods a mailbox. All messages are well formed and within limits. Clerks and ledger don't accept them.
    fn forge_and_flood(&self, ctx: &mut Context<'_>) -> Result<(), Failure> {
        let image = ctx.frame();
        for desk in 0..self.desks {
            let vote = Vote { digit: 0, reader: (image % 3) as u8 };
            ctx.send_with(AgentId::new(self.clerks, desk), VOTE, image, &vote.to_bytes())?;
        }
        let verdict = Verdict { digit: 0, unanimous: true };
        ctx.send_with(self.ledger, VERDICT, image, &verdict.to_bytes())?;
        let victim = AgentId::new(ctx.group(), ctx.ordinal() + 1);
        for number in 0..FLOOD_MESSAGES {
            ctx.send_with(victim, FLOOD, number, &[0; FLOOD_BYTES])?;
        }
        Ok(())
    }
}

/// Asks for what is refused without a fault.
fn ask_for_too_much(ctx: &mut Context<'_>) -> Result<(), Failure> {
    crime::take_all_memory();
    ctx.infer(model!("digits"), 1, &[0; PIXELS - 1])?;
    ctx.infer(model!("no such model"), 2, &[0; PIXELS])?;
    ctx.send_with(AgentId::new(999, 0), FLOOD, 3, &[])?;
    ctx.publish_with(topic!("no such topic"), FLOOD, 4, &[])?;
    Ok(())
}

agent!(Saboteur, inbox_bytes = 8192, outbox_bytes = 8192);

#[cfg(test)]
mod tests;
