//! Small tensors of integers, computed before the model runs: exporters compute shapes and pads with the operators that move elements.
//! Called by the rules of those operators.

use super::super::value::{Size, Value, product};

/// Returns the elements of a tensor of shape `to`, each from where `from` says it was in a tensor of shape `shape`. `None` where anything about
/// it isn't known.
pub(super) fn rearranged(
    value: &Value,
    to: &[Size],
    from: impl Fn(&[usize]) -> Option<Vec<usize>>,
) -> Option<Vec<Size>> {
    let (elements, shape) = (value.integers.as_ref()?, value.shape.as_deref()?);
    let (sizes, own) = (known(to)?, known(shape)?);
    // No more than were kept of it, but for repetitions, and nobody computes shapes by those.
    let count = usize::try_from(product(to)?).ok().filter(|&count| count <= elements.len())?;
    let mut position = vec![0; sizes.len()];
    let mut found = Vec::with_capacity(count);
    for _ in 0..count {
        let source = from(&position)?;
        let at = source
            .iter()
            .zip(&own)
            .try_fold(0_usize, |at, (&n, &size)| if n < size { at.checked_mul(size)?.checked_add(n) } else { None })?;
        found.push(*elements.get(at)?);
        advance(&mut position, &sizes);
    }
    Some(found)
}

/// Returns the elements of tensors that are put behind each other in dimension `axis`.
pub(super) fn joined(values: &[&Value], axis: usize) -> Option<Vec<Size>> {
    let shapes: Option<Vec<Vec<usize>>> = values.iter().map(|value| known(value.shape.as_deref()?)).collect();
    let shapes = shapes?;
    let mut found = Vec::new();
    let before = elements(shapes.first()?.get(..axis)?)?;
    for piece in 0..before {
        for (value, shape) in values.iter().zip(&shapes) {
            let length = elements(shape.get(axis..)?)?;
            found.extend_from_slice(value.integers.as_ref()?.get(piece * length..(piece + 1) * length)?);
        }
    }
    Some(found)
}

/// Returns the number of elements of a shape, if they are few.
fn elements(sizes: &[usize]) -> Option<usize> {
    sizes.iter().try_fold(1_usize, |product, &size| product.checked_mul(size)).filter(|&count| count <= 256)
}

/// Returns the sizes, where all are known and small.
fn known(shape: &[Size]) -> Option<Vec<usize>> {
    let size = |size: &Size| size.known().and_then(|n| usize::try_from(n).ok()).filter(|&n| n <= 1 << 16);
    shape.iter().map(size).collect()
}

/// Advances a position by one element, the last dimension first.
fn advance(position: &mut [usize], sizes: &[usize]) {
    for (at, &size) in position.iter_mut().zip(sizes).rev() {
        *at += 1;
        if *at < size {
            return;
        }
        *at = 0;
    }
}
