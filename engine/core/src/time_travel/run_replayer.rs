//! Builds simulations of a recorded run, in the state that it had before any of its frames.

use std::collections::BTreeMap;

use bevy_app::App;

use super::digest_checker::DigestChecker;
use super::error::FollowError;
use super::journal_source::JournalSource;
use super::unread_snapshots::UnreadSnapshots;
use crate::frame_loop::{self, FrameSink};
use crate::problem::{Problem, RunError};
use crate::run_dir::{COLLECTED, Inference, ModelFacts, OpenRun, SCENARIO};
use crate::simulation::{Simulation, SimulationOptions};
use crate::snapshot::{self, Snapshot};
use crate::summary::Collector;
use crate::threads::on_pool;
use wasm_engine_files::Lack;

/// Builds simulations of a recorded run.
pub struct RunReplayer<'a> {
    /// The run.
    pub run: &'a OpenRun,
    /// Threads and caches; what else there is to say of a simulation, the run says.
    pub options: SimulationOptions,
    /// Use of models in recorded frames.
    pub inference: Inference,
    /// An author's plugins, as the run had them: see [`Simulation::with_plugins`].
    pub author: &'a dyn Fn(&mut App),
}

/// A simulation in the state before one of the run's frames, with the sums of the frames before it.
pub struct RestoredRun {
    /// The simulation.
    pub simulation: Simulation,
    /// Sums over the frames before.
    pub collector: Collector,
    /// Positions up to which the tables were written, as the snapshot has them.
    pub(crate) tables: Option<Vec<u8>>,
    /// The models that have another form on this machine than the manifest says.
    pub(crate) other_forms: BTreeMap<String, ModelFacts>,
    /// Warnings for a person, such as that snapshots can't be read and weren't used.
    pub warnings: Vec<String>,
    /// The frames of snapshots that weren't used, as a warning says.
    pub(super) passed: Vec<u64>,
}

impl RunReplayer<'_> {
    /// Builds a simulation that has run no frame.
    ///
    /// # Errors
    /// Fails if a module or a model was changed, or there is no ONNX Runtime.
    pub fn build(&self) -> Result<Simulation, RunError> {
        let options = self.run.simulation_options(self.inference, self.options.clone());
        let built = Simulation::with_plugins(&self.run.scenario, &options, |app| (self.author)(app));
        built.map_err(|error| error.of_run(&self.run.scenario, &self.run.path.join(SCENARIO)))
    }

    /// Returns the simulation at the last snapshot before `frame` or at it; where there is none, at the run's beginning. Snapshots
    /// that are damaged are passed over: any of them will do.
    ///
    /// # Errors
    /// Fails if it can't be built, or a branch has lost the snapshot that it begins with.
    pub fn start(&self, frame: u64) -> Result<RestoredRun, RunError> {
        let mut passed = UnreadSnapshots::default();
        let mut snapshots = self.run.snapshot_frames()?;
        snapshots.retain(|&at| at <= frame && (self.run.first_frame()..=self.run.end_frame()).contains(&at));
        for at in snapshots.into_iter().rev() {
            match self.restore(at)? {
                Ok(restored) => {
                    let instead = format!("the snapshot before frame {at} is used instead");
                    let warnings = passed.warning(&instead).into_iter().chain(restored.warnings).collect();
                    return Ok(RestoredRun { warnings, passed: passed.frames, ..restored });
                }
                // The next file couldn't be read either.
                Err(problem) if problem.lack().is_some_and(Lack::is_of_all_files) => return Err(problem.into()),
                Err(problem) => passed.add(at, problem),
            }
        }
        if self.run.first_frame() > 0 {
            let first = self.run.first_frame();
            let what = format!("the snapshot before frame {first}, with which this branch begins, can't be used");
            let help = "put it back as it was, or branch again from the run that it came from";
            let problem = match passed.last {
                Some(why) => Problem::new(what).caused_by(why),
                None => Problem::new(format!("{what}: it isn't there")),
            };
            return Err(RunError::from(problem.file(&self.run.snapshots()).help(help)));
        }
        let simulation = self.build()?;
        let mut warnings = Vec::from_iter(passed.warning("the run's beginning is used instead"));
        let (other_forms, of_forms) = self.forms(&simulation);
        warnings.extend(of_forms);
        let collector = Collector::of(&self.run.scenario);
        Ok(RestoredRun { simulation, collector, tables: None, other_forms, warnings, passed: passed.frames })
    }

    /// Returns the simulation at a snapshot, or what is wrong with the snapshot.
    ///
    /// # Errors
    /// Fails if the simulation can't be built, whatever the snapshot.
    pub fn restore(&self, frame: u64) -> Result<Result<RestoredRun, Problem>, RunError> {
        let folder = self.run.snapshots();
        let chain = match snapshot::read_chain(&folder, frame).and_then(|chain| self.check(frame, chain)) {
            Ok(chain) => chain,
            Err(problem) => return Ok(Err(problem)),
        };
        let mut simulation = self.build()?;
        let Some((guests, last)) = split(chain) else {
            return Ok(Err(Problem::new(format!("there is no snapshot before frame {frame}")).file(&folder)));
        };
        if let Err(error) = simulation.restore(&last.state.world, &guests) {
            let what = format!("the snapshot before frame {frame} doesn't fit this run");
            return Ok(Err(Problem::new(what).caused_by(error).file(&folder)));
        }
        let extra = |name: &str| last.extras.iter().find(|(known, _)| known == name).map(|(_, bytes)| bytes.clone());
        let collected = extra(COLLECTED).map(|bytes| Collector::load(&bytes, &self.run.scenario));
        let Some(collector) = collected.unwrap_or_else(|| Some(Collector::of(&self.run.scenario))) else {
            let what = format!("the sums in the snapshot before frame {frame} can't be read");
            return Ok(Err(Problem::new(what).file(&folder)));
        };
        let tables = extra(crate::run_dir::TABLES);
        let (other_forms, warnings) = self.forms(&simulation);
        Ok(Ok(RestoredRun { simulation, collector, tables, other_forms, warnings, passed: Vec::new() }))
    }

    /// Returns the models that have another form here, and warnings about the forms of models.
    fn forms(&self, simulation: &Simulation) -> (BTreeMap<String, ModelFacts>, Vec<String>) {
        let others = self.run.other_forms(simulation.models());
        let mut warnings = OpenRun::warn_of_other_forms(&others);
        if self.inference == Inference::Recompute {
            warnings.extend(self.run.warn_of_earlier_forms(simulation.next_frame()));
        }
        (others, warnings)
    }

    /// Checks that a snapshot of this run has the digest that the journal has.
    fn check(&self, frame: u64, chain: Vec<Snapshot>) -> Result<Vec<Snapshot>, Problem> {
        let recorded = match (frame.checked_sub(1), &self.run.manifest.branch) {
            (Some(before), _) if before >= self.run.first_frame() => self.run.frame(before)?.digest,
            (_, Some(branch)) => branch.digest_before(),
            _ => return Ok(chain),
        };
        match chain.last() {
            Some(last) if last.state.digest == recorded => Ok(chain),
            _ => {
                let what = format!("the snapshot before frame {frame} isn't one of this run: its digest is another");
                Err(Problem::new(what).file(&self.run.snapshots()))
            }
        }
    }

    /// Returns the simulation in the state before `frame`: the frames since the last snapshot are run again, and checked.
    ///
    /// # Errors
    /// Fails if it can't be built, or doesn't repeat its recording.
    pub fn at(&self, frame: u64) -> Result<RestoredRun, FollowError> {
        let mut restored = self.start(frame)?;
        let mut checker = self.checker(&restored.simulation, frame)?;
        checker.collector = Some(std::mem::take(&mut restored.collector));
        self.run_to(&mut restored.simulation, frame, &mut checker)?;
        restored.collector = checker.collector.unwrap_or_default();
        Ok(restored)
    }

    /// Gives a simulation the frames that were recorded from its next one up to `to` and without it. Their records go to `sink`.
    pub(super) fn run_to<S: FrameSink<Error = FollowError> + Send>(
        &self,
        simulation: &mut Simulation,
        to: u64,
        sink: &mut S,
    ) -> Result<(), FollowError> {
        let mut source = JournalSource::new(self.run, self.inference, (simulation.next_frame(), to), None);
        let pool = simulation.pool();
        on_pool(&pool, || frame_loop::run(simulation, &mut source, sink))
    }

    /// Returns what checks the frames that a simulation is given up to `to`.
    ///
    /// # Errors
    /// The folder of the run's snapshots can't be read.
    pub(super) fn checker(&self, simulation: &Simulation, to: u64) -> Result<DigestChecker, Problem> {
        DigestChecker::new(self.run, (simulation.next_frame(), to))
    }
}

/// Returns the agents' memories in a chain, and its last snapshot.
fn split(chain: Vec<Snapshot>) -> Option<(Vec<wasm_engine_wasm::GuestCapture>, Snapshot)> {
    let mut chain = chain;
    let mut last = chain.pop()?;
    let mut guests: Vec<_> = chain.into_iter().map(|snapshot| snapshot.state.guests).collect();
    guests.push(std::mem::take(&mut last.state.guests));
    Some((guests, last))
}
