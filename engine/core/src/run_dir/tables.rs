//! The tables of a run directory: a line for each frame, fault, log line, named output, swap and notice of a model.

use std::path::Path;

use wasm_engine_components::FrameRecord;

use super::rows::{AgentNames, FaultRow, FrameRow, LogRow, ModelRow, OutputRow, SwapRow};
use super::table::{TableFile, TablePosition};
use crate::problem::{Problem, RunError};
use crate::scenario::Scenario;

/// The table with a line for each frame.
pub(super) const FRAMES: &str = "frames.jsonl";

/// The names of the files, in the order of [`Tables::tables`].
pub(super) const NAMES: [&str; 6] =
    [FRAMES, "faults.jsonl", "logs.jsonl", "outputs.jsonl", "swaps.jsonl", "models.jsonl"];

/// Position up to which each table was written, in the order of [`NAMES`].
pub(super) type TablePositions = [TablePosition; NAMES.len()];

/// All tables of a run.
pub(super) struct Tables {
    names: AgentNames,
    tables: [TableFile; NAMES.len()],
}

impl Tables {
    /// Makes empty tables in a run directory.
    pub fn create(folder: &Path, scenario: &Scenario) -> Result<Self, Problem> {
        Self::each(scenario, |at| TableFile::create(folder.join(NAMES[at])))
    }

    /// Opens those of a run that is to go on, and cuts them back to `positions`, or to nothing.
    pub fn reopen(folder: &Path, scenario: &Scenario, positions: Option<&TablePositions>) -> Result<Self, Problem> {
        Self::each(scenario, |at| TableFile::reopen(folder.join(NAMES[at]), positions.map(|positions| positions[at])))
    }

    fn each(scenario: &Scenario, make: impl Fn(usize) -> Result<TableFile, Problem>) -> Result<Self, Problem> {
        let tables = [make(0)?, make(1)?, make(2)?, make(3)?, make(4)?, make(5)?];
        Ok(Self { names: AgentNames::new(scenario), tables })
    }

    /// Adds the lines of a frame.
    pub fn append(&mut self, record: &FrameRecord) -> Result<(), RunError> {
        let Self { names, tables: [frames, faults, logs, outputs, swaps, models] } = self;
        let frame = record.frame;
        frames.row(&FrameRow::new(record))?;
        record.faults.iter().try_for_each(|fault| faults.row(&FaultRow::new(frame, fault, names)))?;
        record.logs.iter().try_for_each(|log| logs.row(&LogRow::new(frame, log, names)))?;
        record.outputs.iter().try_for_each(|output| outputs.row(&OutputRow::new(frame, output, names)))?;
        record.swaps.iter().try_for_each(|swap| swaps.row(&SwapRow::new(frame, swap, names)))?;
        record.model_notices().try_for_each(|notice| models.row(&ModelRow::new(frame, notice, names)))
    }

    /// Writes what is buffered, and waits until it is on the disk.
    pub fn sync(&mut self) -> Result<(), RunError> {
        self.tables.iter_mut().try_for_each(TableFile::sync)
    }

    /// Returns bytes of all.
    pub fn bytes(&self) -> u64 {
        self.tables.iter().map(TableFile::bytes).sum()
    }

    /// Returns how far they were written.
    pub fn positions(&self) -> TablePositions {
        [0, 1, 2, 3, 4, 5].map(|at: usize| self.tables[at].position())
    }
}
