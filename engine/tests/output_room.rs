//! The room that a summary has for outputs: what one group records takes nothing from another, and an expectation is never judged by a
//! part of what it is about.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::path::Path;

use wasm_engine::scenario::{LoadOptions, Scenario, load};
use wasm_engine::summary::{Collector, RunFacts, Summary};
use wasm_engine_components::limits::{SUMMARY_OUTPUTS_MAX, SUMMARY_TEXT_BYTES_MAX, SUMMARY_VALUES_MAX};
use wasm_engine_components::{AgentId, FrameRecord, GroupId, NamedOutput, OutputValue};

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
        collector = Collector::load(&collector.save(&Default::default()), scenario).unwrap().0;
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
    let unknown = "more agents recorded it than a summary keeps, so its sum isn't known";
    assert_eq!(
        told(&summary),
        [
            (false, "good: errors is at most 0: it is 100".to_owned()),
            (false, format!("bad: errors is at most 0: {unknown}")),
            (
                false,
                format!(
                    "bad: errors equals errors (not known, more agents recorded it than a summary keeps): {unknown}"
                )
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
