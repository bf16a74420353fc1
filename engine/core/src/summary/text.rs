//! The summary as a table for people.

use wasm_engine_components::text::{Lines, Table, shown};

use super::{ErrorLines, ExpectationResult, OutputValueSummary, Summary};
use crate::problem::{counted, thousands};

/// Number of hexadecimal digits of a group's digest that a table shows.
const DIGEST_SHOWN: usize = 12;

/// Number of characters of a text output, and of an output's name, that a table shows.
const TEXT_CHARS_MAX: usize = 60;
const NAME_CHARS_MAX: usize = 60;
/// Most outputs of one group that are shown.
const OUTPUTS_SHOWN_MAX: usize = 20;

impl Summary {
    /// Returns a table for people.
    pub fn text(&self) -> Lines {
        text(self)
    }
}

/// Returns the whole text, ending with where the results are.
fn text(summary: &Summary) -> Lines {
    let mut text = Lines::default();
    let entries = [run(summary), traffic(summary), dropped(summary), models(summary), events(summary)].concat();
    for (name, value) in entries {
        text.line(format_args!("{name:<11}{value}"));
    }
    text.line(format_args!("{:<11}{}", "digest", summary.digest));
    text.blank();
    text.append(&groups(summary));
    text.append(&outputs(summary));
    text.append(&expectations(&summary.expectations));
    text.blank();
    text.line(format_args!("results in {}", summary.run_dir));
    text
}

/// A line of the text: its name, and its value.
type Entry = (&'static str, String);

/// Returns what was run, and for how long.
fn run(summary: &Summary) -> Vec<Entry> {
    let state = if summary.interrupted { ", interrupted" } else { "" };
    let here = match summary.frames_here < summary.frames {
        true => format!(" ({} here)", thousands(summary.frames_here)),
        false => String::new(),
    };
    let frames = format!(
        "{}{here} in {:.2} s, {} frames/s, {}",
        thousands(summary.frames),
        summary.wall_s,
        rate(summary.frames_per_s),
        counted(summary.threads, "thread"),
    );
    vec![
        ("scenario", format!("{}, seed {}{state}", summary.scenario, summary.seed)),
        ("frames", frames),
        ("agents", thousands(summary.agents)),
    ]
}

/// Returns what became of messages and of commands.
fn traffic(summary: &Summary) -> Vec<Entry> {
    let reasons = summary.dropped_by_reason.0.iter();
    let reasons: Vec<String> = reasons.map(|(reason, messages)| format!("{reason} {}", thousands(messages))).collect();
    let reasons = if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join(", ")) };
    let messages = format!(
        "{} sent, {} delivered, {} dropped{reasons}",
        thousands(summary.messages),
        thousands(summary.delivered),
        thousands(summary.dropped)
    );
    let mut entries = vec![("messages", messages)];
    if summary.commands + summary.commands_refused > 0 {
        let (done, refused) = (thousands(summary.commands), thousands(summary.commands_refused));
        entries.push(("commands", format!("{done} carried out, {refused} refused")));
    }
    entries
}

/// Returns what the run's budgets had no room for.
fn dropped(summary: &Summary) -> Vec<Entry> {
    let mut entries = Vec::new();
    if summary.log_lines_dropped > 0 {
        let (lines, bytes) = (thousands(summary.log_lines_dropped), counted(summary.log_bytes_dropped, "byte"));
        entries.push(("log lines", format!("{lines} dropped ({bytes}), for want of budget")));
    }
    if summary.outputs_dropped > 0 {
        let (outputs, bytes) = (thousands(summary.outputs_dropped), counted(summary.output_bytes_dropped, "byte"));
        entries.push(("outputs", format!("{outputs} dropped ({bytes}), for want of budget")));
    }
    if summary.deferred > 0 {
        entries.push(("deferred", format!("{}, for want of budget", counted(summary.deferred, "step"))));
    }
    entries
}

/// Returns what models did, and what replaced them and the modules.
fn models(summary: &Summary) -> Vec<Entry> {
    let mut entries = Vec::new();
    if summary.inference_jobs > 0 {
        let rows = summary.inference_rows_per_batch;
        let jobs = counted(summary.inference_jobs, "job");
        entries.push(("inference", format!("{jobs}, {rows:.1} rows per batch")));
    }
    for (name, model) in &summary.models.0 {
        entries.extend(model.sentences().map(|sentence| ("model", format!("{name}: {sentence}"))));
    }
    let swaps = summary.swaps;
    if swaps.done + swaps.refused > 0 {
        entries.push(("swaps", format!("{} done, {} refused", thousands(swaps.done), thousands(swaps.refused))));
    }
    entries
}

/// Returns what became of the lines of external events, if there were any.
fn events(summary: &Summary) -> Vec<Entry> {
    let events = &summary.events;
    if events.delivered + events.lost + events.disabled + events.late == 0 {
        return Vec::new();
    }
    let mut parts = vec![format!("{} delivered", thousands(events.delivered))];
    for (count, what) in [
        (events.lost, "lost, for want of a recipient or beyond a budget"),
        (events.disabled, "for groups that aren't enabled"),
        (events.late, "for frames after the last one"),
    ] {
        if count > 0 {
            parts.push(format!("{} {what}", thousands(count)));
        }
    }
    vec![("events", parts.join(", "))]
}

fn groups(summary: &Summary) -> Lines {
    let mut table = Table::new(["group", "agents", "steps", "messages", "jobs", "faults", "digest"]);
    let mut faults = Lines::default();
    for (name, group) in &summary.groups.0 {
        table.row([
            name.clone(),
            thousands(group.agents),
            thousands(group.steps),
            thousands(group.messages),
            thousands(group.inference_jobs),
            thousands(group.faults.0.iter().map(|(_, count)| count).sum::<u64>()),
            group.digest.chars().take(DIGEST_SHOWN).collect(),
        ]);
        if !group.faults.0.is_empty() {
            let kinds: Vec<String> =
                group.faults.0.iter().map(|(kind, count)| format!("{kind} {}", thousands(count))).collect();
            faults.line(format_args!("faults of {name}: {}", kinds.join(", ")));
            if let Some(first) = &group.first_fault {
                faults.line(format_args!("  first: {}", first.text));
            }
        }
    }
    let mut lines = table.lines();
    lines.append(&faults);
    if let ErrorLines { count, first: Some(first) } = &summary.error_lines {
        lines.line(format_args!("{} in logs.jsonl", counted(count, "error line")));
        let text = shown(&first.text).at_most(TEXT_CHARS_MAX);
        lines.line(format_args!("  first: {} in frame {}: {text}", first.agent, thousands(first.frame)));
    }
    lines
}

fn outputs(summary: &Summary) -> Lines {
    let mut text = Lines::default();
    if summary.outputs.0.is_empty() {
        return text;
    }
    let mut table = Table::new(["output", "agents", "sum", "last"]);
    for (group, outputs) in &summary.outputs.0 {
        for (name, output) in outputs.0.iter().take(OUTPUTS_SHOWN_MAX) {
            let last = match &output.last {
                OutputValueSummary::Number(value) => value.to_string(),
                OutputValueSummary::Text(text) => format!("\"{}\"", shown(text).at_most(TEXT_CHARS_MAX)),
            };
            let sum = match output.sum {
                Some(_) if output.incomplete => "not known".to_owned(),
                Some(sum) => sum.to_string(),
                None => "-".to_owned(),
            };
            table.row([
                format!("{group}: {}", shown(name).at_most(NAME_CHARS_MAX)),
                thousands(output.agents),
                sum,
                last,
            ]);
        }
    }
    text.blank();
    text.append(&table.lines());
    for (group, outputs) in &summary.outputs.0 {
        let more = outputs.0.len().saturating_sub(OUTPUTS_SHOWN_MAX);
        if more > 0 {
            let (more, are) = (counted(more, "more name"), if more == 1 { "is" } else { "are" });
            text.line(format_args!("{more} of {group} {are} in the JSON summary"));
        }
    }
    if summary.outputs_left_out > 0 {
        let are = if summary.outputs_left_out == 1 { "is" } else { "are" };
        text.line(format_args!("{} {are} in outputs.jsonl only", counted(summary.outputs_left_out, "more output")));
    }
    text
}

fn expectations(expectations: &[ExpectationResult]) -> Lines {
    let mut text = Lines::default();
    for expectation in expectations {
        let mark = match (expectation.met, expectation.due) {
            (true, true) => "met",
            (false, true) => "UNMET",
            // An upper bound that holds so far may be broken by the frames that weren't run.
            (true, false) => "so far",
            (false, false) => "not due",
        };
        if text.is_empty() {
            text.blank();
        }
        text.line(format_args!("{mark:<8} {}", expectation.sentence()));
    }
    text
}

impl ExpectationResult {
    /// Returns what is expected and what came of it, in one sentence.
    pub fn sentence(&self) -> String {
        let Self { group, output, expected, .. } = self;
        let output = shown(output);
        let group = if group.is_empty() { "the run" } else { group };
        match self.value {
            Some(value) => format!("{group}: {output} {expected}: it is {value}"),
            None if self.incomplete => {
                format!(
                    "{group}: {output} {expected}: a summary has no room for all values of it, so its sum isn't known"
                )
            }
            None => format!("{group}: {output} {expected}: no agent recorded a number under that name"),
        }
    }
}

fn rate(per_second: f64) -> String {
    if per_second >= 1_000.0 { thousands(format!("{per_second:.0}")) } else { format!("{per_second:.1}") }
}
