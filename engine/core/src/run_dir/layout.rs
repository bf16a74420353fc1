//! What the files and folders of a run directory are called, and the parts of its snapshots.

/// The manifest.
pub(super) const MANIFEST: &str = "manifest.toml";
/// Its name while it is written.
pub(super) const MANIFEST_TEMPORARY: &str = ".manifest.toml.tmp";
/// The folder of the journal.
pub(super) const JOURNAL: &str = "journal";
/// The folder of the snapshots.
pub(super) const SNAPSHOTS: &str = "snapshots";
/// The folder of the modules, models and events.
pub(super) const FILES: &str = "files";
/// The scenario's text.
pub(crate) const SCENARIO: &str = "scenario.toml";
/// The summary.
pub const SUMMARY: &str = "summary.json";
/// What a snapshot holds of the summary so far.
pub(crate) const COLLECTED: &str = "collected";
/// How far the tables were written when a snapshot was taken.
pub(crate) const TABLES: &str = "tables";
/// What the first snapshot of a branch holds of events that can't be read again.
pub(crate) const INPUTS: &str = "inputs";

/// The name of the copy of an events file.
pub(super) fn events_copy(sha256: &str) -> String {
    format!("{sha256}.jsonl")
}
