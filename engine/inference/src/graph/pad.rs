//! Pads the input of reductions inside the graph, so that its width is a multiple of 4. [`super::super::registry`] calls it through
//! [`super::ModelGraph::padded`] before the model is opened anew.
//!
//! A sum over a row of, say, 5 numbers depends on where in memory the row begins, because vector loops begin at aligned addresses. With
//! a width that is a multiple of 4, all rows have the same alignment. The added values change no result in exact arithmetic: -0 in sums, and
//! infinities for the greatest or the least. Everything else in the file is copied as it is.

use std::collections::{BTreeMap, BTreeSet};

use super::model::{Graph, Node};
use super::wire::{Fields, Malformed, put_bytes, put_integer};

/// Operation of a reduction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reduction {
    Sum,
    Mean,
    Max,
    Min,
}

/// A reduction of a tensor of f32, to be padded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Padding {
    /// Its index among the nodes of the main graph.
    pub node: usize,
    pub reduction: Reduction,
    /// Dimensions of its input.
    pub rank: usize,
    /// The dimension that is padded.
    pub axis: usize,
    /// Number of elements that are added to that dimension.
    pub missing: i64,
    /// Number of elements of its input without those.
    pub elements: i64,
}

/// Numbers of fields in ONNX's messages.
mod field {
    pub(super) const MODEL_GRAPH: u32 = 7;
    pub(super) const GRAPH_NODE: u32 = 1;
    pub(super) const GRAPH_CONSTANT: u32 = 5;
    pub(super) const NODE_INPUT: u32 = 1;
    pub(super) const NODE_OUTPUT: u32 = 2;
    pub(super) const NODE_NAME: u32 = 3;
    pub(super) const NODE_OPERATOR: u32 = 4;
    pub(super) const NODE_ATTRIBUTE: u32 = 5;
    pub(super) const ATTRIBUTE_NAME: u32 = 1;
    pub(super) const TENSOR_DIMENSION: u32 = 1;
    pub(super) const TENSOR_TYPE: u32 = 2;
    pub(super) const TENSOR_NAME: u32 = 8;
    pub(super) const TENSOR_BYTES: u32 = 9;
}

/// Returns the model with padded reductions.
pub(super) fn apply(content: &[u8], graph: &Graph<'_>, opset: i64, paddings: &[Padding]) -> Result<Vec<u8>, Malformed> {
    let prefix = unused_prefix(graph);
    let mut out = Vec::with_capacity(content.len() + 512 * paddings.len());
    for part in Fields::new(content) {
        let part = part?;
        if part.number == field::MODEL_GRAPH {
            put_bytes(&mut out, field::MODEL_GRAPH, &rewrite(part.bytes()?, graph, opset, paddings, &prefix)?);
        } else {
            out.extend_from_slice(part.whole);
        }
    }
    Ok(out)
}

/// Returns a prefix that no name in the graph has.
fn unused_prefix(graph: &Graph<'_>) -> String {
    const BEGINNING: &str = "wasm-engine/padded-";
    let of_nodes = graph.nodes.iter().flat_map(|node| node.inputs.iter().chain(&node.outputs)).copied();
    let constants = graph.constants.iter().map(|constant| constant.name);
    let numbers = of_nodes.chain(constants).chain(graph.inputs.iter().copied()).filter_map(|name| {
        let (number, _) = name.strip_prefix(BEGINNING)?.split_once('/')?;
        number.parse().ok()
    });
    let taken: BTreeSet<usize> = numbers.collect();
    // There are more numbers than names.
    let free = (0..).find(|number| !taken.contains(number)).unwrap_or(usize::MAX);
    format!("{BEGINNING}{free}")
}

fn rewrite(
    message: &[u8],
    graph: &Graph<'_>,
    opset: i64,
    paddings: &[Padding],
    prefix: &str,
) -> Result<Vec<u8>, Malformed> {
    let mut out = Vec::with_capacity(message.len() + 512 * paddings.len());
    let of_nodes: BTreeMap<usize, &Padding> = paddings.iter().map(|padding| (padding.node, padding)).collect();
    let mut number = 0;
    for part in Fields::new(message) {
        let part = part?;
        if part.number != field::GRAPH_NODE {
            out.extend_from_slice(part.whole);
            continue;
        }
        match of_nodes.get(&number) {
            None => out.extend_from_slice(part.whole),
            Some(padding) => {
                let node = graph.nodes.get(number).ok_or(Malformed)?;
                put_padded(&mut out, part.bytes()?, node, opset, padding, &format!("{prefix}/{number}"))?;
            }
        }
        number += 1;
    }
    Ok(out)
}

/// Appends the nodes and constants that replace a reduction.
fn put_padded(
    out: &mut Vec<u8>,
    message: &[u8],
    node: &Node<'_>,
    opset: i64,
    padding: &Padding,
    name: &str,
) -> Result<(), Malformed> {
    let (sizes, filler, padded) = (format!("{name}/sizes"), format!("{name}/filler"), format!("{name}/input"));
    let (&input, &output) = (node.inputs.first().ok_or(Malformed)?, node.outputs.first().ok_or(Malformed)?);
    let mut pads = vec![0; 2 * padding.rank];
    *pads.get_mut(padding.rank + padding.axis).ok_or(Malformed)? = padding.missing;
    put_bytes(out, field::GRAPH_CONSTANT, &integers(&sizes, &pads));
    let value = match padding.reduction {
        Reduction::Sum | Reduction::Mean => -0.0,
        Reduction::Max => f32::NEG_INFINITY,
        Reduction::Min => f32::INFINITY,
    };
    put_bytes(out, field::GRAPH_CONSTANT, &scalar(&filler, value));
    put_bytes(out, field::GRAPH_NODE, &new_node("Pad", &[input, &sizes, &filler], &padded));
    let mean = padding.reduction == Reduction::Mean;
    let sum = format!("{name}/sum");
    let mut reduction = Vec::with_capacity(message.len() + 256);
    let mut inputs = 0;
    for part in Fields::new(message) {
        let part = part?;
        match part.number {
            field::NODE_INPUT => {
                inputs += 1;
                if inputs == 1 {
                    put_bytes(&mut reduction, field::NODE_INPUT, padded.as_bytes());
                } else {
                    reduction.extend_from_slice(part.whole);
                }
            }
            field::NODE_OUTPUT if mean => put_bytes(&mut reduction, field::NODE_OUTPUT, sum.as_bytes()),
            field::NODE_OPERATOR if mean => put_bytes(&mut reduction, field::NODE_OPERATOR, b"ReduceSum"),
            // From version 13 to 17, a mean has its axes as an attribute, and a sum as an input.
            field::NODE_ATTRIBUTE if mean && opset >= 13 && is_axes(part.bytes()?)? => {}
            _ => reduction.extend_from_slice(part.whole),
        }
    }
    if let (true, Some(axes)) = (mean && opset >= 13, node.attribute("axes")) {
        let all = format!("{name}/axes");
        put_bytes(out, field::GRAPH_CONSTANT, &integers(&all, &axes.integers));
        put_bytes(&mut reduction, field::NODE_INPUT, all.as_bytes());
    }
    put_bytes(out, field::GRAPH_NODE, &reduction);
    if mean {
        let count = format!("{name}/count");
        #[expect(
            clippy::cast_precision_loss,
            reason = "a mean over more than 2^24 elements divides by the nearest float, too"
        )]
        put_bytes(out, field::GRAPH_CONSTANT, &scalar(&count, padding.elements as f32));
        put_bytes(out, field::GRAPH_NODE, &new_node("Div", &[&sum, &count], output));
    }
    Ok(())
}

fn is_axes(attribute: &[u8]) -> Result<bool, Malformed> {
    for part in Fields::new(attribute) {
        let part = part?;
        if part.number == field::ATTRIBUTE_NAME {
            return Ok(part.bytes()? == b"axes");
        }
    }
    Ok(false)
}

fn new_node(operator: &str, inputs: &[&str], output: &str) -> Vec<u8> {
    let mut node = Vec::new();
    for input in inputs {
        put_bytes(&mut node, field::NODE_INPUT, input.as_bytes());
    }
    put_bytes(&mut node, field::NODE_OUTPUT, output.as_bytes());
    put_bytes(&mut node, field::NODE_NAME, output.as_bytes());
    put_bytes(&mut node, field::NODE_OPERATOR, operator.as_bytes());
    node
}

fn integers(name: &str, values: &[i64]) -> Vec<u8> {
    let mut tensor = Vec::new();
    put_integer(&mut tensor, field::TENSOR_DIMENSION, i64::try_from(values.len()).unwrap_or(i64::MAX));
    put_integer(&mut tensor, field::TENSOR_TYPE, super::model::dtype::I64);
    put_bytes(&mut tensor, field::TENSOR_NAME, name.as_bytes());
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    put_bytes(&mut tensor, field::TENSOR_BYTES, &bytes);
    tensor
}

fn scalar(name: &str, value: f32) -> Vec<u8> {
    let mut tensor = Vec::new();
    put_integer(&mut tensor, field::TENSOR_TYPE, super::model::dtype::F32);
    put_bytes(&mut tensor, field::TENSOR_NAME, name.as_bytes());
    put_bytes(&mut tensor, field::TENSOR_BYTES, &value.to_le_bytes());
    tensor
}
