//! Operators that compute each element by itself.

use super::super::model::dtype;
use super::super::table::Class;
use super::super::value::{Origin, Size, Value, broadcast, product};
use super::call::{BOOL, Call, Found, UNKNOWN_SHAPE, UNTESTED_USE, Why};

/// Returns the shape of all inputs together.
fn broadcast_all(call: &Call<'_, '_>) -> Result<Vec<Size>, Why> {
    let mut shape: Vec<Size> = Vec::new();
    for value in call.inputs.iter().flatten() {
        let own = value.shape.as_deref().ok_or(UNKNOWN_SHAPE)?;
        shape = broadcast(&shape, own)?;
    }
    Ok(shape)
}

pub(super) fn elementwise(call: &Call<'_, '_>, class: Class) -> Result<Found, Why> {
    let shape = broadcast_all(call)?;
    let mut value = call.result(call.input(0)?.dtype, Some(shape));
    give_integers(&mut value, computed(call));
    Found::needing(value, class)
}

/// Computes the greatest or the least of several tensors. Where one of them is repeated along others, vector loops go once for each repetition, and
/// compute its last elements differently.
pub(super) fn extremes(call: &Call<'_, '_>, class: Class) -> Result<Found, Why> {
    let shape = broadcast_all(call)?;
    let is_whole = |value: &Value| {
        value.shape.as_ref().is_some_and(|own| *own == shape || own.iter().all(|&size| size == Size::Known(1)))
    };
    let goes_once = call.inputs.iter().flatten().all(is_whole);
    let is_even = shape.last().and_then(|size| size.known()).is_some_and(|width| width % 4 == 0);
    if class == Class::Tail && call.any_batched() && !goes_once && !is_even {
        return Err("it repeats one input along the other, in pieces that aren't a multiple of 4 elements".into());
    }
    elementwise(call, class)
}

pub(super) fn compare(call: &Call<'_, '_>, class: Class) -> Result<Found, Why> {
    let shape = broadcast_all(call)?;
    let mut value = call.result(BOOL, Some(shape));
    give_integers(&mut value, computed(call));
    Found::needing(value, class)
}

/// Returns a size in a tensor of such elements. What doesn't fit wraps there, and isn't followed here.
fn fitting(size: Size, of: i64) -> Size {
    match size {
        Size::Known(n) if of == dtype::I32 && i32::try_from(n).is_err() => Size::Unknown,
        size => size,
    }
}

/// Gives a value the integers that were computed for it. They say more about it than its inputs do: if all of them are known, none depends on the
/// number of rows.
fn give_integers(value: &mut Value, integers: Option<Vec<Size>>) {
    let whole = |all: &Vec<Size>| {
        let elements = value.shape.as_deref().and_then(product);
        elements.is_some_and(|count| usize::try_from(count) == Ok(all.len()))
    };
    if let Some(mut integers) = integers.filter(whole) {
        integers.iter_mut().for_each(|size| *size = fitting(*size, value.dtype));
        if integers.iter().all(|size| size.known().is_some()) && value.origin == Origin::Count {
            value.origin = Origin::Constant;
        }
        value.integers = Some(integers);
    }
}

/// Returns what a graph computes of shapes.
fn computed(call: &Call<'_, '_>) -> Option<Vec<Size>> {
    let a = call.optional(0)?.integers.as_ref()?;
    if call.node.operator == "Not" {
        let not = |size: &Size| size.known().map_or(Size::Unknown, |n| Size::Known(i64::from(n == 0)));
        return Some(a.iter().map(not).collect());
    }
    let b = call.optional(1)?.integers.as_ref()?;
    let length = a.len().max(b.len());
    if call.inputs.len() != 2 || [a, b].iter().any(|all| all.len() != length && all.len() != 1) {
        return None;
    }
    let equal = |a: Size, b: Size| match (a, b) {
        (Size::Known(a), Size::Known(b)) => Size::Known((a == b).into()),
        // A run has at least one row, so that no dimension of rows is negative or nothing.
        (Size::Rows(times), Size::Known(n)) | (Size::Known(n), Size::Rows(times)) if times > 0 && n < 1 => {
            Size::Known(0)
        }
        _ => Size::Unknown,
    };
    let of = |a: Size, b: Size| {
        Some(match call.node.operator {
            "Add" => a.add(b),
            "Sub" => a.subtract(b),
            "Mul" => a.multiply(b),
            "Div" => a.divide(b),
            "Equal" => equal(a, b),
            _ => return None,
        })
    };
    let one = |all: &[Size], at: usize| if all.len() == 1 { all[0] } else { all[at] };
    (0..length).map(|at| of(one(a, at), one(b, at))).collect()
}

pub(super) fn cast(call: &Call<'_, '_>) -> Result<Found, Why> {
    let input = call.input(0)?;
    let to = call.node.attribute("to").ok_or(UNTESTED_USE)?.integer;
    let known = [dtype::F32, dtype::F64, dtype::F16, dtype::U8, dtype::I8, dtype::I32, dtype::I64, BOOL];
    if !known.contains(&to) {
        return Err(super::UNTESTED_TYPE.into());
    }
    let mut value = call.result(to, input.shape.clone());
    // Shapes fit into either.
    if [dtype::I32, dtype::I64].contains(&to) || (to == BOOL && input.dtype == BOOL) {
        value.integers = input.integers.as_ref().map(|all| all.iter().map(|&size| fitting(size, to)).collect());
    } else if to == BOOL {
        let truth = |size: &Size| match *size {
            Size::Known(n) => Size::Known((n != 0).into()),
            // A run has at least one row.
            Size::Rows(times) if times != 0 => Size::Known(1),
            Size::Rows(_) | Size::Unknown => Size::Unknown,
        };
        give_integers(&mut value, input.integers.as_ref().map(|all| all.iter().map(truth).collect()));
    }
    if value.is_batched() && value.shape.is_none() {
        return Err(UNKNOWN_SHAPE.into());
    }
    Ok(Found::one(value))
}

/// Clips the first input between bounds, which must be the same for all rows.
pub(super) fn clip(call: &Call<'_, '_>, class: Class) -> Result<Found, Why> {
    call.only_first_batched()?;
    Found::needing(call.like_first(call.shape(0)?.to_vec())?, class)
}

pub(super) fn select(call: &Call<'_, '_>, class: Class) -> Result<Found, Why> {
    let shape = broadcast_all(call)?;
    let mut value = call.result(call.input(1)?.dtype, Some(shape));
    let parts = [0, 1, 2].map(|at| call.optional(at).and_then(|value| value.integers.as_ref()));
    if let [Some(condition), Some(yes), Some(no)] = parts
        && condition.len() == yes.len()
        && yes.len() == no.len()
    {
        let one = |at: usize| match condition[at] {
            Size::Known(0) => no[at],
            Size::Known(_) => yes[at],
            _ if yes[at] == no[at] => yes[at],
            _ => Size::Unknown,
        };
        give_integers(&mut value, Some((0..yes.len()).map(one).collect()));
    }
    Found::needing(value, class)
}

/// Checks that scale and zero point are constants, because anything that is computed might come from all rows.
fn constant_scale(call: &Call<'_, '_>) -> Result<(), Why> {
    let fixed =
        |at: usize| call.optional(at).is_none_or(|value| value.origin == Origin::Constant && value.axis().is_none());
    if fixed(1) && fixed(2) { Ok(()) } else { Err("its scale isn't a constant".into()) }
}

pub(super) fn quantize(call: &Call<'_, '_>) -> Result<Found, Why> {
    constant_scale(call)?;
    let to = call.optional(2).map_or(dtype::U8, |zero_point| zero_point.dtype);
    if ![dtype::U8, dtype::I8].contains(&to) {
        return Err(super::UNTESTED_TYPE.into());
    }
    Ok(Found::one(call.result(to, Some(call.shape(0)?.to_vec()))))
}

pub(super) fn dequantize(call: &Call<'_, '_>) -> Result<Found, Why> {
    constant_scale(call)?;
    let mut value = call.result(dtype::F32, Some(call.shape(0)?.to_vec()));
    // ONNX Runtime leaves the constants of quantised products as they are, and computes the others in each run.
    (value.prepared, value.dequantised) = (false, true);
    Ok(Found::one(value))
}
