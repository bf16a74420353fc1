//! Measures snapshots of the guests and their restoration, beside a memcpy of as many bytes: one process, medians. The guests are the ring,
//! in which every agent is called in every frame.

#![forbid(unsafe_code)]

use std::any::Any;
use std::collections::BTreeMap;
use std::time::Instant;

use clap::Parser;
use rayon::prelude::*;
use wasm_engine::simulation::Simulation;
use wasm_engine::snapshot::{self, Snapshot};
use wasm_engine::state::State;
use wasm_engine::wasm::{GuestCapture, GuestCopy, PAGE_BYTES, PageTracker, WasmRuntime};
use wasm_engine_bench::engine;
use wasm_engine_components::causes::with_causes;
use wasm_engine_components::{AgentId, Digest};
use wasm_engine_systems::ports::AgentPort;
use wasm_engine_systems::state::save_state;

/// Measures captures and restores of the ring's agents
#[derive(Parser)]
struct Args {
    /// Agents
    #[arg(long, default_value_t = 100_000)]
    agents: u32,
    /// Numbers of threads
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2])]
    threads: Vec<usize>,
    /// Samples of each
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..))]
    samples: u32,
    /// Where snapshot files are written, and removed afterwards
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    folder: std::path::PathBuf,
}

fn main() {
    let args = Args::parse();
    for &threads in &args.threads {
        println!("ring: {} agents, {threads} threads, medians of {} samples", args.agents, args.samples);
        println!("{:<40} {:>10} {:>10} {:>8} {:>10}", "", "MB", "ms", "GB/s", "ns/agent");
        measure(&args, threads);
        println!();
    }
}

/// One row: a name, and samples of bytes and seconds.
struct Row(&'static str, Vec<(usize, f64)>);

impl Row {
    fn new(name: &'static str) -> Self {
        Self(name, Vec::new())
    }

    /// Takes a sample. The work returns how many bytes of pages it handled.
    fn sample<T>(&mut self, work: impl FnOnce() -> (usize, T)) -> T {
        let started = Instant::now();
        let (bytes, value) = work();
        self.1.push((bytes, started.elapsed().as_secs_f64()));
        value
    }

    fn print(mut self, agents: u32) {
        self.1.sort_by(|a, b| a.1.total_cmp(&b.1));
        let (bytes, seconds) = self.1[self.1.len() / 2];
        let bytes = bytes as f64;
        let each = seconds * 1e9 / f64::from(agents);
        println!(
            "{:<40} {:>10.1} {:>10.2} {:>8.2} {each:>10.0}",
            self.0,
            bytes / 1e6,
            seconds * 1e3,
            bytes / seconds / 1e9
        );
    }
}

fn measure(args: &Args, threads: usize) {
    let agents = args.agents;
    let mut simulation = engine::ring(agents, threads);
    let pool = simulation.pool();
    let before = resident_mb();
    let mut first = Row::new("the first copy");
    let copy = first.sample(|| sized(simulation.copy(true)));
    let bytes = copy.guests.page_count() * PAGE_BYTES;
    let with_copy = resident_mb();
    first.print(agents);
    copies(args, &mut simulation, &pool, bytes);
    let capture = pool.install(|| runtime(&mut simulation).capture());
    drop(copy);
    restores(args, &mut simulation, threads, &capture);
    prepared(args, threads);
    files(args, &mut simulation, capture);
    println!("resident: {before} MB before, {with_copy} MB with the first copy, {} MB at the end", resident_mb());
}

/// Measures in turns the copy for which the run stops, the work on one thread afterwards, and a memcpy of as many bytes.
fn copies(args: &Args, simulation: &mut Simulation, pool: &rayon::ThreadPool, bytes: usize) {
    const PART: usize = 1 << 20;
    let from = vec![7_u8; bytes];
    let mut to = vec![1_u8; bytes];
    let mut warm = Row::new("memcpy");
    let mut fresh = Row::new("memcpy to memory that is new");
    let mut full = Row::new("the run stops: all is copied");
    let mut stepped = Row::new("the run stops: all agents were called");
    let mut idle = Row::new("the run stops: nobody was called");
    let mut full_later = Row::new("afterwards, aside: a full capture");
    let mut later = Row::new("afterwards, aside: an incremental one");
    let mut tracker = PageTracker::default();
    for _ in 0..args.samples {
        let copy =
            || to.par_chunks_mut(PART).zip(from.par_chunks(PART)).for_each(|(to, from)| to.copy_from_slice(from));
        warm.sample(|| (bytes, pool.install(copy)));
        // Blocks so large that the allocator asks the system for them.
        let part = bytes.div_ceil(pool.current_num_threads()).max(1);
        let copy = || from.par_chunks(part).map(<[u8]>::to_vec).collect::<Vec<_>>();
        drop(fresh.sample(|| (bytes, pool.install(copy))));
        let copy = full.sample(|| sized(simulation.copy(true)));
        let spare = copy.guests.spare();
        spare.take_back(full_later.sample(|| captured(copy, &mut tracker)).guests);
        engine::frame(simulation, args.agents);
        let copy = stepped.sample(|| sized(simulation.copy(false)));
        spare.take_back(later.sample(|| captured(copy, &mut tracker)).guests);
        let copy = idle.sample(|| sized(simulation.copy(false)));
        captured(copy, &mut tracker);
    }
    [warm, fresh, full, stepped, idle, full_later, later].into_iter().for_each(|row| row.print(args.agents));
}

/// Does what a snapshot's thread does before it writes. Returns the bytes that it handled.
fn captured(copy: State<GuestCopy>, tracker: &mut PageTracker) -> (usize, State<GuestCapture>) {
    let bytes = copy.guests.page_count() * PAGE_BYTES;
    (bytes, copy.save(tracker).unwrap_or_else(|error| panic!("{}", with_causes(&error))))
}

/// Makes the first copy of another simulation, for which memory was allocated before, as a recording does half way to its first snapshot.
fn prepared(args: &Args, threads: usize) {
    let mut simulation = engine::ring(args.agents, threads);
    let mut row = Row::new("the first copy, its memory prepared");
    simulation.prepare_copy().run();
    row.sample(|| sized(simulation.copy(true)));
    row.print(args.agents);
}

fn restores(args: &Args, simulation: &mut Simulation, threads: usize, capture: &GuestCapture) {
    let chain = std::slice::from_ref(capture);
    let group = engine::scenario(args.agents).groups[0].id;
    let ids: Vec<AgentId> = (0..args.agents).map(|ordinal| AgentId::new(group, ordinal)).collect();
    let bytes = capture.page_count() * PAGE_BYTES;
    let restore = |simulation: &mut Simulation| {
        let pool = simulation.pool();
        let restored = pool.install(|| runtime(simulation).restore(&ids, &BTreeMap::new(), chain));
        (bytes, restored.unwrap_or_else(|error| panic!("{}", with_causes(&error))))
    };
    let mut used = Row::new("a restore");
    for _ in 0..args.samples {
        used.sample(|| restore(simulation));
    }
    used.print(args.agents);
    let mut fresh = Row::new("a restore into new instances (1 sample)");
    // Of the engine before its first frame.
    let mut other = wasm_engine_bench::simulation(&engine::scenario(args.agents), threads);
    fresh.sample(|| restore(&mut other));
    fresh.print(args.agents);
}

fn files(args: &Args, simulation: &mut Simulation, guests: GuestCapture) {
    let mut saved = Row::new("the world is saved");
    let world = saved.sample(|| {
        let world = save_state(simulation.world_mut());
        (world.bytes(), world)
    });
    saved.print(args.agents);
    let bytes = guests.page_count() * PAGE_BYTES;
    let state = State { frame: 0, digest: Digest(0), world, guests };
    let snapshot = Snapshot { state, base: None, extras: Vec::new() };
    let folder = args.folder.join(format!("wasm-engine-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let (mut write, mut read) = (Row::new("a file is written (one thread)"), Row::new("a file is read (one thread)"));
    for _ in 0..args.samples.min(3) {
        write.sample(|| (bytes, snapshot::write(&folder, &snapshot).unwrap_or_else(|error| panic!("{error:#}"))));
        read.sample(|| (bytes, snapshot::read(&folder, 0).unwrap_or_else(|problem| panic!("{problem:#}"))));
    }
    let length = std::fs::metadata(snapshot::path(&folder, 0)).map_or(0, |file| file.len());
    let _ = std::fs::remove_dir_all(&folder);
    [write, read].into_iter().for_each(|row| row.print(args.agents));
    println!(
        "the file has {:.1} MB: {:.0} bytes an agent",
        length as f64 / 1e6,
        length as f64 / f64::from(args.agents)
    );
}

/// Returns the bytes of its pages.
fn sized(copy: State<GuestCopy>) -> (usize, State<GuestCopy>) {
    (copy.guests.page_count() * PAGE_BYTES, copy)
}

fn runtime(simulation: &mut Simulation) -> &mut WasmRuntime {
    let port = simulation.world_mut().resource_mut::<AgentPort>().into_inner();
    let runtime: &mut dyn Any = &mut *port.0;
    runtime.downcast_mut().expect("the simulation steps its agents in wasmtime")
}

/// Returns the resident memory of this process in MB; 0 if the system doesn't say.
fn resident_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}
