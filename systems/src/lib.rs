//! The systems of a frame: all that happens in a simulated world. Its data is in the crate `wasm-engine-components`.
//!
//! A frame is the schedule [`Frame`]; its stages are [`FrameStage`]. [`SimulationPlugin`] puts it together. Systems reach
//! WebAssembly and models through the two [`ports`], and do no I/O. The systems are in `stages`, the tables that they work on in
//! `world`, what authors' systems use in `authors`, and all of it saved and loaded in [`state`].

#![forbid(unsafe_code)]
#![warn(unreachable_pub)]
#![deny(clippy::print_stderr, clippy::print_stdout)]

mod authors;
mod codec;
mod frame;
mod spans;
mod stages;
mod world;

pub mod ports;
pub mod state;
#[doc(hidden)]
pub mod testing;

#[cfg(test)]
mod costs;

// The tables of tests name this crate as other crates do.
#[cfg(test)]
extern crate self as wasm_engine_systems;

pub use authors::agents::Agents;
pub use authors::commands::AgentCommands;
pub use authors::mail::{MailError, MailReader, MailWriter};
pub use authors::regions::{RegionWriter, Regions};
pub use authors::register::RegisterState;
pub use frame::{AuthorSystems, Frame, FrameClock, FrameStage, RunSeed};
pub use world::inspect;
pub use world::populate::{GroupSeed, Population, populate};
pub use world::regions::BadRegionWrite;
pub use world::swaps::SwapCatalog;

use crate::authors::register::NativeDigests;
use bevy_app::{App, Plugin};
use bevy_ecs::schedule::{
    ApplyDeferred, IntoScheduleConfigs, LogLevel, Schedule, ScheduleBuildSettings, SingleThreadedExecutor,
};
use bevy_ecs::world::World;
use wasm_engine_components::{DigestScope, FrameInputs, FrameRecord};

/// The frame as a Bevy plugin. It adds the schedule [`Frame`] and its resources; the ports ([`ports::AgentPort`],
/// [`ports::ModelPort`]) and the population are the caller's.
#[derive(Clone, Copy, Debug, Default)]
pub struct SimulationPlugin;

impl Plugin for SimulationPlugin {
    fn build(&self, app: &mut App) {
        let mut schedule = Schedule::new(Frame);
        schedule.set_build_settings(ScheduleBuildSettings {
            // Two systems that touch the same data in no stated order would make the order of the frame a matter of luck.
            ambiguity_detection: LogLevel::Error,
            ..ScheduleBuildSettings::default()
        });
        // An empty schedule costs 0.1 us here, and 30 us and more on several threads: parallelism is behind the ports.
        schedule.set_executor(SingleThreadedExecutor::new());
        app.add_schedule(schedule);
        let running = spans::RunningStage::default();
        add_resources(app);
        add_stages(app, &running);
        app.insert_resource(running);
    }
}

fn add_resources(app: &mut App) {
    app.init_resource::<FrameClock>()
        .init_resource::<RunSeed>()
        .init_resource::<DigestScope>()
        .init_resource::<frame::Inputs>()
        .init_resource::<frame::FrameReport>()
        .init_resource::<frame::Sealed>()
        .init_resource::<world::directory::Directory>()
        .init_resource::<world::mailroom::Mailroom>()
        .init_resource::<world::mailroom::AgentOutputs>()
        .init_resource::<world::backlog::Backlogs>()
        .init_resource::<world::delivery_budget::DeliveryBudgets>()
        .init_resource::<world::recipients::Audiences>()
        .init_resource::<world::calls::Calls>()
        .init_resource::<world::scheduler::Scheduler>()
        .init_resource::<world::scheduler::Restarts>()
        .init_resource::<world::commands::PendingCommands>()
        .init_resource::<world::intentions::Joining>()
        .init_resource::<world::intentions::Intentions>()
        .init_resource::<world::intentions::NextJob>()
        .init_resource::<world::requests::Requests>()
        .init_resource::<world::budget::SendBudgets>()
        .init_resource::<world::table_budget::TableBudgets>()
        .init_resource::<world::models::ModelTable>()
        .init_resource::<world::swaps::SwapCatalog>()
        .init_resource::<world::swaps::CurrentModules>()
        .init_resource::<world::swaps::RequestedSwaps>()
        .init_resource::<world::regions::NativeWrites>()
        .init_resource::<world::digest::LaneSums>()
        .init_resource::<world::digest::DigestChain>()
        .init_resource::<stages::swap::SwapsInHand>()
        .init_resource::<state::StateRegistry>()
        .init_resource::<state::SeenArchetypes>();
}

/// Runs one frame: `(World, FrameInputs) -> FrameRecord`. It can't fail.
///
/// # Panics
/// If the world has no [`SimulationPlugin`] or no ports, or a port breaks its contract.
pub fn run_frame(world: &mut World, inputs: FrameInputs) -> FrameRecord {
    let _span = spans::FrameSpan::enter(world);
    world.resource_mut::<frame::Inputs>().0 = inputs;
    world.run_schedule(Frame);
    state::watch_components(world);
    world.clear_trackers();
    std::mem::take(&mut world.resource_mut::<frame::Sealed>().0)
}

/// The whole frame, top to bottom. Each system is in a span of its name, and in that of its stage.
fn add_stages(app: &mut App, running: &spans::RunningStage) {
    use FrameStage::{Collect, Commit, Deliver, Infer, Ingest, Schedule, Seal, Step};
    use stages::{collect, commit, deliver, digest, infer, ingest, notices, region, schedule, seal, step, swap};
    let [ingest, deliver, schedule, step, collect, infer, commit, seal] =
        FrameStage::ALL.map(|stage| running.of(stage));
    app.configure_sets(Frame, (Ingest, Deliver, Schedule, Step, Collect, Infer, Commit, Seal).chain())
        .configure_sets(Frame, AuthorSystems::Sense.in_set(Deliver).after(deliver::sort_messages))
        .configure_sets(Frame, AuthorSystems::Simulate.in_set(Commit).after(commit::commit_restarts))
        .configure_sets(
            Frame,
            NativeDigests.in_set(Seal).after(digest::clear_native_lane).before(digest::digest_agents),
        )
        .add_systems(
            Frame,
            (
                ingest.system(swap::take_swaps),
                ingest.system(ingest::take_inputs),
                ingest.system(stages::command::carry_out_commands),
                ingest.system(ingest::address_events),
                ApplyDeferred,
                ingest.system(ingest::expire_requests),
            )
                .chain()
                .in_set(Ingest),
        )
        .add_systems(
            Frame,
            (
                deliver.system(deliver::open_delivery_budgets),
                deliver.system(deliver::gather_messages),
                ApplyDeferred,
                deliver.system(notices::meter_notices),
                deliver.system(deliver::sort_messages),
            )
                .chain()
                .in_set(Deliver),
        )
        .add_systems(Frame, schedule.system(schedule::open_budgets).in_set(Schedule))
        .add_systems(Frame, step.system(step::step_agents).in_set(Step))
        .add_systems(Frame, collect.system(collect::collect_outputs).in_set(Collect))
        .add_systems(
            Frame,
            (infer.system(infer::spawn_jobs), ApplyDeferred, infer.system(infer::dispatch_jobs)).chain().in_set(Infer),
        )
        .add_systems(
            Frame,
            (
                commit.system(commit::commit_memberships),
                commit.system(commit::commit_calls),
                commit.system(swap::count_swap_faults),
                commit.system(commit::commit_faults),
                commit.system(swap::commit_swaps),
                commit.system(commit::commit_terminations),
                commit.system(commit::commit_restarts),
            )
                .chain()
                .in_set(Commit),
        )
        // After the authors' systems: what they write in a frame is seen in the next one, as what agents write is.
        .add_systems(
            Frame,
            commit
                .system(region::commit_regions)
                .in_set(Commit)
                .after(commit::commit_restarts)
                .after(AuthorSystems::Simulate),
        )
        .add_systems(
            Frame,
            (
                seal.system(digest::clear_native_lane),
                seal.system(digest::digest_agents),
                seal.system(digest::digest_topics),
                seal.system(digest::digest_mailboxes),
                seal.system(digest::digest_groups),
                // It looks at all of the world and writes only the sums, which nobody else does here.
                seal.system(state::sum_state).ambiguous_with_all(),
                seal.system(seal::seal_frame),
            )
                .chain()
                .in_set(Seal),
        );
}
