//! Reductions, norms, and what goes along a dimension. None may go along the rows.

use super::super::pad::{Padding, Reduction};
use super::super::read::dtype;
use super::super::table::Class;
use super::super::value::{Size, Value, position, product};
use super::{COUPLED, Call, Found, LOST, Needs, UNTESTED_USE, Why, needs, or_type};

const MOVED: &str = "it may go along another dimension than it says, because the model transposes";

/// Dimensions by number, ascending.
fn positions(axes: &[i64], rank: usize) -> Result<Vec<usize>, Why> {
    let found: Option<Vec<usize>> = axes.iter().map(|&axis| position(axis, rank)).collect();
    let mut found = found.ok_or(LOST)?;
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// Fails where the rows are in one of these dimensions.
fn apart(axis: Option<usize>, dimensions: &[usize]) -> Result<(), Why> {
    if axis.is_some_and(|axis| dimensions.contains(&axis)) { Err(COUPLED.into()) } else { Ok(()) }
}

pub(super) fn reduce(call: &Call<'_, '_>, class: Class, middle: Class) -> Result<Found, Why> {
    let (input, shape) = (call.input(0)?, call.shape(0)?);
    let rank = shape.len();
    let axes = call.axes(1)?.unwrap_or_default();
    if axes.is_empty() && call.node.integer("noop_with_empty_axes", 0) != 0 {
        return Err(UNTESTED_USE.into());
    }
    let axes = if axes.is_empty() { (0..rank).collect() } else { positions(&axes, rank)? };
    let axis = call.axis(0)?;
    apart(axis, &axes)?;
    let keeps = call.node.integer("keepdims", 1) != 0;
    let size = |(at, &size): (usize, &Size)| match axes.contains(&at) {
        true if keeps => Some(Size::Known(1)),
        true => None,
        false => Some(size),
    };
    let value = call.like_first(shape.iter().enumerate().filter_map(size).collect())?;
    if !input.is_batched() || axes.is_empty() {
        return Ok(Found::one(value));
    }
    let is_last = axes.iter().rev().zip((0..rank).rev()).all(|(&axis, last)| axis == last)
        && axis.is_some_and(|axis| axis < axes[0]);
    // Integers are exact in any order.
    let exact = ![dtype::F32, dtype::F64, dtype::F16].contains(&input.dtype);
    let needs = match (is_last, class) {
        _ if exact && class == Class::Any => Needs::Nothing,
        (true, Class::Width) if call.transposes => match (middle, product(&shape[axes[0]..])) {
            (Class::Block, Some(width)) if width % 4 == 0 => needs(middle, &value)?,
            _ => return Err(MOVED.into()),
        },
        (true, _) if call.transposes && middle == Class::Untested => return Err(MOVED.into()),
        (true, Class::Width) => width(call, shape, &axes)?,
        (true, class) => needs(class, &value)?,
        (false, _) if middle == Class::Untested => return Err(UNTESTED_USE.into()),
        (false, _) if axes.len() == 1 && axis == Some(0) => needs(middle, &value)?,
        (false, _) => return Err(UNTESTED_USE.into()),
    };
    Ok(Found { outputs: vec![value], needs })
}

/// What a reduction over the last dimensions needs: a width that is a multiple of 4, or to be made one.
fn width(call: &Call<'_, '_>, shape: &[Size], axes: &[usize]) -> Result<Needs, Why> {
    let all = product(&shape[axes[0]..]).ok_or("the width of what it reduces isn't known")?;
    if all % 4 == 0 {
        return Ok(Needs::Nothing);
    }
    let why = format!("its result depends on where its {all} elements begin, because they aren't a multiple of 4");
    let reduction = match call.node.operator {
        "ReduceSum" => Reduction::Sum,
        "ReduceMean" => Reduction::Mean,
        "ReduceMax" => Reduction::Max,
        "ReduceMin" => Reduction::Min,
        _ => return Err(why),
    };
    let last = shape.last().and_then(|size| size.known());
    match (call.number, last) {
        // Since version 11, `Pad` takes its sizes as an input.
        (Some(node), Some(last)) if call.input(0)?.dtype == dtype::F32 && call.opset >= 11 => {
            let padding = Padding { node, reduction, rank: shape.len(), missing: (4 - last % 4) % 4, elements: all };
            Ok(Needs::Padding(padding, why))
        }
        _ => Err(why),
    }
}

pub(super) fn arg_reduce(call: &Call<'_, '_>) -> Result<Found, Why> {
    let shape = call.shape(0)?;
    let at = position(call.node.integer("axis", 0), shape.len()).ok_or(LOST)?;
    apart(call.axis(0)?, &[at])?;
    let mut sizes = shape.to_vec();
    if call.node.integer("keepdims", 1) == 0 {
        sizes.remove(at);
    } else {
        sizes[at] = Size::Known(1);
    }
    Ok(Found::one(call.result(dtype::I64, Some(sizes))))
}

pub(super) fn softmax(call: &Call<'_, '_>, class: Class) -> Result<Found, Why> {
    let shape = call.shape(0)?.to_vec();
    // Before version 13, it went over all dimensions from `axis` on.
    let flattens = call.opset < 13;
    let at = position(call.node.integer("axis", if flattens { 1 } else { -1 }), shape.len()).ok_or(LOST)?;
    let dimensions: Vec<usize> = if flattens { (at..shape.len()).collect() } else { vec![at] };
    apart(call.axis(0)?, &dimensions)?;
    Found::needing(call.like_first(shape)?, class)
}

pub(super) fn layer_norm(call: &Call<'_, '_>, class: Class) -> Result<Found, Why> {
    call.only_first_batched()?;
    let shape = call.shape(0)?.to_vec();
    let at = position(call.node.integer("axis", -1), shape.len()).ok_or(LOST)?;
    let dimensions: Vec<usize> = (at..shape.len()).collect();
    apart(call.axis(0)?, &dimensions)?;
    if call.node.outputs.len() > 1 {
        return Err(UNTESTED_USE.into());
    }
    Found::needing(call.like_first(shape)?, class)
}

/// The rows are in the first dimension, and the channels in the second.
fn image(call: &Call<'_, '_>) -> Result<Vec<Size>, Why> {
    call.only_first_batched()?;
    match call.axis(0)? {
        Some(0) | None => Ok(call.shape(0)?.to_vec()),
        Some(1) => Err(COUPLED.into()),
        Some(_) => Err(UNTESTED_USE.into()),
    }
}

pub(super) fn channel_norm(call: &Call<'_, '_>, class: Class) -> Result<Found, Why> {
    if call.node.integer("training_mode", 0) != 0 {
        return Err(COUPLED.into());
    }
    if call.node.outputs.len() > 1 {
        return Err(UNTESTED_USE.into());
    }
    Found::needing(call.like_first(image(call)?)?, class)
}

pub(super) fn instance_norm(call: &Call<'_, '_>, class: Class) -> Result<Found, Why> {
    let shape = image(call)?;
    let width = shape.get(2..).and_then(product);
    let value = call.like_first(shape)?;
    match width {
        Some(width) if width % 4 == 0 => Ok(Found::one(value)),
        Some(width) => {
            Err(format!("its result depends on where its {width} elements begin, because they aren't a multiple of 4"))
        }
        None => Found::needing(value, class),
    }
}

pub(super) fn keep_image(call: &Call<'_, '_>, class: Class) -> Result<Found, Why> {
    Found::needing(call.like_first(image(call)?)?, class)
}

pub(super) fn lp_norm(call: &Call<'_, '_>, class: Class) -> Result<Found, Why> {
    let shape = call.shape(0)?.to_vec();
    let at = position(call.node.integer("axis", -1), shape.len()).ok_or(LOST)?;
    apart(call.axis(0)?, &[at])?;
    if at + 1 != shape.len() {
        return Err(UNTESTED_USE.into());
    }
    Found::needing(call.like_first(shape)?, class)
}

pub(super) fn cum_sum(call: &Call<'_, '_>) -> Result<Found, Why> {
    let shape = call.shape(0)?.to_vec();
    let axes = call.integers(1).ok_or(LOST)?;
    apart(call.axis(0)?, &positions(&axes, shape.len())?)?;
    Ok(Found::one(call.like_first(shape)?))
}

pub(super) fn top_k(call: &Call<'_, '_>) -> Result<Found, Why> {
    let mut shape = call.shape(0)?.to_vec();
    let at = position(call.node.integer("axis", -1), shape.len()).ok_or(LOST)?;
    apart(call.axis(0)?, &[at])?;
    if call.is_batched(1) {
        return Err(UNTESTED_USE.into());
    }
    shape[at] = match call.integers(1).as_deref() {
        Some(&[k]) => Size::Known(k),
        _ => Size::Unknown,
    };
    let values = call.like_first(shape)?;
    let indices = Value { dtype: dtype::I64, ..values.clone() };
    let values = Value { dtype: or_type(&values, dtype::F32), ..values };
    Ok(Found { outputs: vec![values, indices], needs: Needs::Nothing })
}
