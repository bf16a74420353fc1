//! The room that a summary has for outputs: what one group records takes nothing from another, and an expectation is never judged by a
//! part of what it is about.

use std::path::Path;

use wasm_engine_components::limits::{
    FRAMES_MAX, MODEL_REASON_BYTES_MAX, SUMMARY_OUTPUTS_MAX, SUMMARY_TEXT_BYTES_MAX, SUMMARY_VALUES_MAX,
};
use wasm_engine_components::{
    AgentId, FrameRecord, GroupId, ModelId, ModelNotice, ModelNoticeKind, ModelResults, NamedOutput, OutputValue,
};
use wasm_engine_core::scenario::{LoadOptions, ModelSpec, Scenario, load};
use wasm_engine_core::summary::{Collector, RunFacts, Summary};

/// Two groups of as many agents as a group may have, and what is expected of them.
fn scenario(folder: &Path, expect: &str) -> Scenario {
    let mut text = "frames = 1\nmodules.a.path = \"a.wasm\"\n".to_owned();
    for name in ["good", "bad"] {
        text += &format!("[[groups]]\nname = \"{name}\"\nmodule = \"a\"\nagents = 4_000_000\n");
    }
    std::fs::write(folder.join("a.wasm"), wat::parse_str("(module)").unwrap()).unwrap();
    let file = folder.join("s.toml");
    std::fs::write(&file, text + expect).unwrap();
    load(&file, &LoadOptions::default()).unwrap()
}

fn expect(group: &str, output: &str, what: &str) -> String {
    format!("[[expect]]\ngroup = \"{group}\"\noutput = \"{output}\"\n{what}\n")
}

fn output(scenario: &Scenario, group: usize, ordinal: usize, name: &str, value: i64) -> NamedOutput {
    let agent = AgentId::new(GroupId(scenario.groups[group].id.0), u32::try_from(ordinal).unwrap());
    NamedOutput { agent, name: name.to_owned(), value: OutputValue::I64(value) }
}

/// The summary of a run that went on from a snapshot after each record.
fn summary(scenario: &Scenario, frames: impl IntoIterator<Item = Vec<NamedOutput>>) -> Summary {
    let (mut collector, mut bytes_max) = (Collector::of(scenario), 0);
    for outputs in frames {
        let record = FrameRecord { outputs, ..FrameRecord::default() };
        bytes_max = collector.json_bytes_max_with(&record);
        collector.add(&record);
        let after = collector.json_bytes_max_with(&FrameRecord::default());
        assert!(after <= bytes_max, "{after} is more than {bytes_max}");
        collector = Collector::load(&collector.save(), scenario).unwrap();
    }
    bytes_max = bytes_max.min(collector.json_bytes_max_with(&FrameRecord::default()));
    let summary = collector.summary(scenario, &RunFacts { frames_expected: 1, ..RunFacts::default() });
    assert!(summary.json().len() as u64 <= bytes_max + (64 << 10), "{bytes_max}");
    summary
}

fn told(summary: &Summary) -> Vec<(bool, String)> {
    summary.expectations.iter().map(|expectation| (expectation.met, expectation.sentence())).collect()
}

#[test]
fn a_group_that_records_names_without_end_leaves_another_ones_room() {
    let folder = tempfile::tempdir().unwrap();
    let wanted = [expect("good", "accuracy", "equals = 1"), expect("bad", "late", "equals = 7")].concat();
    let scenario = scenario(folder.path(), &wanted);
    let flood = (0..2 * SUMMARY_OUTPUTS_MAX).map(|i| output(&scenario, 1, 0, &format!("name {i}"), 1)).collect();
    let after = vec![
        output(&scenario, 0, 0, "accuracy", 1),
        output(&scenario, 0, 0, "other", 3),
        output(&scenario, 1, 0, "late", 7),
    ];
    let summary = summary(&scenario, [flood, after]);
    assert_eq!(
        told(&summary),
        [(true, "good: accuracy equals 1: it is 1".to_owned()), (true, "bad: late equals 7: it is 7".to_owned()),]
    );
    let names: Vec<_> = summary.outputs.0.iter().map(|(group, outputs)| (group.as_str(), outputs.0.len())).collect();
    assert_eq!(names, [("good", 2), ("bad", SUMMARY_OUTPUTS_MAX / 2 + 1)], "half of the room, and what is expected");
    let text = summary.text().to_string();
    assert!(text.contains("\n4,981 more names of bad are in the JSON summary\n"), "{text}");
    assert!(text.lines().count() < 40, "{text}");
    assert_eq!(summary.outputs_left_out, (2 * SUMMARY_OUTPUTS_MAX - SUMMARY_OUTPUTS_MAX / 2) as u64);
}

#[test]
fn values_without_end_are_no_part_of_a_sum_that_passes() {
    let folder = tempfile::tempdir().unwrap();
    let wanted = [
        expect("good", "errors", "at_most = 0"),
        expect("bad", "errors", "at_most = 0"),
        expect("bad", "errors", "equals_output = \"errors\""),
        expect("good", "errors", "equals_output = \"errors\""),
    ];
    let scenario = scenario(folder.path(), &wanted.concat());
    // One more than an expected output has room for, by agents of two generations.
    let agents = (0..=SUMMARY_VALUES_MAX).map(|i| {
        let generation = u32::try_from(i / 4_000_000).unwrap();
        let agent = AgentId::of_generation(scenario.groups[1].id, u32::try_from(i % 4_000_000).unwrap(), generation);
        NamedOutput { agent, name: "errors".to_owned(), value: OutputValue::I64(0) }
    });
    let flood = agents.collect();
    let after = vec![output(&scenario, 0, 0, "errors", 0), output(&scenario, 0, 1, "errors", 100)];
    let summary = summary(&scenario, [flood, after]);
    let unknown = "a summary has no room for all values of it, so its sum isn't known";
    assert_eq!(
        told(&summary),
        [
            (false, "good: errors is at most 0: it is 100".to_owned()),
            (false, format!("bad: errors is at most 0: {unknown}")),
            (
                false,
                format!("bad: errors equals errors (not known, a summary has no room for all values of it): {unknown}")
            ),
            (true, "good: errors equals errors (100): it is 100".to_owned()),
        ]
    );
    let json: serde_json::Value = serde_json::from_str(&summary.json()).unwrap();
    assert_eq!(json["expectations"][1]["incomplete"], true);
    assert_eq!(json["outputs"]["bad"]["errors"]["incomplete"], true);
    assert!(summary.text().to_string().contains("not known"), "{}", summary.text());
}

#[test]
fn long_names_are_cut_and_two_stay_two() {
    let folder = tempfile::tempdir().unwrap();
    let long = |end: &str| "é".repeat(30_000) + end;
    let scenario = scenario(folder.path(), &expect("good", &long("a"), "equals = 1"));
    let outputs = vec![output(&scenario, 0, 0, &long("a"), 1), output(&scenario, 0, 0, &long("b"), 2)];
    let summary = summary(&scenario, [outputs]);
    assert!(summary.expectations[0].met);
    let (_, outputs) = &summary.outputs.0[0];
    assert_eq!(outputs.0.len(), 2);
    assert!(outputs.0.iter().all(|(name, _)| name.len() < SUMMARY_TEXT_BYTES_MAX + 40), "{:?}", outputs.0);
}

/// A run goes on as another scenario, as a branch does: with other expectations, or with fewer groups, which have more room each.
#[test]
fn what_is_expected_only_later_is_never_met_by_a_part_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let before = scenario(folder.path(), "");
    let room = SUMMARY_OUTPUTS_MAX / 2;
    let names = |from: usize, to: usize| (from..to).map(|i| output(&before, 1, 0, &format!("name {i}"), 5));
    let mut collector = Collector::of(&before);
    // The last of them has no room, and another agent's value of a name that has some is kept.
    let outputs = names(0, room + 1).chain([output(&before, 1, 1, "name 0", 1)]).collect();
    collector.add(&FrameRecord { outputs, ..FrameRecord::default() });

    let late = format!("name {room}");
    let wanted = [
        expect("bad", &late, "at_most = 7"),
        expect("bad", "name 0", "equals = 6"),
        expect("bad", "name 0", &format!("equals_output = \"{late}\"")),
        expect("good", "new", "equals = 2"),
    ];
    let after = scenario(folder.path(), &wanted.concat());
    let mut fewer = after.clone();
    fewer.groups[0].enabled = false;
    let saved = collector.save();
    for other in [&after, &fewer] {
        let mut collector = Collector::load(&saved, other).unwrap();
        for _ in 0..2 {
            let outputs = vec![output(&before, 1, 1, &late, 2), output(&before, 0, 0, "new", 2)];
            collector.add(&FrameRecord { outputs, ..FrameRecord::default() });
            collector = Collector::load(&collector.save(), other).unwrap();
        }
        let summary = collector.summary(other, &RunFacts { frames_expected: 1, ..RunFacts::default() });
        let met: Vec<_> = summary.expectations.iter().map(|one| (one.met, one.incomplete)).collect();
        assert_eq!(met, [(false, true), (true, false), (false, false), (true, false)], "{:?}", told(&summary));
        let of_bad = summary.outputs.get("bad").unwrap();
        assert!(of_bad.get(&late).is_none_or(|output| output.incomplete));
    }
}

/// What is kept back for the summary counts what is told of models, too, at its longest: whatever their names and reasons are.
#[test]
fn the_reasons_of_models_count_for_what_is_kept_back_for_the_summary() {
    let folder = tempfile::tempdir().unwrap();
    let mut scenario = scenario(folder.path(), "");
    std::fs::write(folder.path().join("m.onnx"), "none").unwrap();
    let names: Vec<_> = (0..50).map(|at| format!("{}{at:02}", "\"".repeat(126))).collect();
    let models: String = names.iter().map(|name| format!("models.'{name}'.path = \"m.onnx\"\n")).collect();
    let file = folder.path().join("models.toml");
    std::fs::write(&file, models + &scenario.source).unwrap();
    scenario = load(&file, &LoadOptions::default()).unwrap();
    let kinds =
        [ModelNoticeKind::Failed, ModelNoticeKind::TimedOut, ModelNoticeKind::AuditFailed, ModelNoticeKind::GivenUp];
    let notice = |model: ModelId, kind| ModelNotice {
        model,
        kind,
        rows: u32::MAX,
        reason: "\u{1}".repeat(MODEL_REASON_BYTES_MAX),
    };
    let of_model = |model: &ModelSpec| kinds.map(|kind| notice(model.id, kind));
    let notices = scenario.models.iter().flat_map(of_model).collect();
    let inference = ModelResults { notices, ..ModelResults::default() };
    let record = FrameRecord { frame: FRAMES_MAX, inference, ..FrameRecord::default() };
    let mut collector = Collector::of(&scenario);
    let bytes_max = collector.json_bytes_max_with(&record);
    collector.add(&record);
    assert_eq!(collector.json_bytes_max_with(&record), bytes_max, "what is known already isn't counted twice");
    let without = Collector::of(&scenario).summary(&scenario, &RunFacts::default()).json().len();
    let summary = collector.summary(&scenario, &RunFacts::default());
    let bytes = (summary.json().len() - without) as u64;
    assert!(bytes > 50 * 4 * 6 * MODEL_REASON_BYTES_MAX as u64 && bytes <= bytes_max, "{bytes} of {bytes_max}");
}
