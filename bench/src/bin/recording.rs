//! Measures the cost of recording: runs with a journal beside runs without one, in turns, in one process;
//! and how fast a recorded run is replayed.

#![forbid(unsafe_code)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use wasm_engine::run_dir::{Access, Inference, OpenRun, OutputDir, Recording, RunDir, RunOptions};
use wasm_engine::scenario::{LoadOptions, Scenario, load};
use wasm_engine::simulation::{Simulation, SimulationOptions};
use wasm_engine::summary::{Collector, RunFacts};
use wasm_engine::time_travel::{ReplayOptions, RunReplayer, replay};
use wasm_engine::{events, frame_loop};
use wasm_engine_bench::median;
use wasm_engine_components::DigestScope;

/// Pause between two runs.
const REST: Duration = Duration::from_millis(100);

/// Compares runs that keep a journal with runs that don't, and with replays
#[derive(Parser)]
struct Args {
    /// Threads
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Samples of each side
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..))]
    samples: u32,
    /// Agents of the ring
    #[arg(long, default_value_t = 10_000)]
    agents: u32,
    /// Leave out the scenario with a model, which needs ONNX Runtime
    #[arg(long)]
    no_models: bool,
}

/// Seconds of one run.
struct Sample {
    /// Time of its frames.
    frames_s: f64,
    /// The same, until everything is on the disk.
    whole_s: f64,
}

fn main() {
    let args = Args::parse();
    let agents = ["agents", "tokens"].map(|name| format!("{name}={}", args.agents)).to_vec();
    println!("recording: medians of {} samples in turns, {} threads", args.samples, args.threads);
    println!(
        "{:<10} {:>7} {:>12} {:>12} {:>9} {:>12} {:>12} {:>9} {:>13} {:>12} {:>8}",
        "scenario",
        "frames",
        "without ms",
        "recorded ms",
        "more",
        "to disk ms",
        "to disk ms",
        "more",
        "bytes/frame",
        "replay ms",
        "ratio"
    );
    compare(&args, "ring", agents);
    if !args.no_models {
        compare(&args, "postroom", Vec::new());
    }
}

fn compare(args: &Args, name: &str, set: Vec<String>) {
    let path = wasm_engine_bench::scenarios().join(format!("{name}.toml"));
    let options = LoadOptions { set, ..LoadOptions::default() };
    let scenario = load(&path, &options).unwrap_or_else(|problems| panic!("{problems:#}"));
    let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("no temporary folder: {error}"));
    let (mut without, mut recorded, mut replays, mut bytes) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for number in 0..args.samples {
        let out = folder.path().join(format!("recorded-{number}"));
        // Each of them is first as often as the other.
        for record in [number % 2 == 0, number % 2 != 0] {
            // The system still has to do with the files of the run before.
            std::thread::sleep(REST);
            if record {
                recorded.push(run(args, &scenario, &out, true));
            } else {
                without.push(run(args, &scenario, &folder.path().join(format!("without-{number}")), false));
            }
        }
        bytes = size(&out.join("journal"));
        replays.push(replayed(args, &out));
    }
    let [a, b] = [&without, &recorded].map(|samples| median(samples.iter().map(|sample| sample.frames_s).collect()));
    let [c, d] = [&without, &recorded].map(|samples| median(samples.iter().map(|sample| sample.whole_s).collect()));
    let replay_s = median(replays);
    let more = |before: f64, after: f64| format!("{:+.1} %", (after / before - 1.0) * 100.0);
    println!(
        "{name:<10} {:>7} {:>12.1} {:>12.1} {:>9} {:>12.1} {:>12.1} {:>9} {:>13} {:>12.1} {:>8.2}",
        scenario.frames,
        a * 1e3,
        b * 1e3,
        more(a, b),
        c * 1e3,
        d * 1e3,
        more(c, d),
        bytes / scenario.frames,
        replay_s * 1e3,
        replay_s / b
    );
}

/// Returns the times of one run, from its first frame on.
fn run(args: &Args, scenario: &Scenario, out: &Path, record: bool) -> Sample {
    let options = SimulationOptions { threads: Some(args.threads), ..SimulationOptions::default() };
    let mut simulation = Simulation::new(scenario, &options)
        .unwrap_or_else(|error| panic!("{:#}", error.of_run(scenario, &scenario.path)));
    let run_options = RunOptions { record, ..RunOptions::new(&simulation, DigestScope::Frame) };
    let run_dir = RunDir::create(&OutputDir::new(Some(out), "bench"), scenario, &run_options);
    let run_dir = run_dir.unwrap_or_else(|error| panic!("{error:#}"));
    let mut recording = Recording::new(run_dir, &simulation, record.then_some(None), Collector::default());
    let mut source = events::open(scenario, Arc::default()).unwrap_or_else(|error| panic!("{error:#}"));
    let pool = simulation.pool();
    let started = Instant::now();
    pool.install(|| frame_loop::run(&mut simulation, &mut source, &mut recording))
        .unwrap_or_else(|error| panic!("{error:#}"));
    let frames_s = started.elapsed().as_secs_f64();
    let summary = recording.collector().summary(scenario, &RunFacts::default());
    recording.finish(&mut simulation, &summary).unwrap_or_else(|error| panic!("{error:#}"));
    Sample { frames_s, whole_s: started.elapsed().as_secs_f64() }
}

/// Returns the seconds of a replay, from its first frame on.
fn replayed(args: &Args, out: &Path) -> f64 {
    let run = OpenRun::open(out, Access::Read).unwrap_or_else(|problems| panic!("{problems:#}"));
    let options = SimulationOptions { threads: Some(args.threads), ..SimulationOptions::default() };
    let replayer = RunReplayer { run: &run, options, inference: Inference::Recorded, author: &|_| {} };
    let mut started = None;
    let replayed = replay(&replayer, ReplayOptions::default(), &mut |_| {
        started.get_or_insert_with(Instant::now);
    });
    let replayed = replayed.unwrap_or_else(|error| panic!("{error:#}"));
    assert!(replayed.divergence.is_none(), "a replay is identical");
    started.map_or(0.0, |started| started.elapsed().as_secs_f64())
}

/// Returns the size of the files in a folder in bytes.
fn size(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum()
}
