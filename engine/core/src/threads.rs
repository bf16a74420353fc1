//! Work on other threads: those of a simulation's pool, and those that write what is recorded. Nothing else of this crate starts a thread or
//! enters the pool, so that each of them tells the listener of the thread that asked for the work.

use std::io;
use std::thread::{Builder, JoinHandle};

use tracing::level_filters::LevelFilter;
use tracing::subscriber::NoSubscriber;
use tracing::{Dispatch, Span, dispatcher};
use wasm_engine_files::Lack;

/// Returns what to do about a thread that can't be started.
pub(crate) fn more_threads() -> String {
    format!("{}, or use fewer with --threads", Lack::Threads.remedy())
}

/// Does work on a thread of the pool. Who listens to spans and events on this thread listens to those of the work, and its spans belong to this
/// thread's.
///
/// If the work is a loop of many frames, each of them starts where it runs, and none is handed from thread to thread.
pub fn on_pool<R: Send>(pool: &rayon::ThreadPool, work: impl FnOnce() -> R + Send) -> R {
    // Nobody listens, or it is one of the pool's threads already.
    if LevelFilter::current() == LevelFilter::OFF || pool.current_thread_index().is_some() {
        return pool.install(work);
    }
    let (listener, span) = (dispatcher::get_default(Dispatch::clone), Span::current());
    pool.install(|| dispatcher::with_default(&listener, || span.in_scope(work)))
}

/// Starts a thread. Who listens on this thread listens to that one, too; but what it tells is in none of this thread's spans, which may have ended
/// by then.
pub(crate) fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    let listener = dispatcher::get_default(Dispatch::clone);
    let thread = Builder::new().name(name.to_owned());
    // Where nobody listens yet, that thread belongs to whoever listens to the whole process later.
    if listener.is::<NoSubscriber>() {
        return thread.spawn(work);
    }
    thread.spawn(move || dispatcher::with_default(&listener, work))
}
