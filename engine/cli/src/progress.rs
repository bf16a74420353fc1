//! The progress bar, and the line that says what takes long before the first frame: on standard error, where that is a terminal. A frame
//! costs the bar one look at the clock.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use wasm_engine_components::FrameCounts;
use wasm_engine_components::text::shown;

use super::terminal;
use wasm_engine_core::problem::{counted, thousands};
use wasm_engine_files::LoadProgress;

/// Shortest time between two updates.
const UPDATE_PERIOD: Duration = Duration::from_millis(100);
/// Largest number of times a second that the terminal is drawn.
const DRAWS_PER_S_MAX: u8 = 10;

/// Shows what takes long before the first frame, if standard error is a terminal.
pub(super) fn loading(quiet: bool) -> LoadProgress {
    if quiet || !terminal::is_watched() {
        return LoadProgress::default();
    }
    LoadProgress::new(move |text| {
        let mut line = drawn();
        match text {
            Some(text) => line.get_or_insert_with(ProgressBar::new_spinner).set_message(shown(text).to_string()),
            None => {
                if let Some(line) = line.take() {
                    line.finish_and_clear();
                }
            }
        }
    })
}

/// The bar or the line that is drawn now: one in a process, as there is one standard error.
static DRAWN: Mutex<Option<ProgressBar>> = Mutex::new(None);

fn drawn() -> MutexGuard<'static, Option<ProgressBar>> {
    DRAWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says something above the bar, where there is one.
pub(super) fn beside(say: impl FnOnce()) {
    let bar = drawn().clone();
    match bar {
        Some(bar) => bar.suspend(say),
        None => say(),
    }
}

/// A bar, or nothing if standard error isn't a terminal.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    due: Instant,
}

impl Progress {
    /// Creates a bar for a number of frames, unless `quiet`.
    pub fn new(frames: u64, quiet: bool) -> Self {
        let shown = !quiet && terminal::is_watched();
        let bar = shown.then(|| {
            let bar = ProgressBar::with_draw_target(Some(frames), ProgressDrawTarget::stderr_with_hz(DRAWS_PER_S_MAX));
            let template = "frame {human_pos}/{human_len} [{wide_bar}] {rate}{msg}, ETA {eta}";
            let rate = |state: &ProgressState, text: &mut dyn std::fmt::Write| {
                // A bar that can't be drawn is no reason to stop.
                let _ = write!(text, "{} frames/s", thousands(format!("{:.0}", state.per_sec())));
            };
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style.with_key("rate", rate).progress_chars("=> "));
            }
            bar
        });
        drawn().clone_from(&bar);
        Self { bar, due: Instant::now() }
    }

    /// Shows that frame number `frame` is done. `counts` are sums of the run; its agents are those of now.
    pub fn update(&mut self, frame: u64, counts: &FrameCounts) {
        let Some(bar) = &self.bar else { return };
        let now = Instant::now();
        if now >= self.due {
            self.due = now + UPDATE_PERIOD;
            // The message goes first, because each of the two calls may draw.
            let (agents, messages) = (counted(counts.agents, "agent"), counted(counts.messages, "message"));
            bar.set_message(format!(", {agents}, {messages}"));
            bar.set_position(frame + 1);
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            drawn().take();
            bar.finish_and_clear();
        }
    }
}
