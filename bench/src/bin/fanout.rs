//! Measures hostile frames beside honest ones: agents that broadcast and publish as much as they may, to everybody. Samples in
//! turns, medians.

#![forbid(unsafe_code)]

use std::time::Instant;

use clap::Parser;
use wasm_engine::simulation::Simulation;
use wasm_engine_bench::fanout::{Case, Target};
use wasm_engine_bench::median;
use wasm_engine_components::FrameCounts;

/// Compares frames in which agents send to everybody with honest ones
#[derive(Parser)]
struct Args {
    /// Honest agents
    #[arg(long, default_value_t = 100_000)]
    agents: u32,
    /// Numbers of threads
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2])]
    threads: Vec<usize>,
    /// Samples of each side
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..))]
    samples: u32,
    /// Frames before the first sample: mailboxes are as full as they get
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(3..))]
    warm_up: u32,
    /// Only the cases whose names hold this text
    #[arg(long, default_value = "")]
    only: String,
    /// One world after the other instead of in turns: it takes half the memory, and is more easily disturbed
    #[arg(long)]
    apart: bool,
}

const SMALL: &str = "limits.mailbox_messages_max = 2";
const CASES: &[Case] = &[
    Case { name: "256 broadcasts", ..ONE },
    Case { name: "256 broadcasts of 80 bytes", payload_bytes: 80, ..ONE },
    Case { name: "16,384 broadcasts", records: 16_384, ..ONE },
    Case { name: "256 publications", target: Target::Topic, ..ONE },
    Case { name: "256 broadcasts along an edge", victims: "after = [\"hostile\"]", ..ONE },
    Case { name: "to mailboxes that are full", victims: SMALL, ..ONE },
    Case { name: "to full ones that drop the oldest", victims: DROPPING, ..ONE },
    Case { name: "to agents that sleep", victims: TIMER, aside: true, ..ONE },
    Case { name: "to agents that it wakes", victims: "schedule = { on = \"message\" }", aside: true, ..ONE },
    Case { name: "to those with full mailboxes", victims: FULL, aside: true, ..ONE },
    Case { name: "100 agents, 256 broadcasts each", hostile: 100, ..ONE },
    Case { name: "40 groups, 256 broadcasts each", groups: 40, ..ONE },
    Case { name: "256 publications along 900 waves", target: Target::Topic, waves: 900, ..ONE },
    Case { name: "200 agents, along 900 waves", target: Target::Topic, waves: 900, hostile: 200, ..ONE },
    Case { name: "1,000 that join and leave", target: Target::Membership, hostile: 1_000, ..ONE },
    Case { name: "256 events to all", events: 256, ..Case::HONEST },
];
const ONE: Case = Case { hostile: 1, records: 256, ..Case::HONEST };
const DROPPING: &str = "overflow = \"drop_oldest\"\nlimits.mailbox_messages_max = 2";
const TIMER: &str = "schedule = { on = \"timer\" }";
const FULL: &str = "schedule = { on = \"timer\" }\nlimits.mailbox_messages_max = 8";

fn main() {
    let args = Args::parse();
    println!(
        "fanout: milliseconds for a frame of {} agents, medians of {} samples in turns",
        args.agents, args.samples
    );
    println!(
        "{:34} {:>7} {:>9} {:>9} {:>6} {:>11} {:>9}",
        "case", "threads", "honest", "hostile", "ratio", "delivered", "dropped"
    );
    for case in CASES.iter().filter(|case| case.name.contains(&args.only)) {
        for &threads in &args.threads {
            measure(case, threads, &args);
        }
    }
}

fn measure(case: &Case, threads: usize, args: &Args) {
    // What isn't the attack is the same on both sides.
    let honest = Case { hostile: 0, records: 0, events: 0, ..*case };
    let (honest, (hostile, counts)) = if args.apart {
        let honest = World::new(&honest, threads, args).samples(args.samples).0;
        (honest, World::new(case, threads, args).samples(args.samples))
    } else {
        let (mut honest, mut hostile) = (World::new(&honest, threads, args), World::new(case, threads, args));
        let (mut honest_ms, mut hostile_ms, mut counts) = (Vec::new(), Vec::new(), FrameCounts::default());
        for _ in 0..args.samples {
            honest_ms.push(honest.frame().0);
            let (time, seen) = hostile.frame();
            hostile_ms.push(time);
            counts = seen;
        }
        (median(honest_ms), (median(hostile_ms), counts))
    };
    println!(
        "{:34} {threads:>7} {honest:>9.2} {hostile:>9.2} {:>6.2} {:>11} {:>9}",
        case.name,
        hostile / honest,
        counts.delivered,
        counts.dropped
    );
}

struct World {
    case: Case,
    simulation: Simulation,
    _folder: tempfile::TempDir,
}

impl World {
    fn new(case: &Case, threads: usize, args: &Args) -> Self {
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("no temporary folder: {error}"));
        let scenario = case.scenario(folder.path(), args.agents);
        let simulation = wasm_engine_bench::simulation(&scenario, threads);
        let mut world = Self { case: *case, simulation, _folder: folder };
        for _ in 0..args.warm_up {
            let _ = world.frame();
        }
        world
    }

    /// Returns the median of `samples` frames in milliseconds, and the counts of the last one.
    fn samples(mut self, samples: u32) -> (f64, FrameCounts) {
        let frames: Vec<_> = (0..samples).map(|_| self.frame()).collect();
        let counts = frames.last().map_or_else(FrameCounts::default, |frame| frame.1);
        (median(frames.into_iter().map(|frame| frame.0).collect()), counts)
    }

    /// Returns the milliseconds of a frame, and its counts.
    fn frame(&mut self) -> (f64, FrameCounts) {
        let (inputs, pool) = (self.case.inputs(), self.simulation.pool());
        let started = Instant::now();
        let record = pool.install(|| self.simulation.frame(inputs));
        let time = started.elapsed().as_secs_f64() * 1e3;
        assert!(record.counts.faults == 0, "nobody faults");
        (time, record.counts)
    }
}
