//! Units and runs, on models of the tests in forms that needn't be the right ones.

use std::path::Path;
use std::time::Duration;

use wasm_engine_components::ModelId;

use super::*;
use crate::graph::Steadiness;
use crate::layout::Said;
use crate::limits::{Deadline, ModelLimits};
use crate::runtime;
use crate::session;

/// A model of the tests, in a form that needn't be the right one for it. Its runs may go on side by side.
fn batcher(name: &str, form: BatchForm) -> Batcher {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/models").join(name);
    let minute = Duration::from_secs(60);
    let time = ModelLimits { load: Deadline::after(minute), run: minute, unhurried: false, memory_bytes: 1 << 30 };
    let runtime = runtime::start().unwrap();
    let model = session::open(runtime, &std::fs::read(path).unwrap(), Said::default(), time).unwrap();
    Batcher::new(BoundModel::new(model, form, 64, Steadiness::MemoryAndTime))
}

fn run(batcher: &Batcher, rows: &[[f32; 2]], alone: bool, audit: Option<u32>) -> (Vec<[f32; 2]>, usize) {
    let rows: Vec<Vec<u8>> = rows.iter().map(|row| bytemuck::cast_slice(row).to_vec()).collect();
    let rows: Vec<&[u8]> = rows.iter().map(Vec::as_slice).collect();
    let mut results = ModelResults::default();
    let (batch, mut units) = (ModelBatch { alone, audit, ..ModelBatch::new(ModelId(1), &rows) }, Vec::new());
    batcher.plan(&batch, true, &batcher.patience(), &mut results, &mut units);
    run_all(&units, 2).into_iter().zip(&units).for_each(|(ran, unit)| unit.place(ran, &mut results));
    if let Some(unit) = batcher.audit(&batch, 0, &results) {
        let ran = run_all(std::slice::from_ref(&unit), 2).pop().unwrap().unwrap();
        if let Some(problem) = unit.audited(&ran, &results) {
            unit.tell_audit(&problem, &mut results);
        }
    }
    let outputs = results.rows.iter().map(|row| bytemuck::pod_read_unaligned(results.output(row)));
    let audits = results.notices.iter().filter(|notice| notice.kind == ModelNoticeKind::AuditFailed);
    for notice in audits.clone() {
        assert_eq!(notice.reason, "row 0 of a batch of 3 was run again without the others and had another result");
    }
    (outputs.collect(), audits.count())
}

/// The model adds what is above a million in any row to each row. Nobody is to give it a batch; here somebody did.
#[test]
fn an_audit_finds_that_a_form_is_the_wrong_one_for_a_model() {
    let wrong = &batcher("rare.onnx", BatchForm::Any);
    let plain = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]];
    let huge = [[1.0, 2.0], [2e6, 4.0], [5.0, 6.0]];
    assert_eq!(run(wrong, &plain, false, Some(0)), (plain.to_vec(), 0), "nothing shows");
    let mixed = vec![[2_000_001.0, 2.0], [4e6, 4.0], [2_000_005.0, 6.0]];
    assert_eq!(run(wrong, &huge, false, None), (mixed.clone(), 0), "nobody looked");
    assert_eq!(run(wrong, &huge, false, Some(0)), (mixed, 1));
    // Without company each row is what it is, and audits find so.
    let right = vec![[1.0, 2.0], [4e6, 4.0], [5.0, 6.0]];
    for row in 0..3 {
        assert_eq!(run(wrong, &huge, true, Some(row)), (right.clone(), 0));
    }
    assert_eq!(run(&batcher("rare.onnx", BatchForm::Alone), &huge, false, Some(0)), (right, 0));
}

/// Rows that don't end are run on as many threads as there may be, one session among them; and on one, one after the other.
#[test]
fn runs_of_one_model_go_side_by_side() {
    for threads in [1, 4] {
        let mut batcher = batcher("loop.onnx", BatchForm::Alone);
        Arc::get_mut(&mut batcher.model).unwrap().set_run_limit(Duration::from_millis(400));
        let row = |rounds: i64| [[1.0_f32; 4].map(f32::to_le_bytes).concat(), rounds.to_le_bytes().to_vec()].concat();
        let rows = [row(1 << 62), row(1 << 62), row(1 << 62), row(1 << 62), row(1)];
        let rows: Vec<&[u8]> = rows.iter().map(Vec::as_slice).collect();
        let (batch, mut units, mut results) = (ModelBatch::new(ModelId(1), &rows), Vec::new(), ModelResults::default());
        batcher.plan(&batch, true, &batcher.patience(), &mut results, &mut units);
        run_all(&units, threads).into_iter().zip(&units).for_each(|(ran, unit)| unit.place(ran, &mut results));
        let statuses: Vec<InferenceStatus> = results.rows.iter().map(|row| row.status).collect();
        let (late, ok) = (InferenceStatus::TimedOut, InferenceStatus::Ok);
        assert_eq!(statuses, [late, late, late, late, ok], "{threads} threads");
        assert_eq!(batcher.model.lanes_made(), threads, "each thread has buffers of its own");
    }
}

/// Each buffer of each size, in models of all types and of rows of odd widths.
#[test]
fn buffers_begin_at_multiples_of_64_bytes() {
    for name in ["types.onnx", "two.onnx", "gemm.onnx", "rare.onnx", "state.onnx", "fixed4.onnx"] {
        let batcher = batcher(name, BatchForm::Any);
        let row = vec![1; batcher.row_bytes];
        for (bucket, &size) in batcher.sizes.iter().enumerate() {
            let rows = vec![row.as_slice(); size];
            let ran = execute(&batcher.model, &batcher.patience(), bucket, &rows, true, None);
            assert_eq!(ran.halted, [], "{name}");
        }
        let places = batcher.model.buffer_places();
        assert!(places.len() >= 2 * batcher.sizes.len(), "{name}: {}", places.len());
        assert!(places.iter().all(|place| place % crate::tensor::BUFFER_ALIGNMENT == 0), "{name}: {places:?}");
    }
}

#[test]
fn what_late_rows_give_is_put_in_their_places() {
    let late = || Halt::TimedOut(Duration::from_millis(1));
    let ok = |byte: u8| Ran { bytes: vec![byte; 2], halted: Vec::new() };
    let failed = Halt::Failed("why".into());
    let mut ran =
        Ran { bytes: vec![2, 2, 4, 4], halted: vec![(0, late()), (1, late()), (3, failed.clone()), (5, late())] };
    assert!(ran.late(Duration::from_secs(1)).map(|(row, _)| row).eq([0, 1, 5]));
    assert_eq!(ran.late(Duration::from_millis(1)).count(), 0, "they had all the time that there is");
    ran.put(2, vec![(0, ok(9)), (1, Ran::halted(1, &failed)), (5, ok(5))]);
    assert_eq!((ran.bytes, ran.halted), (vec![9, 9, 2, 2, 4, 4, 5, 5], vec![(1, failed.clone()), (3, failed)]));
}

/// A row that comes alone is run again among copies of itself.
#[test]
fn rows_of_an_invariant_model_pass_their_audits() {
    let good = &batcher("rare.onnx", BatchForm::Multiple(4));
    assert_eq!(run(good, &[[1.0, 2.0]], false, Some(0)), (vec![[1.0, 2.0]], 0));
    let rows: Vec<[f32; 2]> = (0..64).map(|n| [n as f32, -0.5]).collect();
    for row in [0, 1, 40, 63, 64] {
        assert_eq!(run(good, &rows, false, Some(row)), (rows.clone(), 0));
    }
}
