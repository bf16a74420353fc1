//! Operators whose outputs have a shape that depends on what their inputs hold. [`super::ModelGraph`] uses them to name the operator
//! because of which a model is refused.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::model::{Graph, Node};

/// Operators that return as many elements as they find.
const FINDING: [&str; 4] = ["Compress", "NonMaxSuppression", "NonZero", "Unique"];

/// Operators that take sizes or counts as inputs, and which inputs those are.
const SIZED: [(&str, &[usize]); 11] = [
    ("ConstantOfShape", &[0]),
    ("Expand", &[1]),
    ("Loop", &[0]),
    ("OneHot", &[1]),
    ("Pad", &[1]),
    ("Range", &[0, 1, 2]),
    ("Reshape", &[1]),
    ("Resize", &[2, 3]),
    ("Slice", &[1, 2]),
    ("Tile", &[1]),
    ("TopK", &[1]),
];

/// Finds the node nearest to an output that makes its shape depend on data: one that finds elements, else one whose size input isn't
/// constant.
pub(super) fn find<'g, 'a>(graph: &'g Graph<'a>, output: &str) -> Option<&'g Node<'a>> {
    let producers: BTreeMap<&str, &Node<'_>> =
        graph.nodes.iter().flat_map(|node| node.outputs.iter().map(move |name| (*name, node))).collect();
    let constants: BTreeSet<&str> = graph.constants.iter().map(|constant| constant.name).collect();
    let is_constant = |name: &str| {
        name.is_empty()
            || constants.contains(name)
            || producers.get(name).is_some_and(|node| node.operator == "Constant")
    };
    let takes_size = |node: &Node<'_>| {
        let sized = SIZED.iter().find(|(operator, _)| *operator == node.operator);
        sized.is_some_and(|(_, inputs)| {
            inputs.iter().any(|&at| node.inputs.get(at).is_some_and(|name| !is_constant(name)))
        })
    };
    let mut sized = None;
    let mut seen = BTreeSet::new();
    let mut next = VecDeque::from([output]);
    while let Some(name) = next.pop_front() {
        let Some(&node) = producers.get(name) else { continue };
        if !seen.insert(node.outputs.first()) {
            continue;
        }
        if FINDING.contains(&node.operator) {
            return Some(node);
        }
        if takes_size(node) {
            sized.get_or_insert(node);
        }
        next.extend(node.inputs.iter().copied());
    }
    sized
}

#[cfg(test)]
mod tests {
    use super::super::model::Tensor;
    use super::*;

    fn node<'a>(operator: &'a str, inputs: &[&'a str], output: &'a str) -> Node<'a> {
        Node { operator, name: output, inputs: inputs.to_vec(), outputs: vec![output], ..Node::default() }
    }

    #[test]
    fn the_nearest_node_that_finds_elements_is_named_before_one_that_takes_a_size() {
        let mut graph = Graph {
            nodes: vec![
                node("NonZero", &["x"], "found"),
                node("Reshape", &["found", "shape"], "flat"),
                node("Tile", &["x", "count"], "tiled"),
                node("Add", &["flat", "tiled"], "y"),
                node("Relu", &["x"], "z"),
            ],
            constants: vec![Tensor { name: "shape", ..Tensor::default() }],
            ..Graph::default()
        };
        let name = |graph: &Graph<'_>, output| find(graph, output).map(|node| node.name.to_owned());
        assert_eq!(name(&graph, "y").as_deref(), Some("found"));
        assert_eq!(name(&graph, "tiled").as_deref(), Some("tiled"));
        assert_eq!((name(&graph, "z"), name(&graph, "nothing")), (None, None));
        graph.nodes[0].operator = "Relu";
        assert_eq!(name(&graph, "y").as_deref(), Some("tiled"), "the reshape's size is a constant");
        // A graph with a cycle isn't valid; the search ends all the same.
        graph.nodes[0].inputs = vec!["flat"];
        assert_eq!(name(&graph, "flat"), None);
    }
}
