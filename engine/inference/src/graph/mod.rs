//! Facts that a model's graph shows about how its rows may share runs. Called by [`super::registry`] when a model is loaded.
//!
//! ```text
//! wire ──> read ──> random       the file's nodes and constants; operators that draw are refused by name
//!           └─────> classify     from inputs to outputs: which node needs which form, and why
//!                      │ table   what was tested of each operator
//!                      │ rules   how operators move rows ── value ── orders
//!                      └ pad     reductions are padded inside the graph
//!           ├─────> traps        divisions that may end the process are refused by name
//!           └─────> shapes       operators because of which an output's shape depends on what the inputs hold
//!           └─────> steady       whether a run's time and memory follow from its number of rows
//! ```
//!
//! `wire` and `read` accept any bytes, and make a [`model`] of them. A file that they can't read is refused, because ONNX Runtime might read it.
//! `classify` uses only the shapes of inputs and constants, and follows them through the graph: other shapes in a file may be wrong. Rows of a
//! model that it doesn't understand are run alone.

mod classify;
mod decider;
mod model;
mod orders;
mod pad;
mod random;
mod read;
mod rules;
mod shapes;
mod steady;
mod table;
mod tensor;
#[cfg(test)]
mod tests;
mod traps;
mod value;
mod wire;

use super::layout::TensorPlan;
use tensor::GraphTensor;
use wasm_engine_components::BatchForm;

pub use decider::Decider;
pub(crate) use random::RandomNode;
pub(crate) use read::Unreadable;
pub(crate) use steady::Steadiness;
pub(crate) use traps::DividingNode;

/// A model's graph, as far as it was read.
pub(crate) struct ModelGraph<'a> {
    content: &'a [u8],
    model: model::OnnxModel<'a>,
}

/// Reads a model's graph.
///
/// # Errors
/// It can't be read. Such a model must not be opened, because its operators weren't checked.
pub(crate) fn read_graph(content: &[u8]) -> Result<ModelGraph<'_>, Unreadable> {
    Ok(ModelGraph { content, model: read::read(content)? })
}

/// Forms and paddings that the nodes of a graph need.
#[derive(Debug)]
pub(crate) struct Classes {
    /// The form that the most restrictive node needs, for a batch of any size.
    pub form: BatchForm,
    /// The first nodes that decide it.
    pub deciders: Vec<Decider>,
    paddings: Vec<pad::Padding>,
}

impl ModelGraph<'_> {
    /// Returns domain and name of the first function that may have the name of one of ONNX Runtime's own operators, which would be run instead.
    pub(crate) fn taken_function(&self) -> Option<(&str, &str)> {
        self.model.taken_function()
    }

    /// Returns the first node that draws random numbers.
    pub(crate) fn random_node(&self) -> Option<RandomNode> {
        random::find(&self.model)
    }

    /// Returns the first node that may divide the least whole number by -1, which would end the process, or, unless ONNX Runtime
    /// `sees_zeros`, a whole number by 0.
    pub(crate) fn dividing_node(&self, sees_zeros: bool) -> Option<DividingNode> {
        traps::find(&self.model, sees_zeros)
    }

    /// Returns name and operator of the node that makes an output's shape depend on data.
    pub(crate) fn shaping_node(&self, output: &str) -> Option<String> {
        let node = shapes::find(&self.model.graph, output)?;
        Some(format!("the node `{}` ({})", node.label(), node.operator))
    }

    /// Returns whether there may be loops whose rounds an input counts.
    pub(crate) fn has_loops(&self) -> bool {
        let has_body = |node: &model::Node<'_>| node.attributes.iter().any(|attribute| !attribute.graphs.is_empty());
        let functions = self.model.functions.iter().flat_map(|function| &function.nodes);
        self.model.graph.nodes.iter().chain(functions).any(has_body)
    }

    /// Returns what of a run follows from its number of rows, and not from what they hold.
    pub(crate) fn steadiness(&self) -> Steadiness {
        steady::steadiness(&self.model)
    }

    /// Returns what the nodes need, for rows with this layout.
    pub(crate) fn classes(&self, inputs: &[TensorPlan], outputs: &[TensorPlan]) -> Classes {
        let tensors = |plans: &[TensorPlan]| plans.iter().map(GraphTensor::of).collect::<Vec<_>>();
        let found = classify::classify(&self.model, &tensors(inputs), &tensors(outputs));
        Classes { form: found.form.unwrap_or(BatchForm::Any), deciders: found.deciders, paddings: found.paddings }
    }

    /// Returns the model with its reductions padded; `None` if there is nothing to pad.
    pub(crate) fn padded(&self, classes: &Classes) -> Option<Vec<u8>> {
        // Rows that are run alone need no padding.
        if classes.paddings.is_empty() || classes.form == BatchForm::Alone {
            return None;
        }
        let opset = self.model.opsets.get("").copied().unwrap_or(1);
        pad::apply(self.content, &self.model.graph, opset, &classes.paddings).ok()
    }
}
