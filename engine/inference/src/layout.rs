//! Layout of a model's tensors in rows: which dimension is the batch, and which bytes of a row belong to which tensor. [`super::session`] calls it
//! when a model is loaded. It is pure: the declarations of the model are its input.
//!
//! The batch is the leading dimension of inputs, which is dynamic or a fixed number. In other inputs, a dynamic batch may be another dimension,
//! which has the same name or is declared in `batch_axes`. An input without the batch is shared by the rows of a run, so only rows that
//! agree in it run together. A model without a batch is run a row at a time, and a row is all of its inputs. Any other
//! dynamic dimension must have its size in the scenario's `dims`.

use std::fmt;
use std::ops::Range;

use wasm_engine_components::limits::PAYLOAD_BYTES_MAX;
use wasm_engine_components::text::shown;

use super::element::ElementType;
use super::error::ModelProblem;

/// An input or output of a model, as agents see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its name in the model.
    pub name: String,
    /// Type of its elements.
    pub dtype: ElementType,
    /// Its dimensions in the model; `None` is the dynamic batch.
    pub shape: Vec<Option<u32>>,
}

impl fmt::Display for TensorInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sizes = self.shape.iter().map(|size| size.map_or("batch".into(), |size| size.to_string()));
        write!(f, "{} {}[{}]", shown(&self.name), self.dtype, sizes.collect::<Vec<_>>().join(", "))
    }
}

/// The batch of a model, by its inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slots {
    /// Any number of rows.
    Any,
    /// Always this many rows, at least 2.
    Exactly(u32),
    /// One row: each tensor belongs to it as a whole.
    One,
}

impl Slots {
    /// Returns the batch of a tensor whose leading dimension is `leading`.
    const fn rows(self) -> u32 {
        match self {
            Self::Exactly(rows) => rows,
            Self::Any | Self::One => 1,
        }
    }
}

/// A dimension as the model declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Dimension {
    Fixed(u32),
    Named(String),
    Nameless,
}

/// A tensor as the model declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Declared {
    pub name: String,
    pub dtype: ElementType,
    pub dimensions: Vec<Dimension>,
}

impl Declared {
    fn rank(&self) -> usize {
        self.dimensions.len()
    }

    /// Returns the name of a dynamic dimension in `dims`. If the model doesn't name it, it is named by its tensor and index, such as
    /// `state[1]`. `None` for a fixed dimension.
    pub(crate) fn dimension_name(&self, position: usize) -> Option<String> {
        match self.dimensions.get(position)? {
            Dimension::Named(name) => Some(name.clone()),
            Dimension::Nameless => Some(nameless(&self.name, position)),
            Dimension::Fixed(_) => None,
        }
    }
}

/// Returns the name in `dims` of a dimension that has no name in the model.
pub(crate) fn nameless(tensor: &str, position: usize) -> String {
    format!("{tensor}[{position}]")
}

/// A tensor and its part of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TensorPlan {
    pub info: TensorInfo,
    /// Bytes of the row.
    pub part: Range<usize>,
    /// Index of the dimension that holds the rows; `None` if the whole tensor belongs to the row, or to all rows of the run.
    pub axis: Option<usize>,
    /// Number of pieces of a row in the tensor: the product of the dimensions before the rows'.
    pub pieces: usize,
}

impl TensorPlan {
    /// Returns the shape for `rows` rows, which only counts if the batch is dynamic.
    pub(crate) fn shape(&self, rows: u32) -> Vec<i64> {
        self.info.shape.iter().map(|size| i64::from(size.unwrap_or(rows))).collect()
    }

    /// Returns where the pieces of rows are: the place in the run, the bytes in a tensor with `slots` places, and those in the row.
    pub(crate) fn places(&self, slots: usize) -> impl Iterator<Item = (usize, Range<usize>, Range<usize>)> + use<> {
        let slots = if self.axis.is_some() { slots } else { 1 };
        let (start, pieces) = (self.part.start, self.pieces);
        let bytes = self.part.len() / pieces.max(1);
        (0..pieces).flat_map(move |piece| {
            let first = piece * slots;
            (0..slots).map(move |slot| {
                let (inside, of_row) = ((first + slot) * bytes, start + piece * bytes);
                (slot, inside..inside + bytes, of_row..of_row + bytes)
            })
        })
    }
}

/// Lays out the tensors of a row, and checks that a message can carry it.
pub(crate) fn lay_out(
    role: &'static str,
    tensors: Vec<TensorInfo>,
    slots: Slots,
) -> Result<(Vec<TensorPlan>, u32), ModelProblem> {
    let too_large = |bytes: u64| ModelProblem::RowTooLarge { role, bytes, bytes_max: PAYLOAD_BYTES_MAX.into() };
    let mut end: u64 = 0;
    let mut plans = Vec::with_capacity(tensors.len());
    for info in tensors {
        let axis = match slots {
            Slots::Any => info.shape.iter().position(Option::is_none),
            Slots::Exactly(_) => Some(0),
            Slots::One => None,
        };
        let of = |sizes: &[Option<u32>]| {
            let sizes = sizes.iter().map(|size| u64::from(size.unwrap_or(1)));
            sizes.fold(1_u64, u64::saturating_mul)
        };
        let elements = of(&info.shape) / u64::from(if axis.is_some() { slots.rows() } else { 1 });
        let start = end;
        end = end.saturating_add(elements.saturating_mul(info.dtype.bytes().into()));
        if end > u64::from(PAYLOAD_BYTES_MAX) {
            return Err(too_large(end));
        }
        let place = |at: u64| usize::try_from(at).map_err(|_| too_large(end));
        let pieces = place(of(&info.shape[..axis.unwrap_or(0)]))?;
        plans.push(TensorPlan { part: place(start)?..place(end)?, axis, pieces, info });
    }
    Ok((plans, u32::try_from(end).map_err(|_| too_large(end))?))
}

/// Facts about a model's dimensions that a scenario states.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Said<'s> {
    /// Sizes of named dimensions.
    pub dims: &'s [(String, u32)],
    /// The dimension that holds the rows, by the name of an input or output.
    pub batch_axes: &'s [(String, u32)],
}

impl Said<'_> {
    pub(crate) fn size(&self, name: &str) -> Option<u32> {
        self.dims.iter().find(|(named, _)| named == name).map(|&(_, size)| size)
    }

    /// Returns the dimension that the scenario says holds the rows of a tensor.
    pub(crate) fn axis(&self, tensor: &str) -> Option<usize> {
        let (_, axis) = self.batch_axes.iter().find(|(named, _)| named == tensor)?;
        usize::try_from(*axis).ok()
    }

    /// Returns whether dimension `position` of a tensor may be the batch. A dimension with a size in `dims` isn't.
    fn is_open(&self, tensor: &Declared, position: usize) -> bool {
        tensor.dimension_name(position).is_some_and(|name| self.size(&name).is_none())
    }
}

/// Finds the batch of a model's inputs, and the size of each other dynamic dimension.
pub(crate) fn resolve_inputs(inputs: &[Declared], said: Said<'_>) -> Result<(Slots, Vec<TensorInfo>), ModelProblem> {
    let axes = batch_axes(inputs, said)?;
    let slots = if axes.iter().any(Option::is_some) {
        Slots::Any
    } else {
        match inputs.first().and_then(|input| input.dimensions.first()) {
            Some(leading @ Dimension::Fixed(rows @ 2..))
                if inputs.iter().all(|input| input.dimensions.first() == Some(leading)) =>
            {
                Slots::Exactly(*rows)
            }
            _ => Slots::One,
        }
    };
    let tensors = inputs.iter().zip(&axes).map(|(input, &axis)| {
        let sizes = input.dimensions.iter().enumerate().map(|(position, dimension)| match dimension {
            _ if axis == Some(position) => Ok(None),
            Dimension::Fixed(fixed) => Ok(Some(*fixed)),
            Dimension::Nameless => said
                .size(&nameless(&input.name, position))
                .map(Some)
                .ok_or_else(|| ModelProblem::NamelessDimension { position, tensor: input.name.clone() }),
            Dimension::Named(name) => said.size(name).map(Some).ok_or_else(|| ModelProblem::MissingDimension {
                dimension: name.clone(),
                position,
                tensor: input.name.clone(),
            }),
        });
        Ok(TensorInfo { name: input.name.clone(), dtype: input.dtype, shape: sizes.collect::<Result<_, _>>()? })
    });
    Ok((slots, tensors.collect::<Result<_, _>>()?))
}

/// Returns the dimension that holds the rows, for each input that has one.
fn batch_axes(inputs: &[Declared], said: Said<'_>) -> Result<Vec<Option<usize>>, ModelProblem> {
    let name = batch_name(inputs, said)?;
    let axes = inputs.iter().map(|input| {
        if let Some(axis) = said.axis(&input.name) {
            return match said.is_open(input, axis) {
                true => Ok(Some(axis)),
                false => Err(ModelProblem::BadBatchAxis { tensor: input.name.clone(), axis }),
            };
        }
        let is_batch = |&(position, dimension): &(usize, &Dimension)| match dimension {
            Dimension::Named(own) => said.is_open(input, position) && name.as_deref() == Some(own),
            // Exporters give one dimension one name; a leading dimension without a name may be any.
            Dimension::Nameless => position == 0 && said.is_open(input, position),
            Dimension::Fixed(_) => false,
        };
        let found: Vec<usize> =
            input.dimensions.iter().enumerate().filter(is_batch).map(|(position, _)| position).collect();
        match found[..] {
            [] => Ok(None),
            [axis] => Ok(Some(axis)),
            [first, second, ..] => Err(ModelProblem::NoBatch {
                detail: format!("the dimensions {first} and {second} of the input `{}` both are it", input.name),
            }),
        }
    });
    axes.collect()
}

/// Returns the name of the batch: that of the leading dimensions, or else the only name of dimensions without a size.
fn batch_name(inputs: &[Declared], said: Said<'_>) -> Result<Option<String>, ModelProblem> {
    let name = |input: &Declared, position: usize| match input.dimensions.get(position) {
        Some(Dimension::Named(name)) if said.is_open(input, position) => Some(name.clone()),
        _ => None,
    };
    let declared = inputs.iter().find_map(|input| name(input, said.axis(&input.name)?));
    let others = || inputs.iter().filter(|input| said.axis(&input.name).is_none());
    let mut leading = others().filter_map(|input| Some((&input.name, name(input, 0)?)));
    if let Some((tensor, first)) = leading.next() {
        if let Some((other, found)) = leading.find(|(_, found)| *found != first) {
            return Err(ModelProblem::NoBatch {
                detail: format!(
                    "the leading dimension of the input `{tensor}` is `{first}`, the leading dimension of the input `{other}` \
                     is `{found}`"
                ),
            });
        }
        return Ok(Some(declared.unwrap_or(first)));
    }
    if declared.is_some() {
        return Ok(declared);
    }
    let names = |input| (0..Declared::rank(input)).filter_map(move |position| name(input, position));
    let mut open: Vec<String> = others().flat_map(names).collect();
    open.sort();
    open.dedup();
    // If there are several, the batch isn't known, and each must have a size.
    Ok(if open.len() == 1 { open.pop() } else { None })
}

/// Checks that each name in `dims` is a dimension of an input or output, so that a typing mistake is an error.
pub(crate) fn check_names(
    inputs: &[Declared],
    outputs: &[Declared],
    dims: &[(String, u32)],
) -> Result<(), ModelProblem> {
    let mut known: Vec<String> = Vec::new();
    for name in
        inputs.iter().chain(outputs).flat_map(|input| (0..input.rank()).filter_map(|at| input.dimension_name(at)))
    {
        if !known.contains(&name) {
            known.push(name);
        }
    }
    match dims.iter().find(|(name, _)| !known.contains(name)) {
        Some((name, _)) => Err(ModelProblem::UnknownDimension { dimension: name.clone(), known }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(name: &str, dimensions: &[&str]) -> Declared {
        let dimension = |text: &&str| match text.parse() {
            Ok(size) => Dimension::Fixed(size),
            Err(_) if text.is_empty() => Dimension::Nameless,
            Err(_) => Dimension::Named((*text).into()),
        };
        Declared { name: name.into(), dtype: ElementType::F32, dimensions: dimensions.iter().map(dimension).collect() }
    }

    /// Returns the result for inputs `a` and `b` and sizes, as text.
    fn check(a: &[&str], b: Option<&[&str]>, dims: &[(&str, u32)]) -> String {
        check_with(a, b, dims, &[])
    }

    fn check_with(a: &[&str], b: Option<&[&str]>, dims: &[(&str, u32)], axes: &[(&str, u32)]) -> String {
        let inputs: Vec<_> = std::iter::once(input("a", a)).chain(b.map(|b| input("b", b))).collect();
        let named = |all: &[(&str, u32)]| -> Vec<_> { all.iter().map(|&(name, n)| (name.to_string(), n)).collect() };
        let (dims, axes) = (named(dims), named(axes));
        let checked = check_names(&inputs, &[], &dims);
        match checked.and_then(|()| resolve_inputs(&inputs, Said { dims: &dims, batch_axes: &axes })) {
            Err(problem) => problem.to_string(),
            Ok((slots, tensors)) => {
                let tensors: Vec<_> = tensors.iter().map(ToString::to_string).collect();
                format!("{slots:?}: {}", tensors.join("; "))
            }
        }
    }

    #[test]
    fn the_batch_is_the_leading_dimension_of_each_input() {
        assert_eq!(check(&["n", "3"], None, &[]), "Any: a f32[batch, 3]");
        assert_eq!(check(&["", "3"], Some(&["n"]), &[]), "Any: a f32[batch, 3]; b f32[batch]");
        assert_eq!(check(&["4", "3"], Some(&["4"]), &[]), "Exactly(4): a f32[4, 3]; b f32[4]");
        assert_eq!(check(&["1", "3"], None, &[]), "One: a f32[1, 3]");
        assert_eq!(check(&["4", "3"], Some(&["3"]), &[]), "One: a f32[4, 3]; b f32[3]");
        assert_eq!(check(&[], None, &[]), "One: a f32[]");
    }

    #[test]
    fn sizes_come_from_dims() {
        assert_eq!(check(&["n", "seq"], None, &[("seq", 7)]), "Any: a f32[batch, 7]");
        assert_eq!(check(&["n", "1"], Some(&["2", "n"]), &[("n", 1)]), "One: a f32[1, 1]; b f32[2, 1]");
        assert!(check(&["n", "seq"], None, &[]).contains("add seq = SIZE"));
        // What the model gives no name has one here.
        let nameless = check(&["n", ""], None, &[]);
        assert!(nameless.contains("without a name at position 1 of the input `a`"), "{nameless}");
        assert!(nameless.contains("add \"a[1]\" = SIZE to the model's `dims`"), "{nameless}");
        assert!(nameless.contains("or a = 1 to its `batch_axes`"), "{nameless}");
        assert_eq!(check(&["n", ""], None, &[("a[1]", 5)]), "Any: a f32[batch, 5]");
        assert_eq!(check(&["", "3"], None, &[("a[0]", 2)]), "One: a f32[2, 3]");
        let unknown = check(&["", ""], None, &[("b[1]", 5)]);
        assert!(unknown.contains("no dynamic dimension `b[1]`") && unknown.contains("`a[0]`, `a[1]`"), "{unknown}");
        let unknown = check(&["n", "seq"], None, &[("sec", 7)]);
        assert!(unknown.contains("no dynamic dimension `sec`") && unknown.contains("it has `n`, `seq`"), "{unknown}");
    }

    #[test]
    fn the_batch_may_be_another_dimension_or_be_missing() {
        assert_eq!(check(&["n", "1"], Some(&["2", "n"]), &[]), "Any: a f32[batch, 1]; b f32[2, batch]");
        assert_eq!(check(&["2", "n"], Some(&["n", "1"]), &[]), "Any: a f32[2, batch]; b f32[batch, 1]");
        assert_eq!(check(&["4", "n", "3"], None, &[]), "Any: a f32[4, batch, 3]");
        assert_eq!(check(&["n", "1"], Some(&[]), &[]), "Any: a f32[batch, 1]; b f32[]");
        assert_eq!(check(&["n", "3"], Some(&["4", "3"]), &[]), "Any: a f32[batch, 3]; b f32[4, 3]");
        let said = check_with(&["n", "1"], Some(&["2", ""]), &[], &[("b", 1)]);
        assert_eq!(said, "Any: a f32[batch, 1]; b f32[2, batch]");
        let said = check_with(&["n", "m"], None, &[("n", 4)], &[("a", 1)]);
        assert_eq!(said, "Any: a f32[4, batch]");
        let fixed = check_with(&["n", "3"], None, &[], &[("a", 1)]);
        assert!(fixed.contains("can't have its rows in dimension 1 of the tensor `a`"), "{fixed}");
    }

    #[test]
    fn inputs_that_disagree_are_named() {
        let leading = check(&["n", "1"], Some(&["m", "1"]), &[]);
        assert!(leading.contains("`a` is `n`, the leading dimension of the input `b` is `m`"), "{leading}");
        let twice = check(&["n", "1"], Some(&["n", "n"]), &[]);
        assert!(twice.contains("the dimensions 0 and 1 of the input `b` both are it"), "{twice}");
    }

    #[test]
    fn a_row_lies_in_pieces_where_the_batch_is_not_the_first_dimension() {
        let state = TensorInfo { name: "s".into(), dtype: ElementType::F32, shape: vec![Some(2), None, Some(3)] };
        let (plans, bytes) = lay_out("input", vec![state], Slots::Any).unwrap();
        assert_eq!((bytes, plans[0].axis, plans[0].pieces), (24, Some(1), 2));
        let places: Vec<_> = plans[0].places(2).collect();
        assert_eq!(places, [(0, 0..12, 0..12), (1, 12..24, 0..12), (0, 24..36, 12..24), (1, 36..48, 12..24)]);
        let shared = TensorInfo { name: "s".into(), dtype: ElementType::I64, shape: vec![Some(3)] };
        let (plans, _) = lay_out("input", vec![shared], Slots::Any).unwrap();
        assert_eq!(plans[0].places(8).collect::<Vec<_>>(), [(0, 0..24, 0..24)]);
    }

    #[test]
    fn parts_lie_side_by_side_and_have_a_limit() {
        let tensor = |dtype, shape: &[Option<u32>]| TensorInfo { name: "t".into(), dtype, shape: shape.into() };
        let two = vec![tensor(ElementType::I64, &[None, Some(3)]), tensor(ElementType::Bool, &[None])];
        let (plans, bytes) = lay_out("input", two, Slots::Any).unwrap();
        assert_eq!((plans[0].part.clone(), plans[1].part.clone(), bytes), (0..24, 24..25, 25));
        assert_eq!(plans[0].shape(8), [8, 3]);
        let (plans, bytes) =
            lay_out("input", vec![tensor(ElementType::F32, &[Some(4), Some(3)])], Slots::Exactly(4)).unwrap();
        assert_eq!((plans[0].part.clone(), bytes), (0..12, 12));
        let huge = vec![tensor(ElementType::F32, &[None, Some(u32::MAX), Some(u32::MAX), Some(u32::MAX)])];
        assert!(matches!(lay_out("input", huge, Slots::Any), Err(ModelProblem::RowTooLarge { .. })));
    }
}
