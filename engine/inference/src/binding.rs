//! Preallocated buffers, bound to a session: rows in, one run, outputs out. [`super::batch`] and [`super::admission`] use it, so the probe
//! runs exactly what is run later.
//!
//! A model may be run on several threads at once. Each takes a *lane*, which has its own buffers for each size of a run, made when
//! they are first needed, and returns it afterwards. A run allocates nothing here.

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
    /// Lanes that aren't in use.
    lanes: Mutex<Vec<Lane>>,
    /// Whether the memory of a run follows from its size alone, and not from what rows hold.
    steady: bool,
    /// Whether the time of a run does, too.
    in_time: bool,
    /// Whether a run is going on, for a model whose memory isn't steady.
    is_taken: Mutex<bool>,
    is_free: Condvar,
    /// Shortest time of a run of each size, in nanoseconds; 0 before the first one.
    quickest_ns: Vec<AtomicU64>,
    /// Returns whether a run was left behind.
    given_up: AtomicBool,
}

/// Buffers with which one thread at a time runs a model.
struct Lane {
    /// Options of this run, by which the watchdog can end it alone.
    run_options: Arc<RunOptions>,
    /// Buffers for each size of a run.
    buffers: Vec<Option<Buffers>>,
}

struct Buffers {
    binding: IoBinding,
    inputs: Vec<DynTensor>,
    outputs: Vec<DynTensor>,
}

impl BoundModel {
    /// Binds a model whose runs have this form, and at most `batch_rows_max` rows if the form allows several.
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

    /// Changes the form of the runs. Buffers are made anew when they are needed.
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

    /// Uses only the first `count` sizes of runs from now on, but at least the smallest.
    pub(crate) fn use_sizes(&mut self, count: usize) {
        self.sizes.truncate(count.max(1));
        self.quickest_ns.truncate(count.max(1));
        self.lanes().clear();
    }

    /// Returns the form of the runs.
    pub(crate) const fn form(&self) -> BatchForm {
        self.form
    }

    /// Returns the sizes of runs in rows, ascending. The first is that of the canonical form.
    pub(crate) fn sizes(&self) -> Vec<usize> {
        self.sizes.iter().map(|&rows| rows as usize).collect()
    }

    /// Returns the inputs and their parts of a row.
    pub(crate) fn inputs(&self) -> &[TensorPlan] {
        &self.inputs
    }

    /// Returns the limits of the model.
    pub(crate) const fn time(&self) -> ModelLimits {
        self.time
    }

    /// Returns the longest time for one run.
    pub(crate) const fn run_limit(&self) -> Duration {
        self.time.run
    }

    /// Returns the parts of a row that belong to all rows of a run.
    pub(crate) fn shared(&self) -> Vec<Range<usize>> {
        let common = |input: &&TensorPlan| self.slots == Slots::Any && input.axis.is_none();
        self.inputs.iter().filter(common).map(|input| input.part.clone()).collect()
    }

    /// Returns the size of a row's outputs in bytes.
    pub(crate) const fn output_bytes(&self) -> usize {
        self.output_bytes
    }

    /// Notes that a run was left behind, so that there are no more.
    pub(crate) fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
    }

    /// Returns whether a run was left behind.
    pub(crate) fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Relaxed)
    }

    /// Returns how long a run of such a size takes, if it is sure to end far within its limit: its time is the same for all
    /// rows, and runs of that size were quick.
    pub(crate) fn quick_run(&self, bucket: usize) -> Option<Duration> {
        /// Subnormal numbers take a hundred times as long as others.
        const SURELY: u32 = 1_000;
        let quickest = Duration::from_nanos(self.quickest_ns[bucket].load(Ordering::Relaxed));
        (self.in_time && !quickest.is_zero() && quickest * SURELY <= self.time.run).then_some(quickest)
    }

    /// Returns the least time that a run of such a size has: a multiple of the shortest run.
    pub(crate) fn least_time(&self, bucket: usize) -> Duration {
        const TIMES: u32 = 10;
        let shortest = |bucket: usize| Duration::from_nanos(self.quickest_ns[bucket].load(Ordering::Relaxed));
        let own = shortest(bucket);
        // Before the first run of that size, the time of the smallest size is used.
        let known = if own.is_zero() { shortest(0) * (self.sizes[bucket] / self.sizes[0].max(1)) } else { own };
        known * TIMES
    }

    /// Waits until a run may begin. Runs whose memory depends on what rows hold are done one at a time, so that whether a run fits doesn't
    /// depend on others. `None` if the run before was left behind.
    pub(crate) fn turn(&self) -> Option<Turn<'_>> {
        /// Period at which a waiting thread checks whether the run before was left behind.
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

    /// Empties the arena of a model that isn't steady, as it is before each of its runs, whatever loading the model left in it. For each
    /// model, one run measures the shortest time.
    pub(crate) fn tidy_up(&self, deadline: Deadline) -> Result<(), Halt> {
        let zeros = vec![0; self.inputs.last().map_or(0, |input| input.part.end)];
        match self.run(0, &[&zeros], &mut Vec::new(), deadline) {
            // A run that fails empties the arena, too.
            Ok(()) | Err(Halt::Failed(_)) => Ok(()),
            Err(halt) => Err(halt),
        }
    }

    fn lanes(&self) -> MutexGuard<'_, Vec<Lane>> {
        // No thread panics while it holds the lock and leaves something half done.
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs at least one row and at most as many as the bucket has, and appends their outputs to `out`. Free places
    /// get copies of the last row, which the model can take. After an error, `out` is unchanged.
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

    /// Does the same while no other run of the model goes on. If there is no room, because earlier runs left the arena fragmented, the run is
    /// done once more with an empty arena.
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

    /// Returns the number of lanes that aren't in use.
    #[cfg(test)]
    pub(crate) fn lanes_made(&self) -> usize {
        self.lanes().len()
    }

    /// Returns the addresses of the buffers.
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
            // Another thread may write at the same time; either value is the time of a run of that size.
            self.quickest_ns[bucket].store(took, Ordering::Relaxed);
        }
    }
}

/// Permission for a run; the next run begins when it is dropped.
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
            // Not from the arena, which is empty between two runs.
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

/// Returns the bucket for the next rows of `left`, and how many of them it takes. `sizes` ascend.
///
/// A small batch is padded up to the next size, because a run costs more than its rows. A large batch is padded only if it
/// fills three quarters; otherwise the next smaller size is taken, and the rest gets a run of its own. All sizes are of the model's form,
/// so the choice changes no result.
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

    /// Checks how a number of rows is split into runs.
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
