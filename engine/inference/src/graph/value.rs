//! Facts about a tensor of a graph before a run: its shape, the dimension that holds the rows, and the origin of its content. The rules of
//! [`super::classify`] use them.

use super::model::{Tensor, dtype};
use super::orders::Orders;

/// A dimension, or an element of a small tensor of integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    Known(i64),
    /// A multiple of the number of rows in the run. In such a dimension, the elements of one row are adjacent.
    Rows(i64),
    Unknown,
}

impl Size {
    pub(super) const fn known(self) -> Option<i64> {
        match self {
            Self::Known(size) => Some(size),
            _ => None,
        }
    }

    pub(super) fn add(self, other: Self) -> Self {
        let sum = |a: i64, b: i64| a.checked_add(b);
        match (self, other) {
            (Self::Known(a), Self::Known(b)) => sum(a, b).map_or(Self::Unknown, Self::Known),
            (Self::Rows(a), Self::Rows(b)) => sum(a, b).map_or(Self::Unknown, Self::rows),
            (Self::Known(0), other) | (other, Self::Known(0)) => other,
            _ => Self::Unknown,
        }
    }

    pub(super) fn subtract(self, other: Self) -> Self {
        other.multiply(Self::Known(-1)).add(self)
    }

    pub(super) fn multiply(self, other: Self) -> Self {
        match (self, other) {
            (Self::Known(a), Self::Known(b)) => a.checked_mul(b).map_or(Self::Unknown, Self::Known),
            (Self::Rows(a), Self::Known(b)) | (Self::Known(b), Self::Rows(a)) => {
                a.checked_mul(b).map_or(Self::Unknown, Self::rows)
            }
            _ => Self::Unknown,
        }
    }

    pub(super) const fn divide(self, other: Self) -> Self {
        match (self, other) {
            // Operators truncate, and so does this function.
            (Self::Known(a), Self::Known(b)) => match a.checked_div(b) {
                Some(quotient) => Self::Known(quotient),
                None => Self::Unknown,
            },
            (Self::Rows(a), Self::Known(b)) if b > 0 && a % b == 0 => Self::Rows(a / b),
            _ => Self::Unknown,
        }
    }

    const fn rows(times: i64) -> Self {
        if times == 0 { Self::Known(0) } else { Self::Rows(times) }
    }
}

/// Origin of a tensor's content. If there are several, the greatest counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    /// From the model alone.
    Constant,
    /// Also from inputs that all rows of a run share.
    Shared,
    /// Also from the number of rows in the run, which may only decide the size of a tensor.
    Count,
    /// Also from what rows hold.
    Rows,
}

/// A tensor.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Value {
    /// ONNX's number of the element type; 0 if it isn't known.
    pub dtype: i64,
    pub shape: Option<Vec<Size>>,
    pub origin: Origin,
    /// The elements, if they are few integers.
    pub integers: Option<Vec<Size>>,
    /// The elements, if they are few floats.
    pub floats: Option<Vec<f32>>,
    /// Whether the content is known before the first run, so that ONNX Runtime prepares it for products.
    pub prepared: bool,
    /// Whether it is the output of a `DequantizeLinear`.
    pub dequantised: bool,
    /// The orders in which its dimensions may lie in memory.
    pub orders: Orders,
}

impl Value {
    pub(super) const fn new(dtype: i64, shape: Option<Vec<Size>>, origin: Origin) -> Self {
        Self {
            dtype,
            shape,
            origin,
            integers: None,
            floats: None,
            prepared: false,
            dequantised: false,
            orders: Orders::OWN,
        }
    }

    /// Returns a tensor about which nothing is known, because a node before it wasn't understood.
    pub(super) const fn lost() -> Self {
        Self::new(0, None, Origin::Rows)
    }

    pub(super) fn is_lost(&self) -> bool {
        self.origin == Origin::Rows && self.shape.is_none()
    }

    /// Returns a constant of the model.
    pub(super) fn constant(tensor: &Tensor<'_>) -> Self {
        // A file may have any numbers.
        let size = |&size: &i64| if size < 0 { Size::Unknown } else { Size::Known(size) };
        let shape = tensor.dims.iter().map(size).collect();
        let integers = tensor.integers.as_ref().map(|all| all.iter().map(|&n| Size::Known(n)).collect());
        Self {
            integers,
            floats: tensor.floats.clone(),
            prepared: true,
            ..Self::new(tensor.dtype, Some(shape), Origin::Constant)
        }
    }

    /// Returns a vector of integers, or a scalar, from its elements.
    pub(super) fn of_integers(integers: Vec<Size>, scalar: bool, origin: Origin) -> Self {
        let length = i64::try_from(integers.len()).unwrap_or(i64::MAX);
        let shape = if scalar { vec![] } else { vec![Size::Known(length)] };
        let count = if integers.iter().all(|size| size.known().is_some()) { origin } else { origin.max(Origin::Count) };
        let prepared = count == Origin::Constant;
        Self { integers: Some(integers), prepared, ..Self::new(dtype::I64, Some(shape), count) }
    }

    /// Returns the dimension that holds the rows.
    pub(super) fn axis(&self) -> Option<usize> {
        self.shape.as_ref()?.iter().position(|size| matches!(size, Size::Rows(_)))
    }

    /// Returns about how much is kept of it, in elements of some 16 bytes.
    pub(super) fn weight(&self) -> usize {
        let rank = self.shape.as_ref().map_or(0, Vec::len);
        let elements = self.integers.as_ref().map_or(0, Vec::len) + self.floats.as_ref().map_or(0, Vec::len);
        1 + rank * self.orders.count() + elements
    }

    /// Returns whether it has a part for each row.
    pub(super) fn is_batched(&self) -> bool {
        self.axis().is_some() || self.origin == Origin::Rows
    }

    /// Returns the elements, if all of them are known integers.
    pub(super) fn known_integers(&self) -> Option<Vec<i64>> {
        self.integers.as_ref()?.iter().map(|size| size.known()).collect()
    }

    /// Returns the number of elements of one row that are adjacent in memory; `None` if that isn't known.
    pub(super) fn run_of_row(&self) -> Option<i64> {
        let (shape, axis) = (self.shape.as_ref()?, self.axis()?);
        let Size::Rows(times) = shape[axis] else { return None };
        product(&shape[axis + 1..])?.checked_mul(times)
    }
}

/// Returns the product of known sizes.
pub(super) fn product(sizes: &[Size]) -> Option<i64> {
    sizes.iter().try_fold(1_i64, |product, size| product.checked_mul(size.known()?))
}

/// Returns dimension `axis` counted from the start; negative numbers count from the end.
pub(super) fn position(axis: i64, rank: usize) -> Option<usize> {
    let from_start = if axis < 0 { axis.checked_add(i64::try_from(rank).ok()?)? } else { axis };
    usize::try_from(from_start).ok().filter(|&at| at < rank)
}

/// Returns the shape of two tensors that are broadcast, or why rows don't stay apart.
pub(super) fn broadcast(a: &[Size], b: &[Size]) -> Result<Vec<Size>, &'static str> {
    let rank = a.len().max(b.len());
    let padded = |shape: &[Size], at: usize| match (at + shape.len()).checked_sub(rank) {
        Some(own) => shape[own],
        None => Size::Known(1),
    };
    let both = |at: usize| match (padded(a, at), padded(b, at)) {
        (Size::Known(1), other) | (other, Size::Known(1)) => Ok(other),
        (one, other) if one == other => Ok(one),
        (Size::Rows(_), _) | (_, Size::Rows(_)) => Err("it doesn't treat all slots of a batch alike"),
        (Size::Known(size), _) | (_, Size::Known(size)) => Ok(Size::Known(size)),
        (Size::Unknown, Size::Unknown) => Ok(Size::Unknown),
    };
    let shape: Vec<_> = (0..rank).map(both).collect::<Result<_, _>>()?;
    one_batch(&shape)?;
    Ok(shape)
}

/// Checks that rows are in only one dimension.
pub(super) fn one_batch(shape: &[Size]) -> Result<(), &'static str> {
    let rows = shape.iter().filter(|size| matches!(size, Size::Rows(_))).count();
    if rows > 1 { Err("it compares rows with each other") } else { Ok(()) }
}

/// Returns the shape that `target` asks for: 0 keeps a dimension, where `keeps_zeros` is false, and -1 takes what is left. `None` where it isn't
/// known, or where a row's elements don't stay together.
pub(super) fn reshape(shape: &[Size], target: &[Size], keeps_zeros: bool) -> Option<Vec<Size>> {
    let mut sizes = Vec::with_capacity(target.len());
    let mut open = None;
    for (at, &size) in target.iter().enumerate() {
        sizes.push(match size {
            Size::Known(0) if !keeps_zeros => *shape.get(at)?,
            Size::Known(-1) => {
                open = Some(at);
                Size::Known(1)
            }
            Size::Known(size) if size < 0 => return None,
            size => size,
        });
    }
    let of_rows = |sizes: &[Size]| sizes.iter().position(|size| matches!(size, Size::Rows(_)));
    let Some(axis) = of_rows(shape) else {
        if let Some(open) = open {
            let left = product(shape).zip(product(&sizes).filter(|&n| n > 0));
            sizes[open] = left.map_or(Size::Unknown, |(all, others)| Size::Known(all / others));
        }
        return Some(sizes);
    };
    let Size::Rows(times) = shape[axis] else { return None };
    // Where the rows come first and stay there as they are, the rest need not be known.
    if axis == 0 && sizes.first() == Some(&shape[0]) && open != Some(0) {
        if let Some(open) = open {
            let left = product(&shape[1..]).zip(product(&sizes[1..]).filter(|&n| n > 0));
            sizes[open] = left.map_or(Size::Unknown, |(all, others)| Size::Known(all / others));
        }
        return Some(sizes);
    }
    let before = product(&shape[..axis])?;
    let all = product(&shape[axis + 1..])?.checked_mul(times)?.checked_mul(before)?;
    match of_rows(&sizes) {
        Some(at) => {
            let Size::Rows(times) = sizes[at] else { return None };
            let others = product(&sizes[..at])?.checked_mul(product(&sizes[at + 1..])?)?.checked_mul(times)?;
            match open {
                Some(open) => sizes[open] = Size::Known(divided(all, others)?),
                None if others == all => {}
                None => return None,
            }
        }
        None => sizes[open?] = Size::Rows(divided(all, product(&sizes)?)?),
    }
    let at = of_rows(&sizes)?;
    // Rows stay together only if as much lies around each of them as before.
    (product(&sizes[..at])? == before).then_some(sizes)
}

/// Returns the quotient of a division without remainder.
fn divided(all: i64, by: i64) -> Option<i64> {
    (by > 0 && all > 0 && all % by == 0).then(|| all / by)
}

#[cfg(test)]
mod tests {
    use super::Size::{Known, Rows, Unknown};
    use super::*;

    #[test]
    fn rows_stay_apart_when_shapes_are_broadcast() {
        assert_eq!(broadcast(&[Rows(1), Known(3)], &[Known(3)]), Ok(vec![Rows(1), Known(3)]));
        assert_eq!(broadcast(&[Rows(1), Known(3)], &[Rows(1), Known(1)]), Ok(vec![Rows(1), Known(3)]));
        assert_eq!(broadcast(&[Rows(1), Unknown], &[Known(1), Known(4)]), Ok(vec![Rows(1), Known(4)]));
        assert!(broadcast(&[Rows(1), Known(3)], &[Known(4), Known(1)]).is_err(), "a number for each slot");
        assert!(broadcast(&[Rows(1), Known(1)], &[Rows(1)]).is_err(), "each row with each");
        assert!(broadcast(&[Rows(1)], &[Rows(2)]).is_err());
    }

    #[test]
    fn a_reshape_keeps_rows_together_or_is_not_understood() {
        let image = [Rows(1), Known(3), Known(4)];
        assert_eq!(reshape(&image, &[Known(0), Known(-1)], false), Some(vec![Rows(1), Known(12)]));
        assert_eq!(reshape(&image, &[Known(-1), Known(12)], false), Some(vec![Rows(1), Known(12)]));
        assert_eq!(reshape(&image, &[Known(-1), Known(4)], false), Some(vec![Rows(3), Known(4)]));
        assert_eq!(reshape(&[Rows(3), Known(4)], &[Rows(1), Known(3), Known(-1)], false), Some(image.to_vec()));
        assert_eq!(reshape(&image, &[Rows(1), Known(2), Known(6)], false), Some(vec![Rows(1), Known(2), Known(6)]));
        assert_eq!(reshape(&[Rows(1), Unknown], &[Known(0), Known(-1)], false), Some(vec![Rows(1), Unknown]));
        assert_eq!(reshape(&image, &[Known(-1)], false), Some(vec![Rows(12)]));
        // Time comes first here, so that rows would be torn apart.
        let time_first = [Known(5), Rows(1), Known(4)];
        assert_eq!(reshape(&time_first, &[Known(-1), Known(4)], false), None);
        assert_eq!(
            reshape(&time_first, &[Known(5), Known(-1), Known(2)], false),
            Some(vec![Known(5), Rows(2), Known(2)])
        );
        assert_eq!(reshape(&image, &[Known(2), Known(6)], false), None);
        assert_eq!(reshape(&[Known(2), Known(6)], &[Known(-1), Known(3)], false), Some(vec![Known(4), Known(3)]));
    }

    #[test]
    fn sizes_are_computed_as_shapes_are_in_graphs() {
        assert_eq!(Rows(1).multiply(Known(3)), Rows(3));
        assert_eq!(Rows(6).divide(Known(3)), Rows(2));
        assert_eq!(Rows(1).divide(Known(2)), Unknown);
        assert_eq!(Known(7).divide(Known(0)), Unknown);
        assert_eq!(Rows(2).subtract(Rows(2)), Known(0));
        assert_eq!(Known(i64::MAX).add(Known(1)), Unknown);
        assert_eq!(Rows(1).add(Known(1)), Unknown);
    }
}
