//! Goes through a model's graph from inputs to outputs, and finds the form that its most restrictive node needs. Called by
//! [`super::ModelGraph::classes`].

use std::collections::{BTreeMap, BTreeSet};

use super::decider::Decider;
use super::model::{Graph, Node, OnnxModel};
use super::orders::Orders;
use super::pad::Padding;
use super::rules::{self, Call, Needs, Why};
use super::table::{self, Rule};
use super::tensor::GraphTensor;
use super::value::{Origin, Size, Value};
use wasm_engine_components::BatchForm;

/// Most deciders that are kept; more say nothing new.
const DECIDERS_MAX: usize = 16;

/// Most elements, of some 16 bytes, that are kept of all values together.
const WEIGHT_MAX: usize = 1 << 22;

/// Result of the walk.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub deciders: Vec<Decider>,
    pub paddings: Vec<Padding>,
    /// The form, without nodes that had no room among the deciders.
    pub form: Option<BatchForm>,
    /// Number of elements that are kept of all values.
    weight: usize,
}

/// Values by name, including those of the surrounding graphs.
struct Scope<'s, 'g> {
    values: BTreeMap<&'g str, Value>,
    outer: Option<&'s Scope<'s, 'g>>,
}

impl Scope<'_, '_> {
    fn find(&self, name: &str) -> Option<&Value> {
        self.values.get(name).or_else(|| self.outer?.find(name))
    }
}

/// Walks a model.
pub(super) fn classify(model: &OnnxModel<'_>, inputs: &[GraphTensor], outputs: &[GraphTensor]) -> Findings {
    let mut findings = Findings::default();
    let mut scope = Scope { values: BTreeMap::new(), outer: None };
    for input in inputs {
        let origin = if input.axis().is_some() { Origin::Rows } else { Origin::Shared };
        scope.values.insert(input.name.as_str(), Value::new(input.dtype, Some(input.shape.clone()), origin));
    }
    let opset = model.opsets.get("").copied().unwrap_or(1);
    let walk = Walk { opset, main: true, inputs: &model.overridable_inputs() };
    walk.graph(&model.graph, &mut scope, &mut findings);
    for output in outputs {
        let value = scope.find(&output.name);
        let reason = match value {
            None => "it isn't made by any node",
            // The node in which it was lost is among the deciders already.
            Some(value) if value.is_lost() && findings.form.is_some() => continue,
            Some(value) if value.is_lost() => "what comes out of a node before it isn't known",
            Some(value) if value.origin == Origin::Count => rules::COUNTS,
            Some(value) if value.axis() == output.axis() => continue,
            Some(_) => "its rows aren't where the runs show them",
        };
        findings.add(Decider {
            node: output.name.clone(),
            operator: "output".into(),
            form: BatchForm::Alone,
            reason: reason.into(),
            is_padded: false,
        });
    }
    findings
}

impl Findings {
    fn add(&mut self, decider: Decider) {
        self.form = Some(self.form.map_or(decider.form, |form| form.strictest(decider.form)));
        if self.deciders.len() < DECIDERS_MAX {
            self.deciders.push(decider);
        }
    }
}

/// A graph, and its place in the model.
#[derive(Clone, Copy)]
struct Walk<'w> {
    opset: i64,
    /// Whether it is the model's main graph, whose nodes can be rewritten.
    main: bool,
    /// Names that are inputs. Constants of these names aren't prepared, because a caller may give others.
    inputs: &'w BTreeSet<&'w str>,
}

impl Walk<'_> {
    fn graph<'g>(self, graph: &'g Graph<'g>, scope: &mut Scope<'_, 'g>, findings: &mut Findings) {
        for constant in &graph.constants {
            let mut value = Value::constant(constant);
            value.prepared = !self.inputs.contains(constant.name);
            scope.values.insert(constant.name, value);
        }
        for (number, node) in graph.nodes.iter().enumerate() {
            let outputs = self.node(number, node, scope, findings).unwrap_or_else(|reason| {
                findings.add(Decider {
                    node: node.label(),
                    operator: node.operator.into(),
                    form: BatchForm::Alone,
                    reason,
                    is_padded: false,
                });
                Vec::new()
            });
            let outputs = outputs.into_iter().chain(std::iter::repeat_with(Value::lost));
            // An output without a name isn't used; those after it keep their places.
            for (&name, value) in node.outputs.iter().zip(outputs).filter(|(name, _)| !name.is_empty()) {
                findings.weight += value.weight();
                // A graph that is larger than any real one was made to do harm.
                let kept = if findings.weight > WEIGHT_MAX { self.dropped(node, findings) } else { value };
                scope.values.insert(name, kept);
            }
        }
    }

    /// Returns the value that replaces one for which there is no room.
    fn dropped(self, node: &Node<'_>, findings: &mut Findings) -> Value {
        findings.add(Decider {
            node: node.label(),
            operator: node.operator.into(),
            form: BatchForm::Alone,
            reason: "the graph is too large to be followed".into(),
            is_padded: false,
        });
        Value::lost()
    }

    /// Returns the outputs of a node, or why nothing is known about them.
    fn node<'g>(
        self,
        number: usize,
        node: &'g Node<'g>,
        scope: &Scope<'_, 'g>,
        findings: &mut Findings,
    ) -> Result<Vec<Value>, Why> {
        // ONNX Runtime sorts nodes; this walk doesn't.
        let input = |&name: &&str| match name {
            "" => Ok(None),
            name => scope.find(name).cloned().map(Some).ok_or("one of its inputs isn't made by a node before it"),
        };
        let inputs: Vec<_> = node.inputs.iter().map(input).collect::<Result<_, _>>()?;
        // The reason is among the deciders already.
        if inputs.iter().flatten().any(Value::is_lost) {
            return Ok(Vec::new());
        }
        let number = self.main.then_some(number);
        let call = Call { node, inputs, opset: self.opset, number };
        let is_standard = node.domain.is_empty();
        let Some(entry) = table::entry(node.operator).filter(|_| is_standard) else {
            return unknown(&call, is_standard);
        };
        if entry.rule == Rule::If {
            return self.branches(&call, scope, findings);
        }
        let found = rules::apply(&call, &entry)?;
        let decider = |form, reason, is_padded| Decider {
            node: node.label(),
            operator: node.operator.into(),
            form,
            reason,
            is_padded,
        };
        match found.needs {
            Needs::Nothing => {}
            Needs::Rows(rows, reason) => findings.add(decider(BatchForm::Multiple(rows), reason, false)),
            Needs::Padding(padding, reason) => {
                findings.paddings.push(padding);
                findings.add(decider(BatchForm::Any, reason, true));
            }
            Needs::PaddingAndRows(padding, reason, rows, more) => {
                findings.paddings.push(padding);
                findings.add(decider(BatchForm::Any, reason, true));
                findings.add(decider(BatchForm::Multiple(rows), more, false));
            }
        }
        Ok(found.outputs)
    }

    /// Walks the branches of an `If` whose condition is the same for all rows.
    fn branches<'g>(
        self,
        call: &Call<'_, 'g>,
        scope: &Scope<'_, 'g>,
        findings: &mut Findings,
    ) -> Result<Vec<Value>, Why>
    where
        'g: 'g,
    {
        let condition = call.inputs.first().and_then(Option::as_ref).ok_or("it has no condition")?;
        if condition.is_batched() {
            return Err("which branch is taken depends on what rows hold".into());
        }
        let known = condition.known_integers().and_then(|all| all.first().copied());
        if known.is_none() && condition.origin == Origin::Count {
            return Err("which branch is taken depends on the number of rows in the run".into());
        }
        let branch = |name: &str| call.node.attributes.iter().find(|attribute| attribute.name == name);
        let mut taken: Option<Vec<Value>> = None;
        for (name, when) in [("then_branch", true), ("else_branch", false)] {
            if known.is_some_and(|known| (known != 0) != when) {
                continue;
            }
            let graph = branch(name).and_then(|attribute| attribute.graphs.first()).ok_or("it lacks a branch")?;
            let mut inner = Scope { values: BTreeMap::new(), outer: Some(scope) };
            Walk { main: false, inputs: &BTreeSet::new(), ..self }.graph(graph, &mut inner, findings);
            let value = |name: &&str| inner.find(name).cloned().unwrap_or_else(Value::lost);
            let outputs: Vec<Value> = graph.outputs.iter().map(value).collect();
            taken = Some(match taken {
                None => outputs,
                Some(others) => {
                    others.into_iter().zip(outputs).map(|(one, other)| either(one, &other)).collect::<Result<_, _>>()?
                }
            });
        }
        Ok(taken.unwrap_or_default())
    }
}

/// Returns what is known about a value that is one of two.
fn either(one: Value, other: &Value) -> Result<Value, Why> {
    if one.is_lost() || other.is_lost() {
        return Ok(Value::lost());
    }
    let origin = one.origin.max(other.origin).max(Origin::Shared);
    if one.axis() != other.axis() || one.dtype != other.dtype {
        return Err("its branches give rows in different dimensions".into());
    }
    let shape = match (one.shape, &other.shape) {
        (Some(one), Some(other)) if one.len() == other.len() => {
            let size = |(&one, &other): (&Size, &Size)| if one == other { one } else { Size::Unknown };
            Some(one.iter().zip(other).map(size).collect())
        }
        _ if origin == Origin::Rows => return Err("its branches give rows of different shapes".into()),
        _ => None,
    };
    let orders = if one.orders.is_own() && other.orders.is_own() { Orders::OWN } else { Orders::UNKNOWN };
    Ok(Value { orders, ..Value::new(one.dtype, shape, origin) })
}

/// Returns the outputs of an operator that wasn't tested. It does no harm if all rows share its result, and is refused otherwise.
fn unknown(call: &Call<'_, '_>, is_standard: bool) -> Result<Vec<Value>, Why> {
    let has_graphs = call.node.attributes.iter().any(|attribute| !attribute.graphs.is_empty());
    let shared = call.inputs.iter().flatten().all(|value| !value.is_batched() && value.origin <= Origin::Shared);
    if has_graphs {
        return Err("it is control flow".into());
    }
    if !shared || !is_standard {
        return Err("it isn't among the operators that were tested".into());
    }
    let origin = call.inputs.iter().flatten().map(|value| value.origin).max().unwrap_or(Origin::Constant);
    let value = Value { orders: Orders::UNKNOWN, ..Value::new(0, None, origin) };
    Ok(vec![value; call.node.outputs.len()])
}
