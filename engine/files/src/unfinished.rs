//! What is half made while this process works: files under temporary names, folders that aren't whole yet, programs that it has
//! started. Whoever makes such a thing keeps an [`Unfinished`] until it is whole or gone, and makes it, or gives it another name, within
//! [`making`] or [`Unfinished::made`]. A signal that ends the process at once lets [`remove_all`] take it away first, and from then on
//! nothing new is made, though other threads go on to the end of the process. After a kill it stays, and whoever comes next copes
//! with it, as ever.

use std::io;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::mpsc::sync_channel;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tempfile::TempDir;

/// How something is taken away.
type Remove = Box<dyn FnOnce() + Send>;

/// How often a folder is tried again in which a process that was just killed may still make a file, and the time between.
const REMOVE_TRIES: (u32, Duration) = (20, Duration::from_millis(5));

/// All that is half made now.
static ALL: Registry = Registry(Mutex::new((0, Vec::new())));

/// Things that are half made, by number, the latest last.
struct Registry(Mutex<(u64, Vec<(u64, Remove)>)>);

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

    /// Makes a folder that nobody needs before it is whole.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn folder(make: impl FnOnce() -> io::Result<TempDir>) -> io::Result<(TempDir, Self)> {
        Self::made(make, |folder| {
            let path = folder.path().to_path_buf();
            move || remove_folder(&path)
        })
    }

    /// Makes something, and says how it is taken away: no signal comes between the two. What makes it must be quick, and make nothing
    /// else by [`making`] or this.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn made<T, E, R: FnOnce() + Send + 'static>(
        make: impl FnOnce() -> Result<T, E>,
        remove: impl FnOnce(&T) -> R,
    ) -> Result<(T, Self), E> {
        let mut all = all();
        let made = make()?;
        let unfinished = Self::add(&mut all, Box::new(remove(&made)));
        Ok((made, unfinished))
    }

    /// Starts a program, which is ended with what it has started itself.
    ///
    /// # Errors
    /// It can't be started.
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

/// Makes a file or a folder in what is half made, or gives it its name: quickly, without writing into it. Once [`remove_all`] has begun, this
/// doesn't come back.
pub fn making<T>(make: impl FnOnce() -> T) -> T {
    let _all = all();
    make()
}

/// Takes away what is half made, the latest first, and comes back once that is done, or after `patience`: a file system that doesn't
/// answer may keep whoever makes something at this moment, or this. From then on nobody gets to make or to end such a thing: who tries waits for
/// the end of the process, which the caller sees to.
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
            // Nobody waits any more after the patience.
            let _ = done.send(());
        });
        match thread {
            // An error means that it took too long, or that a removal panicked: the process ends either way.
            Ok(_) => _ = is_done.recv_timeout(patience),
            // Without a thread, only what can't wait is done.
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
    // SAFETY: it takes numbers alone. The group is that of a child that hasn't been waited for, or it is gone, which is an error.
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
            // As a file system that answers late.
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
