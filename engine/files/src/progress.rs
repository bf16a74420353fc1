//! Reports work that takes long to whoever waits: opening and probing a model, compiling modules.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Time from the begin of the work to the first report, and between reports.
const PERIOD: Duration = Duration::from_secs(1);

/// Receiver of reports about work that takes long. It is called about once a second, from another thread, with a line that replaces the
/// one before, and with `None` when the work is done. By default there is no receiver.
#[derive(Clone, Default)]
pub struct LoadProgress(Option<Arc<dyn Fn(Option<&str>) + Send + Sync>>);

impl LoadProgress {
    /// Returns a receiver that calls `show`.
    pub fn new(show: impl Fn(Option<&str>) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(show)))
    }

    /// Does `work`, and reports it as `what` while it goes on.
    pub fn during<T>(&self, what: &str, work: impl FnOnce() -> T) -> T {
        let Some(show) = &self.0 else { return work() };
        std::thread::scope(|scope| {
            let (done, is_done) = channel::<()>();
            let tell = move || {
                let started = Instant::now();
                let mut told = false;
                while is_done.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
                    show(Some(&format!("{what}: {} s", started.elapsed().as_secs())));
                    told = true;
                }
                if told {
                    show(None);
                }
            };
            // Without the thread there are no reports, and nothing else is missing.
            let _ = std::thread::Builder::new().name("load-progress".into()).spawn_scoped(scope, tell);
            let worked = work();
            drop(done);
            worked
        })
    }
}

impl fmt::Debug for LoadProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "LoadProgress(shown)" } else { "LoadProgress(not shown)" })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn what_takes_long_is_told_until_it_is_over() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let lines = Arc::clone(&told);
        let progress = LoadProgress::new(move |line| lines.lock().unwrap().push(line.map(str::to_owned)));
        assert_eq!(progress.during("quick", || 7), 7);
        assert!(told.lock().unwrap().is_empty());
        let until_told = || {
            while told.lock().unwrap().is_empty() {
                std::thread::sleep(Duration::from_millis(10));
            }
        };
        progress.during("opening m", until_told);
        let told = told.lock().unwrap();
        assert!(told[0].as_deref().is_some_and(|line| line.starts_with("opening m: ")), "{told:?}");
        assert_eq!(told.last(), Some(&None));
    }
}
