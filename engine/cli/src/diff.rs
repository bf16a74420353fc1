//! `wasm-engine diff`: the first frame in which two runs part, and what differs. Exit status 0 if nothing does, else 1.

use std::cmp::Ordering;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use wasm_engine_components::Lane;
use wasm_engine_components::text::{Lines, shown_path};

use super::comparison::ComparisonView;
use super::session::{MachineArgs, NotStarted, SummaryForm, report_not_started};
use super::status::Status;
use super::terminal::{print, print_json};
use super::travel::{open, replayer, warn};
use wasm_engine_core::problem::{ErrorKind, counted, thousands};
use wasm_engine_core::run_dir::{Access, Inference, OpenRun};
use wasm_engine_core::time_travel::{Difference, diff};

/// Names of the two runs.
const SIDES: [&str; 2] = ["a", "b"];

#[derive(Debug, Args)]
pub(super) struct DiffArgs {
    /// A run directory
    run_a: PathBuf,
    /// Another one
    run_b: PathBuf,
    #[command(flatten)]
    machine: MachineArgs,
    /// How to print what differs: as text, or as one line of JSON
    #[arg(long, value_enum, default_value_t = SummaryForm::Text)]
    summary: SummaryForm,
}

/// The result as JSON.
#[derive(Serialize)]
struct DiffJson<'a> {
    run_a: String,
    run_b: String,
    identical: bool,
    manifests: Vec<ManifestJson<'a>>,
    first_common_frame: u64,
    common_frames: u64,
    frame: Option<u64>,
    other_seeds: bool,
    /// Whether one run goes on after the frames that both have.
    other_lengths: bool,
    lanes: Vec<&'static str>,
    #[serde(flatten)]
    comparison: ComparisonView,
}

#[derive(Serialize)]
struct ManifestJson<'a> {
    key: &'a str,
    a: &'a str,
    b: &'a str,
}

/// Runs the command.
pub(super) fn main(args: &DiffArgs) -> Status {
    match run(args) {
        Ok(status) => status,
        Err(why) => report_not_started(&why),
    }
}

fn run(args: &DiffArgs) -> Result<Status, NotStarted> {
    let (a, b) = (open(&args.run_a, Access::Read)?, open(&args.run_b, Access::Read)?);
    let machine = &args.machine;
    let (left, right) = (replayer(&a, machine, Inference::Recorded), replayer(&b, machine, Inference::Recorded));
    warn(&a.warnings);
    warn(&b.warnings);
    let difference = diff(&left, &right)?;
    let printed = match args.summary {
        SummaryForm::Text => print(&text(&a, &b, &difference)),
        SummaryForm::Json => print_json(&json(&a, &b, &difference)),
    };
    printed?;
    let is_same = is_same(&a, &b, &difference);
    Ok(if is_same { Status::Done } else { ErrorKind::Unmet.into() })
}

fn is_same(a: &OpenRun, b: &OpenRun, difference: &Difference) -> bool {
    difference.frame.is_none() && !difference.other_seeds && a.end_frame() == b.end_frame()
}

fn text(a: &OpenRun, b: &OpenRun, difference: &Difference) -> Lines {
    let mut text = Lines::default();
    let (first, end) = difference.frames;
    for (name, run) in SIDES.into_iter().zip([a, b]) {
        let frames = match run.last_frame() {
            Some(last) => format!("frames {} to {}", thousands(run.first_frame()), thousands(last)),
            None => "no frames".to_owned(),
        };
        text.line(format_args!("{name}: {}, {frames}", shown_path(&run.path)));
    }
    let width = difference.manifests.iter().map(|(key, ..)| key.len()).max().unwrap_or(0);
    for (key, a, b) in &difference.manifests {
        text.line(format_args!("  {key:<width$}  a: {a}  b: {b}"));
    }
    let common = format!("frames {} to {}", thousands(first), thousands(end - 1));
    match difference.frame {
        None if difference.other_seeds => {
            text.line(format_args!("no lane differs in {common}; the digests do, because they begin with other seeds"));
        }
        None => text.line(format_args!("no difference in {common}{}", what_goes_on(a, b))),
        Some(frame) => {
            text.line(format_args!("first difference: frame {}, in {}", thousands(frame), what_differs(difference)));
            if difference.other_seeds {
                text.line("  (digests differ from the beginning on, because of the seeds; lanes from here on)");
            }
            match difference.comparison.is_empty() {
                true => text.line("  the states after it are the same: what differs was of that frame alone"),
                false => ComparisonView::new(&difference.comparison, &a.scenario, SIDES).add_to(&mut text),
            }
        }
    }
    text
}

/// Returns which of two runs goes on after the frames that both have; `None` if they end together.
fn what_goes_on(a: &OpenRun, b: &OpenRun) -> String {
    let (shorter, longer, name) = match a.end_frame().cmp(&b.end_frame()) {
        Ordering::Equal => return String::new(),
        Ordering::Less => (a, b, SIDES[1]),
        Ordering::Greater => (b, a, SIDES[0]),
    };
    let more = counted(longer.end_frame() - shorter.end_frame(), "frame");
    format!(", with which the other one ends; {name} goes on for {more}")
}

/// Returns the lanes that differ, and memories if they differ: without a full digest, no lane covers them.
fn what_differs(difference: &Difference) -> String {
    let Difference { lanes, comparison, .. } = difference;
    let mut names: Vec<_> = lanes.iter().map(|lane| lane.name()).collect();
    if !comparison.memories.is_empty() && !lanes.contains(&Lane::Memories) {
        names.push(Lane::Memories.name());
    }
    names.join(", ")
}

fn json(a: &OpenRun, b: &OpenRun, difference: &Difference) -> String {
    let (first, end) = difference.frames;
    let json = DiffJson {
        run_a: a.path.to_string_lossy().into_owned(),
        run_b: b.path.to_string_lossy().into_owned(),
        identical: is_same(a, b, difference),
        manifests: difference.manifests.iter().map(|(key, a, b)| ManifestJson { key, a, b }).collect(),
        first_common_frame: first,
        common_frames: end - first,
        frame: difference.frame,
        other_seeds: difference.other_seeds,
        other_lengths: a.end_frame() != b.end_frame(),
        lanes: difference.lanes.iter().map(|lane| lane.name()).collect(),
        comparison: ComparisonView::new(&difference.comparison, &a.scenario, SIDES),
    };
    serde_json::to_string(&json).unwrap_or_default()
}
