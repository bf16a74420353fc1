//! A model's graph as [`super::read`] makes it: the parts that decide how rows may share runs, borrowed from the file.

use std::collections::{BTreeMap, BTreeSet};

/// A model.
#[derive(Debug, Default)]
pub(super) struct OnnxModel<'a> {
    /// Version of the format.
    pub version: i64,
    pub graph: Graph<'a>,
    /// Version of the operators of each domain. The standard one is written `""`, or `ai.onnx`.
    pub opsets: BTreeMap<&'a str, i64>,
    pub functions: Vec<Function<'a>>,
}

impl<'a> OnnxModel<'a> {
    /// Inputs that may be constants, too: since version 4, a caller may give others in the place of such constants.
    pub(super) fn overridable_inputs(&self) -> BTreeSet<&'a str> {
        if self.version < 4 { BTreeSet::new() } else { self.graph.inputs.iter().copied().collect() }
    }
}

/// A function that the model defines, and calls like an operator.
#[derive(Debug, Default)]
pub(super) struct Function<'a> {
    pub name: &'a str,
    /// `""` is the standard domain.
    pub domain: &'a str,
    /// Name that tells it from other functions of that name.
    pub overload: &'a str,
    pub inputs: Vec<&'a str>,
    pub outputs: Vec<&'a str>,
    pub nodes: Vec<Node<'a>>,
}

impl Function<'_> {
    /// Returns the key by which nodes call it.
    pub(super) fn identifier(&self) -> String {
        identifier(self.domain, self.name, self.overload)
    }
}

/// Key by which ONNX Runtime finds functions. It is one text there, too, so different names may give the same key.
fn identifier(domain: &str, name: &str, overload: &str) -> String {
    let of_domain = format!("{domain}:{name}");
    if overload.is_empty() { of_domain } else { format!("{of_domain}:{overload}") }
}

/// A graph, or the body of a loop or a branch.
#[derive(Clone, Debug, Default)]
pub(super) struct Graph<'a> {
    pub nodes: Vec<Node<'a>>,
    pub constants: Vec<Tensor<'a>>,
    /// Names of all inputs; in old models constants are among them.
    pub inputs: Vec<&'a str>,
    /// ONNX's numbers of the inputs' element types; 0 where none is said.
    pub input_types: Vec<i64>,
    pub outputs: Vec<&'a str>,
}

/// A node.
#[derive(Clone, Debug, Default)]
pub(super) struct Node<'a> {
    pub name: &'a str,
    pub operator: &'a str,
    /// `""` is the standard domain.
    pub domain: &'a str,
    /// Overload of the function that it calls, if it calls one.
    pub overload: &'a str,
    pub inputs: Vec<&'a str>,
    pub outputs: Vec<&'a str>,
    pub attributes: Vec<Attribute<'a>>,
}

/// An attribute of a node.
#[derive(Clone, Debug, Default)]
pub(super) struct Attribute<'a> {
    pub name: &'a str,
    pub integer: i64,
    pub float: f32,
    pub text: &'a [u8],
    pub integers: Vec<i64>,
    /// Whether there are more integers than were kept.
    pub integers_cut: bool,
    pub tensor: Option<Tensor<'a>>,
    pub graphs: Vec<Graph<'a>>,
    /// Whether its value comes from who calls the function that it is in.
    pub by_reference: bool,
}

/// A constant.
#[derive(Clone, Debug, Default)]
pub(super) struct Tensor<'a> {
    pub name: &'a str,
    /// ONNX's number of its element type.
    pub dtype: i64,
    pub dims: Vec<i64>,
    /// Its elements, where they are few integers or booleans.
    pub integers: Option<Vec<i64>>,
    /// Its elements, where they are few floats.
    pub floats: Option<Vec<f32>>,
}

/// ONNX's numbers of element types.
pub(super) mod dtype {
    pub(in super::super) const F32: i64 = 1;
    pub(in super::super) const U8: i64 = 2;
    pub(in super::super) const I8: i64 = 3;
    pub(in super::super) const I32: i64 = 6;
    pub(in super::super) const I64: i64 = 7;
    pub(in super::super) const BOOL: i64 = 9;
    pub(in super::super) const F16: i64 = 10;
    pub(in super::super) const F64: i64 = 11;
}

impl Node<'_> {
    /// Returns the node's name, or, if it has none, that of its first output.
    pub(super) fn label(&self) -> String {
        let name = if self.name.is_empty() { self.outputs.first().copied().unwrap_or_default() } else { self.name };
        name.into()
    }

    /// Returns the key of the function that the node calls.
    pub(super) fn identifier(&self) -> String {
        identifier(self.domain, self.operator, self.overload)
    }

    /// Returns an attribute by its name.
    pub(super) fn attribute(&self, name: &str) -> Option<&Attribute<'_>> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }

    /// Returns an integer attribute, or its default.
    pub(super) fn integer(&self, name: &str, default: i64) -> i64 {
        self.attribute(name).map_or(default, |attribute| attribute.integer)
    }
}

/// Beginnings of the domains in which ONNX Runtime has operators of its own.
const TAKEN_DOMAINS: [&str; 5] = ["ai.onnx", "com.microsoft", "com.ms", "com.xilinx", "org.pytorch.aten"];

/// Returns whether ONNX Runtime has operators of its own in a domain. It runs those instead of functions with their names.
fn is_taken(domain: &str) -> bool {
    let is_in = |taken: &&str| domain.strip_prefix(*taken).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    domain.is_empty() || TAKEN_DOMAINS.iter().any(is_in)
}

impl OnnxModel<'_> {
    /// Returns the first function that may have the name of one of ONNX Runtime's own operators: its domain, as it is written, and its name.
    pub(super) fn taken_function(&self) -> Option<(&str, &str)> {
        let function = self.functions.iter().find(|function| is_taken(function.domain))?;
        Some((if function.domain.is_empty() { "ai.onnx" } else { function.domain }, function.name))
    }
}
