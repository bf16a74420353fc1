//! The table of classes: for each operator, how its results depend on who shares a run, and how it moves rows. It is data: the rules it
//! names are in [`super::rules`].
//!
//! It says what was **tested**, not what was proved: with ONNX Runtime 1.31.1 on x86-64 CPUs, one thread, buffers aligned to 64 bytes,
//! on some 2,600 generated models with hostile neighbours (`engine/tests/zoo`, run by `.ci/parts/zoo`).
//! An operator, or a type of its elements, that isn't here runs each row alone.

use super::model::dtype;

/// Class of an operator: how its result for a row depends on the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Not at all: it is what a run of that row alone gives.
    Any,
    /// Vector loops compute the last elements of a tensor otherwise. In runs of a multiple of 16 rows there are none; nor where the
    /// elements of a row are a multiple of 4.
    Tail,
    /// The same for pairs of elements, but where a row's elements are odd in number no form helps.
    Pairs,
    /// The sum over a row depends on where the row begins, unless its elements are a multiple of 4.
    Width,
    /// A run of one row is computed otherwise than others, or the last rows are. In runs of a multiple of 16 rows there are neither.
    Block,
    /// It wasn't tested.
    Untested,
}

/// Rule of an operator: how it treats the dimension that holds the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// Each element by itself, inputs are broadcast.
    Elementwise,
    /// The same, but only where no input is repeated along others in odd pieces.
    Extremes,
    /// Each element by itself, with a result of `bool`.
    Compare,
    Cast,
    Clip,
    Select,
    /// A reduction: the class is for the last dimensions, the other one for a dimension in the middle.
    Reduce(Class),
    ArgReduce,
    Softmax,
    LayerNorm,
    ChannelNorm,
    InstanceNorm,
    /// The first input's shape stays, and the first dimension holds the rows.
    KeepImage,
    LpNorm,
    MatMul,
    Gemm,
    Conv,
    ConvTranspose,
    Pool,
    GlobalPool,
    Recurrent,
    Attention,
    Einsum,
    Quantize,
    Dequantize,
    MatMulInteger,
    Constant,
    ConstantOfShape,
    Shape,
    Size,
    Range,
    Identity,
    Dropout,
    Transpose,
    Reshape,
    Flatten,
    Squeeze,
    Unsqueeze,
    Concat,
    Split,
    Slice,
    Gather,
    GatherElements,
    Pad,
    Tile,
    Expand,
    OneHot,
    CumSum,
    TopK,
    Resize,
    If,
    /// It computes over all rows of a run.
    Coupled,
}

/// Entry of an operator: its rule, and the classes that were tested for each type.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub rule: Rule,
    pub f32: Class,
    pub f64: Class,
    /// For f16, which ONNX Runtime computes as f32 where it has nothing else.
    pub f16: Class,
    /// For integers and booleans.
    pub integers: Class,
}

impl Entry {
    /// Returns the class for a type of elements.
    pub(super) const fn class(&self, of: i64) -> Class {
        match of {
            dtype::F32 => self.f32,
            dtype::F64 => self.f64,
            dtype::F16 => self.f16,
            dtype::U8 | dtype::I8 | dtype::I32 | dtype::I64 | dtype::BOOL => self.integers,
            _ => Class::Untested,
        }
    }
}

use Class::{Any, Block, Pairs, Tail, Untested, Width};

/// A line of the table.
type Line = (Rule, [Class; 4], &'static [&'static str]);

/// Rule; classes for f32, f64, f16, integers; operators of the standard domain.
const TABLE: &[Line] = &[
    // Elements.
    (Rule::Elementwise, [Any, Any, Untested, Any], &["Abs", "Add", "Neg", "Sub"]),
    (Rule::Elementwise, [Any, Any, Any, Any], &["Mul"]),
    (Rule::Elementwise, [Any, Any, Untested, Any], &["Div"]),
    (Rule::Elementwise, [Any, Any, Untested, Untested], &["Floor", "Reciprocal", "Sqrt"]),
    (Rule::Elementwise, [Any, Any, Untested, Untested], &["Pow"]),
    (
        Rule::Elementwise,
        [Any, Untested, Untested, Untested],
        &[
            "Acosh",
            "Asinh",
            "Atanh",
            "Ceil",
            "Cosh",
            "Erf",
            "Gelu",
            "HardSigmoid",
            "HardSwish",
            "LeakyRelu",
            "PRelu",
            "Round",
            "Sinh",
            "Softsign",
            "Sum",
            "Tan",
            "ThresholdedRelu",
        ],
    ),
    (Rule::Elementwise, [Any, Tail, Any, Untested], &["Sigmoid"]),
    (Rule::Elementwise, [Any, Tail, Untested, Untested], &["Exp", "Tanh"]),
    (Rule::Elementwise, [Any, Untested, Untested, Any], &["Mod", "Relu", "Sign"]),
    (Rule::Elementwise, [Tail, Pairs, Untested, Untested], &["Cos", "Sin"]),
    (Rule::Elementwise, [Tail, Tail, Untested, Untested], &["Log"]),
    (
        Rule::Elementwise,
        [Tail, Untested, Untested, Untested],
        &["Acos", "Asin", "Atan", "Celu", "Elu", "Mish", "Selu", "Softplus"],
    ),
    // Which of two zeros or two NaNs comes out differs in the last elements.
    (Rule::Extremes, [Tail, Untested, Untested, Any], &["Max", "Min"]),
    (Rule::Elementwise, [Untested, Untested, Untested, Any], &["And", "Not", "Or", "Xor"]),
    (Rule::Compare, [Any, Any, Untested, Any], &["Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"]),
    (Rule::Compare, [Any, Any, Untested, Untested], &["IsInf", "IsNaN"]),
    (Rule::Cast, [Any, Any, Any, Any], &["Cast"]),
    (Rule::Clip, [Tail, Untested, Untested, Any], &["Clip"]),
    (Rule::Select, [Any, Any, Untested, Any], &["Where"]),
    // Sums and norms.
    (Rule::Reduce(Block), [Width, Untested, Untested, Any], &["ReduceMean", "ReduceSum"]),
    // Over a dimension in the middle, which of two NaNs or zeros comes out depends on the run in any form.
    (Rule::Reduce(Untested), [Width, Untested, Untested, Any], &["ReduceMax", "ReduceMin"]),
    (Rule::Reduce(Any), [Any, Untested, Untested, Untested], &["ReduceLogSumExp"]),
    (
        Rule::Reduce(Untested),
        [Any, Untested, Untested, Untested],
        &["ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceProd", "ReduceSumSquare"],
    ),
    (Rule::ArgReduce, [Any, Untested, Untested, Any], &["ArgMax", "ArgMin"]),
    // Of f64, rows of odd widths depend on where they begin.
    (Rule::Softmax, [Any, Untested, Untested, Untested], &["LogSoftmax", "Softmax"]),
    (Rule::LayerNorm, [Any, Any, Untested, Untested], &["LayerNormalization"]),
    (Rule::LayerNorm, [Any, Untested, Untested, Untested], &["RMSNormalization"]),
    (Rule::ChannelNorm, [Any, Untested, Untested, Untested], &["BatchNormalization", "GroupNormalization"]),
    (Rule::InstanceNorm, [Width, Untested, Untested, Untested], &["InstanceNormalization"]),
    (Rule::KeepImage, [Tail, Untested, Untested, Untested], &["LRN"]),
    (Rule::LpNorm, [Any, Untested, Untested, Untested], &["LpNormalization"]),
    // Products.
    (Rule::MatMul, [Any, Any, Any, Any], &["MatMul"]),
    (Rule::Gemm, [Any, Untested, Untested, Untested], &["Gemm"]),
    (Rule::Einsum, [Block, Untested, Untested, Untested], &["Einsum"]),
    (Rule::MatMulInteger, [Untested, Untested, Untested, Any], &["MatMulInteger"]),
    (Rule::Conv, [Any, Untested, Untested, Untested], &["Conv"]),
    (Rule::ConvTranspose, [Any, Untested, Untested, Untested], &["ConvTranspose"]),
    (Rule::Pool, [Any, Untested, Untested, Untested], &["AveragePool", "MaxPool"]),
    (Rule::GlobalPool, [Any, Untested, Untested, Untested], &["GlobalAveragePool", "GlobalMaxPool"]),
    (Rule::Recurrent, [Any, Untested, Untested, Untested], &["GRU", "LSTM"]),
    (Rule::Recurrent, [Block, Untested, Untested, Untested], &["RNN"]),
    (Rule::Attention, [Any, Untested, Untested, Untested], &["Attention"]),
    (Rule::Quantize, [Any, Untested, Untested, Untested], &["QuantizeLinear"]),
    (Rule::Dequantize, [Untested, Untested, Untested, Any], &["DequantizeLinear"]),
    // What moves elements, and computes none.
    (Rule::Constant, [Any, Any, Any, Any], &["Constant"]),
    (Rule::ConstantOfShape, [Any, Any, Any, Any], &["ConstantOfShape"]),
    (Rule::Shape, [Any, Any, Any, Any], &["Shape"]),
    (Rule::Size, [Any, Any, Any, Any], &["Size"]),
    (Rule::Range, [Any, Any, Untested, Any], &["Range"]),
    (Rule::Identity, [Any, Any, Any, Any], &["Identity"]),
    (Rule::Dropout, [Any, Any, Untested, Untested], &["Dropout"]),
    (Rule::Transpose, [Any, Any, Any, Any], &["Transpose"]),
    (Rule::Reshape, [Any, Any, Any, Any], &["Reshape"]),
    (Rule::Flatten, [Any, Any, Any, Any], &["Flatten"]),
    (Rule::Squeeze, [Any, Any, Any, Any], &["Squeeze"]),
    (Rule::Unsqueeze, [Any, Any, Any, Any], &["Unsqueeze"]),
    (Rule::Concat, [Any, Any, Any, Any], &["Concat"]),
    (Rule::Split, [Any, Any, Any, Any], &["Split"]),
    (Rule::Slice, [Any, Any, Any, Any], &["Slice"]),
    (Rule::Gather, [Any, Any, Any, Any], &["Gather"]),
    (Rule::GatherElements, [Any, Any, Any, Any], &["GatherElements"]),
    (Rule::Pad, [Any, Any, Untested, Any], &["Pad"]),
    (Rule::Tile, [Any, Any, Untested, Any], &["Tile"]),
    (Rule::Expand, [Any, Any, Untested, Any], &["Expand"]),
    (Rule::OneHot, [Any, Untested, Untested, Any], &["OneHot"]),
    (Rule::CumSum, [Any, Untested, Untested, Any], &["CumSum"]),
    (Rule::TopK, [Any, Untested, Untested, Any], &["TopK"]),
    (Rule::Resize, [Any, Untested, Untested, Untested], &["Resize"]),
    (Rule::If, [Any, Any, Any, Any], &["If"]),
    (Rule::Coupled, [Any, Any, Any, Any], &["DynamicQuantizeLinear"]),
];

/// Returns what was tested of an operator of the standard domain.
pub(super) fn entry(operator: &str) -> Option<Entry> {
    let line = TABLE.iter().find(|(_, _, operators)| operators.contains(&operator))?;
    let &(rule, [f32, f64, f16, integers], _) = line;
    Some(Entry { rule, f32, f64, f16, integers })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operator_is_in_one_line() {
        let mut all: Vec<_> = TABLE.iter().flat_map(|(_, _, operators)| *operators).collect();
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count);
    }

    #[test]
    fn a_type_that_was_not_tested_is_not_known() {
        let sin = entry("Sin").unwrap();
        assert_eq!((sin.class(dtype::F32), sin.class(dtype::F64)), (Tail, Pairs));
        assert_eq!((sin.class(dtype::F16), sin.class(0), sin.class(16)), (Untested, Untested, Untested));
        assert!(entry("NonMaxSuppression").is_none());
    }
}
