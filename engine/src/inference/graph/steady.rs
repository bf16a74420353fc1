//! Whether how long a run takes follows from its number of rows alone, or also from what the rows hold. Called by [`super::ModelGraph`].

use super::read::{Model, Node};

/// Operators of the standard domain whose outputs' size, or number of rounds, is an input: where that isn't a constant, a row may ask for
/// much. What makes a tensor smaller isn't among them.
const SIZED_BY_DATA: [&str; 25] = [
    "AffineGrid",
    "BlackmanWindow",
    "CenterCropPad",
    "Col2Im",
    "Compress",
    "ConstantOfShape",
    "DFT",
    "Expand",
    "HammingWindow",
    "HannWindow",
    "If",
    "Loop",
    "MaxUnpool",
    "MelWeightMatrix",
    "NonMaxSuppression",
    "OneHot",
    "Pad",
    "Range",
    "Resize",
    "Scan",
    "SequenceMap",
    "STFT",
    "Tile",
    "Unique",
    "Upsample",
];

/// Returns whether no node's work follows from data. A model's own functions, bodies and operators of other domains aren't looked into.
pub(super) fn is_steady(model: &Model<'_>) -> bool {
    let plain = |node: &Node<'_>| {
        let is_standard = matches!(node.domain, "" | "ai.onnx");
        let has_body = node.attributes.iter().any(|attribute| !attribute.graphs.is_empty());
        is_standard && !has_body && !SIZED_BY_DATA.contains(&node.operator) && !node.operator.starts_with("Sequence")
    };
    model.functions.is_empty() && model.graph.nodes.iter().all(plain)
}
