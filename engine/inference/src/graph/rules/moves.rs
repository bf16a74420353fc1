//! Operators that move elements and compute none.

use wasm_engine_components::limits::BATCH_ROWS_MAX;

use super::super::model::dtype;
use super::super::value::{Size, Value, broadcast, one_batch, position, product, reshape as reshaped};
use super::call::{BOOL, COUPLED, Call, Found, LOST, Needs, UNKNOWN_SHAPE, UNTESTED_USE, Why};
use super::fold;

pub(super) fn identity(call: &Call<'_, '_>) -> Result<Found, Why> {
    Ok(Found::one(call.input(0)?.clone()))
}

/// Passes its input on: dropout does something only in training, and a model that is to train is refused.
pub(super) fn dropout(call: &Call<'_, '_>) -> Result<Found, Why> {
    let value = call.input(0)?.clone();
    let mask = Value::new(BOOL, value.shape.clone(), value.origin);
    Ok(Found { outputs: vec![value, mask], needs: Needs::Nothing })
}

pub(super) fn transpose(call: &Call<'_, '_>) -> Result<Found, Why> {
    let shape = call.shape(0)?;
    let order = permutation(call, shape.len()).ok_or(UNTESTED_USE)?;
    let sizes: Vec<Size> = order.iter().map(|&at| shape[at]).collect();
    let from = |to: &[usize]| {
        let mut from = vec![0; to.len()];
        order.iter().zip(to).for_each(|(&at, &n)| from[at] = n);
        Some(from)
    };
    let integers = fold::rearranged(call.input(0)?, &sizes, from);
    let mut value = call.like_first(sizes)?;
    value.integers = integers;
    Ok(Found::one(value))
}

/// Returns, for each dimension of the output of a `Transpose`, the dimension of its input that it comes from.
pub(super) fn permutation(call: &Call<'_, '_>, rank: usize) -> Option<Vec<usize>> {
    let Some(perm) = call.node.attribute("perm") else { return Some((0..rank).rev().collect()) };
    let order: Vec<usize> = perm.integers.iter().map(|&axis| position(axis, rank)).collect::<Option<_>>()?;
    let mut sorted = order.clone();
    sorted.sort_unstable();
    (sorted.into_iter().eq(0..rank)).then_some(order)
}

/// Returns the elements of the first input, in their order, in another shape.
fn same_elements(call: &Call<'_, '_>, shape: Vec<Size>) -> Result<Found, Why> {
    let mut value = call.like_first(shape)?;
    let input = call.input(0)?;
    value.integers.clone_from(&input.integers);
    value.floats.clone_from(&input.floats);
    // Sizes come from where they come from; the elements are those of the first input.
    (value.origin, value.dequantised) = (input.origin, input.dequantised);
    Ok(Found::one(value))
}

pub(super) fn reshape(call: &Call<'_, '_>) -> Result<Found, Why> {
    let target = call.input(1)?.integers.clone();
    let keeps_zeros = call.node.integer("allowzero", 0) != 0;
    let shape = target.and_then(|target| reshaped(call.shape(0).ok()?, &target, keeps_zeros));
    same_elements(call, shape.ok_or(LOST)?)
}

pub(super) fn flatten(call: &Call<'_, '_>) -> Result<Found, Why> {
    let shape = call.shape(0)?;
    let rank = i64::try_from(shape.len()).unwrap_or(i64::MAX);
    let at = call.node.integer("axis", 1);
    let at = if at < 0 { at.saturating_add(rank) } else { at };
    let at = usize::try_from(at).ok().filter(|&at| at <= shape.len()).ok_or(LOST)?;
    let all = |sizes: &[Size]| sizes.iter().fold(Size::Known(1), |product, &size| product.multiply(size));
    let (before, after) = shape.split_at(at);
    let apart = match call.axis(0)? {
        None => true,
        // What is beside the rows in the first of the two dimensions must come after them.
        Some(axis) if axis < at => product(&before[..axis]) == Some(1),
        Some(axis) => product(&after[..axis - at]) == Some(1),
    };
    if !apart {
        return Err(LOST.into());
    }
    same_elements(call, vec![all(before), all(after)])
}

pub(super) fn squeeze(call: &Call<'_, '_>) -> Result<Found, Why> {
    let shape = call.shape(0)?;
    let kept: Vec<Size> = match call.axes(1)? {
        // A batch of one row would be taken away, too.
        None if call.is_batched(0) => return Err(LOST.into()),
        None if shape.contains(&Size::Unknown) => return Err(UNKNOWN_SHAPE.into()),
        None => shape.iter().copied().filter(|&size| size != Size::Known(1)).collect(),
        Some(axes) => {
            let gone: Option<Vec<usize>> = axes.iter().map(|&axis| position(axis, shape.len())).collect();
            let gone = gone.ok_or(LOST)?;
            if gone.iter().any(|&at| call.input(0).ok().and_then(Value::axis) == Some(at)) {
                return Err(LOST.into());
            }
            shape.iter().enumerate().filter(|(at, _)| !gone.contains(at)).map(|(_, &size)| size).collect()
        }
    };
    same_elements(call, kept)
}

pub(super) fn unsqueeze(call: &Call<'_, '_>) -> Result<Found, Why> {
    let shape = call.shape(0)?;
    let axes = call.axes(1)?.ok_or(UNKNOWN_SHAPE)?;
    let rank = shape.len() + axes.len();
    let added: Option<Vec<usize>> = axes.iter().map(|&axis| position(axis, rank)).collect();
    let added = added.ok_or(LOST)?;
    let mut own = shape.iter().copied();
    let sizes = (0..rank).map(|at| if added.contains(&at) { Some(Size::Known(1)) } else { own.next() });
    same_elements(call, sizes.collect::<Option<_>>().ok_or(LOST)?)
}

pub(super) fn concat(call: &Call<'_, '_>) -> Result<Found, Why> {
    let first = call.shape(0)?;
    let rank = first.len();
    let at = position(call.node.integer("axis", 0), rank).ok_or(LOST)?;
    let mut shape = first.to_vec();
    for (number, value) in call.inputs.iter().flatten().enumerate() {
        let own = value.shape.as_deref().ok_or(UNKNOWN_SHAPE)?;
        if own.len() != rank {
            return Err(LOST.into());
        }
        // Rows that are put behind each other are no longer in the order of the batch.
        if own[at] != Size::Unknown && own[at].known().is_none() {
            return Err(COUPLED.into());
        }
        for (at, &size) in own.iter().enumerate().filter(|&(other, _)| other != at) {
            match (shape[at], size) {
                (one, other) if one == other => {}
                (Size::Rows(_), _) | (_, Size::Rows(_)) => return Err(LOST.into()),
                (Size::Unknown, size) => shape[at] = size,
                _ => {}
            }
        }
        if number > 0 {
            shape[at] = shape[at].add(own[at]);
        }
    }
    let mut value = call.like_first(shape)?;
    let parts: Vec<&Value> = call.inputs.iter().flatten().collect();
    value.integers = fold::joined(&parts, at).filter(|all| all.len() <= 256);
    Ok(Found::one(value))
}

pub(super) fn split(call: &Call<'_, '_>) -> Result<Found, Why> {
    let shape = call.shape(0)?;
    let at = position(call.node.integer("axis", 0), shape.len()).ok_or(LOST)?;
    if call.axis(0)? == Some(at) {
        return Err(COUPLED.into());
    }
    let count = call.node.outputs.len();
    let given = call.node.attribute("split").map(|attribute| attribute.integers.clone()).or_else(|| call.integers(1));
    let parts = i64::try_from(count).unwrap_or(i64::MAX);
    let even = shape[at].known().filter(|size| parts > 0 && size % parts == 0).map(|size| size / parts);
    let outputs = (0..count).map(|number| {
        let mut sizes = shape.to_vec();
        let own = match &given {
            Some(given) => given.get(number).copied(),
            None => even,
        };
        sizes[at] = own.map_or(Size::Unknown, Size::Known);
        call.like_first(sizes)
    });
    Ok(Found { outputs: outputs.collect::<Result<_, _>>()?, needs: Needs::Nothing })
}

/// Returns the bounds of a slice, as inputs or as the attributes that they once were.
fn bounds(call: &Call<'_, '_>) -> Option<[Vec<i64>; 4]> {
    if let (Some(starts), Some(ends)) = (call.node.attribute("starts"), call.node.attribute("ends")) {
        let (starts, ends) = (starts.integers.clone(), ends.integers.clone());
        let default = || (0..).take(starts.len()).collect();
        let axes = call.node.attribute("axes").map_or_else(default, |axes| axes.integers.clone());
        let steps = vec![1; starts.len()];
        return Some([starts, ends, axes, steps]);
    }
    let (starts, ends) = (call.integers(1)?, call.integers(2)?);
    let axes = if call.optional(3).is_some() { call.integers(3)? } else { (0..).take(starts.len()).collect() };
    let steps = if call.optional(4).is_some() { call.integers(4)? } else { vec![1; starts.len()] };
    let all = [starts, ends, axes, steps];
    all.iter().all(|part| part.len() == all[0].len()).then_some(all)
}

/// Returns the first position of a slice and the number of positions, of a dimension of this size.
fn sliced(size: i64, start: i64, end: i64, step: i64) -> Option<(i64, i64)> {
    if size < 0 {
        return None;
    }
    let from_start = |at: i64| if at < 0 { at.saturating_add(size) } else { at };
    if step > 0 {
        let (start, end) = (from_start(start).clamp(0, size), from_start(end).clamp(0, size));
        let span = (end - start).max(0);
        return Some((start, span / step + i64::from(span % step != 0)));
    }
    let step = step.checked_neg().filter(|&step| step > 0)?;
    let (start, end) = (from_start(start).clamp(-1, size - 1), from_start(end).clamp(-1, size - 1));
    let span = (start - end).max(0);
    Some((start, span / step + i64::from(span % step != 0)))
}

pub(super) fn slice(call: &Call<'_, '_>) -> Result<Found, Why> {
    let (input, shape) = (call.input(0)?, call.shape(0)?);
    let [starts, ends, axes, steps] = bounds(call).ok_or(UNKNOWN_SHAPE)?;
    let mut sizes = shape.to_vec();
    // Where each dimension begins in the input, and in which steps it goes on.
    let mut walks = vec![(0, 1); shape.len()];
    for (number, &axis) in axes.iter().enumerate() {
        let at = position(axis, shape.len()).ok_or(LOST)?;
        let (start, end, step) = (starts[number], ends[number], steps[number]);
        if let Size::Rows(times) = shape[at] {
            // All of it, as exporters write it: no run has more rows.
            if start == 0 && end >= times.saturating_mul(BATCH_ROWS_MAX.into()) && step == 1 {
                continue;
            }
            return Err(COUPLED.into());
        }
        let part = shape[at].known().and_then(|size| sliced(size, start, end, step));
        sizes[at] = part.map_or(Size::Unknown, |(_, count)| Size::Known(count));
        walks[at] = part.map_or((0, 1), |(first, _)| (first, step));
    }
    let from = |to: &[usize]| {
        let one = |(&n, &(first, step)): (&usize, &(i64, i64))| {
            usize::try_from(i64::try_from(n).ok()?.checked_mul(step)?.checked_add(first)?).ok()
        };
        to.iter().zip(&walks).map(one).collect()
    };
    let integers = fold::rearranged(input, &sizes, from);
    let mut value = call.like_first(sizes)?;
    value.integers = integers;
    settle(&mut value);
    Ok(Found::one(value))
}

/// Makes a value a constant if it comes from the number of rows, and none of its elements depends on it.
fn settle(value: &mut Value) {
    let all_known = value.integers.as_ref().is_some_and(|all| all.iter().all(|size| size.known().is_some()));
    if all_known && value.origin == super::super::value::Origin::Count {
        value.origin = super::super::value::Origin::Constant;
    }
}

pub(super) fn gather(call: &Call<'_, '_>) -> Result<Found, Why> {
    let (data, indices) = (call.input(0)?, call.input(1)?);
    let (shape, picked) = (call.shape(0)?, call.shape(1)?);
    let at = position(call.node.integer("axis", 0), shape.len()).ok_or(LOST)?;
    if call.axis(0)? == Some(at) {
        return Err(COUPLED.into());
    }
    if data.is_batched() && indices.is_batched() {
        return Err(UNTESTED_USE.into());
    }
    let sizes = [&shape[..at], picked, &shape[at + 1..]].concat();
    let mut value = call.like_first(sizes)?;
    if let (Some(all), Some(positions), 1) = (&data.integers, indices.known_integers(), shape.len()) {
        let found = positions.iter().map(|&n| position(n, all.len()).map(|at| all[at]));
        value.integers = found.collect();
        settle(&mut value);
    }
    Ok(Found::one(value))
}

pub(super) fn gather_elements(call: &Call<'_, '_>) -> Result<Found, Why> {
    let (shape, picked) = (call.shape(0)?, call.shape(1)?);
    let at = position(call.node.integer("axis", 0), shape.len()).ok_or(LOST)?;
    if call.axis(0)? == Some(at) || call.axis(1)? == Some(at) {
        return Err(COUPLED.into());
    }
    if call.axis(0)? != call.axis(1)? || picked.len() != shape.len() {
        return Err(UNTESTED_USE.into());
    }
    Ok(Found::one(call.like_first(picked.to_vec())?))
}

pub(super) fn pad(call: &Call<'_, '_>) -> Result<Found, Why> {
    let shape = call.shape(0)?;
    if call.is_batched(2) {
        return Err(UNTESTED_USE.into());
    }
    let attribute = call.node.attribute("pads").filter(|attribute| !attribute.integers_cut);
    let pads =
        attribute.map(|attribute| attribute.integers.clone()).or_else(|| call.integers(1)).ok_or(UNKNOWN_SHAPE)?;
    let axes = match call.optional(3) {
        Some(_) => call.integers(3).ok_or(UNKNOWN_SHAPE)?,
        None => (0..).take(shape.len()).collect(),
    };
    if pads.len() != 2 * axes.len() {
        return Err(LOST.into());
    }
    let mut sizes = shape.to_vec();
    for (number, &axis) in axes.iter().enumerate() {
        let at = position(axis, shape.len()).ok_or(LOST)?;
        let (before, after) = (pads[number], pads[number + axes.len()]);
        if before == 0 && after == 0 {
            continue;
        }
        if call.axis(0)? == Some(at) {
            return Err(COUPLED.into());
        }
        sizes[at] = sizes[at].add(Size::Known(before)).add(Size::Known(after));
    }
    Ok(Found::one(call.like_first(sizes)?))
}

pub(super) fn tile(call: &Call<'_, '_>) -> Result<Found, Why> {
    let shape = call.shape(0)?;
    let repeats = call.integers(1).filter(|repeats| repeats.len() == shape.len()).ok_or(UNKNOWN_SHAPE)?;
    if call.axis(0)?.is_some_and(|axis| repeats[axis] != 1) {
        return Err(COUPLED.into());
    }
    let sizes = shape.iter().zip(&repeats).map(|(&size, &times)| size.multiply(Size::Known(times))).collect();
    Ok(Found::one(call.like_first(sizes)?))
}

/// Repeats a tensor along dimensions. What is repeated for each row is the same for all rows.
pub(super) fn expand(call: &Call<'_, '_>) -> Result<Found, Why> {
    let input = call.input(0)?;
    let target = call.input(1)?.integers.clone().filter(|all| !all.contains(&Size::Unknown)).ok_or(LOST)?;
    let shape = broadcast(call.shape(0)?, &target)?;
    one_batch(&shape)?;
    let mut value = Value::new(input.dtype, Some(shape), input.origin);
    value.prepared = input.prepared && value.axis().is_none() && call.input(1)?.prepared;
    Ok(Found::one(value))
}

pub(super) fn one_hot(call: &Call<'_, '_>) -> Result<Found, Why> {
    if call.is_batched(1) || call.is_batched(2) {
        return Err(UNTESTED_USE.into());
    }
    let mut shape = call.shape(0)?.to_vec();
    let at = position(call.node.integer("axis", -1), shape.len() + 1).ok_or(LOST)?;
    let depth = match call.integers(1).as_deref() {
        Some(&[depth]) => Size::Known(depth),
        _ => Size::Unknown,
    };
    shape.insert(at, depth);
    Ok(Found::one(call.result(call.input(2)?.dtype, Some(shape))))
}

pub(super) fn resize(call: &Call<'_, '_>) -> Result<Found, Why> {
    let shape = call.shape(0)?;
    let mode = call.node.attribute("mode").map_or(&b"nearest"[..], |attribute| attribute.text);
    let only_size = ![1, 2, 3].into_iter().any(|at| call.is_batched(at)) && call.node.attribute("axes").is_none();
    if ![&b"nearest"[..], b"linear"].contains(&mode) || !only_size || call.input(0)?.dtype != dtype::F32 {
        return Err(UNTESTED_USE.into());
    }
    let axis = call.axis(0)?;
    let sizes = match (call.optional(2), call.optional(3)) {
        (_, Some(sizes)) => sizes.integers.clone().filter(|sizes| sizes.len() == shape.len()).ok_or(UNKNOWN_SHAPE)?,
        (Some(scales), None) => {
            let scales = scales.floats.as_ref().filter(|scales| scales.len() == shape.len()).ok_or(UNKNOWN_SHAPE)?;
            let size = |(&size, &scale): (&Size, &f32)| {
                if scale.to_bits() == 1.0_f32.to_bits() { size } else { Size::Unknown }
            };
            shape.iter().zip(scales).map(size).collect()
        }
        (None, None) => return Err(UNTESTED_USE.into()),
    };
    if axis.is_some_and(|axis| sizes[axis] != shape[axis]) {
        return Err(COUPLED.into());
    }
    Ok(Found::one(call.like_first(sizes)?))
}
