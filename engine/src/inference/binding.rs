//! Preallocated buffers, bound to a session: rows in, one run, outputs out. Called by [`super::batch`] and
//! [`super::admission`], which therefore runs exactly what is run later.
//!
//! There is one binding for each size of a batch that is used, made when it is first needed. A run allocates nothing here.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ort::session::{IoBinding, RunOptions, Session};
use ort::value::DynTensor;

use super::form::BatchForm;
use super::layout::{Slots, TensorPlan};
use super::session::{OpenModel, TimeLimits};
use super::tensor;
use super::watchdog::{self, Deadline, Halt, Work};

/// Most bytes of the inputs, and of the outputs, of one batch.
const BATCH_BYTES_MAX: u64 = 256 << 20;

/// A model with its buffers.
pub(crate) struct BoundModel {
    session: Session,
    slots: Slots,
    form: BatchForm,
    rows_max: u32,
    run_options: Arc<RunOptions>,
    time: TimeLimits,
    inputs: Vec<TensorPlan>,
    outputs: Vec<TensorPlan>,
    output_bytes: usize,
    buckets: Vec<Bucket>,
}

/// A size of a batch.
struct Bucket {
    rows: u32,
    /// Never locked: whoever runs the model has it exclusively. It is here because a binding may move between threads but
    /// not be shared, and the port asks for both.
    buffers: Mutex<Option<Buffers>>,
}

struct Buffers {
    binding: IoBinding,
    inputs: Vec<DynTensor>,
    outputs: Vec<DynTensor>,
}

impl BoundModel {
    /// Binds a model whose runs have this form, and at most `batch_rows_max` rows where the form allows.
    pub(crate) fn new(model: OpenModel, form: BatchForm, batch_rows_max: u32) -> Self {
        let row_bytes = u64::from(model.row_bytes.max(model.output_bytes).max(1));
        let rows_max = u64::from(batch_rows_max).min(BATCH_BYTES_MAX / row_bytes).max(1);
        let mut bound = Self {
            session: model.session,
            slots: model.slots,
            form,
            // At most `batch_rows_max`, so that it fits.
            rows_max: u32::try_from(rows_max).unwrap_or(batch_rows_max),
            run_options: model.run_options,
            time: model.time,
            inputs: model.inputs,
            outputs: model.outputs,
            output_bytes: model.output_bytes as usize,
            buckets: Vec::new(),
        };
        bound.set_form(form);
        bound
    }

    /// Changes the form of runs. Buffers are made anew when they are needed.
    pub(crate) fn set_form(&mut self, form: BatchForm) {
        self.form = form;
        let sizes = match self.slots {
            Slots::Any => form.sizes(self.rows_max),
            // The number is the model's own, even for a row that has all slots for itself.
            Slots::Exactly(rows) => vec![rows],
            Slots::One => vec![1],
        };
        self.buckets = sizes.into_iter().map(|rows| Bucket { rows, buffers: Mutex::new(None) }).collect();
    }

    /// The form of runs.
    pub(crate) const fn form(&self) -> BatchForm {
        self.form
    }

    /// Rows of each size of a batch, ascending. The first is that of the canonical form.
    pub(crate) fn sizes(&self) -> Vec<usize> {
        self.buckets.iter().map(|bucket| bucket.rows as usize).collect()
    }

    /// The inputs and their parts of a row.
    pub(crate) fn inputs(&self) -> &[TensorPlan] {
        &self.inputs
    }

    /// How long it may take.
    pub(crate) const fn time(&self) -> TimeLimits {
        self.time
    }

    /// The longest time for one run.
    pub(crate) const fn run_limit(&self) -> Duration {
        self.time.run
    }

    /// The parts of a row that belong to all rows of a run.
    pub(crate) fn shared(&self) -> Vec<Range<usize>> {
        let common = |input: &&TensorPlan| self.slots == Slots::Any && input.axis.is_none();
        self.inputs.iter().filter(common).map(|input| input.part.clone()).collect()
    }

    /// Bytes of a row's outputs.
    pub(crate) const fn output_bytes(&self) -> usize {
        self.output_bytes
    }

    /// Runs at least one row and at most as many as the bucket has, and appends their outputs to `out`. Slots that are left
    /// get copies of the last row: its kind of input is one that the model can take. On an error `out` is as it was.
    pub(crate) fn run(
        &mut self,
        bucket: usize,
        rows: &[&[u8]],
        out: &mut Vec<u8>,
        deadline: Deadline,
    ) -> Result<(), Halt> {
        let Bucket { rows: slots, buffers } = &mut self.buckets[bucket];
        let buffers = buffers.get_mut().unwrap_or_else(PoisonError::into_inner);
        let buffers = match buffers {
            Some(buffers) => buffers,
            None => buffers.insert(Buffers::new(&self.session, &self.inputs, &self.outputs, *slots)?),
        };
        for (plan, tensor) in self.inputs.iter().zip(&mut buffers.inputs) {
            tensor::fill(tensor, plan, rows, *slots as usize)?;
        }
        let (session, options) = (&mut self.session, &self.run_options);
        let run = || session.run_binding_with_options(&buffers.binding, options).map(drop);
        watchdog::until(deadline, Work::Run(Arc::clone(options)), run)?;
        let start = out.len();
        out.resize(start + rows.len() * self.output_bytes, 0);
        for (plan, tensor) in self.outputs.iter().zip(&buffers.outputs) {
            let bytes = match tensor::read(tensor, plan.info.dtype) {
                Ok(bytes) => bytes,
                Err(error) => {
                    out.truncate(start);
                    return Err(error.into());
                }
            };
            for (slot, inside, of_row) in plan.places(*slots as usize).filter(|&(slot, ..)| slot < rows.len()) {
                let target = &mut out[start + slot * self.output_bytes..][of_row];
                target.copy_from_slice(&bytes[inside]);
                plan.info.dtype.make_nans_canonical(target);
            }
        }
        Ok(())
    }
}

impl Buffers {
    fn new(session: &Session, inputs: &[TensorPlan], outputs: &[TensorPlan], rows: u32) -> ort::Result<Self> {
        let tensor =
            |plan: &TensorPlan| DynTensor::new(session.allocator(), plan.info.dtype.to_ort(), plan.shape(rows));
        let input_tensors = inputs.iter().map(tensor).collect::<ort::Result<Vec<_>>>()?;
        let mut output_tensors = outputs.iter().map(tensor).collect::<ort::Result<Vec<_>>>()?;
        let all = inputs.iter().zip(&input_tensors).chain(outputs.iter().zip(&output_tensors));
        for (plan, tensor) in all {
            tensor::check_alignment(tensor, plan.info.dtype)?;
        }
        let mut binding = session.create_binding()?;
        for (plan, tensor) in inputs.iter().zip(&input_tensors) {
            binding.bind_input(&plan.info.name, tensor)?;
        }
        for (plan, tensor) in outputs.iter().zip(&mut output_tensors) {
            binding.bind_output(&plan.info.name, tensor)?;
        }
        Ok(Self { binding, inputs: input_tensors, outputs: output_tensors })
    }
}

/// The bucket for the next rows of `left`, and how many of them it takes. `sizes` ascend.
///
/// A small batch is padded up to the next size, because a run costs more than its rows. A large one is padded only if it
/// fills three quarters; else the next smaller size is taken, and the rest comes in a run of its own. All sizes are of the model's form,
/// so that the choice changes no result.
pub(crate) fn next_bucket(sizes: &[usize], left: usize) -> (usize, usize) {
    const PADDED_ROWS_MAX: usize = 8;
    let last = sizes.len() - 1;
    let above = sizes.iter().position(|&rows| rows >= left).unwrap_or(last);
    let rows = sizes[above];
    if rows <= left || rows <= PADDED_ROWS_MAX || above == 0 || left * 4 > rows * 3 {
        (above, left.min(rows))
    } else {
        (above - 1, left.min(sizes[above - 1]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How so many rows are run.
    fn check(rows: usize, expected: &[usize]) {
        let sizes = [1, 2, 4, 8, 16, 32, 64];
        let (mut left, mut runs) = (rows, Vec::new());
        while left > 0 {
            let (bucket, taken) = next_bucket(&sizes, left);
            assert!(taken > 0 && taken <= sizes[bucket], "{rows}");
            runs.push(sizes[bucket]);
            left -= taken;
        }
        assert_eq!(runs, expected, "{rows}");
    }

    #[test]
    fn batches_are_padded_where_that_costs_less_than_another_run() {
        check(1, &[1]);
        check(3, &[4]);
        check(5, &[8]);
        check(8, &[8]);
        check(9, &[8, 1]);
        check(13, &[16]);
        check(33, &[32, 1]);
        check(40, &[32, 8]);
        check(49, &[64]);
        check(64, &[64]);
        check(150, &[64, 64, 16, 8]);
    }

    #[test]
    fn multiples_are_never_left() {
        assert_eq!(next_bucket(&[4, 8, 16, 32, 64], 1), (0, 1));
        assert_eq!(next_bucket(&[4, 8, 16, 32, 64], 9), (1, 8));
        assert_eq!(next_bucket(&[16, 32], 40), (1, 32));
    }

    #[test]
    fn a_fixed_batch_has_one_size() {
        assert_eq!(next_bucket(&[4], 1), (0, 1));
        assert_eq!(next_bucket(&[4], 4), (0, 4));
        assert_eq!(next_bucket(&[4], 9), (0, 4));
        assert_eq!(next_bucket(&[24], 3), (0, 3));
    }
}
