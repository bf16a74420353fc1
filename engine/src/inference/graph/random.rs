//! Operators that draw random numbers: a run with one couldn't be repeated. Called by [`super::read_graph`].

use std::collections::{BTreeMap, BTreeSet};

use super::read::{Graph, Model, Node, Tensor};

/// Operators that draw, of any domain: the standard one's and those that ONNX Runtime adds.
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
/// Operators that draw where they are told that they are trained.
const DRAWING_IN_TRAINING: [&str; 2] = ["Dropout", "BitmaskDropout"];

/// A node that draws.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RandomNode {
    pub operator: String,
    /// The node's name, or where it has none, that of its first output.
    pub node: String,
}

/// Finds the first node that draws, in subgraphs and functions, too.
pub(super) fn find(model: &Model<'_>) -> Option<RandomNode> {
    let functions = model.functions.iter().find_map(|function| in_nodes(&function.nodes, None));
    in_graph(&model.graph).or(functions)
}

fn in_graph(graph: &Graph<'_>) -> Option<RandomNode> {
    in_nodes(&graph.nodes, Some(graph))
}

/// The depth is bounded by the reader.
fn in_nodes(nodes: &[Node<'_>], graph: Option<&Graph<'_>>) -> Option<RandomNode> {
    let mut constants = None;
    nodes.iter().find_map(|node| {
        if draws(node, || constants.get_or_insert_with(|| graph.map(falsehoods).unwrap_or_default())) {
            return Some(RandomNode { operator: node.operator.into(), node: super::label(node) });
        }
        node.attributes.iter().flat_map(|attribute| &attribute.graphs).find_map(in_graph)
    })
}

fn draws<'a, 'c>(node: &Node<'_>, falsehoods: impl FnOnce() -> &'c mut BTreeSet<&'a str>) -> bool
where
    'a: 'c,
{
    if DRAWING.contains(&node.operator) {
        return true;
    }
    let Some(training) = node.inputs.get(2).filter(|name| !name.is_empty()) else { return false };
    // A third input says whether it is trained. What isn't a constant `false` may be true.
    DRAWING_IN_TRAINING.contains(&node.operator) && !falsehoods().contains(training)
}

/// The names of a graph's constants that are `false`. What has a name twice is none.
fn falsehoods<'a>(graph: &Graph<'a>) -> BTreeSet<&'a str> {
    let is_false = |tensor: &Tensor<'_>| tensor.integers.as_deref() == Some(&[0]);
    let mut found = BTreeMap::new();
    let mut see = |name, holds: bool| {
        found.entry(name).and_modify(|known| *known = false).or_insert(holds);
    };
    graph.constants.iter().for_each(|constant| see(constant.name, is_false(constant)));
    for node in &graph.nodes {
        let made = node.attribute("value").and_then(|attribute| attribute.tensor.as_ref());
        let holds = node.operator == "Constant" && made.is_some_and(is_false);
        node.outputs.iter().for_each(|name| see(*name, holds));
    }
    // An input takes the place of a constant that has its name, where the caller gives one.
    graph.inputs.iter().for_each(|name| see(*name, false));
    found.into_iter().filter_map(|(name, holds)| holds.then_some(name)).collect()
}
