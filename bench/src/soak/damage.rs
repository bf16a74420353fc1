//! Damage that a loss of power does and a kill doesn't: a journal whose end is torn or zeros, a snapshot that is half written.

use std::fs::{self, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use wasm_engine::run_dir::{Access, OpenRun};

use super::random::Random;

/// Most bytes that are cut off or added.
const BYTES_MAX: u64 = 96;
/// Most zeros that are added, more than a block of a disk has.
const ZEROS_MAX: u64 = 6_000;
/// Bytes of the header of a journal's file. That of the first one is on the disk before the manifest is.
pub(super) const JOURNAL_HEADER_BYTES: u64 = 56;

/// Damages a run directory whose process was killed. Returns what was done, if anything. If `may_cut`, the journal may lose what was on
/// the disk: more than a loss of power takes, and more than a run can lose whose events can't be read again.
///
/// # Errors
/// A file can't be read or written.
pub(super) fn harm(random: &mut Random, run: &Path, may_cut: bool) -> io::Result<Vec<String>> {
    let mut done = Vec::new();
    if !has_ended(run) && random.one_in(2) {
        done.extend(harm_journal(random, &run.join("journal"), may_cut)?);
    }
    if random.one_in(3) {
        done.extend(leave_half_a_snapshot(random, &run.join("snapshots"))?);
    }
    Ok(done)
}

/// Returns whether a run's journal has its end. Then all of it is on the disk, and nothing was written behind it.
fn has_ended(run: &Path) -> bool {
    let is_told = || OpenRun::open(run, Access::Read).is_ok_and(|run| run.journal.end().is_some());
    run.join("summary.json").exists() || is_told()
}

/// Returns the files of a folder, sorted by name; none if there is no folder.
pub(super) fn files(folder: &Path, extension: &str) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    files.retain(|path| path.extension().is_some_and(|own| own == extension));
    files.sort();
    Ok(files)
}

fn harm_journal(random: &mut Random, folder: &Path, may_cut: bool) -> io::Result<Option<String>> {
    let mut segments = files(folder, "wej")?;
    let Some(last) = segments.pop() else { return Ok(None) };
    let kept = if segments.is_empty() { JOURNAL_HEADER_BYTES } else { 0 };
    // Without `append` no system has to let a file be cut.
    let mut file = OpenOptions::new().write(true).open(&last)?;
    let length = file.seek(SeekFrom::End(0))?;
    let name = last.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let what = match random.of(0..=3) {
        0 | 1 if may_cut => {
            let cut = random.of(1..=BYTES_MAX).min(length.saturating_sub(kept));
            file.set_len(length - cut)?;
            format!("{name} cut from {length} to {} bytes", length - cut)
        }
        // Where a header is to be, there is never anything else: it is written before the rest.
        0..=2 if length >= JOURNAL_HEADER_BYTES => {
            let garbage: Vec<u8> = (0..random.of(1..=BYTES_MAX)).map(|_| random.number().to_le_bytes()[0]).collect();
            file.write_all(&garbage)?;
            format!("{name} of {length} bytes got {} more of garbage", garbage.len())
        }
        _ => {
            let zeros = random.of(1..=ZEROS_MAX);
            io::copy(&mut io::Read::take(io::repeat(0), zeros), &mut file)?;
            format!("{name} of {length} bytes got {zeros} zeros")
        }
    };
    Ok(Some(what))
}

/// Leaves a snapshot as a process does that is killed while it writes one.
fn leave_half_a_snapshot(random: &mut Random, folder: &Path) -> io::Result<Option<String>> {
    let Some(last) = files(folder, "wes")?.pop() else { return Ok(None) };
    let mut bytes = fs::read(&last)?;
    let whole = bytes.len();
    bytes.truncate(random.index(whole.max(1)));
    let frame = last.file_stem().and_then(|stem| stem.to_string_lossy().parse::<u64>().ok()).unwrap_or(0);
    let name = format!(".{:010}.wes.tmp", frame + random.of(0..=40));
    fs::write(folder.join(&name), &bytes)?;
    Ok(Some(format!("{name} has {} of {whole} bytes of a snapshot", bytes.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_is_harmed_at_its_end_and_only_its_last_file() {
        let folder = tempfile::tempdir().unwrap();
        let (first, last) = (folder.path().join("000001.wej"), folder.path().join("000002.wej"));
        let mut lengths = Vec::new();
        for seed in 0..40 {
            fs::write(&first, [7; 200]).unwrap();
            fs::write(&last, [7; 200]).unwrap();
            let done = harm_journal(&mut Random::new(seed, 1), folder.path(), true).unwrap().unwrap();
            assert!(done.starts_with("000002.wej"), "{done}");
            assert_eq!(fs::read(&first).unwrap(), [7; 200]);
            let bytes = fs::read(&last).unwrap();
            assert!(bytes.len() != 200 && bytes.iter().take(200).all(|byte| *byte == 7), "{done}");
            lengths.push(bytes.len());
        }
        assert!(lengths.iter().any(|length| *length < 200) && lengths.iter().any(|length| *length > 400));
    }

    #[test]
    fn a_run_that_has_ended_keeps_its_journal() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("journal")).unwrap();
        fs::write(folder.path().join("journal/000001.wej"), [7; 200]).unwrap();
        fs::write(folder.path().join("summary.json"), "{}").unwrap();
        for seed in 0..40 {
            assert_eq!(harm(&mut Random::new(seed, 1), folder.path(), true).unwrap(), [""; 0]);
        }
    }

    #[test]
    fn where_there_is_nothing_nothing_is_harmed() {
        let folder = tempfile::tempdir().unwrap();
        for seed in 0..10 {
            assert_eq!(harm(&mut Random::new(seed, 1), folder.path(), true).unwrap(), [""; 0]);
        }
    }
}
