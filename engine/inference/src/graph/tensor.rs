//! A model's inputs and outputs, as its graph is followed from them.

use super::super::layout::TensorPlan;
use super::value::Size;

/// An input or output of the model.
#[derive(Debug)]
pub(super) struct GraphTensor {
    pub name: String,
    /// ONNX's number of its element type.
    pub dtype: i64,
    pub shape: Vec<Size>,
}

impl GraphTensor {
    pub fn of(plan: &TensorPlan) -> Self {
        let size = |(at, size): (usize, &Option<u32>)| match size {
            Some(size) if plan.axis != Some(at) => Size::Known((*size).into()),
            _ => Size::Rows(1),
        };
        let shape = plan.info.shape.iter().enumerate().map(size).collect();
        Self { name: plan.info.name.clone(), dtype: plan.info.dtype.onnx(), shape }
    }

    pub fn axis(&self) -> Option<usize> {
        self.shape.iter().position(|size| matches!(size, Size::Rows(_)))
    }
}
