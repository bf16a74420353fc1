//! Reads the graph of an ONNX model: nodes, constants, inputs, for [`super::read_graph`].
//!
//! Only the parts that decide how rows may share runs are kept, and they borrow from the file. A file that was made to do harm is an error at
//! worst, because depth, counts and sizes have limits.

use std::collections::BTreeSet;

use super::model::{Attribute, Function, Graph, Node, OnnxModel, Tensor, dtype};
use super::wire::{Content, Field, Fields, Malformed};

/// Most nodes of a model, subgraphs and functions included.
const NODES_MAX: usize = 1 << 18;
/// Most names, attributes and constants of a model.
const PARTS_MAX: usize = 1 << 21;
/// Deepest nesting of subgraphs.
const DEPTH_MAX: usize = 12;
/// Most inputs, or outputs, of a node.
const NAMES_MAX: usize = 4_096;
/// Number of names for which an attribute or a constant counts, because it takes more memory.
const LARGE_PART: usize = 8;
/// Most dimensions of a constant.
const RANK_MAX: usize = 64;
/// Most integers that are kept of one constant or attribute. Shapes, axes and pads have fewer.
const INTEGERS_MAX: usize = 256;

/// Why a model's graph can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreadable {
    /// It isn't a message of protocol buffers, or has other fields than a model.
    #[error("it isn't a model of ONNX, or a part of it is missing or damaged")]
    Malformed,
    /// It has no graph.
    #[error("it has no graph")]
    NoGraph,
    /// A part that may occur once occurs twice, and programs disagree about which of them counts.
    #[error("it has {0} twice where there may be one")]
    Twice(&'static str),
    /// It is larger than this reader accepts.
    #[error("it has {0}")]
    TooLarge(&'static str),
}

impl From<Malformed> for Unreadable {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

/// Number of nodes and parts that may still be kept.
struct Left {
    nodes: usize,
    parts: usize,
    /// Whether a function is being read, whose attributes may come from its caller.
    in_function: bool,
}

impl Left {
    fn node(&mut self) -> Result<(), Unreadable> {
        self.nodes = self.nodes.checked_sub(1).ok_or(Unreadable::TooLarge("more than 262,144 nodes"))?;
        Ok(())
    }

    fn part(&mut self) -> Result<(), Unreadable> {
        self.many(1)
    }

    fn many(&mut self, parts: usize) -> Result<(), Unreadable> {
        const SAID: &str =
            "more than 2,097,152 names, attributes and constants, of which the latter two count for eight";
        self.parts = self.parts.checked_sub(parts).ok_or(Unreadable::TooLarge(SAID))?;
        Ok(())
    }
}

/// Reads a model.
pub(super) fn read(content: &[u8]) -> Result<OnnxModel<'_>, Unreadable> {
    let mut left = Left { nodes: NODES_MAX, parts: PARTS_MAX, in_function: false };
    let mut model = OnnxModel::default();
    let mut has_graph = false;
    for field in Fields::new(content) {
        let field = field?;
        match field.number {
            1 => model.version = field.integer()?,
            7 => {
                once(&mut has_graph, "a graph")?;
                model.graph = graph(field.bytes()?, &mut left, 0)?;
            }
            8 => {
                left.part()?;
                let (domain, version) = opset(field.bytes()?)?;
                model.opsets.insert(domain, version);
            }
            25 => {
                left.part()?;
                left.in_function = true;
                model.functions.push(function(field.bytes()?, &mut left)?);
                left.in_function = false;
            }
            _ => {}
        }
    }
    let mut identifiers = BTreeSet::new();
    if !model.functions.iter().all(|function| identifiers.insert(function.identifier())) {
        return Err(Unreadable::Twice("a function"));
    }
    if has_graph { Ok(model) } else { Err(Unreadable::NoGraph) }
}

/// Notes that a part was seen that may occur once. Readers of protocol buffers merge a message that occurs twice, and only
/// files that are meant to be read in two ways are written like that.
const fn once(seen: &mut bool, part: &'static str) -> Result<(), Unreadable> {
    if *seen {
        return Err(Unreadable::Twice(part));
    }
    *seen = true;
    Ok(())
}

fn opset(message: &[u8]) -> Result<(&str, i64), Unreadable> {
    let (mut domain, mut version) = ("", 0);
    for field in Fields::new(message) {
        let field = field?;
        match field.number {
            1 => domain = field.text()?,
            2 => version = field.integer()?,
            _ => {}
        }
    }
    Ok((standard(domain), version))
}

/// Returns the name of a domain, which is empty for the standard domain: that has two names.
fn standard(domain: &str) -> &str {
    if domain == "ai.onnx" { "" } else { domain }
}

fn function<'a>(message: &'a [u8], left: &mut Left) -> Result<Function<'a>, Unreadable> {
    let mut function = Function::default();
    for field in Fields::new(message) {
        let field = field?;
        match field.number {
            1 => function.name = field.text()?,
            4 | 5 => {
                left.part()?;
                let names = if field.number == 4 { &mut function.inputs } else { &mut function.outputs };
                names.push(field.text()?);
            }
            7 => function.nodes.push(node(field.bytes()?, left, 0)?),
            10 => function.domain = standard(field.text()?),
            13 => function.overload = field.text()?,
            _ => {}
        }
    }
    Ok(function)
}

fn graph<'a>(message: &'a [u8], left: &mut Left, depth: usize) -> Result<Graph<'a>, Unreadable> {
    if depth > DEPTH_MAX {
        return Err(Unreadable::TooLarge("graphs that are nested more than 12 deep"));
    }
    let mut graph = Graph::default();
    for field in Fields::new(message) {
        let field = field?;
        match field.number {
            1 => graph.nodes.push(node(field.bytes()?, left, depth)?),
            5 => {
                left.part()?;
                graph.constants.push(tensor(field.bytes()?, left)?);
            }
            15 => {
                left.part()?;
                graph.constants.push(sparse(field.bytes()?, left)?);
            }
            11 | 12 => {
                left.part()?;
                let (name, of) = value(field.bytes()?)?;
                if field.number == 11 {
                    graph.inputs.push(name);
                    graph.input_types.push(of);
                } else {
                    graph.outputs.push(name);
                }
            }
            _ => {}
        }
    }
    Ok(graph)
}

/// Returns the name of an input or output, and the type of its elements; 0 if there is none.
fn value(message: &[u8]) -> Result<(&str, i64), Unreadable> {
    let (mut name, mut of, mut has_type) = ("", 0, false);
    for field in Fields::new(message) {
        let field = field?;
        match field.number {
            1 => name = field.text()?,
            2 => {
                once(&mut has_type, "a type")?;
                of = element_type(field.bytes()?)?;
            }
            _ => {}
        }
    }
    Ok((name, of))
}

/// Returns the type of a tensor's elements: field 1 of field 1.
fn element_type(message: &[u8]) -> Result<i64, Unreadable> {
    let (mut of, mut has_tensor) = (0, false);
    for field in Fields::new(message) {
        let field = field?;
        if field.number == 1 {
            once(&mut has_tensor, "a type")?;
            for field in Fields::new(field.bytes()?) {
                let field = field?;
                if field.number == 1 {
                    of = field.integer()?;
                }
            }
        }
    }
    Ok(of)
}

fn node<'a>(message: &'a [u8], left: &mut Left, depth: usize) -> Result<Node<'a>, Unreadable> {
    left.node()?;
    let mut node = Node::default();
    for field in Fields::new(message) {
        let field = field?;
        match field.number {
            1 | 2 => {
                left.part()?;
                let names = if field.number == 1 { &mut node.inputs } else { &mut node.outputs };
                if names.len() == NAMES_MAX {
                    return Err(Unreadable::TooLarge("a node with more than 4,096 inputs or outputs"));
                }
                names.push(field.text()?);
            }
            3 => node.name = field.text()?,
            4 => node.operator = field.text()?,
            5 => {
                left.part()?;
                node.attributes.push(attribute(field.bytes()?, left, depth)?);
            }
            7 => node.domain = standard(field.text()?),
            8 => node.overload = field.text()?,
            _ => {}
        }
    }
    let mut names = BTreeSet::new();
    if !node.attributes.iter().all(|attribute| names.insert(attribute.name)) {
        return Err(Unreadable::Twice("an attribute of a node"));
    }
    Ok(node)
}

fn attribute<'a>(message: &'a [u8], left: &mut Left, depth: usize) -> Result<Attribute<'a>, Unreadable> {
    left.many(LARGE_PART)?;
    let mut attribute = Attribute::default();
    let (mut has_tensor, mut has_graph) = (false, false);
    for field in Fields::new(message) {
        let field = field?;
        match (field.number, field.content) {
            (1, _) => attribute.name = field.text()?,
            (2, Content::Fixed32(bits)) => attribute.float = f32::from_bits(bits),
            (3, _) => attribute.integer = field.integer()?,
            (4, _) => attribute.text = field.bytes()?,
            (5, _) => {
                once(&mut has_tensor, "a constant of an attribute")?;
                attribute.tensor = Some(tensor(field.bytes()?, left)?);
            }
            (6 | 11, _) => {
                if field.number == 6 {
                    once(&mut has_graph, "a graph of an attribute")?;
                }
                left.part()?;
                attribute.graphs.push(graph(field.bytes()?, left, depth + 1)?);
            }
            (8, _) => keep(field, &mut attribute.integers, &mut attribute.integers_cut),
            (21, Content::Bytes(name)) => attribute.by_reference = !name.is_empty(),
            _ => {}
        }
    }
    left.many(attribute.integers.len())?;
    if attribute.by_reference {
        if !left.in_function {
            return Err(Unreadable::Malformed);
        }
        // The constant's own fields don't count.
        let Attribute { name, graphs, .. } = attribute;
        attribute = Attribute { name, graphs, by_reference: true, ..Attribute::default() };
    }
    Ok(attribute)
}

/// Keeps the integers of a repeated field, or notes that there are too many.
fn keep(field: Field<'_>, integers: &mut Vec<i64>, cut: &mut bool) {
    if *cut || field.integers(integers, INTEGERS_MAX).is_err() {
        *cut = true;
        integers.clear();
    }
}

/// Keeps floats as long as there are few.
fn keep_floats(field: Field<'_>, floats: &mut Vec<f32>) {
    match field.content {
        Content::Fixed32(bits) if floats.len() <= INTEGERS_MAX => floats.push(f32::from_bits(bits)),
        Content::Bytes(bytes) if bytes.len() <= 4 * INTEGERS_MAX && floats.len() <= INTEGERS_MAX => {
            floats.extend(bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)));
        }
        _ => {}
    }
}

/// Adds to the dimensions of a constant.
fn dimension(field: Field<'_>, dims: &mut Vec<i64>) -> Result<(), Unreadable> {
    let is_number = matches!(field.content, Content::Varint(_) | Content::Bytes(_));
    let many = Unreadable::TooLarge("a constant with more than 64 dimensions");
    field.integers(dims, RANK_MAX).map_err(|error| if is_number && dims.len() > RANK_MAX { many } else { error.into() })
}

/// Reads a sparse constant, of which only name and type are used.
fn sparse<'a>(message: &'a [u8], left: &mut Left) -> Result<Tensor<'a>, Unreadable> {
    let (mut constant, mut has_values) = (Tensor::default(), false);
    for field in Fields::new(message) {
        let field = field?;
        match field.number {
            1 => {
                once(&mut has_values, "the values of a sparse constant")?;
                let values = tensor(field.bytes()?, left)?;
                (constant.name, constant.dtype) = (values.name, values.dtype);
            }
            3 => dimension(field, &mut constant.dims)?,
            _ => {}
        }
    }
    Ok(constant)
}

fn tensor<'a>(message: &'a [u8], left: &mut Left) -> Result<Tensor<'a>, Unreadable> {
    left.many(LARGE_PART)?;
    let mut tensor = Tensor::default();
    let (mut integers, mut cut, mut raw) = (Vec::new(), false, None);
    let mut floats = Vec::new();
    for field in Fields::new(message) {
        let field = field?;
        match field.number {
            1 => dimension(field, &mut tensor.dims)?,
            2 => tensor.dtype = field.integer()?,
            4 => keep_floats(field, &mut floats),
            5 | 7 => keep(field, &mut integers, &mut cut),
            8 => tensor.name = field.text()?,
            9 => raw = Some(field.bytes()?),
            _ => {}
        }
    }
    if let Some(raw) = raw {
        if tensor.dtype == dtype::F32 && raw.len() <= 4 * INTEGERS_MAX {
            floats = raw.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
        }
        (integers, cut) = raw_integers(tensor.dtype, raw).map_or((Vec::new(), true), |integers| (integers, false));
    }
    integers.iter_mut().for_each(|number| *number = of_type(tensor.dtype, *number));
    left.many(tensor.dims.len() + integers.len() + floats.len())?;
    let elements = tensor.dims.iter().try_fold(1_i64, |product, &dim| product.checked_mul(dim));
    let is_integer = matches!(tensor.dtype, dtype::U8 | dtype::I8 | dtype::I32 | dtype::I64 | dtype::BOOL);
    let elements = elements.and_then(|count| usize::try_from(count).ok());
    tensor.integers = (is_integer && !cut && elements == Some(integers.len())).then_some(integers);
    tensor.floats = (tensor.dtype == dtype::F32 && elements == Some(floats.len())).then_some(floats);
    Ok(tensor)
}

/// Returns a number as the constant's type holds it; the file may have more bits than the type.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "what has no room is left out everywhere")]
const fn of_type(of: i64, number: i64) -> i64 {
    match of {
        dtype::I32 => number as i32 as i64,
        dtype::I8 => number as i8 as i64,
        dtype::U8 => number as u8 as i64,
        _ => number,
    }
}

/// Returns the integers of a constant that is stored as bytes, if there are few.
fn raw_integers(of: i64, raw: &[u8]) -> Option<Vec<i64>> {
    let few = |width: usize| raw.len().is_multiple_of(width) && raw.len() / width <= INTEGERS_MAX;
    match of {
        dtype::I64 if few(8) => Some(raw.as_chunks().0.iter().map(|&b| i64::from_le_bytes(b)).collect()),
        dtype::I32 if few(4) => Some(raw.as_chunks().0.iter().map(|&b| i32::from_le_bytes(b).into()).collect()),
        dtype::I8 if few(1) => Some(raw.iter().map(|&byte| byte.cast_signed().into()).collect()),
        dtype::U8 | dtype::BOOL if few(1) => Some(raw.iter().map(|&byte| byte.into()).collect()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{DEPTH_MAX, NAMES_MAX, NODES_MAX, RANK_MAX};
    use wasm_engine_files::thousands;

    #[test]
    fn the_document_has_these_limits() {
        let said = format!(
            "more than {} nodes, {} inputs of a node, {DEPTH_MAX} graphs within each other, or {RANK_MAX} dimensions of a constant",
            thousands(NODES_MAX),
            thousands(NAMES_MAX)
        );
        assert!(include_str!("../../../../docs/INFERENCE.md").contains(&said), "{said}");
    }
}
