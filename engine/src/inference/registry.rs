//! The models of a run: read, checked, opened and probed at load, then asked in each frame through the port
//! `ModelRuntime`. A model is addressed by the sha256 of its file: two names for one file share a session.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use rayon::prelude::*;
use wasm_engine_abi::InferenceStatus;
use wasm_engine_components::ModelId;
use wasm_engine_components::limits::MODEL_BYTES_MAX;
use wasm_engine_components::text::shown;
use wasm_engine_systems::ports::{ModelBatch, ModelResults, ModelRuntime, RowResult};

use super::admission;
use super::batch::Batcher;
use super::binding::BoundModel;
use super::error::{InferenceError, ModelProblem};
use super::form::BatchForm;
use super::graph::{self, Decider, ModelGraph};
use super::layout::{Said, Slots, TensorInfo};
use super::progress::LoadProgress;
use super::runtime::{self, Runtime};
use super::session::{self, OpenModel, TimeLimits};
use super::verdicts::{Kept, VerdictKey, Verdicts};
use super::watchdog::Deadline;
use crate::files;
use crate::scenario::ModelEntry;

/// A model that was loaded. Displayed, it is a line for a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelInfo {
    /// The number of its name.
    pub id: ModelId,
    /// Its name in the scenario.
    pub name: String,
    /// What its file hashes to.
    pub sha256: [u8; 32],
    /// Bytes of one row: the inputs in the model's order, concatenated.
    pub row_bytes: u32,
    /// Bytes of one row's outputs, in the model's order, concatenated.
    pub output_bytes: u32,
    /// Most rows of one batch, as the scenario says.
    pub batch_rows_max: u32,
    /// Its inputs, in the model's order.
    pub inputs: Vec<TensorInfo>,
    /// Its outputs, in the model's order.
    pub outputs: Vec<TensorInfo>,
    /// How its rows share runs: the canonical form of a row, too.
    pub form: BatchForm,
    /// Why the form isn't [`BatchForm::Any`]: what the graph says, or the probe found.
    pub reasons: Vec<String>,
    /// The nodes of its graph that decide the form, or are padded: the first ones of them.
    pub deciders: Vec<Decider>,
}

impl fmt::Display for ModelInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |tensors: &[TensorInfo]| tensors.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        write!(f, "{}: {} -> {}; ", self.name, list(&self.inputs), list(&self.outputs))?;
        match self.form {
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
    models: Vec<Loaded>,
}

/// What belongs to a name, and not to the model behind it.
#[derive(Clone, Copy)]
struct Name {
    model: usize,
    refuse_non_finite: bool,
}

/// A model, and its results of the frame in hand. They lie apart so that several models can run at once.
struct Loaded {
    batcher: Batcher,
    results: ModelResults,
}

/// How models are loaded on this machine. None of it changes a result.
#[derive(Clone, Debug, Default)]
pub struct ModelLoadOptions {
    /// The engine's cache folder, where the probe's verdicts are kept. Default: they aren't.
    pub cache_dir: Option<PathBuf>,
    /// Who is told of what takes long.
    pub progress: LoadProgress,
}

/// What makes two entries the same model: the sha256 of the file, and what is said of its dimensions.
type Key<'e> = ([u8; 32], &'e [(String, u32)], &'e [(String, u32)]);

impl OnnxRuntime {
    /// Loads the models of a scenario. Every file is read and checked before ONNX Runtime is looked for; without models it
    /// isn't looked for at all. `say` is given a line whenever a person should know what happens.
    ///
    /// # Errors
    /// For the first model that can't be used, and where there is no ONNX Runtime.
    pub fn load(
        entries: &[ModelEntry],
        options: &ModelLoadOptions,
        say: &mut dyn FnMut(&str),
    ) -> Result<(Self, Vec<ModelInfo>), InferenceError> {
        let verdicts = Verdicts::new(options.cache_dir.as_deref());
        let mut keys: Vec<Key<'_>> = Vec::with_capacity(entries.len());
        let mut contents = Vec::with_capacity(entries.len());
        for entry in entries {
            let read = files::read_checked(&entry.path, MODEL_BYTES_MAX, entry.sha256).map_err(ModelProblem::File);
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
                let runtime = runtime::start(say)?;
                loaded.runtime = Some(runtime);
                let sharers = || entries.iter().zip(&keys).filter(|(_, other)| *other == key).map(|(sharer, _)| sharer);
                let rows_max = sharers().map(|sharer| sharer.batch_rows_max).max().unwrap_or(1);
                let ms =
                    |of: fn(&ModelEntry) -> u32| Duration::from_millis(sharers().map(of).max().unwrap_or(1).into());
                let time = TimeLimits {
                    load: Deadline::after(ms(|sharer| sharer.load_ms_max)),
                    run: ms(|sharer| sharer.run_ms_max),
                };
                let what = format!("opening and probing the model `{}`", shown(&entry.name));
                let open = || open(runtime, entry, key.0, &content, rows_max, time, &verdicts);
                let opened = options.progress.during(&what, open);
                let (batcher, info) = opened.map_err(InferenceError::of_model(&entry.name, &entry.path))?;
                models_by_key.push((*key, loaded.models.len(), info));
                loaded.models.push(Loaded { batcher, results: ModelResults::default() });
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

    /// The version of ONNX Runtime; `None` without models.
    pub fn version(&self) -> Option<&str> {
        self.runtime.map(|runtime| runtime.version.as_str())
    }

    /// The execution providers that have a device here, each with the kind of device; none without models. Models run on
    /// `CPUExecutionProvider`.
    pub fn providers(&self) -> Vec<String> {
        self.runtime.map(Runtime::providers).unwrap_or_default()
    }

    /// Runs each batch in the order given, all on this thread.
    fn infer_one_by_one(&mut self, batches: &[ModelBatch<'_>], results: &mut ModelResults) {
        for batch in batches {
            match self.names.get(&batch.model) {
                Some(name) => self.models[name.model].batcher.run(batch, name.refuse_non_finite, results),
                None => refuse(batch, results),
            }
        }
    }

    /// Runs the models side by side, each with its own batches in the order given, and puts the results together in order.
    fn infer_side_by_side(&mut self, batches: &[ModelBatch<'_>], results: &mut ModelResults) {
        let names = &self.names;
        self.models.par_iter_mut().enumerate().for_each(|(number, model)| {
            model.results.clear();
            for batch in batches {
                if let Some(name) = names.get(&batch.model).filter(|name| name.model == number) {
                    model.batcher.run(batch, name.refuse_non_finite, &mut model.results);
                }
            }
        });
        // How many rows and bytes of each model have been taken.
        let mut taken = vec![(0, 0); self.models.len()];
        for batch in batches {
            let Some(name) = names.get(&batch.model) else {
                refuse(batch, results);
                continue;
            };
            let source = &self.models[name.model].results;
            let (first_row, first_byte) = taken[name.model];
            let rows = &source.rows[first_row..][..batch.rows.len()];
            let bytes: usize = rows.iter().map(|row| row.bytes).sum();
            let start = results.bytes.len();
            results.bytes.extend_from_slice(&source.bytes[first_byte..][..bytes]);
            results.rows.extend(rows.iter().map(|row| match row.status {
                InferenceStatus::Ok => RowResult { offset: row.offset - first_byte + start, ..*row },
                _ => *row,
            }));
            taken[name.model] = (first_row + rows.len(), first_byte + bytes);
        }
        for notice in self.models.iter_mut().flat_map(|model| model.results.notices.drain(..)) {
            results.notice(notice.model, notice.kind, notice.rows, || notice.reason);
        }
    }
}

impl ModelRuntime for OnnxRuntime {
    fn infer(&mut self, batches: &[ModelBatch<'_>], results: &mut ModelResults) {
        results.clear();
        let mut models = batches.iter().filter_map(|batch| Some(self.names.get(&batch.model)?.model));
        let first = models.next();
        if models.any(|model| Some(model) != first) {
            self.infer_side_by_side(batches, results);
        } else {
            self.infer_one_by_one(batches, results);
        }
    }
}

/// The port of a scenario without models: it needs no ONNX Runtime.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoModels;

impl ModelRuntime for NoModels {
    fn infer(&mut self, batches: &[ModelBatch<'_>], results: &mut ModelResults) {
        results.clear();
        batches.iter().for_each(|batch| refuse(batch, results));
    }
}

/// Answers for a model that isn't loaded.
fn refuse(batch: &ModelBatch<'_>, results: &mut ModelResults) {
    let result = RowResult { status: InferenceStatus::UnknownModel, offset: 0, bytes: 0 };
    results.rows.extend(batch.rows.iter().map(|_| result));
}

/// Opens and probes a model.
fn open(
    runtime: &Runtime,
    entry: &ModelEntry,
    sha256: [u8; 32],
    content: &[u8],
    batch_rows_max: u32,
    time: TimeLimits,
    verdicts: &Verdicts,
) -> Result<(Batcher, ModelInfo), ModelProblem> {
    let graph = graph::read_graph(content);
    if let Some(random) = graph.as_ref().and_then(ModelGraph::random_node) {
        return Err(ModelProblem::Random { operator: random.operator, node: random.node });
    }
    let said = Said { dims: &entry.dims, batch_axes: &entry.batch_axes };
    let model = session::open(runtime, content, said, time).map_err(|problem| match problem {
        ModelProblem::ShapeOfData { tensor, shapes, node: None } => {
            let node = graph.as_ref().and_then(|graph| graph.shaping_node(&tensor));
            ModelProblem::ShapeOfData { tensor, shapes, node }
        }
        problem => problem,
    })?;
    let (mut model, decided) = decide(runtime, graph.as_ref(), model, said, time);
    let plans = |plans: &[super::layout::TensorPlan]| plans.iter().map(|plan| plan.info.clone()).collect();
    let (inputs, outputs) = (plans(&model.inputs), plans(&model.outputs));
    let (row_bytes, output_bytes) = (model.row_bytes, model.output_bytes);
    let Decided { mut form, mut reasons, deciders } = decided;
    if let Some(reason) = model.single_rows.take() {
        form = BatchForm::Alone;
        reasons.insert(0, reason);
    }
    let mut bound = BoundModel::new(model, form, batch_rows_max);
    let key = VerdictKey::new(sha256, said, form, batch_rows_max, &runtime.version);
    // A verdict only ever makes a form safer.
    match verdicts.find(&key).filter(|kept| form.strictest(kept.form) == kept.form) {
        Some(kept) => {
            bound.set_form(kept.form);
            reasons.extend(kept.reasons);
        }
        None => {
            let bounded = graph.as_ref().is_none_or(ModelGraph::has_loops);
            let settled = admission::settle(&mut bound, bounded);
            let settled = settled.map_err(|halt| ModelProblem::of_halt(halt, time, ModelProblem::Broken))?;
            let found = settled.ok_or(ModelProblem::Unrepeatable)?;
            verdicts.keep(key, Kept { form: bound.form(), reasons: found.clone() });
            reasons.extend(found);
        }
    }
    let form = bound.form();
    let info = ModelInfo {
        id: entry.id,
        name: entry.name.clone(),
        sha256,
        row_bytes,
        output_bytes,
        batch_rows_max,
        inputs,
        outputs,
        form,
        reasons,
        deciders,
    };
    Ok((Batcher::new(bound), info))
}

/// The form that a model's graph asks for, and why.
struct Decided {
    form: BatchForm,
    reasons: Vec<String>,
    deciders: Vec<Decider>,
}

/// Finds the form of a model's runs in its graph. Where reductions are padded, the model is opened anew.
fn decide(
    runtime: &Runtime,
    graph: Option<&ModelGraph<'_>>,
    model: OpenModel,
    said: Said<'_>,
    time: TimeLimits,
) -> (OpenModel, Decided) {
    let without = |form, reasons| Decided { form, reasons, deciders: Vec::new() };
    if model.slots == Slots::One {
        return (model, without(BatchForm::Fixed(1), Vec::new()));
    }
    let Some(graph) = graph else {
        return (model, without(BatchForm::Alone, vec!["its graph can't be read".into()]));
    };
    let mut classes = graph.classes(&model.inputs, &model.outputs);
    let mut reasons: Vec<String> =
        classes.deciders.iter().filter(|decider| !decider.is_padded).map(ToString::to_string).collect();
    let mut model = model;
    if let Some(content) = graph.padded(&classes) {
        match session::open(runtime, &content, said, time) {
            Ok(padded) => model = padded,
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
    (model, Decided { form, reasons, deciders: classes.deciders })
}
