//! Makes a scenario from a seed: its text, and that of its events.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::cast::{Cast, Role};
use super::events::events;
use super::groups::{PlannedGroup, group};
use super::plan::{Plan, PlannedSwap};
use super::random::Random;

/// The random stream of scenarios.
const SCENARIO: u32 = 1;
/// The random stream of events.
const EVENTS: u32 = 2;

/// A scenario that was made from a seed. Paths in it are relative to its folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generated {
    /// The scenario's text.
    pub scenario: String,
    /// The text of its events.
    pub events: String,
    /// Number of frames.
    pub frames: u64,
    /// Modules that it names, without folder and extension.
    modules: Vec<&'static str>,
    with_models: bool,
}

/// Makes the scenario of a seed: the same one every time.
pub fn generate(seed: u64, with_models: bool) -> Generated {
    let random = &mut Random::new(seed, SCENARIO);
    let plan = Plan {
        frames: random.of(200..=2_000),
        rounds: random.of(100..=4_000),
        desks: random.of(1..=4),
        readers_per_desk: random.of(1..=3),
        tenant: random.one_in(2),
        with_models,
    };
    let cast = Cast::new(random, with_models);
    let groups = groups(random, &plan, &cast);
    let swaps = swaps(random, &plan, &cast);
    let modules = cast.modules();
    let mut text = head(random, seed, &plan);
    text.push_str(&resources(random, &plan, &cast));
    for group in &groups {
        let _ = write!(text, "\n[[groups]]\n{}", group.text);
    }
    for swap in &swaps {
        text.push_str("\n[[swaps]]\n");
        if let Some(frame) = swap.frame {
            let _ = writeln!(text, "frame = {frame}");
        }
        for (key, value) in &swap.keys {
            let _ = writeln!(text, "{key} = \"{value}\"");
        }
    }
    let events = events(&mut Random::new(seed, EVENTS), &plan, &groups, &swaps);
    Generated { scenario: text, events, frames: plan.frames, modules, with_models }
}

/// Returns the groups, in the order of the cast.
fn groups(random: &mut Random, plan: &Plan, cast: &Cast) -> Vec<PlannedGroup> {
    // An order besides the scenario's own: who comes after whom in a frame.
    let mut order = cast.roles.clone();
    random.shuffle(&mut order);
    let before = |role: Role| order.iter().position(|own| *own == role).map_or(&[][..], |at| &order[..at]);
    cast.roles.iter().map(|role| group(random, plan, cast, *role, before(*role))).collect()
}

fn head(random: &mut Random, seed: u64, plan: &Plan) -> String {
    let mut text = format!("# Made by the soak from the seed {seed}.\n\nname = \"soak-{seed}\"\n");
    // TOML's whole numbers are signed.
    let _ = writeln!(text, "seed = {}\nframes = {}\ninput = \"events.jsonl\"", random.number() >> 1, plan.frames);
    let desks: String = (0..plan.desks).map(|desk| format!(", \"desk-{desk}\"")).collect();
    let _ = writeln!(text, "topics = [\"ticks\"{desks}]");
    if random.one_in(2) {
        text.push_str("\n[scheduler]\n");
        let mode = *random.pick(&["priority", "round_robin"]);
        let _ = writeln!(text, "mode = \"{mode}\"");
        if random.one_in(2) {
            let _ = writeln!(text, "steps_per_frame_max = {}", random.of(20..=400));
        }
        if random.one_in(2) {
            let _ = writeln!(text, "fuel_per_frame_max = {}", random.of(100_000..=5_000_000));
        }
        if mode == "priority" && random.one_in(2) {
            let _ = writeln!(text, "ageing_frames = {}", random.of(1..=16));
        }
    }
    text
}

/// Writes modules, models, tenants and regions. Each module is there twice; the second one stands for its next version.
fn resources(random: &mut Random, plan: &Plan, cast: &Cast) -> String {
    let mut text = String::new();
    for module in cast.modules() {
        for name in [module.to_owned(), next(module)] {
            let _ = write!(text, "\n[modules.{name}]\npath = \"modules/{module}.wasm\"\n");
        }
    }
    if plan.with_models {
        for name in ["digits", "digits-next"] {
            let (rows, latency) = (random.of(1..=64), random.of(1..=6));
            let path = "modules/digits.onnx";
            let _ = write!(
                text,
                "\n[models.{name}]\npath = \"{path}\"\nbatch_rows_max = {rows}\nlatency_frames = {latency}\n"
            );
        }
    }
    if plan.tenant {
        let (fuel, messages) = (random.of(50_000..=1_000_000), random.of(0..=100));
        let _ = write!(
            text,
            "\n[tenants.vandals]\nfuel_per_frame_max = {fuel}\nmessages_per_frame_max = {messages}\nagents_max = 24\n"
        );
    }
    if cast.has(Role::Heralds) {
        text.push_str("\n[regions.board]\nbytes = 24\nwriter = \"heralds\"\nreaders = [\"watchers\"]\n");
        text.push_str("\n[regions.unread]\nbytes = 8192\nwriter = \"heralds\"\n");
    }
    text
}

/// Writes swaps of random groups to random modules, and of the model. Some are refused, which is a result like any other.
fn swaps(random: &mut Random, plan: &Plan, cast: &Cast) -> Vec<PlannedSwap> {
    let modules = cast.modules();
    let mut swaps = Vec::<PlannedSwap>::new();
    for _ in 0..random.of(0..=6) {
        let keys = if plan.with_models && random.one_in(3) {
            let with = *random.pick(&["digits", "digits-next"]);
            [("model", "digits".to_owned()), ("with", with.to_owned())]
        } else {
            let role = *random.pick(&cast.roles);
            let module = match random.of(0..=3) {
                0 => (*random.pick(&modules)).to_owned(),
                1 => role.module().to_owned(),
                _ => next(role.module()),
            };
            [("group", role.name().to_owned()), ("module", module)]
        };
        let frame = (!random.one_in(3)).then(|| random.of(1..=plan.frames - 1));
        // A group is swapped once in a frame at most, and prepared once.
        if !swaps.iter().any(|other| other.frame == frame && other.keys[0] == keys[0]) {
            swaps.push(PlannedSwap { frame, keys });
        }
    }
    swaps
}

fn next(module: &str) -> String {
    format!("{module}-next")
}

impl Generated {
    /// Writes the scenario into a folder, with its events and all the files that it names. Returns its path.
    ///
    /// # Errors
    /// A file can't be read or written.
    pub fn write(&self, folder: &Path) -> io::Result<PathBuf> {
        let agents = crate::scenarios().join("..");
        fs::create_dir_all(folder.join("modules"))?;
        for module in &self.modules {
            let file = format!("{module}.wasm");
            fs::copy(agents.join("samples/wasm").join(&file), folder.join("modules").join(&file))?;
        }
        if self.with_models {
            fs::copy(agents.join("models/digits/digits-s8.onnx"), folder.join("modules/digits.onnx"))?;
        }
        fs::write(folder.join("events.jsonl"), &self.events)?;
        let path = folder.join("scenario.toml");
        fs::write(&path, &self.scenario)?;
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use wasm_engine::scenario::{LoadOptions, load};

    /// Seeds that are tried.
    const SEEDS: u64 = 200;

    #[test]
    fn every_seed_makes_a_scenario_that_can_be_run() {
        let folder = tempfile::tempdir().unwrap();
        for seed in 0..SEEDS {
            let path = generate(seed, seed % 2 == 0).write(folder.path()).unwrap();
            let scenario =
                load(&path, &LoadOptions::default()).unwrap_or_else(|error| panic!("seed {seed}: {error:#}"));
            let opened = wasm_engine::events::open(&scenario, Arc::new(AtomicBool::new(false)));
            assert!(opened.is_ok(), "seed {seed}: {}", opened.err().map(|e| format!("{e:#}")).unwrap_or_default());
        }
    }

    #[test]
    fn a_seed_makes_the_same_scenario_every_time() {
        for seed in 0..SEEDS {
            assert_eq!(generate(seed, true), generate(seed, true));
            assert_ne!(generate(seed, false).scenario, generate(seed + 1, false).scenario);
        }
    }

    /// Over some seeds, everything occurs that the soak has to try.
    #[test]
    fn seeds_make_all_that_there_is() {
        let all: String =
            (0..SEEDS).map(|seed| generate(seed, true)).map(|made| made.scenario + &made.events).collect();
        let words = [
            "escalate",
            "terminate",
            "pause",
            "restarts_max",
            "drop_oldest",
            "round_robin",
            "ageing_frames",
            "vandals",
            "after =",
            "accepts =",
            "supervisor =",
            "on = \"timer\"",
            "on = \"message\"",
            "phase =",
            "regions.board",
            "requests_max",
            "fuel_per_frame_max",
            "mailbox_messages_max",
            "with = \"digits-next\"",
            "sleeper-next",
            "\"spawn\"",
            "\"swap\"",
            "\"restart\"",
            "\"resume\"",
            "/*",
            "base64",
            "\"topic\"",
        ];
        for word in words {
            assert!(all.contains(word), "no seed has `{word}`");
        }
    }
}
