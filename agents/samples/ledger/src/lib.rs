//! Counts how often the postroom's verdicts are right.
//!
//! Parameter: `clerks`, the number of the clerks' group. A label comes from outside with each scan, its verdict some frames
//! later. Whenever an image has both, the ledger records `read` (images so far), `correct`, `disagreements` (images on
//! which the readers didn't agree), and `accuracy`, the share of the correct ones.
#![cfg_attr(target_arch = "wasm32", no_std)]

use postroom::{LABEL, Table, VERDICT, Verdict};
use wasm_engine_sdk::{Agent, Context, Failure, Message, Params, agent};

/// Maximum number of images that wait for their verdict.
const OPEN_MAX: usize = 256;

/// More than [`OPEN_MAX`] images wait for their verdict.
const TABLE_FULL: Failure = Failure::new(1);

/// The label and the verdict of an image, as far as they are known.
#[derive(Clone, Copy)]
struct Case {
    label: Option<u8>,
    verdict: Option<Verdict>,
}

struct Ledger {
    clerks: u32,
    open: Table<Case, OPEN_MAX>,
    read: i64,
    correct: i64,
    disagreements: i64,
    changed: bool,
}

impl Ledger {
    const NEW: Self = Self { clerks: 0, open: Table::NEW, read: 0, correct: 0, disagreements: 0, changed: false };

    /// Returns what a message says about its image; `None` if it isn't for the ledger, or comes from a sender that it mustn't come from.
    fn case(&self, message: &Message<'_>) -> Option<Case> {
        match message.kind() {
            LABEL if message.is_event() => Some(Case { label: Some(message.read::<u8>()?), verdict: None }),
            VERDICT if message.sender().group() == self.clerks => {
                Some(Case { label: None, verdict: Some(Verdict::from_bytes(message.read()?)) })
            }
            _ => None,
        }
    }

    fn close(&mut self, label: u8, verdict: Verdict) {
        self.read += 1;
        self.correct += i64::from(verdict.digit == label);
        self.disagreements += i64::from(!verdict.unanimous);
        self.changed = true;
    }
}

impl Agent for Ledger {
    fn init(&mut self, _ctx: &mut Context<'_>, params: Params<'_>) -> Result<(), Failure> {
        self.clerks = params.u32("clerks")?;
        Ok(())
    }

    fn receive(&mut self, _ctx: &mut Context<'_>, message: &Message<'_>) -> Result<(), Failure> {
        let Some(case) = self.case(message) else { return Ok(()) };
        let image = message.correlation();
        let open = self.open.entry(image, case).ok_or(TABLE_FULL)?;
        open.label = open.label.or(case.label);
        open.verdict = open.verdict.or(case.verdict);
        if let Case { label: Some(label), verdict: Some(verdict) } = *open {
            self.open.remove(image);
            self.close(label, verdict);
        }
        Ok(())
    }

    fn step(&mut self, ctx: &mut Context<'_>) -> Result<(), Failure> {
        if core::mem::take(&mut self.changed) {
            ctx.record_i64("read", self.read)?;
            ctx.record_i64("correct", self.correct)?;
            ctx.record_i64("disagreements", self.disagreements)?;
            ctx.record_f64("accuracy", self.correct as f64 / self.read as f64)?;
        }
        Ok(())
    }
}

// The inbox has room for all labels and verdicts of a frame: 256 messages of at most 64 bytes each.
agent!(Ledger, inbox_bytes = 16_384, outbox_bytes = 512, state = Ledger::NEW);

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_engine_sdk::AgentId;
    use wasm_engine_sdk::testing::{Harness, Incoming, Output};

    fn ledger() -> Harness<Ledger> {
        let mut ledger = Harness::new(Ledger::NEW, 16_384, 512).id(AgentId::new(3, 0));
        assert_eq!(ledger.init("clerks = 2\n"), Ok(vec![]));
        ledger
    }

    fn label(digit: u8, image: u64) -> Incoming {
        Incoming::event(LABEL, &[digit]).correlation(image)
    }

    fn verdict(digit: u8, unanimous: bool, image: u64) -> Incoming {
        let verdict = Verdict { digit, unanimous }.to_bytes();
        Incoming::message(AgentId::new(2, 5), VERDICT, &verdict).correlation(image)
    }

    fn counts(read: i64, correct: i64, disagreements: i64) -> Vec<Output> {
        let record = |name: &str, value| Output::RecordI64 { name: name.into(), value };
        vec![
            record("read", read),
            record("correct", correct),
            record("disagreements", disagreements),
            Output::RecordF64 { name: "accuracy".into(), value: correct as f64 / read as f64 },
        ]
    }

    #[test]
    fn labels_and_verdicts_meet_in_any_order() {
        let mut ledger = ledger();
        assert_eq!(ledger.step(1, &[label(7, 0), verdict(3, true, 4)]), Ok(vec![]));
        assert_eq!(ledger.step(2, &[verdict(7, true, 0)]), Ok(counts(1, 1, 0)));
        assert_eq!(ledger.step(3, &[]), Ok(vec![]));
        assert_eq!(ledger.step(4, &[label(8, 4), label(2, 5), verdict(2, false, 5)]), Ok(counts(3, 2, 1)));
    }

    #[test]
    fn forged_messages_change_nothing() {
        let stranger = AgentId::new(4, 6);
        let messages = [
            label(7, 0),
            Incoming::message(stranger, VERDICT, &[7, 1]),
            Incoming::message(AgentId::new(2, 0), LABEL, &[9]),
            Incoming::event(VERDICT, &[7, 1]),
            Incoming::message(AgentId::new(2, 0), VERDICT, &[7]),
        ];
        assert_eq!(ledger().step(1, &messages), Ok(vec![]));
    }

    #[test]
    fn too_many_open_images_are_a_failure() {
        let mut ledger = ledger();
        for image in 0..256 {
            assert_eq!(ledger.step(1, &[label(1, image)]), Ok(vec![]));
        }
        assert_eq!(ledger.step(2, &[label(1, 0)]), Ok(vec![]));
        assert_eq!(ledger.step(2, &[label(1, 256)]), Err(TABLE_FULL));
    }
}
