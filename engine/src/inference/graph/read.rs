//! Reads the graph of an ONNX model: nodes, constants, inputs. Called by [`super::inspect`].
//!
//! Only what decides how rows may share runs is kept, and it borrows from the file. A file that was made to do harm is an error at
//! worst: depth, counts and sizes have limits.

use std::collections::{BTreeMap, BTreeSet};

use super::wire::{Content, Field, Fields, Malformed};

/// Most nodes of a model, subgraphs and functions included.
const NODES_MAX: usize = 1 << 18;
/// Most names, attributes and constants of a model.
const PARTS_MAX: usize = 1 << 21;
/// Deepest nesting of subgraphs.
const DEPTH_MAX: usize = 12;
/// Most inputs, or outputs, of a node.
const NAMES_MAX: usize = 4_096;
/// How many names an attribute or a constant counts for: they take so much more memory.
const LARGE_PART: usize = 8;
/// Most dimensions of a constant.
const RANK_MAX: usize = 64;
/// Most integers that are kept of one constant or attribute. Shapes, axes and pads are shorter.
const INTEGERS_MAX: usize = 256;

/// Why a model's graph isn't known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// It isn't a model.
    Malformed,
    /// It is larger than this reader takes.
    TooLarge,
}

impl From<Malformed> for Unreadable {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

/// A model.
#[derive(Debug, Default)]
pub(super) struct Model<'a> {
    /// Version of the format.
    pub version: i64,
    pub graph: Graph<'a>,
    /// Version of the operators of each domain. The standard one is written `""`, or `ai.onnx`.
    pub opsets: BTreeMap<&'a str, i64>,
    pub functions: Vec<Function<'a>>,
}

impl<'a> Model<'a> {
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
    pub inputs: Vec<&'a str>,
    pub outputs: Vec<&'a str>,
    pub nodes: Vec<Node<'a>>,
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
    /// An attribute by its name.
    pub(super) fn attribute(&self, name: &str) -> Option<&Attribute<'_>> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }

    /// An integer attribute, or what it is where it isn't given.
    pub(super) fn integer(&self, name: &str, default: i64) -> i64 {
        self.attribute(name).map_or(default, |attribute| attribute.integer)
    }
}

/// What may still be kept.
struct Left {
    nodes: usize,
    parts: usize,
}

impl Left {
    fn node(&mut self) -> Result<(), Unreadable> {
        self.nodes = self.nodes.checked_sub(1).ok_or(Unreadable::TooLarge)?;
        Ok(())
    }

    fn part(&mut self) -> Result<(), Unreadable> {
        self.many(1)
    }

    fn many(&mut self, parts: usize) -> Result<(), Unreadable> {
        self.parts = self.parts.checked_sub(parts).ok_or(Unreadable::TooLarge)?;
        Ok(())
    }
}

/// Reads a model.
pub(super) fn read(content: &[u8]) -> Result<Model<'_>, Unreadable> {
    let mut left = Left { nodes: NODES_MAX, parts: PARTS_MAX };
    let mut model = Model::default();
    let mut graphs = 0;
    for field in Fields::new(content) {
        let field = field?;
        match field.number {
            1 => model.version = field.integer()?,
            7 => {
                // A message that is given twice is merged. Nobody writes models so.
                graphs += 1;
                if graphs > 1 {
                    return Err(Unreadable::Malformed);
                }
                model.graph = graph(field.bytes()?, &mut left, 0)?;
            }
            8 => {
                left.part()?;
                let (domain, version) = opset(field.bytes()?)?;
                model.opsets.insert(domain, version);
            }
            25 => {
                left.part()?;
                model.functions.push(function(field.bytes()?, &mut left)?);
            }
            _ => {}
        }
    }
    if graphs == 0 { Err(Unreadable::Malformed) } else { Ok(model) }
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

/// The standard domain has two names.
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
            _ => {}
        }
    }
    Ok(function)
}

fn graph<'a>(message: &'a [u8], left: &mut Left, depth: usize) -> Result<Graph<'a>, Unreadable> {
    if depth > DEPTH_MAX {
        return Err(Unreadable::TooLarge);
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

/// The name of an input or output, and the type of its elements; 0 where none is said.
fn value(message: &[u8]) -> Result<(&str, i64), Unreadable> {
    let (mut name, mut of) = ("", 0);
    for field in Fields::new(message) {
        let field = field?;
        match field.number {
            1 => name = field.text()?,
            2 => of = element_type(field.bytes()?)?,
            _ => {}
        }
    }
    Ok((name, of))
}

/// The type of a tensor's elements: field 1 of field 1.
fn element_type(message: &[u8]) -> Result<i64, Unreadable> {
    for field in Fields::new(message) {
        let field = field?;
        if field.number == 1 {
            for field in Fields::new(field.bytes()?) {
                let field = field?;
                if field.number == 1 {
                    return Ok(field.integer()?);
                }
            }
        }
    }
    Ok(0)
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
                    return Err(Unreadable::TooLarge);
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
            _ => {}
        }
    }
    Ok(node)
}

fn attribute<'a>(message: &'a [u8], left: &mut Left, depth: usize) -> Result<Attribute<'a>, Unreadable> {
    left.many(LARGE_PART)?;
    let mut attribute = Attribute::default();
    for field in Fields::new(message) {
        let field = field?;
        match (field.number, field.content) {
            (1, _) => attribute.name = field.text()?,
            (2, Content::Fixed32(bits)) => attribute.float = f32::from_bits(bits),
            (3, _) => attribute.integer = field.integer()?,
            (4, _) => attribute.text = field.bytes()?,
            (5, _) => attribute.tensor = Some(tensor(field.bytes()?, left)?),
            (6 | 11, _) => {
                left.part()?;
                attribute.graphs.push(graph(field.bytes()?, left, depth + 1)?);
            }
            (8, _) => keep(field, &mut attribute.integers, &mut attribute.integers_cut),
            (21, Content::Bytes(name)) => attribute.by_reference = !name.is_empty(),
            _ => {}
        }
    }
    left.many(attribute.integers.len())?;
    Ok(attribute)
}

/// Keeps a repeated field's integers, or notes that they are too many.
fn keep(field: Field<'_>, integers: &mut Vec<i64>, cut: &mut bool) {
    if *cut || field.integers(integers, INTEGERS_MAX).is_err() {
        *cut = true;
        integers.clear();
    }
}

/// Keeps floats as long as they are few.
fn keep_floats(field: Field<'_>, floats: &mut Vec<f32>) {
    match field.content {
        Content::Fixed32(bits) if floats.len() <= INTEGERS_MAX => floats.push(f32::from_bits(bits)),
        Content::Bytes(bytes) if bytes.len() <= 4 * INTEGERS_MAX && floats.len() <= INTEGERS_MAX => {
            floats.extend(bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)));
        }
        _ => {}
    }
}

/// A sparse constant: only its name and type are of use.
fn sparse<'a>(message: &'a [u8], left: &mut Left) -> Result<Tensor<'a>, Unreadable> {
    let mut constant = Tensor::default();
    for field in Fields::new(message) {
        let field = field?;
        match field.number {
            1 => {
                let values = tensor(field.bytes()?, left)?;
                (constant.name, constant.dtype) = (values.name, values.dtype);
            }
            3 => field.integers(&mut constant.dims, RANK_MAX)?,
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
            1 => field.integers(&mut tensor.dims, RANK_MAX)?,
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
    left.many(tensor.dims.len() + integers.len() + floats.len())?;
    let elements = tensor.dims.iter().try_fold(1_i64, |product, &dim| product.checked_mul(dim));
    let is_integer = matches!(tensor.dtype, dtype::U8 | dtype::I8 | dtype::I32 | dtype::I64 | dtype::BOOL);
    let elements = elements.and_then(|count| usize::try_from(count).ok());
    tensor.integers = (is_integer && !cut && elements == Some(integers.len())).then_some(integers);
    tensor.floats = (tensor.dtype == dtype::F32 && elements == Some(floats.len())).then_some(floats);
    Ok(tensor)
}

/// The integers of a constant that is stored as bytes, where they are few.
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
