//! Carries out a batch of rows: refuses what is wrong, runs the rest in batches of the sizes that were probed, and tries a
//! failed batch again row by row. Called by [`super::registry`] in each frame that has jobs. It can't fail: what goes wrong
//! with a row is the row's result.

use wasm_engine_abi::InferenceStatus;
use wasm_engine_systems::ports::{ModelResults, RowResult};

use super::binding::{BoundModel, next_bucket};
use super::form::BatchForm;

/// A model that is ready for batches.
pub(crate) struct Batcher {
    model: BoundModel,
    sizes: Vec<usize>,
    row_bytes: usize,
}

impl Batcher {
    /// Takes a model, whose runs have the form that it is bound to.
    pub(crate) fn new(model: BoundModel) -> Self {
        let row_bytes = model.inputs().last().map_or(0, |input| input.part.end);
        Self { sizes: model.sizes(), row_bytes, model }
    }

    /// Runs with a more restrictive form from now on.
    #[allow(dead_code, reason = "audits at run time will call it")]
    pub(crate) fn restrict(&mut self, form: BatchForm) {
        self.model.set_form(self.model.form().strictest(form));
        self.sizes = self.model.sizes();
    }

    /// Appends a result for each row, in the same order.
    pub(crate) fn run(&mut self, rows: &[&[u8]], refuse_non_finite: bool, results: &mut ModelResults) {
        let first = results.rows.len();
        let checked = rows.iter().map(|row| self.check(row, refuse_non_finite));
        results.rows.extend(checked.map(|status| RowResult { status, offset: 0, bytes: 0 }));
        let slots = &mut results.rows[first..];
        if slots.iter().all(is_ok) {
            self.run_good(rows, slots.iter_mut(), &mut results.bytes);
        } else {
            let good: Vec<&[u8]> =
                rows.iter().zip(&*slots).filter(|(_, slot)| is_ok(slot)).map(|(row, _)| *row).collect();
            self.run_good(&good, slots.iter_mut().filter(|slot| is_ok(slot)), &mut results.bytes);
        }
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
        mut slots: impl Iterator<Item = &'r mut RowResult>,
        bytes: &mut Vec<u8>,
    ) {
        let row_bytes = self.model.output_bytes();
        let mut left = rows;
        while !left.is_empty() {
            let (bucket, taken) =
                if self.model.form() == BatchForm::Alone { (0, 1) } else { next_bucket(&self.sizes, left.len()) };
            let (batch, rest) = left.split_at(taken);
            left = rest;
            let start = bytes.len();
            let ran = self.model.run(bucket, batch, bytes).is_ok();
            for (at, (row, slot)) in batch.iter().zip(&mut slots).enumerate() {
                let place = if ran {
                    Some(start + at * row_bytes)
                } else {
                    // One bad row fails the whole run: each gets a run of its own, so that only the bad one fails.
                    let start = bytes.len();
                    (taken > 1 && self.model.run(0, &[row], bytes).is_ok()).then_some(start)
                };
                *slot = match place {
                    Some(offset) => RowResult { status: InferenceStatus::Ok, offset, bytes: row_bytes },
                    None => RowResult { status: InferenceStatus::Failed, offset: 0, bytes: 0 },
                };
            }
        }
    }
}

fn is_ok(result: &RowResult) -> bool {
    result.status == InferenceStatus::Ok
}
