//! Measures what forty modules of strangers cost two good groups: the frame alone and beside them, samples in turns, medians.

#![forbid(unsafe_code)]

use std::time::Instant;

use clap::Parser;
use wasm_engine::scenario::{LoadOptions, load};
use wasm_engine::simulation::Simulation;
use wasm_engine_bench::{median, scenarios, simulation};
use wasm_engine_components::FrameInputs;

#[path = "../../../engine/tests/strangers/modules.rs"]
mod modules;
#[path = "../../../engine/tests/strangers/scenario.rs"]
mod scenario;

use scenario::Sizes;

/// Compares frames of two good groups alone with frames in which forty strangers are beside them
#[derive(Parser)]
struct Args {
    /// Agents of the good group `ring`, each of which passes a token on in each frame
    #[arg(long, default_value_t = 20_000)]
    agents: u32,
    /// Numbers of threads
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2])]
    threads: Vec<usize>,
    /// Samples of each side
    #[arg(long, default_value_t = 41, value_parser = clap::value_parser!(u32).range(1..))]
    samples: u32,
    /// Fuel in a frame of the strangers' tenant
    #[arg(long, default_value_t = 2_000_000)]
    fuel: u64,
}

/// Limits of the strangers.
#[derive(Clone, Copy)]
enum Beside {
    Nobody,
    Tenant,
    Unbounded,
}

fn main() {
    let args = Args::parse();
    let faulty = modules::strangers().iter().filter(|stranger| stranger.faults).count();
    println!(
        "strangers: milliseconds for a frame, medians of {} samples in turns; {faulty} of the strangers fault in each step",
        args.samples
    );
    println!(
        "{:>7} {:>9} {:>11} {:>6} {:>14} {:>6}",
        "threads", "alone", "in a tenant", "ratio", "with defaults", "ratio"
    );
    for &threads in &args.threads {
        let sides = [Beside::Nobody, Beside::Tenant, Beside::Unbounded];
        let mut worlds = sides.map(|beside| world(&args, threads, beside));
        let mut times: [Vec<f64>; 3] = Default::default();
        for _ in 0..args.samples {
            for (world, times) in worlds.iter_mut().zip(&mut times) {
                times.push(frame(world));
            }
        }
        let [alone, tenant, unbounded] = times.map(median);
        let (with_tenant, without) = (tenant / alone, unbounded / alone);
        println!("{threads:>7} {alone:>9.2} {tenant:>11.2} {with_tenant:>6.2} {unbounded:>14.2} {without:>6.2}");
    }
}

fn frame(world: &mut Simulation) -> f64 {
    let pool = world.pool();
    let started = Instant::now();
    let _ = pool.install(|| world.frame(FrameInputs::default()));
    started.elapsed().as_secs_f64() * 1e3
}

/// Returns a world after its first frames.
fn world(args: &Args, threads: usize, beside: Beside) -> Simulation {
    let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("no temporary folder: {error}"));
    let tenant = matches!(beside, Beside::Tenant);
    let sizes = Sizes { frames: 1, ring: args.agents, audit_every: 0, tenant, fuel: args.fuel };
    let samples = scenarios().join("../samples/wasm");
    scenario::write(folder.path(), &samples, &modules::strangers(), &sizes);
    let set = vec![format!("strangers={}", !matches!(beside, Beside::Nobody))];
    let scenario = load(&folder.path().join("strangers.toml"), &LoadOptions { set, ..LoadOptions::default() })
        .unwrap_or_else(|problems| panic!("{problems:#}"));
    let mut world = simulation(&scenario, threads);
    for _ in 0..20 {
        frame(&mut world);
    }
    world
}
