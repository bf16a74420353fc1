//! The answers of models to a frame's batches: what they compute, or what was recorded of the frame. Called by the stage `Infer`.
//!
//! Rows are recorded in the order of their dispatch, which follows from state: so a row is found by its index.

use wasm_engine_abi::InferenceStatus;
use wasm_engine_components::{LateRows, ModelAnswers, ModelResults, RowResult};

use crate::ports::{ModelBatch, ModelRuntime};

/// Returns one result for each row of `batches`, in order, and which rows were to be computed again and took too long for that.
pub(crate) fn answer(
    models: &mut dyn ModelRuntime,
    batches: &[ModelBatch<'_>],
    answers: ModelAnswers,
) -> (ModelResults, Option<LateRows>) {
    match answers {
        ModelAnswers::Compute => {
            let mut results = ModelResults::default();
            models.infer(batches, &mut results);
            (results, None)
        }
        ModelAnswers::Recorded(recorded) => (give_back(recorded, batches), None),
        ModelAnswers::Recompute(recorded) => {
            let mut results = compute_again(models, batches, &recorded);
            let late_rows = take_late_from_record(&mut results, batches, &recorded);
            // What audits found and which rows took too long depends on the machine, and is state: so it is taken from the record.
            results.notices = recorded.notices;
            (results, late_rows)
        }
    }
}

/// Returns the recorded results for as many rows as are asked for. A row that wasn't recorded has failed.
fn give_back(mut recorded: ModelResults, batches: &[ModelBatch<'_>]) -> ModelResults {
    let asked = batches.iter().map(|batch| batch.rows.len()).sum();
    recorded.rows.resize(asked, RowResult { status: InferenceStatus::Failed, offset: 0, bytes: 0 });
    recorded
}

/// Computes the rows that didn't take too long when they were recorded, without audits.
fn compute_again(models: &mut dyn ModelRuntime, batches: &[ModelBatch<'_>], recorded: &ModelResults) -> ModelResults {
    let is_late = |row: usize| recorded.rows.get(row).is_some_and(|row| row.status == InferenceStatus::TimedOut);
    let mut number = 0;
    let mut rows: Vec<Vec<&[u8]>> = Vec::with_capacity(batches.len());
    for batch in batches {
        let in_time = (number..).zip(batch.rows).filter(|(row, _)| !is_late(*row));
        rows.push(in_time.map(|(_, row)| *row).collect());
        number += batch.rows.len();
    }
    let again = batches.iter().zip(&rows).filter(|(_, rows)| !rows.is_empty());
    let again: Vec<_> = again.map(|(batch, rows)| ModelBatch { rows, audit: None, ..*batch }).collect();
    let mut results = ModelResults::default();
    if !again.is_empty() {
        models.infer(&again, &mut results);
    }
    let mut computed = std::mem::take(&mut results.rows).into_iter();
    let late = RowResult { status: InferenceStatus::TimedOut, offset: 0, bytes: 0 };
    results.rows.extend((0..number).filter_map(|row| if is_late(row) { Some(late) } else { computed.next() }));
    results
}

/// Puts what was recorded in the place of rows that had a result then, and now only took too long, which says nothing of them. Returns
/// which those are, if there are any.
fn take_late_from_record(
    results: &mut ModelResults,
    batches: &[ModelBatch<'_>],
    recorded: &ModelResults,
) -> Option<LateRows> {
    let mut late: Option<LateRows> = None;
    let models = batches.iter().flat_map(|batch| batch.rows.iter().map(|_| batch.model));
    for ((result, (status, output)), model) in results.rows.iter_mut().zip(recorded.outputs()).zip(models) {
        if result.status == InferenceStatus::TimedOut && status != InferenceStatus::TimedOut {
            let offset = results.bytes.len();
            results.bytes.extend_from_slice(output);
            *result = RowResult { status, offset, bytes: output.len() };
            late.get_or_insert(LateRows { rows: 0, model }).rows += 1;
        }
    }
    late
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_engine_components::{ModelId, ModelNotice, ModelNoticeKind};

    /// Gives back each row, but for those of the second model, which take too long.
    #[derive(Default)]
    struct Echo {
        calls: u32,
        /// Number of rows that it was asked for.
        rows: usize,
    }

    impl ModelRuntime for Echo {
        fn infer(&mut self, batches: &[ModelBatch<'_>], results: &mut ModelResults) {
            self.calls += 1;
            for batch in batches {
                assert!(batch.audit.is_none(), "nothing is audited again");
                for row in batch.rows {
                    self.rows += 1;
                    match batch.model {
                        ModelId(2) => results.push(InferenceStatus::TimedOut, &[]),
                        _ => results.push(InferenceStatus::Ok, row),
                    }
                }
            }
        }
    }

    const LATE: (InferenceStatus, &[u8]) = (InferenceStatus::TimedOut, &[]);
    const FAILED: (InferenceStatus, &[u8]) = (InferenceStatus::Failed, &[]);

    fn ok(output: &[u8]) -> (InferenceStatus, &[u8]) {
        (InferenceStatus::Ok, output)
    }

    fn results(rows: &[(InferenceStatus, &[u8])]) -> ModelResults {
        let mut results = ModelResults::default();
        rows.iter().for_each(|(status, output)| results.push(*status, output));
        results
    }

    fn notice(kind: ModelNoticeKind) -> ModelNotice {
        ModelNotice { model: ModelId(1), kind, rows: 1, reason: "why".to_owned() }
    }

    /// What is given for rows of the first model, and how many of them were computed.
    fn answered(rows: &[&[u8]], answers: ModelAnswers) -> (ModelResults, usize) {
        let mut models = Echo::default();
        let (results, late) = answer(&mut models, &[ModelBatch::new(ModelId(1), rows)], answers);
        assert_eq!(late, None);
        (results, models.rows)
    }

    #[test]
    fn models_compute_unless_their_answers_were_recorded() {
        let rows: [&[u8]; 2] = [b"a", b"bc"];
        assert_eq!(answered(&rows, ModelAnswers::Compute), (results(&[ok(b"a"), ok(b"bc")]), 2));
        let recorded = results(&[ok(b"x"), FAILED]);
        assert_eq!(answered(&rows, ModelAnswers::Recorded(recorded.clone())), (recorded, 0));
    }

    #[test]
    fn recorded_rows_are_moved_and_not_copied() {
        let mut recorded = results(&[ok(&[7; 100]), ok(b"b"), ok(b"c")]);
        recorded.notices = vec![notice(ModelNoticeKind::Failed)];
        let places = |results: &ModelResults| (results.rows.as_ptr(), results.bytes.as_ptr(), results.notices.as_ptr());
        let before = places(&recorded);
        let (given, computed) = answered(&[b"a", b"b", b"c"], ModelAnswers::Recorded(recorded));
        assert_eq!((places(&given), computed), (before, 0));
    }

    #[test]
    fn as_many_rows_are_given_back_as_are_asked_for() {
        let recorded = || ModelAnswers::Recorded(results(&[ok(b"x"), ok(b"y")]));
        assert_eq!(answered(&[b"a", b"b", b"c"], recorded()).0, results(&[ok(b"x"), ok(b"y"), FAILED]));
        assert_eq!(answered(&[b"a"], recorded()).0, results(&[ok(b"x")]));
    }

    #[test]
    fn what_is_computed_again_is_what_models_give_now() {
        let recorded = results(&[ok(b"a"), ok(b"other")]);
        let (given, computed) = answered(&[b"a", b"b"], ModelAnswers::Recompute(recorded));
        assert_eq!((given, computed), (results(&[ok(b"a"), ok(b"b")]), 2));
        // As many as are asked for, however many were recorded.
        let (given, _) = answered(&[b"a", b"b"], ModelAnswers::Recompute(results(&[ok(b"a")])));
        assert_eq!(given, results(&[ok(b"a"), ok(b"b")]));
    }

    /// What depends on the machine is taken from the record, also where rows are computed again: which took too long, and what
    /// audits found.
    #[test]
    fn notices_and_rows_that_took_too_long_are_those_of_the_record() {
        let mut recorded = results(&[ok(b"a"), LATE]);
        recorded.notices = vec![notice(ModelNoticeKind::AuditFailed)];
        for (answers, computed) in
            [(ModelAnswers::Recompute(recorded.clone()), 1), (ModelAnswers::Recorded(recorded.clone()), 0)]
        {
            let mut models = Echo::default();
            let rows: [&[u8]; 2] = [b"a", b"b"];
            let batch = ModelBatch { audit: Some(1), ..ModelBatch::new(ModelId(1), &rows) };
            let (given, late) = answer(&mut models, &[batch], answers);
            assert_eq!((given, late, models.rows), (recorded.clone(), None, computed));
        }
        // Where all of them took too long, models aren't asked at all.
        let mut models = Echo::default();
        let rows: [&[u8]; 1] = [b"a"];
        let batches = [ModelBatch::new(ModelId(1), &rows)];
        let (given, _) = answer(&mut models, &batches, ModelAnswers::Recompute(results(&[LATE])));
        assert_eq!((given, models.calls), (results(&[LATE]), 0));
    }

    /// A row that had a result when it was recorded, and takes too long now, is taken from the record, and told of.
    #[test]
    fn what_takes_too_long_only_now_is_taken_from_the_record() {
        let recompute = |recorded: &[(InferenceStatus, &[u8])]| {
            let (quick, slow, last): ([&[u8]; 1], [&[u8]; 3], [&[u8]; 1]) = ([b"a"], [b"b", b"c", b"d"], [b"f"]);
            let batches = [(1, &quick[..]), (2, &slow[..]), (1, &last[..])];
            let batches = batches.map(|(model, rows)| ModelBatch::new(ModelId(model), rows));
            answer(&mut Echo::default(), &batches, ModelAnswers::Recompute(results(recorded)))
        };
        let late = |rows| Some(LateRows { rows, model: ModelId(2) });
        let recorded = [ok(b"a"), ok(b"long"), FAILED, LATE, ok(b"f")];
        assert_eq!(recompute(&recorded), (results(&recorded), late(2)));
        let other = [ok(b"a"), ok(b"long"), FAILED, LATE, ok(b"g")];
        assert_eq!(recompute(&other), (results(&recorded), late(2)), "others are what they are now");
        // Of a row that isn't on the record, nobody knows what it should be.
        let given = [ok(b"a"), ok(b"long"), LATE, LATE, ok(b"f")];
        assert_eq!(recompute(&recorded[..2]), (results(&given), late(1)));
    }
}
