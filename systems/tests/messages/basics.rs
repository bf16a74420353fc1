//! The kernel's rules about what agents say to each other, what a frame may cost, and who is told of faults: one test for each.

use bevy_app::App;
use bevy_ecs::schedule::IntoScheduleConfigs;
use wasm_engine_abi::message::{kind, status};
use wasm_engine_abi::{BounceReason, CallKind, FaultNotice, InferenceStatus, Op, name_id};
use wasm_engine_components::{
    AgentFault, FaultKind, FaultPolicy, GroupId, Lifecycle, LifecycleAction, SchedulerMode, SchedulerSettings,
    TenantId, TopicId, TopicSpec, Trigger,
};
use wasm_engine_systems::{AgentCommands, Agents, AuthorSystems, Frame, GroupSeed, MailWriter, Population};

use crate::common::logged::{self, bounces, calls, frame, frames, groups, id, order, run, seen, spawn, steps, tenant};
use crate::common::table::{app, group, model};

const OVER: u32 = BounceReason::OverBudget as u32;

fn after(id: u32, before: &[u32]) -> GroupSeed {
    let mut seed = group(id, 1);
    seed.group.after = before.iter().map(|&id| GroupId(id)).collect();
    seed
}

fn bounded(mode: SchedulerMode, steps: u64, ageing_frames: u32) -> SchedulerSettings {
    SchedulerSettings { mode, steps_per_frame_max: steps, ageing_frames, ..SchedulerSettings::default() }
}

#[test]
fn messages_along_edges_arrive_in_the_frame_in_which_they_are_sent() {
    // 3 comes first, then 1, then 2; the way back takes a frame.
    let topic = TopicId(name_id("all"));
    let mut population = groups(vec![after(1, &[3]), after(2, &[1, 3]), group(3, 1)]);
    population.groups.iter_mut().for_each(|seed| seed.group.subscribe = vec![topic]);
    population.topics = vec![TopicSpec::new("all")];
    let (mut app, log) = run(population, move |call| {
        if call.frame == 1 {
            match call.agent.group().0 {
                3 => call.out.send(id(1, 0), 31, &[]),
                1 => call.out.push(Op::Publish, topic.0, 10, 0, &[]),
                _ => call.out.send(id(3, 0), 23, &[]),
            }
        }
        if call.frame == 1 && call.agent == id(3, 0) {
            call.out.push(Op::Broadcast, 2, 32, 0, &[]);
        }
    });
    let records = frames(&mut app, 3);
    let got =
        |group| seen(&log, id(group, 0)).iter().map(|(frame, header, _)| (*frame, header.kind)).collect::<Vec<_>>();
    assert_eq!(got(1), [(1, 31), (2, 10)]);
    assert_eq!(got(2), [(1, 10), (1, 32)], "by sender, over both edges");
    assert_eq!(got(3), [(2, 10), (2, 23)], "who comes earlier hears of it a frame later");
    assert_eq!((records[1].counts.delivered, records[2].counts.delivered), (3, 3));
}

#[test]
fn a_broadcast_reaches_who_is_alive_when_it_arrives_but_not_its_sender() {
    let mut open = group(1, 3);
    open.group.agents_max = 4;
    let (mut app, log) = run(groups(vec![open]), |call| {
        if call.frame == 1 && call.agent == id(1, 0) {
            call.out.push(Op::Broadcast, 1, 4, 9, b"all");
            call.out.push(Op::Broadcast, 7, 4, 8, b"none");
        }
    });
    frames(&mut app, 2);
    // One ends with a last call, and one is new: both get it.
    let record = frame(&mut app, vec![order(id(1, 2), LifecycleAction::Terminate), spawn(1)]);
    assert_eq!(record.counts.delivered, 3, "two, and the bounce");
    frames(&mut app, 1);
    for (ordinal, expected) in [(1, vec![2]), (2, vec![2]), (3, vec![3])] {
        let got = seen(&log, id(1, ordinal));
        assert_eq!(got.iter().map(|(frame, ..)| *frame).collect::<Vec<_>>(), expected);
        assert_eq!((got[0].1.status, got[0].1.topic, got[0].1.correlation), (status::BROADCAST, 0, 9));
    }
    assert_eq!(bounces(&log, id(1, 0)), [(2, 8, BounceReason::UnknownRecipient as u32)]);
}

#[test]
fn a_request_is_answered_in_time_or_times_out() {
    for (deadline, answer_frame, expected) in
        [(1, 2, vec![(2, kind::TIMEOUT)]), (2, 2, vec![(3, 0)]), (3, 3, vec![(4, 0)]), (3, 4, vec![(4, kind::TIMEOUT)])]
    {
        let (mut app, log) = run(groups(vec![group(1, 1), group(2, 1)]), move |call| {
            if call.agent == id(1, 0) && call.frame == 1 {
                call.out.request(id(2, 0), 77, deadline);
            } else if call.agent == id(2, 0) && call.frame == answer_frame {
                call.out.push(Op::Reply, id(1, 0).0, 0, 77, &[]);
                call.out.push(Op::Reply, id(1, 0).0, 0, 77, &[]);
            }
        });
        frames(&mut app, 7);
        assert_eq!(seen(&log, id(2, 0))[0].1.status, status::REQUEST);
        let told: Vec<_> = seen(&log, id(1, 0)).iter().map(|(frame, header, _)| (*frame, header.kind)).collect();
        assert_eq!(told, expected, "deadline {deadline}, answer in frame {answer_frame}");
        let late = expected[0].1 == kind::TIMEOUT;
        let none = bounces(&log, id(2, 0));
        assert!(none.iter().all(|bounce| bounce.2 == BounceReason::NoRequest as u32));
        // A reply of the frame in which the deadline passes comes too late.
        assert_eq!(none.len(), if late { 2 } else { 1 });
    }
}

#[test]
fn requests_are_bounded_and_their_numbers_differ() {
    let mut limited = group(1, 1);
    limited.group.limits.requests_max = 2;
    let (mut app, log) = run(groups(vec![limited, group(2, 1)]), |call| {
        if call.agent == id(1, 0) && call.frame == 1 {
            for (to, number) in [(0, 1), (0, 1), (9, 2), (0, 3), (0, 4)] {
                call.out.request(id(2, to), number, 9);
            }
        }
    });
    frames(&mut app, 3);
    let [state, unknown] = [BounceReason::WrongState, BounceReason::UnknownRecipient].map(|reason| reason as u32);
    // What isn't sent doesn't wait.
    assert_eq!(bounces(&log, id(1, 0)), [(2, 1, state), (2, 2, unknown), (2, 4, OVER)]);
}

#[test]
fn a_greedy_group_has_what_its_budget_and_its_tenants_allow() {
    let mut greedy = group(1, 2);
    greedy.group.limits.messages_per_frame_max = 3;
    let mut other = group(2, 1);
    (greedy.group.tenant, other.group.tenant) = (Some(TenantId(0)), Some(TenantId(0)));
    let mut population = groups(vec![greedy, other, group(3, 1)]);
    population.tenants = vec![wasm_engine_components::Tenant { messages_per_frame_max: 4, ..tenant() }];
    let (mut app, log) = run(population, |call| {
        if call.frame == 1 && call.agent.group() != GroupId(3) {
            (0..2).for_each(|number| call.out.push(Op::Send, id(3, 0).0, 0, number, &[]));
        }
    });
    let records = frames(&mut app, 3);
    // Lower ids first: two, and one of two; the other group has the one that is left of the tenant's four.
    assert_eq!(bounces(&log, id(1, 0)), []);
    assert_eq!(bounces(&log, id(1, 1)), [(2, 1, OVER)]);
    assert_eq!(bounces(&log, id(2, 0)), [(2, 1, OVER)]);
    assert_eq!((records[1].counts.messages, records[1].counts.dropped), (6, 2));
    assert_eq!(seen(&log, id(3, 0)).len(), 4);
}

#[test]
fn a_greedy_tenant_does_not_change_another_groups_digest() {
    let digest = |greedy: bool| {
        let mut quiet = group(1, 2);
        quiet.group.accepts = Some(vec![GroupId(1)]);
        let mut noisy = group(2, 3);
        noisy.group.tenant = Some(TenantId(0));
        let mut population = groups(vec![quiet, noisy]);
        population.tenants =
            vec![wasm_engine_components::Tenant { messages_per_frame_max: 5, fuel_per_frame_max: 20, ..tenant() }];
        let (mut app, _) = run(population, move |call| {
            let sends = if call.agent.group() == GroupId(1) || !greedy { 1 } else { 20 };
            (0..sends).for_each(|_| call.out.send(id(1, 1 - call.agent.ordinal() % 2), 0, &[1]));
        });
        frames(&mut app, 12).pop().unwrap()
    };
    let (modest, greedy) = (digest(false), digest(true));
    assert_eq!(modest.groups[0], greedy.groups[0]);
    assert_ne!(modest.digest, greedy.digest);
}

#[test]
fn the_higher_priority_goes_first_and_who_waits_ages() {
    let population = |ageing| {
        let mut urgent = group(2, 1);
        urgent.group.schedule.priority = 2;
        Population { scheduler: bounded(SchedulerMode::Priority, 1, ageing), ..groups(vec![group(1, 1), urgent]) }
    };
    let (mut app, log) = run(population(0), |_| {});
    let records = frames(&mut app, 9);
    assert_eq!((calls(&log, id(1, 0)), calls(&log, id(2, 0)).len()), (vec![], 9), "without ageing, it waits forever");
    assert!(records.iter().all(|record| record.counts.deferred == 1));
    let (mut app, log) = run(population(1), |_| {});
    frames(&mut app, 9);
    let waited: Vec<_> = calls(&log, id(1, 0)).into_iter().map(|call| call.0).collect();
    assert_eq!(waited, [2, 5, 8], "two frames of waiting make up for a priority of two");
}

#[test]
fn a_round_goes_on_where_it_stopped() {
    let population =
        Population { scheduler: bounded(SchedulerMode::RoundRobin, 2, 0), ..groups(vec![group(1, 2), group(2, 3)]) };
    let (mut app, log) = run(population, |_| {});
    frames(&mut app, 5);
    let order: Vec<_> = log.lock().unwrap().iter().map(|call| (call.0, call.1)).collect();
    let round = [id(1, 0), id(1, 1), id(2, 0), id(2, 1), id(2, 2)];
    let mut expected: Vec<_> = (0..10).map(|at| (at as u64 / 2, round[at % 5])).collect();
    // Within a frame, calls come in the order of ids.
    expected.sort();
    assert_eq!(order, expected);
}

#[test]
fn who_is_deferred_is_called_first_in_the_next_frame_though_it_is_not_due() {
    let mut seldom = group(1, 3);
    seldom.group.schedule.trigger = Trigger::Every { period: 4, phase: 0 };
    let population = Population { scheduler: bounded(SchedulerMode::Priority, 2, 0), ..groups(vec![seldom]) };
    let (mut app, log) = run(population, |_| {});
    let deferred: Vec<_> = frames(&mut app, 8).iter().map(|record| record.counts.deferred).collect();
    assert_eq!(deferred, [1, 0, 0, 0, 1, 0, 0, 0]);
    assert_eq!((steps(&log, id(1, 0)), steps(&log, id(1, 2))), (vec![4], vec![5]));
}

#[test]
fn supervisors_are_told_of_faults_and_end_an_escalation() {
    let mut shaky = group(2, 1);
    shaky.group.supervisor = Some(GroupId(1));
    shaky.group.on_fault = FaultPolicy::Escalate;
    let (mut app, log) = run(groups(vec![group(1, 2), shaky]), |call| {
        if call.agent == id(2, 0) && call.frame == 1 {
            call.out.fault = Some(FaultKind::Trap);
        }
        if call.agent == id(1, 0) && call.frame == 4 {
            call.out.push(Op::Restart, id(2, 0).0, 0, 0, &[]);
        }
    });
    let records = frames(&mut app, 7);
    assert_eq!(
        records[1].faults,
        [AgentFault { agent: id(2, 0), kind: FaultKind::Trap, detail: 0, reached: 0, allowed: 0 }]
    );
    for supervisor in [id(1, 0), id(1, 1)] {
        let (frame, header, payload) = seen(&log, supervisor).pop().unwrap();
        assert_eq!((frame, header.kind, header.topic), (2, kind::NOTICE, id(2, 0).0));
        let notice: FaultNotice = bytemuck::pod_read_unaligned(&payload);
        assert_eq!((notice.frame, notice.fault, notice.faults, notice.escalated), (1, FaultKind::Trap as u32, 1, 1));
    }
    assert_eq!(calls(&log, id(2, 0))[2..], [(5, CallKind::Init), (6, CallKind::Step)]);
}

#[test]
fn log_lines_and_jobs_beyond_a_groups_frame_are_counted_and_told() {
    let mut limited = group(1, 2);
    limited.group.limits.log_lines_per_frame_max = 3;
    limited.group.limits.jobs_per_frame_max = 1;
    let model = model("m", (1, 4, 1));
    let (mut app, log) = run(Population { models: vec![model], ..groups(vec![limited]) }, |call| {
        if call.frame == 1 {
            (0..2).for_each(|_| call.out.push(Op::Log, 0, 3, 0, b"line"));
            call.out.push(Op::Infer, name_id("m"), 0, 0, &[2]);
        }
    });
    let records = frames(&mut app, 3);
    assert_eq!((records[1].logs.len(), records[1].counts.log_lines_dropped), (3, 1));
    let statuses = [0, 1].map(|ordinal| seen(&log, id(1, ordinal))[0].1.status);
    assert_eq!(statuses, [InferenceStatus::Ok as u32, InferenceStatus::TooMany as u32]);
}

#[test]
fn native_systems_give_commands_see_who_is_there_and_tell_whole_groups() {
    let mut open = group(1, 2);
    open.group.agents_max = 3;
    let (population, seen_by) = (groups(vec![open]), logged::Log::default());
    let noted = seen_by.clone();
    let mut app: App = app(population, move |call| {
        noted.lock().unwrap().push((call.frame, call.agent, call.call, call.inbox));
    });
    let govern = |clock: bevy_ecs::system::Res<wasm_engine_systems::FrameClock>,
                  mut control: AgentCommands,
                  census: Agents,
                  mut post: MailWriter| {
        match clock.frame {
            1 => {
                control.spawn(GroupId(1), 5, b"hi").unwrap();
                control.apply(id(1, 0), LifecycleAction::Pause).unwrap();
                assert!(control.apply(id(1, 2), LifecycleAction::Pause).is_err(), "it isn't there yet");
            }
            2 => {
                let lives: Vec<_> = census.agents(GroupId(1)).map(|(_, life)| life).collect();
                assert_eq!(lives, [Lifecycle::Paused, Lifecycle::Active, Lifecycle::Active]);
                post.broadcast(GroupId(1), 6, b"all").unwrap();
                assert!(post.broadcast(GroupId(2), 6, b"all").is_err());
            }
            3 => control.apply(id(1, 0), LifecycleAction::Resume).unwrap(),
            _ => {}
        }
    };
    app.add_systems(Frame, govern.in_set(AuthorSystems::Simulate));
    frames(&mut app, 5);
    let kinds = |ordinal| {
        let all = seen(&seen_by, id(1, ordinal));
        all.iter().map(|(frame, header, _)| (*frame, header.kind)).collect::<Vec<_>>()
    };
    assert_eq!([kinds(0), kinds(1), kinds(2)], [vec![(4, 6)], vec![(3, 6)], vec![(3, 5), (3, 6)]]);
}
