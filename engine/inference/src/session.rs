//! One model in ONNX Runtime: opens the session, reads what the model declares, and finds the shapes that its outputs really
//! have. [`super::registry`] calls it at load.

use std::sync::Arc;

use ort::logging::LogLevel;
use ort::memory::Allocator;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{RunOptions, Session};
use ort::value::{DynTensor, Outlet, ValueType};

use super::element::ElementType;
use super::error::ModelProblem;
use super::layout::{Declared, Dimension, Said, Slots, TensorInfo, TensorPlan, check_names, lay_out, resolve_inputs};
use super::limits::ModelLimits;
use super::memory;
use super::runtime::{CPU_PROVIDER, Runtime};
use super::tensor;
use super::watchdog::{self, Halt, Work};

/// Folder in which ONNX Runtime would look for weights outside of the model. It doesn't exist, because no hash covers such weights.
const NO_FOLDER: &str = "/wasm-engine-reads-no-weights-outside-of-a-model";

/// A session, and the layout of its rows.
pub(crate) struct OpenModel {
    pub session: Session,
    /// Options of the runs that find the outputs' shapes, by which the watchdog can end them.
    run_options: Arc<RunOptions>,
    pub time: ModelLimits,
    pub slots: Slots,
    pub inputs: Vec<TensorPlan>,
    pub outputs: Vec<TensorPlan>,
    pub row_bytes: u32,
    pub output_bytes: u32,
    /// Why rows can't share a run, if the outputs' shapes show that.
    pub single_rows: Option<String>,
}

/// Opens a model.
pub(crate) fn open(
    runtime: &Runtime,
    content: &[u8],
    said: Said<'_>,
    time: ModelLimits,
) -> Result<OpenModel, ModelProblem> {
    let not_loadable = |reason: String| {
        if reason.to_lowercase().contains("external data") || reason.contains(NO_FOLDER) {
            return ModelProblem::ExternalData;
        }
        ModelProblem::NotLoadable { version: runtime.version.clone(), reason }
    };
    let session = start(runtime, content, time).map_err(|halt| ModelProblem::of_halt(halt, time, not_loadable))?;
    let run_options = Arc::new(memory::returning_options().map_err(|error| not_loadable(error.to_string()))?);
    let declared_inputs = declared("input", session.inputs())?;
    let declared_outputs = declared("output", session.outputs())?;
    check_tensors(&declared_inputs, &declared_outputs, said)?;
    check_names(&declared_inputs, &declared_outputs, said.dims)?;
    let (slots, inputs) = resolve_inputs(&declared_inputs, said)?;
    let (inputs, row_bytes) = lay_out("input", inputs, slots)?;
    let mut model = OpenModel {
        session,
        run_options,
        time,
        slots,
        inputs,
        outputs: vec![],
        row_bytes,
        output_bytes: 0,
        single_rows: None,
    };
    let outputs = model.watch_outputs(&declared_outputs, said)?;
    if model.slots == Slots::One {
        // The outputs may have shown that there is no batch.
        let whole = model.inputs.drain(..).map(|plan| plan.info).collect();
        (model.inputs, model.row_bytes) = lay_out("input", whole, Slots::One)?;
    }
    (model.outputs, model.output_bytes) = lay_out("output", outputs, model.slots)?;
    Ok(model)
}

fn start(runtime: &Runtime, content: &[u8], time: ModelLimits) -> Result<Session, Halt> {
    let mut builder = configure(runtime)?;
    let canceler = Work::Load(builder.canceler());
    // Weights are in the arena, too: as in the file, and once more in the order in which kernels read them.
    let bytes_max = time.memory_bytes.saturating_add(content.len() as u64 * 2);
    memory::with_arena(&runtime.environment, bytes_max, time.load, || {
        watchdog::until(time.load, canceler, || builder.commit_from_memory(content))
    })
}

/// Sets everything that could change a result.
fn configure(runtime: &Runtime) -> ort::Result<SessionBuilder> {
    let environment = &runtime.environment;
    let cpu = environment.devices().filter(|device| device.ep().is_ok_and(|ep| ep == CPU_PROVIDER));
    let builder = Session::builder(environment)?
        // The device is named: without it, a session may run on any provider that was registered.
        .with_devices(cpu, None)?
        // A second thread was slower at every size that was measured, and parallelism is between models here.
        .with_intra_threads(1)?
        .with_inter_threads(1)?
        .with_parallel_execution(false)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_deterministic_compute(true)?
        // Without it u8 x s8 products saturate on CPUs that lack VNNI, and give other results there.
        .with_precise_qmm()?
        // Uses the arena that the environment has now.
        .with_env_allocators()?
        // A memory plan of an earlier run doesn't fit a run that needs other memory.
        .with_memory_pattern(false)?
        // A row that fails is a result, and isn't reported again.
        .with_log_level(LogLevel::Fatal)?
        .with_config_entry("session.model_external_initializers_file_folder_path", NO_FOLDER)?;
    Ok(builder)
}

/// Returns what the model declares about its inputs or outputs.
fn declared(role: &'static str, outlets: &[Outlet]) -> Result<Vec<Declared>, ModelProblem> {
    if outlets.is_empty() {
        return Err(ModelProblem::Nothing { role });
    }
    let tensors = outlets.iter().map(|outlet| {
        let unsupported = |found: String| ModelProblem::UnsupportedType { role, tensor: outlet.name().into(), found };
        let ValueType::Tensor { ty, shape, dimension_symbols } = outlet.dtype() else {
            return Err(unsupported(outlet.dtype().to_string()));
        };
        let dtype = ElementType::from_ort(*ty).ok_or_else(|| unsupported(ty.to_string()))?;
        let dimensions = shape.iter().enumerate().map(|(at, &size)| match u32::try_from(size) {
            Ok(size) => Dimension::Fixed(size),
            Err(_) => match dimension_symbols.get(at).filter(|name| !name.is_empty()) {
                Some(name) => Dimension::Named(name.clone()),
                None => Dimension::Nameless,
            },
        });
        Ok(Declared { name: outlet.name().into(), dtype, dimensions: dimensions.collect() })
    });
    tensors.collect()
}

impl OpenModel {
    /// Finds the outputs' real shapes, because models declare them loosely or not at all. If an output doesn't have a row for each row of the
    /// input, the model is run a row at a time.
    fn watch_outputs(&mut self, declared: &[Declared], said: Said<'_>) -> Result<Vec<TensorInfo>, ModelProblem> {
        let alone = match self.output_shapes(1, Fill::Zeros) {
            Ok(shapes) => shapes,
            Err(Halt::Failed(reason)) if !Halt::Failed(reason.clone()).is_of_memory() => {
                return self.trust_outputs(declared, said, &reason);
            }
            Err(halt) => return Err(ModelProblem::of_halt(halt, self.time, ModelProblem::Broken)),
        };
        self.refuse_shapes_of_data(declared, &alone)?;
        let whole = |shapes: &[Vec<u32>]| info(declared, shapes.iter().map(|s| s.iter().map(|&n| Some(n)).collect()));
        match self.slots {
            Slots::One => Ok(whole(&alone)),
            Slots::Exactly(rows) => {
                if alone.iter().any(|shape| shape.first() != Some(&rows)) {
                    self.slots = Slots::One;
                }
                Ok(whole(&alone))
            }
            Slots::Any => {
                let pair = match self.output_shapes(2, Fill::Zeros) {
                    Ok(shapes) => shapes,
                    // If there is no room for two rows, it isn't known whether they may share a run.
                    Err(halt @ Halt::Failed(_)) if !halt.is_of_memory() => Vec::new(),
                    Err(halt) => return Err(ModelProblem::of_halt(halt, self.time, ModelProblem::Broken)),
                };
                let axis =
                    |(at, shape): (usize, &Vec<u32>)| rows_axis(shape, pair.get(at)?, said.axis(&declared[at].name));
                let axes: Vec<Option<usize>> = alone.iter().enumerate().map(axis).collect();
                match axes.iter().enumerate().find(|(_, axis)| axis.is_none()) {
                    None => {
                        let shapes = alone.iter().zip(axes).map(|(shape, axis)| batched(shape, axis));
                        Ok(info(declared, shapes))
                    }
                    Some((at, _)) => {
                        let output = &declared[at].name;
                        self.single_rows =
                            Some(format!("its output `{output}` hasn't one row for each row of the input"));
                        Ok(whole(&alone))
                    }
                }
            }
        }
    }

    /// Returns the outputs' shapes as the model declares them, for a model that fails on zeros.
    fn trust_outputs(
        &mut self,
        declared: &[Declared],
        said: Said<'_>,
        reason: &str,
    ) -> Result<Vec<TensorInfo>, ModelProblem> {
        let is_batch = |output: &Declared, at| at == said.axis(&output.name).unwrap_or(0) && self.slots == Slots::Any;
        let shapes = declared.iter().map(|output| {
            let sizes = output.dimensions.iter().enumerate().map(|(at, dimension)| match dimension {
                _ if is_batch(output, at) => Some(None),
                Dimension::Fixed(size) => Some(Some(*size)),
                _ => output.dimension_name(at).and_then(|name| said.size(&name)).map(Some),
            });
            sizes.collect::<Option<Vec<_>>>().ok_or_else(|| ModelProblem::UnknownOutput {
                tensor: output.name.clone(),
                open: (0..output.dimensions.len())
                    .filter(|&at| !is_batch(output, at))
                    .filter_map(|at| output.dimension_name(at))
                    .collect(),
                reason: reason.into(),
            })
        });
        let shapes = shapes.collect::<Result<Vec<_>, _>>()?;
        if let Slots::Exactly(rows) = self.slots
            && shapes.iter().any(|shape: &Vec<Option<u32>>| shape.first() != Some(&Some(rows)))
        {
            self.slots = Slots::One;
        }
        Ok(info(declared, shapes.into_iter()))
    }

    /// Checks that no output's size depends on what the inputs hold: such an output can't be part of a row.
    fn refuse_shapes_of_data(&mut self, declared: &[Declared], on_zeros: &[Vec<u32>]) -> Result<(), ModelProblem> {
        for fill in [Fill::Ones, Fill::Mixed] {
            let shapes = match self.output_shapes(1, fill) {
                Ok(shapes) => shapes,
                // Not every model takes every number.
                Err(Halt::Failed(_)) => continue,
                Err(halt) => return Err(ModelProblem::of_halt(halt, self.time, ModelProblem::Broken)),
            };
            let differs = shapes.iter().zip(on_zeros).position(|(shape, zeros)| shape != zeros);
            if let Some(at) = differs {
                return Err(ModelProblem::ShapeOfData {
                    tensor: declared[at].name.clone(),
                    shapes: Box::new([on_zeros[at].clone(), shapes[at].clone()]),
                    node: None,
                });
            }
        }
        Ok(())
    }

    /// Runs the model with such rows, and returns the outputs' shapes.
    fn output_shapes(&mut self, rows: u32, fill: Fill) -> Result<Vec<Vec<u32>>, Halt> {
        let slots = match self.slots {
            Slots::Any => rows,
            Slots::Exactly(rows) => rows,
            Slots::One => 1,
        };
        let row = fill.row(&self.inputs);
        let inputs = self.inputs.iter().map(|plan| {
            let mut tensor = DynTensor::new(&Allocator::default(), plan.info.dtype.to_ort(), plan.shape(rows))?;
            tensor::fill(&mut tensor, plan, &[&row], slots as usize)?;
            Ok((plan.info.name.clone(), tensor))
        });
        let inputs = inputs.collect::<ort::Result<Vec<_>>>()?;
        let (session, options) = (&mut self.session, &self.run_options);
        let work = Work::Run(Arc::clone(options));
        let run = || session.run_with_options(inputs, options);
        let outputs = watchdog::until(self.time.load.within(self.time.run), work, run)?;
        let shapes = outputs.values().map(|output| {
            let shape = output.dtype().tensor_shape().ok_or_else(|| ort::Error::new("an output isn't a tensor"))?;
            let sizes = shape.iter().map(|&size| u32::try_from(size).map_err(ort::Error::wrap));
            Ok(sizes.collect::<ort::Result<_>>()?)
        });
        shapes.collect()
    }
}

/// Values of rows with which the shapes of outputs are found.
#[derive(Clone, Copy, Debug)]
enum Fill {
    Zeros,
    Ones,
    /// 1, 0, -1, 0 and so on; 1 and 0 for types without -1.
    Mixed,
}

impl Fill {
    fn row(self, inputs: &[TensorPlan]) -> Vec<u8> {
        let mut row = Vec::new();
        for plan in inputs {
            for at in 0..plan.part.len() / plan.info.dtype.bytes() as usize {
                let number = match (self, at % 4) {
                    (Self::Zeros, _) | (Self::Mixed, 1 | 3) => 0,
                    (Self::Mixed, 2) => -1,
                    (Self::Ones, _) | (Self::Mixed, _) => 1,
                };
                plan.info.dtype.push(number, &mut row);
            }
        }
        row
    }
}

/// Checks that each tensor in `batch_axes` exists.
fn check_tensors(inputs: &[Declared], outputs: &[Declared], said: Said<'_>) -> Result<(), ModelProblem> {
    let known: Vec<String> = inputs.iter().chain(outputs).map(|tensor| tensor.name.clone()).collect();
    match said.batch_axes.iter().find(|(named, _)| !known.contains(named)) {
        Some((tensor, _)) => Err(ModelProblem::UnknownTensor { tensor: tensor.clone(), known }),
        None => Ok(()),
    }
}

/// Returns the only dimension in which an output of two rows is twice as large as that of one row; it must be the one in `batch_axes`, if that
/// names one.
fn rows_axis(alone: &[u32], pair: &[u32], said: Option<usize>) -> Option<usize> {
    if alone.len() != pair.len() {
        return None;
    }
    let mut differing = (0..alone.len()).filter(|&at| alone[at] != pair[at]);
    let axis = differing.next().filter(|&axis| alone[axis] == 1 && pair[axis] == 2)?;
    (differing.next().is_none() && said.is_none_or(|said| said == axis)).then_some(axis)
}

/// Returns a dynamic batch of such rows.
fn batched(row: &[u32], axis: Option<usize>) -> Vec<Option<u32>> {
    row.iter().enumerate().map(|(at, &size)| (axis != Some(at)).then_some(size)).collect()
}

fn info(declared: &[Declared], shapes: impl Iterator<Item = Vec<Option<u32>>>) -> Vec<TensorInfo> {
    let tensors = declared.iter().zip(shapes);
    tensors.map(|(tensor, shape)| TensorInfo { name: tensor.name.clone(), dtype: tensor.dtype, shape }).collect()
}
