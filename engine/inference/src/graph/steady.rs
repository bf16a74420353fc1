//! Whether memory and time of a run follow from its number of rows alone, or also from what the rows hold,
//! for [`super::ModelGraph`].

use std::collections::BTreeSet;

use super::model::{Node, OnnxModel};

/// Steadiness of a run: of memory and time, those that follow from the number of rows alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Steadiness {
    /// Neither: rows may decide both.
    None,
    /// Memory: rows may decide the time, but the memory is bounded by the number of rows.
    Memory,
    /// Both.
    MemoryAndTime,
}

/// Operators of the standard domain whose number of rounds, or size of outputs, depends on all of their inputs.
const OF_DATA: [&str; 9] =
    ["AffineGrid", "Compress", "If", "Loop", "MaxUnpool", "NonMaxSuppression", "Scan", "SequenceMap", "Unique"];
/// Operators all of whose inputs say a size.
const SIZES: [&str; 6] =
    ["BlackmanWindow", "ConstantOfShape", "HammingWindow", "HannWindow", "MelWeightMatrix", "Range"];
/// Operators whose inputs after the first say a size.
const SIZES_AFTER_DATA: [&str; 10] =
    ["CenterCropPad", "Col2Im", "DFT", "Expand", "OneHot", "Pad", "Resize", "STFT", "Tile", "Upsample"];
/// Operators that can only make a tensor smaller. The inputs after the first say by how much.
const CUTS_AFTER_DATA: [&str; 3] = ["Slice", "Split", "TopK"];
/// Operators with as many steps as their fifth input says, and no more than their first one has.
const RECURRENT: [&str; 3] = ["GRU", "LSTM", "RNN"];

/// Facts about tensors by their names.
#[derive(Default)]
struct Names<'g> {
    /// Inputs, constants, and what came out of a node before.
    known: BTreeSet<&'g str>,
    /// Tensors whose elements follow from constants and from the number of rows.
    fixed: BTreeSet<&'g str>,
    /// Tensors whose shapes follow from data.
    loose: BTreeSet<&'g str>,
}

impl Names<'_> {
    fn are_fixed(&self, names: &[&str]) -> bool {
        names.iter().all(|name| name.is_empty() || self.fixed.contains(name))
    }
}

/// Returns what of a run no node lets follow from data. A model's own functions, bodies and operators of other domains aren't looked into.
pub(super) fn steadiness(model: &OnnxModel<'_>) -> Steadiness {
    let graph = &model.graph;
    let inputs: BTreeSet<&str> = graph.inputs.iter().copied().collect();
    let constants = graph.constants.iter().map(|constant| constant.name);
    let mut names = Names { known: inputs.iter().copied().chain(constants.clone()).collect(), ..Names::default() };
    // Of constants that are inputs, too, a caller may give others.
    names.fixed = constants.filter(|name| !inputs.contains(name)).collect();
    let mut found = Steadiness::MemoryAndTime;
    for node in &graph.nodes {
        if !model.functions.is_empty() || !takes_fixed_memory(node, &names) {
            return Steadiness::None;
        }
        let after_data = node.inputs.get(1..).unwrap_or_default();
        let cuts = node.operator == "NonZero"
            || CUTS_AFTER_DATA.contains(&node.operator) && !names.are_fixed(after_data)
            || RECURRENT.contains(&node.operator) && !names.are_fixed(node.inputs.get(4..5).unwrap_or_default());
        if cuts {
            found = Steadiness::Memory;
        }
        let is_loose = cuts || node.inputs.iter().any(|name| names.loose.contains(name));
        let of_shape = matches!(node.operator, "Constant" | "Shape" | "Size");
        let is_fixed = of_shape || !node.inputs.is_empty() && names.are_fixed(&node.inputs);
        for name in node.outputs.iter().filter(|name| !name.is_empty()) {
            names.known.insert(name);
            if is_loose {
                names.loose.insert(name);
            } else if is_fixed {
                names.fixed.insert(name);
            }
        }
    }
    found
}

/// Returns whether a node takes as much memory and as many rounds, whatever its inputs hold that aren't fixed.
fn takes_fixed_memory(node: &Node<'_>, names: &Names<'_>) -> bool {
    let has_body = node.attributes.iter().any(|attribute| !attribute.graphs.is_empty());
    // ONNX Runtime puts nodes in order. What isn't known yet may be anything.
    let is_ordered = node.inputs.iter().all(|name| name.is_empty() || names.known.contains(name));
    let is_sized = match node.operator {
        of_data if OF_DATA.contains(&of_data) || of_data.starts_with("Sequence") => false,
        // Without a ratio, it takes as many samples as a region is large.
        "RoiAlign" => node.integer("sampling_ratio", 0) > 0,
        sizes if SIZES.contains(&sizes) => names.are_fixed(&node.inputs),
        sizes if SIZES_AFTER_DATA.contains(&sizes) => names.are_fixed(node.inputs.get(1..).unwrap_or_default()),
        _ => true,
    };
    node.domain.is_empty() && !has_body && is_ordered && is_sized
}

#[cfg(test)]
mod tests {
    use super::super::model::{Graph, Tensor};
    use super::super::read_graph;
    use super::*;

    #[test]
    fn what_a_row_may_ask_much_of_is_not_steady() {
        let steadiness = |name: &str| {
            let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/models");
            let content = std::fs::read(folder.join(format!("{name}.onnx"))).unwrap();
            read_graph(&content).unwrap().steadiness()
        };
        for name in ["mlp", "gemm", "sine", "rare", "wide", "dynamic-quantised"] {
            assert_eq!(steadiness(name), Steadiness::MemoryAndTime, "{name}");
        }
        for name in ["loop", "bomb", "operator", "function"] {
            assert_eq!(steadiness(name), Steadiness::None, "{name}");
        }
        assert_eq!(steadiness("nonzero"), Steadiness::Memory);
    }

    /// A node from its operator and the names of its inputs and outputs.
    fn of(nodes: &[(&'static str, &'static str, &'static str)]) -> Steadiness {
        let names = |names: &'static str| names.split_whitespace().collect();
        let node = |&(operator, inputs, outputs): &(&'static str, &'static str, &'static str)| Node {
            operator,
            inputs: names(inputs),
            outputs: names(outputs),
            ..Node::default()
        };
        let constants = vec![Tensor { name: "k", ..Tensor::default() }];
        let graph =
            Graph { nodes: nodes.iter().map(node).collect(), constants, inputs: vec!["x", "n"], ..Graph::default() };
        steadiness(&OnnxModel { graph, ..OnnxModel::default() })
    }

    /// A tensor that rows can only make smaller takes no more memory, but as long as they say.
    #[test]
    fn what_rows_make_smaller_is_steady_in_memory_alone() {
        for operator in ["Slice", "Split", "TopK"] {
            assert_eq!(of(&[(operator, "x k", "y")]), Steadiness::MemoryAndTime, "{operator}");
            assert_eq!(of(&[(operator, "x n", "y")]), Steadiness::Memory, "{operator}");
        }
        for operator in ["GRU", "LSTM", "RNN"] {
            assert_eq!(of(&[(operator, "x k k k", "y")]), Steadiness::MemoryAndTime, "{operator}");
            assert_eq!(of(&[(operator, "x k k k n", "y")]), Steadiness::Memory, "{operator}");
        }
        assert_eq!(of(&[("NonZero", "x", "i"), ("MatMul", "i x", "y")]), Steadiness::Memory);
        assert_eq!(of(&[("RoiAlign", "x n k", "y")]), Steadiness::None);
    }

    /// As most exporters write sizes.
    #[test]
    fn sizes_of_shapes_are_steady_unless_the_shapes_are_of_data() {
        let sized = [("Shape", "x", "s"), ("Gather", "s k", "b"), ("Concat", "b k", "to"), ("Expand", "k to", "y")];
        assert_eq!(of(&sized), Steadiness::MemoryAndTime);
        let of_data = [("NonZero", "x", "z"), ("Transpose", "z", "t"), ("Shape", "t", "s"), ("Expand", "k s", "y")];
        assert_eq!(of(&of_data), Steadiness::None);
        let backwards = [("Expand", "k to", "y"), ("Shape", "x", "to")];
        assert_eq!(of(&backwards), Steadiness::None);
        assert_eq!(of(&[("Add", "n k", "to"), ("Expand", "k to", "y")]), Steadiness::None);
    }
}
