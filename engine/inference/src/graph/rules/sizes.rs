//! Constants, and what a graph knows about sizes.

use super::super::model::dtype;
use super::super::value::{Origin, Size, Value, one_batch, product};
use super::call::{BOOL, Call, Found, UNKNOWN_SHAPE, UNTESTED_USE, Why};

pub(super) fn constant(call: &Call<'_, '_>) -> Result<Found, Why> {
    let node = call.node;
    if let Some(tensor) = node.attribute("value").and_then(|attribute| attribute.tensor.as_ref()) {
        return Ok(Found::one(Value::constant(tensor)));
    }
    let scalar = |of: i64| Value { prepared: true, ..Value::new(of, Some(vec![]), Origin::Constant) };
    let value = if let Some(attribute) = node.attribute("value_int") {
        Value::of_integers(vec![Size::Known(attribute.integer)], true, Origin::Constant)
    } else if let Some(attribute) = node.attribute("value_ints").filter(|attribute| !attribute.integers_cut) {
        let integers = attribute.integers.iter().map(|&n| Size::Known(n)).collect();
        Value::of_integers(integers, false, Origin::Constant)
    } else if node.attribute("value_float").is_some() {
        scalar(dtype::F32)
    } else {
        // Constants of many floats or of texts, and sparse ones, whose elements aren't kept.
        Value { prepared: true, ..Value::new(0, None, Origin::Constant) }
    };
    Ok(Found::one(value))
}

/// Fills a tensor with one number. The number of rows may be one of its sizes.
pub(super) fn constant_of_shape(call: &Call<'_, '_>) -> Result<Found, Why> {
    let tensor = call.node.attribute("value").and_then(|attribute| attribute.tensor.as_ref());
    let of = tensor.map_or(dtype::F32, |tensor| tensor.dtype);
    let shape = call.input(0)?.integers.clone().ok_or(UNKNOWN_SHAPE)?;
    one_batch(&shape)?;
    let known = shape.iter().all(|&size| size != Size::Unknown);
    let origin = if known { Origin::Constant } else { call.origin() };
    let mut value = Value::new(of, Some(shape), origin);
    let elements = value.shape.as_deref().and_then(product).and_then(|count| usize::try_from(count).ok());
    if let (Some(elements), [dtype::I32 | dtype::I64 | BOOL]) = (elements.filter(|&n| n <= 256), [of]) {
        let number = tensor.and_then(|tensor| tensor.integers.as_ref()).and_then(|all| all.first()).copied();
        value.integers = number.map(|number| vec![Size::Known(number); elements]);
    }
    value.prepared = value.axis().is_none() && origin == Origin::Constant && call.input(0)?.prepared;
    Ok(Found::one(value))
}

pub(super) fn shape(call: &Call<'_, '_>) -> Result<Found, Why> {
    let shape = call.shape(0)?;
    let rank = i64::try_from(shape.len()).unwrap_or(i64::MAX);
    let bound = |name: &str, default: i64| {
        let at = call.node.integer(name, default);
        let at = if at < 0 { at.saturating_add(rank) } else { at };
        usize::try_from(at.clamp(0, rank)).unwrap_or(0)
    };
    let (start, end) = (bound("start", 0), bound("end", rank));
    let sizes = shape[start..end.max(start)].to_vec();
    // What rows hold isn't in it. It is computed in each run, also where all that it gives is known.
    Ok(Found::one(Value { prepared: false, ..Value::of_integers(sizes, false, Origin::Constant) }))
}

pub(super) fn size(call: &Call<'_, '_>) -> Result<Found, Why> {
    let all = call.shape(0)?.iter().fold(Size::Known(1), |product, &size| product.multiply(size));
    Ok(Found::one(Value { prepared: false, ..Value::of_integers(vec![all], true, Origin::Constant) }))
}

pub(super) fn range(call: &Call<'_, '_>) -> Result<Found, Why> {
    if call.any_batched() {
        return Err(UNTESTED_USE.into());
    }
    let of = call.input(0)?.dtype;
    let one = |at: usize| call.integers(at).and_then(|all| (all.len() == 1).then(|| all[0]));
    let length = match (one(0), one(1), one(2)) {
        (Some(start), Some(limit), Some(step)) if step > 0 => {
            let span = limit.saturating_sub(start).max(0);
            Size::Known(span / step + i64::from(span % step != 0))
        }
        _ => Size::Unknown,
    };
    Ok(Found::one(call.result(of, Some(vec![length]))))
}
