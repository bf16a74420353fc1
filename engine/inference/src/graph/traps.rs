//! Whole numbers that are divided by numbers that may be -1. The least number divided by -1 has no result, and ends the process: ONNX
//! Runtime doesn't look. So does a division by 0 in older versions of it, which don't look for that either. Called by
//! [`super::ModelGraph`]; such a model is refused.
//!
//! All graphs and functions are gone through, also those that the walk for classes doesn't enter. It is enough to know the types of
//! elements, and which numbers are sizes or constants.

use std::collections::{BTreeMap, BTreeSet};

use super::model::{Function, Graph, Node, OnnxModel, Tensor, dtype};
use super::table;

/// Most nodes that are looked at, those of functions once for each call.
const LOOKS_MAX: usize = 1 << 20;
/// Deepest calls of functions.
const CALLS_MAX: usize = 32;
/// Most passes over a graph whose nodes are in no order.
const PASSES_MAX: usize = 4;

/// A node that divides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DividingNode {
    pub operator: String,
    /// The node's name, or where it has none, that of its first output.
    pub node: String,
    /// Whether it is 0 by which it may divide, and not -1.
    pub by_zero: bool,
}

/// Facts about a tensor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Kind {
    /// ONNX's number of the element type; 0 if it isn't known.
    dtype: i64,
    /// The greatest that any element may be, where none is negative: of sizes, positions, constants, and what is computed from them.
    most: Option<i64>,
    /// Whether no element is -1.
    divides: bool,
    /// Whether no element is 0. It is known of constants alone: sizes may be 0.
    nonzero: bool,
}

impl Kind {
    // Of a tensor without elements, a row may say any size.
    const SIZE: Self = Self { dtype: dtype::I64, most: Some(i64::MAX), divides: true, nonzero: false };

    const fn of(dtype: i64) -> Self {
        Self { dtype, most: None, divides: false, nonzero: false }
    }

    /// Numbers from 0 to `most`, where their type has room for them.
    fn up_to(of: i64, most: Option<i64>) -> Self {
        let most_of_type = if of == dtype::I32 { i32::MAX.into() } else { i64::MAX };
        let most = most.filter(|most| [dtype::I32, dtype::I64].contains(&of) && *most <= most_of_type);
        Self { dtype: of, most, divides: most.is_some(), nonzero: false }
    }

    fn constant(tensor: &Tensor<'_>) -> Self {
        let Some(all) = &tensor.integers else { return Self::of(tensor.dtype) };
        let most = all.iter().copied().max().unwrap_or(0);
        let most = all.iter().all(|&number| number >= 0).then_some(most);
        Self { dtype: tensor.dtype, most, divides: !all.contains(&-1), nonzero: !all.contains(&0) }
    }

    /// Returns what is known of a value that is one of two.
    fn either(self, other: Self) -> Self {
        let dtype = if self.dtype == other.dtype { self.dtype } else { 0 };
        let most = self.most.zip(other.most).map(|(one, other)| one.max(other));
        let nonzero = self.nonzero && other.nonzero;
        Self { dtype, most, divides: self.divides && other.divides, nonzero }
    }
}

/// Facts about tensors by name, those of the surrounding graphs included.
struct Scope<'s, 'g> {
    kinds: BTreeMap<&'g str, Kind>,
    /// Names that two things have, of which nobody knows anything.
    twice: BTreeSet<&'g str>,
    outer: Option<&'s Scope<'s, 'g>>,
}

impl<'s, 'g> Scope<'s, 'g> {
    /// Returns a scope in which nothing is known yet. A constant may be an input, too.
    fn new(
        inputs: &[&'g str],
        constants: &[Tensor<'g>],
        nodes: &'g [Node<'g>],
        outer: Option<&'s Scope<'s, 'g>>,
    ) -> Self {
        let (mut seen, mut seen_as_input, mut twice) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let outputs = nodes.iter().flat_map(|node| &node.outputs).copied();
        for name in constants.iter().map(|constant| constant.name).chain(outputs) {
            if !seen.insert(name) {
                twice.insert(name);
            }
        }
        twice.extend(inputs.iter().copied().filter(|name| !seen_as_input.insert(*name)));
        Self { kinds: BTreeMap::new(), twice, outer }
    }

    fn set(&mut self, name: &'g str, kind: Kind) {
        let kind = if self.twice.contains(name) { Kind::default() } else { kind };
        self.kinds.insert(name, kind);
    }

    fn find(&self, name: &str) -> Option<Kind> {
        self.kinds.get(name).copied().or_else(|| self.outer?.find(name))
    }

    fn known(&self, name: &str) -> Kind {
        self.find(name).unwrap_or_default()
    }
}

struct Walk<'g> {
    /// The model's own functions, by what nodes call them. None has the name of a standard operator.
    functions: BTreeMap<String, &'g Function<'g>>,
    /// Whether ONNX Runtime makes an error of a division by 0.
    sees_zeros: bool,
    looks: usize,
    found: Option<DividingNode>,
}

/// Finds the first node that may divide the least number by -1, or, unless ONNX Runtime `sees_zeros`, any number by 0.
pub(super) fn find(model: &OnnxModel<'_>, sees_zeros: bool) -> Option<DividingNode> {
    let functions = model.functions.iter().map(|function| (function.identifier(), function)).collect();
    let mut walk = Walk { functions, sees_zeros, looks: 0, found: None };
    walk.graph(&model.graph, &[], None, 0);
    // What nobody calls isn't computed.
    walk.found
}

impl<'g> Walk<'g> {
    /// Goes through a graph. Returns what is known of its outputs, from what is known of its inputs.
    fn graph(
        &mut self,
        graph: &'g Graph<'g>,
        given: &[Kind],
        outer: Option<&Scope<'_, 'g>>,
        depth: usize,
    ) -> Vec<Kind> {
        let mut scope = Scope::new(&graph.inputs, &graph.constants, &graph.nodes, outer);
        for (at, (&name, &declared)) in graph.inputs.iter().zip(&graph.input_types).enumerate() {
            let given = given.get(at).copied().unwrap_or_default();
            scope.set(name, if given.dtype == 0 { Kind::of(declared) } else { given });
        }
        for constant in &graph.constants {
            scope.set(constant.name, Kind::constant(constant));
        }
        self.nodes(&graph.nodes, &mut scope, depth);
        graph.outputs.iter().map(|name| scope.known(name)).collect()
    }

    fn nodes(&mut self, nodes: &'g [Node<'g>], scope: &mut Scope<'_, 'g>, depth: usize) {
        // ONNX Runtime puts nodes in order. Where they aren't, types come to be known by and by.
        for pass in 0..PASSES_MAX {
            let is_last = pass + 1 == PASSES_MAX;
            let mut is_ordered = true;
            for node in nodes {
                is_ordered &= node.inputs.iter().all(|name| name.is_empty() || scope.find(name).is_some());
                if self.looks == LOOKS_MAX {
                    self.give_up(node, false);
                }
                if self.found.is_some() {
                    return;
                }
                self.looks += 1;
                let kinds = self.node(node, scope, depth);
                for (&name, kind) in
                    node.outputs.iter().zip(kinds.into_iter().chain(std::iter::repeat(Kind::default())))
                {
                    // Nothing is known of an input that isn't given.
                    if !name.is_empty() {
                        scope.set(name, kind);
                    }
                }
            }
            if is_ordered || is_last {
                break;
            }
        }
        for node in nodes.iter().filter(|node| node.domain.is_empty()) {
            if may_trap(node, scope) {
                self.give_up(node, false);
            } else if !self.sees_zeros && may_divide_by_zero(node, scope) {
                self.give_up(node, true);
            }
        }
    }

    /// Notes a node that may divide like this, or at which the search ends. Only the first one counts.
    fn give_up(&mut self, node: &Node<'_>, by_zero: bool) {
        let found = || DividingNode { operator: node.operator.into(), node: node.label(), by_zero };
        self.found.get_or_insert_with(found);
    }

    /// Returns what comes out of a node. The graphs in it are gone through.
    fn node(&mut self, node: &'g Node<'g>, scope: &Scope<'_, 'g>, depth: usize) -> Vec<Kind> {
        let inputs: Vec<Kind> = node.inputs.iter().map(|name| scope.known(name)).collect();
        if !node.domain.is_empty()
            && let Some(&function) = self.functions.get(&node.identifier())
        {
            if depth < CALLS_MAX {
                return self.call(function, &inputs, depth);
            }
            self.give_up(node, false);
            return Vec::new();
        }
        let graphs: Vec<&'g Graph<'g>> = node.attributes.iter().flat_map(|attribute| &attribute.graphs).collect();
        if graphs.is_empty() {
            return if node.domain.is_empty() { outputs(node, &inputs) } else { Vec::new() };
        }
        // What a loop carries on may become anything of its type.
        let typed = |kinds: &[Kind]| kinds.iter().map(|kind| Kind::of(kind.dtype)).collect::<Vec<_>>();
        let (given, skipped) = match node.operator {
            "Loop" => {
                let carried = typed(inputs.get(2..).unwrap_or_default());
                ([&[Kind::SIZE, Kind::of(dtype::BOOL)][..], &carried].concat(), 1)
            }
            "Scan" => (typed(&inputs), 0),
            _ => (Vec::new(), 0),
        };
        let mut results = graphs.into_iter().map(|graph| self.graph(graph, &given, Some(scope), depth));
        let first = results.next().unwrap_or_default();
        let merged = results.fold(first, |one, other| one.into_iter().zip(other).map(|(a, b)| a.either(b)).collect());
        merged.into_iter().skip(skipped).collect()
    }

    fn call(&mut self, function: &'g Function<'g>, inputs: &[Kind], depth: usize) -> Vec<Kind> {
        let kinds = inputs.iter().copied().chain(std::iter::repeat(Kind::default()));
        let mut scope = Scope::new(&function.inputs, &[], &function.nodes, None);
        function.inputs.iter().zip(kinds).for_each(|(name, kind)| scope.set(name, kind));
        self.nodes(&function.nodes, &mut scope, depth + 1);
        function.outputs.iter().map(|name| scope.known(name)).collect()
    }
}

/// Returns the dividend and the divisor of a node, and the type of their elements; `None` for a node that doesn't divide, or divides floats.
fn division(node: &Node<'_>, scope: &Scope<'_, '_>) -> Option<(Kind, Kind, i64)> {
    let is_division = node.operator == "Div" || node.operator == "Mod" && node.integer("fmod", 0) == 0;
    let [number, divisor] = [0, 1].map(|at| node.inputs.get(at).map(|name| scope.known(name)).unwrap_or_default());
    let of = if number.dtype == 0 { divisor.dtype } else { number.dtype };
    is_division.then_some((number, divisor, of))
}

/// Returns whether a division may be of the least number by -1.
fn may_trap(node: &Node<'_>, scope: &Scope<'_, '_>) -> bool {
    division(node, scope).is_some_and(|(number, divisor, of)| {
        // Narrower ones are computed as wider ones, and others are no whole numbers, or have no -1.
        [0, dtype::I32, dtype::I64].contains(&of) && number.most.is_none() && !divisor.divides
    })
}

/// Returns whether a division of whole numbers may be by 0.
fn may_divide_by_zero(node: &Node<'_>, scope: &Scope<'_, '_>) -> bool {
    let is_float = |of| [dtype::F16, dtype::F32, dtype::F64].contains(&of);
    division(node, scope).is_some_and(|(_, divisor, of)| !is_float(of) && !divisor.nonzero)
}

/// Returns what comes out of an operator of the standard domain.
fn outputs(node: &Node<'_>, inputs: &[Kind]) -> Vec<Kind> {
    let input = |at: usize| inputs.get(at).copied().unwrap_or_default();
    let typed = |at: usize| Kind::of(input(at).dtype);
    let one = match node.operator {
        "Constant" => constant(node),
        "ConstantOfShape" => match node.attribute("value").and_then(|attribute| attribute.tensor.as_ref()) {
            Some(tensor) => Kind::constant(tensor),
            None => Kind::of(dtype::F32),
        },
        "Shape" | "Size" | "NonZero" | "ArgMax" | "ArgMin" => Kind::SIZE,
        "TopK" | "MaxPool" => return vec![typed(0), Kind::SIZE],
        "Unique" => return vec![typed(0), Kind::SIZE, Kind::SIZE, Kind::SIZE],
        "Cast" => {
            let to = node.integer("to", 0);
            // In few bits, a large number may become any.
            let most = input(0).most.filter(|most| match to {
                dtype::I64 => true,
                // Beyond, floats leave bits out.
                dtype::F32 | dtype::F64 => *most <= i32::MAX.into(),
                _ => false,
            });
            Kind { dtype: to, most, divides: most.is_some(), nonzero: false }
        }
        "CastLike" => typed(1),
        "And" | "Equal" | "Greater" | "GreaterOrEqual" | "IsInf" | "IsNaN" | "Less" | "LessOrEqual" | "Not" | "Or"
        | "Xor" => Kind::of(dtype::BOOL),
        "Where" => input(1).either(input(2)),
        "OneHot" => typed(2),
        "DequantizeLinear" => typed(1),
        "DynamicQuantizeLinear" => return vec![Kind::of(dtype::U8), Kind::of(dtype::F32), Kind::of(dtype::U8)],
        "QuantizeLinear" if node.inputs.len() > 2 => typed(2),
        "QuantizeLinear" => Kind::of(dtype::U8),
        "MatMulInteger" | "ConvInteger" => Kind::of(dtype::I32),
        "Dropout" => return vec![typed(0), Kind::of(dtype::BOOL)],
        "Add" | "Div" | "Max" | "Min" | "Mod" | "Mul" => arithmetic(node.operator, inputs),
        "Concat" => inputs.iter().copied().reduce(Kind::either).unwrap_or_default(),
        "Expand" | "Flatten" | "Gather" | "Identity" | "Reshape" | "Slice" | "Squeeze" | "Tile" | "Transpose"
        | "Unsqueeze" => input(0),
        "Split" => return vec![input(0); node.outputs.len()],
        operator if table::entry(operator).is_some() => {
            let first = if input(0).dtype == 0 { typed(1) } else { typed(0) };
            return vec![first; node.outputs.len()];
        }
        _ => return Vec::new(),
    };
    vec![one]
}

/// Returns what is known of a result that is computed from two numbers or more. Exporters compute sizes like this, where no number is negative.
fn arithmetic(operator: &str, inputs: &[Kind]) -> Kind {
    let of = inputs.iter().map(|input| input.dtype).find(|of| *of != 0).unwrap_or_default();
    let two = |(one, other): (i64, i64)| match operator {
        "Add" => one.checked_add(other),
        "Mul" => one.checked_mul(other),
        // A quotient or a remainder is no greater than the dividend.
        "Div" | "Mod" => Some(one),
        _ => Some(one.max(other)),
    };
    let all = inputs.iter().map(|input| input.most);
    let most = all.reduce(|one, other| one.zip(other).and_then(two)).flatten();
    Kind::up_to(of, most)
}

fn constant(node: &Node<'_>) -> Kind {
    // A value that the caller of a function decides isn't known, and of two values, it isn't known which counts.
    if node.attributes.len() != 1 || node.attributes[0].by_reference {
        return Kind::default();
    }
    if let Some(tensor) = node.attribute("value").and_then(|attribute| attribute.tensor.as_ref()) {
        return Kind::constant(tensor);
    }
    let of = |values: &[i64]| Tensor { dtype: dtype::I64, integers: Some(values.to_vec()), ..Tensor::default() };
    if let Some(attribute) = node.attribute("value_int") {
        Kind::constant(&of(&[attribute.integer]))
    } else if let Some(attribute) = node.attribute("value_ints").filter(|attribute| !attribute.integers_cut) {
        Kind::constant(&of(&attribute.integers))
    } else if node.attribute("value_float").or_else(|| node.attribute("value_floats")).is_some() {
        Kind::of(dtype::F32)
    } else {
        Kind::default()
    }
}
