//! One model in ONNX Runtime: opens the session, reads what the model declares, and watches what shapes its outputs really
//! have. Called by [`super::registry`] at load.

use ort::logging::LogLevel;
use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::value::{DynTensor, Outlet, ValueType};

use super::error::ModelProblem;
use super::layout::{Declared, Dimension, Slots, TensorInfo, TensorPlan, lay_out, resolve_inputs};
use super::runtime::{CPU_PROVIDER, Runtime};
use super::tensor::ElementType;

/// Where ONNX Runtime would look for weights outside of the model: a folder that doesn't exist, because no hash covers them.
const NO_FOLDER: &str = "/wasm-engine-reads-no-weights-outside-of-a-model";

/// A session, and how rows go in and out of it.
pub(crate) struct OpenModel {
    pub session: Session,
    pub slots: Slots,
    pub inputs: Vec<TensorPlan>,
    pub outputs: Vec<TensorPlan>,
    pub row_bytes: u32,
    pub output_bytes: u32,
    /// Why rows can't share a run, if that shows from the outputs' shapes.
    pub single_rows: Option<String>,
}

/// Opens a model.
pub(crate) fn open(runtime: &Runtime, content: &[u8], dims: &[(String, u32)]) -> Result<OpenModel, ModelProblem> {
    let session = start(runtime, content).map_err(|reason| {
        if reason.to_lowercase().contains("external data") || reason.contains(NO_FOLDER) {
            return ModelProblem::ExternalData;
        }
        ModelProblem::NotLoadable { version: runtime.version.clone(), reason }
    })?;
    let declared_inputs = declared("input", session.inputs())?;
    let declared_outputs = declared("output", session.outputs())?;
    let (slots, inputs) = resolve_inputs(&declared_inputs, dims)?;
    let (inputs, row_bytes) = lay_out("input", inputs, slots)?;
    let mut model =
        OpenModel { session, slots, inputs, outputs: vec![], row_bytes, output_bytes: 0, single_rows: None };
    let outputs = model.watch_outputs(&declared_outputs, dims)?;
    if model.slots == Slots::One {
        // Perhaps only the outputs showed that there is no batch.
        let whole = model.inputs.drain(..).map(|plan| plan.info).collect();
        (model.inputs, model.row_bytes) = lay_out("input", whole, Slots::One)?;
    }
    (model.outputs, model.output_bytes) = lay_out("output", outputs, model.slots)?;
    Ok(model)
}

fn start(runtime: &Runtime, content: &[u8]) -> Result<Session, String> {
    configure(runtime).and_then(|mut builder| builder.commit_from_memory(content)).map_err(|error| error.to_string())
}

/// Everything that could change a result.
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
        // A row that fails is a result, and isn't reported a second time.
        .with_log_level(LogLevel::Fatal)?
        .with_config_entry("session.model_external_initializers_file_folder_path", NO_FOLDER)?;
    Ok(builder)
}

/// What the model says about its inputs or outputs.
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
    /// The outputs' real shapes: models declare them loosely, or not at all. Where an output has no row for each row of the
    /// input, the model is run a row at a time.
    fn watch_outputs(
        &mut self,
        declared: &[Declared],
        dims: &[(String, u32)],
    ) -> Result<Vec<TensorInfo>, ModelProblem> {
        let alone = match self.run_on_zeros(1) {
            Ok(shapes) => shapes,
            Err(reason) => return self.trust_outputs(declared, dims, &reason.to_string()),
        };
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
                let pair = self.run_on_zeros(2).unwrap_or_default();
                let follows = |at: usize, shape: &Vec<u32>| {
                    let of_two = pair.get(at).and_then(|shape| shape.split_first());
                    shape.split_first().is_some_and(|(&rows, rest)| rows == 1 && of_two == Some((&2, rest)))
                };
                match alone.iter().enumerate().find(|&(at, shape)| !follows(at, shape)) {
                    None => Ok(info(declared, alone.iter().map(|shape| batched(&shape[1..])))),
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

    /// The outputs' shapes as the model declares them, for a model that fails on zeros.
    fn trust_outputs(
        &self,
        declared: &[Declared],
        dims: &[(String, u32)],
        reason: &str,
    ) -> Result<Vec<TensorInfo>, ModelProblem> {
        let shapes = declared.iter().map(|output| {
            let unknown = || ModelProblem::UnknownOutput { tensor: output.name.clone(), reason: reason.into() };
            let sizes = output.dimensions.iter().enumerate().map(|(at, dimension)| match dimension {
                _ if at == 0 && self.slots == Slots::Any => Ok(None),
                Dimension::Fixed(size) => Ok(Some(*size)),
                Dimension::Named(name) => {
                    let size = dims.iter().find(|(named, _)| named == name);
                    size.map(|&(_, size)| Some(size)).ok_or_else(unknown)
                }
                Dimension::Nameless => Err(unknown()),
            });
            sizes.collect::<Result<Vec<_>, _>>()
        });
        Ok(info(declared, shapes.collect::<Result<Vec<_>, _>>()?.into_iter()))
    }

    /// Runs on zeros, and gives the outputs' shapes.
    fn run_on_zeros(&mut self, rows: u32) -> ort::Result<Vec<Vec<u32>>> {
        let inputs = self.inputs.iter().map(|plan| {
            let tensor = DynTensor::new(self.session.allocator(), plan.info.dtype.to_ort(), plan.shape(rows))?;
            Ok((plan.info.name.clone(), tensor))
        });
        let inputs = inputs.collect::<ort::Result<Vec<_>>>()?;
        let outputs = self.session.run(inputs)?;
        let shapes = outputs.values().map(|output| {
            let shape = output.dtype().tensor_shape().ok_or_else(|| ort::Error::new("an output isn't a tensor"))?;
            let sizes = shape.iter().map(|&size| u32::try_from(size).map_err(ort::Error::wrap));
            sizes.collect()
        });
        shapes.collect()
    }
}

/// A dynamic batch of such rows.
fn batched(row: &[u32]) -> Vec<Option<u32>> {
    std::iter::once(None).chain(row.iter().map(|&size| Some(size))).collect()
}

fn info(declared: &[Declared], shapes: impl Iterator<Item = Vec<Option<u32>>>) -> Vec<TensorInfo> {
    let tensors = declared.iter().zip(shapes);
    tensors.map(|(tensor, shape)| TensorInfo { name: tensor.name.clone(), dtype: tensor.dtype, shape }).collect()
}
