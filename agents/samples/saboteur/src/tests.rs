//! Tests of what can be tried without a sandbox: the actions that are within all limits.

use super::*;
use wasm_engine_sdk::testing::{Harness, Incoming, Output};
use wasm_engine_sdk::{BounceReason, InferenceStatus};

fn saboteur(ordinal: u32) -> Harness<Saboteur> {
    let mut saboteur = Harness::new(Saboteur::default(), 8192, 8192).id(AgentId::new(4, ordinal));
    assert_eq!(saboteur.init("clerks = 2\ndesks = 8\nledger = 3\nstart_frame = 5\n"), Ok(vec![]));
    saboteur
}

#[test]
fn all_are_quiet_before_they_start() {
    for ordinal in 0..16 {
        assert_eq!(saboteur(ordinal).step(4, &[]), Ok(vec![]));
    }
}

#[test]
fn forged_messages_go_to_every_clerk_and_the_ledger() {
    let outputs = saboteur(14).step(5, &[]).expect("step");
    let to = |group, kind| {
        let is =
            |output: &&Output| matches!(output, Output::Send { to, kind: k, .. } if to.group() == group && *k == kind);
        outputs.iter().filter(is).count()
    };
    assert_eq!((to(2, VOTE), to(3, VERDICT), to(4, FLOOD), outputs.len()), (8, 1, 24, 33));
}

#[test]
fn what_comes_back_is_counted() {
    let messages = [
        Incoming::bounce(BounceReason::Refused, AgentId::new(2, 0).0),
        Incoming::inference(InferenceStatus::WrongSize, &[]),
        Incoming::bounce(BounceReason::UnknownTopic, 4),
    ];
    let record = |name: &str, value| Output::RecordI64 { name: name.into(), value };
    let outputs = saboteur(7).step(5, &messages).expect("step");
    assert_eq!(outputs[..2], [record("bounces", 2), record("failed_jobs", 1)]);
    assert_eq!(outputs.len(), 6);
}

#[test]
fn a_flood_of_records_fills_the_outbox() {
    assert_eq!(saboteur(2).step(5, &[]).expect("step").len(), 8192 / 40);
}
