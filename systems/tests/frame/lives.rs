//! The kernel's rules about lives, and when agents are called: one test for each.

use wasm_engine_abi::message::kind;
use wasm_engine_abi::{BounceReason, CallKind, Op};
use wasm_engine_components::{
    AgentId, FaultKind, FaultPolicy, FrameRecord, GroupId, Lifecycle, LifecycleAction, Schedule, Tenant, TenantId,
    Trigger,
};
use wasm_engine_systems::{GroupSeed, inspect, testing};

use crate::common::logged::{bounces, calls, frame, frames, groups, id, order, run, seen, spawn, steps, tenant};
use crate::common::table::{app, group};

/// A group whose agents may command those of other groups.
fn master(groups: &[u32]) -> GroupSeed {
    let mut master = group(1, 1);
    master.group.controls = groups.iter().map(|&id| GroupId(id)).collect();
    master
}

fn room(id: u32, agents: u32, agents_max: u32) -> GroupSeed {
    let mut seed = group(id, agents);
    seed.group.agents_max = agents_max;
    seed
}

#[test]
fn spawn_tells_the_parent_the_id_and_gives_the_child_its_first_message() {
    let (mut app, log) = run(groups(vec![master(&[2]), room(2, 1, 3)]), |call| {
        if call.agent == id(1, 0) && call.frame == 1 {
            call.out.push(Op::Spawn, 2, 5, 33, b"hello");
        }
    });
    let records = frames(&mut app, 5);
    let told = seen(&log, id(1, 0));
    assert_eq!((told[0].0, told[0].1.kind, told[0].1.topic, told[0].1.correlation), (2, kind::SPAWNED, id(2, 1).0, 33));
    let child = seen(&log, id(2, 1));
    assert_eq!((child[0].0, child[0].1.sender, child[0].1.kind), (3, id(1, 0).0, 5));
    assert_eq!(child[0].2, b"hello");
    assert_eq!(calls(&log, id(2, 1))[..2], [(2, CallKind::Init), (3, CallKind::Step)]);
    assert_eq!((records[1].counts.agents, records[2].counts.agents, records[2].counts.commands), (2, 3, 1));
}

#[test]
fn spawn_is_refused_without_authority_without_a_place_and_beyond_a_tenants_total() {
    let mut rented = room(4, 0, 9);
    rented.group.tenant = Some(TenantId(0));
    let mut population = groups(vec![master(&[2, 4, 9]), room(2, 1, 1), room(3, 0, 9), rented]);
    population.tenants = vec![Tenant { agents_max: 1, ..tenant() }];
    let (mut app, log) = run(population, |call| {
        if call.agent == id(1, 0) && call.frame == 1 {
            for (group, correlation) in [(2, 2), (3, 3), (4, 40), (4, 41), (9, 9)] {
                call.out.push(Op::Spawn, group, 0, correlation, &[]);
            }
        }
    });
    let records = frames(&mut app, 3);
    let [full, refused, unknown] =
        [BounceReason::GroupFull, BounceReason::Refused, BounceReason::UnknownRecipient].map(|reason| reason as u32);
    assert_eq!(bounces(&log, id(1, 0)), [(2, 2, full), (2, 3, refused), (2, 41, full), (2, 9, unknown)]);
    assert_eq!((records[2].counts.commands, records[2].counts.commands_refused), (1, 4));
}

#[test]
fn ordinals_are_used_again_and_ids_never() {
    let (mut app, log) = run(groups(vec![room(1, 0, 1)]), |_| {});
    for generation in 0..5 {
        let agent = AgentId::of_generation(GroupId(1), 0, generation);
        assert_eq!(frame(&mut app, vec![spawn(1)]).counts.commands, 1);
        assert_eq!(frame(&mut app, vec![order(agent, LifecycleAction::Terminate)]).counts.agents, 0);
        // Something may still be on its way to it.
        assert_eq!(frame(&mut app, vec![spawn(1)]).counts.commands_refused, 1);
        assert_eq!(
            calls(&log, agent).iter().map(|call| call.1).collect::<Vec<_>>(),
            [CallKind::Init, CallKind::Shutdown]
        );
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "how much is tested is no part of a frame")]
fn many_lives_leave_nothing_behind() {
    // `KERNEL_LIVES` says how many; a million takes some ten seconds.
    let lives: u64 = std::env::var("KERNEL_LIVES").map_or(200_000, |lives| lives.parse().unwrap());
    let mut population = groups(vec![room(1, 0, 64), group(2, 1)]);
    population.groups[0].group.schedule.trigger = Trigger::Timer;
    let mut app = app(population, |call| {
        // Each leaves a timer, a request, and a message for one that is about to end.
        if call.agent.group() == GroupId(1) {
            call.out.push(Op::Wake, call.frame + 1_000_000, 0, 0, &[]);
            call.out.request(id(2, 0), 1, 1_000_000);
            call.out.send(call.agent, 0, &[1]);
        }
    });
    frames(&mut app, 2);
    let quiet = frame(&mut app, Vec::new());
    let entities = app.world_mut().entities().count_spawned();
    let (mut alive, mut ended, mut refused): (Vec<AgentId>, u64, u64) = (Vec::new(), 0, 0);
    let mut next = [0; 64];
    while ended < lives {
        // All slots are taken in one frame, and given back in the next.
        frame(&mut app, (0..64).map(|_| spawn(1)).collect());
        alive.extend(inspect::agents(app.world(), GroupId(1)));
        assert_eq!(alive.len(), 64);
        for (agent, generation) in alive.iter().zip(&mut next) {
            let lives = testing::lifecycle(app.world(), *agent).is_some_and(Lifecycle::is_alive);
            assert_eq!((agent.generation(), lives), (*generation, true));
            *generation += 1;
        }
        let record = frame(&mut app, alive.drain(..).map(|agent| order(agent, LifecycleAction::Terminate)).collect());
        ended += record.counts.commands;
        refused += record.counts.commands_refused;
        frames(&mut app, 1);
    }
    let last = frames(&mut app, 3).pop().unwrap();
    let spawned = app.world_mut().entities().count_spawned();
    assert_eq!((refused, last.counts.agents), (0, 1));
    // A slot that was used keeps its last agent and that one's mailbox.
    assert_eq!(spawned - entities, 2 * 64);
    let lanes = |record: &FrameRecord| {
        use wasm_engine_components::Lane::{Commands, HostMessages, Requests, Schedule};
        [Requests, Schedule, Commands, HostMessages].map(|lane| record.lanes[lane])
    };
    assert_eq!(lanes(&last), lanes(&quiet), "no request, no timer, no command, no message is left");
    let slots: usize = [1, 2].map(|group| inspect::agents(app.world(), GroupId(group)).len()).iter().sum();
    let vacating = testing::groups(app.world())[0].vacating;
    assert_eq!((slots, vacating, testing::inactive(app.world())), (65, 0, 0));
}

#[test]
fn a_paused_agent_is_not_called_and_its_messages_wait_in_order() {
    let (mut app, log) = run(groups(vec![group(1, 1), group(2, 1)]), |call| {
        if call.agent == id(1, 0) && call.call == CallKind::Step {
            call.out.send(id(2, 0), 0, &[call.frame as u8]);
        }
    });
    frames(&mut app, 2);
    frame(&mut app, vec![order(id(2, 0), LifecycleAction::Pause)]);
    assert_eq!(frame(&mut app, vec![order(id(2, 0), LifecycleAction::Pause)]).counts.commands_refused, 1);
    frame(&mut app, vec![order(id(2, 0), LifecycleAction::Resume)]);
    let got: Vec<_> = seen(&log, id(2, 0)).into_iter().map(|(frame, _, payload)| (frame, payload[0])).collect();
    assert_eq!((steps(&log, id(2, 0)), got), (vec![1, 4], vec![(4, 1), (4, 2), (4, 3)]));
}

#[test]
fn a_terminated_agent_has_a_last_call_that_counts_and_then_its_messages_bounce() {
    let (mut app, log) = run(groups(vec![group(1, 1), group(2, 1)]), |call| match (call.agent.group().0, call.call) {
        (2, CallKind::Shutdown) => call.out.send(id(1, 0), 0, b"bye"),
        (1, CallKind::Step) => call.out.push(Op::Send, id(2, 0).0, 0, call.frame, &[]),
        _ => {}
    });
    frames(&mut app, 3);
    let record = frame(&mut app, vec![order(id(2, 0), LifecycleAction::Terminate)]);
    assert_eq!((record.counts.agents, record.counts.delivered), (1, 1), "its inbox is handed over");
    frames(&mut app, 3);
    assert_eq!(calls(&log, id(2, 0)).last(), Some(&(3, CallKind::Shutdown)));
    let bye: Vec<_> = seen(&log, id(1, 0)).into_iter().filter(|(.., payload)| payload == b"bye").collect();
    assert_eq!((bye.len(), bye[0].0), (1, 4));
    let ended = BounceReason::Terminated as u32;
    // That of frame 3 was on its way when it ended; later ones are refused at once.
    assert_eq!(bounces(&log, id(1, 0)), [(5, 3, ended), (5, 4, ended), (6, 5, ended)]);
    assert_eq!(frame(&mut app, vec![order(id(2, 0), LifecycleAction::Restart)]).counts.commands_refused, 1);
}

#[test]
fn a_restarted_agent_is_initialised_anew_and_keeps_what_is_on_its_way() {
    let (mut app, log) = run(groups(vec![group(1, 1), group(2, 1)]), |call| {
        if call.agent == id(1, 0) && call.frame == 1 {
            call.out.send(id(2, 0), 0, b"early");
        }
    });
    frames(&mut app, 2);
    frame(&mut app, vec![order(id(2, 0), LifecycleAction::Restart)]);
    frames(&mut app, 1);
    let expected = [(0, CallKind::Init), (1, CallKind::Step), (2, CallKind::Init), (3, CallKind::Step)];
    assert_eq!(calls(&log, id(2, 0)), expected);
    assert_eq!(seen(&log, id(2, 0)).iter().map(|(frame, ..)| *frame).collect::<Vec<_>>(), [3]);
}

#[test]
fn an_agent_commands_itself_those_it_controls_and_nobody_else() {
    let (mut app, log) = run(groups(vec![master(&[2]), group(2, 1), group(3, 1)]), |call| {
        if call.agent == id(1, 0) && call.frame == 1 {
            call.out.push(Op::Pause, id(2, 0).0, 0, 2, &[]);
            call.out.push(Op::Pause, id(3, 0).0, 0, 3, &[]);
            call.out.push(Op::Pause, id(2, 9).0, 0, 9, &[]);
            call.out.push(Op::Resume, id(1, 0).0, 0, 1, &[]);
        }
    });
    frames(&mut app, 4);
    let [refused, unknown, state] =
        [BounceReason::Refused, BounceReason::UnknownRecipient, BounceReason::WrongState].map(|reason| reason as u32);
    assert_eq!(bounces(&log, id(1, 0)), [(2, 3, refused), (2, 9, unknown), (2, 1, state)]);
    assert_eq!((steps(&log, id(2, 0)), steps(&log, id(3, 0))), (vec![1], vec![1, 2, 3]));
}

#[test]
fn each_trigger_says_in_which_frames_agents_are_called() {
    let cases = [
        (Trigger::default(), vec![1, 2, 3, 4, 5, 6, 7, 8]),
        (Trigger::Every { period: 3, phase: 1 }, vec![1, 4, 6, 7]),
        (Trigger::Message, vec![4, 6]),
        (Trigger::Timer, vec![6]),
    ];
    for (trigger, expected) in cases {
        let mut scheduled = group(2, 1);
        scheduled.group.schedule = Schedule { trigger, priority: 0 };
        let (mut app, log) = run(groups(vec![group(1, 1), scheduled]), |call| {
            if call.agent == id(1, 0) && call.frame == 3 {
                call.out.send(id(2, 0), 0, &[]);
            }
            if call.agent == id(2, 0) && call.call == CallKind::Init {
                call.out.push(Op::Wake, 3, 0, 0, &[]);
                call.out.push(Op::Wake, 6, 0, 0, &[]);
            }
        });
        frames(&mut app, 9);
        assert_eq!(steps(&log, id(2, 0)), expected, "{trigger:?}");
        assert_eq!(seen(&log, id(2, 0)).len(), 1, "{trigger:?}: the message isn't lost");
    }
}

#[test]
fn an_agent_whose_initialisation_faulted_is_initialised_when_it_is_resumed() {
    let mut seed = group(1, 1);
    seed.group.on_fault = FaultPolicy::Pause;
    let (mut app, log) = run(groups(vec![seed]), |call| {
        call.out.fault = (call.frame == 0).then_some(FaultKind::Trap);
    });
    frames(&mut app, 3);
    frame(&mut app, vec![order(id(1, 0), LifecycleAction::Resume)]);
    frames(&mut app, 1);
    assert_eq!(calls(&log, id(1, 0)), [(0, CallKind::Init), (3, CallKind::Init), (4, CallKind::Step)]);
}

#[test]
fn a_first_message_says_which_spawn_it_came_with() {
    let mut small = room(2, 0, 2);
    small.group.limits.mailbox_bytes_max = 56;
    let (mut app, log) = run(groups(vec![master(&[2]), small]), |call| {
        if call.frame == 1 {
            call.out.push(Op::Spawn, 2, 5, 70, &[1; 8]);
            call.out.push(Op::Spawn, 2, 5, 71, &[1; 9]);
        }
    });
    frames(&mut app, 5);
    assert_eq!(bounces(&log, id(1, 0)), [(3, 71, BounceReason::TooLarge as u32)]);
    let (frame, header, _) = seen(&log, id(2, 0)).into_iter().next().expect("the first message arrives");
    assert_eq!((frame, header.sender, header.kind), (3, id(1, 0).0, 5));
    assert_eq!((header.frame, header.sequence, header.correlation), (1, 0, 70), "as it was asked for");
}
