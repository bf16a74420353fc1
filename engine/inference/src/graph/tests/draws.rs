//! Operators that draw are found wherever they are.

use super::super::model::{Attribute, Function, Graph, Node, OnnxModel};
use super::super::random;
use super::{graphs, node, numbers, with};

fn model(nodes: Vec<Node<'static>>) -> OnnxModel<'static> {
    OnnxModel { graph: Graph { nodes, ..Graph::default() }, ..OnnxModel::default() }
}

fn function(nodes: Vec<Node<'static>>) -> Function<'static> {
    Function { name: "f", domain: "own", nodes, ..Function::default() }
}

fn found(model: &OnnxModel<'_>) -> Option<String> {
    random::find(model).map(|found| format!("{} {}", found.operator, found.node))
}

#[test]
fn each_operator_that_draws_is_named() {
    let all = ["Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"];
    for operator in all {
        let said = Some(format!("{operator} r"));
        assert_eq!(found(&model(vec![node("Exp", "x", "e"), node(operator, "e", "r")])), said);
        let inner = || Graph { nodes: vec![node(operator, "x", "r")], ..Graph::default() };
        // In a branch, in a loop in a branch, and in a function.
        let branch = with(node("If", "c", "y"), graphs("then_branch", inner()));
        assert_eq!(found(&model(vec![branch])), said);
        let body = Graph { nodes: vec![with(node("Loop", "n", "z"), graphs("body", inner()))], ..Graph::default() };
        assert_eq!(found(&model(vec![with(node("If", "c", "y"), graphs("else_branch", body))])), said);
        let functions = vec![function(vec![node(operator, "x", "r")])];
        assert_eq!(found(&OnnxModel { functions, ..model(vec![node("Exp", "x", "y")]) }), said);
        let functions = vec![function(vec![with(node("If", "c", "y"), graphs("then_branch", inner()))])];
        assert_eq!(found(&OnnxModel { functions, ..OnnxModel::default() }), said);
    }
    assert_eq!(found(&model(vec![node("Exp", "x", "y")])), None);
}

#[test]
fn a_dropout_draws_where_it_may_be_trained() {
    let trained = |inputs, known: &[i64]| {
        let mut model = model(vec![node("Dropout", inputs, "y")]);
        model.graph.constants.push(numbers("t", known));
        found(&model).is_some()
    };
    assert!(!trained("x", &[]), "it is never trained unless that is said");
    assert!(!trained("x ratio", &[]) && !trained("x - -", &[]));
    assert!(!trained("x - t", &[0]));
    assert!(trained("x - t", &[1]) && trained("x - t", &[]) && trained("x - other", &[0]));
    // Whoever runs the model may give another.
    let mut given = model(vec![node("Dropout", "x - t", "y")]);
    given.graph.constants.push(numbers("t", &[0]));
    given.graph.inputs.push("t");
    assert!(found(&given).is_some());
    // A branch sees the constants around it, and a function has its own.
    let branch = Graph { nodes: vec![node("Dropout", "x - t", "y")], ..Graph::default() };
    let mut outer = model(vec![with(node("If", "c", "y"), graphs("then_branch", branch))]);
    assert!(found(&outer).is_some());
    outer.graph.constants.push(numbers("t", &[0]));
    assert!(found(&outer).is_none());
    let value = Attribute { name: "value", tensor: Some(numbers("", &[0])), ..Attribute::default() };
    let body = vec![with(node("Constant", "", "t"), value), node("Dropout", "x - t", "y")];
    assert!(found(&OnnxModel { functions: vec![function(body)], ..OnnxModel::default() }).is_none());
    // A function may be called like an operator that draws, and doesn't.
    let mut sampling = node("Sampling", "x", "y");
    sampling.domain = "own";
    let own = Function { name: "Sampling", ..function(vec![node("Exp", "a", "b")]) };
    assert!(found(&OnnxModel { functions: vec![own], ..model(vec![sampling]) }).is_none());
    // What a function says isn't known where it has no constant.
    let functions = vec![function(vec![node("Dropout", "x - t", "y")])];
    assert!(found(&OnnxModel { functions, ..OnnxModel::default() }).is_some());
}
