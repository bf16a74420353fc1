//! Operators that draw random numbers: a run with one couldn't be repeated. Called by [`super::read_graph`].

use super::read::{Graph, Model, Node};

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
    nodes.iter().find_map(|node| {
        if draws(node, graph) {
            return Some(RandomNode { operator: node.operator.into(), node: super::label(node) });
        }
        node.attributes.iter().flat_map(|attribute| &attribute.graphs).find_map(in_graph)
    })
}

fn draws(node: &Node<'_>, graph: Option<&Graph<'_>>) -> bool {
    if DRAWING.contains(&node.operator) {
        return true;
    }
    let Some(training) = node.inputs.get(2).filter(|name| !name.is_empty()) else { return false };
    // A third input says whether it is trained. What isn't a constant `false` may be true.
    DRAWING_IN_TRAINING.contains(&node.operator) && !graph.is_some_and(|graph| is_false(graph, training))
}

fn is_false(graph: &Graph<'_>, name: &str) -> bool {
    let constant = graph.constants.iter().find(|constant| constant.name == name);
    let made = || graph.nodes.iter().find(|node| node.operator == "Constant" && node.outputs.first() == Some(&name));
    let tensor = constant.or_else(|| made()?.attribute("value")?.tensor.as_ref());
    tensor.and_then(|tensor| tensor.integers.as_deref()) == Some(&[0])
}
