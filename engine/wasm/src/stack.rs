//! Guests run on the native stack of the thread that steps them, and may use [`WASM_STACK_BYTES_MAX`] of it. The threads of the engine's pool
//! have stacks of that size. For a caller on a thread with a smaller stack, the work moves to another pool.

use core::cell::Cell;
use std::sync::OnceLock;

use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};
use wasm_engine_components::limits::{THREAD_STACK_BYTES, WASM_STACK_BYTES_MAX};

/// Bytes that the host's own frames below and above a guest's may need.
const HOST_STACK_BYTES: usize = 1 << 20;

thread_local! {
    /// Lowest address of this thread's stack; 0 if it isn't known yet, `usize::MAX` if the system doesn't say.
    static STACK_LOW: Cell<usize> = const { Cell::new(0) };
}

/// Pool for callers with a small stack, made when the first one comes.
static POOL: OnceLock<ThreadPool> = OnceLock::new();

/// Makes the pool for [`on_deep_stack`], if threads like this one need it.
pub(super) fn find_deep_stack() -> Result<(), ThreadPoolBuildError> {
    if !is_deep() && POOL.get().is_none() {
        // Another thread may have been faster.
        let _ = POOL.set(pool(THREAD_STACK_BYTES)?);
    }
    Ok(())
}

/// Runs `work` where the native stack is deep enough for guests: on this thread, or in a pool of this module.
///
/// # Panics
/// If this thread's stack is small, that of the thread that loaded the runtime wasn't, and the machine has no room for more threads. The
/// engine's own commands do everything in one pool.
pub(super) fn on_deep_stack<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    if is_deep() {
        return work();
    }
    let pool = POOL.get_or_init(|| pool(THREAD_STACK_BYTES).expect("there is room for threads as there was at load"));
    pool.install(work)
}

fn pool(stack_bytes: usize) -> Result<ThreadPool, ThreadPoolBuildError> {
    ThreadPoolBuilder::new()
        .stack_size(stack_bytes)
        .num_threads(rayon::current_num_threads())
        .thread_name(|number| format!("wasm-engine-guest-{number}"))
        .start_handler(|_| STACK_LOW.set(1))
        .build()
}

#[inline]
fn is_deep() -> bool {
    let mut low = STACK_LOW.get();
    if low == 0 {
        low = find_low();
        STACK_LOW.set(low);
    }
    let here = core::ptr::from_ref(&low).addr();
    low == 1 || here.saturating_sub(low) >= WASM_STACK_BYTES_MAX as usize + HOST_STACK_BYTES
}

#[cfg(target_os = "linux")]
fn find_low() -> usize {
    let mut attributes = core::mem::MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: the call fills the attributes of the calling thread, or fails and leaves them alone.
    if unsafe { libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) } != 0 {
        return usize::MAX;
    }
    let (mut low, mut size) = (core::ptr::null_mut(), 0);
    // SAFETY: the attributes were filled above; the pointers are to locals; they are destroyed once and not used again.
    let status = unsafe {
        let status = libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut low, &raw mut size);
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        status
    };
    if status == 0 { low.addr() } else { usize::MAX }
}

#[cfg(target_os = "macos")]
fn find_low() -> usize {
    // SAFETY: both only read what the system knows of the calling thread.
    let (top, size) = unsafe {
        let this = libc::pthread_self();
        (libc::pthread_get_stackaddr_np(this).addr(), libc::pthread_get_stacksize_np(this))
    };
    top.saturating_sub(size)
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn find_low() -> usize {
    usize::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_cannot_be_had_are_an_error() {
        assert!(pool(usize::MAX / 4).is_err());
        assert!(find_deep_stack().is_ok());
        assert!(pool(THREAD_STACK_BYTES).expect("threads").install(is_deep));
    }
}
