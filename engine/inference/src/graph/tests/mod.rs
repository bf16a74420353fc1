//! Tests of the walk through a graph: single rules, what draws, and files that were made to do harm.

mod draws;
mod hostile;
mod real_rules;
mod traps;

use super::model::{Attribute, Graph, Node, OnnxModel, Tensor, dtype};
use super::value::Size;
use super::{GraphTensor, classify};
use wasm_engine_components::BatchForm;

/// A node from the names of its inputs and outputs, `-` for one that isn't given.
fn node(operator: &'static str, inputs: &'static str, outputs: &'static str) -> Node<'static> {
    let names =
        |names: &'static str| names.split_whitespace().map(|name| if name == "-" { "" } else { name }).collect();
    Node { operator, name: "", inputs: names(inputs), outputs: names(outputs), ..Node::default() }
}

/// The node with an attribute.
fn with(mut node: Node<'static>, attribute: Attribute<'static>) -> Node<'static> {
    node.attributes.push(attribute);
    node
}

fn integer(name: &'static str, integer: i64) -> Attribute<'static> {
    Attribute { name, integer, ..Attribute::default() }
}

fn integers(name: &'static str, integers: &[i64]) -> Attribute<'static> {
    Attribute { name, integers: integers.to_vec(), ..Attribute::default() }
}

fn graphs(name: &'static str, graph: Graph<'static>) -> Attribute<'static> {
    Attribute { name, graphs: vec![graph], ..Attribute::default() }
}

/// A constant of numbers that aren't kept, such as weights.
fn weights(name: &'static str, of: i64, dims: &[i64]) -> Tensor<'static> {
    Tensor { name, dtype: of, dims: dims.to_vec(), ..Tensor::default() }
}

/// A constant of small integers.
fn numbers(name: &'static str, values: &[i64]) -> Tensor<'static> {
    let dims = vec![i64::try_from(values.len()).unwrap()];
    Tensor { name, dtype: dtype::I64, dims, integers: Some(values.to_vec()), ..Tensor::default() }
}

/// An input or output; -1 is the dimension of the rows.
fn tensor(name: &str, of: i64, shape: &[i64]) -> GraphTensor {
    let size = |&size: &i64| if size < 0 { Size::Rows(1) } else { Size::Known(size) };
    GraphTensor { name: name.into(), dtype: of, shape: shape.iter().map(size).collect() }
}

/// A model with the output `y`, whose rows are in dimension `axis`.
struct Case {
    model: OnnxModel<'static>,
    inputs: Vec<GraphTensor>,
    axis: usize,
}

impl Case {
    fn new(nodes: Vec<Node<'static>>, inputs: Vec<GraphTensor>) -> Self {
        let graph = Graph { nodes, outputs: vec!["y"], ..Graph::default() };
        let opsets = [("", 21)].into();
        Self { model: OnnxModel { version: 10, graph, opsets, functions: Vec::new() }, inputs, axis: 0 }
    }

    /// A model of one input `x` of f32.
    fn of_f32(nodes: Vec<Node<'static>>, shape: &[i64]) -> Self {
        Self::new(nodes, vec![tensor("x", dtype::F32, shape)])
    }

    fn with(mut self, constants: impl IntoIterator<Item = Tensor<'static>>) -> Self {
        self.model.graph.constants.extend(constants);
        self
    }

    fn with_rows_in(mut self, axis: usize) -> Self {
        self.axis = axis;
        self
    }

    fn found(&self) -> classify::Findings {
        let mut shape = vec![1; self.axis];
        shape.push(-1);
        classify::classify(&self.model, &self.inputs, &[tensor("y", dtype::F32, &shape)])
    }

    /// The form, and why it isn't [`BatchForm::Any`].
    fn form(&self) -> (BatchForm, String) {
        let found = self.found();
        let form = found.form.unwrap_or(BatchForm::Any);
        let reason = found.deciders.into_iter().find(|decider| decider.form == form && !decider.is_padded);
        (form, reason.map(|decider| decider.reason).unwrap_or_default())
    }

    #[track_caller]
    fn is(&self, form: BatchForm, said: &str) {
        let (found, reason) = self.form();
        assert_eq!(found, form, "{reason}");
        assert!(reason.contains(said), "{said} isn't in: {reason}");
    }
}
