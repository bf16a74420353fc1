//! Differences of two states, and the place where a replay parts from its recording, as text or JSON.

use serde::Serialize;
use serde_json::Value;
use wasm_engine_components::text::Lines;
use wasm_engine_components::{Lane, RowAnswer};
use wasm_engine_systems::state::{ByteDifference, Excerpt, FieldDifference, FieldValue, StateDifference};

use super::names::{entity_name, name_of, sender_name};
use wasm_engine_core::problem::counted;
use wasm_engine_core::scenario::Scenario;
use wasm_engine_core::summary::Named;
use wasm_engine_core::time_travel::{Compared, Comparison, DIFFERENCES_MAX, Divergence, RowDifference};
use wasm_engine_files::{ascii, hex};

/// Names of the two sides of a divergence.
const RECORDED_AND_NOW: [&str; 2] = ["recorded", "now"];
/// Their names if the frame was run a second time.
const SECOND_AND_NOW: [&str; 2] = ["second", "now"];

/// Differences of two states.
#[derive(Serialize)]
pub(super) struct ComparisonView {
    differences: Vec<DifferenceView>,
    /// Whether there may be more, besides memories.
    state_cut: bool,
    /// Whether there are more memories.
    memories_cut: bool,
}

/// One value that differs.
#[derive(Serialize)]
struct DifferenceView {
    stage: String,
    lane: &'static str,
    component: String,
    entity: String,
    /// The first byte that differs: in a memory, its address.
    byte: usize,
    /// The field in which that byte lies, where the value's layout is known.
    field: Option<String>,
    /// Number of bytes that differ, including those that only one side has.
    bytes_differing: usize,
    fields: Vec<FieldView>,
    /// The bytes around the first one that differs, under the names of the sides; null where a side has no such value.
    #[serde(flatten)]
    sides: Named<Option<SideView>>,
}

/// A field that differs: its values under the names of the sides, null where a side has none.
#[derive(Serialize)]
struct FieldView {
    name: String,
    byte: usize,
    #[serde(flatten)]
    values: Named<Value>,
}

/// Some bytes of a value.
#[derive(Serialize)]
struct SideView {
    /// Length of the value.
    length: usize,
    /// Offset of the bytes in it.
    from: usize,
    hex: String,
    /// The same as characters; a full stop stands for a byte that isn't printable.
    text: String,
}

impl ComparisonView {
    /// Creates it; `sides` are the names of the two sides.
    pub fn new(comparison: &Comparison, scenario: &Scenario, sides: [&str; 2]) -> Self {
        let all = comparison.state.iter().chain(&comparison.memories);
        let differences = all.map(|difference| DifferenceView::new(difference, scenario, sides)).collect();
        Self { differences, state_cut: comparison.state_cut, memories_cut: comparison.memories_cut }
    }

    /// Returns it as text.
    pub fn add_to(&self, text: &mut Lines) {
        let is_memory = |difference: &&DifferenceView| difference.lane == Lane::Memories.name();
        for difference in self.differences.iter().filter(|difference| !is_memory(difference)) {
            difference.add_to(text);
        }
        if self.state_cut {
            text.line("  and perhaps more in the world's state: no more were looked for");
        }
        self.differences.iter().filter(is_memory).for_each(|difference| difference.add_to(text));
        if self.memories_cut {
            text.line(format_args!("  and more in memories: {DIFFERENCES_MAX} are shown"));
        }
    }
}

impl DifferenceView {
    fn new(difference: &StateDifference, scenario: &Scenario, sides: [&str; 2]) -> Self {
        let StateDifference { lane, stage, component, entity, bytes, field, fields } = difference;
        Self {
            stage: format!("{stage:?}"),
            lane: lane.name(),
            component: component.clone(),
            entity: entity_name(entity, scenario),
            byte: bytes.offset,
            field: field.clone(),
            bytes_differing: bytes.count,
            fields: fields.iter().map(|field| FieldView::new(field, scenario, sides)).collect(),
            sides: sides_of(bytes, sides),
        }
    }

    fn add_to(&self, text: &mut Lines) {
        let Self { stage, lane, component, entity, byte, bytes_differing, .. } = self;
        let place = if *lane == Lane::Memories.name() { format!("{byte:#x}") } else { byte.to_string() };
        let field = self.field.as_ref().map_or_else(String::new, |field| format!(" ({field})"));
        let differ = differing(*bytes_differing);
        text.line(format_args!(
            "  {stage}, lane {lane}: {component} of {entity}, from byte {place}{field} on: {differ}"
        ));
        for FieldView { name, values, .. } in &self.fields {
            let values: Vec<_> = values.0.iter().map(|(side, value)| format!("{side} {}", plain(value))).collect();
            text.line(format_args!("    {name}: {}", values.join(", ")));
        }
        add_sides(&self.sides, *byte, text);
    }
}

/// Returns a value as it is written in text.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn sides_of(bytes: &ByteDifference, sides: [&str; 2]) -> Named<Option<SideView>> {
    let view = |side: &Option<Excerpt>| side.as_ref().map(SideView::from);
    Named(sides.map(str::to_owned).into_iter().zip([view(&bytes.left), view(&bytes.right)]).collect())
}

/// Returns the number of bytes that differ.
fn differing(bytes: usize) -> String {
    format!("{} {}", counted(bytes, "byte"), if bytes == 1 { "differs" } else { "differ" })
}

/// The bytes of both sides, below each other. `>` stands before the first one that differs.
fn add_sides(sides: &Named<Option<SideView>>, first: usize, text: &mut Lines) {
    let head = |(name, side): &(String, Option<SideView>)| match side {
        Some(side) => format!("    {name}: {}, from {}:", counted(side.length, "byte"), side.from),
        None => format!("    {name}: not there"),
    };
    let width = sides.0.iter().map(|side| head(side).len()).max().unwrap_or(0);
    for side in &sides.0 {
        let bytes = side.1.as_ref().map_or_else(String::new, |side| side.bytes(first));
        text.line(format!("{:<width$} {bytes}", head(side)).trim_end());
    }
}

impl From<&Excerpt> for SideView {
    fn from(excerpt: &Excerpt) -> Self {
        let Excerpt { length, start, bytes } = excerpt;
        Self { length: *length, from: *start, hex: hex(bytes), text: ascii(bytes) }
    }
}

impl SideView {
    /// Returns the bytes in groups of four, and as characters. `first` is the first one that differs.
    fn bytes(&self, first: usize) -> String {
        let mut shown = String::new();
        for (at, digits) in self.hex.as_bytes().chunks(2).enumerate() {
            if at > 0 && at % 4 == 0 {
                shown.push(' ');
            }
            if self.from + at == first {
                shown.push('>');
            }
            shown.extend(digits.iter().map(|&digit| char::from(digit)));
        }
        if self.length <= first {
            shown.push_str(" (its end)");
        }
        format!("{}  {}", shown.trim_start(), self.text)
    }
}

impl FieldView {
    fn new(field: &FieldDifference, scenario: &Scenario, sides: [&str; 2]) -> Self {
        let value = |value: &Option<FieldValue>| match value {
            None => Value::Null,
            Some(FieldValue::Number(number)) => (*number).into(),
            Some(FieldValue::Signed(number)) => (*number).into(),
            Some(FieldValue::Bool(value)) => (*value).into(),
            // JSON has no numbers that aren't finite.
            Some(FieldValue::Float(text)) => match text.parse::<f64>() {
                Ok(number) if number.is_finite() => number.into(),
                _ => text.as_str().into(),
            },
            Some(FieldValue::Agent(u64::MAX)) => "nobody".into(),
            Some(FieldValue::Agent(sender)) => sender_name(scenario, *sender).into(),
            Some(FieldValue::Name(0)) => "none".into(),
            Some(FieldValue::Name(number)) => name_of(scenario, *number).into(),
            Some(FieldValue::Text(text)) => text.as_str().into(),
            Some(FieldValue::Bytes(bytes)) => counted(bytes, "byte").into(),
        };
        let values = sides.map(str::to_owned).into_iter().zip([value(&field.left), value(&field.right)]).collect();
        Self { name: field.name.clone(), byte: field.offset, values: Named(values) }
    }
}

/// Divergence of a replay from its recording.
#[derive(Serialize)]
pub(super) struct DivergenceView {
    frame: u64,
    stage: Option<String>,
    lanes: Vec<&'static str>,
    recorded_digest: String,
    digest: String,
    components: Vec<String>,
    /// The first result of a model that differs.
    model_row: Option<RowView>,
    compared: &'static str,
    /// With `later_snapshot`, the frame of that snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    compared_frame: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<String>,
    #[serde(flatten)]
    comparison: ComparisonView,
}

/// A result of a model that differs.
#[derive(Serialize)]
struct RowView {
    row: usize,
    /// Status of the row on each side; null where a side has no such row.
    status: Named<Option<String>>,
    /// The first byte of the outputs that differs, and the number of bytes that do; none if only the statuses differ.
    byte: Option<usize>,
    bytes_differing: usize,
    #[serde(flatten)]
    sides: Named<Option<SideView>>,
}

impl RowView {
    fn new(row: &RowDifference) -> Self {
        let RowDifference { row, recorded, found } = row;
        let output = |side: &'_ Option<RowAnswer>| side.as_ref().map(|row| row.output.clone());
        let difference = ByteDifference::of(output(recorded).as_deref(), output(found).as_deref());
        let status = |side: &Option<RowAnswer>| side.as_ref().map(|row| format!("{:?}", row.status));
        let statuses = RECORDED_AND_NOW.map(str::to_owned).into_iter().zip([status(recorded), status(found)]);
        Self {
            row: *row,
            status: Named(statuses.collect()),
            byte: difference.as_ref().map(|difference| difference.offset),
            bytes_differing: difference.as_ref().map_or(0, |difference| difference.count),
            sides: difference.map_or_else(Named::default, |difference| sides_of(&difference, RECORDED_AND_NOW)),
        }
    }

    fn add_to(&self, text: &mut Lines) {
        let statuses = self.status.0.iter().map(|(side, status)| match status {
            Some(status) => format!("{side} {status}"),
            None => format!("{side} no such row"),
        });
        let statuses = statuses.collect::<Vec<_>>().join(", ");
        let differ = match self.byte {
            Some(byte) => format!("; {}, from byte {byte} on", differing(self.bytes_differing)),
            None => String::new(),
        };
        text.line(format_args!("  {:<10} {}: {statuses}{differ}", "model row", self.row));
        add_sides(&self.sides, self.byte.unwrap_or(0), text);
    }
}

impl DivergenceView {
    pub fn new(divergence: &Divergence, scenario: &Scenario) -> Self {
        let (compared, sides) = match divergence.compared {
            Compared::Nothing => ("nothing", RECORDED_AND_NOW),
            Compared::Recorded => ("recorded", RECORDED_AND_NOW),
            Compared::SecondExecution => ("second_execution", SECOND_AND_NOW),
            Compared::Later(_) => ("later_snapshot", RECORDED_AND_NOW),
        };
        Self {
            frame: divergence.frame,
            stage: divergence.stage().map(|stage| format!("{stage:?}")),
            lanes: divergence.lanes.iter().map(|lane| lane.name()).collect(),
            recorded_digest: divergence.recorded.to_string(),
            digest: divergence.found.to_string(),
            components: divergence.components.clone(),
            model_row: divergence.inference.as_ref().map(RowView::new),
            compared,
            compared_frame: match divergence.compared {
                Compared::Later(frame) => Some(frame),
                _ => None,
            },
            trouble: divergence.trouble.clone(),
            comparison: ComparisonView::new(&divergence.comparison, scenario, sides),
        }
    }

    /// Returns it as text.
    pub fn text(&self) -> Lines {
        let mut text = Lines::default();
        let mut line = |key: &str, value: &str| text.line(format_args!("  {key:<10} {value}"));
        line("frame", &self.frame.to_string());
        if let Some(stage) = &self.stage {
            line("stage", stage);
        }
        line("lanes", &self.lanes.join(", "));
        line("digest", &format!("recorded {}, now {}", self.recorded_digest, self.digest));
        if !self.components.is_empty() {
            line("components", &self.components.join(", "));
        }
        if let Some(row) = &self.model_row {
            row.add_to(&mut text);
        }
        let mut line = |key: &str, value: &str| text.line(format_args!("  {key:<10} {value}"));
        line("compared", &self.compared_text());
        if let Some(trouble) = &self.trouble {
            line("trouble", trouble);
        }
        self.comparison.add_to(&mut text);
        text
    }

    fn compared_text(&self) -> String {
        match (self.compared, self.compared_frame) {
            (_, Some(frame)) => {
                format!("with the recorded values of a later frame: the snapshot before frame {frame}")
            }
            ("recorded", _) => "with the recorded values, of the snapshot after this frame".to_owned(),
            ("second_execution", _) => {
                "with a second execution of this frame, which gave yet another result".to_owned()
            }
            _ => {
                "with nothing: no snapshot has the recorded values, and a second execution gave the same as this one; \
                  record with --snapshot-every 1 to have them"
                    .to_owned()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use wasm_engine_abi::InferenceStatus;
    use wasm_engine_components::{AgentId, Digest, GroupId};
    use wasm_engine_systems::state::{StateEntity, stage_of};

    use super::*;
    use wasm_engine_core::scenario::{LoadOptions, parse};

    fn scenario() -> Scenario {
        let text = "frames = 1\nmodules.a.path = \"a.wasm\"\n[[groups]]\nname = \"g\"\nmodule = \"a\"\nagents = 2\n";
        let options = LoadOptions { recorded: true, ..LoadOptions::default() };
        parse(text.to_owned(), Path::new("s.toml"), &options).unwrap()
    }

    fn difference(left: Option<&[u8]>, right: Option<&[u8]>) -> StateDifference {
        StateDifference {
            lane: Lane::Memories,
            stage: stage_of(Lane::Memories),
            component: "memory".to_owned(),
            entity: StateEntity::Agent(AgentId::new(GroupId(1), 1)),
            bytes: ByteDifference::of(left, right).unwrap(),
            field: None,
            fields: Vec::new(),
        }
    }

    fn divergence(compared: Compared) -> Divergence {
        let memory = difference(Some(b"0123456701234567"), Some(b"0123456791234567"));
        let row = |output: &[u8]| Some(RowAnswer { status: InferenceStatus::Ok, output: output.to_vec() });
        Divergence {
            frame: 7,
            recorded: Digest(1),
            found: Digest(2),
            lanes: vec![Lane::Memories],
            components: Vec::new(),
            inference: Some(RowDifference { row: 3, recorded: row(b"abcdefgh"), found: row(b"abcdeFgh") }),
            compared,
            comparison: Comparison { memories: vec![memory], memories_cut: true, ..Comparison::default() },
            trouble: None,
        }
    }

    #[test]
    fn text_and_json_say_the_same_of_both_sides() {
        let scenario = scenario();
        for (compared, side) in
            [(Compared::Recorded, "recorded"), (Compared::Later(9), "recorded"), (Compared::SecondExecution, "second")]
        {
            let view = DivergenceView::new(&divergence(compared), &scenario);
            let json = serde_json::to_value(&view).unwrap();
            let found = &json["differences"][0];
            assert_eq!((&found["byte"], &found["bytes_differing"]), (&8.into(), &1.into()), "{json}");
            assert_eq!(
                (&found[side]["text"], &found["now"]["text"]),
                (&"0123456701234567".into(), &"0123456791234567".into())
            );
            assert_eq!((&json["state_cut"], &json["memories_cut"]), (&false.into(), &true.into()));
            let row = &json["model_row"];
            assert_eq!(
                (&row["row"], &row["byte"], &row["now"]["hex"]),
                (&3.into(), &5.into(), &"6162636465466768".into())
            );
            let text = view.text().to_string();
            let head = "\n  Step, lane memories: memory of g/1, from byte 0x8 on: 1 byte differs\n";
            let now = "    now: 16 bytes, from 0:      30313233 34353637 >39313233 34353637  0123456791234567\n";
            assert!(text.contains(head) && text.contains(now.trim_start().split(": ").next().unwrap()), "{text}");
            assert!(text.contains(">39313233 34353637  0123456791234567\n"), "{text}");
            assert!(text.contains("  model row  3: recorded Ok, now Ok; 1 byte differs, from byte 5 on\n"), "{text}");
            assert!(text.contains("61626364 65>466768  abcdeFgh\n"), "{text}");
            assert!(text.ends_with("  and more in memories: 16 are shown\n"), "{text}");
        }
    }

    #[test]
    fn a_side_that_ends_earlier_or_is_not_there_is_told() {
        let scenario = scenario();
        let text = |left: Option<&[u8]>, right: Option<&[u8]>| {
            let state = vec![difference(left, right)];
            let comparison = Comparison { state, ..Comparison::default() };
            let mut text = Lines::default();
            ComparisonView::new(&comparison, &scenario, ["a", "b"]).add_to(&mut text);
            text.to_string()
        };
        assert_eq!(
            text(Some(b"abcd"), Some(b"abcdef")),
            "  Step, lane memories: memory of g/1, from byte 0x4 on: 2 bytes differ\n    \
             a: 4 bytes, from 0: 61626364 (its end)  abcd\n    b: 6 bytes, from 0: 61626364 >6566  abcdef\n"
        );
        assert_eq!(
            text(None, Some(b"ab")),
            "  Step, lane memories: memory of g/1, from byte 0x0 on: 2 bytes differ\n    a: not there\n    \
             b: 2 bytes, from 0: >6162  ab\n"
        );
        let long = [7; 100];
        assert!(
            text(Some(&long[..99]), Some(&long)).contains("a: 99 bytes, from 88:  07070707 07070707 070707 (its end)")
        );
    }

    #[test]
    fn fields_of_each_sort_are_the_same_in_text_and_json() {
        let field = |name: &str, left, right| FieldDifference { name: name.to_owned(), offset: 0, left, right };
        let fields = vec![
            field("stock[pears]", Some(FieldValue::Signed(-3)), Some(FieldValue::Signed(400))),
            field("open", Some(FieldValue::Bool(true)), Some(FieldValue::Bool(false))),
            field("prices[0]", Some(FieldValue::Float("0.1".to_owned())), Some(FieldValue::Float("NaN".to_owned()))),
            field("mood", Some(FieldValue::Text("Angry".to_owned())), None),
        ];
        let found = StateDifference { fields, field: Some("open".to_owned()), ..difference(Some(b"a"), Some(b"b")) };
        let comparison = Comparison { state: vec![found], ..Comparison::default() };
        let view = ComparisonView::new(&comparison, &scenario(), ["recorded", "now"]);
        let mut text = Lines::default();
        view.add_to(&mut text);
        let lines = "    stock[pears]: recorded -3, now 400\n    open: recorded true, now false\n    \
                     prices[0]: recorded 0.1, now NaN\n    mood: recorded Angry, now -\n";
        assert!(text.to_string().contains("(open) on: 1 byte differs\n") && text.to_string().contains(lines), "{text}");
        let json = serde_json::to_value(&view).unwrap();
        let values = |at: usize| json["differences"][0]["fields"][at].clone();
        let expected = [
            serde_json::json!({ "name": "stock[pears]", "byte": 0, "recorded": -3, "now": 400 }),
            serde_json::json!({ "name": "open", "byte": 0, "recorded": true, "now": false }),
            serde_json::json!({ "name": "prices[0]", "byte": 0, "recorded": 0.1, "now": "NaN" }),
            serde_json::json!({ "name": "mood", "byte": 0, "recorded": "Angry", "now": null }),
        ];
        assert_eq!([0, 1, 2, 3].map(values), expected);
    }
}
