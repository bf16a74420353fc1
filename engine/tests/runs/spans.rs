//! Spans: a run has frames, which have stages, which have systems; and who listens changes nothing.

use std::convert::Infallible;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use bevy_app::App;
use bevy_ecs::schedule::IntoScheduleConfigs as _;
use tracing::field::Field;
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Subscriber, dispatcher};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::{LookupSpan, Registry};
use wasm_engine::events;
use wasm_engine::frame_loop::{self, FrameSink, FrameSource};
use wasm_engine::run_dir::{Access, Inference, OpenRun, OutputDir, Recording, RunDir, RunOptions};
use wasm_engine::scenario::{LoadOptions, Scenario, load};
use wasm_engine::simulation::{Simulation, SimulationOptions};
use wasm_engine::summary::{Collector, RunFacts};
use wasm_engine::time_travel::{ReplayOptions, RunReplayer, replay};
use wasm_engine_components::{Digest, DigestScope, FrameInputs, FrameRecord};
use wasm_engine_systems::{AuthorSystems, Frame, FrameStage};

use crate::common;

const FRAMES: u64 = 3;

/// What was heard: the way to each span and event, and each end of a span, in order.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

/// A span's name and its field.
struct Shown(String);

impl Heard {
    fn lines(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    fn add(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }
}

fn fields(record: impl FnOnce(&mut dyn tracing::field::Visit)) -> String {
    let mut text = String::new();
    let mut visit = |_: &Field, value: &dyn Debug| text += &format!(" {value:?}").replace('"', "");
    record(&mut visit);
    text
}

impl<S: Subscriber + for<'s> LookupSpan<'s>> Layer<S> for Heard {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        let name = format!("{}{}", span.name(), fields(|visit| attributes.record(visit)));
        span.extensions_mut().insert(Shown(name));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        self.add(format!("{}:{}", context.span(id).unwrap().name(), fields(|visit| values.record(visit))));
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        let spans = context.span(id).unwrap().scope().from_root();
        let way: Vec<String> = spans.map(|span| span.extensions().get::<Shown>().unwrap().0.clone()).collect();
        self.add(way.join(" > "));
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        self.add(format!("end of {}", span.extensions().get::<Shown>().unwrap().0));
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let spans = context.event_scope(event).into_iter().flat_map(|scope| scope.from_root());
        let mut way: Vec<String> = spans.map(|span| span.extensions().get::<Shown>().unwrap().0.clone()).collect();
        way.push(fields(|visit| event.record(visit)).trim().to_owned());
        self.add(way.join(" > "));
    }
}

fn listener(level: LevelFilter) -> (Dispatch, Heard) {
    let heard = Heard::default();
    (Dispatch::new(Registry::default().with(level).with(heard.clone())), heard)
}

/// Frames without inputs.
struct Frames;

impl FrameSource for Frames {
    type Error = Infallible;

    fn next_frame(&mut self, frame: u64) -> Result<Option<FrameInputs>, Infallible> {
        Ok((frame < FRAMES).then(FrameInputs::default))
    }
}

#[derive(Default)]
struct Digests(Vec<Digest>);

impl FrameSink for Digests {
    type Error = Infallible;

    fn append(&mut self, record: FrameRecord, _: &mut Simulation) -> Result<(), Infallible> {
        self.0.push(record.digest);
        Ok(())
    }
}

/// An author's system.
fn look_around() {
    tracing::info!("an author looks around");
}

fn author(app: &mut App) {
    app.add_systems(Frame, look_around.in_set(AuthorSystems::Simulate));
}

fn simulation(threads: usize) -> Simulation {
    let scenario = load(&common::root().join(common::RING), &LoadOptions::default()).unwrap();
    let options = SimulationOptions { threads: Some(threads), ..SimulationOptions::default() };
    Simulation::with_plugins(&scenario, &options, author).unwrap()
}

/// The digests of a run, and what a listener heard of it.
fn run(threads: usize, level: LevelFilter) -> (Vec<Digest>, Vec<String>) {
    let mut simulation = simulation(threads);
    let (listener, heard) = listener(level);
    let mut digests = Digests::default();
    let pool = simulation.pool();
    let run = || frame_loop::run(&mut simulation, &mut Frames, &mut digests);
    let Ok(()) = pool.install(|| dispatcher::with_default(&listener, run));
    (digests.0, heard.lines())
}

#[test]
fn a_run_has_frames_that_have_stages_that_have_systems() {
    for threads in [1, 2] {
        let (_, heard) = run(threads, LevelFilter::TRACE);
        let heard: Vec<String> = heard.into_iter().filter(|line| !line.starts_with("run: ")).collect();
        assert_eq!(heard[0], "run 0", "{heard:#?}");
        assert_eq!(heard.last().unwrap(), "end of run 0");
        let mut at = 1;
        for frame in 0..FRAMES {
            let of_frame = format!("run 0 > frame {frame}");
            assert_eq!(heard[at], of_frame, "{threads}: {at}: {heard:#?}");
            at += 1;
            let mut systems = 0;
            for stage in FrameStage::ALL.map(FrameStage::name) {
                let of_stage = format!("{of_frame} > stage {stage}");
                assert_eq!(heard[at], of_stage, "{threads}: {at}: {heard:#?}");
                at += 1;
                while heard[at] != format!("end of stage {stage}") {
                    if heard[at] == format!("{of_stage} > an author looks around") {
                        assert_eq!(stage, "commit");
                        at += 1;
                        continue;
                    }
                    let system = heard[at].strip_prefix(&format!("{of_stage} > system ")).unwrap_or_else(|| {
                        panic!("{threads}: {at}: {heard:#?}");
                    });
                    assert!(system.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{system}");
                    assert_eq!(heard[at + 1], format!("end of system {system}"));
                    (at, systems) = (at + 2, systems + 1);
                }
                at += 1;
            }
            assert_eq!(heard[at], format!("end of frame {frame}"));
            at += 1;
            assert_eq!(systems, 29, "each system of `add_stages`");
        }
        let authors = heard.iter().filter(|line| line.ends_with("stage commit > an author looks around")).count();
        assert_eq!(authors as u64, FRAMES);
    }
}

#[test]
fn who_listens_changes_no_digest() {
    let (digests, heard) = run(1, LevelFilter::OFF);
    assert!(digests.len() as u64 == FRAMES && heard.is_empty());
    for threads in [1, 2] {
        for level in [LevelFilter::WARN, LevelFilter::INFO, LevelFilter::DEBUG, LevelFilter::TRACE] {
            let (same, heard) = run(threads, level);
            assert_eq!(same, digests, "{level} on {threads}");
            // What isn't asked for isn't made.
            let has = |name: &str| heard.iter().any(|line| line.contains(name));
            assert_eq!(has("run 0"), level >= LevelFilter::INFO, "{level}");
            assert_eq!(has("> frame 1"), level >= LevelFilter::DEBUG, "{level}");
            assert_eq!(has("> stage"), level >= LevelFilter::TRACE, "{level}");
        }
    }
}

/// What comes after two frames can't be had.
struct Broken;

impl FrameSource for Broken {
    type Error = &'static str;

    fn next_frame(&mut self, frame: u64) -> Result<Option<FrameInputs>, &'static str> {
        if frame < 2 { Ok(Some(FrameInputs::default())) } else { Err("broken") }
    }
}

impl FrameSink for Broken {
    type Error = &'static str;

    fn append(&mut self, _: FrameRecord, _: &mut Simulation) -> Result<(), &'static str> {
        Ok(())
    }
}

/// No frame has room.
struct Full {
    has_kept_last: bool,
}

impl FrameSink for Full {
    type Error = &'static str;

    fn append(&mut self, _: FrameRecord, _: &mut Simulation) -> Result<(), &'static str> {
        Err("full")
    }

    fn has_kept_last(&self) -> bool {
        self.has_kept_last
    }
}

#[test]
fn a_run_says_at_its_end_how_far_it_came_and_whether_it_failed() {
    let (listener, heard) = listener(LevelFilter::INFO);
    let mut simulation = simulation(1);
    let failed = dispatcher::with_default(&listener, || frame_loop::run(&mut simulation, &mut Broken, &mut Broken));
    assert_eq!(failed, Err("broken"));
    assert!(heard.lines().ends_with(&["run: 2", "run: true", "end of run 0"].map(str::to_owned)));
    let mut digests = Digests::default();
    let Ok(()) = dispatcher::with_default(&listener, || frame_loop::run(&mut simulation, &mut Frames, &mut digests));
    assert!(heard.lines().ends_with(&["run: 3", "run: false", "end of run 2"].map(str::to_owned)));
    // A frame that the sink doesn't keep is still to come, unless it says that it has kept it.
    for (has_kept_last, next) in [(false, "run: 0"), (true, "run: 1")] {
        let (mut simulation, mut sink) = (self::simulation(1), Full { has_kept_last });
        let failed = dispatcher::with_default(&listener, || frame_loop::run(&mut simulation, &mut Broken, &mut sink));
        assert_eq!(failed, Err("full"));
        assert!(heard.lines().ends_with(&[next, "run: true", "end of run 0"].map(str::to_owned)), "{next}");
    }
}

/// A program with a listener of one thread. The frames run on the simulation's threads, and the run is written by others.
#[test]
fn a_recording_and_its_replay_tell_the_listener_of_the_thread_that_asked_for_them() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let (listener, heard) = listener(LevelFilter::DEBUG);
    let has = |lines: &[String], what: &str| lines.iter().any(|line| line.contains(what));
    dispatcher::with_default(&listener, || {
        let scenario = load(&common::root().join(common::RING), &LoadOptions::default()).unwrap();
        let mut simulation = simulation(2);
        let run_options =
            RunOptions { record: true, snapshot_every: Some(2), ..RunOptions::new(&simulation, DigestScope::Frame) };
        let run_dir = RunDir::create(&OutputDir::new(Some(&out), "ring"), &scenario, &run_options).unwrap();
        let mut recording = Recording::new(run_dir, &simulation, Some(Some(2)), Collector::of(&scenario));
        let mut source = events::open(&Scenario { frames: 5, ..scenario.clone() }, Arc::default()).unwrap();
        frame_loop::run(&mut simulation, &mut source, &mut recording).unwrap();
        let summary = recording.collector().summary(&scenario, &RunFacts::default());
        recording.finish(&mut simulation, &summary).unwrap();
    });
    let lines = heard.lines();
    for what in ["frame 4", "the tables are closed", "a segment of the journal is sealed", "a snapshot is written"] {
        assert!(has(&lines, what), "{what}: {lines:#?}");
    }

    dispatcher::with_default(&listener, || {
        let mine = tracing::info_span!("mine").entered();
        let run = OpenRun::open(&out, Access::Read).unwrap();
        let options = SimulationOptions { threads: Some(2), ..SimulationOptions::default() };
        let replayer = RunReplayer { run: &run, options, inference: Inference::Recorded, author: &author };
        let replayed = replay(&replayer, ReplayOptions::default(), &mut |_| {}).unwrap();
        assert!(replayed.divergence.is_none() && replayed.checked == 5);
        drop(mine);
    });
    let lines = heard.lines();
    for what in ["mine > run 0 > frame 4", "mine > run 0 > frame 4 > an author looks around"] {
        assert!(has(&lines, what), "{what}: {lines:#?}");
    }
}

/// A program that steps frames itself, with a listener of one thread.
#[test]
fn a_library_tells_the_listener_of_the_thread_that_calls_it() {
    let (listener, heard) = listener(LevelFilter::DEBUG);
    dispatcher::with_default(&listener, || {
        let mine = tracing::info_span!("mine").entered();
        let mut simulation = simulation(2);
        heard.lines();
        simulation.frame(FrameInputs::default());
        drop(mine);
    });
    let lines = heard.lines();
    let expected = ["mine > frame 0", "mine > frame 0 > an author looks around", "end of frame 0"];
    let of_frame: Vec<_> = lines.iter().filter(|line| line.contains("frame")).collect();
    assert_eq!(of_frame, expected, "{lines:#?}");
}
