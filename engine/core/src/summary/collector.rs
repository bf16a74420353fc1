//! Collects what the summary needs from the record of each frame: sums, the last record of each group, outputs.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use wasm_engine_abi::BounceReason;
use wasm_engine_components::{
    BeyondAscii, Digest, EventCounts, FrameCounts, FrameRecord, GroupId, GroupRecord, GroupSpec, SwapOutcome,
    json_text_bytes,
};

use super::models::ModelNotices;
use super::notices::Notices;
use super::outputs::Outputs;
use super::{EventSummary, ExpectationResult, GroupSummary, Named, Summary, SwapSummary, expectations};
use crate::scenario::{Counted, Expectation, ExpectedValue, Scenario};

/// Most bytes of JSON for one group: its name, its counts and its first fault.
const GROUP_BYTES: u64 = 4 << 10;
/// The last number of what is saved: how many lines of events are for a frame after the last one. It isn't a sum over frames, and
/// nobody reads it.
const NO_LATE_EVENTS: u64 = 0;
/// Most bytes of JSON for one expectation, without its names.
const EXPECTATION_BYTES: u64 = 512;

/// Sums over the frames of a run.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Collector {
    frames: u64,
    digest: Digest,
    /// Sums, but for `agents`, which is that of the last frame.
    counts: FrameCounts,
    groups: Vec<GroupRecord>,
    outputs: Outputs,
    swaps: SwapSummary,
    models: ModelNotices,
    notices: Notices,
    /// Sums of the lines of external events.
    events: EventCounts,
    /// Most bytes of JSON for what the scenario expects. Made from the scenario.
    #[serde(skip)]
    expected_bytes: u64,
}

/// Facts that a summary has beyond the records of frames.
#[derive(Clone, Debug, Default)]
pub struct RunFacts {
    /// Number of lines of external events for a frame after the last one.
    pub late_events: u64,
    /// Number of frames in the scenario file. Expectations are checked at the end of those.
    pub frames_expected: u64,
    /// Whether the run was asked to end.
    pub interrupted: bool,
    /// Why the run failed.
    pub error: Option<String>,
    /// Threads that stepped agents.
    pub threads: usize,
    /// Frames of the run that this process didn't run: those before a snapshot from which it went on, or before a branch.
    pub frames_before: u64,
    /// Wall time of the frames that it did run.
    pub wall: Duration,
    /// The run directory.
    pub run_dir: String,
}

impl Collector {
    /// Creates the collector of a new run of `scenario`.
    pub fn of(scenario: &Scenario) -> Self {
        Self::default().watching(scenario)
    }

    /// Continues with another scenario, and makes room for its expectations.
    #[must_use]
    pub fn watching(mut self, scenario: &Scenario) -> Self {
        self.outputs.watch(scenario);
        self.expected_bytes = scenario.expect.iter().map(|one| expected_bytes(scenario, one)).sum();
        self
    }

    /// Takes the record of a frame.
    pub fn add(&mut self, record: &FrameRecord) {
        self.frames += 1;
        self.digest = record.digest;
        let (sums, counts) = (&mut self.counts, &record.counts);
        sums.agents = counts.agents;
        sums.steps += counts.steps;
        sums.messages += counts.messages;
        sums.delivered += counts.delivered;
        for (reason, messages) in BounceReason::ALL.into_iter().zip(counts.dropped_by_reason) {
            sums.drop_messages(reason, messages);
        }
        sums.faults += counts.faults;
        sums.commands += counts.commands;
        sums.commands_refused += counts.commands_refused;
        sums.events_lost += counts.events_lost;
        sums.log_lines_dropped += counts.log_lines_dropped;
        sums.log_bytes_dropped = sums.log_bytes_dropped.saturating_add(counts.log_bytes_dropped);
        sums.outputs_dropped += counts.outputs_dropped;
        sums.output_bytes_dropped = sums.output_bytes_dropped.saturating_add(counts.output_bytes_dropped);
        sums.deferred += counts.deferred;
        sums.inference_jobs += counts.inference_jobs;
        sums.inference_batches += counts.inference_batches;
        let refused = record.swaps.iter().filter(|swap| matches!(swap.outcome, SwapOutcome::Refused(_))).count();
        self.swaps.refused += refused as u64;
        self.swaps.done += (record.swaps.len() - refused) as u64;
        self.models.add(record);
        self.notices.add(record);
        self.events.add(&record.inputs.counts);
        self.groups.clone_from(&record.groups);
        for output in &record.outputs {
            self.outputs.add(output);
        }
    }

    /// Returns the sums as bytes, for a snapshot.
    pub fn save(&self) -> Vec<u8> {
        // Into a vector that grows, nothing of this can fail.
        postcard::to_allocvec(&(self, NO_LATE_EVENTS)).unwrap_or_default()
    }

    /// Restores what was saved of a run of `scenario`. Returns `None` for bytes that [`save`](Self::save) can't have made.
    pub fn load(bytes: &[u8], scenario: &Scenario) -> Option<Self> {
        let (collector, _) = postcard::from_bytes::<(Self, u64)>(bytes).ok()?;
        Some(collector.watching(scenario))
    }

    /// Sums so far; `agents` is that of the last frame.
    pub const fn counts(&self) -> &FrameCounts {
        &self.counts
    }

    /// Returns the largest size of the summary as JSON after one more frame, without its fixed part.
    pub fn json_bytes_max_with(&self, record: &FrameRecord) -> u64 {
        record.groups.len() as u64 * GROUP_BYTES
            + self.expected_bytes
            + self.outputs.json_bytes_max_with(&record.outputs)
            + self.models.json_bytes_max_with(record.model_notices())
    }

    /// Returns the summary of a run of `scenario` that ended here.
    #[expect(clippy::cast_precision_loss, reason = "rates for people")]
    pub fn summary(&self, scenario: &Scenario, facts: &RunFacts) -> Summary {
        let counts = &self.counts;
        let wall_s = facts.wall.as_secs_f64();
        let frames_here = self.frames.saturating_sub(facts.frames_before);
        let due = facts.error.is_none() && !facts.interrupted && self.frames >= facts.frames_expected;
        let EventCounts { delivered, disabled } = self.events;
        Summary {
            scenario: scenario.name.clone(),
            seed: scenario.seed,
            frames: self.frames,
            agents: counts.agents,
            steps: counts.steps,
            messages: counts.messages,
            delivered: counts.delivered,
            dropped: counts.dropped,
            dropped_by_reason: Named(
                BounceReason::ALL
                    .into_iter()
                    .zip(counts.dropped_by_reason)
                    .filter(|&(_, messages)| messages > 0)
                    .map(|(reason, messages)| (reason.name().to_owned(), messages))
                    .collect(),
            ),
            faults: counts.faults,
            error_lines: self.notices.error_lines(scenario),
            commands: counts.commands,
            commands_refused: counts.commands_refused,
            log_lines_dropped: counts.log_lines_dropped,
            log_bytes_dropped: counts.log_bytes_dropped,
            outputs_dropped: counts.outputs_dropped,
            output_bytes_dropped: counts.output_bytes_dropped,
            deferred: counts.deferred,
            swaps: self.swaps,
            inference_jobs: counts.inference_jobs,
            inference_rows_per_batch: match counts.inference_batches {
                0 => 0.0,
                batches => counts.inference_jobs as f64 / batches as f64,
            },
            models: self.models.summary(scenario),
            digest: self.digest.to_string(),
            groups: self.groups(scenario),
            outputs: self.outputs(scenario),
            outputs_left_out: self.outputs.left_out,
            expectations: self.expectations(scenario, due),
            events: EventSummary {
                delivered: delivered.saturating_sub(counts.events_lost),
                lost: counts.events_lost,
                disabled,
                late: facts.late_events,
            },
            interrupted: facts.interrupted,
            error: facts.error.clone(),
            threads: facts.threads,
            frames_here,
            wall_s,
            frames_per_s: if wall_s > 0.0 { frames_here as f64 / wall_s } else { 0.0 },
            run_dir: facts.run_dir.clone(),
        }
    }

    fn expectations(&self, scenario: &Scenario, due: bool) -> Vec<ExpectationResult> {
        let count = |expectation: &Expectation, counted: Counted| {
            let group = self.groups.iter().find(|record| Some(record.id()) == expectation.group);
            match (counted, expectation.group) {
                (Counted::Agents, None) => self.counts.agents,
                (Counted::Faults, None) => self.counts.faults,
                (Counted::Agents, Some(_)) => group.map_or(0, |record| record.agents),
                (Counted::Faults, Some(_)) => group.map_or(0, |record| record.faults().total()),
                (Counted::ErrorLines, _) => self.notices.error_lines_count(),
            }
        };
        expectations::check(scenario, &self.outputs, &count, due)
    }

    fn groups(&self, scenario: &Scenario) -> Named<GroupSummary> {
        let summary = |record: &GroupRecord, group: &GroupSpec| {
            let faults = record.faults().by_kind().map(|(kind, count)| (kind.name().to_owned(), count)).collect();
            GroupSummary {
                agents: record.agents,
                steps: record.totals.steps,
                messages: record.totals.messages,
                inference_jobs: record.totals.inference_jobs,
                fuel: record.totals.fuel,
                faults: Named(faults),
                first_fault: self.notices.first_fault(group, scenario),
                digest: record.digest.to_string(),
            }
        };
        let named = |record: &GroupRecord| {
            let group = scenario.group(record.id()).filter(|group| group.enabled)?;
            Some((group.name.clone(), summary(record, group)))
        };
        Named(self.groups.iter().filter_map(named).collect())
    }

    fn outputs(&self, scenario: &Scenario) -> Named<Named<super::OutputSummary>> {
        let of_group = |id: GroupId| {
            Named(self.outputs.of_group(id).map(|(name, output)| (name.to_owned(), output)).collect::<Vec<_>>())
        };
        let groups = scenario.groups.iter().map(|group| (group.name.clone(), of_group(group.id)));
        Named(groups.filter(|(_, outputs)| !outputs.0.is_empty()).collect())
    }
}

/// Most bytes of JSON for an expectation.
fn expected_bytes(scenario: &Scenario, expectation: &Expectation) -> u64 {
    let group = expectation.group.and_then(|id| scenario.group(id)).map_or("", |group| group.name.as_str());
    let other = match &expectation.value {
        ExpectedValue::EqualsOutput(name) => name.as_str(),
        ExpectedValue::Equals(_) | ExpectedValue::AtLeast(_) | ExpectedValue::AtMost(_) => "",
    };
    let names = [group, &expectation.output, other];
    let bytes = names.map(|name| json_text_bytes(name.as_bytes(), BeyondAscii::ByNumber));
    EXPECTATION_BYTES + bytes.into_iter().sum::<u64>()
}
