//! Past which operators ONNX Runtime moves transpositions, and what that makes of the orders in which dimensions may lie in memory.
//!
//! More is followed than it moves: an order that doesn't occur makes a form only safer.

use super::super::orders::Orders;
use super::super::table::Rule;
use super::super::value::{Origin, Size, Value, position};
use super::call::Call;
use super::moves;

/// Gives the outputs of a node the orders that they may have.
pub(super) fn carry(call: &Call<'_, '_>, rule: Rule, outputs: &mut [Value]) {
    for output in outputs {
        // What is computed before the first run is in its own order.
        let orders = if output.origin == Origin::Constant { None } else { carried(call, rule, output) };
        output.orders = orders.unwrap_or(Orders::OWN);
    }
}

/// Returns the orders that come through a node; `None` where each tensor has its own again.
fn carried(call: &Call<'_, '_>, rule: Rule, output: &Value) -> Option<Orders> {
    let inputs = call.inputs.iter().flatten().filter(|value| value.origin != Origin::Constant);
    let all_own = inputs.clone().all(|value| value.orders.is_own());
    let first = call.optional(0)?;
    let rank = |value: &Value| value.shape.as_ref().map(Vec::len);
    let unless_own = if all_own { None } else { Some(Orders::UNKNOWN) };
    match rule {
        Rule::Transpose => {
            let from = moves::permutation(call, rank(first)?)?;
            Some(first.orders.transposed(&from))
        }
        _ if all_own => None,
        // These take their inputs as they are said to be, so that transpositions end here.
        Rule::MatMul
        | Rule::MatMulInteger
        | Rule::Gemm
        | Rule::Conv
        | Rule::ConvTranspose
        | Rule::Pool
        | Rule::GlobalPool
        | Rule::Recurrent
        | Rule::Attention
        | Rule::Einsum
        | Rule::LayerNorm
        | Rule::ChannelNorm
        | Rule::InstanceNorm
        | Rule::Shape
        | Rule::Size => None,
        // It may be a transposition itself, of dimensions of one element.
        Rule::Reshape | Rule::Flatten if !is_same_but_for_ones(first, output) => None,
        Rule::Reduce(_) | Rule::ArgReduce | Rule::Squeeze => {
            let own = rank(first)?;
            if rank(output)? == own { Some(first.orders.clone()) } else { Some(without(call, rule, first, own)) }
        }
        Rule::Unsqueeze => {
            let rank = rank(output)?;
            let axes = call.axes(1).ok().flatten();
            let added = axes.and_then(|axes| axes.iter().map(|&axis| position(axis, rank)).collect::<Option<Vec<_>>>());
            Some(added.map_or(Orders::UNKNOWN, |added| first.orders.with(&added, rank)))
        }
        Rule::Elementwise
        | Rule::Extremes
        | Rule::Compare
        | Rule::Cast
        | Rule::Clip
        | Rule::Select
        | Rule::Quantize
        | Rule::Dequantize
        | Rule::Identity
        | Rule::Dropout
        | Rule::Softmax
        | Rule::LpNorm
        | Rule::Slice
        | Rule::Pad
        | Rule::Tile
        | Rule::Concat
        | Rule::Split
        | Rule::CumSum => {
            let rank = rank(output)?;
            let aligned = |value: &Value| {
                let own = value.shape.as_ref().map_or(rank, Vec::len);
                let missing: Vec<usize> = (0..rank.saturating_sub(own)).collect();
                if value.shape.is_some() { value.orders.with(&missing, rank) } else { value.orders.clone() }
            };
            Some(inputs.map(aligned).fold(Orders::OWN, Orders::or))
        }
        _ => unless_own,
    }
}

/// Returns the orders without the dimensions that a node takes away.
fn without(call: &Call<'_, '_>, rule: Rule, first: &Value, rank: usize) -> Orders {
    let axes = match rule {
        Rule::ArgReduce => Some(vec![call.node.integer("axis", 0)]),
        _ => call.axes(1).ok().flatten().filter(|axes| !axes.is_empty()),
    };
    let gone = axes.and_then(|axes| axes.iter().map(|&axis| position(axis, rank)).collect::<Option<Vec<_>>>());
    gone.map_or(Orders::UNKNOWN, |gone| first.orders.without(&gone, rank))
}

/// Returns whether two shapes of the same number of dimensions differ in where their dimensions of one element are.
fn is_same_but_for_ones(one: &Value, other: &Value) -> bool {
    let (Some(one), Some(other)) = (&one.shape, &other.shape) else { return true };
    let wide = |shape: &[Size]| shape.iter().copied().filter(|&size| size != Size::Known(1)).collect::<Vec<_>>();
    one.len() == other.len() && wide(one) == wide(other)
}
