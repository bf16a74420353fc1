//! Carries out the batches of a frame: refuses what is wrong, plans runs of the sizes that were probed for the rest, and puts what they
//! gave in the rows' places. A failed run is tried again row by row. Called by [`super::registry`] in each frame that has jobs. It can't
//! fail: what goes wrong with a row is the row's result, and the reason is a notice.
//!
//! How the runs of a frame are made follows from its rows. On which threads they are done doesn't show in any result.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use wasm_engine_abi::InferenceStatus;
use wasm_engine_components::ModelNoticeKind;
use wasm_engine_components::limits::MODEL_GRACE_MS;
use wasm_engine_systems::ports::{ModelBatch, ModelResults, RowResult};

use super::binding::{BoundModel, next_bucket};
use super::crew::{self, Hands};
use super::form::BatchForm;
use super::watchdog::{Halt, Patience, bounded};

/// Time of all runs of a frame together below which they are done one after the other by the thread that waits for them: to hand them to
/// others takes longer.
const HANDED_OVER_FROM: Duration = Duration::from_micros(100);

/// A model that is ready for batches.
pub(crate) struct Batcher {
    model: Arc<BoundModel>,
    sizes: Vec<usize>,
    row_bytes: usize,
    /// The parts of a row that all rows of a run must have in common.
    shared: Vec<Range<usize>>,
}

/// Rows that are run together, or one that has a run for itself.
pub(crate) struct Unit<'r> {
    model: &'r Arc<BoundModel>,
    patience: Arc<Patience>,
    bucket: usize,
    rows: Cow<'r, [&'r [u8]]>,
    /// The batch that the rows are of, and where their results go.
    batch: &'r ModelBatch<'r>,
    places: Vec<usize>,
}

/// What a unit gave: the outputs of the rows that have some, one after the other, and those that have none.
#[derive(Default)]
pub(crate) struct Ran {
    bytes: Vec<u8>,
    /// By number within the unit, ascending.
    halted: Vec<(usize, Halt)>,
}

impl Batcher {
    /// Takes a model, whose runs have the form that it is bound to.
    pub(crate) fn new(model: BoundModel) -> Self {
        let row_bytes = model.inputs().last().map_or(0, |input| input.part.end);
        Self { sizes: model.sizes(), row_bytes, shared: model.shared(), model: Arc::new(model) }
    }

    /// The time that the model has in a frame.
    pub(crate) fn patience(&self) -> Arc<Patience> {
        Arc::new(Patience::new(self.model.run_limit()))
    }

    /// Makes a place for the result of each row, in order, with the status of those that can't be run, and adds the runs of the others.
    pub(crate) fn plan<'r>(
        &'r self,
        batch: &'r ModelBatch<'r>,
        refuse_non_finite: bool,
        patience: &Arc<Patience>,
        results: &mut ModelResults,
        units: &mut Vec<Unit<'r>>,
    ) {
        let (first, rows) = (results.rows.len(), batch.rows);
        let checked = rows.iter().map(|row| self.check(row, refuse_non_finite));
        results.rows.extend(checked.map(|status| RowResult { status, offset: 0, bytes: 0 }));
        let slots = &results.rows[first..];
        patience.expect(slots.iter().filter(|slot| is_ok(slot)).count());
        let unit = |bucket, rows, places| Unit {
            model: &self.model,
            patience: Arc::clone(patience),
            bucket,
            rows,
            batch,
            places,
        };
        if self.shared.is_empty() && slots.iter().all(is_ok) {
            self.each_run(batch, rows.len(), |bucket, part| {
                let places = (first + part.start..first + part.end).collect();
                units.push(unit(bucket, Cow::Borrowed(&rows[part]), places));
            });
            return;
        }
        let mut good: Vec<usize> = (0..rows.len()).filter(|&at| is_ok(&slots[at])).collect();
        // Only those run together that agree in what they share. Those who came first among equals stay first.
        let shared = |&at: &usize| self.shared.iter().map(move |part| &rows[at][part.clone()]);
        good.sort_by(|one, other| shared(one).cmp(shared(other)));
        for group in good.chunk_by(|one, other| shared(one).eq(shared(other))) {
            self.each_run(batch, group.len(), |bucket, part| {
                let group = &group[part];
                let places = group.iter().map(|at| first + at).collect();
                units.push(unit(bucket, group.iter().map(|&at| rows[at]).collect(), places));
            });
        }
    }

    /// The runs of so many rows: the size, and which of the rows.
    fn each_run(&self, batch: &ModelBatch<'_>, rows: usize, mut run: impl FnMut(usize, Range<usize>)) {
        let alone = self.runs_alone(batch);
        let mut start = 0;
        while start < rows {
            let (bucket, taken) = if alone { (0, 1) } else { next_bucket(&self.sizes, rows - start) };
            run(bucket, start..start + taken);
            start += taken;
        }
    }

    fn runs_alone(&self, batch: &ModelBatch<'_>) -> bool {
        batch.alone || self.model.form() == BatchForm::Alone
    }

    /// Whether a row may be run.
    fn check(&self, row: &[u8], refuse_non_finite: bool) -> InferenceStatus {
        if row.len() != self.row_bytes {
            return InferenceStatus::WrongSize;
        }
        let finite = || self.model.inputs().iter().all(|input| input.info.dtype.all_finite(&row[input.part.clone()]));
        if refuse_non_finite && !finite() { InferenceStatus::NonFinite } else { InferenceStatus::Ok }
    }

    /// The run that audits a row of a batch, if one is audited: the row as if there were no other. One that came alone is run again
    /// among copies of itself. `first` is the place of the batch's first result.
    pub(crate) fn audit<'r>(
        &'r self,
        batch: &'r ModelBatch<'r>,
        first: usize,
        results: &ModelResults,
    ) -> Option<Unit<'r>> {
        let at = batch.audit.map(|row| row as usize).filter(|&row| row < batch.rows.len())?;
        if !is_ok(&results.rows[first + at]) || self.model.is_given_up() {
            return None;
        }
        let bucket = if self.runs_alone(batch) || batch.rows.len() > 1 { 0 } else { 1.min(self.sizes.len() - 1) };
        let copies = vec![batch.rows[at]; self.sizes[bucket].min(2)];
        let places = vec![first + at; copies.len()];
        let patience = self.patience();
        patience.expect(copies.len());
        Some(Unit { model: &self.model, patience, bucket, rows: copies.into(), batch, places })
    }
}

impl Unit<'_> {
    /// The result of an audit: why it failed, if it did.
    pub(crate) fn audited(&self, ran: &Ran, results: &ModelResults) -> Option<String> {
        let bytes = self.model.output_bytes();
        // The last copy is in another slot, if there is one.
        let last = self.places.len() - 1;
        match ran.halted.first() {
            None if ran.bytes[last * bytes..] == *results.output(&results.rows[self.places[0]]) => None,
            None => Some("had another result".to_owned()),
            Some((_, Halt::Failed(reason))) => Some(format!("failed: {reason}")),
            // That says nothing of the row.
            Some((_, Halt::TimedOut(_))) => None,
        }
    }

    /// Tells that an audit failed.
    pub(crate) fn tell_audit(&self, problem: &str, results: &mut ModelResults) {
        let (at, rows) = (self.batch.audit.unwrap_or_default(), self.batch.rows.len());
        results.notice(self.batch.model, ModelNoticeKind::AuditFailed, 1, || {
            bounded(&format!("row {at} of a batch of {rows} was run again without the others and {problem}"))
        });
    }

    /// Tells if a run of the model was left behind: this one, which was told to end after such a time, or another one.
    pub(crate) fn tell_given_up(&self, left_behind: Option<Duration>, results: &mut ModelResults) {
        if self.model.is_given_up() {
            let limit = left_behind.unwrap_or_else(|| self.model.run_limit()).as_millis();
            let reason =
                || format!("a run was told to end after {limit} ms and didn't within {MODEL_GRACE_MS} ms more");
            results.notice(self.batch.model, ModelNoticeKind::GivenUp, u32::from(left_behind.is_some()), reason);
        }
    }

    /// Puts what the rows gave in their places, and tells of those that gave nothing.
    pub(crate) fn place(&self, ran: Result<Ran, Duration>, results: &mut ModelResults) {
        let mut left_behind = None;
        let ran = ran.unwrap_or_else(|limit| {
            left_behind = Some(limit);
            Ran::halted(self.rows.len(), &Halt::TimedOut(limit))
        });
        self.tell_given_up(left_behind, results);
        let (row_bytes, mut offset) = (self.model.output_bytes(), results.bytes.len());
        results.bytes.extend_from_slice(&ran.bytes);
        let mut halted = ran.halted.iter().peekable();
        for (at, &place) in self.places.iter().enumerate() {
            results.rows[place] = match halted.next_if(|(row, _)| *row == at) {
                None => {
                    offset += row_bytes;
                    RowResult { status: InferenceStatus::Ok, offset: offset - row_bytes, bytes: row_bytes }
                }
                Some((_, halt)) => {
                    let (kind, status) = match halt {
                        Halt::Failed(_) => (ModelNoticeKind::Failed, InferenceStatus::Failed),
                        Halt::TimedOut(_) => (ModelNoticeKind::TimedOut, InferenceStatus::TimedOut),
                    };
                    results.notice(self.batch.model, kind, 1, || halt.to_string());
                    RowResult { status, offset: 0, bytes: 0 }
                }
            };
        }
    }
}

impl Ran {
    fn halted(rows: usize, halt: &Halt) -> Self {
        Self { bytes: Vec::new(), halted: (0..rows).map(|row| (row, halt.clone())).collect() }
    }

    /// Whether a row failed for want of memory.
    fn lacked_memory(&self) -> bool {
        self.halted.iter().any(|(_, halt)| halt.is_of_memory())
    }
}

/// Runs rows together. If that fails, one bad row may be why: each gets a run of its own, so that only the bad one fails.
/// `alone` says that no other run goes on.
fn execute(model: &BoundModel, patience: &Patience, bucket: usize, rows: &[&[u8]], alone: bool) -> Ran {
    let mut ran = Ran::default();
    let run = |bucket, rows: &[&[u8]], bytes: &mut Vec<u8>| {
        let turn = model.turn().filter(|_| !model.is_given_up());
        let Some(_turn) = turn else { return Err(Halt::TimedOut(model.run_limit())) };
        patience.spend(rows.len(), |deadline| match alone {
            true => model.run_alone(bucket, rows, bytes, deadline),
            false => model.run(bucket, rows, bytes, deadline),
        })
    };
    match run(bucket, rows, &mut ran.bytes) {
        Ok(()) => {}
        Err(halt) if rows.len() == 1 => ran.halted.push((0, halt)),
        Err(_) => {
            for (at, row) in rows.iter().enumerate() {
                if let Err(halt) = run(0, std::slice::from_ref(row), &mut ran.bytes) {
                    ran.halted.push((at, halt));
                }
                patience.done(1);
            }
            return ran;
        }
    }
    patience.done(rows.len());
    ran
}

/// Does the runs, and returns what each gave, in order: on this thread where they are few and sure to be quick, else on `threads`.
/// An error is a limit of time that a run didn't keep, so that its thread was left behind.
pub(crate) fn run_all(units: &[Unit<'_>], threads: usize) -> Vec<Result<Ran, Duration>> {
    let times = units.iter().map(|unit| unit.model.quick_run(unit.bucket));
    let time = times.sum::<Option<Duration>>();
    if time.is_some_and(|time| threads == 1 || units.len() == 1 || time < HANDED_OVER_FROM) {
        return units
            .iter()
            .map(|unit| Ok(execute(unit.model, &unit.patience, unit.bucket, &unit.rows, true)))
            .collect();
    }
    // This thread is one of them where nothing can keep it.
    let mut ran = hand_over(units.iter().collect(), Hands { threads, joins: time.is_some() });
    if threads > 1 && units.len() > 1 {
        // Runs of a model that go on side by side share its memory. Whether a row fails isn't to depend on that: what lacked memory is run
        // again, one after the other.
        let failed = |ran: &Result<Ran, Duration>| ran.as_ref().is_ok_and(Ran::lacked_memory);
        let again: Vec<usize> = (0..units.len()).filter(|&at| failed(&ran[at])).collect();
        again.iter().for_each(|&at| units[at].patience.expect(units[at].rows.len()));
        let ran_again = hand_over(again.iter().map(|&at| &units[at]).collect(), Hands { threads: 1, joins: false });
        again.into_iter().zip(ran_again).for_each(|(at, new)| ran[at] = new);
    }
    ran
}

/// A run that another thread can do: nothing of it is borrowed.
struct Owned {
    model: Arc<BoundModel>,
    patience: Arc<Patience>,
    bucket: usize,
    rows: usize,
    bytes: Vec<u8>,
}

impl Owned {
    fn of(unit: &Unit<'_>) -> Self {
        let (model, patience) = (Arc::clone(unit.model), Arc::clone(&unit.patience));
        Self { model, patience, bucket: unit.bucket, rows: unit.rows.len(), bytes: unit.rows.concat() }
    }

    fn execute(&self, alone: bool) -> Ran {
        let row_bytes = self.bytes.len() / self.rows;
        let rows: Vec<&[u8]> = (0..self.rows).map(|row| &self.bytes[row * row_bytes..][..row_bytes]).collect();
        execute(&self.model, &self.patience, self.bucket, &rows, alone)
    }
}

fn hand_over(units: Vec<&Unit<'_>>, hands: Hands) -> Vec<Result<Ran, Duration>> {
    let owned: Vec<Owned> = units.iter().map(|unit| Owned::of(unit)).collect();
    let alone = hands.threads == 1 || owned.len() == 1;
    crew::each(owned.len(), hands, move |at| owned[at].execute(alone), |at| units[at].model.give_up())
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
    use super::super::session::{self, ModelLimits};
    use super::super::watchdog::Deadline;
    use super::*;

    /// A model of the tests, in a form that needn't be the right one for it. Its runs may go on side by side.
    fn batcher(name: &str, form: BatchForm) -> Batcher {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models").join(name);
        let minute = Duration::from_secs(60);
        let time = ModelLimits { load: Deadline::after(minute), run: minute, memory_bytes: 1 << 30 };
        let runtime = runtime::start(&mut |line| eprintln!("{line}")).unwrap();
        let model = session::open(runtime, &std::fs::read(path).unwrap(), Said::default(), time).unwrap();
        Batcher::new(BoundModel::new(model, form, 64, true))
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
            let row =
                |rounds: i64| [[1.0_f32; 4].map(f32::to_le_bytes).concat(), rounds.to_le_bytes().to_vec()].concat();
            let rows = [row(1 << 62), row(1 << 62), row(1 << 62), row(1 << 62), row(1)];
            let rows: Vec<&[u8]> = rows.iter().map(Vec::as_slice).collect();
            let (batch, mut units, mut results) =
                (ModelBatch::new(ModelId(1), &rows), Vec::new(), ModelResults::default());
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
                let ran = execute(&batcher.model, &batcher.patience(), bucket, &rows, true);
                assert_eq!(ran.halted, [], "{name}");
            }
            let places = batcher.model.buffer_places();
            assert!(places.len() >= 2 * batcher.sizes.len(), "{name}: {}", places.len());
            assert!(
                places.iter().all(|place| place % super::super::tensor::BUFFER_ALIGNMENT == 0),
                "{name}: {places:?}"
            );
        }
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
}
