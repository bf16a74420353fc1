//! Counts ticks: the agent of docs/how-to/write-an-agent.md.
//!
//! Each counter publishes a tick to the topic `ticks` in every frame that `every` divides, counts the ticks of all
//! counters, and records how many it has seen.
#![cfg_attr(target_arch = "wasm32", no_std)]

use wasm_engine_sdk::{Agent, Context, Failure, Message, Params, agent, topic};

/// Kind of a message that is a tick. Its payload is empty.
const TICK: u32 = 1;

#[derive(Default)]
struct Counter {
    /// Number of frames from one tick to the next.
    every: u64,
    /// Number of ticks seen so far.
    seen: i64,
}

impl Agent for Counter {
    fn init(&mut self, _ctx: &mut Context<'_>, params: Params<'_>) -> Result<(), Failure> {
        self.every = params.u64("every")?.max(1);
        Ok(())
    }

    fn receive(&mut self, _ctx: &mut Context<'_>, message: &Message<'_>) -> Result<(), Failure> {
        if message.kind() == TICK {
            self.seen += 1;
        }
        Ok(())
    }

    fn step(&mut self, ctx: &mut Context<'_>) -> Result<(), Failure> {
        if ctx.frame().is_multiple_of(self.every) {
            ctx.publish(topic!("ticks"), TICK, &[])?;
        }
        ctx.record_i64("seen", self.seen)?;
        Ok(())
    }
}

agent!(Counter, inbox_bytes = 4096, outbox_bytes = 4096);

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_engine_sdk::AgentId;
    use wasm_engine_sdk::testing::{Harness, Incoming, Output};

    #[test]
    fn it_counts_ticks_and_ticks_itself() {
        let mut counter = Harness::new(Counter::default(), 4096, 4096);
        assert_eq!(counter.init("every = 2\n"), Ok(vec![]));

        let tick = Incoming::message(AgentId::new(1, 1), TICK, &[]).topic(topic!("ticks"));
        let seen = |value| Output::RecordI64 { name: "seen".into(), value };
        assert_eq!(counter.step(1, &[tick.clone(), tick]), Ok(vec![seen(2)]));

        let publish = Output::Publish { topic: topic!("ticks"), kind: TICK, correlation: 0, payload: vec![] };
        assert_eq!(counter.step(2, &[]), Ok(vec![publish, seen(2)]));
    }

    #[test]
    fn it_needs_its_parameter() {
        let mut counter = Harness::new(Counter::default(), 4096, 4096);
        assert_eq!(counter.init(""), Err(Failure::PARAM_MISSING));
    }
}
