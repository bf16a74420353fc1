//! Carries out the batches of a frame: refuses bad rows, plans runs of the probed sizes for the others, and puts their results in the rows'
//! places. A failed run is tried again row by row. [`super::registry`] calls it in each frame that has jobs. It can't
//! fail: if something goes wrong with a row, that is the row's result, and the reason is a notice.
//!
//! The runs of a frame follow from its rows. The threads on which they are done show in no result.

use std::borrow::{Borrow, Cow};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use wasm_engine_abi::InferenceStatus;
use wasm_engine_components::ModelNoticeKind;
use wasm_engine_components::limits::MODEL_GRACE_MS;
use wasm_engine_systems::ports::{ModelBatch, ModelResults, RowResult};

use super::binding::{BoundModel, next_bucket};
use super::crew::{self, Hands};
use super::patience::{Chance, Patience};
use super::watchdog::{Halt, bounded};
use wasm_engine_components::BatchForm;

#[cfg(test)]
mod tests;

/// If all runs of a frame together take less than this time, the waiting thread does them one after the other, because handing them to
/// other threads would take longer.
const HANDED_OVER_FROM: Duration = Duration::from_micros(100);

/// A model that is ready for batches.
pub(crate) struct Batcher {
    model: Arc<BoundModel>,
    sizes: Vec<usize>,
    row_bytes: usize,
    /// Parts of a row that must be the same in all rows of a run.
    shared: Vec<Range<usize>>,
}

/// Rows that are run together, or a row that is run alone.
pub(crate) struct Unit<'r> {
    model: &'r Arc<BoundModel>,
    patience: Arc<Patience>,
    bucket: usize,
    rows: Cow<'r, [&'r [u8]]>,
    /// The rows' batch, and where their results go.
    batch: &'r ModelBatch<'r>,
    places: Vec<usize>,
}

/// Results of a unit: the outputs of the rows that have some, one after the other, and the rows that have none.
#[derive(Default)]
pub(crate) struct Ran {
    bytes: Vec<u8>,
    /// Failed rows by their index in the unit, ascending.
    halted: Vec<(usize, Halt)>,
}

impl Batcher {
    /// Returns a model whose runs have the form that it is bound to.
    pub(crate) fn new(model: BoundModel) -> Self {
        let row_bytes = model.inputs().last().map_or(0, |input| input.part.end);
        Self { sizes: model.sizes(), row_bytes, shared: model.shared(), model: Arc::new(model) }
    }

    /// Returns why the model isn't run any more, if it was given up.
    pub(crate) fn given_up(&self) -> Option<String> {
        let limit = self.model.run_limit().as_millis();
        let reason = || {
            format!("a run took longer than {limit} ms, was told to end, and didn't within {MODEL_GRACE_MS} ms more")
        };
        self.model.is_given_up().then(reason)
    }

    /// Returns the time that the model has in a frame.
    pub(crate) fn patience(&self) -> Arc<Patience> {
        let limit = self.model.run_limit();
        Arc::new(if self.model.time().unhurried { Patience::unhurried(limit) } else { Patience::new(limit) })
    }

    /// Adds a result for each row, in order, with the status of those that can't be run, and adds the runs of the others.
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
        // Only rows with the same shared inputs run together. The sort is stable.
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

    /// Calls `run` for each run of `rows` rows, with its size and its rows.
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

    /// Returns the status of a row that may not be run.
    fn check(&self, row: &[u8], refuse_non_finite: bool) -> InferenceStatus {
        if row.len() != self.row_bytes {
            return InferenceStatus::WrongSize;
        }
        let finite = || self.model.inputs().iter().all(|input| input.info.dtype.all_finite(&row[input.part.clone()]));
        if refuse_non_finite && !finite() { InferenceStatus::NonFinite } else { InferenceStatus::Ok }
    }

    /// Returns the run that audits a row of a batch, if one is audited: the row as if there were no other. A row that came alone is run again
    /// among copies of itself. `first` is the index of the batch's first result.
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
    /// Returns why an audit failed, if it did.
    pub(crate) fn audited(&self, ran: &Ran, results: &ModelResults) -> Option<String> {
        let bytes = self.model.output_bytes();
        // The last copy is in another slot, if there is one.
        let last = self.places.len() - 1;
        match ran.halted.first() {
            None if ran.bytes[last * bytes..] == *results.output(&results.rows[self.places[0]]) => None,
            None => Some("had another result".to_owned()),
            Some((_, Halt::Failed(reason))) => Some(format!("failed: {reason}")),
            // That proves nothing about the row.
            Some((_, Halt::TimedOut(_))) => None,
        }
    }

    /// Adds the notice of a failed audit.
    pub(crate) fn tell_audit(&self, problem: &str, results: &mut ModelResults) {
        let (at, rows) = (self.batch.audit.unwrap_or_default(), self.batch.rows.len());
        results.notice(self.batch.model, ModelNoticeKind::AuditFailed, 1, || {
            bounded(&format!("row {at} of a batch of {rows} was run again without the others and {problem}"))
        });
    }

    /// Puts the results of rows in their places, and adds notices of rows without a result.
    pub(crate) fn place(&self, ran: Result<Ran, Duration>, results: &mut ModelResults) {
        let ran = ran.unwrap_or_else(|limit| Ran::halted(self.rows.len(), &Halt::TimedOut(limit)));
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
                    results.notice(self.batch.model, kind, 1, || self.reason(halt));
                    RowResult { status, offset: 0, bytes: 0 }
                }
            };
        }
    }
}

impl Unit<'_> {
    /// Returns why a row has no result.
    fn reason(&self, halt: &Halt) -> String {
        match halt {
            Halt::TimedOut(had) if *had < self.model.run_limit() => {
                format!("{halt}, its part of the time that the model has in a frame")
            }
            _ => halt.to_string(),
        }
    }
}

impl Ran {
    fn halted(rows: usize, halt: &Halt) -> Self {
        Self { bytes: Vec::new(), halted: (0..rows).map(|row| (row, halt.clone())).collect() }
    }

    /// Returns the rows that weren't done in the time that they had, if that was less than `limit`.
    fn late(&self, limit: Duration) -> impl Iterator<Item = (usize, Duration)> {
        self.halted.iter().filter_map(move |(row, halt)| match halt {
            Halt::TimedOut(had) if *had < limit => Some((*row, *had)),
            _ => None,
        })
    }

    /// Adds the outputs of rows that had none: by index in the unit, ascending. A row has `row_bytes` bytes.
    fn put(&mut self, row_bytes: usize, again: Vec<(usize, Self)>) {
        let old = std::mem::take(self);
        let (mut again, mut from) = (again.into_iter().peekable(), 0);
        for (without, (row, halt)) in old.halted.into_iter().enumerate() {
            let end = (row - without) * row_bytes;
            self.bytes.extend_from_slice(&old.bytes[from..end]);
            from = end;
            match again.next_if(|(at, _)| *at == row) {
                Some((_, mut ran)) => {
                    self.bytes.extend_from_slice(&ran.bytes);
                    self.halted.extend(ran.halted.pop().map(|(_, halt)| (row, halt)));
                }
                None => self.halted.push((row, halt)),
            }
        }
        self.bytes.extend_from_slice(&old.bytes[from..]);
    }

    /// Returns whether a row failed because of too little memory.
    fn lacked_memory(&self) -> bool {
        self.halted.iter().any(|(_, halt)| halt.is_of_memory())
    }
}

/// Runs rows together. If that fails, one bad row may be the cause, so each row gets a run of its own, and only the bad one fails.
/// `alone` says that no other run goes on, and `had` how much time a row had in which it wasn't done.
fn execute(
    model: &BoundModel,
    patience: &Patience,
    bucket: usize,
    rows: &[&[u8]],
    alone: bool,
    had: Option<Duration>,
) -> Ran {
    let mut ran = Ran::default();
    let run = |bucket, rows: &[&[u8]], bytes: &mut Vec<u8>| {
        let turn = model.turn().filter(|_| !model.is_given_up());
        let Some(_turn) = turn else { return Err(Halt::TimedOut(model.run_limit())) };
        let first = || Chance::First { least: model.least_time(bucket) };
        let chance = had.map_or_else(first, |had| Chance::Second { had });
        patience.spend(rows.len(), chance, |deadline| match alone {
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

/// Does the runs, and returns their results in order. An error is the limit of time that a run exceeded, so that its thread was left behind.
pub(crate) fn run_all(units: &[Unit<'_>], threads: usize) -> Vec<Result<Ran, Duration>> {
    let mut ran = run_each(units, threads);
    run_late(units, &mut ran);
    ran
}

/// Does the runs: on this thread if they are few and sure to be quick, else on `threads` threads.
fn run_each(units: &[Unit<'_>], threads: usize) -> Vec<Result<Ran, Duration>> {
    let times = units.iter().map(|unit| unit.model.quick_run(unit.bucket));
    let time = times.sum::<Option<Duration>>();
    if time.is_some_and(|time| threads == 1 || units.len() == 1 || time < HANDED_OVER_FROM) {
        return units
            .iter()
            .map(|unit| Ok(execute(unit.model, &unit.patience, unit.bucket, &unit.rows, true, None)))
            .collect();
    }
    // This thread takes part if every run is sure to end.
    let whole = |unit| Owned::of(unit, 0..unit.rows.len(), unit.bucket, None);
    let mut ran = hand_over(units, units.iter().map(whole).collect(), Hands { threads, joins: time.is_some() });
    if threads > 1 && units.len() > 1 {
        // Runs of a model that go on side by side share its memory. Whether a row fails must not depend on that, so runs that lacked memory are done
        // again, one after the other.
        let failed = |ran: &Result<Ran, Duration>| ran.as_ref().is_ok_and(Ran::lacked_memory);
        let again: Vec<usize> = (0..units.len()).filter(|&at| failed(&ran[at])).collect();
        again.iter().for_each(|&at| units[at].patience.expect(units[at].rows.len()));
        let owned = again.iter().map(|&at| whole(&units[at])).collect();
        let ran_again = hand_over(&again.iter().map(|&at| &units[at]).collect::<Vec<_>>(), owned, ONE_BY_ONE);
        again.into_iter().zip(ran_again).for_each(|(at, new)| ran[at] = new);
    }
    ran
}

/// Runs the rows that weren't done in their part of the time once more, after all others.
fn run_late(units: &[Unit<'_>], ran: &mut [Result<Ran, Duration>]) {
    let mut late = Vec::new();
    for (at, ran) in ran.iter().enumerate().filter_map(|(at, ran)| Some((at, ran.as_ref().ok()?))) {
        late.extend(ran.late(units[at].model.run_limit()).map(|(row, had)| (at, row, had)));
    }
    if late.is_empty() {
        return;
    }
    late.iter().for_each(|&(at, ..)| units[at].patience.expect(1));
    let owned = late.iter().map(|&(at, row, had)| Owned::of(&units[at], row..row + 1, 0, Some(had))).collect();
    let owners: Vec<&Unit<'_>> = late.iter().map(|&(at, ..)| &units[at]).collect();
    let mut again = hand_over(&owners, owned, ONE_BY_ONE).into_iter();
    for of_unit in late.chunk_by(|one, other| one.0 == other.0) {
        let at = of_unit[0].0;
        let gave = |ran: Result<Ran, Duration>| ran.unwrap_or_else(|limit| Ran::halted(1, &Halt::TimedOut(limit)));
        let rows = of_unit.iter().map(|&(_, row, _)| row).zip(again.by_ref().map(gave)).collect();
        if let Ok(ran) = &mut ran[at] {
            ran.put(units[at].model.output_bytes(), rows);
        }
    }
}

/// A run that another thread can do, because it owns its data.
struct Owned {
    model: Arc<BoundModel>,
    patience: Arc<Patience>,
    bucket: usize,
    rows: usize,
    bytes: Vec<u8>,
    /// The time that the row had in its first run.
    had: Option<Duration>,
}

/// One thread, so that no other run goes on beside a run.
const ONE_BY_ONE: Hands = Hands { threads: 1, joins: false };

impl Owned {
    fn of(unit: &Unit<'_>, rows: Range<usize>, bucket: usize, had: Option<Duration>) -> Self {
        let (model, patience) = (Arc::clone(unit.model), Arc::clone(&unit.patience));
        Self { model, patience, bucket, rows: rows.len(), bytes: unit.rows[rows].concat(), had }
    }

    fn execute(&self, alone: bool) -> Ran {
        let row_bytes = self.bytes.len() / self.rows;
        let rows: Vec<&[u8]> = (0..self.rows).map(|row| &self.bytes[row * row_bytes..][..row_bytes]).collect();
        execute(&self.model, &self.patience, self.bucket, &rows, alone, self.had)
    }
}

/// Lets the crew do runs. Each belongs to the unit with the same index.
fn hand_over<'u, 'r: 'u>(
    units: &[impl Borrow<Unit<'r>>],
    owned: Vec<Owned>,
    hands: Hands,
) -> Vec<Result<Ran, Duration>> {
    let alone = hands.threads == 1 || owned.len() == 1;
    crew::each(owned.len(), hands, move |at| owned[at].execute(alone), |at| units[at].borrow().model.give_up())
}

fn is_ok(result: &RowResult) -> bool {
    result.status == InferenceStatus::Ok
}
