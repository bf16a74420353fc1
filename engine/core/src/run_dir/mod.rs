//! The run directory: the results of a run, and everything that is needed to open it again. `docs/RUN_FORMAT.md` is the
//! reference of its files.
//!
//! | file | holds |
//! |---|---|
//! | `manifest.toml` | what was run: engine, scenario, seed, parameters, hashes, environment |
//! | `scenario.toml`, `files/` | the scenario's text, and its modules, models and events by their hashes |
//! | `journal/` | what can't be derived of each frame, and its digests |
//! | `snapshots/` | the whole state at some frames |
//! | `frames.jsonl` | a line for each frame: digest, counts, lanes |
//! | `faults.jsonl`, `logs.jsonl`, `outputs.jsonl` | a line for each fault, log line and named output |
//! | `swaps.jsonl` | a line for each swap |
//! | `models.jsonl` | a line for each frame and model in which rows failed or took too long, an audit failed, or the model was given up |
//! | `summary.json` | the summary; it is there only once the run has ended |
//! | `.starting` | that the folder is being made: it is there only until the manifest is (`start`) |
//! | `lock` | nothing that counts: who uses the folder holds a lock on it ([`RunLock`]) |
//!
//! [`Recording`] writes one while a run goes on, [`OpenRun`] reads one.

mod checksummed_text;
mod disk;
mod handover;
mod inference;
mod item;
mod kept;
mod layout;
mod lock;
mod manifest;
mod manifest_fields;
mod manifest_file;
mod manifest_values;
mod open;
mod output_dir;
mod recording;
mod room;
mod rows;
mod snapshot_permit;
mod snapshot_retention;
mod start;
mod table;
mod tables;
mod writer;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use wasm_engine_components::text::harmless_json;
use wasm_engine_components::{Digest, FrameRecord};

pub use checksummed_text::{open_text, seal_text};
pub use disk::DiskMax;
pub use handover::{Closed, Closer};
pub use inference::Inference;
pub use item::RecordedFrame;
pub use layout::SUMMARY;
pub use lock::RunLock;
pub use manifest::{Branch, Manifest, RunOptions};
pub use open::{Access, OpenRun};
pub use output_dir::OutputDir;
pub use recording::Recording;

pub(crate) use kept::find_files;
pub(crate) use layout::{COLLECTED, INPUTS, SCENARIO, TABLES};
pub(crate) use manifest::ModelFacts;
pub(crate) use open::recorded_scenario;

use self::disk::Disk;
use self::item::{Item, Pending};
use self::layout::{FILES, JOURNAL, MANIFEST, SNAPSHOTS, events_copy};
use self::snapshot_permit::{SnapshotPermit, SnapshotSlot};
use self::start::Start;
use self::table::{failed, replace_file, sync_folder, write_file};
use self::tables::Tables;
use self::writer::{SnapshotWriter, Writer, WriterThread};
use crate::journal::{JournalOptions, JournalWriter};
use crate::problem::{Problem, RunError};
use crate::scenario::Scenario;
use crate::simulation::Simulation;
use crate::snapshot::{self, Snapshot};
use crate::state::State;
use crate::summary::Summary;
use wasm_engine_files::unfinished::making;
use wasm_engine_wasm::{GuestCapture, GuestCopy};

/// The largest events file of which a copy is kept, in bytes.
const EVENTS_COPY_BYTES_MAX: u64 = 256 << 20;
/// What to do where there was no room before the run began.
const NOTHING_RUN: &str =
    "nothing was run: make room, or name a folder elsewhere with --out, and give the command again";
/// Number of frames that are handed over together.
const BATCH_FRAMES_MAX: usize = 64;
/// Longest time that a frame waits for others to be handed over with.
const BATCH_PERIOD: Duration = Duration::from_millis(20);

/// A run directory that is being written.
pub struct RunDir {
    path: PathBuf,
    recorded: bool,
    disk: Disk,
    thread: WriterThread,
    batch_since: Instant,
    digest: Digest,
    snapshot_slot: SnapshotSlot,
    /// Whether inputs from outside can't be read again.
    streams: bool,
    /// Whether the frame that had no room was kept.
    has_kept_last: bool,
    /// The lock, held as long as this; in a resumed run, the open run holds it.
    _lock: Option<RunLock>,
}

impl RunDir {
    /// Makes the folder at `output_dir` and the files in it, and writes those that say what is run: the manifest as the last one, so
    /// that a folder with a manifest is whole.
    ///
    /// # Errors
    /// Fails if the folder or a file can't be made or written, or the events can't be read.
    pub fn create(output_dir: &OutputDir, scenario: &Scenario, options: &RunOptions) -> Result<Self, RunError> {
        Self::make(output_dir, scenario, options, |_| Ok(()))
    }

    /// Like [`create`](Self::create), for a branch, which begins with a snapshot of the run that it comes from.
    ///
    /// # Errors
    /// As for [`RunDir::create`].
    pub(crate) fn create_from(
        output_dir: &OutputDir,
        scenario: &Scenario,
        options: &RunOptions,
        state: State<GuestCapture>,
        extras: Vec<(String, Vec<u8>)>,
    ) -> Result<Self, RunError> {
        let snapshot = Snapshot { state, base: None, extras };
        let mut no_room = None;
        let made = Self::make(output_dir, scenario, options, |path| {
            let (folder, disk) = (path.join(SNAPSHOTS), Disk::open(path, options.disk_max));
            let written = snapshot::write_counted(&folder, &snapshot, &mut |bytes| disk.take(bytes));
            no_room = disk.is_full().then(|| disk.first_error());
            written.map(drop).map_err(|error| failed(&folder, error))
        });
        // A bound that was set isn't a full disk, so the help is different.
        made.map_err(|error| no_room.unwrap_or(error))
    }

    fn make(
        output_dir: &OutputDir,
        scenario: &Scenario,
        options: &RunOptions,
        begin: impl FnOnce(&Path) -> Result<(), RunError>,
    ) -> Result<Self, RunError> {
        let made = Self::make_in(output_dir, scenario, options, begin);
        made.map_err(|error| error.into_problem().room_help(NOTHING_RUN).into())
    }

    fn make_in(
        output_dir: &OutputDir,
        scenario: &Scenario,
        options: &RunOptions,
        begin: impl FnOnce(&Path) -> Result<(), RunError>,
    ) -> Result<Self, RunError> {
        let id = fresh_id();
        let events = manifest_file::events_hash(scenario, options)?;
        let manifest = manifest_file::manifest(scenario, options, id, events.as_deref());
        let bytes = manifest.len() as u64 + bytes_at_start(scenario, options);
        disk::check_start(options.disk_max, bytes)?;
        let (start, lock) = Start::begin(|| output_dir.take())?;
        lock.stays();
        let path = start.folder().to_path_buf();
        Disk::open(&path, options.disk_max).check_copies(bytes, NOTHING_RUN)?;
        write_file(&path.join(SCENARIO), scenario.source.as_bytes())?;
        if options.record {
            kept::keep_files(&path, scenario, options)?;
            keep_events(&path, scenario, options, events.as_deref())?;
            make_snapshots_folder(&path)?;
        }
        let first_frame = options.branch.as_ref().map_or(0, |branch| branch.frame);
        let journal = match options.record {
            true => {
                let options = JournalOptions { first_frame, ..JournalOptions::default() };
                Some(JournalWriter::create_with(&path.join(JOURNAL), id, options).map_err(RunError::of_machine)?)
            }
            false => None,
        };
        let tables = Tables::create(&path, scenario)?;
        begin(&path)?;
        replace_file(&path.join(MANIFEST), manifest.as_bytes())?;
        start.done();
        let before = options.branch.as_ref().map_or(Digest(0), Branch::digest_before);
        let thin = options.snapshot_every.is_none();
        let disk = Disk::open(&path, options.disk_max);
        Self::start(path, Some(lock), journal, tables, (before, disk), (thin, first_frame, options.streams))
    }

    /// Opens the directory of a run that goes on with `simulation`, which is in the state from which it does. What was written after its last
    /// whole frame is removed; tables go on at the positions in `tables`, or from their beginning. `forms` are those of its models that
    /// the manifest doesn't have, as [`OpenRun::other_forms`] returns them.
    ///
    /// # Errors
    /// Fails if a file is damaged, or can't be written.
    pub(crate) fn reopen(
        run: &OpenRun,
        tables: Option<&[u8]>,
        forms: &BTreeMap<String, ModelFacts>,
        simulation: &Simulation,
    ) -> Result<Self, RunError> {
        let OpenRun { path, scenario, journal, .. } = run;
        let positions = tables.map(postcard::from_bytes).transpose();
        let positions = positions.map_err(|_| {
            RunError::from(Problem::new("has no positions of the tables: it is damaged").file(&path.join(SNAPSHOTS)))
        })?;
        // Before anything is cut.
        let summary = path.join(SUMMARY);
        if summary.is_dir() {
            let what = Problem::new("can't be replaced: it is a folder, a file is needed").file(&summary);
            return Err(what.help("remove it: the summary is written again when the run ends").into());
        }
        run.is_written();
        let tables = Tables::reopen(path, scenario, positions.as_ref())?;
        // The summary is that of an end that won't be the last.
        match std::fs::remove_file(&summary) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(&summary, error)),
            _ => sync_folder(path)?,
        }
        // A run that is asked to stop earlier this time still has as many frames as before.
        let frames = scenario.frames.max(run.manifest.frames);
        if frames > run.manifest.frames || !forms.is_empty() {
            Manifest::rewrite(path, frames, forms)?;
        }
        // A crash may have left nothing of a branch's journal that says where it begins.
        let options = JournalOptions { first_frame: run.first_frame(), ..JournalOptions::default() };
        let journal =
            JournalWriter::reopen_with(journal, journal.frames_count(), options).map_err(RunError::of_machine)?;
        make_snapshots_folder(path)?;
        // Of a write that a crash cut short.
        let snapshots = path.join(SNAPSHOTS);
        snapshot::clean(&snapshots).map_err(|error| failed(&snapshots, error))?;
        // The journal can't confirm snapshots of frames that it has lost.
        for frame in run.snapshot_frames()?.into_iter().filter(|&frame| frame > run.end_frame()) {
            let file = snapshot::path(&snapshots, frame);
            std::fs::remove_file(&file).map_err(|error| failed(&file, error))?;
        }
        // The open run holds the lock.
        let thin = run.manifest.snapshot_every.is_none();
        Self::start(
            path.clone(),
            None,
            Some(journal),
            tables,
            (simulation.digest(), Disk::open(path, run.disk_max)),
            (thin, run.first_frame(), !run.manifest.events_repeat()),
        )
    }

    fn start(
        path: PathBuf,
        lock: Option<RunLock>,
        journal: Option<JournalWriter>,
        tables: Tables,
        (digest, disk): (Digest, Disk),
        (thin, first_frame, streams): (bool, u64, bool),
    ) -> Result<Self, RunError> {
        let snapshots = SnapshotWriter::new(path.join(SNAPSHOTS), thin, first_frame, disk.clone());
        let recorded = journal.is_some();
        let thread = WriterThread::start(Writer::new(journal, tables, snapshots, disk.clone()))?;
        Ok(Self {
            path,
            recorded,
            disk,
            thread,
            batch_since: Instant::now(),
            digest,
            snapshot_slot: SnapshotSlot::default(),
            streams,
            has_kept_last: false,
            _lock: lock,
        })
    }

    /// Returns the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns a handle that ends the writing from another thread.
    pub fn closer(&self) -> Closer {
        Closer { handover: self.thread.handover().clone(), path: self.path.clone(), recorded: self.recorded }
    }

    /// Takes a frame.
    ///
    /// # Errors
    /// Fails if a file of this or an earlier frame can't be written, or the disk has no room for the frame; frames before it are
    /// written.
    pub fn append(&mut self, frame: RecordedFrame) -> Result<(), RunError> {
        self.append_with(frame, |_| ())
    }

    /// Does the same as [`append`](Self::append), and calls `accepted` with the record if the frame has room.
    fn append_with(&mut self, mut frame: RecordedFrame, accepted: impl FnOnce(&FrameRecord)) -> Result<(), RunError> {
        if !self.recorded || !frame.to_journal {
            frame.leave_out_of_journal();
        }
        let full = self.take_room(&mut frame)?;
        match full {
            Some(error) if !self.streams => return Err(error),
            _ => accepted(&frame.record),
        }
        self.put(frame)?;
        self.has_kept_last = full.is_some();
        full.map_or(Ok(()), Err)
    }

    fn put(&mut self, frame: RecordedFrame) -> Result<(), RunError> {
        self.digest = frame.record.digest;
        let mut batch = self.thread.handover().batch();
        if batch.is_empty() {
            self.batch_since = Instant::now();
        }
        batch.push(frame);
        // Inputs that can't be read again are written at once; and while the run waits for input, there is no next frame to wait for.
        let due = self.streams || batch.len() == BATCH_FRAMES_MAX || self.batch_since.elapsed() >= BATCH_PERIOD;
        drop(batch);
        if due { self.hand_over() } else { Ok(()) }
    }

    fn hand_over(&mut self) -> Result<(), RunError> {
        let handover = self.thread.handover().clone();
        let mut waiting = handover.batch();
        if waiting.is_empty() {
            return Ok(());
        }
        let batch = std::mem::replace(&mut *waiting, Vec::with_capacity(BATCH_FRAMES_MAX));
        self.thread.send(Item::Frames(batch))
    }

    /// Waits until no other snapshot is being written: before its state is copied. Frames so far don't wait with it.
    fn snapshot_permit(&mut self) -> Result<SnapshotPermit, RunError> {
        self.hand_over()?;
        Ok(self.snapshot_slot.acquire())
    }

    /// Writes a snapshot of the state after the frames so far.
    fn snapshot(
        &mut self,
        state: State<GuestCopy>,
        extras: Vec<(String, Vec<u8>)>,
        permit: SnapshotPermit,
    ) -> Result<(), RunError> {
        self.hand_over()?;
        self.thread.send(Item::Snapshot(Box::new(Pending { state, extras, permit })))
    }

    /// Returns whether a snapshot is being written.
    pub fn is_busy(&self) -> bool {
        self.snapshot_slot.is_taken()
    }

    /// Writes what isn't written yet and waits until it is on the disk, then `summary.json`: where it is, all else is whole.
    ///
    /// # Errors
    /// Fails if something can't be written.
    pub fn finish(&mut self, summary: &Summary) -> Result<(), RunError> {
        self.hand_over()?;
        let text = format!("{}\n", harmless_json(&summary.json()));
        self.thread.send(Item::End(self.digest, xxhash_rust::xxh3::xxh3_128(text.as_bytes())))?;
        self.thread.join()?;
        replace_file(&self.path.join(SUMMARY), text.as_bytes())
    }
}

/// Returns the size of the files that a run begins with, without its manifest.
fn bytes_at_start(scenario: &Scenario, options: &RunOptions) -> u64 {
    let source = scenario.source.len() as u64;
    if !options.record {
        return source;
    }
    let events = options.events_to_keep(scenario).and_then(|file| kept::copied_bytes(file, EVENTS_COPY_BYTES_MAX));
    source.saturating_add(events.unwrap_or(0)).saturating_add(kept::bytes_of_copies(scenario, options))
}

/// Copies the events file, which has the hash `events`, unless it is very large. The run can't go on without it.
fn keep_events(path: &Path, scenario: &Scenario, options: &RunOptions, events: Option<&str>) -> Result<(), RunError> {
    let (Some(file), Some(sha256)) = (options.events_to_keep(scenario), events) else { return Ok(()) };
    if kept::copied_bytes(file, EVENTS_COPY_BYTES_MAX).is_none() {
        return Ok(());
    }
    let folder = path.join(FILES);
    let copy = folder.join(events_copy(sha256));
    table::copy_file(file, &copy).map_err(|error| failed(&copy, error))?;
    sync_folder(&folder)
}

/// Makes the folder for snapshots, if it isn't there.
fn make_snapshots_folder(path: &Path) -> Result<(), RunError> {
    let folder = path.join(SNAPSHOTS);
    making(|| wasm_engine_files::make_folder(&folder)).map_err(|error| failed(&folder, error))
}

/// Returns a number that no other run has.
fn fresh_id() -> u128 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let parts = [now, u128::from(std::process::id())];
    let bytes: Vec<u8> = parts.into_iter().flat_map(u128::to_le_bytes).collect();
    xxhash_rust::xxh3::xxh3_128(&bytes)
}
