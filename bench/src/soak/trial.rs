//! The trial of one seed: its scenario is run undisturbed, and again by an engine that is killed and resumed until it is done. Both must give
//! the same result, and a replay of the second must agree.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::compare::{difference, summary};
use super::damage::{JOURNAL_HEADER_BYTES, files, harm};
use super::generate::generate;
use super::process::{Ended, Start, Stop};
use super::random::Random;

/// The random stream of kills.
const KILLS: u32 = 3;
/// How long a process may take at least, and as a multiple of the whole run.
const PATIENCE_MIN: Duration = Duration::from_mins(1);
const PATIENCE_TIMES: u32 = 20;
/// Most frames from snapshot to snapshot.
const SNAPSHOT_EVERY_MAX: u64 = 40;
/// Exit statuses of the engine for bad input, and for an end by SIGINT or SIGTERM.
const EXIT_INPUT: i32 = 2;
const EXIT_SIGNAL: [i32; 2] = [130, 143];

/// Settings of all trials.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The engine's binary.
    pub engine: PathBuf,
    /// Most kills of a run.
    pub kills_max: u32,
    /// Each start draws one of these numbers of threads.
    pub threads: Vec<u32>,
}

/// Counts over trials.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Frames of the undisturbed runs.
    pub frames: u64,
    /// Kills before the first frame was recorded.
    pub kills_before: u32,
    /// Kills while new frames were run.
    pub kills_running: u32,
    /// Kills of a resumed run before its first new frame.
    pub kills_resuming: u32,
    /// Runs that were ended by SIGTERM.
    pub terms: u32,
    /// Run directories that were damaged after a kill.
    pub harmed: u32,
    /// Resumed runs.
    pub resumes: u32,
    /// Resumed runs that began with a snapshot, and not with the first frame.
    pub resumes_from_snapshot: u32,
    /// Seeds whose events came from standard input.
    pub streams: u32,
    /// Seeds whose run was branched.
    pub branches: u32,
}

impl Tally {
    /// Returns the number of all kills.
    pub const fn kills(&self) -> u32 {
        self.kills_before + self.kills_running + self.kills_resuming
    }

    /// Adds the counts of another trial.
    pub const fn add(&mut self, other: &Self) {
        self.frames += other.frames;
        self.kills_before += other.kills_before;
        self.kills_running += other.kills_running;
        self.kills_resuming += other.kills_resuming;
        self.terms += other.terms;
        self.harmed += other.harmed;
        self.resumes += other.resumes;
        self.resumes_from_snapshot += other.resumes_from_snapshot;
        self.streams += other.streams;
        self.branches += other.branches;
    }
}

/// The trial of one seed.
pub struct Trial<'a> {
    settings: &'a Settings,
    folder: &'a Path,
    scenario: PathBuf,
    frames: u64,
    /// The events, if they come from standard input. Each start is given all of them.
    stream: Option<PathBuf>,
    random: Random,
    /// Exit status and time of the undisturbed run.
    whole: (i32, Duration),
    starts: u32,
    tally: Tally,
    /// What happened, for a person who looks for the reason of a failure.
    story: String,
}

impl<'a> Trial<'a> {
    /// Tries a seed in an empty folder.
    ///
    /// # Errors
    /// The text says what went wrong. The folder's `story.txt` has what happened until then.
    pub fn run(settings: &'a Settings, seed: u64, with_models: bool, folder: &'a Path) -> Result<Tally, String> {
        let generated = generate(seed, with_models);
        let scenario = generated.write(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let mut random = Random::new(seed, KILLS);
        let mut trial = Self {
            settings,
            folder,
            scenario,
            frames: generated.frames,
            stream: random.one_in(3).then(|| folder.join("events.jsonl")),
            random,
            whole: (0, Duration::ZERO),
            starts: 0,
            tally: Tally::default(),
            story: String::new(),
        };
        let result = trial.all();
        let told = fs::write(folder.join("story.txt"), &trial.story);
        result.and(told.map_err(|error| format!("{}: {error}", folder.display())))?;
        Ok(trial.tally)
    }

    fn all(&mut self) -> Result<(), String> {
        let (whole, killed) = (self.folder.join("whole"), self.folder.join("killed"));
        let arguments = self.run_arguments(&whole);
        let ended = self.start(arguments, None)?;
        // What the scenario expects need not hold; but the run must have an end.
        let code = ended.code().filter(|code| matches!(code, 0 | 1)).ok_or_else(|| failed("a run", &ended))?;
        let summary = summary(&whole).map_err(|error| format!("{error}\n{}", ended.said))?;
        if let Some(error) = summary.get("error") {
            return Err(format!("a run failed: {error}"));
        }
        self.whole = (code, ended.wall);
        self.tally.frames = self.frames;
        self.tally.streams = u32::from(self.stream.is_some());
        self.battered(&killed, None)?;
        self.compare(&whole, &killed, 0)?;
        if self.random.one_in(3) {
            let at = self.random.of(1..=self.frames - 1);
            let branch = self.folder.join("branch");
            self.tally.branches = 1;
            self.battered(&branch, Some((&killed, at)))?;
            self.compare(&whole, &branch, at)?;
        }
        Ok(())
    }

    /// Checks that a run that was killed has, from a frame on, the same result as the undisturbed one, and that a replay of it agrees.
    fn compare(&mut self, whole: &Path, run: &Path, first_frame: u64) -> Result<(), String> {
        if let Some(difference) = difference(whole, run, first_frame) {
            return Err(format!("the run that was killed isn't what it would have been: {difference}"));
        }
        let replay = self.with_threads(vec!["replay".to_owned(), run.display().to_string()]);
        let ended = self.start(replay, None)?;
        if ended.code() == Some(0) { Ok(()) } else { Err(failed("the replay of the run that was killed", &ended)) }
    }

    /// Runs the scenario into a folder, or branches another run into it, and kills it, until it is done.
    fn battered(&mut self, run: &Path, branch: Option<(&Path, u64)>) -> Result<(), String> {
        let mut attempts = match self.settings.kills_max {
            0 => 0,
            most => self.random.of(1..=most.into()),
        };
        loop {
            let is_new = !run.join("manifest.toml").exists();
            if is_new && run.exists() {
                self.begin_anew(run)?;
            }
            let is_last = attempts == 0;
            let stop = (!is_last).then(|| self.stop());
            attempts = attempts.saturating_sub(1);
            // Now and then it goes on, but not to its end.
            let part = (!is_new && !is_last && self.random.one_in(5)).then(|| self.random.of(1..=self.frames - 1));
            let arguments = match (is_new, branch) {
                (true, None) => self.run_arguments(run),
                (true, Some((of, at))) => self.branch_arguments(run, of, at),
                (false, _) => self.resume_arguments(run, part),
            };
            let (before, had_summary) = (journal_bytes(run), run.join("summary.json").exists());
            let ended = self.start(arguments, stop)?;
            self.count_resume(is_new, &ended);
            match self.judge(&ended, stop.map(|(_, how)| how), part, had_summary)? {
                Verdict::Killed => {
                    self.count_kill(is_new, run, before);
                    self.harm(run)?;
                }
                Verdict::Stopped => {}
                Verdict::Complete => break,
            }
        }
        if self.random.one_in(3) {
            let again = self.resume_arguments(run, None);
            let ended = self.start(again, None)?;
            // Nothing of it is run, so nothing that is expected of it can fail.
            if ended.code() != Some(0) {
                return Err(failed("a run that was complete, resumed,", &ended));
            }
        }
        Ok(())
    }

    /// Returns when the next process is ended, and how.
    fn stop(&mut self) -> (Duration, Stop) {
        let whole_us = u64::try_from(self.whole.1.as_micros()).unwrap_or(u64::MAX / 16);
        // At any moment, and often early: while it loads, or runs again what it had. So that one run is killed many times.
        let early = [whole_us / 10, whole_us / 6, whole_us / 4, whole_us / 3];
        let most = if self.random.one_in(5) { whole_us * 13 / 10 } else { *self.random.pick(&early) };
        let delay = Duration::from_micros(self.random.of(1_000..=most.max(1_001)));
        (delay, if self.random.one_in(6) { Stop::Ask } else { Stop::Kill })
    }

    /// Handles a run that was killed before it had a manifest: it can't be resumed, and the engine says so; the same command takes its folder over.
    fn begin_anew(&mut self, run: &Path) -> Result<(), String> {
        let arguments = self.resume_arguments(run, None);
        let ended = self.start(arguments, None)?;
        if ended.code() != Some(EXIT_INPUT) || !ended.said.contains("manifest") {
            return Err(failed("a run without a manifest, resumed,", &ended));
        }
        Ok(())
    }

    /// Returns what an end means. A process that was asked to end may have been done. A run that `had_summary` may have been complete, and is then
    /// left as it is.
    fn judge(
        &self,
        ended: &Ended,
        stop: Option<Stop>,
        part: Option<u64>,
        had_summary: bool,
    ) -> Result<Verdict, String> {
        let was_asked = ended.stopped && stop == Some(Stop::Ask);
        match ended.code() {
            // A signal ended it.
            None if ended.stopped && stop == Some(Stop::Kill) => Ok(Verdict::Killed),
            // Before it listened to signals.
            None if was_asked => Ok(Verdict::Stopped),
            Some(code) if was_asked && EXIT_SIGNAL.contains(&code) => Ok(Verdict::Stopped),
            Some(0) if was_asked || part.is_some() => Ok(Verdict::Stopped),
            Some(code) if was_asked && code == self.whole.0 => Ok(Verdict::Stopped),
            // It had more than it was to have.
            Some(EXIT_INPUT) if part.is_some() && ended.said.contains("frames already") => Ok(Verdict::Stopped),
            Some(code) if part.is_none() && code == self.whole.0 => Ok(Verdict::Complete),
            Some(0) if part.is_none() && had_summary => Ok(Verdict::Complete),
            _ => Err(failed("a run that was to go on", ended)),
        }
    }

    fn harm(&mut self, run: &Path) -> Result<(), String> {
        if !run.join("manifest.toml").exists() || !self.random.one_in(2) {
            return Ok(());
        }
        let done = harm(&mut self.random, run, self.stream.is_none())
            .map_err(|error| format!("{}: {error}", run.display()))?;
        self.tally.harmed += u32::from(!done.is_empty());
        for what in done {
            let _ = writeln!(self.story, "  harmed: {what}");
        }
        Ok(())
    }

    fn count_kill(&mut self, is_new: bool, run: &Path, before: u64) {
        let after = journal_bytes(run);
        let count = match (is_new, after > before.max(JOURNAL_HEADER_BYTES)) {
            (true, false) => &mut self.tally.kills_before,
            (false, false) => &mut self.tally.kills_resuming,
            (_, true) => &mut self.tally.kills_running,
        };
        *count += 1;
    }

    /// Reads what a resumed run says: how many frames are recorded, and from which on it runs them again, which is the snapshot's.
    fn count_resume(&mut self, is_new: bool, ended: &Ended) {
        self.tally.terms += u32::from(ended.stopped && ended.code().is_some());
        let is_plan = |line: &&str| line.contains(" recorded; ") || line.contains(" recorded, and ");
        let Some(plan) = ended.said.lines().find(is_plan).filter(|_| !is_new) else { return };
        let is_from_start = plan.starts_with("no frame ") || plan.contains("runs them again");
        self.tally.resumes += 1;
        self.tally.resumes_from_snapshot += u32::from(!is_from_start);
    }

    fn run_arguments(&mut self, run: &Path) -> Vec<String> {
        let mut arguments = vec!["run".to_owned(), self.scenario.display().to_string()];
        if self.stream.is_some() {
            arguments.extend(["--input", "-"].map(str::to_owned));
        }
        self.with_folder(arguments, run)
    }

    fn branch_arguments(&mut self, run: &Path, of: &Path, at: u64) -> Vec<String> {
        let arguments = ["branch", &of.display().to_string(), "--at", &at.to_string()];
        self.with_folder(arguments.map(str::to_owned).to_vec(), run)
    }

    fn with_folder(&mut self, mut arguments: Vec<String>, run: &Path) -> Vec<String> {
        let every = self.random.of(1..=SNAPSHOT_EVERY_MAX).to_string();
        arguments.extend(["--out", &run.display().to_string(), "--snapshot-every", &every].map(str::to_owned));
        self.with_threads(arguments)
    }

    fn resume_arguments(&mut self, run: &Path, frames: Option<u64>) -> Vec<String> {
        let mut arguments = vec!["resume".to_owned(), run.display().to_string()];
        if let Some(frames) = frames {
            arguments.extend(["--frames".to_owned(), frames.to_string()]);
        }
        self.with_threads(arguments)
    }

    fn with_threads(&mut self, mut arguments: Vec<String>) -> Vec<String> {
        let threads = self.random.pick(&self.settings.threads).to_string();
        arguments.extend(["--threads".to_owned(), threads, "--summary".to_owned(), "json".to_owned()]);
        arguments
    }

    fn start(&mut self, arguments: Vec<String>, stop: Option<(Duration, Stop)>) -> Result<Ended, String> {
        self.starts += 1;
        let said = arguments.join(" ");
        let start = Start {
            engine: &self.settings.engine,
            arguments,
            input: self.stream.clone(),
            log: self.folder.join(format!("start-{:02}", self.starts)),
            stop,
            patience: PATIENCE_MIN.max(self.whole.1 * PATIENCE_TIMES),
        };
        let _ = writeln!(self.story, "start {}: {said}", self.starts);
        let ended = start.run().map_err(|error| format!("`{said}` {error}"))?;
        let how = match stop {
            Some((_, how)) if ended.stopped => format!("{how:?}, then "),
            _ => String::new(),
        };
        let _ = writeln!(self.story, "  {how}{} after {:.1} ms", ended.status, ended.wall.as_secs_f64() * 1e3);
        Ok(ended)
    }
}

/// Meaning of the end of a process.
enum Verdict {
    Killed,
    Stopped,
    Complete,
}

fn failed(what: &str, ended: &Ended) -> String {
    format!("{what} ended with {}\n{}", ended.status, ended.said)
}

fn journal_bytes(run: &Path) -> u64 {
    let segments = files(&run.join("journal"), "wej").unwrap_or_default();
    segments.iter().filter_map(|path| path.metadata().ok()).map(|metadata| metadata.len()).sum()
}
