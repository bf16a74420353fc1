//! A tap on the port to the models: what goes through it is noted for the journal, and what a journal has noted is given back
//! in its place. Put around every model runtime by [`crate::simulation`]; recordings and replays hold the other end.
//!
//! Rows are noted in the order of their dispatch, which is part of a frame's state: so their position says what they are.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wasm_engine_abi::InferenceStatus;
use wasm_engine_components::{ModelId, ModelNotice};
use wasm_engine_systems::ports::{ModelBatch, ModelResults, ModelRuntime, RowResult};

use crate::journal::RecordedRow;

/// What a frame's models are to do with what was recorded of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Inference {
    /// Recorded results are given back. Nothing is computed, so no ONNX Runtime is needed.
    #[default]
    Recorded,
    /// Models compute, and their results are compared with the recorded ones. No clock decides: what took too long when it was recorded
    /// isn't computed, and what takes too long now isn't compared.
    Recompute,
    /// Recorded results are given back as long as there are any, and models compute from there on.
    RecordedThenComputed,
}

/// A row that was computed again and isn't what was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowDifference {
    /// Its position among the rows that the frame dispatched.
    pub row: usize,
    /// What was recorded; `None` if the recording has fewer rows.
    pub recorded: Option<RecordedRow>,
    /// What was computed; `None` if the recording has more rows.
    pub computed: Option<RecordedRow>,
}

/// Rows that were to be computed again, and took too long. Their recorded results are taken, without a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LateRows {
    /// How many.
    pub rows: u64,
    /// The model of the first one.
    pub model: ModelId,
}

/// The end of the tap that the outside holds.
#[derive(Clone, Default)]
pub struct InferenceLog(Arc<Mutex<Log>>);

#[derive(Default)]
struct Log {
    /// Whether rows are noted.
    recording: bool,
    noted: Vec<RecordedRow>,
    notices: Vec<ModelNotice>,
    /// What was recorded of the frame that comes next.
    given: Option<(Recorded, Inference)>,
    difference: Option<RowDifference>,
    late: Option<LateRows>,
}

/// What was recorded of a frame.
type Recorded = (Vec<RecordedRow>, Vec<ModelNotice>);

impl InferenceLog {
    /// From now on, rows are noted.
    pub fn record(&self) {
        self.lock().recording = true;
    }

    /// The rows and notices that were noted since the last call.
    pub fn take(&self) -> (Vec<RecordedRow>, Vec<ModelNotice>) {
        let mut log = self.lock();
        (std::mem::take(&mut log.noted), std::mem::take(&mut log.notices))
    }

    /// What was recorded of the next frame.
    pub fn give(&self, rows: Vec<RecordedRow>, notices: Vec<ModelNotice>, inference: Inference) {
        self.lock().given = Some(((rows, notices), inference));
    }

    /// Ends a frame that was given rows: the first of them that isn't what was recorded, if any.
    pub fn end_frame(&self) -> Option<RowDifference> {
        let mut log = self.lock();
        // A frame that dispatched nothing didn't ask for its rows.
        if let Some(((rows, _), _)) = log.given.take()
            && let Some(recorded) = rows.into_iter().next()
        {
            log.difference.get_or_insert(RowDifference { row: 0, recorded: Some(recorded), computed: None });
        }
        log.difference.take()
    }

    /// The rows that took too long to be compared since the last call, if any.
    pub fn take_late(&self) -> Option<LateRows> {
        self.lock().late.take()
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        // Nobody panics while holding it with something half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A model runtime with a tap on it.
pub(crate) struct InferenceTap {
    models: Box<dyn ModelRuntime>,
    log: InferenceLog,
}

impl InferenceTap {
    pub(crate) fn new(models: Box<dyn ModelRuntime>, log: InferenceLog) -> Self {
        Self { models, log }
    }
}

impl InferenceTap {
    /// Computes the rows that didn't take too long when they were recorded, without audits.
    fn infer_those_in_time(
        &mut self,
        recorded: &[RecordedRow],
        batches: &[ModelBatch<'_>],
        results: &mut ModelResults,
    ) {
        let is_late = |row: usize| recorded.get(row).is_some_and(|row| row.status == InferenceStatus::TimedOut);
        let mut number = 0;
        let mut rows: Vec<Vec<&[u8]>> = Vec::with_capacity(batches.len());
        for batch in batches {
            let in_time = (number..).zip(batch.rows).filter(|(row, _)| !is_late(*row));
            rows.push(in_time.map(|(_, row)| *row).collect());
            number += batch.rows.len();
        }
        let again = batches.iter().zip(&rows).filter(|(_, rows)| !rows.is_empty());
        let again: Vec<_> = again.map(|(batch, rows)| ModelBatch { rows, audit: None, ..*batch }).collect();
        self.models.infer(&again, results);
        let mut computed = std::mem::take(&mut results.rows).into_iter();
        let late = RowResult { status: InferenceStatus::TimedOut, offset: 0, bytes: 0 };
        results.rows.extend((0..number).filter_map(|row| if is_late(row) { Some(late) } else { computed.next() }));
    }
}

impl ModelRuntime for InferenceTap {
    fn infer(&mut self, batches: &[ModelBatch<'_>], results: &mut ModelResults) {
        let given = self.log.lock().given.take();
        let difference = match given {
            Some(((recorded, notices), Inference::Recompute)) => {
                // What audits found, and what took too long, is on the record: it is state, and depends on the machine.
                self.infer_those_in_time(&recorded, batches, results);
                results.notices = notices;
                self.log.lock().late = take_late_from_record(&recorded, batches, results);
                compare(&recorded, results)
            }
            Some(((recorded, notices), Inference::Recorded | Inference::RecordedThenComputed)) => {
                let asked = batches.iter().map(|batch| batch.rows.len()).sum();
                let difference = give_back(&recorded, asked, results);
                results.notices = notices;
                difference
            }
            None => {
                self.models.infer(batches, results);
                None
            }
        };
        let mut log = self.log.lock();
        log.difference = difference;
        if log.recording {
            let noted = results.rows.iter().map(|row| noted(results, row));
            log.noted.extend(noted);
            log.notices.extend_from_slice(&results.notices);
        }
    }
}

fn noted(results: &ModelResults, row: &RowResult) -> RecordedRow {
    RecordedRow { status: row.status, output: results.output(row).to_vec() }
}

/// Puts what was recorded in the place of results. Rows that weren't have failed.
fn give_back(recorded: &[RecordedRow], asked: usize, results: &mut ModelResults) -> Option<RowDifference> {
    results.clear();
    for row in recorded.iter().take(asked) {
        let offset = results.bytes.len();
        results.bytes.extend_from_slice(&row.output);
        results.rows.push(RowResult { status: row.status, offset, bytes: row.output.len() });
    }
    let failed = RowResult { status: InferenceStatus::Failed, offset: 0, bytes: 0 };
    results.rows.resize(asked, failed);
    let row = recorded.len().min(asked);
    let computed = (asked > row).then(|| noted(results, &failed));
    (recorded.len() != asked).then(|| RowDifference { row, recorded: recorded.get(row).cloned(), computed })
}

/// Puts what was recorded in the place of rows that had a result then, and now only took too long, which says nothing of them. Returns
/// which those are, if there are any.
fn take_late_from_record(
    recorded: &[RecordedRow],
    batches: &[ModelBatch<'_>],
    results: &mut ModelResults,
) -> Option<LateRows> {
    let mut late: Option<LateRows> = None;
    let models = batches.iter().flat_map(|batch| batch.rows.iter().map(|_| batch.model));
    for ((result, recorded), model) in results.rows.iter_mut().zip(recorded).zip(models) {
        if result.status == InferenceStatus::TimedOut && recorded.status != InferenceStatus::TimedOut {
            let (offset, bytes) = (results.bytes.len(), recorded.output.len());
            results.bytes.extend_from_slice(&recorded.output);
            *result = RowResult { status: recorded.status, offset, bytes };
            late.get_or_insert(LateRows { rows: 0, model }).rows += 1;
        }
    }
    late
}

/// The first row that was computed otherwise.
fn compare(recorded: &[RecordedRow], results: &ModelResults) -> Option<RowDifference> {
    let rows = recorded.len().max(results.rows.len());
    (0..rows).find_map(|row| {
        let recorded = recorded.get(row).cloned();
        let computed = results.rows.get(row).map(|row| noted(results, row));
        (recorded != computed).then_some(RowDifference { row, recorded, computed })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives back each row, and counts its calls.
    struct Echo(Arc<Mutex<u32>>);

    impl ModelRuntime for Echo {
        fn infer(&mut self, batches: &[ModelBatch<'_>], results: &mut ModelResults) {
            results.clear();
            *self.0.lock().unwrap() += 1;
            for row in batches.iter().flat_map(|batch| batch.rows) {
                let offset = results.bytes.len();
                results.bytes.extend_from_slice(row);
                results.rows.push(RowResult { status: InferenceStatus::Ok, offset, bytes: row.len() });
            }
        }
    }

    fn row(output: &[u8]) -> RecordedRow {
        RecordedRow { status: InferenceStatus::Ok, output: output.to_vec() }
    }

    fn infer(tap: &mut InferenceTap, rows: &[&[u8]]) -> Vec<RecordedRow> {
        let mut results = ModelResults::default();
        tap.infer(&[ModelBatch::new(ModelId(1), rows)], &mut results);
        results.rows.iter().map(|row| noted(&results, row)).collect()
    }

    #[test]
    fn what_was_recorded_comes_back_and_nothing_is_computed() {
        let (calls, log) = (Arc::new(Mutex::new(0)), InferenceLog::default());
        let mut tap = InferenceTap::new(Box::new(Echo(Arc::clone(&calls))), log.clone());
        assert_eq!(infer(&mut tap, &[b"a"]), [row(b"a")]);
        assert!(log.take().0.is_empty(), "nobody asked for a recording");
        log.record();
        assert_eq!(infer(&mut tap, &[b"a", b"bc"]), [row(b"a"), row(b"bc")]);
        assert_eq!(log.take(), (vec![row(b"a"), row(b"bc")], vec![]));
        log.give(vec![row(b"x"), row(b"yz")], vec![], Inference::Recorded);
        assert_eq!(infer(&mut tap, &[b"a", b"bc"]), [row(b"x"), row(b"yz")]);
        assert_eq!((log.end_frame(), *calls.lock().unwrap()), (None, 2));
    }

    #[test]
    fn rows_that_differ_or_are_missing_are_named() {
        let log = InferenceLog::default();
        let mut tap = InferenceTap::new(Box::new(Echo(Arc::default())), log.clone());
        log.give(vec![row(b"a"), row(b"b")], vec![], Inference::Recompute);
        infer(&mut tap, &[b"a", b"c"]);
        let differs = RowDifference { row: 1, recorded: Some(row(b"b")), computed: Some(row(b"c")) };
        assert_eq!(log.end_frame(), Some(differs));
        log.give(vec![row(b"a")], vec![], Inference::Recorded);
        let failed = RecordedRow { status: InferenceStatus::Failed, output: Vec::new() };
        assert_eq!(infer(&mut tap, &[b"a", b"b"]), [row(b"a"), failed.clone()]);
        assert_eq!(log.end_frame(), Some(RowDifference { row: 1, recorded: None, computed: Some(failed) }));
        log.give(vec![row(b"a")], vec![], Inference::Recompute);
        let missing = RowDifference { row: 0, recorded: Some(row(b"a")), computed: None };
        assert_eq!((log.end_frame(), log.end_frame()), (Some(missing), None));
    }

    /// A row that had a result when it was recorded, and takes too long now, is taken from the record, and told of. Others are compared.
    #[test]
    fn what_takes_too_long_only_now_is_not_compared() {
        /// Gives back each row, but for those of the second model, which take too long.
        struct Slow;
        impl ModelRuntime for Slow {
            fn infer(&mut self, batches: &[ModelBatch<'_>], results: &mut ModelResults) {
                Echo(Arc::default()).infer(batches, results);
                let models = batches.iter().flat_map(|batch| batch.rows.iter().map(|_| batch.model));
                let late = RowResult { status: InferenceStatus::TimedOut, offset: 0, bytes: 0 };
                results
                    .rows
                    .iter_mut()
                    .zip(models)
                    .filter(|(_, model)| *model == ModelId(2))
                    .for_each(|(row, _)| *row = late);
            }
        }
        let log = InferenceLog::default();
        let mut tap = InferenceTap::new(Box::new(Slow), log.clone());
        let failed = RecordedRow { status: InferenceStatus::Failed, output: Vec::new() };
        let late = RecordedRow { status: InferenceStatus::TimedOut, output: Vec::new() };
        let recorded = vec![row(b"a"), row(b"long"), failed, late.clone(), row(b"f")];
        let mut infer = |recorded: &[RecordedRow]| {
            log.give(recorded.to_vec(), vec![], Inference::Recompute);
            let (quick, slow, last): ([&[u8]; 1], [&[u8]; 3], [&[u8]; 1]) = ([b"a"], [b"b", b"c", b"d"], [b"f"]);
            let batches = [(1, &quick[..]), (2, &slow[..]), (1, &last[..])];
            let batches = batches.map(|(model, rows)| ModelBatch::new(ModelId(model), rows));
            let mut results = ModelResults::default();
            tap.infer(&batches, &mut results);
            let given: Vec<RecordedRow> = results.rows.iter().map(|row| noted(&results, row)).collect();
            (given, log.end_frame(), log.take_late())
        };
        let told = Some(LateRows { rows: 2, model: ModelId(2) });
        assert_eq!(infer(&recorded), (recorded.clone(), None, told));
        let mut other = recorded.clone();
        other[4] = row(b"g");
        let differs = RowDifference { row: 4, recorded: Some(row(b"g")), computed: Some(row(b"f")) };
        let mut given = recorded.clone();
        assert_eq!(infer(&other), (given.clone(), Some(differs), told));
        // Of a row that isn't on the record, nobody knows what it should be.
        given[2..].clone_from_slice(&[late.clone(), late.clone(), row(b"f")]);
        let differs = RowDifference { row: 2, recorded: None, computed: Some(late) };
        assert_eq!(infer(&recorded[..2]), (given, Some(differs), Some(LateRows { rows: 1, model: ModelId(2) })));
    }

    /// What depends on the machine is taken from the record, also where rows are computed again: which took too long, and what
    /// audits found.
    #[test]
    fn notices_and_rows_that_took_too_long_are_those_of_the_record() {
        struct Audited;
        impl ModelRuntime for Audited {
            fn infer(&mut self, batches: &[ModelBatch<'_>], results: &mut ModelResults) {
                Echo(Arc::default()).infer(batches, results);
                assert!(batches.iter().all(|batch| batch.rows == [b"a"]), "what took too long isn't tried again");
                assert!(batches.iter().all(|batch| batch.audit.is_none()), "nothing is audited again");
            }
        }
        let log = InferenceLog::default();
        let mut tap = InferenceTap::new(Box::new(Audited), log.clone());
        log.record();
        let kind = wasm_engine_components::ModelNoticeKind::AuditFailed;
        let notice = ModelNotice { model: ModelId(1), kind, rows: 1, reason: "why".into() };
        let late = RecordedRow { status: InferenceStatus::TimedOut, output: Vec::new() };
        for inference in [Inference::Recompute, Inference::Recorded] {
            let recorded = vec![row(b"a"), late.clone()];
            log.give(recorded.clone(), vec![notice.clone()], inference);
            let mut results = ModelResults::default();
            let rows: [&[u8]; 2] = [b"a", b"b"];
            let batch = ModelBatch { audit: Some(1), ..ModelBatch::new(ModelId(1), &rows) };
            tap.infer(&[batch], &mut results);
            assert_eq!(results.notices, std::slice::from_ref(&notice), "{inference:?}");
            assert_eq!((log.end_frame(), log.take()), (None, (recorded, vec![notice.clone()])), "{inference:?}");
        }
    }
}
