//! What is half made while this process works: files under temporary names, folders that aren't whole yet, programs that it has
//! started. Whoever makes such a thing keeps an [`Unfinished`] until it is whole or gone. A signal that ends the process at once lets
//! [`remove_all`] take it away first; after a kill it stays, and whoever comes next copes with it, as ever.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How something is taken away.
type Remove = Box<dyn FnOnce() + Send>;

/// All that is half made now, by number, the latest last.
static ALL: Mutex<(u64, Vec<(u64, Remove)>)> = Mutex::new((0, Vec::new()));

/// Something that is half made, until this is dropped.
#[derive(Debug)]
#[must_use = "what it stands for counts as whole once this is dropped"]
pub struct Unfinished(u64);

impl Unfinished {
    /// Something that `remove` takes away.
    pub fn new(remove: impl FnOnce() + Send + 'static) -> Self {
        Self::add(&mut all(), Box::new(remove))
    }

    /// A file under a temporary name.
    pub fn file(path: &Path) -> Self {
        let path = path.to_path_buf();
        Self::new(move || drop(std::fs::remove_file(path)))
    }

    /// A folder that nobody needs before it is whole.
    pub fn folder(path: &Path) -> Self {
        let path: PathBuf = path.to_path_buf();
        Self::new(move || drop(std::fs::remove_dir_all(path)))
    }

    /// Starts a program, which is ended with what it has started itself.
    ///
    /// # Errors
    /// It can't be started.
    pub fn child(command: &mut Command) -> std::io::Result<(Child, Self)> {
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(command, 0);
        // From before it is there, so that no signal finds it unknown.
        let mut all = all();
        let child = command.spawn()?;
        let id = child.id();
        let unfinished = Self::add(&mut all, Box::new(move || end_group(id)));
        Ok((child, unfinished))
    }

    fn add(all: &mut (u64, Vec<(u64, Remove)>), remove: Remove) -> Self {
        all.0 += 1;
        all.1.push((all.0, remove));
        Self(all.0)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let mut all = all();
        all.1.retain(|(number, _)| *number != self.0);
    }
}

/// Takes away what is half made, the latest first. From then on nobody gets to make or to end such a thing: it waits for the end of
/// the process, which the caller sees to.
pub fn remove_all() {
    let mut all = all();
    while let Some((_, remove)) = all.1.pop() {
        remove();
    }
    std::mem::forget(all);
}

fn all() -> MutexGuard<'static, (u64, Vec<(u64, Remove)>)> {
    ALL.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(unix)]
fn end_group(id: u32) {
    let Ok(group) = libc::pid_t::try_from(id) else { return };
    // SAFETY: it takes numbers alone. The group is that of a child that hasn't been waited for, or it is gone, which is an error.
    unsafe { libc::kill(-group, libc::SIGKILL) };
}

#[cfg(not(unix))]
fn end_group(_: u32) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        std::fs::write(&file, "x").unwrap();
        let before = all().1.len();
        let unfinished = [Unfinished::file(&file), Unfinished::folder(folder.path())];
        assert!(all().1.len() >= 2 && file.exists());
        drop(unfinished);
        assert!(all().1.len() <= before.max(1) && file.exists());
    }
}
