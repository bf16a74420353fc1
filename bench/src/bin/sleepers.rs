//! Measures the cost of agents that sleep: a ring of agents that are awake in each frame, alone and beside a group that isn't due.

#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::time::Instant;

use clap::Parser;
use wasm_engine::scenario::{LoadOptions, parse};
use wasm_engine::simulation::{Simulation, SimulationOptions};
use wasm_engine_bench::median;
use wasm_engine_components::FrameInputs;

/// Compares a frame of agents that are awake with the same next to agents that sleep
#[derive(Parser)]
struct Args {
    /// Agents that are awake
    #[arg(long, default_value_t = 1_000)]
    awake: u32,
    /// Agents that sleep
    #[arg(long, default_value_t = 1_000_000)]
    asleep: u32,
    /// Threads
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Samples of each side
    #[arg(long, default_value_t = 41, value_parser = clap::value_parser!(u32).range(1..))]
    samples: u32,
    /// Frames in one sample
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    frames: u32,
}

fn main() {
    let args = Args::parse();
    let mut alone = world(&args, 0);
    let started = Instant::now();
    let mut crowded = world(&args, args.asleep);
    let load_s = started.elapsed().as_secs_f64();
    let (mut lonely_us, mut crowded_us) = (Vec::new(), Vec::new());
    for _ in 0..args.samples {
        lonely_us.push(frame_us(&mut alone, args.frames));
        crowded_us.push(frame_us(&mut crowded, args.frames));
    }
    let (alone, crowded) = (median(lonely_us), median(crowded_us));
    println!(
        "sleepers: microseconds for a frame, medians of {} samples in turns, {} threads",
        args.samples, args.threads
    );
    println!("{:>9} {:>9} {:>12} {:>8}", "awake", "asleep", "us/frame", "ratio");
    println!("{:>9} {:>9} {:>12.1} {:>8.2}", args.awake, 0, alone, 1.0);
    println!("{:>9} {:>9} {:>12.1} {:>8.2}", args.awake, args.asleep, crowded, crowded / alone);
    println!("the sleepers were loaded and initialised in {load_s:.1} s");
}

/// Returns the ring, whose agents are called because they have messages, with sleepers, after the frames in which all were
/// initialised.
fn world(args: &Args, asleep: u32) -> Simulation {
    let awake = args.awake;
    let mut text = format!(
        "frames = 1\n[modules]\nring.path = \"../samples/wasm/ring.wasm\"\nsleeper.path = \"../samples/wasm/sleeper.wasm\"\n\
         [[groups]]\nname = \"ring\"\nmodule = \"ring\"\nagents = {awake}\nschedule = {{ on = \"message\" }}\n\
         params = {{ agents = {awake}, tokens = {awake}, audit_every = 0 }}\n"
    );
    if asleep > 0 {
        let _ = write!(
            text,
            "[[groups]]\nname = \"sleepers\"\nmodule = \"sleeper\"\nagents = {asleep}\nschedule = {{ on = \"timer\" }}\n\
             params = {{ period = 1_000_000_000 }}\n"
        );
    }
    let path = wasm_engine_bench::scenarios().join("sleepers.toml");
    let scenario = parse(text, &path, &LoadOptions::default()).unwrap_or_else(|problems| panic!("{problems:#}"));
    let options = SimulationOptions { threads: Some(args.threads), ..SimulationOptions::default() };
    let mut simulation = Simulation::new(&scenario, &options)
        .unwrap_or_else(|error| panic!("{:#}", error.of_run(&scenario, &scenario.path)));
    // Ordinal o wakes first in frame 1 + o: the first frames have somebody awake besides the ring.
    for _ in 0..3 {
        simulation.frame(FrameInputs::default());
    }
    simulation
}

/// Returns the microseconds of one of `frames` frames.
fn frame_us(simulation: &mut Simulation, frames: u32) -> f64 {
    let pool = simulation.pool();
    let started = Instant::now();
    pool.install(|| {
        for _ in 0..frames {
            let record = simulation.frame(FrameInputs::default());
            assert!(record.counts.faults == 0, "nobody faults");
        }
    });
    started.elapsed().as_secs_f64() * 1e6 / f64::from(frames)
}
