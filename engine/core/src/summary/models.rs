//! Notices of models: rows that failed or took too long, audits that failed, runs that didn't end, each with the first reason.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wasm_engine_components::limits::NAME_BYTES_MAX;
use wasm_engine_components::text::shown;
use wasm_engine_components::{BeyondAscii, FrameRecord, ModelId, ModelNotice, ModelNoticeKind, json_text_bytes};

use super::named::Named;
use crate::problem::{counted, thousands};
use crate::scenario::Scenario;

/// Most bytes of JSON for one kind of one model, with the model's name and without the reason.
const NOTICE_BYTES: u64 = 6 * NAME_BYTES_MAX as u64 + 128;

/// Sums over the frames, by model and kind.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct ModelNotices(BTreeMap<(ModelId, ModelNoticeKind), ModelNoticeSummary>);

/// The notices of one model. Kinds that didn't occur are left out of the JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ModelSummary {
    /// The model failed on rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<ModelNoticeSummary>,
    /// Rows took too long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timed_out: Option<ModelNoticeSummary>,
    /// A row had another result when it was run again alone. From the next frame on, all rows of the model were run alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit_failed: Option<ModelNoticeSummary>,
    /// A run didn't end when it was told to, so it was abandoned. From the next frame on, the model wasn't run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub given_up: Option<ModelNoticeSummary>,
}

/// Rows of a model to which one thing happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelNoticeSummary {
    /// Number of rows.
    pub rows: u64,
    /// First frame in which it happened.
    pub first_frame: u64,
    /// Reason that was given in that frame.
    pub reason: String,
}

impl ModelNotices {
    /// Takes the record of a frame.
    pub fn add(&mut self, record: &FrameRecord) {
        for notice in record.model_notices() {
            let first = || ModelNoticeSummary { rows: 0, first_frame: record.frame, reason: notice.reason.clone() };
            let sum = self.0.entry((notice.model, notice.kind)).or_insert_with(first);
            sum.rows += u64::from(notice.rows);
        }
    }

    /// Returns the largest size as JSON after further notices.
    pub fn json_bytes_max_with<'a>(&self, more: impl Iterator<Item = &'a ModelNotice>) -> u64 {
        let bytes = |reason: &str| NOTICE_BYTES + json_text_bytes(reason.as_bytes(), BeyondAscii::ByNumber);
        let known = self.0.values().map(|notice| bytes(&notice.reason)).sum::<u64>();
        let new = more.filter(|notice| !self.0.contains_key(&(notice.model, notice.kind)));
        known + new.map(|notice| bytes(&notice.reason)).sum::<u64>()
    }

    /// Returns the models with notices, in the scenario's order.
    pub fn summary(&self, scenario: &Scenario) -> Named<ModelSummary> {
        let of = |model, kind| self.0.get(&(model, kind)).cloned();
        let models = scenario.models.iter().map(|model| {
            let summary = ModelSummary {
                failed: of(model.id, ModelNoticeKind::Failed),
                timed_out: of(model.id, ModelNoticeKind::TimedOut),
                audit_failed: of(model.id, ModelNoticeKind::AuditFailed),
                given_up: of(model.id, ModelNoticeKind::GivenUp),
            };
            (model.name.clone(), summary)
        });
        Named(models.filter(|(_, summary)| *summary != ModelSummary::default()).collect())
    }
}

impl ModelSummary {
    /// Returns what happened, a sentence for each kind.
    pub(super) fn sentences(&self) -> impl Iterator<Item = String> + '_ {
        let failed = self.failed.as_ref().map(|notice| ("row", "failed, first", notice));
        let timed_out = self.timed_out.as_ref().map(|notice| ("row", "took too long, first", notice));
        let audit = self.audit_failed.as_ref();
        let audit = audit.map(|notice| ("audit", "failed, so that its rows have no company since then, first", notice));
        let left = "didn't end, so that the model isn't run any more, first";
        let given_up = self.given_up.as_ref().map(|notice| ("run", left, notice));
        [failed, timed_out, audit, given_up].into_iter().flatten().map(|(thing, what, notice)| {
            let ModelNoticeSummary { rows, first_frame, reason } = notice;
            let (rows, frame) = (counted(rows, thing), thousands(first_frame));
            format!("{rows} {what} in frame {frame}: {}", shown(reason))
        })
    }
}

#[cfg(test)]
mod tests {
    use wasm_engine_components::ModelNotice;

    use super::*;

    #[test]
    fn rows_are_summed_and_the_first_reason_stays() {
        let mut notices = ModelNotices::default();
        for (frame, kind, reason) in [
            (3, ModelNoticeKind::Failed, "first"),
            (4, ModelNoticeKind::Failed, "second"),
            (1_500, ModelNoticeKind::AuditFailed, "row 2"),
        ] {
            let notice = ModelNotice { model: ModelId(1), kind, rows: 600, reason: reason.to_owned() };
            notices.add(&FrameRecord { frame, given_up_notices: vec![notice], ..FrameRecord::default() });
        }
        let of = |kind| notices.0.get(&(ModelId(1), kind)).cloned();
        let summary = ModelSummary {
            failed: of(ModelNoticeKind::Failed),
            timed_out: of(ModelNoticeKind::TimedOut),
            audit_failed: of(ModelNoticeKind::AuditFailed),
            given_up: of(ModelNoticeKind::GivenUp),
        };
        let sentences: Vec<String> = summary.sentences().collect();
        assert_eq!(
            sentences,
            [
                "1,200 rows failed, first in frame 3: first",
                "600 audits failed, so that its rows have no company since then, first in frame 1,500: row 2",
            ]
        );
    }
}
