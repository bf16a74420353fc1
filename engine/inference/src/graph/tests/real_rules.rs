//! Single rules of the table, as models use them.

use super::super::model::{Attribute, Graph, Node, dtype};
use super::super::pad::Reduction;
use super::super::rules::COUPLED;
use super::{Case, graphs, integer, integers, node, numbers, tensor, weights, with};
use wasm_engine_components::BatchForm::{Alone, Any, Multiple};

const F32: i64 = dtype::F32;

#[test]
fn functions_of_elements_have_their_class_by_type_and_width() {
    let one = |operator, of, width| Case::new(vec![node(operator, "x", "y")], vec![tensor("x", of, &[-1, width])]);
    one("Exp", F32, 5).is(Any, "");
    one("Sin", F32, 8).is(Any, "");
    one("Sin", F32, 5).is(Multiple(16), "a row has 5 elements");
    for operator in ["Sin", "Cos"] {
        one(operator, dtype::F64, 6).is(Any, "");
        one(operator, dtype::F64, 5).is(Alone, "pairs of elements, and a row has 5 elements");
        one(operator, dtype::F16, 8).is(Alone, "elements of this type");
    }
    one("Det", F32, 4).is(Alone, "isn't among the operators that were tested");
}

#[test]
fn the_greatest_of_two_depends_on_the_pieces_in_which_one_is_repeated() {
    let of = |z: &[i64], width| {
        let inputs = vec![tensor("x", F32, &[-1, width]), tensor("z", F32, z)];
        Case::new(vec![node("Max", "x z", "y")], inputs)
    };
    of(&[-1, 5], 5).is(Multiple(16), "the last elements");
    of(&[-1, 1], 5).is(Alone, "it repeats one input along the other");
    of(&[-1, 1], 8).is(Any, "");
    let bound = Case::of_f32(vec![node("Max", "x c", "y")], &[-1, 5]).with([weights("c", F32, &[])]);
    bound.is(Multiple(16), "the last elements");
}

#[test]
fn control_flow_is_run_row_by_row_unless_its_branch_is_known() {
    let body = || Graph { nodes: vec![node("Exp", "x", "b")], outputs: vec!["b"], ..Graph::default() };
    for operator in ["Loop", "Scan"] {
        let case = Case::of_f32(vec![with(node(operator, "x", "y"), graphs("body", body()))], &[-1, 4]);
        case.is(Alone, "it is control flow");
    }
    let branches = |condition, then: Node<'static>, otherwise: Node<'static>| {
        let graph = |node| Graph { nodes: vec![node], outputs: vec!["b"], ..Graph::default() };
        with(
            with(node("If", condition, "y"), graphs("then_branch", graph(then))),
            graphs("else_branch", graph(otherwise)),
        )
    };
    // By what rows hold.
    let of_rows = vec![node("Greater", "x zero", "c"), branches("c", node("Exp", "x", "b"), node("Neg", "x", "b"))];
    Case::of_f32(of_rows, &[-1, 4]).with([weights("zero", F32, &[])]).is(Alone, "depends on what rows hold");
    // By the number of rows in the run.
    let of_count = vec![
        node("Shape", "x", "s"),
        node("Gather", "s zero", "n"),
        node("Equal", "n one", "c"),
        branches("c", node("Exp", "x", "b"), node("Neg", "x", "b")),
    ];
    let known = [numbers("zero", &[0]), numbers("one", &[1])];
    Case::of_f32(of_count, &[-1, 4]).with(known).is(Alone, "depends on the number of rows");
    // By a size that is known: the other branch is never taken.
    let of_size = |size: i64| {
        let nodes = vec![
            node("Shape", "x", "s"),
            node("Gather", "s one", "n"),
            node("Equal", "n four", "c"),
            branches("c", node("Exp", "x", "b"), node("Det", "x", "b")),
        ];
        Case::of_f32(nodes, &[-1, size]).with([numbers("one", &[1]), numbers("four", &[4])])
    };
    of_size(4).is(Any, "");
    of_size(5).is(Alone, "isn't among the operators");
    // By an input that all rows share: both branches must do.
    let shared = |other| {
        let nodes = vec![branches("c", node("Exp", "x", "b"), node(other, "x", "b"))];
        Case::new(nodes, vec![tensor("x", F32, &[-1, 5]), tensor("c", dtype::BOOL, &[])])
    };
    shared("Neg").is(Any, "");
    shared("Sin").is(Multiple(16), "the last elements");
}

#[test]
fn recurrent_layers_have_their_rows_in_the_second_dimension() {
    let of = |operator, x: &[i64], h: &[i64]| {
        let cell = with(node(operator, "x w r b - h", "all y"), integer("hidden_size", 6));
        let known = [("w", [1, 24, 3]), ("r", [1, 24, 6])].map(|(name, dims)| weights(name, F32, &dims));
        let inputs = vec![tensor("x", F32, x), tensor("h", F32, h)];
        Case::new(vec![cell], inputs).with(known).with([weights("b", F32, &[1, 48])]).with_rows_in(1)
    };
    of("GRU", &[4, -1, 3], &[1, -1, 6]).is(Any, "");
    of("LSTM", &[4, -1, 3], &[1, -1, 6]).is(Any, "");
    of("RNN", &[4, -1, 3], &[1, -1, 6]).is(Multiple(16), "a run of one row");
    // Steps of time for rows: each depends on the one before.
    of("LSTM", &[-1, 1, 3], &[1, 1, 6]).is(Alone, "it wasn't tested in this use");
    // A state whose rows are elsewhere, or that all share.
    of("GRU", &[4, -1, 3], &[-1, 1, 6]).is(Alone, "");
    of("GRU", &[4, -1, 3], &[1, 1, 6]).is(Alone, "it wasn't tested in this use");
}

#[test]
fn what_is_repeated_for_each_row_is_the_same_for_each() {
    let nodes = |shape| {
        let parts = vec![node("Shape", "x", "all"), node("Gather", "all zero", "n"), node("Concat", shape, "shape")];
        let sum = [node("Expand", "c shape", "e"), node("Add", "x e", "y")];
        parts.into_iter().map(|part| with(part, integer("axis", 0))).chain(sum).collect()
    };
    let known = || [numbers("zero", &[0]), numbers("five", &[5]), weights("c", F32, &[5])];
    Case::of_f32(nodes("n five"), &[-1, 5]).with(known()).is(Any, "");
    // In another dimension than that of the rows, the number of rows compares them with each other.
    Case::of_f32(nodes("five n"), &[-1, 5]).with(known()).is(Alone, "");
}

#[test]
fn products_are_by_constants_or_not_as_good() {
    let by = |nodes: Vec<Node<'static>>| Case::of_f32(nodes, &[-1, 3]).with([weights("w", F32, &[3, 5])]);
    by(vec![node("MatMul", "x w", "y")]).is(Any, "");
    // Weights that are there only in the run: by a size that the graph asks for.
    let computed = vec![
        with(node("Shape", "x", "s"), integer("start", 1)),
        with(node("Cast", "s", "f"), integer("to", F32)),
        node("Mul", "w f", "v"),
        node("MatMul", "x v", "y"),
    ];
    by(computed).is(Multiple(16), "a run of one row");
    let equation = |text: &'static str| Attribute { name: "equation", text: text.as_bytes(), ..Attribute::default() };
    by(vec![with(node("Einsum", "x w", "y"), equation("ni,ij->nj"))]).is(Multiple(16), "a run of one row");
    by(vec![with(node("Einsum", "x w", "y"), equation("ni,ij->j"))]).is(Alone, COUPLED);
    // Rows that are multiplied with each other.
    let flipped = vec![node("Transpose", "x", "t"), node("MatMul", "x t", "y")];
    Case::of_f32(flipped, &[-1, 3]).is(Alone, "");
    let dynamic = vec![
        node("DynamicQuantizeLinear", "x", "q s z"),
        node("MatMulInteger", "q w z", "i"),
        with(node("Cast", "i", "y"), integer("to", F32)),
    ];
    Case::of_f32(dynamic, &[-1, 3]).with([weights("w", dtype::I8, &[3, 5])]).is(Alone, COUPLED);
}

fn sum(operator: &'static str, axes: &[i64], shape: &[i64]) -> Case {
    Case::of_f32(vec![node(operator, "x axes", "y")], shape).with([numbers("axes", axes)])
}

#[test]
fn sums_have_the_form_that_their_dimension_and_width_need() {
    for axes in [&[1][..], &[-1]] {
        sum("ReduceSum", axes, &[-1, 8]).is(Any, "");
        let odd = sum("ReduceSum", axes, &[-1, 5]);
        odd.is(Any, "");
        let [padding] = odd.found().paddings[..] else { panic!("it is padded") };
        assert_eq!((padding.reduction, padding.axis, padding.missing, padding.elements), (Reduction::Sum, 1, 3, 5));
    }
    let two = sum("ReduceMean", &[1, 2], &[-1, 3, 6]);
    two.is(Any, "");
    assert_eq!((two.found().paddings[0].axis, two.found().paddings[0].missing), (2, 2));
    sum("ReduceSum", &[1], &[-1, 5, 7]).is(Multiple(16), "a run of one row");
    sum("ReduceMax", &[1], &[-1, 5, 7]).is(Alone, "it wasn't tested in this use");
    sum("ReduceSum", &[0], &[-1, 8]).is(Alone, COUPLED);
    sum("ReduceMean", &[0, 1], &[-1, 8]).is(Alone, COUPLED);
    // One element is what it is.
    let one = sum("ReduceMean", &[1], &[-1, 1]);
    one.is(Any, "");
    assert!(one.found().paddings.is_empty());
    // A dimension of one element behind it: seen or not, it is right.
    let before_one = sum("ReduceSum", &[1], &[-1, 5, 1]);
    before_one.is(Multiple(16), "a run of one row");
    assert_eq!(before_one.found().paddings.len(), 1);
    // Old models have their axes as an attribute.
    Case::of_f32(vec![with(node("ReduceMean", "x", "y"), integers("axes", &[0]))], &[-1, 8]).is(Alone, COUPLED);
}

/// ONNX Runtime moves transpositions past other nodes: a sum has the form that it needs either way.
#[test]
fn sums_after_a_transposition_are_right_in_each_order() {
    let after = |perm: &[i64], between: &'static str, axis: i64, shape: &[i64]| {
        let nodes = vec![
            with(node("Transpose", "x", "t"), integers("perm", perm)),
            node(between, "t", "e"),
            node("ReduceSum", "e axes", "y"),
        ];
        Case::of_f32(nodes, shape).with([numbers("axes", &[axis])])
    };
    // The last dimension was in the middle: it may be padded, and be summed there.
    let moved = after(&[0, 2, 1], "Exp", 2, &[-1, 5, 7]);
    moved.is(Multiple(16), "a run of one row");
    assert_eq!(moved.found().paddings[0].missing, 3);
    // The middle one was the last.
    let back = after(&[0, 2, 1], "Exp", 1, &[-1, 4, 7]);
    back.is(Multiple(16), "a run of one row");
    assert_eq!((back.found().paddings[0].axis, back.found().paddings[0].missing), (1, 1));
    // Other dimensions change places: the last one stays the last.
    let others = after(&[0, 2, 1, 3], "Exp", 3, &[-1, 2, 3, 8]);
    others.is(Any, "");
    // The rows were in the middle, and are again where the sum may be computed.
    after(&[1, 0, 2], "Exp", 2, &[4, -1, 8]).is(Any, "");
    // A layer norm takes its input as it is said to be, so that the transposition is over.
    let ended = vec![
        with(node("Transpose", "x", "t"), integers("perm", &[0, 2, 1])),
        node("LayerNormalization", "t g", "n"),
        node("ReduceSum", "n axes", "y"),
    ];
    Case::of_f32(ended, &[-1, 5, 8]).with([numbers("axes", &[1]), weights("g", F32, &[5])]).is(Multiple(16), "");
    let wide = vec![
        with(node("Transpose", "x", "t"), integers("perm", &[0, 2, 1])),
        node("LayerNormalization", "t g", "n"),
        node("ReduceMax", "n axes", "y"),
    ];
    Case::of_f32(wide, &[-1, 8, 5]).with([numbers("axes", &[2]), weights("g", F32, &[8])]).is(Any, "");
    // The rows themselves.
    after(&[1, 0], "Exp", 1, &[-1, 4]).is(Alone, COUPLED);
}

#[test]
fn parts_of_rows_are_taken_and_parts_of_the_batch_are_not() {
    let cut = |from: &[i64], to: &[i64], axes: &[i64]| {
        let known = [numbers("from", from), numbers("to", to), numbers("axes", axes)];
        Case::of_f32(vec![node("Slice", "x from to axes", "y")], &[-1, 8]).with(known)
    };
    cut(&[1], &[3], &[1]).is(Any, "");
    // All of it, as exporters write it.
    cut(&[0, 1], &[1_000_000_000, 3], &[0, 1]).is(Any, "");
    cut(&[0], &[i64::MAX], &[0]).is(Any, "");
    cut(&[0], &[4], &[0]).is(Alone, COUPLED);
    cut(&[1], &[i64::MAX], &[0]).is(Alone, COUPLED);
    let pads = |pads: &[i64]| Case::of_f32(vec![node("Pad", "x p", "y")], &[-1, 8]).with([numbers("p", pads)]);
    pads(&[0, 2, 0, 1]).is(Any, "");
    pads(&[0, 0, 1, 0]).is(Alone, COUPLED);
    // Pads that are computed as exporters compute them: turned round, and put into rows of two.
    let computed = vec![
        node("Reshape", "p pairs", "a"),
        node("Slice", "a last first zero back", "b"),
        with(node("Transpose", "b", "c"), integers("perm", &[1, 0])),
        node("Reshape", "c flat", "d"),
        with(node("Cast", "d", "e"), integer("to", dtype::I64)),
        node("Pad", "x e", "padded"),
        node("Sin", "padded", "y"),
    ];
    let known = || {
        [
            numbers("pairs", &[-1, 2]),
            numbers("last", &[-1]),
            numbers("first", &[-i64::MAX]),
            numbers("zero", &[0]),
            numbers("back", &[-1]),
            numbers("flat", &[-1]),
        ]
    };
    // The last dimension's pads come first here: 8 + 1 + 3 are a multiple of 4.
    Case::of_f32(computed, &[-1, 8]).with(known()).with([numbers("p", &[1, 3, 0, 0])]).is(Any, "");
}

/// Outputs that nobody asks for have no names: the others keep their places.
#[test]
fn outputs_without_a_name_move_no_other() {
    let mut cell = with(node("GRU", "x w r b", "- y"), integer("hidden_size", 6));
    let known = || [weights("w", F32, &[1, 18, 3]), weights("r", F32, &[1, 18, 6]), weights("b", F32, &[1, 36])];
    let state = |nodes| Case::new(nodes, vec![tensor("x", F32, &[4, -1, 3])]).with(known()).with_rows_in(1);
    state(vec![cell.clone()]).is(Any, "");
    // Along its dimension 1 are the rows, and not the directions.
    cell.outputs[1] = "h";
    state(vec![cell, with(node("Softmax", "h", "y"), integer("axis", 1))]).is(Alone, COUPLED);
    let indices =
        vec![node("TopK", "x k", "- i"), with(node("Cast", "i", "f"), integer("to", F32)), node("Sin", "f", "y")];
    Case::of_f32(indices, &[-1, 5]).with([numbers("k", &[4])]).is(Any, "");
}

#[test]
fn operators_of_others_are_run_row_by_row() {
    for domain in ["com.microsoft", "ai.onnx.ml", "com.example"] {
        let mut fused = node("Gelu", "x", "y");
        fused.domain = domain;
        Case::of_f32(vec![fused], &[-1, 8]).is(Alone, "isn't among the operators that were tested");
    }
}
