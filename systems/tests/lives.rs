//! Lives: spawn, pause, resume, terminate, restart; who may, in which order, and what is left of those who ended.

#![expect(clippy::unwrap_used, reason = "a test's lock is never poisoned")]

mod table;

use std::sync::{Arc, Mutex};

use bevy_app::App;
use bevy_ecs::query::With;
use table::{Call, app, group};
use wasm_engine_abi::message::{kind, sender};
use wasm_engine_abi::{BounceReason, CallKind, FaultNotice, Op};
use wasm_engine_components::{
    Action, AgentId, FaultKind, FaultPolicy, FrameInputs, FrameRecord, GroupId, Lifecycle, Mailbox, Order, Tenant,
    TenantId,
};
use wasm_engine_systems::directory::Directory;
use wasm_engine_systems::{GroupSeed, Population, run_frame};

const PARENT: AgentId = AgentId::new(GroupId(1), 0);

fn id(group: u32, ordinal: u32, generation: u32) -> AgentId {
    AgentId::of_generation(GroupId(group), ordinal, generation)
}

/// A parent, and a group of at most `agents_max` that it controls.
fn family(agents: u32, agents_max: u32) -> Vec<GroupSeed> {
    let (mut parents, mut children) = (group(1, 1), group(2, agents));
    parents.group.controls = vec![GroupId(2)];
    children.group.agents_max = agents_max;
    vec![parents, children]
}

fn world(groups: Vec<GroupSeed>, step: impl FnMut(Call<'_>) + Send + Sync + 'static) -> App {
    app(Population { groups, ..Population::default() }, step)
}

fn frame(app: &mut App, commands: Vec<Action>) -> FrameRecord {
    run_frame(app.world_mut(), FrameInputs { commands, ..FrameInputs::default() })
}

fn order(agent: AgentId, order: Order) -> Action {
    Action::Agent(agent, order)
}

fn spawn(group: u32) -> Action {
    Action::Spawn { group: GroupId(group), kind: 0, payload: Vec::new() }
}

fn state(app: &App, agent: AgentId) -> Option<Lifecycle> {
    let directory = app.world().resource::<Directory>();
    directory.index(agent).map(|index| directory.lifecycles[index as usize])
}

/// What the agents saw: frame, agent, call, and for each message its kind, topic, status and sender.
type Seen = Arc<Mutex<Vec<(u64, AgentId, CallKind, Vec<(u32, u64, u32, u64)>)>>>;

fn note(seen: &Seen, call: &Call<'_>) {
    let inbox = call.inbox.iter().map(|(header, _)| (header.kind, header.topic, header.status, header.sender));
    seen.lock().unwrap().push((call.frame, call.agent, call.call, inbox.collect()));
}

fn of(seen: &Seen, agent: AgentId) -> Vec<(u64, CallKind, Vec<(u32, u64, u32, u64)>)> {
    let seen = seen.lock().unwrap();
    let mine = seen.iter().filter(|(_, who, ..)| *who == agent);
    mine.map(|(frame, _, call, inbox)| (*frame, *call, inbox.clone())).collect()
}

#[test]
fn a_parent_learns_its_childs_id_and_the_child_gets_its_first_message() {
    let seen = Seen::default();
    let noted = Arc::clone(&seen);
    let mut app = world(family(0, 1), move |call| {
        note(&noted, &call);
        if call.agent == PARENT && call.frame == 1 {
            call.out.push(Op::Spawn, 2, 5, 77, b"hello");
            call.out.push(Op::Spawn, 2, 5, 78, &[]);
            call.out.push(Op::Spawn, 9, 5, 79, &[]);
        }
    });
    let records: Vec<_> = (0..4).map(|_| frame(&mut app, Vec::new())).collect();
    let child = id(2, 0, 0);
    let told = of(&seen, PARENT).remove(2).2;
    let refused = |meant, reason| (kind::BOUNCE, meant, reason as u32, sender::ENGINE);
    let expected = vec![
        (kind::SPAWNED, child.0, 0, sender::ENGINE),
        refused(2, BounceReason::GroupFull),
        refused(9, BounceReason::UnknownRecipient),
    ];
    assert_eq!(told, expected);
    let calls = of(&seen, child);
    assert_eq!(calls[0], (2, CallKind::Init, Vec::new()));
    assert_eq!(calls[1], (3, CallKind::Step, vec![(5, 0, 0, PARENT.0)]));
    assert_eq!((records[2].counts.commands, records[2].counts.commands_refused), (1, 2));
    assert_eq!(records.iter().map(|record| record.counts.agents).collect::<Vec<_>>(), [1, 1, 2, 2]);
}

#[test]
fn who_does_not_control_a_group_may_not_command_it() {
    let seen = Seen::default();
    let noted = Arc::clone(&seen);
    let mut groups = family(1, 2);
    groups[0].group.controls.clear();
    let mut app = world(groups, move |call| {
        note(&noted, &call);
        if call.agent == PARENT && call.frame == 1 {
            call.out.push(Op::Spawn, 2, 0, 0, &[]);
            call.out.push(Op::Terminate, id(2, 0, 0).0, 0, 0, &[]);
            // But anybody may end itself.
            call.out.push(Op::Terminate, PARENT.0, 0, 0, &[]);
        }
    });
    (0..3).for_each(|_| drop(frame(&mut app, Vec::new())));
    let (_, call, inbox) = of(&seen, PARENT).pop().unwrap();
    assert_eq!(call, CallKind::Shutdown);
    assert!(inbox.iter().all(|message| message.2 == BounceReason::Refused as u32) && inbox.len() == 2);
    assert_eq!(state(&app, PARENT), Some(Lifecycle::Terminated));
    assert_eq!(state(&app, id(2, 0, 0)), Some(Lifecycle::Active));
}

#[test]
fn a_tenants_totals_bound_spawns() {
    let mut groups = family(1, 8);
    groups[1].group.tenant = Some(TenantId(0));
    let memory = groups[1].group.limits.memory_bytes_max;
    let unbounded = u64::MAX;
    let mut tenant = Tenant {
        name: "t".into(),
        agents_max: 3,
        memory_bytes_max: unbounded,
        fuel_per_frame_max: unbounded,
        messages_per_frame_max: unbounded,
        jobs_per_frame_max: unbounded,
    };
    let spawned = |tenant: &Tenant| {
        let population = Population { groups: groups.clone(), tenants: vec![tenant.clone()], ..Population::default() };
        let mut app = app(population, |_| {});
        let record = frame(&mut app, (0..5).map(|_| spawn(2)).collect());
        (record.groups[1].agents, record.counts.commands_refused)
    };
    assert_eq!(spawned(&tenant), (3, 3));
    (tenant.agents_max, tenant.memory_bytes_max) = (unbounded, 2 * memory);
    assert_eq!(spawned(&tenant), (2, 4));
}

#[test]
fn messages_wait_for_the_paused_and_bounce_from_the_ended() {
    let seen = Seen::default();
    let noted = Arc::clone(&seen);
    let target = id(2, 0, 0);
    let mut app = world(family(1, 1), move |call| {
        note(&noted, &call);
        if call.agent == PARENT && call.call == CallKind::Step {
            call.out.send(target, call.frame as u32, &[]);
        }
        if call.call == CallKind::Shutdown {
            call.out.send(PARENT, 99, &[]);
        }
    });
    for n in 0..10 {
        let commands = match n {
            2 => vec![order(target, Order::Pause), order(target, Order::Pause)],
            5 => vec![order(target, Order::Resume), order(target, Order::Resume)],
            7 => vec![order(target, Order::Terminate), order(target, Order::Restart)],
            _ => Vec::new(),
        };
        let refused = u64::from(!commands.is_empty());
        assert_eq!(
            frame(&mut app, commands).counts.commands_refused,
            refused,
            "frame {n}: what doesn't fit is refused"
        );
    }
    let kinds = |inbox: &[(u32, u64, u32, u64)]| inbox.iter().map(|message| message.0).collect::<Vec<_>>();
    let calls: Vec<_> = of(&seen, target).iter().map(|(frame, call, inbox)| (*frame, *call, kinds(inbox))).collect();
    let expected = [
        (0, CallKind::Init, vec![]),
        (1, CallKind::Step, vec![]),
        (5, CallKind::Step, vec![1, 2, 3, 4]),
        (6, CallKind::Step, vec![5]),
        (7, CallKind::Shutdown, vec![6]),
    ];
    assert_eq!(calls, expected);
    let parent = of(&seen, PARENT);
    assert_eq!(kinds(&parent[8].2), [99], "its last words");
    let bounced: Vec<_> = parent.iter().flat_map(|(_, _, inbox)| inbox).filter(|m| m.0 == kind::BOUNCE).collect();
    assert!(bounced.iter().all(|message| message.2 == BounceReason::Terminated as u32) && bounced.len() == 2);
}

#[test]
fn a_restart_begins_anew_and_ends_what_a_fault_had_decided() {
    let mut groups = family(1, 1);
    groups[1].group.on_fault = FaultPolicy::Pause;
    let target = id(2, 0, 0);
    let seen = Seen::default();
    let noted = Arc::clone(&seen);
    let mut app = world(groups, move |call| {
        note(&noted, &call);
        call.out.fault = (call.agent == target && call.frame == 2).then_some(FaultKind::Trap);
    });
    for n in 0..6 {
        frame(&mut app, if n == 4 { vec![order(target, Order::Restart)] } else { Vec::new() });
    }
    let calls: Vec<_> = of(&seen, target).iter().map(|(frame, call, _)| (*frame, *call)).collect();
    let (init, step) = (CallKind::Init, CallKind::Step);
    assert_eq!(calls, [(0, init), (1, step), (2, step), (4, init), (5, step)]);
}

#[test]
fn supervisors_are_told_of_faults_and_decide_where_it_is_left_to_them() {
    let mut groups = family(1, 1);
    groups[0].group.controls.clear();
    groups[1].group.supervisor = Some(GroupId(1));
    groups[1].group.on_fault = FaultPolicy::Escalate;
    let target = id(2, 0, 0);
    let notices = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&notices);
    let mut app = world(groups, move |call| {
        call.out.fault = (call.agent == target && [1, 5].contains(&call.frame)).then_some(FaultKind::OutOfFuel);
        for (header, payload) in call.inbox.iter().filter(|(header, _)| header.kind == kind::NOTICE) {
            let notice: FaultNotice = bytemuck::pod_read_unaligned(payload);
            noted.lock().unwrap().push((call.frame, header.topic, notice));
            let op = if notice.faults == 1 { Op::Restart } else { Op::Terminate };
            call.out.push(op, notice.agent, 0, 0, &[]);
        }
    });
    let states: Vec<_> = (0..8).map(|_| (frame(&mut app, Vec::new()), state(&app, target).unwrap()).1).collect();
    use Lifecycle::{Active, Faulted, Terminated};
    assert_eq!(states, [Active, Faulted, Faulted, Active, Active, Faulted, Faulted, Terminated]);
    let notice = |frame, faults| FaultNotice {
        agent: target.0,
        frame,
        fault: FaultKind::OutOfFuel as u32,
        detail: 0,
        faults,
        escalated: 1,
    };
    assert_eq!(*notices.lock().unwrap(), [(2, target.0, notice(1, 1)), (6, target.0, notice(5, 2))]);
}

#[test]
fn an_ordinal_is_used_again_and_an_id_never_is() {
    let target = id(2, 0, 0);
    let mut app = world(family(1, 1), |_| {});
    frame(&mut app, Vec::new());
    frame(&mut app, vec![order(target, Order::Terminate)]);
    let record = frame(&mut app, vec![spawn(2)]);
    assert_eq!(record.counts.commands_refused, 1, "something may still be on its way to the one that ended");
    frame(&mut app, vec![spawn(2)]);
    assert_eq!(state(&app, target), None, "the place is another's");
    assert_eq!(state(&app, id(2, 0, 1)), Some(Lifecycle::Active));
}

/// Spawns and ends agents until there were `cycles`. Gives how many entities there are afterwards.
fn churn(cycles: u32) -> usize {
    const PLACES: u32 = 64;
    let mut groups = family(0, PLACES);
    groups[1].subscribe = Vec::new();
    let mut app = world(groups, |call| {
        if call.agent.group() == GroupId(2) && call.call == CallKind::Init {
            // What an agent may leave behind: a timer, a request, a message to itself.
            call.out.push(Op::Wake, call.frame + 1_000_000, 0, 0, &[]);
            call.out.request(PARENT, 1, 1_000_000);
            call.out.send(call.agent, 1, &[]);
            call.out.push(Op::Terminate, call.agent.0, 0, 0, &[]);
        }
    });
    let mut spawned = 0;
    while spawned < cycles {
        spawned += frame(&mut app, (0..PLACES).map(|_| spawn(2)).collect()).groups[1].agents as u32;
    }
    // Until all have ended, and nothing is on its way any more.
    let last = (0..4).map(|_| frame(&mut app, Vec::new())).last().unwrap();
    assert_eq!(last.counts.agents, 1);
    for lane in [wasm_engine_components::Lane::Requests, wasm_engine_components::Lane::Commands] {
        assert_eq!(last.lanes[lane].0, 0, "{}", lane.name());
    }
    let world = app.world_mut();
    assert_eq!(world.query_filtered::<(), With<AgentId>>().iter(world).count(), 1 + PLACES as usize);
    assert_eq!(world.query_filtered::<(), With<Mailbox>>().iter(world).count(), 1 + PLACES as usize);
    world.query::<()>().iter(world).count()
}

#[test]
fn cycles_of_spawn_and_terminate_leave_nothing() {
    let cycles = std::env::var("CHURN_CYCLES").ok().and_then(|text| text.parse().ok()).unwrap_or(100_000);
    assert_eq!(churn(1_000), churn(cycles));
}
