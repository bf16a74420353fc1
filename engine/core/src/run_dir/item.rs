//! Items that are sent to the thread that writes a run directory: frames, snapshots, and the end. Made by [`super::RunDir`], sent by `handover`,
//! written by `writer`.

use std::sync::mpsc::SyncSender;

use wasm_engine_components::{Action, Digest, FrameInputs, FrameRecord, OutputValue};

use super::snapshot_permit::SnapshotPermit;
use crate::problem::RunError;
use crate::state::State;
use wasm_engine_wasm::GuestCopy;

/// A frame on its way into the run directory.
#[derive(Debug, Default)]
pub struct RecordedFrame {
    /// Inputs and results of the frame.
    pub record: FrameRecord,
    /// Whether it goes into the journal. It doesn't if there is no journal, or if the journal has the frame already: a resumed run
    /// runs some of its frames again.
    pub to_journal: bool,
    /// Number of bytes of the disk that were reserved for it.
    pub taken: u64,
}

impl RecordedFrame {
    /// Creates a frame of a new run, or one after the last frame of a resumed run.
    pub fn new(record: FrameRecord) -> Self {
        Self { record, to_journal: true, taken: 0 }
    }

    /// Drops what only a journal keeps.
    pub(super) fn leave_out_of_journal(&mut self) {
        self.to_journal = false;
        let FrameRecord { inputs, inference, .. } = &mut self.record;
        *inputs = FrameInputs { counts: inputs.counts, ..FrameInputs::default() };
        // Its notices are lines of a table.
        (inference.rows, inference.bytes) = (Vec::new(), Vec::new());
    }

    /// Returns the largest number of bytes that it takes in the journal and the tables.
    pub fn bytes_max(&self) -> u64 {
        /// Bytes of the frame's record in the journal and of its line in `frames.jsonl`.
        const FRAME_BYTES: usize = 8 << 10;
        /// Bytes of any other row or item, without its content. Names of groups are bounded.
        const ITEM_BYTES: usize = 512;
        let FrameRecord { inputs, inference, .. } = &self.record;
        let record = &self.record;
        let events = inputs.events.iter().map(|event| event.payload.len() + ITEM_BYTES);
        let commands = inputs.commands.iter().map(|action| match action {
            Action::Spawn { payload, .. } => payload.len() + ITEM_BYTES,
            Action::Agent(..) => ITEM_BYTES,
        });
        let rows = inference.rows.iter().map(|row| row.bytes + ITEM_BYTES);
        let native = record.native.iter().map(|(name, _)| name.len() + ITEM_BYTES);
        // Notices of models that ran are in the journal, too.
        let told = inference.notices.iter().chain(record.model_notices());
        let told = told.map(|notice| 6 * notice.reason.len() + ITEM_BYTES);
        let items = inputs.swaps.len() + record.faults.len() + record.swaps.len() * 2;
        // A byte takes at most six bytes in JSON, and fewer in base64.
        let logs = record.logs.iter().map(|line| 6 * line.text.len() + ITEM_BYTES);
        let outputs = record.outputs.iter().map(|output| {
            let value = match &output.value {
                OutputValue::Text(text) => text.len(),
                OutputValue::Bytes(bytes) => bytes.len(),
                OutputValue::I64(_) | OutputValue::F64(_) => 0,
            };
            6 * (output.name.len() + value) + ITEM_BYTES
        });
        let all = events.chain(commands).chain(rows).chain(native).chain(told).chain(logs).chain(outputs);
        (FRAME_BYTES + items * ITEM_BYTES) as u64 + all.map(|bytes| bytes as u64).sum::<u64>()
    }
}

/// An item for the writer.
pub(super) enum Item {
    /// Frames, in their order.
    Frames(Vec<RecordedFrame>),
    /// The state after the frames that were sent before.
    Snapshot(Box<Pending>),
    /// The run has ended, with this digest, and a summary of this checksum.
    End(Digest, u128),
    /// The process is about to end: the writer writes and syncs what it has, sends the number of the next frame to this sender, and
    /// writes nothing more.
    Close(SyncSender<Result<Option<u64>, RunError>>),
}

/// A snapshot to be written.
pub(super) struct Pending {
    pub state: State<GuestCopy>,
    pub extras: Vec<(String, Vec<u8>)>,
    pub permit: SnapshotPermit,
}
