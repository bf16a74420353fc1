//! The run directory: what a run leaves behind. Written by [`RunDir`], a [`FrameSink`], while the run goes on.
//!
//! | file | holds |
//! |---|---|
//! | `manifest.toml` | what was run: engine, scenario, seed, parameters, hashes, environment |
//! | `scenario.toml` | the scenario's text |
//! | `frames.jsonl` | a line for each frame: digest, counts, lanes |
//! | `faults.jsonl`, `logs.jsonl`, `outputs.jsonl` | a line for each fault, log line and named output |
//! | `swaps.jsonl` | a line for each swap |
//! | `summary.json` | the summary; it is there only once the run has ended |
//! | `lock` | nothing that counts: who uses the folder holds a lock on it ([`RunLock`]) |

mod checked;
mod lock;
mod manifest;
mod place;
mod rows;
mod table;

use std::path::{Path, PathBuf};

use wasm_engine_components::FrameRecord;

pub use checked::{open_text, seal_text};
pub use lock::RunLock;
pub use manifest::RunOptions;
pub use place::Place;

use self::table::{Table, write_file};
use crate::frame_loop::FrameSink;
use crate::problem::RunError;
use crate::scenario::Scenario;
use crate::summary::Summary;

/// An open run directory.
pub struct RunDir {
    path: PathBuf,
    names: rows::AgentNames,
    frames: Table,
    faults: Table,
    logs: Table,
    outputs: Table,
    swaps: Table,
}

impl RunDir {
    /// Makes the folder at `place` and the files in it, and writes those that say what is run.
    ///
    /// # Errors
    /// The folder or a file can't be made ([`RunError::Input`]) or written ([`RunError::Failed`]), or the events can't be read.
    pub fn create(place: &Place, scenario: &Scenario, options: &RunOptions) -> Result<Self, RunError> {
        let manifest = manifest::manifest(scenario, options).map_err(RunError::Input)?;
        let path = place.create().map_err(RunError::Input)?;
        write_file(&path.join("scenario.toml"), scenario.source.as_bytes())?;
        write_file(&path.join("manifest.toml"), manifest.as_bytes())?;
        let table = |name: &str| Table::create(path.join(name)).map_err(RunError::Input);
        Ok(Self {
            frames: table("frames.jsonl")?,
            faults: table("faults.jsonl")?,
            logs: table("logs.jsonl")?,
            outputs: table("outputs.jsonl")?,
            swaps: table("swaps.jsonl")?,
            names: rows::AgentNames::new(scenario),
            path,
        })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes what is still buffered, then `summary.json` under a temporary name, synced and renamed: where it is, it is whole.
    ///
    /// # Errors
    /// Something can't be written.
    pub fn finish(&mut self, summary: &Summary) -> Result<(), RunError> {
        for table in [&mut self.frames, &mut self.faults, &mut self.logs, &mut self.outputs, &mut self.swaps] {
            table.flush()?;
        }
        let (temporary, path) = (self.path.join(".summary.json.tmp"), self.path.join("summary.json"));
        write_file(&temporary, format!("{}\n", summary.json()).as_bytes())?;
        std::fs::rename(&temporary, &path).map_err(|error| table::failed(&path, &error))
    }
}

impl FrameSink for RunDir {
    type Error = RunError;

    fn append(&mut self, record: &FrameRecord) -> Result<(), RunError> {
        let frame = record.frame;
        self.frames.row(&rows::FrameRow::new(record))?;
        for fault in &record.faults {
            self.faults.row(&rows::FaultRow::new(frame, fault, &self.names))?;
        }
        for log in &record.logs {
            self.logs.row(&rows::LogRow::new(frame, log, &self.names))?;
        }
        for output in &record.outputs {
            self.outputs.row(&rows::OutputRow::new(frame, output, &self.names))?;
        }
        for swap in &record.swaps {
            self.swaps.row(&rows::SwapRow::new(frame, swap, &self.names))?;
        }
        Ok(())
    }
}
