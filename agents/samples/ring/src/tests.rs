//! Tests of whole rings, natively: what one agent sends is what the next one receives in the next frame.

use super::*;
use wasm_engine_sdk::testing::{Harness, Incoming, Output};

fn harness(ordinal: u32) -> Harness<Ring> {
    Harness::new(Ring::NEW, INBOX_BYTES, OUTBOX_BYTES).id(AgentId::new(3, ordinal))
}

/// Runs a ring, and returns the sums over all agents of the last `sum`, `expected` and `tokens`.
fn run(agents: u32, tokens: u64, audit_every: u64, frames: u64) -> [i64; 3] {
    let params = format!("agents = {agents}\naudit_every = {audit_every}\ntokens = {tokens}\n");
    let mut ring: Vec<_> = (0..agents).map(harness).collect();
    let mut sent: Vec<_> = ring.iter_mut().map(|agent| agent.init(&params).expect("init")).collect();
    let mut last = vec![[0_i64; 3]; ring.len()];
    for frame in 1..frames {
        let mut inboxes = vec![Vec::new(); ring.len()];
        for (from, outputs) in sent.iter().enumerate() {
            for output in outputs {
                if let Output::Send { to, kind, payload, .. } = output {
                    let from = AgentId::new(3, u32::try_from(from).expect("small"));
                    inboxes[to.ordinal() as usize].push(Incoming::message(from, *kind, payload));
                }
            }
        }
        sent = ring.iter_mut().zip(&inboxes).map(|(agent, inbox)| agent.step(frame, inbox).expect("step")).collect();
        for (last, outputs) in last.iter_mut().zip(&sent) {
            for output in outputs {
                if let Output::RecordI64 { name, value } = output {
                    let at = ["sum", "expected", "tokens"].iter().position(|known| known == name).expect("known");
                    last[at] = *value;
                    assert_eq!((frame + 1) % audit_every, 0, "an audit in frame {frame}");
                }
            }
        }
    }
    last.iter().fold([0; 3], |sum, one| [sum[0] + one[0], sum[1] + one[1], sum[2] + one[2]])
}

#[test]
fn the_sum_is_what_was_expected() {
    for (agents, tokens) in [(1, 1), (1, 32), (2, 1), (5, 5), (5, 3), (5, 13), (3, 96), (4, 0)] {
        for audit_every in [1, 2, 5] {
            let [sum, expected, held] = run(agents, tokens, audit_every, 20);
            assert_eq!(sum, 19 * tokens.cast_signed(), "{agents} agents, {tokens} tokens");
            assert_eq!((sum, held), (expected, tokens.cast_signed()), "{agents} agents, {tokens} tokens");
        }
    }
}

#[test]
fn no_audit_is_a_choice() {
    assert_eq!(run(3, 3, 0, 20), [0; 3]);
}

#[test]
fn a_wrong_token_is_a_failure() {
    let mut agent = harness(0);
    agent.init("agents = 2\naudit_every = 0\ntokens = 2\n").expect("init");
    let token = |kind, payload: &[u8]| Incoming::message(AgentId::new(3, 1), kind, payload);
    assert!(agent.step(8, &[token(TOKEN, &7_u64.to_le_bytes())]).is_ok());
    assert_eq!(agent.step(8, &[token(TOKEN, &8_u64.to_le_bytes())]), Err(WRONG_TOKEN));
    assert_eq!(agent.step(8, &[token(TOKEN, &u64::MAX.to_le_bytes())]), Err(WRONG_TOKEN));
    assert_eq!(agent.step(8, &[token(2, &7_u64.to_le_bytes())]), Err(WRONG_TOKEN));
    assert_eq!(agent.step(8, &[token(TOKEN, &[7])]), Err(WRONG_TOKEN));
}

#[test]
fn bad_parameters_are_failures() {
    let init = |params: &str| harness(4).init(params);
    assert_eq!(init("agents = 4\naudit_every = 0\ntokens = 4\n"), Err(BAD_PARAMS));
    assert_eq!(init("agents = 0\naudit_every = 0\ntokens = 4\n"), Err(BAD_PARAMS));
    assert_eq!(init("agents = 5\naudit_every = 0\ntokens = 161\n"), Err(BAD_PARAMS));
    assert_eq!(init("agents = 5\naudit_every = 0\n"), Err(Failure::PARAM_MISSING));
    assert!(init("agents = 5\naudit_every = 0\ntokens = 160\n").is_ok());
}
