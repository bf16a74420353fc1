//! How a model's tensors become rows: which dimension is the batch, and which bytes of a row belong to which tensor.
//! Called by [`super::session`] when a model is loaded. Pure: what the model declares comes in as data.
//!
//! The batch is the leading dimension of every input: dynamic, or a fixed number of slots. A model without one is run a row at
//! a time, and a row is all of its inputs. Any other dynamic dimension must have its size in the scenario's `dims`.

use std::fmt;
use std::ops::Range;

use wasm_engine_components::limits::PAYLOAD_BYTES_MAX;
use wasm_engine_components::text::shown;

use super::error::ModelProblem;
use super::tensor::ElementType;

/// An input or output of a model, as agents see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its name in the model.
    pub name: String,
    /// Type of its elements.
    pub dtype: ElementType,
    /// Its dimensions as the model has them; `None` is a dynamic batch.
    pub shape: Vec<Option<u32>>,
}

impl fmt::Display for TensorInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sizes = self.shape.iter().map(|size| size.map_or("batch".into(), |size| size.to_string()));
        write!(f, "{} {}[{}]", shown(&self.name), self.dtype, sizes.collect::<Vec<_>>().join(", "))
    }
}

/// What the inputs say about the batch.
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
    /// The rows that a tensor has whose leading dimension is `leading`.
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

/// A tensor and its part of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TensorPlan {
    pub info: TensorInfo,
    /// Bytes of the row.
    pub part: Range<usize>,
}

impl TensorPlan {
    /// The shape for so many rows. `rows` counts only where the batch is dynamic.
    pub(crate) fn shape(&self, rows: u32) -> Vec<i64> {
        self.info.shape.iter().map(|size| i64::from(size.unwrap_or(rows))).collect()
    }
}

/// Lays tensors side by side in a row, and checks that a message can carry it.
pub(crate) fn lay_out(
    role: &'static str,
    tensors: Vec<TensorInfo>,
    slots: Slots,
) -> Result<(Vec<TensorPlan>, u32), ModelProblem> {
    let too_large = |bytes: u64| ModelProblem::RowTooLarge { role, bytes, bytes_max: PAYLOAD_BYTES_MAX.into() };
    let mut end: u64 = 0;
    let mut plans = Vec::with_capacity(tensors.len());
    for info in tensors {
        let sizes = info.shape.iter().map(|size| u64::from(size.unwrap_or(1)));
        let elements = sizes.fold(1_u64, u64::saturating_mul) / u64::from(slots.rows());
        let start = end;
        end = end.saturating_add(elements.saturating_mul(info.dtype.bytes().into()));
        if end > u64::from(PAYLOAD_BYTES_MAX) {
            return Err(too_large(end));
        }
        let place = |at: u64| usize::try_from(at).map_err(|_| too_large(end));
        plans.push(TensorPlan { part: place(start)?..place(end)?, info });
    }
    Ok((plans, u32::try_from(end).map_err(|_| too_large(end))?))
}

/// Finds the batch of a model's inputs, and gives each dynamic dimension its size.
pub(crate) fn resolve_inputs(
    inputs: &[Declared],
    dims: &[(String, u32)],
) -> Result<(Slots, Vec<TensorInfo>), ModelProblem> {
    check_names(inputs, dims)?;
    let size = |name: &String| dims.iter().find(|(named, _)| named == name).map(|&(_, size)| size);
    let is_batch = |dimension: Option<&Dimension>| match dimension {
        // What has a size in `dims` is said not to be the batch.
        Some(Dimension::Named(name)) => size(name).is_none(),
        Some(Dimension::Nameless) => true,
        Some(Dimension::Fixed(_)) | None => false,
    };
    let slots = if inputs.iter().any(|input| is_batch(input.dimensions.first())) {
        check_same_leading(inputs, is_batch)?;
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
    let tensors = inputs.iter().map(|input| {
        let sizes = input.dimensions.iter().enumerate().map(|(position, dimension)| match dimension {
            _ if position == 0 && slots == Slots::Any => Ok(None),
            Dimension::Fixed(fixed) => Ok(Some(*fixed)),
            Dimension::Nameless => Err(ModelProblem::NamelessDimension { position, tensor: input.name.clone() }),
            Dimension::Named(name) => size(name).map(Some).ok_or_else(|| ModelProblem::MissingDimension {
                dimension: name.clone(),
                position,
                tensor: input.name.clone(),
            }),
        });
        Ok(TensorInfo { name: input.name.clone(), dtype: input.dtype, shape: sizes.collect::<Result<_, _>>()? })
    });
    Ok((slots, tensors.collect::<Result<_, _>>()?))
}

/// Each name in `dims` must be one of the inputs' dimensions: a typing mistake isn't passed over.
fn check_names(inputs: &[Declared], dims: &[(String, u32)]) -> Result<(), ModelProblem> {
    let mut known: Vec<String> = Vec::new();
    for dimension in inputs.iter().flat_map(|input| &input.dimensions) {
        if let Dimension::Named(name) = dimension
            && !known.contains(name)
        {
            known.push(name.clone());
        }
    }
    match dims.iter().find(|(name, _)| !known.contains(name)) {
        Some((name, _)) => Err(ModelProblem::UnknownDimension { dimension: name.clone(), known }),
        None => Ok(()),
    }
}

/// Where one input has a dynamic leading dimension, all must have the same.
fn check_same_leading(inputs: &[Declared], is_batch: impl Fn(Option<&Dimension>) -> bool) -> Result<(), ModelProblem> {
    let describe = |input: &Declared| {
        let leading = match input.dimensions.first() {
            None => "missing: it is a scalar".into(),
            Some(Dimension::Fixed(size)) => size.to_string(),
            Some(Dimension::Named(name)) => format!("`{}`", shown(name)),
            Some(Dimension::Nameless) => "dynamic".into(),
        };
        format!("the leading dimension of the input `{}` is {leading}", shown(&input.name))
    };
    // Exporters give one dimension one name; a dimension without a name may be any.
    let name = |input: &Declared| match input.dimensions.first() {
        Some(Dimension::Named(name)) => Some(name.clone()),
        _ => None,
    };
    let mut batches = inputs.iter().filter(|input| is_batch(input.dimensions.first()));
    let Some(batch) = batches.clone().find(|input| name(input).is_some()).or_else(|| batches.next()) else {
        return Ok(());
    };
    let differs = |input: &&Declared| {
        !is_batch(input.dimensions.first()) || (name(input).is_some() && name(input) != name(batch))
    };
    match inputs.iter().find(differs) {
        None => Ok(()),
        Some(other) => Err(ModelProblem::NoBatch { detail: format!("{}, {}", describe(batch), describe(other)) }),
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

    /// What comes out for inputs `a` and `b` and sizes, as text.
    fn check(a: &[&str], b: Option<&[&str]>, dims: &[(&str, u32)]) -> String {
        let inputs: Vec<_> = std::iter::once(input("a", a)).chain(b.map(|b| input("b", b))).collect();
        let dims: Vec<_> = dims.iter().map(|&(name, size)| (name.to_string(), size)).collect();
        match resolve_inputs(&inputs, &dims) {
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
        assert!(check(&["n", ""], None, &[]).contains("without a name at position 1 of the input `a`"));
        let unknown = check(&["n", "seq"], None, &[("sec", 7)]);
        assert!(unknown.contains("no dynamic dimension `sec`") && unknown.contains("it has `n`, `seq`"), "{unknown}");
    }

    #[test]
    fn inputs_that_disagree_are_named() {
        for (a, b, said) in [
            (
                &["n", "1"],
                &["2", "n"][..],
                "the leading dimension of the input `a` is `n`, the leading dimension of the input `b` is 2",
            ),
            (
                &["2", "n"],
                &["n", "1"],
                "the leading dimension of the input `b` is `n`, the leading dimension of the input `a` is 2",
            ),
            (&["n", "1"], &["m", "1"], "`a` is `n`, the leading dimension of the input `b` is `m`"),
            (&["n", "1"], &[], "of the input `b` is missing: it is a scalar"),
        ] {
            let found = check(a, Some(b), &[]);
            assert!(found.contains(said), "{found}");
        }
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
