//! Agents whose state survives a swap, in the harness: as two modules would see each other.

#![allow(missing_docs)]

use wasm_engine_sdk::testing::Harness;
use wasm_engine_sdk::{Agent, Context, Failure, OutboxFull, Params, StateWriter, Swappable};

/// The first version keeps a number.
#[derive(Debug, Default, PartialEq)]
struct Old {
    seen: u32,
}

impl Agent for Old {
    fn step(&mut self, _ctx: &mut Context<'_>) -> Result<(), Failure> {
        self.seen += 1;
        Ok(())
    }
}

impl Swappable for Old {
    fn export_state(&self, state: &mut StateWriter<'_>) -> Result<(), Failure> {
        assert!(state.is_empty());
        state.write(&[1])?;
        state.write(&self.seen.to_le_bytes())?;
        assert_eq!(state.len(), 5);
        Ok(())
    }

    fn import_state(&mut self, _ctx: &mut Context<'_>, _state: &[u8]) -> Result<(), Failure> {
        Err(Failure::new(7))
    }
}

/// The second version counts in steps of a parameter, in 64 bits, and reads the first one's state.
#[derive(Debug, Default, PartialEq)]
struct New {
    by: u64,
    seen: u64,
}

impl Agent for New {
    fn init(&mut self, _ctx: &mut Context<'_>, params: Params<'_>) -> Result<(), Failure> {
        self.by = params.u64("by")?;
        Ok(())
    }
}

impl Swappable for New {
    fn export_state(&self, state: &mut StateWriter<'_>) -> Result<(), Failure> {
        Ok(state.write(&[2; 4_097])?)
    }

    fn import_state(&mut self, ctx: &mut Context<'_>, state: &[u8]) -> Result<(), Failure> {
        ctx.log(wasm_engine_sdk::Level::Info, "dropped")?;
        match state {
            [1, a, b, c, d] => {
                self.seen = u32::from_le_bytes([*a, *b, *c, *d]).into();
                Ok(())
            }
            _ => Err(Failure::new(9)),
        }
    }
}

mod modules {
    use super::{New, Old};

    mod plain {
        wasm_engine_sdk::agent!(super::Old, inbox_bytes = 64, outbox_bytes = 64, swappable);
    }
    mod constant {
        wasm_engine_sdk::agent!(
            super::Old,
            inbox_bytes = 64,
            outbox_bytes = 64,
            state = super::Old { seen: 1 },
            swappable
        );
    }
    mod received {
        wasm_engine_sdk::agent!(super::New, inbox_bytes = 64, outbox_bytes = 64, receive_exported, swappable);
    }
    mod both {
        wasm_engine_sdk::agent!(
            super::New,
            inbox_bytes = 64,
            outbox_bytes = 64,
            state = super::New { by: 1, seen: 2 },
            receive_exported,
            swappable,
        );
    }
}

#[test]
fn the_new_agent_is_initialised_and_takes_the_old_ones_state() {
    let mut old = Harness::new(Old::default(), 64, 64);
    old.init("").unwrap();
    for frame in 1..=300 {
        old.step(frame, &[]).unwrap();
    }
    let state = old.export_state(301).unwrap();
    assert_eq!(state, [1, 44, 1, 0, 0]);
    let mut new = Harness::new(New::default(), 64, 64);
    new.init("by = 5\n").unwrap();
    new.import_state(301, &state).unwrap();
    assert_eq!(*new.agent(), New { by: 5, seen: 300 });
    // Nothing of what was asked for before is in the next step's outbox.
    assert_eq!(new.step(301, &[]).unwrap(), []);
}

#[test]
fn a_state_that_cannot_be_read_or_has_no_room_is_a_failure() {
    let mut new = Harness::new(New::default(), 64, 4_096);
    assert_eq!(new.import_state(1, &[3]), Err(Failure::new(9)));
    assert_eq!(new.import_state(1, &[]), Err(Failure::new(9)));
    assert_eq!(new.export_state(1), Err(OutboxFull.into()));
    let mut large = Harness::new(New::default(), 64, 4_104);
    assert_eq!(large.export_state(1).unwrap().len(), 4_097);
    assert_eq!(large.agent().seen, 0);
}
