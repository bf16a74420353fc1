//! Opens a run directory: its manifest, its scenario, its journal, and what is needed to build its
//! simulation. Everything is checked against checksums.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use wasm_engine_components::limits::SCENARIO_BYTES_MAX;
use wasm_engine_components::text::{shown, shown_path};

use super::disk::{self, DiskMax};
use super::inference::Inference;
use super::layout::{FILES, JOURNAL, SCENARIO, SNAPSHOTS, SUMMARY, events_copy};
use super::lock::{self, RunLock};
use super::manifest::{EarlierForm, Manifest, ModelFacts};
use super::manifest_fields;
use super::{kept, table, tables};
use crate::journal::{Journal, JournalFrame};
use crate::problem::{Problem, Problems, RunError, counted, thousands};
use crate::scenario::{LoadOptions, Scenario, parse};
use crate::simulation::{KeptFiles, LoadedModel, RecordedModels, SimulationOptions};
use crate::snapshot;
use wasm_engine_components::BatchForm;
use wasm_engine_files::{hex, parse_sha256, sha256, sha256_of_file};

/// The purpose for which a run directory is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To read it; others may read it, too.
    Read,
    /// To go on with the run; nobody else may use it.
    Write,
}

/// An open run directory.
pub struct OpenRun {
    /// The folder.
    pub path: PathBuf,
    /// Its manifest, which says what was run.
    pub manifest: Manifest,
    /// The scenario as it was run: with the run's parameters, seed and number of frames.
    pub scenario: Scenario,
    /// Number of frames in its file. Expectations are checked after those.
    pub frames_expected: u64,
    /// Paths of its modules and models.
    pub files: KeptFiles,
    /// Its journal.
    pub journal: Journal,
    /// Warnings: damaged copies that weren't needed.
    pub warnings: Vec<String>,
    /// Largest size of its folder, if it goes on.
    pub disk_max: DiskMax,
    lock: Option<RunLock>,
}

impl OpenRun {
    /// Opens a run directory.
    ///
    /// # Errors
    /// Fails if it isn't one, is in use, was recorded by another version, or is damaged.
    pub fn open(path: &Path, access: Access) -> Result<Self, Problems> {
        // The manifest is looked for first, so that a folder that isn't a run directory gets no lock.
        Manifest::read(path)?;
        refuse_links(path)?;
        // Without a file to lock, nobody has the run open. One is made only in a folder that won't be refused.
        let unlocked = match path.join(lock::NAME).exists() {
            true => None,
            false => Some(Self::read(path, access)?),
        };
        let lock = match access {
            Access::Read => RunLock::shared(path)?,
            Access::Write => RunLock::exclusive(path)?,
        };
        // Until there was a lock, somebody else may have written. Nobody writes where none can be made.
        let run = match unlocked.filter(|_| !lock.is_held()) {
            Some(run) => run,
            None => Self::read(path, access)?,
        };
        Ok(Self { lock: Some(lock), ..run })
    }

    /// Reads and checks everything. Nothing is changed.
    fn read(path: &Path, access: Access) -> Result<Self, Problems> {
        let manifest = Manifest::read(path)?;
        if !manifest.recorded {
            return Err(not_recorded(path).into());
        }
        let mut scenario = recorded_scenario(path, &manifest, &[])?;
        manifest_fields::check_files(path, &manifest, &scenario)?;
        let frames_expected = scenario.frames;
        scenario.seed = manifest.seed;
        scenario.frames = manifest.frames;
        let mut warnings = Vec::new();
        let files = kept::find_files(path, &manifest, &mut scenario, |_, _| true, &mut warnings)?;
        let journal = open_journal(path, access, &manifest, &mut warnings)?;
        let mut run = Self {
            path: path.to_path_buf(),
            manifest,
            scenario,
            frames_expected,
            files,
            journal,
            warnings,
            disk_max: DiskMax::default(),
            lock: None,
        };
        run.check_end()?;
        run.check_ahead(access)?;
        Ok(run)
    }

    /// Checks that the journal isn't behind the rest of the folder: then it was cut back later. Its frames can be run again, unless they had inputs
    /// that can't be read again.
    fn check_ahead(&mut self, access: Access) -> Result<(), Problem> {
        let end = self.end_frame();
        let snapshots = self.snapshot_frames()?.last().map(|&frame| (snapshot::path(&self.snapshots(), frame), frame));
        let table = self.path.join(tables::FRAMES);
        let frames = table::last_frame(&table).map(|frame| (table, frame + 1));
        let Some((file, ahead)) = snapshots.into_iter().chain(frames).find(|&(_, next)| next > end) else {
            return Ok(());
        };
        let what = format!(
            "has {}, and the journal only {}: the journal was cut back since",
            counted(ahead, "frame"),
            thousands(end)
        );
        if access == Access::Write && !self.manifest.events_repeat() && self.manifest.branch.is_none() {
            let help = "put the journal back as it was; what is left of it can be replayed and branched";
            return Err(Problem::new(format!("{what}, and with it events that can't be read again"))
                .file(&file)
                .help(help));
        }
        self.warnings.push(format!("{}: {what}", shown_path(&file)));
        Ok(())
    }

    /// Checks the journal of a run that has a summary, and so has ended in order: it has a record of the end, and no torn tail.
    fn check_end(&self) -> Result<(), Problem> {
        if self.has_ended() { self.journal.ended().map(drop) } else { Ok(()) }
    }

    /// Checks that the run may go on with as many bytes as its folder may have.
    ///
    /// # Errors
    /// The folder has more already.
    pub(crate) fn check_disk(&self) -> Result<(), RunError> {
        disk::check_resume(self.disk_max, &self.path)
    }

    /// Says that the folder is written from here on.
    pub(super) fn is_written(&self) {
        if let Some(lock) = &self.lock {
            lock.stays();
        }
    }

    /// Returns the scenario with the path of its events: the original file, or else the run's copy. They must be
    /// unchanged, because other events would make it another run.
    ///
    /// # Errors
    /// Fails if both were changed, or can't be read.
    pub(crate) fn with_events(&self) -> Result<Scenario, Problem> {
        let mut scenario = self.scenario.clone();
        let (Some(input), Some(stated)) = (&self.manifest.input, &self.manifest.input_sha256) else {
            return Ok(scenario);
        };
        let (input, copy) = (Path::new(input), self.path.join(FILES).join(events_copy(stated)));
        let help = "put it back as it was; what was recorded can still be replayed";
        let of_input = sha256_of_file(input);
        if of_input.as_ref().is_ok_and(|found| found == stated) {
            scenario.input = Some(input.to_path_buf());
            return Ok(scenario);
        }
        match sha256_of_file(&copy) {
            Ok(found) if &found == stated => {
                scenario.input = Some(copy);
                return Ok(scenario);
            }
            // It is there, and may be what is needed.
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Problem::new("can't be read").caused_by(error).file(&copy).help(help));
            }
            _ => {}
        }
        let copy = shown_path(&copy);
        let problem = match of_input {
            Ok(found) => Problem::new(format!(
                "was changed since the run: its sha256 is {found}, and was {stated}; nor is there a copy of it in {copy}"
            )),
            Err(error) => Problem::new(format!("can't be read, nor is there a copy of it in {copy}")).caused_by(error),
        };
        Err(problem.file(input).help(help))
    }

    /// Returns whether the run ended in order: there is a summary.
    pub fn has_ended(&self) -> bool {
        self.path.join(SUMMARY).exists()
    }

    /// Returns the number of the first frame that was recorded here: not 0 for a branch.
    pub fn first_frame(&self) -> u64 {
        self.manifest.first_frame()
    }

    /// Returns the number after the last frame that was recorded.
    pub fn end_frame(&self) -> u64 {
        self.first_frame() + self.journal.frames_count()
    }

    /// Returns the last frame that was recorded.
    pub fn last_frame(&self) -> Option<u64> {
        self.end_frame().checked_sub(1).filter(|&last| last >= self.first_frame())
    }

    /// Describes which frames there are, for a help text.
    pub(crate) fn frames_help(&self) -> String {
        match self.last_frame() {
            Some(last) => format!("the run has the frames {} to {}", thousands(self.first_frame()), thousands(last)),
            None => "no frame of the run was recorded".to_owned(),
        }
    }

    /// Returns the record of a frame.
    ///
    /// # Errors
    /// Fails if it can't be read, or isn't there.
    pub fn frame(&self, frame: u64) -> Result<JournalFrame, Problem> {
        let missing = || Problem::new(format!("frame {frame} wasn't recorded")).file(&self.path);
        self.journal.frame(frame)?.ok_or_else(missing)
    }

    /// Returns the folder of the snapshots.
    pub fn snapshots(&self) -> PathBuf {
        self.path.join(SNAPSHOTS)
    }

    /// Returns the frames before which there are snapshots, ascending. Without the folder there are none: a run doesn't need any.
    ///
    /// # Errors
    /// The folder can't be read.
    pub fn snapshot_frames(&self) -> Result<Vec<u64>, Problem> {
        let folder = self.snapshots();
        match snapshot::list(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            listed => listed.map_err(|error| {
                let problem = Problem::new("can't be read").caused_by(error).file(&folder);
                problem.help(
                    "see that you may read it; without snapshots, a run can be replayed once the folder is moved away",
                )
            }),
        }
    }

    /// Returns the forms that its models had, by name and sha256.
    pub fn recorded_forms(&self) -> BTreeMap<(String, [u8; 32]), BatchForm> {
        let form = |(name, facts): (&String, &ModelFacts)| {
            let form = BatchForm::of_name(facts.form.as_deref()?)?;
            Some(((name.clone(), parse_sha256(&facts.sha256)?), form))
        };
        self.manifest.models.iter().filter_map(form).collect()
    }

    /// Returns what the manifest must say, if the run goes on here, of models that have another form on this machine: the forms
    /// that they had in the recorded frames.
    pub(crate) fn other_forms(&self, models: &[LoadedModel]) -> BTreeMap<String, ModelFacts> {
        let recorded = self.recorded_forms();
        let other = |model: &LoadedModel| {
            let before = recorded.get(&(model.name.clone(), model.sha256))?.name();
            let facts = self.manifest.models.get(&model.name)?;
            let here = model.form.clone()?;
            let earlier_forms = earlier_forms(&facts.earlier_forms, &before, &here, self.end_frame());
            let differs = here != before || earlier_forms != facts.earlier_forms;
            differs.then(|| (model.name.clone(), ModelFacts { form: Some(here), earlier_forms, ..facts.clone() }))
        };
        models.iter().filter_map(other).collect()
    }

    /// Returns warnings about models that have [another form](Self::other_forms) on this machine than in this run:
    /// their rows may have other results from here on.
    pub(crate) fn warn_of_other_forms(others: &BTreeMap<String, ModelFacts>) -> Vec<String> {
        let warning = |(name, facts): (&String, &ModelFacts)| {
            let (name, before, here) = (shown(name), &facts.earlier_forms.last()?.form, facts.form.as_deref()?);
            (before != here).then(|| format!(
                "the model `{name}` has the form `{here}` on this machine, and had `{before}` where the run was recorded: rows \
                 that are computed from here on may differ in their last bits from what they would have been there"
            ))
        };
        others.iter().filter_map(warning).collect()
    }

    /// Returns warnings about models that had another form in frames of this run from `from` on, if those are computed
    /// again.
    pub(crate) fn warn_of_earlier_forms(&self, from: u64) -> Vec<String> {
        let warning = |(name, facts): (&String, &ModelFacts)| {
            let (name, now) = (shown(name), facts.form.as_deref()?);
            let EarlierForm { form, before_frame } =
                facts.earlier_forms.iter().find(|form| form.before_frame > from)?;
            Some(format!(
                "the model `{name}` had the form `{form}` before frame {before_frame} of this run, and has `{now}` since it went on: rows of \
                 earlier frames may differ in their last bits where they are computed again"
            ))
        };
        self.manifest.models.iter().filter_map(warning).collect()
    }

    /// Returns the options with which its simulation is built. The caller sets the others.
    pub fn simulation_options(&self, inference: Inference, options: SimulationOptions) -> SimulationOptions {
        let recorded = || RecordedModels {
            models: self
                .scenario
                .models
                .iter()
                .filter_map(|entry| {
                    let facts = self.manifest.models.get(&entry.name)?;
                    let sha256 = entry.sha256?;
                    let (row_bytes, form) = (facts.row_bytes, facts.form.clone());
                    Some(LoadedModel { name: entry.name.clone(), sha256, row_bytes, form })
                })
                .collect(),
            refused_swaps: self.manifest.refused_swaps.clone(),
        };
        SimulationOptions {
            seed: None,
            digest: self.manifest.digest_scope(),
            recorded_models: (inference == Inference::Recorded).then(recorded),
            recorded_forms: self.recorded_forms(),
            unhurried_models: inference == Inference::Recompute,
            files: KeptFiles { of_past_run: true, ..self.files.clone() },
            ..options
        }
    }
}

/// Refuses symbolic links in a folder that may come from elsewhere: everything that is written there, even the lock, would go where they lead.
fn refuse_links(path: &Path) -> Result<(), Problem> {
    for folder in [path.to_path_buf(), path.join(JOURNAL), path.join(SNAPSHOTS)] {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
                let what = "is a symbolic link: a run's folder has none, because what is written there would be written elsewhere";
                let help = "put what it leads to in its place, if you know that it is the run's";
                return Err(Problem::new(what).file(&entry.path()).help(help));
            }
        }
    }
    Ok(())
}

/// Opens the journal. If an interrupted run goes on, what comes after a broken record may be lost: those frames are run
/// again with the same result, unless they had inputs that can't be read again.
fn open_journal(
    path: &Path,
    access: Access,
    manifest: &Manifest,
    warnings: &mut Vec<String>,
) -> Result<Journal, Problem> {
    let folder = path.join(JOURNAL);
    let problem = match Journal::open(&folder, manifest.id) {
        Ok(journal) => return Ok(journal),
        Err(problem) => problem,
    };
    // What the system didn't let be read isn't damage.
    if problem.lack().is_some() {
        return Err(problem);
    }
    let may_cut = access == Access::Write && !path.join(SUMMARY).exists() && manifest.events_repeat();
    match Journal::open_cut(&folder, manifest.id) {
        Ok(journal) if may_cut => {
            warnings.push(format!("{}; the frames from {} on are run again", problem.head(), journal.next_frame()));
            Ok(journal)
        }
        _ => Err(problem),
    }
}

/// Returns the scenario of a run, as it was then; with further assignments of parameters.
///
/// # Errors
/// Fails if its text was changed, or doesn't take the parameters.
pub(crate) fn recorded_scenario(path: &Path, manifest: &Manifest, set: &[String]) -> Result<Scenario, Problems> {
    let file = path.join(SCENARIO);
    let unreadable = |error| {
        let help = format!(
            "see that you may read it, or copy it from {}, if that is what was run",
            shown_path(&manifest.scenario.path)
        );
        Problem::new("can't be read").caused_by(error).file(&file).help(help)
    };
    let bytes = wasm_engine_files::read_at_most(&file, SCENARIO_BYTES_MAX + 1).map_err(unreadable)?;
    let damaged = || {
        Problem::new(format!(
            "isn't what was run: its sha256 is {}, and the manifest says {}",
            hex(&sha256(&bytes)),
            manifest.scenario.sha256
        ))
        .file(&file)
        .help("it was changed or damaged after the run: put it back as it was")
    };
    if hex(&sha256(&bytes)) != manifest.scenario.sha256 {
        return Err(damaged().into());
    }
    let text = String::from_utf8(bytes.clone()).map_err(|_| damaged())?;
    let mut all = manifest.set();
    all.extend_from_slice(set);
    let options = LoadOptions { set: all, input: manifest.input.as_ref().map(PathBuf::from), recorded: true };
    let mut scenario = parse(text, &manifest.scenario.path, &options)?;
    scenario.name.clone_from(&manifest.scenario.name);
    Ok(scenario)
}

/// Returns the forms of a model's runs before frame `end`, from which a run goes on in the form `here`. `recorded` are its earlier
/// forms, and `last` the latest one. What they say of frames from `end` on is dropped, because those frames are.
fn earlier_forms(recorded: &[EarlierForm], last: &str, here: &str, end: u64) -> Vec<EarlierForm> {
    let gone = recorded.partition_point(|form| form.before_frame < end);
    let mut forms = recorded[..gone].to_vec();
    let form = recorded.get(gone).map_or(last, |form| &form.form).to_owned();
    if form != here && end > 0 {
        forms.push(EarlierForm { form, before_frame: end });
    }
    forms
}

/// Returns the problem of a run directory without a journal.
fn not_recorded(path: &Path) -> Problem {
    Problem::new("was run with --no-record: there is no journal to open it by")
        .file(path)
        .help("run its scenario again without --no-record")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_of_frames_that_are_gone_is_no_earlier_form() {
        let form = |form: &str, before_frame| EarlierForm { form: form.to_owned(), before_frame };
        let of = |recorded: &[EarlierForm], here, end| earlier_forms(recorded, "b", here, end);
        let recorded = [form("a", 20), form("c", 50)];
        assert_eq!(of(&[], "b", 60), []);
        assert_eq!(of(&[], "a", 60), [form("b", 60)]);
        assert_eq!(of(&[], "a", 0), [], "there was no frame in the other form");
        assert_eq!(of(&recorded, "b", 60), recorded);
        assert_eq!(of(&recorded, "a", 60), [form("a", 20), form("c", 50), form("b", 60)]);
        // The journal is shorter than when the run went on in another form.
        assert_eq!(of(&recorded, "b", 45), [form("a", 20), form("c", 45)]);
        assert_eq!(of(&recorded, "c", 45), [form("a", 20)]);
        assert_eq!(of(&recorded, "c", 15), [form("a", 15)]);
        assert_eq!(of(&recorded, "a", 15), []);
    }
}
