//! Unfinished things of this process: files under temporary names, folders that aren't complete yet, programs that it has started.
//!
//! Code that makes such a thing keeps an [`Unfinished`] until the thing is complete or removed, and creates or renames it within
//! [`making`] or [`Unfinished::made`]. A signal that ends the process at once calls [`remove_all`] first. From then on nothing new is
//! made, although other threads go on until the process ends. After a kill, unfinished things stay, and the next process handles them.

use std::io;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::mpsc::sync_channel;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tempfile::TempDir;

/// Removes an unfinished thing.
type Remove = Box<dyn FnOnce() + Send>;

/// Number of times that the removal of a folder is tried again, and the pause between: a process that was just killed may still make a file in it.
const REMOVE_TRIES: (u32, Duration) = (20, Duration::from_millis(5));

/// All unfinished things of this process.
static ALL: Registry = Registry(Mutex::new((0, Vec::new())));

/// Unfinished things by number, the latest last.
struct Registry(Mutex<(u64, Vec<(u64, Remove)>)>);

/// Registration of an unfinished thing, until it is dropped.
#[derive(Debug)]
#[must_use = "what it stands for counts as whole once this is dropped"]
pub struct Unfinished(u64);

impl Unfinished {
    /// Registers a thing that `remove` removes.
    pub fn new(remove: impl FnOnce() + Send + 'static) -> Self {
        Self::add(&mut all(), Box::new(remove))
    }

    /// Registers a file under a temporary name.
    pub fn file(path: &Path) -> Self {
        let path = path.to_path_buf();
        Self::new(move || drop(std::fs::remove_file(path)))
    }

    /// Makes a folder with `make`, and registers it.
    ///
    /// # Errors
    /// The error of `make`.
    pub fn folder(make: impl FnOnce() -> io::Result<TempDir>) -> io::Result<(TempDir, Self)> {
        Self::made(make, |folder| {
            let path = folder.path().to_path_buf();
            move || remove_folder(&path)
        })
    }

    /// Makes a thing with `make` and registers how it is removed, without a signal in between. `make` must be quick, and must not call
    /// [`making`] or this function.
    ///
    /// # Errors
    /// The error of `make`.
    pub fn made<T, E, R: FnOnce() + Send + 'static>(
        make: impl FnOnce() -> Result<T, E>,
        remove: impl FnOnce(&T) -> R,
    ) -> Result<(T, Self), E> {
        let mut all = all();
        let made = make()?;
        let unfinished = Self::add(&mut all, Box::new(remove(&made)));
        Ok((made, unfinished))
    }

    /// Starts a program, and registers it: it is ended with the programs that it has started.
    ///
    /// # Errors
    /// The program can't be started.
    pub fn child(command: &mut Command) -> io::Result<(Child, Self)> {
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(command, 0);
        Self::made(
            || command.spawn(),
            |child| {
                let id = child.id();
                move || end_group(id)
            },
        )
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

/// Runs `make`, which creates a file or a folder in an unfinished folder, or renames an unfinished thing. `make` must be quick, and not write
/// into the file. Once [`remove_all`] has begun, this function doesn't return.
pub fn making<T>(make: impl FnOnce() -> T) -> T {
    let _all = all();
    make()
}

/// Removes all unfinished things, the latest first. Returns when that is done, or after `patience`, because a file system may not answer.
/// From then on, threads that make or complete such a thing wait for the end of the process, which the caller has to bring about.
pub fn remove_all(patience: Duration) {
    ALL.remove_all(patience);
}

fn all() -> MutexGuard<'static, (u64, Vec<(u64, Remove)>)> {
    ALL.lock()
}

impl Registry {
    fn lock(&self) -> MutexGuard<'_, (u64, Vec<(u64, Remove)>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remove_all(&'static self, patience: Duration) {
        let remove = |mut all: MutexGuard<'static, (u64, Vec<(u64, Remove)>)>| {
            while let Some((_, remove)) = all.1.pop() {
                remove();
            }
            std::mem::forget(all);
        };
        let (done, is_done) = sync_channel(1);
        let thread = std::thread::Builder::new().name("cleanup".to_owned()).spawn(move || {
            remove(self.lock());
            // After `patience`, nobody waits for this any more.
            let _ = done.send(());
        });
        match thread {
            // An error means that it took too long, or that a removal panicked: the process ends either way.
            Ok(_) => _ = is_done.recv_timeout(patience),
            // Without a thread, things are only removed if that needs no waiting.
            Err(_) => _ = self.0.try_lock().map(remove),
        }
    }
}

fn remove_folder(path: &Path) {
    let (tries, pause) = REMOVE_TRIES;
    for _ in 0..tries {
        match std::fs::remove_dir_all(path) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => std::thread::sleep(pause),
            _ => return,
        }
    }
}

#[cfg(unix)]
fn end_group(id: u32) {
    let Ok(group) = libc::pid_t::try_from(id) else { return };
    // SAFETY: the arguments are numbers. The process group is that of a child that hasn't been waited for; if it is gone, the call fails.
    unsafe { libc::kill(-group, libc::SIGKILL) };
}

#[cfg(not(unix))]
fn end_group(_: u32) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_ends_the_process_waits_for_no_maker() {
        let all: &'static Registry = Box::leak(Box::new(Registry(Mutex::new((0, Vec::new())))));
        let (begun, wait) = sync_channel(1);
        let (end, is_ended) = sync_channel::<()>(1);
        let maker = std::thread::spawn(move || {
            let mut all = all.lock();
            let unfinished = Unfinished::add(&mut all, Box::new(move || end.send(()).unwrap_or_default()));
            begun.send(()).unwrap();
            // Stands for a file system that answers late.
            std::thread::sleep(Duration::from_secs(2));
            std::mem::forget(unfinished);
        });
        wait.recv().unwrap();
        let started = std::time::Instant::now();
        all.remove_all(Duration::from_millis(50));
        assert!(started.elapsed() < Duration::from_millis(1_500), "it didn't wait for the maker");
        maker.join().unwrap();
        is_ended.recv().unwrap();
        assert!(all.0.try_lock().is_err(), "nothing is made any more");
    }

    #[test]
    fn what_is_dropped_is_left_alone() {
        let before = all().1.len();
        let (folder, of_folder) = Unfinished::folder(tempfile::tempdir).unwrap();
        let file = folder.path().join("a");
        making(|| std::fs::write(&file, "x")).unwrap();
        let unfinished = [Unfinished::file(&file), of_folder];
        assert!(all().1.len() >= 2 && file.exists());
        drop(unfinished);
        assert!(all().1.len() <= before.max(1) && file.exists());
    }
}
