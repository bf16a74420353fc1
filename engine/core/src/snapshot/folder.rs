//! The folder of a run's snapshots: a file for each, named after its frame.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use wasm_engine_components::Digest;

use super::{OTHER_SNAPSHOT, Snapshot, SnapshotRef, content, damaged};
use crate::problem::Problem;
use wasm_engine_files::unfinished::{Unfinished, making};

const EXTENSION: &str = ".wes";
/// Prefix and suffix of the name of an unfinished file.
const TEMPORARY: (&str, &str) = (".", ".wes.tmp");
/// Reserves bytes that are about to be written.
pub type Take<'a> = dyn FnMut(u64) -> io::Result<()> + 'a;

/// Number of bytes that are read or written at once.
const BUFFER_BYTES: usize = 1 << 20;

/// Returns the path of a frame's snapshot.
pub fn path(folder: &Path, frame: u64) -> PathBuf {
    folder.join(format!("{frame:010}{EXTENSION}"))
}

/// Writes a snapshot. When this returns, it is on the disk under its name: one of the same frame is replaced, and if anything
/// fails, none of it is there.
///
/// # Errors
/// Fails if the file can't be written, or the snapshot has neither a base nor all guests, or both.
pub fn write(folder: &Path, snapshot: &Snapshot) -> io::Result<SnapshotRef> {
    write_counted(folder, snapshot, &mut |_| Ok(()))
}

/// Like [`write`](fn@write), and calls `take` with numbers of bytes before they are written.
///
/// # Errors
/// As for [`write`](fn@write), and if `take` fails.
pub fn write_counted(folder: &Path, snapshot: &Snapshot, take: &mut Take<'_>) -> io::Result<SnapshotRef> {
    let (before, after) = TEMPORARY;
    let temporary = folder.join(format!("{before}{:010}{after}", snapshot.state.frame));
    let _unfinished = Unfinished::file(&temporary);
    let written = write_file(&temporary, snapshot, take).and_then(|checksum| {
        making(|| std::fs::rename(&temporary, path(folder, snapshot.state.frame)))?;
        wasm_engine_files::sync_folder(folder)?;
        Ok(SnapshotRef { frame: snapshot.state.frame, checksum })
    });
    if written.is_err() {
        // What is left of it is in the way of nobody, and `clean` tries again.
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

fn write_file(path: &Path, snapshot: &Snapshot, take: &mut Take<'_>) -> io::Result<u128> {
    let file =
        making(|| wasm_engine_files::no_link(File::options().write(true).create(true).truncate(true)).open(path))?;
    let file = BufWriter::with_capacity(BUFFER_BYTES, Counted { file, take });
    let (mut file, checksum) = content::encode(snapshot, file)?;
    file.flush()?;
    file.get_ref().file.sync_all()?;
    Ok(checksum)
}

/// A file whose bytes are taken before they are written.
struct Counted<'a, 'b> {
    file: File,
    take: &'a mut Take<'b>,
}

impl Write for Counted<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        (self.take)(bytes.len() as u64)?;
        self.file.write_all(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Returns the frames of which there is a file, ascending. Files that aren't named like a snapshot are left out.
///
/// # Errors
/// Fails if the folder can't be read.
pub fn list(folder: &Path) -> io::Result<Vec<u64>> {
    let mut frames = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        frames.extend(name.to_str().and_then(frame_of));
    }
    frames.sort_unstable();
    Ok(frames)
}

fn frame_of(name: &str) -> Option<u64> {
    let frame = name.strip_suffix(EXTENSION)?.parse().ok()?;
    // A frame has one name only.
    (Path::new(name) == path(Path::new(""), frame)).then_some(frame)
}

/// Removes what writes that were cut short left behind.
///
/// # Errors
/// Fails if the folder can't be read, or a file in it can't be removed.
pub fn clean(folder: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let (before, after) = TEMPORARY;
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(before) && name.ends_with(after)) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn open(path: &Path, frame: u64) -> Result<(BufReader<File>, u64), Problem> {
    let file = wasm_engine_files::open_regular(path).and_then(|file| Ok((file.metadata()?.len(), file)));
    let (length, file) = file.map_err(|error| {
        let what = format!("the snapshot of frame {frame} can't be opened");
        Problem::new(what).caused_by(error).file(path).help(OTHER_SNAPSHOT)
    })?;
    Ok((BufReader::with_capacity(BUFFER_BYTES, file), length))
}

/// Reads from a snapshot the digest of the frame before it, and that of all agents' memories. Its pages aren't read.
///
/// # Errors
/// As [`read`], for what is read of it.
pub fn read_digests(folder: &Path, frame: u64) -> Result<(Digest, Digest), Problem> {
    let path = path(folder, frame);
    let (file, length) = open(&path, frame)?;
    content::decode_digests(file, length).map_err(|what| damaged(&path, what))
}

/// Returns the snapshot on which one is based; `None` for a full one. Only its header is read.
///
/// # Errors
/// As [`read`], for what is read of it.
pub fn read_base(folder: &Path, frame: u64) -> Result<Option<SnapshotRef>, Problem> {
    let path = path(folder, frame);
    let (file, length) = open(&path, frame)?;
    content::decode_base(file, length).map_err(|what| damaged(&path, what))
}

/// Reads one snapshot, and the checksum of its file.
///
/// # Errors
/// Fails if the file can't be read, or isn't what was written: the problem names it, and the byte.
pub fn read(folder: &Path, frame: u64) -> Result<(Snapshot, SnapshotRef), Problem> {
    let path = path(folder, frame);
    let (file, length) = open(&path, frame)?;
    let (snapshot, checksum) = content::decode(file, length).map_err(|what| damaged(&path, what))?;
    if snapshot.state.frame != frame {
        let what = format!("it holds frame {}, at byte 16, and its name says {frame}", snapshot.state.frame);
        return Err(damaged(&path, what));
    }
    Ok((snapshot, SnapshotRef { frame, checksum }))
}

/// Reads the snapshot of a frame with all those that it goes on from: a full one first, that of `frame` last.
///
/// # Errors
/// As [`read`], for each of them; or a base is missing, or another than the one that was there.
pub fn read_chain(folder: &Path, frame: u64) -> Result<Vec<Snapshot>, Problem> {
    let mut chain = vec![read(folder, frame)?.0];
    while let Some((of, base)) = chain.last().and_then(|last| Some((last.state.frame, last.base?))) {
        let file = path(folder, base.frame);
        if !file.exists() {
            let what = format!("it is missing, and the snapshot of frame {of} goes on from it");
            return Err(damaged(&file, what));
        }
        // Ends: a base is of an earlier frame, or it isn't read.
        let (snapshot, found) = read(folder, base.frame)?;
        if found != base {
            let what = format!("it isn't the one that the snapshot of frame {of} goes on from: it was written anew");
            return Err(damaged(&file, what));
        }
        chain.push(snapshot);
    }
    chain.reverse();
    Ok(chain)
}
