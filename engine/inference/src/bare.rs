//! A model without the engine around it: all rows in one call of ONNX Runtime, on tensors that are bound once. The benchmark of forms compares the
//! jobs of a frame with it; nothing else uses it.

use std::path::Path;
use std::time::Duration;

use ort::session::{IoBinding, Session};
use ort::value::{DynTensor, TensorElementType};
use wasm_engine_components::limits::{
    MODEL_BYTES_MAX, MODEL_LOAD_MS_DEFAULT, MODEL_MEMORY_BYTES_DEFAULT, MODEL_RUN_MS_DEFAULT,
};

use super::element::ElementType;
use super::error::{InferenceError, ModelProblem};
use super::layout::{Said, TensorPlan};
use super::limits::{Deadline, ModelLimits};
use super::session;
use super::{OnnxRuntime, runtime};

/// A model of one input and one output of `f32`, and a batch of rows.
pub struct BareModel {
    session: Session,
    binding: IoBinding,
    input: DynTensor,
    output: DynTensor,
    rows: Vec<u8>,
}

impl OnnxRuntime {
    /// Opens a model for a batch of rows that is run as it is.
    ///
    /// # Errors
    /// The model can't be used, or there is no ONNX Runtime.
    pub fn bare(path: &Path, rows: &[&[u8]]) -> Result<BareModel, InferenceError> {
        let runtime = runtime::start()?;
        let of_model = InferenceError::of_model("bare", path);
        let failed = |error: ort::Error| ModelProblem::NotLoadable {
            version: runtime.version.clone(),
            reason: error.to_string(),
        };
        let open = || {
            let (content, _) =
                wasm_engine_files::read_checked(path, MODEL_BYTES_MAX, None).map_err(ModelProblem::File)?;
            let time = ModelLimits {
                load: Deadline::after(Duration::from_millis(MODEL_LOAD_MS_DEFAULT.into())),
                run: Duration::from_millis(MODEL_RUN_MS_DEFAULT.into()),
                unhurried: false,
                memory_bytes: MODEL_MEMORY_BYTES_DEFAULT,
            };
            let model = session::open(runtime, &content, Said::default(), time)?;
            let ([from], [to]) = (&model.inputs[..], &model.outputs[..]) else {
                return Err(failed(ort::Error::new("it has more than one input or output")));
            };
            let count = u32::try_from(rows.len()).unwrap_or(u32::MAX);
            let tensor = |plan: &TensorPlan| match plan.info.dtype {
                ElementType::F32 => {
                    DynTensor::new(model.session.allocator(), TensorElementType::Float32, plan.shape(count))
                }
                _ => Err(ort::Error::new("its rows aren't of f32")),
            };
            let (input, mut output) = (tensor(from).map_err(failed)?, tensor(to).map_err(failed)?);
            let mut binding = model.session.create_binding().map_err(failed)?;
            binding.bind_input(&from.info.name, &input).map_err(failed)?;
            binding.bind_output(&to.info.name, &mut output).map_err(failed)?;
            Ok(BareModel { session: model.session, binding, input, output, rows: rows.concat() })
        };
        open().map_err(of_model)
    }
}

impl BareModel {
    /// Copies the rows in, runs the model, and copies the outputs out.
    ///
    /// # Panics
    /// If the model fails, or a row doesn't have the model's size.
    pub fn run(&mut self) -> Vec<f32> {
        let floats: &mut [f32] = self.input.try_extract_tensor_mut::<f32>().expect("an input of f32").1;
        bytemuck::cast_slice_mut::<_, u8>(floats).copy_from_slice(&self.rows);
        drop(self.session.run_binding(&self.binding).expect("the model runs"));
        self.output.try_extract_tensor::<f32>().expect("an output of f32").1.to_vec()
    }
}
