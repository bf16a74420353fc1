//! What a node does with rows: the rules that [`super::table`] names. Called by [`super::classify`] for each node.
//!
//! A rule either says what comes out and which form the node needs, or why nothing is known, and then rows are run alone. Whatever a rule
//! doesn't understand is such a reason: a rule never guesses.

mod elements;
mod fold;
mod moves;
mod order;
mod products;
mod sizes;
mod sums;

use super::model::{Node, dtype};
use super::orders::Orders;
use super::pad::Padding;
use super::table::{Class, Entry, Rule};
use super::value::{Origin, Size, Value};

/// A node, and what is known of its inputs.
pub(super) struct Call<'c, 'g> {
    pub node: &'c Node<'g>,
    /// `None` is an optional input that isn't given.
    pub inputs: Vec<Option<Value>>,
    /// Version of the operator set.
    pub opset: i64,
    /// Where the node may be rewritten: its number in the model's main graph.
    pub number: Option<usize>,
}

/// What a node needs so that rows don't depend on each other.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Needs {
    Nothing,
    /// Runs of a multiple of so many rows, for this reason.
    Rows(u32, String),
    /// Its rows must be padded inside the graph, for this reason.
    Padding(Padding, String),
    /// Both.
    PaddingAndRows(Padding, String, u32, String),
}

/// What comes out of a node.
pub(super) struct Found {
    pub outputs: Vec<Value>,
    pub needs: Needs,
}

/// Why rows have to be run alone.
pub(super) type Why = String;

pub(super) const COUPLED: &str = "it computes over the batch";
const UNKNOWN_SHAPE: &str = "its shapes aren't known before it runs";
const UNTESTED_TYPE: &str = "it wasn't tested with elements of this type";
const UNTESTED_USE: &str = "it wasn't tested in this use";
pub(super) const COUNTS: &str = "it computes with the number of rows in the run";
const LOST: &str = "it can't be told which of its dimensions holds the rows";

impl Call<'_, '_> {
    /// A required input.
    fn input(&self, at: usize) -> Result<&Value, Why> {
        self.optional(at).ok_or_else(|| "it lacks an input".into())
    }

    fn optional(&self, at: usize) -> Option<&Value> {
        self.inputs.get(at)?.as_ref()
    }

    /// The shape of a required input.
    fn shape(&self, at: usize) -> Result<&[Size], Why> {
        self.input(at)?.shape.as_deref().ok_or_else(|| UNKNOWN_SHAPE.into())
    }

    /// Where rows are in a required input; `None` where it has none.
    fn axis(&self, at: usize) -> Result<Option<usize>, Why> {
        self.shape(at)?;
        Ok(self.input(at)?.axis())
    }

    /// The integers of an input that is a constant.
    fn integers(&self, at: usize) -> Option<Vec<i64>> {
        self.optional(at)?.known_integers()
    }

    /// Axes that were an attribute once and are an input now; `None` if there are none.
    fn axes(&self, at: usize) -> Result<Option<Vec<i64>>, Why> {
        if let Some(attribute) = self.node.attribute("axes") {
            let kept = !attribute.integers_cut && !attribute.by_reference;
            return if kept { Ok(Some(attribute.integers.clone())) } else { Err(UNKNOWN_SHAPE.into()) };
        }
        match self.optional(at) {
            None => Ok(None),
            Some(_) => self.integers(at).map(Some).ok_or_else(|| UNKNOWN_SHAPE.into()),
        }
    }

    fn is_batched(&self, at: usize) -> bool {
        self.optional(at).is_some_and(Value::is_batched)
    }

    fn any_batched(&self) -> bool {
        self.inputs.iter().flatten().any(Value::is_batched)
    }

    /// All inputs but the first are the same for all rows.
    fn only_first_batched(&self) -> Result<(), Why> {
        if (1..self.inputs.len()).any(|at| self.is_batched(at)) { Err(UNTESTED_USE.into()) } else { Ok(()) }
    }

    fn origin(&self) -> Origin {
        self.inputs.iter().flatten().map(|value| value.origin).max().unwrap_or(Origin::Constant)
    }

    /// A result of all inputs.
    fn result(&self, of: i64, shape: Option<Vec<Size>>) -> Value {
        let prepared = self.inputs.iter().flatten().all(|value| value.prepared);
        Value { prepared, ..Value::new(of, shape, self.origin()) }
    }

    /// One output like the first input, of another shape.
    fn like_first(&self, shape: Vec<Size>) -> Result<Value, Why> {
        super::value::one_batch(&shape)?;
        Ok(self.result(self.input(0)?.dtype, Some(shape)))
    }
}

impl Found {
    fn one(value: Value) -> Self {
        Self { outputs: vec![value], needs: Needs::Nothing }
    }

    fn needing(value: Value, class: Class) -> Result<Self, Why> {
        let needs = if value.is_batched() { needs(class, &value)? } else { Needs::Nothing };
        Ok(Self { outputs: vec![value], needs })
    }
}

/// What a class means for a tensor.
fn needs(class: Class, of: &Value) -> Result<Needs, Why> {
    /// Every vector loop then goes a whole number of times.
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

/// The input whose type of elements the table speaks of.
const fn typed_by(rule: Rule) -> usize {
    match rule {
        Rule::Select => 1,
        Rule::OneHot => 2,
        _ => 0,
    }
}

/// Whether the number of rows may come in through this input: it sizes the result.
const fn takes_count(rule: Rule, at: usize) -> bool {
    matches!((rule, at), (Rule::Reshape | Rule::Expand, 1) | (Rule::ConstantOfShape, 0) | (Rule::Resize, 3))
}

/// Applies an operator's rule.
pub(super) fn apply(call: &Call<'_, '_>, entry: &Entry) -> Result<Found, Why> {
    let mut class = Class::Any;
    if call.any_batched() {
        let counted = |(at, input): (usize, &Option<Value>)| {
            input.as_ref().is_some_and(|value| value.origin == Origin::Count) && !takes_count(entry.rule, at)
        };
        if call.inputs.iter().enumerate().any(counted) {
            return Err(COUNTS.into());
        }
        class = entry.class(call.input(typed_by(entry.rule))?.dtype);
        if class == Class::Untested {
            return Err(UNTESTED_TYPE.into());
        }
    }
    let found = dispatch(call, entry.rule, class).map(|mut found| {
        order::carry(call, entry.rule, &mut found.outputs);
        found
    });
    match found {
        // What all rows share is computed alike in each run, though nothing more is known about it.
        Err(_) if !call.any_batched() => {
            let unknown = Value { orders: Orders::UNKNOWN, ..Value::new(0, None, call.origin()) };
            let unknown = if unknown.is_lost() { Value::lost() } else { unknown };
            Ok(Found { outputs: vec![unknown; call.node.outputs.len()], needs: Needs::Nothing })
        }
        found => found,
    }
}

fn dispatch(call: &Call<'_, '_>, rule: Rule, class: Class) -> Result<Found, Why> {
    match rule {
        Rule::Elementwise => elements::elementwise(call, class),
        Rule::Extremes => elements::extremes(call, class),
        Rule::Compare => elements::compare(call, class),
        Rule::Cast => elements::cast(call),
        Rule::Clip => elements::clip(call, class),
        Rule::Select => elements::select(call, class),
        Rule::Quantize => elements::quantize(call),
        Rule::Dequantize => elements::dequantize(call),
        Rule::Reduce(middle) => sums::reduce(call, class, middle),
        Rule::ArgReduce => sums::arg_reduce(call),
        Rule::Softmax => sums::softmax(call, class),
        Rule::LayerNorm => sums::layer_norm(call, class),
        Rule::ChannelNorm => sums::channel_norm(call, class),
        Rule::InstanceNorm => sums::instance_norm(call, class),
        Rule::KeepImage => sums::keep_image(call, class),
        Rule::LpNorm => sums::lp_norm(call, class),
        Rule::CumSum => sums::cum_sum(call),
        Rule::TopK => sums::top_k(call),
        Rule::MatMul => products::mat_mul(call, class),
        Rule::MatMulInteger => products::mat_mul_integer(call),
        Rule::Gemm => products::gemm(call, class),
        Rule::Conv => products::conv(call, class),
        Rule::ConvTranspose => products::conv_transpose(call, class),
        Rule::Pool => products::pool(call, class),
        Rule::GlobalPool => products::global_pool(call, class),
        Rule::Recurrent => products::recurrent(call, class),
        Rule::Attention => products::attention(call, class),
        Rule::Einsum => products::einsum(call, class),
        Rule::Constant => sizes::constant(call),
        Rule::ConstantOfShape => sizes::constant_of_shape(call),
        Rule::Shape => sizes::shape(call),
        Rule::Size => sizes::size(call),
        Rule::Range => sizes::range(call),
        Rule::Identity => moves::identity(call),
        Rule::Dropout => moves::dropout(call),
        Rule::Transpose => moves::transpose(call),
        Rule::Reshape => moves::reshape(call),
        Rule::Flatten => moves::flatten(call),
        Rule::Squeeze => moves::squeeze(call),
        Rule::Unsqueeze => moves::unsqueeze(call),
        Rule::Concat => moves::concat(call),
        Rule::Split => moves::split(call),
        Rule::Slice => moves::slice(call),
        Rule::Gather => moves::gather(call),
        Rule::GatherElements => moves::gather_elements(call),
        Rule::Pad => moves::pad(call),
        Rule::Tile => moves::tile(call),
        Rule::Expand => moves::expand(call),
        Rule::OneHot => moves::one_hot(call),
        Rule::Resize => moves::resize(call),
        Rule::Coupled => Err(COUPLED.into()),
        // Branches are followed where the graph is walked.
        Rule::If => Err(UNTESTED_USE.into()),
    }
}

/// Elements are of this type unless the first input says another.
fn or_type(value: &Value, default: i64) -> i64 {
    if value.dtype == 0 { default } else { value.dtype }
}

const BOOL: i64 = dtype::BOOL;
