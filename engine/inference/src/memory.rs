//! Bounds the memory that ONNX Runtime takes for a model's intermediate results. [`super::session`] uses it when it opens a session.
//!
//! Each session has an arena of its own, with the limit of its model's entry. So whether a row fits doesn't depend on other models or on the
//! machine. A run takes no more from the arena than it needs. If that depends on what rows hold, [`super::binding`] does one run of the model
//! at a time and empties the arena after each, so it doesn't depend on other rows, either.

use std::ptr;
use std::sync::{Mutex, MutexGuard, TryLockError};
use std::time::{Duration, Instant};

use ort::AsPointer as _;
use ort::environment::Environment;
use ort::session::RunOptions;
use ort::sys::{OrtAllocatorType, OrtMemType, OrtStatusPtr};

use super::limits::Deadline;
use super::watchdog::Halt;

/// Held while a session is opened, because the session takes the arena that the environment has at that time.
static OPENING: Mutex<()> = Mutex::new(());

/// Opens a session with `open`. Its arena has at most `bytes_max` bytes.
pub(super) fn with_arena<T>(
    environment: &Environment,
    bytes_max: u64,
    deadline: Deadline,
    open: impl FnOnce() -> Result<T, Halt>,
) -> Result<T, Halt> {
    let _opening = lock_until(deadline)?;
    register_arena(environment, usize::try_from(bytes_max).unwrap_or(usize::MAX))?;
    open()
}

/// Returns options of runs that empty the arena, also if they fail.
pub(super) fn returning_options() -> ort::Result<RunOptions> {
    let mut options = RunOptions::new()?;
    options.set("memory.enable_memory_arena_shrinkage", "cpu:0")?;
    Ok(options)
}

/// Takes the lock, unless a thread that was left behind while it opened a session holds it for ever.
fn lock_until(deadline: Deadline) -> Result<MutexGuard<'static, ()>, Halt> {
    loop {
        match OPENING.try_lock() {
            Ok(guard) => return Ok(guard),
            // Nothing is half done: the next arena replaces the last one.
            Err(TryLockError::Poisoned(poisoned)) => return Ok(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) if deadline.is_passed(Instant::now()) => {
                return Err(Halt::TimedOut(deadline.limit()));
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

/// Gives the environment an arena for sessions that are opened from now on. Open ones keep theirs.
fn register_arena(environment: &Environment, bytes_max: usize) -> Result<(), ort::Error> {
    /// ONNX Runtime's default.
    const DEFAULT: i32 = -1;
    /// The arena grows by as much as is asked for. Otherwise it would double, and how much fits would depend on what came before.
    const AS_REQUESTED: i32 = 1;
    let api = ort::api();
    let (mut place, mut arena) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: the functions are those of the loaded library, and have these types in every version that it may be. They write
    // a pointer to what they made, which is released below; the environment lives and copies what it is given.
    unsafe {
        let (on_cpu, plain) = (OrtAllocatorType::OrtArenaAllocator, OrtMemType::OrtMemTypeDefault);
        check((api.CreateCpuMemoryInfo)(on_cpu, plain, &raw mut place))?;
        let made = check((api.CreateArenaCfg)(bytes_max, AS_REQUESTED, DEFAULT, DEFAULT, &raw mut arena));
        let registered =
            made.and_then(|()| check((api.CreateAndRegisterAllocator)(environment.ptr().cast_mut(), place, arena)));
        if !arena.is_null() {
            (api.ReleaseArenaCfg)(arena);
        }
        (api.ReleaseMemoryInfo)(place);
        registered
    }
}

/// # Safety
/// The status comes from a function of the library, and nobody else has it.
unsafe fn check(status: OrtStatusPtr) -> Result<(), ort::Error> {
    // SAFETY: the caller says so.
    unsafe { ort::Error::result_from_status(status) }
}
