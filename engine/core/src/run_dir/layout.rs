//! Names of the files and folders of a run directory, and of the parts of its snapshots.

/// The manifest.
pub(super) const MANIFEST: &str = "manifest.toml";
/// Name of the manifest while it is written.
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
/// Part of a snapshot: the summary so far.
pub(crate) const COLLECTED: &str = "collected";
/// Part of a snapshot: how far the tables were written.
pub(crate) const TABLES: &str = "tables";
/// Part of the first snapshot of a branch: events that can't be read again.
pub(crate) const INPUTS: &str = "inputs";

/// Returns the name of the copy of an events file.
pub(super) fn events_copy(sha256: &str) -> String {
    format!("{sha256}.jsonl")
}
