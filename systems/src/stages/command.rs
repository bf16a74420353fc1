//! Stage `Ingest`: commands take effect. Commands from outside come first: they are inputs of this frame. Then come those that
//! native systems gave in the last frame, in the order in which the systems ran, and those of agents, by id and sequence.

use bevy_ecs::entity::Entity;
use bevy_ecs::system::{Commands, Query, Res, ResMut, SystemParam};
use wasm_engine_abi::message::{kind, sender};
use wasm_engine_abi::{BounceReason, MessageHeader};
use wasm_engine_components::limits::REFUSED_COMMANDS_TOLD_MAX;
use wasm_engine_components::{
    Action, AgentId, AgentSlot, Backlog, CommandTarget, FaultHistory, GroupId, GroupIndex, Issuer, Lane, Lifecycle,
    LifecycleAction, MailboxCounters, MailboxOf, Members, Recipient, RefusedCommand,
};

use crate::frame::{FrameClock, FrameReport, Inputs};
use crate::stages::commit::change_memberships;
use crate::world::backlog::Backlogs;
use crate::world::commands::{PendingCommands, action_bytes};
use crate::world::digest::{LaneSums, PartDigest, part_digest};
use crate::world::directory::Directory;
use crate::world::intentions::{Joining, MembershipChange};
use crate::world::mailroom::Mailroom;
use crate::world::scheduler::Scheduler;

/// Carries out this frame's commands.
pub(crate) fn carry_out_commands(mut kernel: Kernel, inputs: Res<Inputs>, mut pending: ResMut<PendingCommands>) {
    let frame = kernel.clock.frame;
    kernel.directory.vacate(frame);
    let external = &inputs.0.commands;
    for (action, number) in external.iter().zip(1_u64 << 32..) {
        let digest = part_digest(Lane::Inputs, number, &action_bytes(action));
        kernel.lanes.inputs = kernel.lanes.inputs.wrapping_add(digest);
    }
    let (native, agents) = (std::mem::take(&mut pending.native), std::mem::take(&mut pending.agents));
    let external = external.iter().map(|action| (Issuer::External, action));
    let native = native.iter().map(|action| (Issuer::Native, action));
    let agents = agents.iter().map(|command| (command.issuer, &command.action));
    for (issuer, action) in external.chain(native).chain(agents) {
        kernel.carry_out(issuer, action);
    }
    let Kernel { directory, topics, joining, .. } = &mut kernel;
    change_memberships(directory, topics, &mut joining.0);
}

/// Everything that carrying out a command reads and writes.
#[derive(SystemParam)]
pub(crate) struct Kernel<'w, 's> {
    commands: Commands<'w, 's>,
    clock: Res<'w, FrameClock>,
    scheduler: Res<'w, Scheduler>,
    directory: ResMut<'w, Directory>,
    mailroom: ResMut<'w, Mailroom>,
    backlogs: ResMut<'w, Backlogs>,
    report: ResMut<'w, FrameReport>,
    lanes: ResMut<'w, LaneSums>,
    agents: Query<'w, 's, (&'static mut Lifecycle, &'static FaultHistory, &'static PartDigest)>,
    topics: Query<'w, 's, &'static mut Members>,
    joining: ResMut<'w, Joining>,
}

impl Kernel<'_, '_> {
    /// Carries out a command, or refuses it and tells its issuer.
    fn carry_out(&mut self, issuer: Issuer, action: &Action) {
        let target = action.target();
        let meant_for = match target {
            CommandTarget::Spawn(group) => u64::from(group.0),
            CommandTarget::Agent(agent, _) => agent.0,
        };
        let done = match action {
            Action::Spawn { group, kind, payload } => self.spawn(issuer, *group, *kind, payload),
            Action::Agent(agent, action) => self.change_lifecycle(issuer, *agent, *action),
        };
        match done {
            Ok(()) => self.report.counts.commands += 1,
            Err(reason) => {
                self.report.counts.commands_refused += 1;
                let told = &mut self.report.refused_commands;
                if issuer == Issuer::External && told.len() < REFUSED_COMMANDS_TOLD_MAX {
                    told.push(RefusedCommand { target, reason });
                }
                self.refuse(issuer, meant_for, reason);
            }
        }
    }

    /// Returns whether an issuer may command agents of a group.
    fn may_command(&self, issuer: Issuer, group: GroupId) -> bool {
        let Issuer::Agent { id, .. } = issuer else { return true };
        let controls = self.directory.group(id.group()).is_some_and(|own| own.spec.controls.contains(&group));
        controls || self.directory.group(group).is_some_and(|group| group.spec.supervisor == Some(id.group()))
    }

    fn spawn(&mut self, issuer: Issuer, group: GroupId, kind: u32, payload: &[u8]) -> Result<(), BounceReason> {
        let group_index = self.directory.group_index(group).ok_or(BounceReason::UnknownRecipient)?;
        if !self.may_command(issuer, group) {
            return Err(BounceReason::Refused);
        }
        if !self.tenant_has_room(group_index) {
            return Err(BounceReason::GroupFull);
        }
        let (id, slot) = self.directory.take_slot(group_index).ok_or(BounceReason::GroupFull)?;
        self.spawn_agent(group_index, id, slot);
        self.tell_spawned(issuer, id);
        if !payload.is_empty() {
            let frame = self.clock.frame;
            let header = MessageHeader { frame, kind, ..MessageHeader::default() };
            let header = match issuer {
                Issuer::External => MessageHeader { sender: sender::EXTERNAL, ..header },
                Issuer::Native => MessageHeader { sender: sender::NATIVE, frame: frame - 1, ..header },
                // Its first message counts as sent when the spawn was asked for, with the sequence number of the record that asked for it.
                Issuer::Agent { id, correlation, sequence } => {
                    MessageHeader { sender: id.0, correlation, sequence, frame: frame - 1, ..header }
                }
            };
            self.mailroom.first_messages.push(Recipient::Agent(slot), header, payload);
        }
        Ok(())
    }

    /// Returns whether one more agent of a group fits into its tenant's totals.
    fn tenant_has_room(&self, group_index: GroupIndex) -> bool {
        let group = &self.directory.groups[group_index];
        let Some(id) = group.spec.tenant else { return true };
        let tenant = &self.scheduler.tenants[id.0 as usize];
        let (mut agents, mut memory) = (1, group.spec.limits.memory_bytes_max);
        for group in self.directory.groups.iter().filter(|group| group.spec.tenant == Some(id)) {
            agents += u64::from(group.alive);
            memory = memory.saturating_add(u64::from(group.alive).saturating_mul(group.spec.limits.memory_bytes_max));
        }
        agents <= tenant.agents_max && memory <= tenant.memory_bytes_max
    }

    /// Spawns the entities of a new agent, and despawns those of the agent that had its slot before.
    fn spawn_agent(&mut self, group_index: GroupIndex, id: AgentId, slot: AgentSlot) {
        let index = slot.index();
        let previous = self.directory.agents[index];
        if previous != Entity::PLACEHOLDER {
            if let Ok((_, _, digest)) = self.agents.get(previous) {
                let lane = &mut self.lanes.agents[group_index.index()];
                *lane = lane.wrapping_sub(digest.0);
            }
            let mailbox_digest = self.backlogs.forget(slot);
            self.lanes.mailboxes = self.lanes.mailboxes.wrapping_sub(mailbox_digest);
            self.commands.entity(previous).despawn();
        }
        let components = (id, Lifecycle::Initialising, FaultHistory::default(), PartDigest::default());
        let agent = self.commands.spawn(components).id();
        let mailbox = self.directory.groups[group_index].mailbox;
        let components = (MailboxOf(agent), mailbox, MailboxCounters::default(), Backlog::default());
        self.directory.agents[index] = agent;
        self.directory.mailboxes[index] = self.commands.spawn(components).id();
        let Self { directory, mailroom, clock, .. } = self;
        directory.set_lifecycle(&mut mailroom.inboxes, slot, Lifecycle::Initialising, clock.frame);
        let subscribed = &self.directory.groups[group_index].spec.subscribe;
        let topics = subscribed.iter().filter_map(|topic| self.directory.topic(*topic));
        self.joining.0.extend(topics.map(|topic| MembershipChange { agent: id, topic, joins: true }));
    }

    /// Tells an agent that the agent that it asked for was spawned.
    fn tell_spawned(&mut self, issuer: Issuer, child: AgentId) {
        let Issuer::Agent { id, correlation, sequence } = issuer else { return };
        let Some(to) = self.directory.alive(id) else { return };
        let header = MessageHeader {
            sender: sender::ENGINE,
            topic: child.0,
            correlation,
            frame: self.clock.frame,
            sequence,
            kind: kind::SPAWNED,
            ..MessageHeader::default()
        };
        self.mailroom.bounces.push(Recipient::Agent(to), header, Vec::new());
    }

    fn change_lifecycle(
        &mut self,
        issuer: Issuer,
        agent: AgentId,
        action: LifecycleAction,
    ) -> Result<(), BounceReason> {
        let (group, slot) = self.directory.find(agent).ok_or_else(|| self.directory.absence(agent))?;
        let own = matches!(issuer, Issuer::Agent { id, .. } if id == agent);
        if !own && !self.may_command(issuer, group.id) {
            return Err(BounceReason::Refused);
        }
        let before = self.directory.lifecycles[slot.index()];
        if before.is_ending() {
            return Err(BounceReason::Terminated);
        }
        let after = match (action, before) {
            (LifecycleAction::Pause, Lifecycle::Active) => Lifecycle::Paused,
            (LifecycleAction::Resume, Lifecycle::Paused) if self.is_uninitialised(slot) => Lifecycle::Initialising,
            (LifecycleAction::Resume, Lifecycle::Paused) => Lifecycle::Active,
            (LifecycleAction::Pause | LifecycleAction::Resume, _) => return Err(BounceReason::WrongState),
            (LifecycleAction::Terminate, Lifecycle::Active | Lifecycle::Paused) => Lifecycle::Terminating,
            (LifecycleAction::Terminate, _) => Lifecycle::Terminated,
            (LifecycleAction::Restart, _) => Lifecycle::Initialising,
        };
        let entity = self.directory.agents[slot.index()];
        let Self { directory, mailroom, clock, agents, .. } = self;
        if let Ok((mut lifecycle, ..)) = agents.get_mut(entity) {
            *lifecycle = after;
        } else {
            // The agent was spawned in this very frame: its entity isn't there yet.
            self.commands.entity(entity).insert(after);
        }
        directory.set_lifecycle(&mut mailroom.inboxes, slot, after, clock.frame);
        Ok(())
    }

    /// Returns whether the last initialisation of an agent faulted.
    fn is_uninitialised(&self, slot: AgentSlot) -> bool {
        self.agents.get(self.directory.agents[slot.index()]).is_ok_and(|(_, history, _)| history.uninitialised)
    }

    /// Tells an agent that its command was refused.
    fn refuse(&mut self, issuer: Issuer, meant_for: u64, reason: BounceReason) {
        let Issuer::Agent { id, correlation, sequence } = issuer else { return };
        let Some(to) = self.directory.alive(id) else { return };
        let request = MessageHeader { correlation, sequence, ..MessageHeader::default() };
        self.mailroom.bounces.bounce(&request, meant_for, to, reason, self.clock.frame);
    }
}
