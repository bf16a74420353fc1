//! Whether how long a run takes, and how much memory, follows from its number of rows alone, or also from what the rows hold. Called by
//! [`super::ModelGraph`].

use std::collections::BTreeSet;

use super::model::{Model, Node};

/// Operators of the standard domain whose number of rounds, or whose outputs' size, follows from all that they are given.
const OF_DATA: [&str; 9] =
    ["AffineGrid", "Compress", "If", "Loop", "MaxUnpool", "NonMaxSuppression", "Scan", "SequenceMap", "Unique"];
/// Those for which all inputs say a size.
const SIZES: [&str; 6] =
    ["BlackmanWindow", "ConstantOfShape", "HammingWindow", "HannWindow", "MelWeightMatrix", "Range"];
/// Those for which the inputs after the first do. What can only make a tensor smaller isn't among them.
const SIZES_AFTER_DATA: [&str; 10] =
    ["CenterCropPad", "Col2Im", "DFT", "Expand", "OneHot", "Pad", "Resize", "STFT", "Tile", "Upsample"];

/// Returns whether no node's work follows from data. A model's own functions, bodies and operators of other domains aren't looked into.
pub(super) fn is_steady(model: &Model<'_>) -> bool {
    let graph = &model.graph;
    let inputs: BTreeSet<&str> = graph.inputs.iter().copied().collect();
    let made = graph.nodes.iter().filter(|node| node.operator == "Constant").filter_map(|node| node.outputs.first());
    let constants = graph.constants.iter().map(|constant| constant.name).chain(made.copied());
    // Of constants that are inputs, too, a caller may give others.
    let constants: BTreeSet<&str> = constants.filter(|name| !inputs.contains(name)).collect();
    let has_constants = |inputs: &[&str]| inputs.iter().all(|name| name.is_empty() || constants.contains(name));
    let plain = |node: &Node<'_>| {
        let is_standard = matches!(node.domain, "" | "ai.onnx");
        let has_body = node.attributes.iter().any(|attribute| !attribute.graphs.is_empty());
        let is_sized = match node.operator {
            of_data if OF_DATA.contains(&of_data) || of_data.starts_with("Sequence") => false,
            sizes if SIZES.contains(&sizes) => has_constants(&node.inputs),
            sizes if SIZES_AFTER_DATA.contains(&sizes) => has_constants(node.inputs.get(1..).unwrap_or_default()),
            _ => true,
        };
        is_standard && !has_body && is_sized
    };
    model.functions.is_empty() && graph.nodes.iter().all(plain)
}

#[cfg(test)]
mod tests {
    use super::super::read_graph;

    #[test]
    fn what_a_row_may_ask_much_of_is_not_steady() {
        let is_steady = |name: &str| {
            let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models");
            let content = std::fs::read(folder.join(format!("{name}.onnx"))).unwrap();
            read_graph(&content).unwrap().is_steady()
        };
        for name in ["mlp", "gemm", "sine", "rare", "wide", "dynamic-quantised"] {
            assert!(is_steady(name), "{name}");
        }
        for name in ["loop", "bomb", "operator"] {
            assert!(!is_steady(name), "{name}");
        }
    }
}
