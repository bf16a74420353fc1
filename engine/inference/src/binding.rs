//! Preallocated buffers, bound to a session: rows in, one run, outputs out. Called by [`super::batch`] and
//! [`super::admission`], which therefore runs exactly what is run later.
//!
//! A model may be run on several threads at once. Each takes a *lane*, which has buffers of its own for each size of a batch, made when
//! they are first needed, and gives it back. A run allocates nothing here.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ort::memory::Allocator;
use ort::session::{IoBinding, RunOptions, Session};
use ort::value::DynTensor;

use super::concurrent;
use super::graph::Steadiness;
use super::layout::{Slots, TensorPlan};
use super::limits::{Deadline, ModelLimits};
use super::session::OpenModel;
use super::watchdog::{self, Halt, Work};
use super::{memory, tensor};
use wasm_engine_components::BatchForm;

/// Most bytes of the inputs, and of the outputs, of one batch.
const BATCH_BYTES_MAX: u64 = 256 << 20;

/// A model with its buffers.
pub(crate) struct BoundModel {
    session: Session,
    slots: Slots,
    form: BatchForm,
    rows_max: u32,
    time: ModelLimits,
    inputs: Vec<TensorPlan>,
    outputs: Vec<TensorPlan>,
    output_bytes: usize,
    sizes: Vec<u32>,
    /// Those that nobody runs on.
    lanes: Mutex<Vec<Lane>>,
    /// Whether how much memory a run takes follows from its size, and not from what rows hold.
    steady: bool,
    /// Whether how long a run takes does, too.
    in_time: bool,
    /// Whether a run goes on of a model that isn't steady.
    is_taken: Mutex<bool>,
    is_free: Condvar,
    /// The shortest time of a run of each size, in nanoseconds; 0 before the first one.
    quickest_ns: Vec<AtomicU64>,
    /// Whether a run was left behind.
    given_up: AtomicBool,
}

/// What one thread at a time runs a model with.
struct Lane {
    /// So that the watchdog can end this run alone.
    run_options: Arc<RunOptions>,
    /// For each size of a batch.
    buffers: Vec<Option<Buffers>>,
}

struct Buffers {
    binding: IoBinding,
    inputs: Vec<DynTensor>,
    outputs: Vec<DynTensor>,
}

impl BoundModel {
    /// Binds a model whose runs have this form, and at most `batch_rows_max` rows where the form allows.
    pub(crate) fn new(model: OpenModel, form: BatchForm, batch_rows_max: u32, steadiness: Steadiness) -> Self {
        let row_bytes = u64::from(model.row_bytes.max(model.output_bytes).max(1));
        let rows_max = u64::from(batch_rows_max).min(BATCH_BYTES_MAX / row_bytes).max(1);
        let mut bound = Self {
            session: model.session,
            slots: model.slots,
            form,
            // At most `batch_rows_max`, so that it fits.
            rows_max: u32::try_from(rows_max).unwrap_or(batch_rows_max),
            time: model.time,
            inputs: model.inputs,
            outputs: model.outputs,
            output_bytes: model.output_bytes as usize,
            sizes: Vec::new(),
            lanes: Mutex::default(),
            steady: steadiness != Steadiness::None,
            in_time: steadiness == Steadiness::MemoryAndTime,
            is_taken: Mutex::new(false),
            is_free: Condvar::new(),
            quickest_ns: Vec::new(),
            given_up: AtomicBool::new(false),
        };
        bound.set_form(form);
        bound
    }

    /// Changes the form of runs. Buffers are made anew when they are needed.
    pub(crate) fn set_form(&mut self, form: BatchForm) {
        self.form = form;
        self.sizes = match self.slots {
            Slots::Any => form.sizes(self.rows_max),
            // The number is the model's own, even for a row that has all slots for itself.
            Slots::Exactly(rows) => vec![rows],
            Slots::One => vec![1],
        };
        self.lanes().clear();
        self.quickest_ns = self.sizes.iter().map(|_| AtomicU64::new(0)).collect();
    }

    /// Takes only the first so many sizes of a batch from now on, and at least the smallest.
    pub(crate) fn use_sizes(&mut self, count: usize) {
        self.sizes.truncate(count.max(1));
        self.quickest_ns.truncate(count.max(1));
        self.lanes().clear();
    }

    /// The form of runs.
    pub(crate) const fn form(&self) -> BatchForm {
        self.form
    }

    /// Rows of each size of a batch, ascending. The first is that of the canonical form.
    pub(crate) fn sizes(&self) -> Vec<usize> {
        self.sizes.iter().map(|&rows| rows as usize).collect()
    }

    /// The inputs and their parts of a row.
    pub(crate) fn inputs(&self) -> &[TensorPlan] {
        &self.inputs
    }

    /// How long it may take.
    pub(crate) const fn time(&self) -> ModelLimits {
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

    /// A run was left behind: there are to be no more.
    pub(crate) fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
    }

    /// Whether a run was left behind.
    pub(crate) fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Relaxed)
    }

    /// How long a run of such a size takes, where it is sure to end far within its limit: what takes long then is the same for all
    /// rows, and runs of that size were quick.
    pub(crate) fn quick_run(&self, bucket: usize) -> Option<Duration> {
        /// Numbers that are hardly above zero take a hundred times as long as others.
        const SURELY: u32 = 1_000;
        let quickest = Duration::from_nanos(self.quickest_ns[bucket].load(Ordering::Relaxed));
        (self.in_time && !quickest.is_zero() && quickest * SURELY <= self.time.run).then_some(quickest)
    }

    /// The time that a run of such a size has at least: some times what the shortest one took.
    pub(crate) fn least_time(&self, bucket: usize) -> Duration {
        const TIMES: u32 = 10;
        let shortest = |bucket: usize| Duration::from_nanos(self.quickest_ns[bucket].load(Ordering::Relaxed));
        let own = shortest(bucket);
        // Before the first one of that size, that of the smallest says something.
        let known = if own.is_zero() { shortest(0) * (self.sizes[bucket] / self.sizes[0].max(1)) } else { own };
        known * TIMES
    }

    /// Waits until a run may begin. Runs whose memory follows from what rows hold are done one at a time, so that whether one fits doesn't
    /// depend on others. `None` where the one before was left behind.
    pub(crate) fn turn(&self) -> Option<Turn<'_>> {
        /// How often somebody who waits looks whether that is in vain.
        const LOOK_PERIOD: Duration = Duration::from_millis(50);
        if self.steady {
            return Some(Turn(None));
        }
        let mut is_taken = self.is_taken.lock().unwrap_or_else(PoisonError::into_inner);
        while *is_taken {
            if self.is_given_up() {
                return None;
            }
            is_taken = self.is_free.wait_timeout(is_taken, LOOK_PERIOD).unwrap_or_else(PoisonError::into_inner).0;
        }
        *is_taken = true;
        Some(Turn(Some(self)))
    }

    /// Leaves the arena as it is before each run of a model that isn't steady, whatever was done to load it. Of each model, one run
    /// shows what the shortest takes.
    pub(crate) fn tidy_up(&self, deadline: Deadline) -> Result<(), Halt> {
        let zeros = vec![0; self.inputs.last().map_or(0, |input| input.part.end)];
        match self.run(0, &[&zeros], &mut Vec::new(), deadline) {
            // A run that fails gives everything back, too.
            Ok(()) | Err(Halt::Failed(_)) => Ok(()),
            Err(halt) => Err(halt),
        }
    }

    fn lanes(&self) -> MutexGuard<'_, Vec<Lane>> {
        // Nobody panics while holding it with something half done.
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs at least one row and at most as many as the bucket has, and appends their outputs to `out`. Slots that are left
    /// get copies of the last row: its kind of input is one that the model can take. On an error `out` is as it was.
    pub(crate) fn run(&self, bucket: usize, rows: &[&[u8]], out: &mut Vec<u8>, deadline: Deadline) -> Result<(), Halt> {
        let lane = self.lanes().pop();
        let mut lane = match lane {
            Some(lane) => lane,
            None => Lane {
                run_options: Arc::new(if self.steady { RunOptions::new()? } else { memory::returning_options()? }),
                buffers: self.sizes.iter().map(|_| None).collect(),
            },
        };
        let ran = self.run_on(&mut lane, bucket, rows, out, deadline);
        self.lanes().push(lane);
        ran
    }

    /// The same while no other run of the model goes on. One that has no room, because earlier runs left the arena in pieces, is done once
    /// more with all of it.
    pub(crate) fn run_alone(
        &self,
        bucket: usize,
        rows: &[&[u8]],
        out: &mut Vec<u8>,
        deadline: Deadline,
    ) -> Result<(), Halt> {
        let ran = self.run(bucket, rows, out, deadline);
        if !self.steady || !ran.as_ref().is_err_and(Halt::is_of_memory) {
            return ran;
        }
        let options = Arc::new(memory::returning_options()?);
        let mut lane = Lane { run_options: options, buffers: self.sizes.iter().map(|_| None).collect() };
        // The first one gives everything back, whether or not it has room itself.
        match self.run_on(&mut lane, bucket, rows, out, deadline) {
            Err(halt) if halt.is_of_memory() => self.run_on(&mut lane, bucket, rows, out, deadline),
            ran => ran,
        }
    }

    fn run_on(
        &self,
        lane: &mut Lane,
        bucket: usize,
        rows: &[&[u8]],
        out: &mut Vec<u8>,
        deadline: Deadline,
    ) -> Result<(), Halt> {
        let (slots, options) = (self.sizes[bucket], &lane.run_options);
        let buffers = match &mut lane.buffers[bucket] {
            Some(buffers) => buffers,
            none => none.insert(Buffers::new(&self.session, &self.inputs, &self.outputs, slots)?),
        };
        for (plan, tensor) in self.inputs.iter().zip(&mut buffers.inputs) {
            tensor::fill(tensor, plan, rows, slots as usize)?;
        }
        let started = Instant::now();
        let run = || concurrent::run(&self.session, &mut buffers.binding, options);
        watchdog::until(deadline, Work::Run(Arc::clone(options)), run)?;
        self.note_time(bucket, started.elapsed());
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
            for (slot, inside, of_row) in plan.places(slots as usize).filter(|&(slot, ..)| slot < rows.len()) {
                let target = &mut out[start + slot * self.output_bytes..][of_row];
                target.copy_from_slice(&bytes[inside]);
                plan.info.dtype.make_nans_canonical(target);
            }
        }
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn set_run_limit(&mut self, limit: Duration) {
        self.time.run = limit;
    }

    /// How many lanes nobody runs on.
    #[cfg(test)]
    pub(crate) fn lanes_made(&self) -> usize {
        self.lanes().len()
    }

    /// Where the buffers begin.
    #[cfg(test)]
    pub(crate) fn buffer_places(&self) -> Vec<usize> {
        let place = |plan: &TensorPlan, tensor: &DynTensor| {
            let bytes = tensor::read(tensor, plan.info.dtype).unwrap();
            (!bytes.is_empty()).then(|| bytes.as_ptr().addr())
        };
        let lanes = self.lanes();
        let buffers = lanes.iter().flat_map(|lane| lane.buffers.iter().flatten());
        let tensors = buffers.flat_map(|buffers| {
            self.inputs.iter().zip(&buffers.inputs).chain(self.outputs.iter().zip(&buffers.outputs))
        });
        tensors.filter_map(|(plan, tensor)| place(plan, tensor)).collect()
    }

    fn note_time(&self, bucket: usize, took: Duration) {
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).max(1);
        let quickest = self.quickest_ns[bucket].load(Ordering::Relaxed);
        if quickest == 0 || took < quickest {
            // Another thread may write at the same time. Either was a run of that size.
            self.quickest_ns[bucket].store(took, Ordering::Relaxed);
        }
    }
}

/// The turn of a run; the next one begins when it is dropped.
pub(crate) struct Turn<'m>(Option<&'m BoundModel>);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(model) = self.0 {
            *model.is_taken.lock().unwrap_or_else(PoisonError::into_inner) = false;
            model.is_free.notify_one();
        }
    }
}

impl Buffers {
    fn new(session: &Session, inputs: &[TensorPlan], outputs: &[TensorPlan], rows: u32) -> ort::Result<Self> {
        let tensor =
            // Not from the arena: that is empty between two runs.
            |plan: &TensorPlan| DynTensor::new(&Allocator::default(), plan.info.dtype.to_ort(), plan.shape(rows));
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
