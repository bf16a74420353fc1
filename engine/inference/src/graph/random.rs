//! Operators that draw random numbers, with which a run couldn't be repeated, for [`super::ModelGraph::random_node`].

use std::collections::{BTreeMap, BTreeSet};

use super::model::{Function, Graph, Node, OnnxModel, Tensor};

/// Operators that draw, of any domain: those of the standard and those that ONNX Runtime adds.
const DRAWING: [&str; 10] = [
    "Bernoulli",
    "BiasDropout",
    "BitmaskBiasDropout",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
    "Sampling",
    "TrainableDropout",
];
/// Operators that draw in training mode.
const DRAWING_IN_TRAINING: [&str; 2] = ["Dropout", "BitmaskDropout"];

/// A node that draws.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RandomNode {
    pub operator: String,
    /// The node's name, or, if it has none, that of its first output.
    pub node: String,
}

/// Facts that hold at a node: constants that are `false`, of this graph and those around it.
struct Place<'p, 'a> {
    falsehoods: BTreeMap<&'a str, bool>,
    outer: Option<&'p Place<'p, 'a>>,
}

impl Place<'_, '_> {
    fn is_false(&self, name: &str) -> bool {
        match (self.falsehoods.get(name), self.outer) {
            (Some(&holds), _) => holds,
            (None, outer) => outer.is_some_and(|outer| outer.is_false(name)),
        }
    }
}

/// Finds the first node that draws, in subgraphs and functions, too.
pub(super) fn find(model: &OnnxModel<'_>) -> Option<RandomNode> {
    let own: BTreeSet<String> = model.functions.iter().map(Function::identifier).collect();
    let in_function = |function: &Function<'_>| {
        let place = Place { falsehoods: falsehoods(&[], &function.nodes, &function.inputs), outer: None };
        in_nodes(&function.nodes, &place, &own)
    };
    in_graph(&model.graph, None, &own).or_else(|| model.functions.iter().find_map(in_function))
}

fn in_graph<'a>(graph: &Graph<'a>, outer: Option<&Place<'_, 'a>>, own: &BTreeSet<String>) -> Option<RandomNode> {
    let place = Place { falsehoods: falsehoods(&graph.constants, &graph.nodes, &graph.inputs), outer };
    in_nodes(&graph.nodes, &place, own)
}

/// Searches a graph. The reader has bounded the depth.
fn in_nodes<'a>(nodes: &[Node<'a>], place: &Place<'_, 'a>, own: &BTreeSet<String>) -> Option<RandomNode> {
    nodes.iter().find_map(|node| {
        // Functions of the model are searched by themselves.
        if draws(node, place) && !own.contains(&node.identifier()) {
            return Some(RandomNode { operator: node.operator.into(), node: node.label() });
        }
        let mut graphs = node.attributes.iter().flat_map(|attribute| &attribute.graphs);
        graphs.find_map(|graph| in_graph(graph, Some(place), own))
    })
}

fn draws(node: &Node<'_>, place: &Place<'_, '_>) -> bool {
    if DRAWING.contains(&node.operator) {
        return true;
    }
    let Some(training) = node.inputs.get(2).filter(|name| !name.is_empty()) else { return false };
    // The third input is the training mode. Unless it is a constant `false`, it may be true.
    DRAWING_IN_TRAINING.contains(&node.operator) && !place.is_false(training)
}

/// Returns the names that are defined here, and which of them are constants that are `false`. A name that is defined twice isn't one.
fn falsehoods<'a>(constants: &[Tensor<'a>], nodes: &[Node<'a>], inputs: &[&'a str]) -> BTreeMap<&'a str, bool> {
    let is_false = |tensor: &Tensor<'_>| tensor.integers.as_deref() == Some(&[0]);
    let mut found = BTreeMap::new();
    let mut see = |name, holds: bool| {
        found.entry(name).and_modify(|known| *known = false).or_insert(holds);
    };
    constants.iter().for_each(|constant| see(constant.name, is_false(constant)));
    for node in nodes {
        let made = node.attribute("value").and_then(|attribute| attribute.tensor.as_ref());
        let holds = node.operator == "Constant" && node.attributes.len() == 1 && made.is_some_and(is_false);
        node.outputs.iter().for_each(|name| see(*name, holds));
    }
    // An input replaces a constant of the same name if the caller gives one.
    inputs.iter().for_each(|name| see(*name, false));
    found
}
