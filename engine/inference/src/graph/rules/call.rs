//! Input and output of a rule, for [`super`] and the rules.

use super::super::model::{Node, dtype};
use super::super::pad::Padding;
use super::super::table::Class;
use super::super::value::{Origin, Size, Value, one_batch};

/// A node, and what is known about its inputs.
pub(in super::super) struct Call<'c, 'g> {
    pub node: &'c Node<'g>,
    /// Values of the inputs; `None` for an optional input that isn't given.
    pub inputs: Vec<Option<Value>>,
    /// Version of the operator set.
    pub opset: i64,
    /// Index of the node in the model's main graph, if it may be rewritten.
    pub number: Option<usize>,
}

/// Needs of a node, without which rows would depend on each other.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) enum Needs {
    Nothing,
    /// Runs whose number of rows is a multiple of this one, for this reason.
    Rows(u32, String),
    /// Its rows must be padded inside the graph, for this reason.
    Padding(Padding, String),
    /// Both.
    PaddingAndRows(Padding, String, u32, String),
}

/// Outputs of a node, and what it needs.
pub(in super::super) struct Found {
    pub outputs: Vec<Value>,
    pub needs: Needs,
}

/// Why rows have to be run alone.
pub(in super::super) type Why = String;

pub(in super::super) const COUPLED: &str = "it computes over the batch";
pub(super) const UNKNOWN_SHAPE: &str = "its shapes aren't known before it runs";
pub(super) const UNTESTED_TYPE: &str = "it wasn't tested with elements of this type";
pub(super) const UNTESTED_USE: &str = "it wasn't tested in this use";
pub(in super::super) const COUNTS: &str = "it computes with the number of rows in the run";
pub(super) const LOST: &str = "it can't be told which of its dimensions holds the rows";

impl Call<'_, '_> {
    /// Returns a required input.
    pub(super) fn input(&self, at: usize) -> Result<&Value, Why> {
        self.optional(at).ok_or_else(|| "it lacks an input".into())
    }

    pub(super) fn optional(&self, at: usize) -> Option<&Value> {
        self.inputs.get(at)?.as_ref()
    }

    /// Returns the shape of a required input.
    pub(super) fn shape(&self, at: usize) -> Result<&[Size], Why> {
        self.input(at)?.shape.as_deref().ok_or_else(|| UNKNOWN_SHAPE.into())
    }

    /// Returns the dimension of the rows in a required input; `None` if it has none.
    pub(super) fn axis(&self, at: usize) -> Result<Option<usize>, Why> {
        self.shape(at)?;
        Ok(self.input(at)?.axis())
    }

    /// Returns the integers of an input that is a constant.
    pub(super) fn integers(&self, at: usize) -> Option<Vec<i64>> {
        self.optional(at)?.known_integers()
    }

    /// Returns axes, which are an attribute in old versions and an input in new ones; `None` if there are none.
    pub(super) fn axes(&self, at: usize) -> Result<Option<Vec<i64>>, Why> {
        if let Some(attribute) = self.node.attribute("axes") {
            let kept = !attribute.integers_cut && !attribute.by_reference;
            return if kept { Ok(Some(attribute.integers.clone())) } else { Err(UNKNOWN_SHAPE.into()) };
        }
        match self.optional(at) {
            None => Ok(None),
            Some(_) => self.integers(at).map(Some).ok_or_else(|| UNKNOWN_SHAPE.into()),
        }
    }

    pub(super) fn is_batched(&self, at: usize) -> bool {
        self.optional(at).is_some_and(Value::is_batched)
    }

    pub(super) fn any_batched(&self) -> bool {
        self.inputs.iter().flatten().any(Value::is_batched)
    }

    /// Checks that all inputs but the first are the same for all rows.
    pub(super) fn only_first_batched(&self) -> Result<(), Why> {
        if (1..self.inputs.len()).any(|at| self.is_batched(at)) { Err(UNTESTED_USE.into()) } else { Ok(()) }
    }

    pub(super) fn origin(&self) -> Origin {
        self.inputs.iter().flatten().map(|value| value.origin).max().unwrap_or(Origin::Constant)
    }

    /// Returns a value that comes from all inputs.
    pub(super) fn result(&self, of: i64, shape: Option<Vec<Size>>) -> Value {
        let prepared = self.inputs.iter().flatten().all(|value| value.prepared);
        Value { prepared, ..Value::new(of, shape, self.origin()) }
    }

    /// Returns one output like the first input, with another shape.
    pub(super) fn like_first(&self, shape: Vec<Size>) -> Result<Value, Why> {
        one_batch(&shape)?;
        Ok(self.result(self.input(0)?.dtype, Some(shape)))
    }
}

impl Found {
    pub(super) fn one(value: Value) -> Self {
        Self { outputs: vec![value], needs: Needs::Nothing }
    }

    pub(super) fn needing(value: Value, class: Class) -> Result<Self, Why> {
        let needs = if value.is_batched() { needs(class, &value)? } else { Needs::Nothing };
        Ok(Self { outputs: vec![value], needs })
    }
}

/// Returns what a class means for a tensor.
pub(super) fn needs(class: Class, of: &Value) -> Result<Needs, Why> {
    /// Then every vector loop has a whole number of rounds.
    const ROWS: u32 = 16;
    let run = of.run_of_row();
    let elements = || run.map_or("an unknown number of".into(), |run| run.to_string());
    match class {
        Class::Any => Ok(Needs::Nothing),
        Class::Tail if run.is_some_and(|run| run % 4 == 0) => Ok(Needs::Nothing),
        Class::Tail => Ok(Needs::Rows(
            ROWS,
            format!("the last elements of a tensor are computed otherwise, and a row has {} elements", elements()),
        )),
        Class::Pairs if run.is_some_and(|run| run % 2 == 0) => Ok(Needs::Nothing),
        Class::Pairs => Err(format!("it computes pairs of elements, and a row has {} elements", elements())),
        Class::Block => Ok(Needs::Rows(ROWS, "a run of one row is computed otherwise than others".into())),
        Class::Width => Err(format!("its result depends on where a row of {} elements begins", elements())),
        Class::Untested => Err(UNTESTED_TYPE.into()),
    }
}

/// Sets the type of elements, unless the first input has one.
pub(super) fn or_type(value: &Value, default: i64) -> i64 {
    if value.dtype == 0 { default } else { value.dtype }
}

pub(super) const BOOL: i64 = dtype::BOOL;
