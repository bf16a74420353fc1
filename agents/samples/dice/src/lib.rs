//! Throws dice: draws a random number in each of its calls, and records it, so that a test can see that none comes twice.
//!
//! The host calls it once for each message, and once more. When its module is swapped, it draws in three calls of one frame.
#![cfg_attr(target_arch = "wasm32", no_std)]

use wasm_engine_sdk::{Agent, Context, Failure, Message, Params, StateWriter, Swappable, agent};

/// Random stream of the throws.
const THROWS: u32 = 6;

#[derive(Default)]
struct Dice;

/// Draws a number and records it.
fn throw(ctx: &mut Context<'_>) -> Result<(), Failure> {
    let number = ctx.random(THROWS).next_u64();
    Ok(ctx.record_i64("thrown", number.cast_signed())?)
}

impl Agent for Dice {
    fn init(&mut self, ctx: &mut Context<'_>, _params: Params<'_>) -> Result<(), Failure> {
        throw(ctx)
    }

    fn receive(&mut self, ctx: &mut Context<'_>, _message: &Message<'_>) -> Result<(), Failure> {
        throw(ctx)
    }

    fn step(&mut self, ctx: &mut Context<'_>) -> Result<(), Failure> {
        throw(ctx)
    }

    fn shutdown(&mut self, ctx: &mut Context<'_>, inbox: wasm_engine_sdk::Inbox<'_>) -> Result<(), Failure> {
        for _ in inbox {
            throw(ctx)?;
        }
        throw(ctx)
    }
}

impl Swappable for Dice {
    fn export_state(&self, _state: &mut StateWriter<'_>) -> Result<(), Failure> {
        Ok(())
    }

    fn import_state(&mut self, ctx: &mut Context<'_>, _state: &[u8]) -> Result<(), Failure> {
        throw(ctx)
    }
}

agent!(Dice, inbox_bytes = 1024, outbox_bytes = 1024, receive_exported, shutdown_exported, swappable);

#[cfg(test)]
mod tests {
    use wasm_engine_sdk::abi::{agent_key, random_u64};
    use wasm_engine_sdk::testing::{Harness, Incoming, Output};
    use wasm_engine_sdk::{AgentId, Failure};

    use super::*;

    /// Returns the outputs for the numbers with these indices of a frame.
    fn thrown(frame: u64, indices: core::ops::Range<u32>) -> Result<Vec<Output>, Failure> {
        let key = agent_key(0, AgentId::new(1, 0).0);
        let number = |index| random_u64(key, frame, THROWS, index).cast_signed();
        Ok(indices.map(|index| Output::RecordI64 { name: "thrown".into(), value: number(index) }).collect())
    }

    #[test]
    fn no_number_of_a_frame_comes_twice() {
        let mut dice = Harness::new(Dice, 1024, 1024);
        let event = || Incoming::event(1, &[]);
        assert_eq!(dice.init(""), thrown(0, 0..1));
        assert_eq!(dice.step(1, &[event(), event(), event()]), thrown(1, 0..4));
        assert_eq!(dice.step(2, &[]), thrown(2, 0..1));
        assert_eq!(dice.shutdown(3, &[event()]), thrown(3, 0..2));
    }

    #[test]
    fn nor_does_one_in_the_frame_of_a_swap() {
        let mut dice = Harness::new(Dice, 1024, 1024);
        assert_eq!(dice.init_in(5, ""), thrown(5, 0..1));
        assert_eq!(dice.import_state(5, &[]), Ok(()));
        assert_eq!(dice.step(5, &[]), thrown(5, 2..3));
    }
}
