//! Files that were made to do harm: reading and walking them ends, soon, without a panic, and without much memory.

use super::super::model::dtype;
use super::super::read::{Unreadable, read};
use super::super::wire::{put_bytes, put_integer};
use super::super::{ModelGraph, classify, read_graph};
use super::tensor;
use wasm_engine_components::BatchForm;

/// A node, as it is written.
fn node(operator: &str, inputs: &[&str], outputs: &[&str], more: &[(u32, Vec<u8>)]) -> Vec<u8> {
    let mut node = Vec::new();
    inputs.iter().for_each(|name| put_bytes(&mut node, 1, name.as_bytes()));
    outputs.iter().for_each(|name| put_bytes(&mut node, 2, name.as_bytes()));
    put_bytes(&mut node, 4, operator.as_bytes());
    more.iter().for_each(|(number, bytes)| put_bytes(&mut node, *number, bytes));
    node
}

/// A graph of parts, each with its number: 1 is a node, 5 a constant.
fn graph(parts: &[(u32, Vec<u8>)]) -> Vec<u8> {
    let mut graph = Vec::new();
    parts.iter().for_each(|(number, part)| put_bytes(&mut graph, *number, part));
    graph
}

fn model(graph: &[u8]) -> Vec<u8> {
    let mut model = Vec::new();
    put_integer(&mut model, 1, 10);
    put_bytes(&mut model, 7, graph);
    let mut opset = Vec::new();
    put_bytes(&mut opset, 1, b"");
    put_integer(&mut opset, 2, 21);
    put_bytes(&mut model, 8, &opset);
    model
}

fn is_too_large(content: &[u8]) -> bool {
    matches!(read(content), Err(Unreadable::TooLarge(_)))
}

/// Everything that is asked of a graph. Returns its form; `None` if it can't be read.
fn look(content: &[u8]) -> Option<BatchForm> {
    let read = read_graph(content).ok()?;
    let ModelGraph { model, .. } = &read;
    let _ = (
        read.taken_function(),
        read.random_node(),
        read.dividing_node(false),
        read.has_loops(),
        read.shaping_node("y"),
    );
    let mut form = BatchForm::Any;
    for (shape, of) in [(&[-1, 5][..], dtype::F32), (&[-1, 3, 4], dtype::I64), (&[2, -1, 6], dtype::F32)] {
        let mut names = vec!["x"];
        names.extend(model.graph.inputs.iter().copied().take(8));
        let inputs: Vec<_> = names.iter().map(|name| tensor(name, of, shape)).collect();
        let found = classify::classify(model, &inputs, &[tensor("y", of, shape)]);
        form = form.strictest(found.form.unwrap_or(BatchForm::Any));
        let classes =
            super::super::Classes { form: BatchForm::Any, deciders: found.deciders, paddings: found.paddings };
        if let Some(padded) = read.padded(&classes) {
            assert!(read_graph(&padded).is_ok() || padded.len() > content.len());
        }
    }
    Some(form)
}

#[test]
fn graphs_in_graphs_have_a_limit() {
    let mut inner = graph(&[(1, node("Exp", &["x"], &["y"], &[]))]);
    for depth in 0..2_000 {
        let mut attribute = Vec::new();
        put_bytes(&mut attribute, 1, b"then_branch");
        put_bytes(&mut attribute, 6, &inner);
        inner = graph(&[(1, node("If", &["c"], &["y"], &[(5, attribute)]))]);
        if [5, 100, 1_999].contains(&depth) {
            assert_eq!(look(&model(&inner)).is_some(), depth == 5);
        }
    }
    assert!(is_too_large(&model(&inner)));
}

#[test]
fn circles_and_names_that_come_twice_are_run_row_by_row() {
    let circle = [node("Add", &["x", "b"], &["a"], &[]), node("Add", &["a", "x"], &["b"], &[])];
    let end = node("Neg", &["b"], &["y"], &[]);
    let parts: Vec<_> = circle.into_iter().chain([end]).map(|node| (1, node)).collect();
    assert_eq!(look(&model(&graph(&parts))), Some(BatchForm::Alone));
    let own = [(1, node("Add", &["y", "y"], &["y"], &[]))];
    assert_eq!(look(&model(&graph(&own))), Some(BatchForm::Alone));
    // ONNX Runtime would put these in order.
    let backwards = [(1, node("Exp", &["a"], &["y"], &[])), (1, node("Exp", &["x"], &["a"], &[]))];
    assert_eq!(look(&model(&graph(&backwards))), Some(BatchForm::Alone));
    let twice = [(1, node("Exp", &["x"], &["y"], &[])), (1, node("ReduceSum", &["x"], &["y"], &[]))];
    assert_eq!(look(&model(&graph(&twice))), Some(BatchForm::Alone));
}

#[test]
fn a_million_nodes_are_too_many_and_so_are_a_million_of_anything_else() {
    let many = |number: u32, part: &[u8], count: usize| {
        let mut graph = Vec::new();
        (0..count).for_each(|_| put_bytes(&mut graph, number, part));
        model(&graph)
    };
    let nodes = many(1, &node("Exp", &["x"], &["y"], &[]), 1_000_000);
    assert!(is_too_large(&nodes));
    assert!(is_too_large(&many(1, b"", 1_000_000)));
    assert!(is_too_large(&many(5, b"", 1_000_000)));
    assert!(is_too_large(&many(11, b"", 3_000_000)));
    let mut attributes = Vec::new();
    (0..1_000_000).for_each(|_| put_bytes(&mut attributes, 5, b""));
    assert!(is_too_large(&model(&graph(&[(1, attributes)]))));
    let names = vec!["x"; 100_000];
    assert!(is_too_large(&model(&graph(&[(1, node("Sum", &names, &["y"], &[]))]))));
    // As many as are taken end soon, whatever they are.
    for operator in ["Dropout", "ReduceSum", "Unsqueeze", "Transpose", "Reshape", "Einsum"] {
        let part = node(operator, &["x", "", "t"], &["y"], &[]);
        assert!(look(&many(1, &part, 100_000)).is_some(), "{operator}");
    }
}

/// Each node makes its tensor larger: what is kept of all has a limit.
#[test]
fn tensors_that_grow_without_end_are_let_go() {
    let mut constant = Vec::new();
    put_integer(&mut constant, 1, 60);
    put_integer(&mut constant, 2, dtype::I64);
    put_bytes(&mut constant, 7, &[0; 60]);
    put_bytes(&mut constant, 8, b"axes");
    let grows = |count: usize| {
        let mut parts = vec![(5, constant.clone())];
        let names: Vec<String> =
            (0..=count).map(|number| if number == 0 { "x".into() } else { format!("n{number}") }).collect();
        parts.extend(names.windows(2).map(|pair| (1, node("Gather", &["axes", &pair[0]], &[&pair[1]], &[]))));
        parts.extend(names.windows(2).map(|pair| (1, node("Unsqueeze", &[&pair[0], "axes"], &[&pair[1]], &[]))));
        model(&graph(&parts))
    };
    assert_eq!(look(&grows(20_000)), Some(BatchForm::Alone));
}

#[test]
fn names_may_be_anything_and_sizes_may_lie() {
    let names = ["\u{1b}[2J", "\0", "a\nb", "\u{202e}", "wasm-engine/padded-0/sum", "wasm-engine/padded-1/sum"];
    for name in names {
        let parts = [(1, node("ReduceSum", &["x"], &[name], &[])), (1, node(name, &[name], &["y"], &[]))];
        assert_eq!(look(&model(&graph(&parts))), Some(BatchForm::Alone), "{name:?}");
    }
    // Names that aren't text are no names.
    let mut broken = Vec::new();
    put_bytes(&mut broken, 4, &[0xff, 0xfe]);
    assert_eq!(look(&model(&graph(&[(1, broken)]))), None);
    for dims in [[i64::MAX, i64::MAX], [-1, -1], [0, i64::MAX], [1 << 40, 1 << 40], [i64::MIN, 3], [65_536, 65_536]] {
        for operator in [
            "Reshape",
            "Pad",
            "Slice",
            "Gather",
            "Concat",
            "Tile",
            "Expand",
            "MatMul",
            "Conv",
            "Unsqueeze",
            "ConstantOfShape",
        ] {
            let mut constant = Vec::new();
            dims.iter().for_each(|&size| put_integer(&mut constant, 1, size));
            put_integer(&mut constant, 2, dtype::I64);
            put_bytes(&mut constant, 8, b"c");
            put_bytes(&mut constant, 9, &[1, 0, 0, 0, 0, 0, 0, 0]);
            let parts = |inputs: &[&str]| [(5, constant.clone()), (1, node(operator, inputs, &["y"], &[]))];
            for inputs in [&["x", "c", "c", "c", "c"][..], &["c", "x"], &["c", "c", "c"], &["c"]] {
                let _ = look(&model(&graph(&parts(inputs)))).unwrap();
            }
        }
    }
}

/// Random numbers, the same every time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end.max(1)
    }
}

/// Models of the tests, changed at random: never a panic, and always an end.
#[test]
fn mutated_models_are_read_or_refused() {
    const MODELS: [&[u8]; 9] = [
        include_bytes!("../../../../tests/models/two.onnx"),
        include_bytes!("../../../../tests/models/loop.onnx"),
        include_bytes!("../../../../tests/models/state.onnx"),
        include_bytes!("../../../../tests/models/mixed-sum.onnx"),
        include_bytes!("../../../../tests/models/rare-neighbour.onnx"),
        include_bytes!("../../../../tests/models/policy.onnx"),
        include_bytes!("../../../../tests/models/dynamic-quantised.onnx"),
        include_bytes!("../../../../tests/models/seq.onnx"),
        include_bytes!("../../../../tests/models/types.onnx"),
    ];
    let mut numbers = Numbers(10);
    let (mut read, mut refused) = (0, 0);
    for round in 0..6_000 {
        let mut content = MODELS[round % MODELS.len()].to_vec();
        for _ in 0..=numbers.below(2) {
            let at = numbers.below(content.len());
            match numbers.below(12) {
                0 | 6..=9 => content[at] ^= 1 << numbers.below(8),
                1 => content[at] = [0, 1, 0x7f, 0x80, 0xff][numbers.below(5)],
                2 => drop(content.drain(at..(at + numbers.below(9)).min(content.len()))),
                3 => {
                    let other = MODELS[numbers.below(MODELS.len())];
                    let from = numbers.below(other.len());
                    let part = &other[from..(from + numbers.below(64)).min(other.len())];
                    content.splice(at..at, part.iter().copied());
                }
                4 | 10 => {
                    let part = content[at..(at + numbers.below(32)).min(content.len())].to_vec();
                    content.splice(at..at, part);
                }
                _ => content.truncate(at),
            }
            if content.is_empty() {
                content.push(0);
            }
        }
        if look(&content).is_some() { read += 1 } else { refused += 1 }
    }
    // Both happen, so that the walk was tested, too.
    assert!(read > 500 && refused > 500, "{read} were read, {refused} weren't");
}
