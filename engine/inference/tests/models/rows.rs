//! Models that run, on the real ONNX Runtime, found or fetched as users have it: types, shapes, batches, bits.
#![allow(clippy::unwrap_used, clippy::cast_precision_loss, reason = "tests")]

use crate::common::{digits, entry, entry_at, f32s, float_row, i32s, load, outcomes, run, try_load, with_dims};
use crate::listener::listen;
use wasm_engine_abi::{InferenceStatus, name_id};
use wasm_engine_components::{BatchForm, ModelId};
use wasm_engine_inference::{ElementType, ModelLoadOptions, OnnxRuntime};
use wasm_engine_systems::ports::{ModelBatch, ModelResults, ModelRuntime};

/// The first three scans of `postroom/scans.jsonl`, and extremes; the logits are those of `integer_logits` in `train.py`.
#[rustfmt::skip]
const SCANS: [[i8; 64]; 4] = [
    [0, 0, 3, 11, 16, 15, 1, 0, 0, 1, 16, 14, 10, 16, 2, 0, 0, 5, 12, 0, 8, 12, 0, 0, 0, 0, 1, 1, 13, 9, 0, 0,
     0, 0, 11, 16, 16, 13, 2, 0, 0, 0, 11, 14, 15, 12, 5, 0, 0, 0, 0, 15, 9, 0, 0, 0, 0, 0, 0, 15, 5, 0, 0, 0],
    [0, 0, 4, 12, 16, 6, 0, 0, 0, 4, 16, 10, 5, 16, 4, 0, 0, 8, 13, 0, 5, 15, 5, 0, 0, 6, 12, 7, 15, 3, 0, 0,
     0, 0, 12, 16, 12, 1, 0, 0, 0, 0, 11, 10, 9, 11, 0, 0, 0, 0, 12, 6, 0, 13, 3, 0, 0, 0, 6, 13, 13, 8, 0, 0],
    [0, 0, 3, 14, 1, 0, 0, 0, 0, 0, 12, 12, 0, 0, 0, 0, 0, 3, 16, 6, 0, 0, 0, 0, 0, 5, 16, 2, 0, 0, 0, 0,
     0, 6, 16, 2, 5, 2, 0, 0, 0, 4, 16, 2, 12, 15, 2, 0, 0, 1, 14, 13, 2, 13, 11, 0, 0, 0, 3, 11, 16, 13, 4, 0],
    [-128, 127, 127, -128, 127, 127, -128, 127, 127, -128, 127, 127, -128, 127, 127, -128,
     127, 127, -128, 127, 127, -128, 127, 127, -128, 127, 127, -128, 127, 127, -128, 127,
     127, -128, 127, 127, -128, 127, 127, -128, 127, 127, -128, 127, 127, -128, 127, 127,
     -128, 127, 127, -128, 127, 127, -128, 127, 127, -128, 127, 127, -128, 127, 127, -128],
];
#[rustfmt::skip]
const LOGITS: [[i32; 10]; 4] = [
    [-22266, -19322, -24958, -25642, -35136, -30179, -46443, 23011, -11763, -26160],
    [-30890, -37912, -19243, -28008, -27247, -33718, -25571, -31395, 30966, -20395],
    [-20645, -16588, -33402, -32043, -36198, -32439, 22993, -59291, -30150, -54506],
    [-49849, 18252, -82279, -27402, -54776, -76051, -99523, -98803, -85184, -95228],
];

#[test]
fn the_digits_are_read_to_the_last_bit() {
    let (mut runtime, info) = load(&digits());
    assert_eq!(info.to_string(), "digits: image i8[batch, 64] -> logits i32[batch, 10]; up to 64 rows share a run");
    assert_eq!((info.row_bytes, info.output_bytes, info.form), (64, 40, BatchForm::Any));
    assert!(runtime.version().unwrap().starts_with("1."));
    assert!(runtime.providers().iter().any(|provider| provider.starts_with("CPUExecutionProvider")));
    // Every size of a batch up to two full ones, in changing order.
    for rows in 1..=130 {
        let numbers: Vec<usize> = (0..rows).map(|at| (at * 3 + rows) % SCANS.len()).collect();
        let images: Vec<Vec<u8>> = numbers.iter().map(|&n| bytemuck::cast_slice(&SCANS[n]).to_vec()).collect();
        let expected: Vec<_> = numbers.iter().map(|&n| Ok(i32s(&LOGITS[n]))).collect();
        assert_eq!(run(&mut runtime, &info, &images), expected, "{rows} rows");
    }
}

#[test]
fn every_type_goes_in_and_out() {
    let (mut runtime, info) = load(&entry("types"));
    use ElementType::{Bool, F32, F64, I8, I32, I64, U8};
    assert_eq!(info.inputs.iter().map(|input| input.dtype).collect::<Vec<_>>(), [F32, F64, I64, I32, U8, I8, Bool]);
    let row = |f: f32, g: f64, i: i64, j: i32, u: u8, k: i8, b: [u8; 2]| {
        let mut bytes = f32s(&[f, -f]);
        bytes.extend([g, -g].map(f64::to_le_bytes).concat());
        bytes.extend([i, -i].map(i64::to_le_bytes).concat());
        bytes.extend([j, -j].map(i32::to_le_bytes).concat());
        bytes.extend([u, u / 2]);
        bytes.extend([k, -k].map(i8::cast_unsigned));
        bytes.extend(b);
        bytes
    };
    // A byte of a bool other than 0 is taken for 1, and the model negates.
    let rows = [
        row(1.5, 0.1, 1 << 60, 1 << 29, 200, -100, [0, 255]),
        row(-0.0, f64::MIN_POSITIVE, -3, 7, 0, 127, [1, 2]),
        row(f32::MAX / 4.0, 1e300, 0, 0, 255, 1, [0, 0]),
    ];
    let doubled = [
        row(3.0, 0.2, 1 << 61, 1 << 30, 200, -100, [1, 0]),
        row(-0.0, 2.0 * f64::MIN_POSITIVE, -6, 14, 0, 127, [0, 0]),
        row(f32::MAX / 2.0, 2e300, 0, 0, 255, 1, [1, 1]),
    ];
    assert_eq!(info.row_bytes as usize, rows[0].len());
    assert_eq!(info.row_bytes, info.output_bytes);
    assert_eq!(run(&mut runtime, &info, &rows), doubled.map(Ok));
}

#[test]
fn inputs_and_outputs_are_concatenated_in_the_models_order() {
    let (mut runtime, info) = load(&entry("two"));
    let row = |a: [f32; 2], b: i32| [f32s(&a), i32s(&[b])].concat();
    let rows: Vec<_> = (0_i16..5).map(|n| row([f32::from(n), 0.5], i32::from(n) * 10)).collect();
    let expected: Vec<_> =
        (0_i16..5).map(|n| Ok(row([f32::from(n) * 11.0, 0.5 + f32::from(n) * 10.0], i32::from(n) * 20))).collect();
    assert_eq!(run(&mut runtime, &info, &rows), expected);
}

/// The same bits alone, in batches of any size, in any order, and again in later frames with the same buffers.
#[test]
fn a_row_has_the_same_bits_in_any_company() {
    for (name, elements) in [("gemm", 24), ("mean", 2), ("dynamic-quantised", 8), ("fixed4", 3), ("fixed4-place", 3)] {
        let (mut runtime, info) = load(&entry(name));
        let rows: Vec<_> = (0..100).map(|number| float_row(number, elements)).collect();
        let alone: Vec<_> =
            rows.iter().map(|row| run(&mut runtime, &info, std::slice::from_ref(row)).remove(0)).collect();
        assert!(alone.iter().all(Result::is_ok), "{name}");
        assert_eq!(run(&mut runtime, &info, &rows), alone, "{name}");
        for size in [2, 3, 5, 8, 17, 64] {
            let order: Vec<usize> = (0..rows.len()).map(|at| (at * 37 + size) % rows.len()).collect();
            for numbers in order.chunks(size) {
                let batch: Vec<_> = numbers.iter().map(|&number| rows[number].clone()).collect();
                let expected: Vec<_> = numbers.iter().map(|&number| alone[number].clone()).collect();
                assert_eq!(run(&mut runtime, &info, &batch), expected, "{name} in batches of {size}");
            }
        }
    }
}

#[test]
fn the_graph_says_who_depends_on_neighbours() {
    for name in ["gemm", "two", "types", "lookup"] {
        let info = load(&entry(name)).1;
        assert_eq!((info.form, info.reasons.len()), (BatchForm::Any, 0), "{name}: {:?}", info.reasons);
    }
    assert_eq!(load(&entry("fixed4")).1.form, BatchForm::Fixed(4));
    assert_eq!(load(&entry("single")).1.form, BatchForm::Fixed(1));
    for (name, said) in [
        ("mean", "of `mean` (ReduceMean): it computes over the batch"),
        ("dynamic-quantised", "of `q` (DynamicQuantizeLinear): it computes over the batch"),
        ("fixed4-place", "of `y` (Mul): it doesn't treat all slots of a batch alike"),
        ("pooled", "its output `y` hasn't one row for each row of the input"),
        ("rare", "of `sum` (ReduceSum): it computes over the batch"),
    ] {
        let info = load(&entry(name)).1;
        assert_eq!((info.form, info.reasons[0].as_str()), (BatchForm::Alone, said), "{name}");
    }
    // The form is the model's, not the scenario's.
    assert_eq!(load(&entry("mean").with(|model| model.batch_rows_max = 1)).1.form, BatchForm::Alone);
}

/// A recurrent state has its rows in another dimension than the inputs; agents see it as one piece of their row.
#[test]
fn the_batch_may_be_another_dimension() {
    let (mut runtime, info) = load(&entry("state"));
    assert_eq!((info.row_bytes, info.output_bytes), (12, 12));
    assert!(info.to_string().contains("state f32[2, batch, 1]"), "{info}");
    let rows: Vec<_> = (0_i16..9).map(|n| f32s(&[f32::from(n), 2.0, f32::from(3 * n)])).collect();
    let expected: Vec<_> =
        (0_i16..9).map(|n| Ok(f32s(&[f32::from(n) + 2.0 + f32::from(3 * n), 4.0, f32::from(6 * n)]))).collect();
    assert_eq!(run(&mut runtime, &info, &rows), expected);
    // Said, or found: it is the same.
    let said = entry("state").with(|model| model.batch_axes = vec![("next".into(), 1), ("state".into(), 1)]);
    assert_eq!(load(&said).1.inputs, info.inputs);
    let wrong = entry("state").with(|model| model.batch_axes = vec![("state".into(), 2)]);
    let error = try_load(&[wrong]).err().unwrap().to_string();
    assert!(error.contains("can't have its rows in dimension 2 of the tensor `state`"), "{error}");
    let unknown = entry("state").with(|model| model.batch_axes = vec![("stat".into(), 1)]);
    let error = try_load(&[unknown]).err().unwrap().to_string();
    assert!(error.contains("no input or output `stat`") && error.contains("`state`"), "{error}");
}

/// Models whose rows depend on their company where ONNX Runtime is left to it: vector loops with other last elements, a sum whose rows
/// begin at other addresses, and a sum over the batch that shows for large inputs alone.
#[test]
fn rows_have_the_same_bits_in_the_form_that_the_graph_asks_for() {
    for (name, form, padded) in [
        ("sine", BatchForm::Multiple(16), false),
        ("mixed-sum", BatchForm::Any, true),
        ("rare-neighbour", BatchForm::Alone, false),
    ] {
        let (mut runtime, info) = load(&entry(name).with(|model| model.refuse_non_finite = false));
        assert_eq!(info.form, form, "{name}: {:?}", info.deciders);
        assert_eq!(info.deciders.iter().any(|decider| decider.is_padded), padded, "{name}");
        let bytes = info.row_bytes as usize;
        let hostile = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e38, -0.0, 1e-41];
        let row = |number: usize| match (number % 4, float_row(number, bytes.div_ceil(4))) {
            (3, _) => f32s(&vec![hostile[number / 4 % hostile.len()]; bytes.div_ceil(4)])[..bytes].to_vec(),
            (_, row) => row[..bytes].to_vec(),
        };
        let rows: Vec<_> = (0..100).map(row).collect();
        let alone: Vec<_> =
            rows.iter().map(|row| run(&mut runtime, &info, std::slice::from_ref(row)).remove(0)).collect();
        for size in [1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 33, 64, 100] {
            let order: Vec<usize> = (0..rows.len()).map(|at| (at * 37 + size) % rows.len()).collect();
            for numbers in order.chunks(size) {
                let batch: Vec<_> = numbers.iter().map(|&number| rows[number].clone()).collect();
                let expected: Vec<_> = numbers.iter().map(|&number| alone[number].clone()).collect();
                assert_eq!(run(&mut runtime, &info, &batch), expected, "{name} in batches of {size}");
            }
        }
    }
}

#[test]
fn fixed_blocks_are_filled_and_repeated() {
    let (mut runtime, info) = load(&entry("fixed4"));
    assert_eq!((info.row_bytes, info.output_bytes), (12, 12));
    let rows: Vec<_> = (1_u8..=6).map(|n| f32s(&[f32::from(n), 0.0, -1.0])).collect();
    let doubled: Vec<_> = (1_u8..=6).map(|n| Ok(f32s(&[f32::from(n) * 2.0, 0.0, -2.0]))).collect();
    for count in 1..=6 {
        assert_eq!(run(&mut runtime, &info, &rows[..count]), doubled[..count]);
    }
    // Where the place matters, a row is always in the first.
    let (mut runtime, info) = load(&entry("fixed4-place"));
    let same: Vec<_> = rows.iter().cloned().map(Ok).collect();
    assert_eq!(run(&mut runtime, &info, &rows), same);
}

#[test]
fn models_that_mix_rows_or_have_none_give_each_row_its_own_run() {
    let (mut runtime, info) = load(&entry("mean"));
    let zero = Ok(f32s(&[0.0, 0.0]));
    assert_eq!(run(&mut runtime, &info, &[float_row(1, 2), float_row(2, 2), float_row(3, 2)]), vec![zero; 3]);

    let (mut runtime, info) = load(&entry("pooled"));
    let rows = [float_row(1, 2), float_row(2, 2)];
    assert_eq!(run(&mut runtime, &info, &rows), rows.clone().map(Ok));

    // A state whose batch isn't the leading dimension, as recurrent models have it.
    let (mut runtime, info) = load(&with_dims("state", &[("batch", 1)]));
    assert_eq!((info.row_bytes, info.output_bytes, info.form), (12, 12, BatchForm::Fixed(1)));
    let rows = [f32s(&[1.0, 2.0, 3.0]), f32s(&[0.0, -1.0, 0.5])];
    assert_eq!(run(&mut runtime, &info, &rows), [f32s(&[6.0, 4.0, 6.0]), f32s(&[-0.5, -2.0, 1.0])].map(Ok));
}

#[test]
fn dims_give_dynamic_dimensions_their_sizes() {
    let (three, five) = (with_dims("seq", &[("seq", 3)]), with_dims("seq", &[("seq", 5)]));
    let five = five.with(|model| {
        model.name = "five".into();
        model.id = ModelId(5);
    });
    let (mut runtime, infos) = try_load(&[three, five]).unwrap();
    assert_eq!((infos[0].row_bytes, infos[0].output_bytes, infos[1].row_bytes), (12, 16, 20));
    assert_eq!(infos[0].sha256, infos[1].sha256);
    let row = f32s(&[1.0, 2.0, 3.0]);
    assert_eq!(run(&mut runtime, &infos[0], &[row.clone(), row]), vec![Ok(f32s(&[2.0, 4.0, 6.0, 6.0])); 2]);
    assert_eq!(run(&mut runtime, &infos[1], &[f32s(&[1.0; 5])]), [Ok(f32s(&[2.0, 2.0, 2.0, 2.0, 2.0, 5.0]))]);
}

#[test]
fn several_models_run_side_by_side_in_the_order_that_was_asked() {
    let twin = entry("gemm").with(|model| {
        model.name = "twin".into();
        model.id = ModelId(7);
        model.refuse_non_finite = false;
    });
    let (mut runtime, infos) = try_load(&[entry("gemm"), entry("mean"), twin, digits()]).unwrap();
    assert_eq!(infos[0].sha256, infos[2].sha256);
    let nan = f32s(&[f32::NAN; 24]);
    let floats: Vec<_> = (0..20).map(|number| float_row(number, 24)).chain([nan]).collect();
    let pairs: Vec<_> = (0..5).map(|number| float_row(number, 2)).chain([vec![0; 3]]).collect();
    let scans: Vec<Vec<u8>> = SCANS.iter().map(|scan| bytemuck::cast_slice(scan).to_vec()).collect();
    let asked = [(0, &floats), (3, &scans), (1, &pairs), (2, &floats), (0, &floats), (3, &scans), (9, &pairs)];
    let mut expected = Vec::new();
    for (model, rows) in asked {
        match infos.get(model) {
            Some(info) => expected.extend(run(&mut runtime, info, rows)),
            None => expected.extend(rows.iter().map(|_| Err(InferenceStatus::UnknownModel))),
        }
    }
    assert_eq!(expected[20], Err(InferenceStatus::NonFinite));
    assert!(expected[21 + 4 + 6 + 20].is_ok(), "the twin takes it");
    let rows: Vec<Vec<&[u8]>> = asked.iter().map(|(_, rows)| rows.iter().map(Vec::as_slice).collect()).collect();
    let id = |model: usize| infos.get(model).map_or(ModelId(name_id("no such model")), |info| info.id);
    let batches: Vec<_> = asked.iter().zip(&rows).map(|(&(model, _), rows)| ModelBatch::new(id(model), rows)).collect();
    let mut results = ModelResults::default();
    // The same at any number of threads, and with the buffers of the frame before.
    for threads in [1, 2, 4] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        for _ in 0..3 {
            pool.install(|| runtime.infer(&batches, &mut results));
            assert_eq!(outcomes(&results), expected, "{threads} threads");
        }
    }
}

#[test]
fn what_is_wrong_with_a_row_is_its_result() {
    let (mut runtime, info) = load(&entry("gemm"));
    let good = float_row(3, 24);
    let mut infinite = good.clone();
    infinite[20..24].copy_from_slice(&f32::INFINITY.to_le_bytes());
    let alone = run(&mut runtime, &info, std::slice::from_ref(&good)).remove(0);
    let short = good[..95].to_vec();
    let long = [good.clone(), vec![0]].concat();
    let rows = [short, good.clone(), infinite.clone(), long, vec![], good.clone()];
    use InferenceStatus::{Failed, NonFinite, WrongSize};
    let expected = [Err(WrongSize), alone.clone(), Err(NonFinite), Err(WrongSize), Err(WrongSize), alone.clone()];
    assert_eq!(run(&mut runtime, &info, &rows), expected);
    assert_eq!(run(&mut runtime, &info, &rows[2..3]), [Err(NonFinite)]);
    assert_eq!(run(&mut runtime, &info, &[]), []);

    let (mut runtime, info) = load(&entry("gemm").with(|model| model.refuse_non_finite = false));
    let found = run(&mut runtime, &info, &[good.clone(), infinite, good]);
    assert!(found[1].is_ok() && found[0] == alone && found[2] == alone);

    // An index outside of the table fails its own row only, and the next frame is as good as ever.
    let (mut runtime, info) = load(&entry("lookup"));
    let row = |index: i64| index.to_le_bytes().to_vec();
    for _ in 0..2 {
        let found = run(&mut runtime, &info, &[row(1), row(5), row(-1), row(i64::MAX), row(0)]);
        let pair = |a: f32, b: f32| Ok(f32s(&[a, b]));
        assert_eq!(found, [pair(10.0, 11.0), Err(Failed), pair(40.0, 41.0), Err(Failed), pair(0.0, 1.0)]);
    }
    assert_eq!(run(&mut runtime, &info, &[row(5)]), [Err(Failed)]);
}

#[test]
fn without_models_nothing_is_looked_for() {
    let (loaded, told) = listen(|| OnnxRuntime::load(&[], &ModelLoadOptions::default()));
    assert_eq!(told, [""; 0], "there is nothing to say");
    let (mut runtime, infos) = loaded.unwrap();
    assert!(infos.is_empty() && runtime.version().is_none() && runtime.providers().is_empty());
    let rows: [&[u8]; 2] = [&[1], &[]];
    let batches = [ModelBatch::new(ModelId(1), &rows)];
    let mut results = ModelResults::default();
    runtime.infer(&batches, &mut results);
    assert_eq!(outcomes(&results), [Err(InferenceStatus::UnknownModel), Err(InferenceStatus::UnknownModel)]);
}

#[test]
fn the_scenarios_hash_is_checked() {
    let (_, info) = load(&entry("gemm"));
    let right = entry("gemm").with(|model| model.sha256 = Some(info.sha256));
    assert_eq!(load(&right).1.sha256, info.sha256);
    let wrong = entry_at("reader", entry("gemm").path).with(|model| model.sha256 = Some([0xab; 32]));
    let error = try_load(&[wrong]).err().unwrap().to_string();
    let found: String = info.sha256.iter().map(|byte| format!("{byte:02x}")).collect();
    for part in ["`reader`", "gemm.onnx", &found, &"ab".repeat(32)] {
        assert!(error.contains(part), "{part} isn't in: {error}");
    }
}

/// Many batches of one model and of several, with rows that are refused among them: each result has its row's place, whatever the
/// number of threads.
#[test]
fn batches_give_the_same_on_any_number_of_threads() {
    let entries = [entry("gemm"), entry("sine"), entry("dynamic-quantised")];
    let (mut runtime, infos) = try_load(&entries).unwrap();
    let rows: Vec<Vec<Vec<u8>>> = infos
        .iter()
        .map(|info| {
            let row = |number: usize| match number % 97 {
                13 => vec![1, 2, 3],
                29 => f32s(&vec![f32::NAN; info.row_bytes as usize / 4]),
                _ => float_row(number, info.row_bytes as usize / 4),
            };
            (0..3_000).map(row).collect()
        })
        .collect();
    let views: Vec<Vec<&[u8]>> = rows.iter().map(|rows| rows.iter().map(Vec::as_slice).collect()).collect();
    let mut batches: Vec<ModelBatch<'_>> = Vec::new();
    for (info, rows) in infos.iter().zip(&views) {
        batches.extend(rows.chunks(64).map(|rows| ModelBatch { audit: Some(1), ..ModelBatch::new(info.id, rows) }));
    }
    let mut expected = None;
    for threads in [1, 2, 4, 7] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        for _ in 0..3 {
            let mut results = ModelResults::default();
            pool.install(|| runtime.infer(&batches, &mut results));
            assert_eq!(results.notices, [], "{threads} threads");
            let found = outcomes(&results);
            let wrong = found.iter().filter(|outcome| **outcome == Err(InferenceStatus::WrongSize)).count();
            assert_eq!((found.len(), wrong), (9_000, 93), "3,000 rows of each model, of which every 97th is too short");
            assert!(*expected.get_or_insert_with(|| found.clone()) == found, "{threads} threads");
        }
    }
}

/// A model that fails on zeros has the shapes that it declares. One whose output hasn't the inputs' rows is run as a whole.
#[test]
fn an_output_that_is_only_declared_is_not_cut_into_rows_that_it_does_not_have() {
    let (mut runtime, info) = load(&entry("turned"));
    assert_eq!((info.row_bytes, info.output_bytes, info.form), (64, 32, BatchForm::Fixed(1)));
    let row: Vec<u8> = [-6_i64, -5, -4, -3, -2, -1, -6, -5].map(i64::to_le_bytes).concat();
    assert_eq!(run(&mut runtime, &info, &[row]), [Ok(f32s(&[1.0, 3.0, 5.0, 1.0, 2.0, 4.0, 6.0, 2.0]))]);
}
