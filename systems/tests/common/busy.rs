//! A world in which something of every kind of state is under way between any two frames: agents that ask for everything, native
//! systems that do, too, and budgets that are too small for all of it.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use bevy_app::App;
use bevy_ecs::component::Component;
use bevy_ecs::entity::Entity;
use bevy_ecs::resource::Resource;
use bevy_ecs::schedule::IntoScheduleConfigs;
use bevy_ecs::system::{Commands, Query, Res, ResMut};
use serde::{Deserialize, Serialize};
use wasm_engine_abi::{CallKind, Op};
use wasm_engine_components::{
    AgentId, FaultKind, FaultPolicy, FrameInputs, FrameRecord, GroupId, GroupLimits, LifecycleAction, LoadedFile,
    ModelId, ModuleSwap, OverflowPolicy, RegionId, RegionOwner, RegionSpec, Schedule, SchedulerMode, SchedulerSettings,
    StableId, Swap, Tenant, TenantId, TopicId, TopicSpec, Trigger,
};
use wasm_engine_systems::ports::{AgentPort, ModelPort};
use wasm_engine_systems::{
    AgentCommands, Agents, AuthorSystems, Frame, FrameClock, GroupSeed, MailWriter, Population, RegionWriter,
    RegisterState, SimulationPlugin, SwapCatalog, populate, run_frame,
};

use super::table::{Call, Suspect, Table, group, model};

pub const MAP: RegionId = RegionId(71);
pub const SKY: RegionId = RegionId(72);
pub const NEWS: TopicId = TopicId(31);
pub const ORACLE: ModelId = ModelId(41);
pub const SIBYL: ModelId = ModelId(42);

/// An author's component. State.
#[derive(Component, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Height(pub u64);

/// Another one. State.
#[derive(Component, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Width(pub Vec<u16>);

/// A cache. Transient.
#[derive(Component, Clone, Debug, Default)]
pub struct Area;

/// An author's resource. State.
#[derive(Resource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weather(pub u32);

pub fn id(group: u32, ordinal: u32) -> AgentId {
    AgentId::new(GroupId(group), ordinal)
}

fn seed(id: u32, agents: u32, agents_max: u32, trigger: Trigger, change: impl FnOnce(&mut GroupSeed)) -> GroupSeed {
    let mut seed = group(id, agents);
    seed.group.agents_max = agents_max;
    // What a call costs, before one has shown it.
    seed.group.limits.fuel_per_step_max = 10;
    seed.group.schedule = Schedule { trigger, priority: id };
    seed.group.tenant = (id < 3).then_some(TenantId(0));
    change(&mut seed);
    seed
}

pub fn population() -> Population {
    let workers = seed(1, 3, 6, Trigger::default(), |seed| {
        seed.group.limits.fuel_per_frame_max = 15;
        seed.group.subscribe = vec![NEWS];
    });
    let answerers = seed(2, 2, 2, Trigger::Message, |seed| seed.group.after = vec![GroupId(1)]);
    let sleepers = seed(3, 2, 4, Trigger::Timer, |seed| {
        seed.group.overflow = OverflowPolicy::DropOldest;
        seed.group.limits.mailbox_messages_max = 3;
        seed.group.subscribe = vec![NEWS];
    });
    let faulty = seed(4, 2, 2, Trigger::default(), |seed| {
        seed.group.on_fault = FaultPolicy::Restart { restarts_max: 9, backoff_frames: 2 };
        seed.group.supervisor = Some(GroupId(1));
    });
    let mayflies = seed(5, 1, 3, Trigger::Every { period: 2, phase: 1 }, |_| {});
    let all = u64::MAX;
    let tenant = |name: &str, fuel_per_frame_max| Tenant {
        name: name.into(),
        agents_max: all,
        memory_bytes_max: all,
        fuel_per_frame_max,
        messages_per_frame_max: all,
        jobs_per_frame_max: all,
        deliveries_per_frame_max: GroupLimits::BY_AGENTS,
        log_bytes_per_frame_max: all,
        output_bytes_per_frame_max: all,
    };
    let region = |id: RegionId, writer| {
        let name = format!("region-{}", id.0);
        RegionSpec::new(name, 16, writer).with(|region| region.id = id)
    };
    let model = |id: ModelId, name: &str| {
        let mut model = model(name, (4, 2, 3));
        model.spec.id = id;
        model
    };
    Population {
        seed: 5,
        groups: vec![workers, answerers, sleepers, faulty, mayflies],
        topics: vec![TopicSpec::new("news").with(|topic| topic.id = NEWS)],
        models: vec![model(ORACLE, "oracle"), model(SIBYL, "sibyl")],
        scheduler: SchedulerSettings {
            mode: SchedulerMode::RoundRobin,
            fuel_per_frame_max: 55,
            ..SchedulerSettings::default()
        },
        tenants: vec![tenant("alba", 25), tenant("beta", all)],
        regions: vec![region(MAP, RegionOwner::Group(GroupId(1))), region(SKY, RegionOwner::Native)],
    }
}

/// What agents do: a function of the call alone.
fn step(call: Call<'_>) {
    let Call { agent, frame, call: kind, inbox, out, .. } = call;
    let mut push = |op, target, correlation, payload: &[u8]| {
        let kind = u32::from(op == Op::Send || op == Op::Publish || op == Op::Broadcast);
        out.push(op, target, kind, correlation, payload);
    };
    match (agent.group().0, kind) {
        (1, CallKind::Step) => {
            push(Op::Send, id(3, 0).0, frame, &[frame as u8; 5]);
            push(Op::Send, id(5, 2).0, frame, b"too late");
            push(Op::Publish, NEWS.0, frame, &[frame as u8; 100]);
            push(Op::Broadcast, 3, frame, &[agent.ordinal() as u8; 300]);
            push(Op::Send, id(2, (frame % 2) as u32).0, frame, b"wake up");
            push(Op::Infer, ORACLE.0, frame, &[frame as u8, 1, 2, 3]);
            push(Op::Infer, 99, frame, &[]);
            push(Op::WriteRegion, MAP.0, u64::from(agent.ordinal()), &[frame as u8]);
            push(Op::Pause, id(4, 1).0, frame, &[]);
            push(Op::Resume, agent.0, frame, &[]);
            out.request(id(3, 1), frame, 3);
            out.request(id(2, 0), 1_000 + frame, 9);
        }
        (2, CallKind::Step) => {
            for (header, _) in inbox {
                push(Op::Send, header.sender, header.frame, &[agent.ordinal() as u8; 70]);
            }
            push(Op::Leave, NEWS.0, 0, &[]);
            push(if frame.is_multiple_of(3) { Op::Join } else { Op::Leave }, NEWS.0, 0, &[]);
        }
        (3, _) => push(Op::Wake, frame + 4, 0, &[]),
        (4, _) if frame % 5 != u64::from(agent.ordinal()) => out.fault = Some(FaultKind::Unreachable),
        _ => {}
    }
}

fn simulate(
    clock: Res<FrameClock>,
    census: Agents,
    mut post: MailWriter,
    mut control: AgentCommands,
    mut writer: RegionWriter,
    mut weather: ResMut<Weather>,
    mut heights: Query<(Entity, &StableId, &mut Height)>,
    mut commands: Commands,
) {
    let frame = clock.frame;
    post.publish(NEWS, 1, &[frame as u8]).expect("there is such a topic");
    post.send(id(1, 0), 2, b"native").expect("it never ends");
    control.spawn(GroupId(5), 3, &[7; 9]).expect("there is such a group");
    for (agent, _) in
        census.agents(GroupId(5)).filter(|(agent, _)| (u64::from(agent.ordinal()) + frame).is_multiple_of(3))
    {
        control.apply(agent, LifecycleAction::Terminate).expect("it is there");
    }
    control.swap(Swap::Model { model: ORACLE, with: if frame.is_multiple_of(2) { SIBYL } else { ORACLE } });
    writer.write(SKY, (frame % 16) as u32, &[frame as u8]).expect("it is ours");
    weather.0 = weather.0.wrapping_mul(31).wrapping_add(frame as u32);
    for (entity, id, mut height) in &mut heights {
        height.0 += id.0 + u64::from(weather.0 % 7);
        if id.0 >= 100 && id.0 + 6 < 100 + frame {
            commands.entity(entity).despawn();
        }
    }
    commands.spawn((StableId(100 + frame), Height(frame), Width(vec![frame as u16; 3]), Area));
}

/// The world before its first frame. `before` may do anything to it before it is populated.
pub fn app_after(population: Population, chunk_agents: usize, before: impl FnOnce(&mut App)) -> App {
    let mut app = App::new();
    app.add_plugins(SimulationPlugin);
    before(&mut app);
    app.insert_resource(AgentPort(Box::new(Table { chunk_agents, step })));
    app.insert_resource(ModelPort(Box::new(Suspect::default())));
    let file = |name: &str| LoadedFile { name: name.into(), sha256: [name.len() as u8; 32] };
    let swaps = [module_swap(), model_swap(SIBYL), model_swap(ORACLE)];
    app.insert_resource(SwapCatalog {
        modules: vec![file("old"), file("newer")],
        models: [(ORACLE, file("oracle")), (SIBYL, file("sibyl"))].into_iter().collect(),
        swaps: swaps.into_iter().map(|swap| (swap, Ok(()))).collect(),
    });
    populate(app.world_mut(), population);
    app.register_state::<Height>("height")
        .register_state::<Width>("width")
        .register_resource_state::<Weather>("weather")
        .register_transient::<Area>()
        .add_systems(Frame, simulate.in_set(AuthorSystems::Simulate));
    app.insert_resource(Weather(1));
    app.world_mut().spawn((StableId(2), Width(vec![1, 2, 3])));
    app.world_mut().spawn((StableId(1), Height(5), Width(vec![9])));
    app
}

pub fn app() -> App {
    app_after(population(), 2, |_| {})
}

fn module_swap() -> Swap {
    Swap::Module(ModuleSwap { group: GroupId(1), module: 1 })
}

fn model_swap(with: ModelId) -> Swap {
    Swap::Model { model: ORACLE, with }
}

/// The next frames.
pub fn frames(app: &mut App, n: u64) -> Vec<FrameRecord> {
    let run = |_| {
        let frame = app.world().resource::<FrameClock>().frame;
        let swaps = if frame == 2 { vec![module_swap()] } else { Vec::new() };
        run_frame(app.world_mut(), FrameInputs { swaps, ..FrameInputs::default() })
    };
    (0..n).map(run).collect()
}
