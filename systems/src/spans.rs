//! The spans of a frame, for whoever listens: `frame`, its stages, and in each of them its systems. This is the one place that makes them:
//! [`run_frame`](crate::run_frame) is in the first, and the schedule's systems are put into the others as they are added.
//!
//! Nothing of a span is state, and nothing is measured here: who listens has the clock. As long as nobody listens at the level `trace`, a system costs
//! a look at one number more than it did.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bevy_ecs::resource::Resource;
use bevy_ecs::system::{Adapt, IntoAdapterSystem, IntoSystem, RunSystemError, System};
use bevy_ecs::world::World;
use tracing::level_filters::LevelFilter;
use tracing::span::EnteredSpan;
use tracing::{Span, debug_span, trace_span};

use crate::frame::{FrameClock, FrameStage};

/// Whether somebody listens to stages and systems.
fn is_traced() -> bool {
    LevelFilter::current() >= LevelFilter::TRACE
}

/// The stage that is running, and its span: it begins with the stage's first system, and ends with the first one of the next stage, or with the
/// frame. So the systems of authors are in it, too. Transient.
#[derive(Resource, Clone, Default)]
pub(crate) struct RunningStage(Arc<Mutex<Option<(FrameStage, StageSpan)>>>);

impl RunningStage {
    /// Returns what puts the systems of a stage into their spans.
    pub(crate) fn of(&self, stage: FrameStage) -> StageSystems {
        StageSystems { stage, running: self.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, Option<(FrameStage, StageSpan)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, stage: FrameStage) {
        let mut running = self.lock();
        if running.as_ref().is_none_or(|(running, _)| *running != stage) {
            // The one before ends first: the next one isn't in it.
            running.take();
            *running = Some((stage, StageSpan::enter(stage)));
        }
    }
}

/// The span of a stage, which is entered until it is dropped. A frame runs on one thread from its beginning to its end.
struct StageSpan(Span);

impl StageSpan {
    fn enter(stage: FrameStage) -> Self {
        let span = trace_span!("stage", name = stage.name());
        span.with_subscriber(|(id, listener)| listener.enter(id));
        Self(span)
    }
}

impl Drop for StageSpan {
    fn drop(&mut self) {
        self.0.with_subscriber(|(id, listener)| listener.exit(id));
    }
}

/// Puts systems of a stage into spans.
pub(crate) struct StageSystems {
    stage: FrameStage,
    running: RunningStage,
}

impl StageSystems {
    /// Returns the system in a span that has its name. What is said of the system's order holds of the one that is returned.
    pub(crate) fn system<M, S: IntoSystem<(), (), M>>(&self, system: S) -> IntoAdapterSystem<SystemSpan, S> {
        let path = std::any::type_name::<S>();
        let name = path.rsplit("::").next().unwrap_or(path);
        IntoAdapterSystem::new(SystemSpan { name, stage: self.stage, running: self.running.clone() }, system)
    }
}

/// The span around each run of a system.
pub(crate) struct SystemSpan {
    name: &'static str,
    stage: FrameStage,
    running: RunningStage,
}

impl<S: System<In = (), Out = ()>> Adapt<S> for SystemSpan {
    type In = ();
    type Out = ();

    #[inline]
    fn adapt(&mut self, (): (), run: impl FnOnce(()) -> Result<(), RunSystemError>) -> Result<(), RunSystemError> {
        if !is_traced() {
            return run(());
        }
        self.running.enter(self.stage);
        let _system = trace_span!("system", name = self.name).entered();
        run(())
    }
}

/// The span of a frame, until it is dropped.
pub(crate) struct FrameSpan {
    stages: Option<RunningStage>,
    _frame: EnteredSpan,
}

impl FrameSpan {
    /// Enters the span of the frame that is about to run.
    #[inline]
    pub(crate) fn enter(world: &World) -> Self {
        let frame = debug_span!("frame", number = world.resource::<FrameClock>().frame).entered();
        Self { stages: is_traced().then(|| world.resource::<RunningStage>().clone()), _frame: frame }
    }
}

impl Drop for FrameSpan {
    fn drop(&mut self) {
        // The last stage ends before the frame, also where a system panics.
        if let Some(stages) = &self.stages {
            stages.lock().take();
        }
    }
}
