//! Products with weights: matrices, convolutions, pools, recurrent layers, attention.

use super::super::model::dtype;
use super::super::table::Class;
use super::super::value::{Origin, Size, Value, broadcast};
use super::call::{COUPLED, Call, Found, Needs, UNKNOWN_SHAPE, UNTESTED_USE, Why, needs};

/// Returns the class of a product by these weights, which depends on whether they are known before the first run.
fn by_weights(class: Class, weights: &Value, input: &Value) -> Class {
    // Of a quantised product, the weights are dequantised where the input is.
    let prepared = weights.prepared || (weights.dequantised && input.dequantised && weights.origin == Origin::Constant);
    if prepared { class } else { Class::Block }
}

pub(super) fn mat_mul(call: &Call<'_, '_>, class: Class) -> Result<Found, Why> {
    let (a, b) = (call.input(0)?, call.input(1)?);
    let (left, right) = (call.shape(0)?, call.shape(1)?);
    let (&[ref outer_left @ .., rows, _], &[ref outer_right @ .., _, columns]) = (left, right) else {
        return Err(UNTESTED_USE.into());
    };
    let mut shape = broadcast(outer_left, outer_right)?;
    shape.extend([rows, columns]);
    let value = call.result(a.dtype, Some(shape));
    let in_matrix = |axis: Option<usize>, rank: usize| axis.is_some_and(|axis| axis + 2 >= rank);
    let exact = a.dtype == dtype::I32 || a.dtype == dtype::I64;
    match (call.axis(0)?, call.axis(1)?) {
        (None, None) => Ok(Found::one(value)),
        (Some(axis), None) if axis + 1 == left.len() => Err(COUPLED.into()),
        (Some(_), None) if exact => Ok(Found::one(value)),
        (Some(_), None) if right.len() == 2 => Found::needing(value, by_weights(class, b, a)),
        // A matrix for each row: what others share the run makes no difference to its product.
        (Some(_), Some(_)) if !in_matrix(a.axis(), left.len()) && !in_matrix(b.axis(), right.len()) => {
            Found::needing(value, class)
        }
        (Some(axis), Some(_)) if axis + 1 == left.len() => Err(COUPLED.into()),
        _ => Err(UNTESTED_USE.into()),
    }
}

pub(super) fn mat_mul_integer(call: &Call<'_, '_>) -> Result<Found, Why> {
    call.only_first_batched()?;
    let (left, right) = (call.shape(0)?, call.shape(1)?);
    let (&[ref outer @ .., rows, _], &[_, columns]) = (left, right) else { return Err(UNTESTED_USE.into()) };
    if call.axis(0)?.is_some_and(|axis| axis + 1 == left.len()) {
        return Err(COUPLED.into());
    }
    let shape = outer.iter().copied().chain([rows, columns]).collect();
    Ok(Found::one(call.result(dtype::I32, Some(shape))))
}

pub(super) fn gemm(call: &Call<'_, '_>, class: Class) -> Result<Found, Why> {
    call.only_first_batched()?;
    let transposed = |name: &str| call.node.integer(name, 0) != 0;
    let (a, b) = (call.input(0)?, call.input(1)?);
    let (&[rows, _], &[first, second]) = (call.shape(0)?, call.shape(1)?) else { return Err(UNTESTED_USE.into()) };
    if call.axis(0)? == Some(usize::from(!transposed("transA"))) {
        return Err(COUPLED.into());
    }
    if transposed("transA") {
        return Err(UNTESTED_USE.into());
    }
    let shape = vec![rows, if transposed("transB") { first } else { second }];
    if let Some(bias) = call.optional(2) {
        let own = bias.shape.as_deref().ok_or(UNKNOWN_SHAPE)?;
        broadcast(&shape, own)?;
    }
    let value = call.result(a.dtype, Some(shape));
    Found::needing(value, by_weights(class, b, a))
}

/// Attributes by which a convolution or a pool decides the size of a spatial dimension.
struct Window<'c> {
    strides: Option<&'c [i64]>,
    dilations: Option<&'c [i64]>,
    pads: Option<&'c [i64]>,
    same: bool,
    upwards: bool,
}

impl<'c> Window<'c> {
    fn of(call: &'c Call<'_, '_>) -> Self {
        let integers = |name: &str| {
            let attribute = call.node.attribute(name)?;
            (!attribute.integers_cut).then_some(attribute.integers.as_slice())
        };
        let auto = call.node.attribute("auto_pad").map_or(&b"NOTSET"[..], |attribute| attribute.text);
        Self {
            strides: integers("strides"),
            dilations: integers("dilations"),
            pads: if auto == b"VALID" { None } else { integers("pads") },
            same: auto.starts_with(b"SAME"),
            upwards: call.node.integer("ceil_mode", 0) != 0,
        }
    }

    /// Returns the size of dimension `at` of `spatial`.
    fn size(&self, size: Size, kernel: Option<i64>, at: usize, spatial: usize) -> Size {
        let of = |all: Option<&[i64]>, default: i64| all.map_or(Some(default), |all| all.get(at).copied());
        let computed = || {
            let (size, stride, dilation) = (size.known()?, of(self.strides, 1)?, of(self.dilations, 1)?);
            if stride < 1 {
                return None;
            }
            if self.same {
                return size.checked_add(stride - 1)?.checked_div(stride);
            }
            let after = self.pads.map_or(Some(0), |pads| pads.get(at.checked_add(spatial)?).copied());
            let window = kernel?.checked_sub(1)?.checked_mul(dilation)?.checked_add(1)?;
            let room = size.checked_add(of(self.pads, 0)?)?.checked_add(after?)?.checked_sub(window)?;
            if room < 0 || (self.upwards && room % stride != 0) {
                return None;
            }
            (room / stride).checked_add(1)
        };
        computed().map_or(Size::Unknown, Size::Known)
    }
}

/// Returns the shape of an image, whose first dimension must hold the rows.
fn image<'c>(call: &'c Call<'_, '_>) -> Result<&'c [Size], Why> {
    call.only_first_batched()?;
    match call.axis(0)? {
        Some(0) | None => call.shape(0),
        Some(1) => Err(COUPLED.into()),
        Some(_) => Err(UNTESTED_USE.into()),
    }
}

pub(super) fn conv(call: &Call<'_, '_>, class: Class) -> Result<Found, Why> {
    let (&[rows, _, ref spatial @ ..], &[channels, _, ref kernel @ ..]) = (image(call)?, call.shape(1)?) else {
        return Err(UNTESTED_USE.into());
    };
    let window = Window::of(call);
    let size = |(at, (&size, kernel)): (usize, (&Size, &Size))| window.size(size, kernel.known(), at, spatial.len());
    let sizes = spatial.iter().zip(kernel).enumerate().map(size);
    let shape = [rows, channels].into_iter().chain(sizes).collect();
    with_weights(call, class, shape)
}

pub(super) fn conv_transpose(call: &Call<'_, '_>, class: Class) -> Result<Found, Why> {
    let (&[rows, _, ref spatial @ ..], &[_, channels, ..]) = (image(call)?, call.shape(1)?) else {
        return Err(UNTESTED_USE.into());
    };
    let channels = channels.multiply(Size::Known(call.node.integer("group", 1)));
    let shape = [rows, channels].into_iter().chain(spatial.iter().map(|_| Size::Unknown)).collect();
    with_weights(call, class, shape)
}

/// Returns the result of a convolution. Its weights must be known before the first run, because others weren't tested.
fn with_weights(call: &Call<'_, '_>, class: Class, shape: Vec<Size>) -> Result<Found, Why> {
    let value = call.like_first(shape)?;
    match by_weights(class, call.input(1)?, call.input(0)?) {
        Class::Block if value.is_batched() => Err("its weights aren't constants".into()),
        class => Found::needing(value, class),
    }
}

pub(super) fn pool(call: &Call<'_, '_>, class: Class) -> Result<Found, Why> {
    let &[rows, channels, ref spatial @ ..] = image(call)? else { return Err(UNTESTED_USE.into()) };
    if call.node.outputs.len() > 1 {
        // Where the greatest element lies is counted over the whole batch.
        return Err(UNTESTED_USE.into());
    }
    let kernel = call.node.attribute("kernel_shape").map_or(&[][..], |attribute| &attribute.integers);
    let window = Window::of(call);
    let size = |(at, &size): (usize, &Size)| window.size(size, kernel.get(at).copied(), at, spatial.len());
    let shape = [rows, channels].into_iter().chain(spatial.iter().enumerate().map(size)).collect();
    Found::needing(call.like_first(shape)?, class)
}

pub(super) fn global_pool(call: &Call<'_, '_>, class: Class) -> Result<Found, Why> {
    let &[rows, channels, ref spatial @ ..] = image(call)? else { return Err(UNTESTED_USE.into()) };
    let shape = [rows, channels].into_iter().chain(spatial.iter().map(|_| Size::Known(1))).collect();
    Found::needing(call.like_first(shape)?, class)
}

/// Follows a recurrent layer, whose input has time in its first dimension and rows in its second.
pub(super) fn recurrent(call: &Call<'_, '_>, class: Class) -> Result<Found, Why> {
    let &[steps, rows, _] = call.shape(0)? else { return Err(UNTESTED_USE.into()) };
    let weights = [1, 2, 3].map(|at| call.optional(at).is_none_or(|value| value.prepared));
    let defaults =
        ["activations", "activation_alpha", "activation_beta"].map(|name| call.node.attribute(name).is_none());
    // States come from rows, or are zeros for each of them.
    let states = [4, 5, 6].map(|at| call.optional(at).is_none_or(|value| value.axis() == Some(usize::from(at > 4))));
    // The eighth input has the weights of peepholes, which weren't tested.
    let plain = call.optional(7).is_none() && call.node.integer("layout", 0) == 0;
    let known = weights.iter().chain(&defaults).chain(&states).all(|&holds| holds) && plain;
    if call.any_batched() && (!known || call.axis(0)? != Some(1)) {
        return Err(UNTESTED_USE.into());
    }
    let directions = call.input(1)?.shape.as_ref().and_then(|shape| shape.first()).copied().unwrap_or(Size::Unknown);
    let hidden = call.node.attribute("hidden_size").map_or(Size::Unknown, |attribute| Size::Known(attribute.integer));
    let all = call.like_first(vec![steps, directions, rows, hidden])?;
    let last = call.like_first(vec![directions, rows, hidden])?;
    let needs = if all.is_batched() { needs(class, &all)? } else { Needs::Nothing };
    Ok(Found { outputs: vec![all, last.clone(), last], needs })
}

/// Follows an attention, whose inputs must be the queries, keys and values of each row, and nothing else.
pub(super) fn attention(call: &Call<'_, '_>, class: Class) -> Result<Found, Why> {
    let all_rows = [0, 1, 2].map(|at| call.optional(at).is_some_and(|value| value.axis() == Some(0)));
    let &[rows, steps, _] = call.shape(0)? else { return Err(UNTESTED_USE.into()) };
    let heads = [call.node.integer("q_num_heads", 0), call.node.integer("kv_num_heads", 0)];
    let more = call.inputs.iter().skip(3).flatten().next().is_some() || call.node.outputs.len() > 1;
    if all_rows != [true; 3] || more || heads[0] < 1 || heads[1] < 1 {
        return Err(UNTESTED_USE.into());
    }
    let width = call.shape(2)?.last().copied().unwrap_or(Size::Unknown);
    // Each head of the queries has the width of one of the values.
    let width = width.divide(Size::Known(heads[1])).multiply(Size::Known(heads[0]));
    Found::needing(call.like_first(vec![rows, steps, width])?, class)
}

/// Follows an `Einsum`, which names dimensions by letters. The dimension of the rows must not be summed over.
pub(super) fn einsum(call: &Call<'_, '_>, class: Class) -> Result<Found, Why> {
    let equation = call.node.attribute("equation").map_or(&[][..], |attribute| attribute.text);
    let equation = str::from_utf8(equation).map_err(|_| UNTESTED_USE)?.replace(' ', "");
    let (inputs, output) = equation.split_once("->").ok_or(UNTESTED_USE)?;
    let mut sizes: Vec<(char, Size)> = Vec::new();
    let terms: Vec<&str> = inputs.split(',').collect();
    if terms.len() != call.inputs.len() || equation.contains('.') {
        return Err(UNTESTED_USE.into());
    }
    for (at, term) in terms.iter().enumerate() {
        // As many letters as there are.
        if sizes.len() > 52 {
            return Err(UNTESTED_USE.into());
        }
        let shape = call.shape(at)?;
        if term.chars().count() != shape.len() {
            return Err(UNTESTED_USE.into());
        }
        for (letter, &size) in term.chars().zip(shape) {
            match sizes.iter_mut().find(|(known, _)| *known == letter) {
                None => sizes.push((letter, size)),
                Some((_, known)) if *known == size => {}
                Some((_, known)) if matches!((*known, size), (Size::Rows(_), _) | (_, Size::Rows(_))) => {
                    return Err(COUPLED.into());
                }
                Some((_, known)) => *known = Size::Unknown,
            }
        }
    }
    let rows: Vec<char> =
        sizes.iter().filter(|(_, size)| matches!(size, Size::Rows(_))).map(|&(letter, _)| letter).collect();
    if rows.len() > 1 || rows.iter().any(|&letter| !output.contains(letter)) {
        return Err(COUPLED.into());
    }
    let size = |letter: char| sizes.iter().find(|(known, _)| *known == letter).map_or(Size::Unknown, |&(_, size)| size);
    Found::needing(call.like_first(output.chars().map(size).collect())?, class)
}
