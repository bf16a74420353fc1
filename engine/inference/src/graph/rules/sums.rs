//! Reductions, norms, and what goes along a dimension. None may go along the rows.

use super::super::model::dtype;
use super::super::pad::{Padding, Reduction};
use super::super::table::Class;
use super::super::value::{Size, Value, position, product};
use super::call::{COUPLED, Call, Found, LOST, Needs, UNTESTED_USE, Why, needs, or_type};

const MOVED: &str = "it may go along another dimension than it says, because the model transposes";

/// Returns dimensions by number, ascending.
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
    // Integers are exact in any order.
    let exact = ![dtype::F32, dtype::F64, dtype::F16].contains(&input.dtype);
    let needs = match axis {
        Some(axis) if !(exact && class == Class::Any) => reduced(call, &value, axis, &axes, [class, middle])?,
        _ if input.is_batched() && axis.is_none() => return Err(LOST.into()),
        _ => Needs::Nothing,
    };
    Ok(Found { outputs: vec![value], needs })
}

/// Returns what a reduction of numbers needs, in each of the orders in which the dimensions of its input may lie in memory.
fn reduced(
    call: &Call<'_, '_>,
    value: &Value,
    axis: usize,
    axes: &[usize],
    [class, middle]: [Class; 2],
) -> Result<Needs, Why> {
    let (input, shape) = (call.input(0)?, call.shape(0)?);
    let is_wide = |at: &usize| shape[*at] != Size::Known(1);
    let taken: Vec<usize> = axes.iter().copied().filter(is_wide).collect();
    if taken.is_empty() {
        return Ok(Needs::Nothing);
    }
    let orders = input.orders.all(shape.len()).ok_or(MOVED)?;
    let mut is_wanted_wide = false;
    let mut rows = None;
    // ONNX Runtime may see a dimension of one element, or not see it: what either needs is done.
    let ways = orders.iter().enumerate().flat_map(|(number, order)| [(number, order, true), (number, order, false)]);
    for (number, order, sees_ones) in ways {
        let lies = |at: &usize| is_wide(at) || (sees_ones && !axes.contains(at));
        let mut lying: Vec<usize> = (0..shape.len()).filter(lies).collect();
        lying.sort_by_key(|&at| order[at]);
        let first = lying.iter().position(|at| taken.contains(at)).unwrap_or(0);
        let (before, after) = lying.split_at(first);
        let is_last = before.contains(&axis) && after.iter().all(|at| taken.contains(at));
        // Of dimensions of an unknown size nobody knows where they lie.
        let is_middle = taken.len() == 1 && lying[0] == axis && after.iter().all(|&at| shape[at].known().is_some());
        let needed = match class {
            Class::Width if is_last => {
                is_wanted_wide = true;
                Needs::Nothing
            }
            class if is_last => needs(class, value)?,
            _ if number > 0 && (middle == Class::Untested || !is_middle) => return Err(MOVED.into()),
            _ if middle == Class::Untested || !is_middle => return Err(UNTESTED_USE.into()),
            _ => needs(middle, value)?,
        };
        if let Needs::Rows(..) = needed {
            rows = Some(needed);
        }
    }
    let padded = if is_wanted_wide { width(call, shape, axes)? } else { Needs::Nothing };
    Ok(match (padded, rows) {
        (Needs::Padding(padding, why), Some(Needs::Rows(rows, reason))) => {
            Needs::PaddingAndRows(padding, why, rows, reason)
        }
        (Needs::Nothing, Some(rows)) => rows,
        (padded, _) => padded,
    })
}

/// Returns what a reduction over dimensions that lie last needs: a width that is a multiple of 4, or to be made one.
fn width(call: &Call<'_, '_>, shape: &[Size], axes: &[usize]) -> Result<Needs, Why> {
    let sizes: Vec<Size> = axes.iter().map(|&at| shape[at]).collect();
    let all = product(&sizes).ok_or("the width of what it reduces isn't known")?;
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
    let last = axes.last().and_then(|&at| Some((at, shape[at].known()?)));
    match (call.number, last) {
        // Since version 11, `Pad` takes its sizes as an input.
        (Some(node), Some((axis, size))) if call.input(0)?.dtype == dtype::F32 && call.opset >= 11 => {
            let missing = (4 - size % 4) % 4;
            let padding = Padding { node, reduction, rank: shape.len(), axis, missing, elements: all };
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

/// Returns the shape of an image input: its rows are in the first dimension, and its channels in the second.
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
