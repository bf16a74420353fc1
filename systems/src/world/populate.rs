//! Fills a world before its first frame: groups, agents with their mailboxes, topics, models, shared regions.

use std::sync::Arc;

use bevy_ecs::entity::Entity;
use bevy_ecs::world::World;
use wasm_engine_components::{
    AgentId, AgentSlot, Backlog, Digest, FaultHistory, Group, GroupCounters, GroupSpec, Lifecycle, Mailbox,
    MailboxCounters, MailboxOf, Members, Model, RegionSpec, SchedulerSettings, Tenant, TopicSpec,
};

use crate::frame::RunSeed;
use crate::world::digest::{DigestChain, LaneSums, PartDigest, chain};
use crate::world::directory::Directory;
use crate::world::groups::GroupRange;
use crate::world::hearers::Hearers;
use crate::world::inbox::Load;
use crate::world::inbox_view::Link;
use crate::world::mailroom::Mailroom;
use crate::world::models::ModelTable;
use crate::world::regions::spawn_regions;
use crate::world::scheduler::Scheduler;

/// Contents of a world before its first frame.
#[derive(Clone, Debug, Default)]
pub struct Population {
    /// The run's seed.
    pub seed: u64,
    /// The groups, in the order of their ids.
    pub groups: Vec<GroupSeed>,
    /// The topics.
    pub topics: Vec<TopicSpec>,
    /// The models.
    pub models: Vec<Model>,
    /// Budgets of a frame, and the order in which agents are chosen.
    pub scheduler: SchedulerSettings,
    /// The tenants, in the order of their ids.
    pub tenants: Vec<Tenant>,
    /// The shared regions.
    pub regions: Vec<RegionSpec>,
}

/// A group and what its agents start with.
#[derive(Clone, Debug)]
pub struct GroupSeed {
    /// The group. It takes part in the run, and says nothing of groups that don't: see [`GroupSpec::taking_part`].
    pub group: GroupSpec,
    /// Size of the module's inbox area in bytes: it bounds the mailboxes, too.
    pub inbox_bytes_max: u32,
}

/// Spawns everything. The agents are `Initialising`: the first frame initialises them.
///
/// # Panics
/// If the groups aren't in the order of their ids, two regions have one id, or a world was populated before: the caller's mistake.
pub fn populate(world: &mut World, population: Population) {
    assert!(world.resource::<Directory>().ids.is_empty(), "a world is populated once");
    assert!(population.groups.is_sorted_by(|a, b| a.group.id < b.group.id), "groups come in the order of their ids");
    world.insert_resource(RunSeed(population.seed));
    world.insert_resource(ModelTable::new(population.models.clone()));
    world.spawn_batch(population.models).for_each(drop);

    let mut directory = Directory::default();
    let mut mailroom = Mailroom::default();
    let mut chains = DigestChain::default();
    for seed in &population.groups {
        spawn_group(world, seed, &mut directory, &mut mailroom);
    }
    set_waves(&mut directory);
    directory.hearers = Hearers::of(&directory.groups);
    let groups = population.groups.len();
    // The seed is an input of every frame: two seeds differ from the first digest on.
    chains.world = chain(Digest::default(), population.seed, &[]);
    chains.groups = population.groups.iter().map(|seed| chain(chains.world, u64::from(seed.group.id.0), &[])).collect();

    let (settings, tenants) = (population.scheduler, population.tenants);
    world.insert_resource(Scheduler::new(settings, tenants));
    let mut topics = population.topics;
    topics.sort_unstable_by_key(|topic| topic.id);
    for topic in topics {
        let subscribed = population.groups.iter().filter(|seed| seed.group.subscribe.contains(&topic.id));
        let members =
            subscribed.flat_map(|seed| (0..seed.group.agents).map(|ordinal| AgentId::new(seed.group.id, ordinal)));
        let (id, members) = (topic.id, Members(members.collect()));
        directory.topics.push((id, world.spawn((topic, members, PartDigest::default())).id()));
    }
    let (regions, lane) = spawn_regions(world, population.regions);
    directory.regions = regions;
    world.insert_resource(LaneSums {
        regions: lane,
        agents: vec![0; groups],
        outboxes: vec![0; groups],
        memories: vec![0; groups],
        faults: vec![0; groups],
        logs: vec![0; groups],
        groups: vec![0; groups],
        ..LaneSums::default()
    });
    world.insert_resource(directory);
    world.insert_resource(mailroom);
    world.insert_resource(chains);
}

fn spawn_group(world: &mut World, seed: &GroupSeed, directory: &mut Directory, mailroom: &mut Mailroom) {
    let group = &seed.group;
    let start = AgentSlot::of(directory.ids.len());
    let ids = (0..group.agents).map(|ordinal| AgentId::new(group.id, ordinal));
    let components = |id| (id, Lifecycle::Initialising, FaultHistory::default(), PartDigest::default());
    let agents: Vec<Entity> = world.spawn_batch(ids.map(components)).collect();
    let mailbox = Mailbox {
        capacity_messages: group.limits.mailbox_messages_max,
        capacity_bytes: group.limits.mailbox_bytes_max.min(seed.inbox_bytes_max),
        overflow: group.overflow,
    };
    let components = |agent| (MailboxOf(agent), mailbox, MailboxCounters::default(), Backlog::default());
    let mailboxes: Vec<_> = agents.iter().copied().map(components).collect();
    let mailboxes: Vec<Entity> = world.spawn_batch(mailboxes).collect();
    let end = directory.ids.len() + group.agents_max as usize;
    directory.ids.extend((0..group.agents_max).map(|ordinal| AgentId::new(group.id, ordinal)));
    directory.agents.extend(agents);
    directory.agents.resize(end, Entity::PLACEHOLDER);
    directory.mailboxes.extend(mailboxes);
    directory.mailboxes.resize(end, Entity::PLACEHOLDER);
    directory.lifecycles.resize(end, Lifecycle::Terminated);
    mailroom.inboxes.loads.resize(end, Load::new(0, mailbox.capacity_bytes));
    mailroom.inboxes.firsts.resize(end, Link::END);
    let mut spec = group.clone();
    spec.after.sort_unstable();
    spec.after.dedup();
    let spec = Arc::new(spec);
    let entity = world.spawn((Group(Arc::clone(&spec)), GroupCounters::default())).id();
    directory.groups.push(GroupRange::new(spec, entity, start, mailbox));
    for slot in (0..group.agents).map(|ordinal| start + ordinal) {
        directory.set_lifecycle(&mut mailroom.inboxes, slot, Lifecycle::Initialising, 0);
    }
}

/// Puts each group into the wave after the last of those that it comes after.
fn set_waves(directory: &mut Directory) {
    directory.has_edges = directory.groups.iter().any(|group| !group.spec.after.is_empty());
    // No path is longer than there are groups. A scenario has no cycles, and this would end even if it had one.
    for _ in 0..directory.groups.len() {
        let wave_of = |group: &GroupRange| {
            let earlier = group.spec.after.iter().filter_map(|&id| directory.group(id));
            earlier.map(|group| group.wave + 1).max().unwrap_or(0)
        };
        let waves: Vec<u32> = directory.groups.iter().map(wave_of).collect();
        if directory.groups.iter().zip(&waves).all(|(group, wave)| group.wave == *wave) {
            return;
        }
        for (group, wave) in directory.groups.iter_mut().zip(waves) {
            group.wave = wave;
        }
    }
}
