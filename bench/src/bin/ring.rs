//! Measures the engine's frame beside a bare wasmtime loop, on the ring: one process, samples in turns, medians.

#![forbid(unsafe_code)]

use std::time::Instant;

use clap::Parser;
use wasm_engine_bench::{bare, engine, median};
use wasm_engine_components::limits::THREAD_STACK_BYTES;

/// Compares the engine's frame with a bare wasmtime loop over the same agents
#[derive(Parser)]
struct Args {
    /// Numbers of agents
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 100_000])]
    agents: Vec<u32>,
    /// Numbers of threads
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2])]
    threads: Vec<usize>,
    /// Samples of each side
    #[arg(long, default_value_t = 21, value_parser = clap::value_parser!(u32).range(1..))]
    samples: u32,
    /// Agents' steps in one sample, at least one frame
    #[arg(long, default_value_t = 1_000_000)]
    steps: u32,
}

fn main() {
    let args = Args::parse();
    println!("ring: nanoseconds for an agent's step, medians of {} samples in turns", args.samples);
    println!("{:>9} {:>8} {:>12} {:>12} {:>8}", "agents", "threads", "bare loop", "engine", "ratio");
    for &agents in &args.agents {
        for &threads in &args.threads {
            let (floor, frame) = measure(agents, threads, &args);
            println!("{agents:>9} {threads:>8} {floor:>12.1} {frame:>12.1} {:>8.2}", frame / floor);
        }
    }
}

/// Returns the nanoseconds of a step in the bare loop and in the engine's frame.
fn measure(agents: u32, threads: usize, args: &Args) -> (f64, f64) {
    let frames = (args.steps / agents).max(1);
    let mut simulation = engine::ring(agents, threads);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).stack_size(THREAD_STACK_BYTES).build();
    let floor_pool = pool.expect("threads for the bare loop");
    let mut ring = floor_pool.install(|| bare::Ring::new(agents));
    let engine_pool = simulation.pool();
    let steps = f64::from(frames) * f64::from(agents);
    let (mut floors, mut engines) = (Vec::new(), Vec::new());
    for _ in 0..args.samples {
        floors.push(floor_pool.install(|| time(|| (0..frames).for_each(|_| ring.frame()))) / steps);
        let run = || time(|| (0..frames).for_each(|_| engine::frame(&mut simulation, agents)));
        engines.push(engine_pool.install(run) / steps);
    }
    assert_eq!(ring.sum(), u64::from(agents) * (ring.frames() - 1), "the bare ring passes its tokens on");
    (median(floors), median(engines))
}

fn time(work: impl FnOnce()) -> f64 {
    let started = Instant::now();
    work();
    started.elapsed().as_secs_f64() * 1e9
}
