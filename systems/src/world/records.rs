//! Records that agents write beside messages: those of their outboxes, and log lines while they are running.

use wasm_engine_abi::{CheckedOutbox, OutboxRecord};
use wasm_engine_components::Lane;

use crate::world::chunk::{ImportedLine, RecordOffset};
use crate::world::digest::part_digest;

/// Returns the digest of one agent's imported lines, in their order.
pub(crate) fn lines_digest(lines: &[ImportedLine]) -> u128 {
    let mut bytes = Vec::new();
    for line in lines {
        bytes.extend_from_slice(&line.level.to_le_bytes());
        bytes.extend_from_slice(&(line.text.len() as u64).to_le_bytes());
        bytes.extend_from_slice(line.text.as_bytes());
    }
    part_digest(Lane::Logs, lines[0].agent.0, &bytes)
}

/// Returns a record that the intake has passed.
pub(crate) fn record_at(bytes: &[u8], offset: RecordOffset) -> OutboxRecord<'_> {
    let record = CheckedOutbox::new(&bytes[offset.0 as usize..]).next();
    record.expect("the intake notes records that are there")
}
