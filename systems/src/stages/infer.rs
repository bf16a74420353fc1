//! Stage `Infer`: jobs become entities, are sorted and batched by model in the order of their ids, and go through the port.
//!
//! Some rows are audited; which ones follows from seed and frame. A model that fails an audit runs each row alone from the next
//! frame on. A model with a run that didn't end when it was told to is given up: its jobs have the status `TimedOut` from then
//! on. Which models those are is state; in a replay, it follows from what was recorded.
//!
//! The inputs of the frame say whether models compute their answers or the recorded ones are given back: see `answers`.

use bevy_ecs::entity::Entity;
use bevy_ecs::system::{Commands, Query, Res, ResMut};
use wasm_engine_abi::InferenceStatus;
use wasm_engine_components::limits::AUDIT_BATCHES;
use wasm_engine_components::{InferenceJob, JobData, JobId, ModelId, ModelNotice, ModelNoticeKind};

use crate::frame::{FrameClock, FrameReport, Inputs, RunSeed};
use crate::ports::{ModelBatch, ModelPort};
use crate::stages::answers::answer;
use crate::world::intentions::Intentions;
use crate::world::models::ModelTable;

/// Spawns an entity for each new job.
pub(crate) fn spawn_jobs(mut commands: Commands, mut intentions: ResMut<Intentions>) {
    if !intentions.jobs.is_empty() {
        commands.spawn_batch(std::mem::take(&mut intentions.jobs));
    }
}

/// A job that has an input, with the model that answers it.
#[derive(Clone, Copy)]
struct WaitingJob {
    model: ModelId,
    id: JobId,
    entity: Entity,
}

/// Dispatches the jobs that have an input. A batch holds jobs of one model, and at most as many as the model takes.
pub(crate) fn dispatch_jobs(
    clock: Res<FrameClock>,
    seed: Res<RunSeed>,
    mut inputs: ResMut<Inputs>,
    mut models: ResMut<ModelTable>,
    mut port: ResMut<ModelPort>,
    mut report: ResMut<FrameReport>,
    mut jobs: Query<(Entity, &InferenceJob, &mut JobData)>,
) {
    let answers = std::mem::take(&mut inputs.0.models);
    let has_input = |(_, _, data): &(Entity, &InferenceJob, &JobData)| matches!(data, JobData::Input(_));
    let waiting = jobs.iter().filter(has_input).map(|(entity, job, _)| {
        let model = models.answering(job.model);
        WaitingJob { model, id: job.id, entity }
    });
    let mut waiting: Vec<WaitingJob> = waiting.collect();
    if waiting.is_empty() {
        return;
    }
    report.counts.inference_jobs += waiting.len() as u64;
    waiting.sort_unstable_by_key(|job| (job.model, job.id));
    refuse_given_up(&models, &mut waiting, &mut report, &mut jobs);
    if waiting.is_empty() {
        return;
    }
    let row_of = |job: &WaitingJob| match jobs.get(job.entity) {
        Ok((_, _, JobData::Input(row))) => row.as_slice(),
        _ => &[],
    };
    let rows: Vec<&[u8]> = waiting.iter().map(row_of).collect();
    let mut batches = Vec::new();
    let mut start = 0;
    for same_model in waiting.chunk_by(|a, b| a.model == b.model) {
        let model = same_model[0].model;
        let rows_max = models.loaded(model).map_or(1, |model| model.spec.batch_rows_max.max(1)) as usize;
        let end = start + same_model.len();
        let alone = models.is_alone(model);
        for (number, rows) in (0..).zip(rows[start..end].chunks(rows_max)) {
            let audit = audited_row(*seed, clock.frame, model, number, rows.len());
            batches.push(ModelBatch { model, rows, alone, audit });
        }
        start = end;
    }
    report.counts.inference_batches += batches.len() as u64;

    let (results, late_rows) = answer(&mut *port.0, &batches, answers);
    assert_eq!(results.rows.len(), waiting.len(), "the model runtime gives one result for each row");
    for notice in &results.notices {
        match notice.kind {
            ModelNoticeKind::AuditFailed => drop(models.alone.insert(notice.model)),
            ModelNoticeKind::GivenUp => {
                models.given_up.entry(notice.model).or_insert(clock.frame);
            }
            ModelNoticeKind::Failed | ModelNoticeKind::TimedOut => {}
        }
    }
    for (job, row) in waiting.iter().zip(&results.rows) {
        if let Ok((_, _, mut data)) = jobs.get_mut(job.entity) {
            *data = JobData::Output { status: row.status, bytes: results.output(row).to_vec() };
        }
    }
    report.inference = results;
    report.late_rows = late_rows;
}

/// Answers the jobs of models that were given up, and takes them out of `waiting`, which is sorted by model.
fn refuse_given_up(
    models: &ModelTable,
    waiting: &mut Vec<WaitingJob>,
    report: &mut FrameReport,
    jobs: &mut Query<(Entity, &InferenceJob, &mut JobData)>,
) {
    if models.given_up.is_empty() {
        return;
    }
    for same_model in waiting.chunk_by(|a, b| a.model == b.model) {
        let model = same_model[0].model;
        let Some(frame) = models.given_up(model) else { continue };
        for job in same_model {
            if let Ok((_, _, mut data)) = jobs.get_mut(job.entity) {
                *data = JobData::Output { status: InferenceStatus::TimedOut, bytes: Vec::new() };
            }
        }
        // The jobs of a frame are bounded: their number fits.
        let rows = u32::try_from(same_model.len()).unwrap_or(u32::MAX);
        let reason = format!("the model was given up in frame {frame}");
        report.given_up_notices.push(ModelNotice { model, kind: ModelNoticeKind::TimedOut, rows, reason });
    }
    waiting.retain(|job| models.given_up(job.model).is_none());
}

/// Returns the row of a model's batch that is audited, if one is. One batch in [`AUDIT_BATCHES`] has such a row.
const fn audited_row(seed: RunSeed, frame: u64, model: ModelId, batch: u32, rows: usize) -> Option<u32> {
    const STREAM: u32 = 0x6175_6474;
    let random = seed.random_u64(model.0, frame, STREAM, batch);
    if !random.is_multiple_of(AUDIT_BATCHES) || rows == 0 {
        return None;
    }
    // Less than `rows`, which a batch bounds.
    Some((random / AUDIT_BATCHES % rows as u64) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_batch_in_so_many_is_audited_at_any_of_its_rows() {
        let audits = (0..64_000).filter_map(|frame| audited_row(RunSeed(7), frame, ModelId(3), 0, 10));
        let audits: Vec<u32> = audits.collect();
        let expected = 64_000 / AUDIT_BATCHES as usize;
        assert!((expected * 9 / 10..expected * 11 / 10).contains(&audits.len()), "{}", audits.len());
        assert!((0..10).all(|row| audits.contains(&row)) && audits.iter().all(|row| *row < 10));
        let of = |seed, frame| audited_row(RunSeed(seed), frame, ModelId(3), 0, 10);
        assert!((0..1_000).any(|frame| of(7, frame) != of(8, frame)), "it follows from the seed, too");
    }
}
