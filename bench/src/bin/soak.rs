//! Shows that nothing is lost when the power fails: runs of random scenarios that are killed at random moments and resumed give the same
//! result as undisturbed ones.

#![forbid(unsafe_code)]

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use wasm_engine_bench::soak::{Settings, Tally, Trial};

/// Kills runs of random scenarios, has them go on, and compares them with runs that weren't killed
#[derive(Parser)]
#[command(max_term_width = 120)]
struct Args {
    /// How many seeds to try
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    seeds: u64,
    /// The first one
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    first: u64,
    /// Try this seed alone
    #[arg(long, value_name = "SEED", conflicts_with_all = ["seeds", "first"])]
    seed: Option<u64>,
    /// Most kills of a run
    #[arg(long, value_name = "K", default_value_t = 12, value_parser = clap::value_parser!(u32).range(0..=1_000))]
    kills: u32,
    /// Numbers of threads, of which each start of the engine takes one
    #[arg(long, value_name = "T,..", value_delimiter = ',', default_values_t = [1, 2, 4], value_parser = clap::value_parser!(u32).range(1..=1_024))]
    threads: Vec<u32>,
    /// Which seeds have a model; `auto`: each fourth one, if ONNX Runtime is here
    #[arg(long, value_enum, default_value_t = Models::Auto)]
    models: Models,
    /// Keep the folders of all seeds, and not only of one that fails
    #[arg(long)]
    keep: bool,
    /// The engine [default: `wasm-engine` beside this program]
    #[arg(long, value_name = "PATH")]
    engine: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Models {
    Auto,
    All,
    None,
}

impl Models {
    /// Returns what `auto` means on this machine.
    fn resolved(self) -> Self {
        let is_here = || matches!(wasm_engine::inference::probe().loaded, Some(Ok(_)));
        if self == Self::Auto && !is_here() { Self::None } else { self }
    }

    const fn of(self, seed: u64) -> bool {
        match self {
            Self::Auto => seed.is_multiple_of(4),
            Self::All => true,
            Self::None => false,
        }
    }
}

fn main() -> ExitCode {
    match soak(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn soak(args: &Args) -> Result<(), String> {
    let settings = Settings { engine: engine(args)?, kills_max: args.kills, threads: args.threads.clone() };
    let models = args.models.resolved();
    if models != args.models {
        println!("there is no ONNX Runtime here: no seed has a model");
    }
    let (first, count) = args.seed.map_or((args.first, args.seeds), |seed| (seed, 1));
    let bar = bar(count);
    let started = Instant::now();
    let mut sum = Tally::default();
    for seed in first..first.saturating_add(count) {
        bar.set_message(format!("seed {seed}"));
        let folder = tempfile::Builder::new().prefix(&format!("soak-{seed}-")).tempdir();
        let mut folder = folder.map_err(|error| format!("there is no place for runs: {error}"))?;
        folder.disable_cleanup(args.keep);
        match Trial::run(&settings, seed, models.of(seed), folder.path()) {
            Ok(tally) => sum.add(&tally),
            Err(error) => {
                bar.finish_and_clear();
                folder.disable_cleanup(true);
                return Err(told(seed, models.of(seed), folder.path(), &error));
            }
        }
        if args.keep {
            bar.suspend(|| println!("seed {seed}: {}", folder.path().display()));
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    print_table(count, &sum, started.elapsed());
    Ok(())
}

/// Reports a failure, and what to do about it.
fn told(seed: u64, with_models: bool, folder: &Path, error: &str) -> String {
    let models = if with_models { "all" } else { "none" };
    format!(
        "seed {seed}: {}\n  help: what happened is in {}; this seed alone is run by\n  \
         cargo run --release -p wasm-engine-bench --bin soak -- --seed {seed} --models {models}",
        error.trim_end(),
        folder.join("story.txt").display()
    )
}

/// Returns the engine's binary.
fn engine(args: &Args) -> Result<PathBuf, String> {
    let name = format!("wasm-engine{}", std::env::consts::EXE_SUFFIX);
    let beside = || std::env::current_exe().map(|own| own.with_file_name(name));
    let path = args.engine.clone().map_or_else(beside, Ok).map_err(|error| format!("where am I? {error}"))?;
    match path.is_file() {
        true => Ok(path),
        false => Err(format!(
            "{} isn't there\n  help: build it with `cargo build --release`, or name it with --engine",
            path.display()
        )),
    }
}

/// Returns a progress bar, if standard error is a terminal.
fn bar(seeds: u64) -> ProgressBar {
    let target =
        if std::io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(seeds), target);
    if let Ok(style) = ProgressStyle::with_template("{msg} {pos}/{len} [{wide_bar}] ETA {eta}") {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}

fn print_table(seeds: u64, sum: &Tally, wall: Duration) {
    let rows = [
        ("seeds", seeds),
        ("  with a stream of events", sum.streams.into()),
        ("  branched", sum.branches.into()),
        ("frames", sum.frames),
        ("kills", sum.kills().into()),
        ("  before the first frame", sum.kills_before.into()),
        ("  while running", sum.kills_running.into()),
        ("  while resuming", sum.kills_resuming.into()),
        ("ended by SIGTERM", sum.terms.into()),
        ("harmed after a kill", sum.harmed.into()),
        ("resumed", sum.resumes.into()),
        ("  from a snapshot", sum.resumes_from_snapshot.into()),
    ];
    for (what, count) in rows {
        println!("{what:<26} {:>10}", wasm_engine::problem::thousands(count));
    }
    println!("{:<26} {:>10.1}", "seconds", wall.as_secs_f64());
    println!("all runs that were killed came to the same as those that weren't");
}
