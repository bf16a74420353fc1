//! The models of a run: read, checked, opened and probed at load, then asked in each frame through the port
//! `ModelRuntime`. A model is addressed by the sha256 of its file: two names for one file share a session.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wasm_engine_abi::InferenceStatus;
use wasm_engine_components::limits::MODEL_BYTES_MAX;
use wasm_engine_components::text::shown;
use wasm_engine_components::{ModelId, ModelNoticeKind};
use wasm_engine_systems::ports::{ModelBatch, ModelResults, ModelRuntime, RowResult};

use super::admission;
use super::batch::{self, Batcher, Unit};
use super::binding::BoundModel;
use super::crew;
use super::error::{InferenceError, ModelProblem};
use super::graph::{self, Decider, DividingNode, ModelGraph};
use super::layout::{Said, Slots, TensorInfo};
use super::limits::{Deadline, ModelLimits};
use super::patience::Patience;
use super::runtime::{self, Runtime};
use super::session::{self, OpenModel};
use super::verdicts::{Kept, VerdictKey, Verdicts};
use super::watchdog::Halt;
use wasm_engine_components::BatchForm;
use wasm_engine_components::ModelSpec;
use wasm_engine_files::LoadProgress;

/// A model that was loaded. Its `Display` is a line for a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelInfo {
    /// Number of its name.
    pub id: ModelId,
    /// Its name in the scenario.
    pub name: String,
    /// SHA-256 of its file.
    pub sha256: [u8; 32],
    /// Size of one row in bytes: the inputs in the model's order, concatenated.
    pub row_bytes: u32,
    /// Size of one row's outputs in bytes, in the model's order, concatenated.
    pub output_bytes: u32,
    /// Most rows of one batch, by the scenario.
    pub batch_rows_max: u32,
    /// Its inputs, in the model's order.
    pub inputs: Vec<TensorInfo>,
    /// Its outputs, in the model's order.
    pub outputs: Vec<TensorInfo>,
    /// Form in which its rows share runs, which is also the canonical form of a row.
    pub form: BatchForm,
    /// Why the form isn't [`BatchForm::Any`], by the graph or the probe.
    pub reasons: Vec<String>,
    /// The first nodes of its graph that decide the form, or are padded.
    pub deciders: Vec<Decider>,
}

impl fmt::Display for ModelInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |tensors: &[TensorInfo]| tensors.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        write!(f, "{}: {} -> {}; ", self.name, list(&self.inputs), list(&self.outputs))?;
        match self.form {
            BatchForm::Any if self.batch_rows_max == 1 => write!(f, "each row is a run of its own")?,
            BatchForm::Any => write!(f, "up to {} rows share a run", self.batch_rows_max)?,
            form => write!(f, "{form}")?,
        }
        match self.reasons.first() {
            Some(reason) => write!(f, ", because {reason}"),
            None => Ok(()),
        }
    }
}

/// The port `ModelRuntime` on ONNX Runtime.
pub struct OnnxRuntime {
    runtime: Option<&'static Runtime>,
    names: BTreeMap<ModelId, Name>,
    models: Vec<Batcher>,
}

/// Settings of a name, and the model behind it.
#[derive(Clone, Copy)]
struct Name {
    model: usize,
    refuse_non_finite: bool,
}

/// Options by which models are loaded on this machine. Only `forms`, and `unhurried` for rows that take long, can change a result.
#[derive(Clone, Debug, Default)]
pub struct ModelLoadOptions {
    /// The engine's cache folder, in which verdicts of the probe are kept. Default: none, so they aren't kept.
    pub cache_dir: Option<PathBuf>,
    /// Receiver of reports about work that takes long.
    pub progress: LoadProgress,
    /// Forms of the models of a recorded run, by name and sha256. A run that goes on has them again, unless a stricter form is found now.
    pub forms: BTreeMap<(String, [u8; 32]), BatchForm>,
    /// Whether rows are computed again that had a result in a recording. Then neither `run_ms_max` nor the time of other rows ends
    /// them, and each run may take as long as loading the model may. Default: false.
    pub unhurried: bool,
    /// A form for all models, whatever their graphs say, without a probe.
    #[doc(hidden)]
    pub unchecked: Option<BatchForm>,
}

/// Key of a model: two entries with the same sha256 and dimensions share it.
type Key<'e> = ([u8; 32], &'e [(String, u32)], &'e [(String, u32)]);

impl OnnxRuntime {
    /// Loads the models of a scenario. Every file is read and checked before ONNX Runtime is looked for; without models it
    /// isn't looked for at all.
    ///
    /// # Errors
    /// The first model that can't be used; or there is no ONNX Runtime.
    pub fn load(entries: &[ModelSpec], options: &ModelLoadOptions) -> Result<(Self, Vec<ModelInfo>), InferenceError> {
        let verdicts = Verdicts::new(options.cache_dir.as_deref());
        let mut keys: Vec<Key<'_>> = Vec::with_capacity(entries.len());
        let mut contents = Vec::with_capacity(entries.len());
        for entry in entries {
            let read =
                wasm_engine_files::read_checked(&entry.path, MODEL_BYTES_MAX, entry.sha256).map_err(ModelProblem::File);
            let (content, sha256) = read.map_err(InferenceError::of_model(&entry.name, &entry.path))?;
            let key: Key<'_> = (sha256, &entry.dims, &entry.batch_axes);
            contents.push((!keys.contains(&key)).then_some(content));
            keys.push(key);
        }
        let mut loaded = Self { runtime: None, names: BTreeMap::new(), models: Vec::new() };
        let mut infos: Vec<ModelInfo> = Vec::with_capacity(entries.len());
        let mut models_by_key: Vec<(Key<'_>, usize, ModelInfo)> = Vec::new();
        for ((entry, key), content) in entries.iter().zip(&keys).zip(contents) {
            if let Some(content) = content {
                let runtime = runtime::start()?;
                loaded.runtime = Some(runtime);
                let sharers = || entries.iter().zip(&keys).filter(|(_, other)| *other == key).map(|(sharer, _)| sharer);
                let rows_max = sharers().map(|sharer| sharer.batch_rows_max).max().unwrap_or(1);
                let ms = |of: fn(&ModelSpec) -> u32| Duration::from_millis(sharers().map(of).max().unwrap_or(1).into());
                let (load, run) = (ms(|sharer| sharer.load_ms_max), ms(|sharer| sharer.run_ms_max));
                let time = ModelLimits {
                    load: Deadline::after(load),
                    run: if options.unhurried { run.max(load) } else { run },
                    unhurried: options.unhurried,
                    memory_bytes: sharers().map(|sharer| sharer.run_memory_bytes_max).max().unwrap_or(0),
                };
                let what = format!("opening and probing the model `{}`", shown(&entry.name));
                let recorded = sharers().filter_map(|sharer| options.forms.get(&(sharer.name.clone(), key.0)));
                let recorded = recorded.copied().reduce(BatchForm::strictest);
                let job = OpenJob {
                    runtime,
                    entry: entry.clone(),
                    sha256: key.0,
                    content,
                    batch_rows_max: rows_max,
                    time,
                    verdicts: verdicts.clone(),
                    recorded,
                    unchecked: options.unchecked,
                };
                let open = move || job.open();
                // On a thread that is left behind if ONNX Runtime doesn't return.
                let since = Instant::now();
                let opened = options.progress.during(&what, || crew::apart(open)).unwrap_or_else(|limit| {
                    Err(ModelProblem::of_halt(Halt::TimedOut(limit), time, ModelProblem::Broken))
                });
                let (batcher, info) = opened.map_err(InferenceError::of_model(&entry.name, &entry.path))?;
                let (model, form, ms) = (&*entry.name, info.form.name(), since.elapsed().as_micros() as f64 / 1e3);
                tracing::info!(model, form, ms, "a model is opened, and its form is known");
                models_by_key.push((*key, loaded.models.len(), info));
                loaded.models.push(batcher);
            }
            // The first entry with this key has just put it there, or an earlier one did.
            let Some((_, model, info)) = models_by_key.iter().find(|(other, ..)| other == key) else { continue };
            let refuse_non_finite = entry.refuse_non_finite;
            loaded.names.insert(entry.id, Name { model: *model, refuse_non_finite });
            infos.push(ModelInfo {
                id: entry.id,
                name: entry.name.clone(),
                batch_rows_max: entry.batch_rows_max,
                ..info.clone()
            });
        }
        Ok((loaded, infos))
    }

    /// Returns the version of ONNX Runtime; `None` without models.
    pub fn version(&self) -> Option<&str> {
        self.runtime.map(|runtime| runtime.version.as_str())
    }

    /// Returns the execution providers that have a device on this machine, each with the kind of device; none without models. Models run on
    /// `CPUExecutionProvider`.
    pub fn providers(&self) -> Vec<String> {
        self.runtime.map(Runtime::providers).unwrap_or_default()
    }
}

impl ModelRuntime for OnnxRuntime {
    /// All runs of a frame are done side by side, whatever their models, by as many threads as the engine has; runs that together
    /// take next to no time are done one after the other. Each result has its row's place.
    fn infer(&mut self, batches: &[ModelBatch<'_>], results: &mut ModelResults) {
        results.clear();
        let threads = rayon::current_num_threads();
        let mut patience: Vec<Option<Arc<Patience>>> = vec![None; self.models.len()];
        let (mut units, mut firsts) = (Vec::new(), Vec::with_capacity(batches.len()));
        for batch in batches {
            firsts.push(results.rows.len());
            let Some(name) = self.names.get(&batch.model) else {
                refuse(batch, results);
                continue;
            };
            let model = &self.models[name.model];
            let patience = patience[name.model].get_or_insert_with(|| model.patience());
            model.plan(batch, name.refuse_non_finite, patience, results, &mut units);
        }
        let ran = batch::run_all(&units, threads);
        units.iter().zip(ran).for_each(|(unit, ran)| unit.place(ran, results));

        let audit = |(batch, first): (_, usize)| self.model(batch)?.audit(batch, first, results);
        let audits: Vec<Unit<'_>> = batches.iter().zip(firsts).filter_map(audit).collect();
        for (unit, ran) in audits.iter().zip(batch::run_all(&audits, threads)) {
            if let Some(problem) = ran.ok().and_then(|ran| unit.audited(&ran, results)) {
                unit.tell_audit(&problem, results);
            }
        }
        self.tell_given_up(batches, results);
    }
}

impl OnnxRuntime {
    /// Adds notices for the models of these batches of which a run was left behind, under each of their names. They aren't run any more.
    fn tell_given_up(&self, batches: &[ModelBatch<'_>], results: &mut ModelResults) {
        let of_batch = |batch: &ModelBatch<'_>| self.names.get(&batch.model).map(|name| name.model);
        let asked: BTreeSet<usize> = batches.iter().filter_map(of_batch).collect();
        for (id, name) in self.names.iter().filter(|(_, name)| asked.contains(&name.model)) {
            if let Some(reason) = self.models[name.model].given_up() {
                results.notice(*id, ModelNoticeKind::GivenUp, 1, || reason);
            }
        }
    }

    /// Returns the model of a batch.
    fn model(&self, batch: &ModelBatch<'_>) -> Option<&Batcher> {
        self.models.get(self.names.get(&batch.model)?.model)
    }
}

/// Adds the results of a batch whose model isn't loaded.
fn refuse(batch: &ModelBatch<'_>, results: &mut ModelResults) {
    let result = RowResult { status: InferenceStatus::UnknownModel, offset: 0, bytes: 0 };
    results.rows.extend(batch.rows.iter().map(|_| result));
}

/// A model to be opened and probed, with everything that this needs.
struct OpenJob {
    runtime: &'static Runtime,
    entry: ModelSpec,
    sha256: [u8; 32],
    content: Vec<u8>,
    batch_rows_max: u32,
    time: ModelLimits,
    verdicts: Verdicts,
    /// The form that the model had in the run that goes on.
    recorded: Option<BatchForm>,
    unchecked: Option<BatchForm>,
}

impl OpenJob {
    fn open(&self) -> Result<(Batcher, ModelInfo), ModelProblem> {
        let Self { runtime, entry, content, batch_rows_max, time, .. } = self;
        let graph =
            graph::read_graph(content).map_err(|reason| ModelProblem::Unreadable { reason: reason.to_string() })?;
        refuse_unfit(&graph, runtime)?;
        let said = Said { dims: &entry.dims, batch_axes: &entry.batch_axes };
        let model = session::open(runtime, content, said, *time).map_err(|problem| match problem {
            ModelProblem::ShapeOfData { tensor, shapes, node: None } => {
                let node = graph.shaping_node(&tensor);
                ModelProblem::ShapeOfData { tensor, shapes, node }
            }
            problem => problem,
        })?;
        let (mut model, decided) = decide(runtime, &graph, model, said, *time)?;
        let plans = |plans: &[super::layout::TensorPlan]| plans.iter().map(|plan| plan.info.clone()).collect();
        let (inputs, outputs) = (plans(&model.inputs), plans(&model.outputs));
        let (row_bytes, output_bytes) = (model.row_bytes, model.output_bytes);
        let Decided { mut form, mut reasons, deciders, padded } = decided;
        if let Some(reason) = model.single_rows.take() {
            form = BatchForm::Alone;
            reasons.insert(0, reason);
        }
        if let Some(recorded) = self.recorded.filter(|recorded| form.strictest(*recorded) != form) {
            // A number of rows of its own is the model's, and doesn't follow from the machine.
            if let BatchForm::Fixed(_) = recorded {
                return Err(ModelProblem::ForeignForm { recorded: recorded.name(), form: form.name() });
            }
            form = recorded;
            reasons.push("the run that goes on had this form".into());
        }
        let mut bound = BoundModel::new(model, form, *batch_rows_max, graph.steadiness());
        reasons.extend(self.settle(&mut bound, said, padded, graph.has_loops())?);
        let tidied = bound.tidy_up(time.load.within(time.run));
        tidied.map_err(|halt| ModelProblem::of_halt(halt, *time, ModelProblem::Broken))?;
        let info = ModelInfo {
            id: entry.id,
            name: entry.name.clone(),
            sha256: self.sha256,
            row_bytes,
            output_bytes,
            batch_rows_max: *batch_rows_max,
            inputs,
            outputs,
            form: bound.form(),
            reasons,
            deciders,
        };
        Ok((Batcher::new(bound), info))
    }

    /// Probes a model, unless a verdict was kept. Returns why it has fallen to a safer form, if it has.
    fn settle(
        &self,
        bound: &mut BoundModel,
        said: Said<'_>,
        padded: Option<String>,
        bounded: bool,
    ) -> Result<Vec<String>, ModelProblem> {
        if let Some(unchecked) = self.unchecked {
            bound.set_form(unchecked);
            return Ok(Vec::new());
        }
        let form = bound.form();
        // If nothing is kept, the library's identity isn't needed.
        let library = if self.verdicts.are_kept() { self.runtime.identity() } else { "" };
        let key =
            VerdictKey::new(self.sha256, said, form, (self.batch_rows_max, self.time.memory_bytes), library, padded);
        // A verdict only ever makes a form safer.
        if let Some(kept) = self.verdicts.find(&key).filter(|kept| form.strictest(kept.form) == kept.form) {
            bound.set_form(kept.form);
            bound.use_sizes(kept.sizes);
            return Ok(kept.reasons);
        }
        let settled = admission::settle(bound, bounded);
        let settled = settled.map_err(|halt| ModelProblem::of_halt(halt, self.time, ModelProblem::Broken))?;
        let found = settled.ok_or(ModelProblem::Unrepeatable)?;
        self.verdicts.keep(key, Kept { form: bound.form(), sizes: bound.sizes().len(), reasons: found.clone() });
        Ok(found)
    }
}

/// Refuses a model to which no row may be given.
fn refuse_unfit(graph: &ModelGraph<'_>, runtime: &Runtime) -> Result<(), ModelProblem> {
    if let Some((domain, name)) = graph.taken_function() {
        return Err(ModelProblem::TakenFunction { domain: domain.into(), name: name.into() });
    }
    if let Some(random) = graph.random_node() {
        return Err(ModelProblem::Random { operator: random.operator, node: random.node });
    }
    if let Some(DividingNode { operator, node, by_zero }) = graph.dividing_node(runtime.sees_zeros()) {
        return Err(match by_zero {
            false => ModelProblem::Divides { operator, node },
            true => ModelProblem::DividesByZero { operator, node },
        });
    }
    Ok(())
}

/// Form that a model's graph asks for, and why.
struct Decided {
    form: BatchForm,
    reasons: Vec<String>,
    deciders: Vec<Decider>,
    /// SHA-256 of the padded model, if it was padded.
    padded: Option<String>,
}

/// Finds the form of a model's runs in its graph. If reductions are padded, the model is opened anew.
fn decide(
    runtime: &Runtime,
    graph: &ModelGraph<'_>,
    model: OpenModel,
    said: Said<'_>,
    time: ModelLimits,
) -> Result<(OpenModel, Decided), ModelProblem> {
    if model.slots == Slots::One {
        let form = BatchForm::Fixed(1);
        return Ok((model, Decided { form, reasons: Vec::new(), deciders: Vec::new(), padded: None }));
    }
    let mut classes = graph.classes(&model.inputs, &model.outputs);
    let mut reasons: Vec<String> =
        classes.deciders.iter().filter(|decider| !decider.is_padded).map(ToString::to_string).collect();
    let (mut model, mut padded_hash) = (model, None);
    if let Some(content) = graph.padded(&classes) {
        match session::open(runtime, &content, said, time) {
            Ok(padded) => {
                model = padded;
                padded_hash = Some(wasm_engine_files::hex(&wasm_engine_files::sha256(&content)));
            }
            // The form must not depend on the speed or the memory of the machine.
            Err(problem) if problem.is_of_machine() => return Err(problem),
            Err(problem) => {
                classes.form = BatchForm::Alone;
                reasons.push(format!("padded inside the graph, it {problem}"));
            }
        }
    }
    let form = match (model.slots, classes.form) {
        (Slots::Exactly(rows), BatchForm::Multiple(unit)) if rows.is_multiple_of(unit) => BatchForm::Fixed(rows),
        (Slots::Exactly(rows), BatchForm::Any) => BatchForm::Fixed(rows),
        (Slots::Exactly(_), _) => BatchForm::Alone,
        (_, form) => form,
    };
    Ok((model, Decided { form, reasons, deciders: classes.deciders, padded: padded_hash }))
}

#[cfg(test)]
mod tests;
