//! One start of the engine: its arguments, when it is ended, and the result.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Period at which a process is checked.
const LOOK: Duration = Duration::from_micros(500);

/// How a process is ended from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// At once: SIGKILL.
    Kill,
    /// In order: SIGTERM.
    Ask,
}

/// A start of the engine.
pub(super) struct Start<'a> {
    /// The binary.
    pub engine: &'a Path,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its standard input.
    pub input: Option<PathBuf>,
    /// Where its output goes: two files of this name.
    pub log: PathBuf,
    /// When and how it is ended, if it is still running.
    pub stop: Option<(Duration, Stop)>,
    /// Time after which it counts as hanging.
    pub patience: Duration,
}

/// How a process ended.
pub(super) struct Ended {
    /// Its exit status.
    pub status: ExitStatus,
    /// Whether it was ended from outside, as asked for.
    pub stopped: bool,
    /// How long it ran.
    pub wall: Duration,
    /// Its standard error.
    pub said: String,
}

impl Ended {
    /// Returns the exit status, if it ended by itself.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }
}

impl Start<'_> {
    /// Runs it to its end.
    pub fn run(&self) -> Result<Ended, String> {
        let (stdout, stderr) = (self.log.with_extension("stdout"), self.log.with_extension("stderr"));
        let file = |path: &Path| File::create(path).map_err(|error| format!("{}: {error}", path.display()));
        let mut command = Command::new(self.engine);
        let input = match &self.input {
            Some(path) => File::open(path).map_err(|error| format!("{}: {error}", path.display()))?.into(),
            None => Stdio::null(),
        };
        command.args(&self.arguments).stdin(input).stdout(file(&stdout)?).stderr(file(&stderr)?);
        let started = Instant::now();
        let mut child = command.spawn().map_err(|error| format!("{} can't be run: {error}", self.engine.display()))?;
        let (status, stopped) = self.look_after(&mut child, started)?;
        let said = std::fs::read(&stderr).map_err(|error| format!("{}: {error}", stderr.display()))?;
        Ok(Ended { status, stopped, wall: started.elapsed(), said: String::from_utf8_lossy(&said).into_owned() })
    }

    fn look_after(&self, child: &mut Child, started: Instant) -> Result<(ExitStatus, bool), String> {
        let mut stopped = false;
        loop {
            if let Some(status) = child.try_wait().map_err(|error| format!("can't be waited for: {error}"))? {
                return Ok((status, stopped));
            }
            let wall = started.elapsed();
            match self.stop {
                Some((delay, stop)) if wall >= delay && !stopped => {
                    stopped = true;
                    end(child, stop)?;
                }
                _ if wall >= self.patience => {
                    end(child, Stop::Kill)?;
                    // So that nothing of it is left.
                    let _ = child.wait();
                    return Err(format!("hung: it hadn't ended after {} s", wall.as_secs()));
                }
                _ => std::thread::sleep(LOOK),
            }
        }
    }
}

/// Ends a process that hasn't been waited for, so that its id can't belong to another process.
fn end(child: &mut Child, stop: Stop) -> Result<(), String> {
    let result = match stop {
        Stop::Kill => child.kill(),
        Stop::Ask => Command::new("kill").args(["-TERM", &child.id().to_string()]).status().map(drop),
    };
    result.map_err(|error| format!("can't be ended: {error}"))
}
