//! Divisions that would end the process are found wherever they are, and others are let be.

use super::super::model::{Function, Graph, Node, OnnxModel, Tensor, dtype};
use super::super::traps;
use super::{graphs, integer, node, numbers, with};

/// A model of inputs `a` and `b` of one type.
fn model(of: i64, nodes: Vec<Node<'static>>) -> OnnxModel<'static> {
    let graph = Graph { nodes, inputs: vec!["a", "b"], input_types: vec![of, of], ..Graph::default() };
    OnnxModel { graph, ..OnnxModel::default() }
}

fn found(model: &OnnxModel<'_>) -> Option<String> {
    let found = traps::find(model, true);
    assert!(found.as_ref().is_none_or(|found| !found.by_zero));
    found.map(|found| format!("{} {}", found.operator, found.node))
}

/// Of a library that makes no error of a division by 0, constants without a zero alone may divide whole numbers.
#[test]
fn where_zeros_are_not_seen_nothing_divides_that_may_be_one() {
    let found = |model: &OnnxModel<'_>| traps::find(model, false).map(|found| (found.node, found.by_zero));
    let by = |of: i64, values: &[i64], operator: &'static str| {
        let mut by = model(of, vec![node("Identity", "k", "n"), node(operator, "a n", "y")]);
        by.graph.constants.push(Tensor { dtype: of, ..numbers("k", values) });
        found(&by)
    };
    for operator in ["Div", "Mod"] {
        for of in [dtype::I8, dtype::U8, dtype::I32, dtype::I64] {
            assert_eq!(by(of, &[7, 2], operator), None);
            assert_eq!(by(of, &[7, 0], operator), Some(("y".to_owned(), true)));
        }
        for of in [dtype::F32, dtype::F64] {
            assert_eq!(by(of, &[0], operator), None);
        }
        // A tensor may have no elements.
        let sizes = vec![node("Shape", "a", "s"), node(operator, "s s", "y")];
        assert_eq!(found(&model(dtype::F32, sizes.clone())), Some(("y".to_owned(), true)));
        assert_eq!(traps::find(&model(dtype::F32, sizes), true), None);
        assert_eq!(found(&model(dtype::U8, vec![node(operator, "a b", "y")])), Some(("y".to_owned(), true)));
        assert_eq!(found(&model(dtype::I64, vec![node(operator, "a b", "y")])), Some(("y".to_owned(), false)));
    }
}

#[test]
fn rows_divided_by_rows_are_refused_where_they_are_whole() {
    for operator in ["Div", "Mod"] {
        for of in [dtype::I32, dtype::I64] {
            let said = Some(format!("{operator} y"));
            assert_eq!(found(&model(of, vec![node(operator, "a b", "y")])), said);
            // In a branch, in a loop, in a function, and before the node that makes the divisor.
            let inner = || Graph { nodes: vec![node(operator, "a b", "y")], outputs: vec!["y"], ..Graph::default() };
            assert_eq!(found(&model(of, vec![with(node("If", "c", "z"), graphs("else_branch", inner()))])), said);
            let carried = Graph { inputs: vec!["i", "c", "a"], input_types: vec![0; 3], ..inner() };
            assert_eq!(found(&model(of, vec![with(node("Loop", "n c a", "z"), graphs("body", carried))])), said);
            let mut called = node("Ratio", "a b", "z");
            called.domain = "own";
            let function = Function {
                name: "Ratio",
                domain: "own",
                overload: "",
                inputs: vec!["p", "q"],
                outputs: vec!["y"],
                nodes: vec![node(operator, "p q", "y")],
            };
            assert_eq!(found(&OnnxModel { functions: vec![function], ..model(of, vec![called]) }), said);
            let backwards = vec![node(operator, "a c", "y"), node("Neg", "b", "c")];
            assert_eq!(found(&model(of, backwards)), said);
            let cast = vec![with(node("Cast", "b", "c"), integer("to", of)), node(operator, "c c", "y")];
            assert_eq!(found(&model(dtype::F32, cast)), said, "a float may be cast to anything");
        }
        for of in [dtype::F32, dtype::F64, dtype::U8, dtype::I8] {
            assert_eq!(found(&model(of, vec![node(operator, "a b", "y")])), None);
        }
    }
    let mut remainder = node("Mod", "a b", "y");
    assert!(found(&model(dtype::I64, vec![remainder.clone()])).is_some());
    remainder.attributes.push(integer("fmod", 1));
    assert_eq!(found(&model(dtype::I64, vec![remainder])), None, "it is computed with floats");
    // Nobody knows what another one's operator gives.
    let mut other = node("Other", "a", "c");
    other.domain = "com.example";
    assert!(found(&model(dtype::F32, vec![other.clone(), node("Div", "c c", "y")])).is_some());
    assert_eq!(found(&model(dtype::F32, vec![other, node("Div", "c b", "y")])), None);
}

#[test]
fn sizes_and_constants_divide_and_are_divided() {
    let by = |values: &[i64]| {
        let mut by = model(dtype::I64, vec![node("Div", "a k", "y")]);
        by.graph.constants.push(numbers("k", values));
        found(&by)
    };
    assert_eq!((by(&[7]), by(&[2, -2]), by(&[0])), (None, None, None));
    assert!(by(&[3, -1]).is_some());
    // A constant of which not all is kept.
    let mut large = model(dtype::I64, vec![node("Div", "a k", "y")]);
    large.graph.constants.push(Tensor { name: "k", dtype: dtype::I64, dims: vec![1000], ..Tensor::default() });
    assert!(found(&large).is_some());
    let sizes =
        vec![node("Shape", "a", "s"), node("Gather", "s s", "n"), node("Div", "b n", "c"), node("Div", "s b", "y")];
    assert_eq!(found(&model(dtype::I64, sizes)), None);
    let summed = vec![node("Shape", "a", "s"), node("Sub", "s s", "n"), node("Div", "b n", "y")];
    assert!(found(&model(dtype::I64, summed)).is_some());
}

/// As exporters compute windows and views. Two sizes of a tensor without elements may have the product 2^64 - 1, which is -1.
#[test]
fn what_is_computed_from_sizes_divides_unless_it_may_become_negative() {
    let by = |nodes: &[(&'static str, &'static str, &'static str)], of: i64| {
        let mut by = model(of, vec![node("Shape", "a", "s")]);
        by.graph.nodes.extend(nodes.iter().map(|&(operator, inputs, output)| node(operator, inputs, output)));
        let number = |name, number| Tensor { dtype: of, ..numbers(name, &[number]) };
        by.graph.constants = vec![number("seven", 7), number("large", i64::from(i32::MAX))];
        by.graph.nodes.push(node("Div", "b n", "y"));
        found(&by).is_none()
    };
    let (wide, narrow) = (dtype::I64, dtype::I32);
    assert!(by(&[("Mul", "seven seven", "n")], wide) && by(&[("Mul", "seven seven", "n")], narrow));
    assert!(by(&[("Mul", "large seven", "n")], wide) && !by(&[("Mul", "large seven", "n")], narrow));
    assert!(by(&[("Mul", "large large", "l"), ("Div", "l seven", "n")], wide));
    assert!(!by(&[("Mul", "large large", "l"), ("Mul", "l large", "n")], wide));
    for operator in ["Div", "Mod", "Max", "Min"] {
        assert!(by(&[(operator, "s seven", "n")], wide), "{operator}");
    }
    for operator in ["Mul", "Add", "Sub"] {
        assert!(!by(&[(operator, "s s", "n")], wide), "{operator}");
    }
    assert!(!by(&[("Add", "b seven", "n")], wide) && !by(&[("Max", "b seven", "n")], wide));
}

/// Functions that call each other, and more calls than anybody makes.
#[test]
fn calls_end() {
    let body = |name: &'static str| Function {
        name,
        domain: "own",
        overload: "",
        inputs: vec!["x"],
        outputs: vec!["y"],
        nodes: ["f x", "g x", "f x", "g x"]
            .map(|call| {
                let mut called = node(if call == "f x" { "f" } else { "g" }, "x", "y");
                called.domain = "own";
                called
            })
            .into(),
    };
    let mut called = node("f", "a", "y");
    called.domain = "own";
    let all = OnnxModel { functions: vec![body("f"), body("g")], ..model(dtype::F32, vec![called]) };
    assert!(found(&all).is_some(), "nobody knows what is in it");
}

/// Of the functions of one name, the one that is called counts, and a function takes no standard operator's place.
#[test]
fn functions_are_told_apart_as_onnx_runtime_does() {
    let function = |domain, name, overload, nodes| Function {
        name,
        domain,
        overload,
        inputs: vec!["p", "q"],
        outputs: vec!["r"],
        nodes,
    };
    let functions = || {
        let divides = function("own", "f", "a", vec![node("Div", "p q", "r")]);
        vec![divides, function("own", "f", "b", vec![node("Add", "p q", "r")])]
    };
    for (overload, is_refused) in [("a", true), ("b", false)] {
        let call = Node { domain: "own", overload, ..node("f", "a b", "y") };
        let called = OnnxModel { functions: functions(), ..model(dtype::I32, vec![call]) };
        assert_eq!(found(&called).is_some(), is_refused, "{overload}");
    }
    for domain in ["", "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc"] {
        let hides = function(domain, "Div", "", vec![node("Add", "p q", "r")]);
        let model = OnnxModel { functions: vec![hides], ..model(dtype::I32, vec![node("Div", "a b", "y")]) };
        assert_eq!(found(&model), Some("Div y".into()), "{domain}");
        assert_eq!(model.taken_function().map(|(_, name)| name), Some("Div"), "{domain}");
    }
    for domain in ["own", "pkg.onnxscript.torch_lib", "this", "com.microsofter", "ai.onnxruntime"] {
        let model = OnnxModel { functions: vec![function(domain, "Div", "", vec![])], ..OnnxModel::default() };
        assert_eq!(model.taken_function(), None, "{domain}");
    }
}

/// What may be read in two ways isn't known.
#[test]
fn constants_that_two_things_may_be_do_not_divide() {
    let mut by = model(dtype::I64, vec![node("Div", "a k", "y")]);
    by.graph.constants = vec![numbers("k", &[-1]), numbers("k", &[2])];
    assert!(found(&by).is_some());
    let value = |value| with(node("Constant", "", "k"), integer("value_int", value));
    let mut by = model(dtype::I64, vec![value(2), node("Div", "a k", "y")]);
    assert_eq!(found(&by), None);
    by.graph.constants = vec![numbers("k", &[-1])];
    assert!(found(&by).is_some());
    let both = with(value(2), integer("value_ints", -1));
    assert!(found(&model(dtype::I64, vec![both, node("Div", "a k", "y")])).is_some());
    // 255 is -1 in eight bits, and stays so when it has more of them again.
    for (of, is_refused) in [(dtype::I8, true), (dtype::I32, true), (dtype::I64, false), (dtype::F32, false)] {
        let mut cast = model(dtype::I64, vec![]);
        let casts = [("k", "m", of), ("m", "n", dtype::I64)];
        cast.graph.nodes = casts.map(|(from, to, of)| with(node("Cast", from, to), integer("to", of))).into();
        cast.graph.nodes.push(node("Div", "a n", "y"));
        cast.graph.constants = vec![numbers("k", &[255])];
        assert_eq!(found(&cast).is_some(), is_refused, "{of}");
    }
}
