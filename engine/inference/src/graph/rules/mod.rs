//! The rules that [`super::table`] names: what a node does with rows. [`super::classify`] applies them to each node.
//!
//! A rule returns the outputs of a node and the form that it needs, or why nothing is known, and then rows are run alone. A rule never guesses: if it
//! doesn't understand something, that is such a reason.

mod call;
mod elements;
mod fold;
mod moves;
mod order;
mod products;
mod sizes;
mod sums;

use self::call::{Found, UNTESTED_TYPE, UNTESTED_USE};
use super::orders::Orders;
use super::table::{Class, Entry, Rule};
use super::value::{Origin, Value};

pub(super) use self::call::{COUNTS, COUPLED, Call, Needs, Why};

/// Returns the input whose type of elements the table means.
const fn typed_by(rule: Rule) -> usize {
    match rule {
        Rule::Select => 1,
        Rule::OneHot => 2,
        _ => 0,
    }
}

/// Returns whether this input may hold the number of rows, because it sizes the result.
const fn takes_count(rule: Rule, at: usize) -> bool {
    matches!((rule, at), (Rule::Reshape | Rule::Expand, 1) | (Rule::ConstantOfShape, 0) | (Rule::Resize, 3))
}

/// Applies an operator's rule.
pub(super) fn apply(call: &Call<'_, '_>, entry: &Entry) -> Result<Found, Why> {
    let mut class = Class::Any;
    if call.any_batched() {
        let counted = |(at, input): (usize, &Option<Value>)| {
            input.as_ref().is_some_and(|value| value.origin == Origin::Count) && !takes_count(entry.rule, at)
        };
        if call.inputs.iter().enumerate().any(counted) {
            return Err(COUNTS.into());
        }
        class = entry.class(call.input(typed_by(entry.rule))?.dtype);
        if class == Class::Untested {
            return Err(UNTESTED_TYPE.into());
        }
    }
    let found = dispatch(call, entry.rule, class).map(|mut found| {
        order::carry(call, entry.rule, &mut found.outputs);
        found
    });
    match found {
        // A value that all rows share is computed in the same way in each run, even if nothing more is known about it.
        Err(_) if !call.any_batched() => {
            let unknown = Value { orders: Orders::UNKNOWN, ..Value::new(0, None, call.origin()) };
            let unknown = if unknown.is_lost() { Value::lost() } else { unknown };
            Ok(Found { outputs: vec![unknown; call.node.outputs.len()], needs: Needs::Nothing })
        }
        found => found,
    }
}

fn dispatch(call: &Call<'_, '_>, rule: Rule, class: Class) -> Result<Found, Why> {
    match rule {
        Rule::Elementwise => elements::elementwise(call, class),
        Rule::Extremes => elements::extremes(call, class),
        Rule::Compare => elements::compare(call, class),
        Rule::Cast => elements::cast(call),
        Rule::Clip => elements::clip(call, class),
        Rule::Select => elements::select(call, class),
        Rule::Quantize => elements::quantize(call),
        Rule::Dequantize => elements::dequantize(call),
        Rule::Reduce(middle) => sums::reduce(call, class, middle),
        Rule::ArgReduce => sums::arg_reduce(call),
        Rule::Softmax => sums::softmax(call, class),
        Rule::LayerNorm => sums::layer_norm(call, class),
        Rule::ChannelNorm => sums::channel_norm(call, class),
        Rule::InstanceNorm => sums::instance_norm(call, class),
        Rule::KeepImage => sums::keep_image(call, class),
        Rule::LpNorm => sums::lp_norm(call, class),
        Rule::CumSum => sums::cum_sum(call),
        Rule::TopK => sums::top_k(call),
        Rule::MatMul => products::mat_mul(call, class),
        Rule::MatMulInteger => products::mat_mul_integer(call),
        Rule::Gemm => products::gemm(call, class),
        Rule::Conv => products::conv(call, class),
        Rule::ConvTranspose => products::conv_transpose(call, class),
        Rule::Pool => products::pool(call, class),
        Rule::GlobalPool => products::global_pool(call, class),
        Rule::Recurrent => products::recurrent(call, class),
        Rule::Attention => products::attention(call, class),
        Rule::Einsum => products::einsum(call, class),
        Rule::Constant => sizes::constant(call),
        Rule::ConstantOfShape => sizes::constant_of_shape(call),
        Rule::Shape => sizes::shape(call),
        Rule::Size => sizes::size(call),
        Rule::Range => sizes::range(call),
        Rule::Identity => moves::identity(call),
        Rule::Dropout => moves::dropout(call),
        Rule::Transpose => moves::transpose(call),
        Rule::Reshape => moves::reshape(call),
        Rule::Flatten => moves::flatten(call),
        Rule::Squeeze => moves::squeeze(call),
        Rule::Unsqueeze => moves::unsqueeze(call),
        Rule::Concat => moves::concat(call),
        Rule::Split => moves::split(call),
        Rule::Slice => moves::slice(call),
        Rule::Gather => moves::gather(call),
        Rule::GatherElements => moves::gather_elements(call),
        Rule::Pad => moves::pad(call),
        Rule::Tile => moves::tile(call),
        Rule::Expand => moves::expand(call),
        Rule::OneHot => moves::one_hot(call),
        Rule::Resize => moves::resize(call),
        Rule::Coupled => Err(COUPLED.into()),
        // Branches are followed by the walk.
        Rule::If => Err(UNTESTED_USE.into()),
    }
}
