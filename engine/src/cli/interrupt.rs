//! Ctrl-C and SIGTERM: the first ends a run after the frame in hand, the second ends the process at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Exit status of a process that was ended at once: 128 and the number of SIGINT.
const EXIT_KILLED: i32 = 130;

/// A flag that the first signal sets.
pub(super) fn flag() -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&flag);
    let installed = ctrlc::set_handler(move || {
        if set.swap(true, Ordering::Relaxed) {
            std::process::exit(EXIT_KILLED);
        }
        eprintln!("\nending after this frame; once more ends at once");
    });
    if let Err(error) = installed {
        eprintln!("warning: Ctrl-C ends the process at once: {error}");
    }
    flag
}
