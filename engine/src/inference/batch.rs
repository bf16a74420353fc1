//! Carries out a batch of rows: refuses what is wrong, runs the rest in batches of the sizes that were probed, and tries a
//! failed batch again row by row. Called by [`super::registry`] in each frame that has jobs. It can't fail: what goes wrong
//! with a row is the row's result, and the reason is a notice.

use std::ops::Range;

use wasm_engine_abi::InferenceStatus;
use wasm_engine_components::ModelNoticeKind;
use wasm_engine_systems::ports::{ModelBatch, ModelResults, RowResult};

use super::binding::{BoundModel, next_bucket};
use super::form::BatchForm;
use super::watchdog::{Deadline, Halt, Patience, bounded};

/// A model that is ready for batches.
pub(crate) struct Batcher {
    model: BoundModel,
    sizes: Vec<usize>,
    row_bytes: usize,
    /// The parts of a row that all rows of a run must have in common.
    shared: Vec<Range<usize>>,
    /// The outputs of an audit.
    audited: Vec<u8>,
}

/// Rows that have no result, by the kind of their notice: how many, and the reason of the first.
#[derive(Default)]
struct Failures([Option<(u32, Halt)>; 2]);

impl Failures {
    fn add(&mut self, halt: &Halt) -> InferenceStatus {
        let (at, status) = match halt {
            Halt::Failed(_) => (0, InferenceStatus::Failed),
            Halt::TimedOut(_) => (1, InferenceStatus::TimedOut),
        };
        let (rows, _) = self.0[at].get_or_insert_with(|| (0, halt.clone()));
        *rows += 1;
        status
    }

    fn merge(&mut self, others: Self) {
        for (own, other) in self.0.iter_mut().zip(others.0) {
            match (own.as_mut(), other) {
                (Some((rows, _)), Some((more, _))) => *rows += more,
                (None, other) => *own = other,
                (Some(_), None) => {}
            }
        }
    }
}

impl Batcher {
    /// Takes a model, whose runs have the form that it is bound to.
    pub(crate) fn new(model: BoundModel) -> Self {
        let row_bytes = model.inputs().last().map_or(0, |input| input.part.end);
        Self { sizes: model.sizes(), row_bytes, shared: model.shared(), model, audited: Vec::new() }
    }

    /// Appends a result for each row, in the same order.
    pub(crate) fn run(&mut self, batch: &ModelBatch<'_>, refuse_non_finite: bool, results: &mut ModelResults) {
        let (first, rows) = (results.rows.len(), batch.rows);
        let checked = rows.iter().map(|row| self.check(row, refuse_non_finite));
        results.rows.extend(checked.map(|status| RowResult { status, offset: 0, bytes: 0 }));
        let slots = &mut results.rows[first..];
        let alone = batch.alone || self.model.form() == BatchForm::Alone;
        let Failures([failed, timed_out]) = if !self.shared.is_empty() {
            self.run_apart(rows, alone, slots, &mut results.bytes)
        } else if slots.iter().all(is_ok) {
            self.run_good(rows, alone, slots.iter_mut(), &mut results.bytes)
        } else {
            let good: Vec<&[u8]> =
                rows.iter().zip(&*slots).filter(|(_, slot)| is_ok(slot)).map(|(row, _)| *row).collect();
            self.run_good(&good, alone, slots.iter_mut().filter(|slot| is_ok(slot)), &mut results.bytes)
        };
        for (kind, failures) in [(ModelNoticeKind::Failed, failed), (ModelNoticeKind::TimedOut, timed_out)] {
            if let Some((rows, reason)) = failures {
                results.notice(batch.model, kind, rows, || reason.to_string());
            }
        }
        self.audit(batch, first, results);
    }

    /// Runs rows of a model with inputs that the rows of a run share: only those together that agree in them.
    fn run_apart(&mut self, rows: &[&[u8]], alone: bool, slots: &mut [RowResult], bytes: &mut Vec<u8>) -> Failures {
        let shared = self.shared.clone();
        let said = |row: &[u8]| -> Vec<u8> { shared.iter().flat_map(|part| &row[part.clone()]).copied().collect() };
        let good = rows.iter().zip(slots).filter(|(_, slot)| is_ok(slot));
        let mut jobs: Vec<_> = good.map(|(&row, slot)| (said(row), row, slot)).collect();
        // Those who came first among equals stay first.
        jobs.sort_by(|one, other| one.0.cmp(&other.0));
        let mut failures = Failures::default();
        for group in jobs.chunk_by_mut(|one, other| one.0 == other.0) {
            let rows: Vec<&[u8]> = group.iter().map(|(_, row, _)| *row).collect();
            failures.merge(self.run_good(&rows, alone, group.iter_mut().map(|(.., slot)| &mut **slot), bytes));
        }
        failures
    }

    /// Whether a row may be run.
    fn check(&self, row: &[u8], refuse_non_finite: bool) -> InferenceStatus {
        if row.len() != self.row_bytes {
            return InferenceStatus::WrongSize;
        }
        let finite = || self.model.inputs().iter().all(|input| input.info.dtype.all_finite(&row[input.part.clone()]));
        if refuse_non_finite && !finite() { InferenceStatus::NonFinite } else { InferenceStatus::Ok }
    }

    fn run_good<'r>(
        &mut self,
        rows: &[&[u8]],
        alone: bool,
        mut slots: impl Iterator<Item = &'r mut RowResult>,
        bytes: &mut Vec<u8>,
    ) -> Failures {
        let row_bytes = self.model.output_bytes();
        let mut failures = Failures::default();
        let mut patience = Patience::new(self.model.run_limit());
        let mut left = rows;
        while !left.is_empty() {
            let (bucket, taken) = if alone { (0, 1) } else { next_bucket(&self.sizes, left.len()) };
            let (batch, rest) = left.split_at(taken);
            left = rest;
            let start = bytes.len();
            let ran = patience.spend(|deadline| self.model.run(bucket, batch, bytes, deadline));
            for (at, (row, slot)) in batch.iter().zip(&mut slots).enumerate() {
                let place = match &ran {
                    Ok(()) => Ok(start + at * row_bytes),
                    Err(halt) if taken == 1 => Err(halt.clone()),
                    // One bad row fails the whole run: each gets a run of its own, so that only the bad one fails.
                    Err(_) => {
                        let start = bytes.len();
                        patience.spend(|deadline| self.model.run(0, &[row], bytes, deadline)).map(|()| start)
                    }
                };
                *slot = match place {
                    Ok(offset) => RowResult { status: InferenceStatus::Ok, offset, bytes: row_bytes },
                    Err(halt) => RowResult { status: failures.add(&halt), offset: 0, bytes: 0 },
                };
            }
        }
        failures
    }

    /// Runs a row again as if there were no other, and tells if its result isn't what it had in the batch. A row that came alone
    /// is run again among copies of itself.
    fn audit(&mut self, batch: &ModelBatch<'_>, first: usize, results: &mut ModelResults) {
        let Some(at) = batch.audit.map(|row| row as usize).filter(|&row| row < batch.rows.len()) else { return };
        let result = results.rows[first + at];
        if !is_ok(&result) {
            return;
        }
        let alone = batch.alone || self.model.form() == BatchForm::Alone;
        let bucket = if alone || batch.rows.len() > 1 { 0 } else { 1.min(self.sizes.len() - 1) };
        let slots = self.sizes[bucket].min(2);
        let copies = [batch.rows[at]; 2];
        let mut again = std::mem::take(&mut self.audited);
        again.clear();
        let deadline = Deadline::after(self.model.run_limit());
        let ran = self.model.run(bucket, &copies[..slots], &mut again, deadline);
        let bytes = self.model.output_bytes();
        let problem = match ran {
            // The last copy is in another slot, if there is one.
            Ok(()) if again[(slots - 1) * bytes..][..bytes] == *results.output(&result) => None,
            Ok(()) => Some("had another result".to_owned()),
            Err(Halt::Failed(reason)) => Some(format!("failed: {reason}")),
            // That says nothing of the row.
            Err(Halt::TimedOut(_)) => None,
        };
        if let Some(problem) = problem {
            let rows = batch.rows.len();
            results.notice(batch.model, ModelNoticeKind::AuditFailed, 1, || {
                bounded(&format!("row {at} of a batch of {rows} was run again without the others and {problem}"))
            });
        }
        self.audited = again;
    }
}

fn is_ok(result: &RowResult) -> bool {
    result.status == InferenceStatus::Ok
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use wasm_engine_components::ModelId;

    use super::super::layout::Said;
    use super::super::runtime;
    use super::super::session::{self, TimeLimits};
    use super::*;

    /// A model of the tests, in a form that needn't be the right one for it.
    fn batcher(name: &str, form: BatchForm) -> Batcher {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models").join(name);
        let minute = Duration::from_secs(60);
        let time = TimeLimits { load: Deadline::after(minute), run: minute };
        let runtime = runtime::start(&mut |line| eprintln!("{line}")).unwrap();
        let model = session::open(runtime, &std::fs::read(path).unwrap(), Said::default(), time).unwrap();
        Batcher::new(BoundModel::new(model, form, 64))
    }

    fn run(batcher: &mut Batcher, rows: &[[f32; 2]], alone: bool, audit: Option<u32>) -> (Vec<[f32; 2]>, usize) {
        let rows: Vec<Vec<u8>> = rows.iter().map(|row| bytemuck::cast_slice(row).to_vec()).collect();
        let rows: Vec<&[u8]> = rows.iter().map(Vec::as_slice).collect();
        let mut results = ModelResults::default();
        batcher.run(&ModelBatch { alone, audit, ..ModelBatch::new(ModelId(1), &rows) }, true, &mut results);
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
        let mut wrong = batcher("rare.onnx", BatchForm::Any);
        let plain = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]];
        let huge = [[1.0, 2.0], [2e6, 4.0], [5.0, 6.0]];
        assert_eq!(run(&mut wrong, &plain, false, Some(0)), (plain.to_vec(), 0), "nothing shows");
        let mixed = vec![[2_000_001.0, 2.0], [4e6, 4.0], [2_000_005.0, 6.0]];
        assert_eq!(run(&mut wrong, &huge, false, None), (mixed.clone(), 0), "nobody looked");
        assert_eq!(run(&mut wrong, &huge, false, Some(0)), (mixed, 1));
        // Without company each row is what it is, and audits find so.
        let right = vec![[1.0, 2.0], [4e6, 4.0], [5.0, 6.0]];
        for row in 0..3 {
            assert_eq!(run(&mut wrong, &huge, true, Some(row)), (right.clone(), 0));
        }
        assert_eq!(run(&mut batcher("rare.onnx", BatchForm::Alone), &huge, false, Some(0)), (right, 0));
    }

    /// A row that comes alone is run again among copies of itself.
    #[test]
    fn rows_of_an_invariant_model_pass_their_audits() {
        let mut good = batcher("rare.onnx", BatchForm::Multiple(4));
        assert_eq!(run(&mut good, &[[1.0, 2.0]], false, Some(0)), (vec![[1.0, 2.0]], 0));
        let rows: Vec<[f32; 2]> = (0..64).map(|n| [n as f32, -0.5]).collect();
        for row in [0, 1, 40, 63, 64] {
            assert_eq!(run(&mut good, &rows, false, Some(row)), (rows.clone(), 0));
        }
    }
}
