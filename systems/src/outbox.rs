//! What an outbox must be before anything of it is believed. The runtime calls this right after each step, while the bytes
//! are in the cache; the rule itself is the same for every runtime.

use wasm_engine_abi::{Capabilities, Op, OutboxReader};
use wasm_engine_components::{FaultKind, GroupLimits};

/// Which limit a fault of kind [`FaultKind::OverLimit`] is about: its detail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum OverLimit {
    /// `records_per_step_max`.
    Records = 1,
    /// `payload_bytes_max`.
    PayloadBytes = 2,
    /// `log_lines_per_step_max`.
    LogLines = 3,
}

/// Checks a step's outbox: form, limits, capabilities. `log_lines` is how many lines the import `log` wrote in the step.
///
/// # Errors
/// The fault, and its detail.
#[inline]
pub fn check_outbox(
    bytes: &[u8],
    records: u32,
    log_lines: u32,
    limits: &GroupLimits,
    capabilities: Capabilities,
) -> Result<(), (FaultKind, u32)> {
    if records > limits.records_per_step_max {
        return Err((FaultKind::OverLimit, OverLimit::Records as u32));
    }
    let mut lines = log_lines;
    for record in OutboxReader::new(bytes, records) {
        let record = record.map_err(|error| (FaultKind::BadOutbox, error as u32))?;
        if !capabilities.has(record.op.capability()) {
            return Err((FaultKind::Denied, record.op.capability() as u32));
        }
        if record.header.payload_bytes > limits.payload_bytes_max {
            return Err((FaultKind::OverLimit, OverLimit::PayloadBytes as u32));
        }
        lines += u32::from(record.op == Op::Log);
    }
    if lines > limits.log_lines_per_step_max {
        return Err((FaultKind::OverLimit, OverLimit::LogLines as u32));
    }
    Ok(())
}
