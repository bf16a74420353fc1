//! Models that would never end, take all memory, or have outputs of no fixed shape: each is a result with a status and a reason, or
//! an error when it is loaded.
#![allow(clippy::unwrap_used, reason = "tests")]

use crate::common;

use std::time::{Duration, Instant};

use crate::common::{Outcome, entry, f32s, load, outcomes, try_load};
use wasm_engine_abi::InferenceStatus::{Failed, TimedOut};
use wasm_engine_components::{ModelNotice, ModelNoticeKind};
use wasm_engine_inference::{ModelInfo, OnnxRuntime};
use wasm_engine_systems::ports::{ModelBatch, ModelResults, ModelRuntime as _};

/// Far more than any of this takes, and far less than a loop of 2^62 rounds.
const PATIENCE: Duration = Duration::from_secs(120);

fn row(floats: &[f32], integer: i64) -> Vec<u8> {
    [f32s(floats), integer.to_le_bytes().to_vec()].concat()
}

fn run(runtime: &mut OnnxRuntime, info: &ModelInfo, rows: &[Vec<u8>]) -> (Vec<Outcome>, Vec<ModelNotice>) {
    let rows: Vec<&[u8]> = rows.iter().map(Vec::as_slice).collect();
    let mut results = ModelResults::default();
    runtime.infer(&[ModelBatch::new(info.id, &rows)], &mut results);
    (outcomes(&results), results.notices)
}

#[test]
fn a_loop_that_an_input_counts_is_loaded_and_ended_in_time() {
    let started = Instant::now();
    let (mut runtime, info) = load(&entry("loop").with(|model| model.run_ms_max = 300));
    let short = row(&[1.0, 2.0, 3.0, 4.0], 2);
    let endless = row(&[1.0; 4], 1 << 62);
    let expected = Ok(f32s(&[2.25, 4.5, 6.75, 9.0]));
    // Before, beside and after the one that would never end.
    let (found, notices) = run(&mut runtime, &info, &[short.clone(), endless.clone(), short.clone()]);
    assert_eq!(found, [expected.clone(), Err(TimedOut), expected.clone()]);
    assert_eq!(notices.len(), 1);
    assert_eq!((notices[0].kind, notices[0].rows), (ModelNoticeKind::TimedOut, 1));
    assert_eq!(notices[0].reason, "it took longer than 300 ms");
    assert_eq!(run(&mut runtime, &info, &[short]), (vec![expected], vec![]), "the session is as it was");
    // However many there are, the batch has its limit ten times.
    let (found, notices) = run(&mut runtime, &info, &vec![endless; 50]);
    assert_eq!((found, notices[0].rows), (vec![Err(TimedOut); 50], 50));
    assert!(started.elapsed() < PATIENCE);
}

/// Whoever asked first: rows that don't end take no other row's time.
#[test]
fn slow_rows_leave_those_after_them_their_time() {
    let (mut runtime, info) = load(&entry("loop").with(|model| {
        model.run_ms_max = 300;
        model.batch_rows_max = 2;
    }));
    let quick = |value: f32| row(&[value; 4], 1);
    let endless = row(&[1.0; 4], 1 << 62);
    let rows = [vec![endless.clone(), endless.clone()], vec![endless, quick(2.0)], vec![quick(4.0), quick(6.0)]];
    let views: Vec<Vec<&[u8]>> = rows.iter().map(|rows| rows.iter().map(Vec::as_slice).collect()).collect();
    let batches: Vec<_> = views.iter().map(|rows| ModelBatch::new(info.id, rows)).collect();
    for threads in [1, 2, 4] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let mut results = ModelResults::default();
        pool.install(|| runtime.infer(&batches, &mut results));
        let scaled = |value: f32| Ok(f32s(&[value * 1.5; 4]));
        let late = || Err(TimedOut);
        assert_eq!(outcomes(&results), [late(), late(), late(), scaled(2.0), scaled(4.0), scaled(6.0)], "{threads}");
    }
}

/// Slow rows have results beside one that never ends and asked first, although together they take far longer than one run may.
#[test]
fn a_row_that_never_ends_takes_no_time_from_slow_ones() {
    const ROWS: u32 = 200;
    let slow = row(&[1.0; 4], 2_500);
    // As long as one takes on this machine, as busy as it is.
    let (mut runtime, info) = load(&entry("loop"));
    let took = (0..5).map(|_| {
        let started = Instant::now();
        assert!(run(&mut runtime, &info, std::slice::from_ref(&slow)).0[0].is_ok());
        started.elapsed()
    });
    let limit = u32::try_from((took.max().unwrap() * ROWS / 2).as_millis()).unwrap().max(50);
    let (mut runtime, info) = load(&entry("loop").with(|model| {
        model.run_ms_max = limit;
        model.batch_rows_max = ROWS + 1;
    }));
    let mut rows = vec![row(&[1.0; 4], 1 << 62)];
    rows.resize(ROWS as usize + 1, slow);
    let (found, notices) = run(&mut runtime, &info, &rows);
    assert_eq!(found[0], Err(TimedOut));
    assert!(found[1..].iter().all(Result::is_ok), "{limit} ms: {found:?}");
    // The reason tells the time that it had, which is a part of the limit if others were late beside it.
    let reason = &notices[0].reason;
    assert_eq!((notices.len(), notices[0].rows), (1, 1));
    let is_whole = *reason == format!("it took longer than {limit} ms");
    assert!(is_whole || reason.ends_with(" ms, its part of the time that the model has in a frame"), "{reason}");
}

#[test]
fn a_tensor_that_takes_all_memory_fails_with_the_reason() {
    let (mut runtime, info) = load(&entry("bomb"));
    let (small, huge) = (row(&[1.0], 3), row(&[1.0], 1 << 45));
    let (found, notices) = run(&mut runtime, &info, &[small.clone(), huge, small]);
    assert_eq!(found, [Ok(f32s(&[1.0])), Err(Failed), Ok(f32s(&[1.0]))]);
    assert_eq!((notices.len(), notices[0].kind, notices[0].rows), (1, ModelNoticeKind::Failed, 1));
    let reason = &notices[0].reason;
    assert!(reason.contains("ConstantOfShape") && reason.contains("Available memory"), "{reason}");
    assert!(reason.len() <= 400 && !reason.contains('\n'), "{reason}");
}

#[test]
fn an_output_whose_shape_follows_from_the_data_is_refused() {
    let error = try_load(&[entry("nonzero")]).err().unwrap().to_string();
    for part in [
        "the output `y`",
        "depends on what the inputs hold",
        "[1, 0] for zeros",
        "[1, 8] for other numbers",
        "because of the node `count` (NonZero)",
    ] {
        assert!(error.contains(part), "{part} isn't in: {error}");
    }
}

#[test]
fn a_model_that_takes_too_long_to_load_is_refused_with_the_limit() {
    let error = try_load(&[entry("loop").with(|model| model.load_ms_max = 1)]).err().unwrap().to_string();
    assert!(
        error.contains("takes more than 1 ms to be opened and probed") && error.contains("`load_ms_max`"),
        "{error}"
    );
}

#[test]
fn a_file_that_onnx_runtime_cant_take_is_refused_by_its_size() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("huge.onnx");
    std::fs::File::create(&path).unwrap().set_len(5 << 30).unwrap();
    let error = try_load(&[common::entry_at("huge", path)]).err().unwrap().to_string();
    assert!(error.contains("has 5368709120 bytes, more than the limit of 2147483647"), "{error}");
}

/// Whether a row fits into memory depends on that row alone: not on those before it, beside it or after it, nor on threads or other models.
#[test]
fn whether_a_row_fits_into_memory_depends_on_that_row_alone() {
    let limit = |name: &str| entry(name).with(|model| model.run_memory_bytes_max = 32 << 20);
    let (mut runtime, infos) = try_load(&[limit("bomb"), limit("operator")]).unwrap();
    // Millions of elements of four bytes: nine don't fit.
    let orders =
        [vec![2, 5, 7, 3, 7, 8, 2, 7, 9, 7, 8], vec![8, 9, 9, 8, 2, 7, 3], vec![9], vec![8], vec![5, 8, 5, 8, 5, 9, 5]];
    for threads in [1, 2, 4] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        for order in &orders {
            let rows: Vec<Vec<u8>> = order.iter().map(|millions| row(&[1.0], millions * 1_000_000)).collect();
            let rows: Vec<&[u8]> = rows.iter().map(Vec::as_slice).collect();
            let beside = vec![row(&[1.0; 4], 40); 3];
            let beside: Vec<&[u8]> = beside.iter().map(Vec::as_slice).collect();
            let batches = [ModelBatch::new(infos[0].id, &rows), ModelBatch::new(infos[1].id, &beside)];
            let mut results = ModelResults::default();
            pool.install(|| runtime.infer(&batches, &mut results));
            let expected = order.iter().map(|&millions| if millions > 8 { Err(Failed) } else { Ok(f32s(&[1.0])) });
            let expected: Vec<Outcome> = expected.chain(vec![Ok(f32s(&[1.25; 4])); 3]).collect();
            assert_eq!(outcomes(&results), expected, "{threads} threads, {order:?}");
        }
    }
}

#[test]
fn a_model_that_needs_more_memory_than_its_entry_allows_is_refused_and_batches_are_as_large_as_fit() {
    let refused =
        try_load(&[entry("wide").with(|model| model.run_memory_bytes_max = 1 << 20)]).err().unwrap().to_string();
    assert!(
        refused.contains("needs more than 1048576 bytes of memory") && refused.contains("`run_memory_bytes_max`"),
        "{refused}"
    );
    let rows: Vec<Vec<u8>> = (0..40).map(|n| f32s(&[n as f32 / 8.0])).collect();
    let views: Vec<&[u8]> = rows.iter().map(Vec::as_slice).collect();
    let mut expected = None;
    for megabytes in [40, 90, 1_000] {
        let (mut runtime, info) = load(&entry("wide").with(|model| model.run_memory_bytes_max = megabytes << 20));
        for threads in [1, 4] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut results = ModelResults::default();
            pool.install(|| runtime.infer(&[ModelBatch::new(info.id, &views)], &mut results));
            assert_eq!(results.notices, [], "{megabytes} MB, {threads} threads");
            let found = outcomes(&results);
            assert!(
                *expected.get_or_insert_with(|| found.clone()) == found,
                "{megabytes} MB, {threads} threads, {}",
                info.form
            );
        }
    }
}
