//! Schedules: who is due when, who goes first where not all fit, and who comes before whom within a frame.

use std::sync::{Arc, Mutex};

use bevy_app::App;
use wasm_engine_abi::{CallKind, Op, name_id};
use wasm_engine_components::{
    Action, AgentId, FaultKind, FaultPolicy, FrameInputs, FrameRecord, GroupId, Lane, LifecycleAction, Schedule,
    SchedulerMode, SchedulerSettings, Tenant, TenantId, TopicId, TopicSpec, Trigger,
};
use wasm_engine_systems::{GroupSeed, Population, run_frame};

use crate::common::table::{Call, UNCOUNTED, app, group};

fn id(group: u32, ordinal: u32) -> AgentId {
    AgentId::new(GroupId(group), ordinal)
}

fn on(trigger: Trigger, priority: u32, id: u32, agents: u32) -> GroupSeed {
    let mut seed = group(id, agents);
    seed.group.schedule = Schedule { trigger, priority };
    seed
}

fn every(period: u32, phase: u32) -> Trigger {
    Trigger::Every { period, phase }
}

/// The steps of a run: frame, agent, and who its messages are from.
type Steps = Arc<Mutex<Vec<(u64, AgentId, Vec<AgentId>)>>>;

fn record_steps(population: Population, mut step: impl FnMut(&mut Call<'_>) + Send + Sync + 'static) -> (App, Steps) {
    let steps = Steps::default();
    let noted = Arc::clone(&steps);
    let app = app(population, move |mut call| {
        if call.call == CallKind::Step {
            let from = call.inbox.iter().map(|(header, _)| AgentId(header.sender)).collect();
            noted.lock().unwrap().push((call.frame, call.agent, from));
        }
        step(&mut call);
    });
    (app, steps)
}

fn frames(app: &mut App, n: usize) -> Vec<FrameRecord> {
    (0..n).map(|_| run_frame(app.world_mut(), FrameInputs::default())).collect()
}

fn stepped_in(steps: &Steps, agent: AgentId) -> Vec<u64> {
    steps.lock().unwrap().iter().filter(|(_, who, _)| *who == agent).map(|(frame, ..)| *frame).collect()
}

#[test]
fn periods_and_phases() {
    let groups = vec![on(every(3, 0), 0, 1, 1), on(every(3, 1), 0, 2, 1), on(every(1, 0), 0, 3, 1)];
    let (mut app, steps) = record_steps(Population { groups, ..Population::default() }, |_| {});
    frames(&mut app, 8);
    assert_eq!(stepped_in(&steps, id(1, 0)), [3, 6]);
    assert_eq!(stepped_in(&steps, id(2, 0)), [1, 4, 7]);
    assert_eq!(stepped_in(&steps, id(3, 0)), [1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn messages_and_timers_wake_and_nobody_else_is_called() {
    let groups = vec![on(Trigger::Message, 0, 1, 2), on(Trigger::Timer, 0, 2, 2), on(every(100, 1), 0, 3, 1)];
    let (mut app, steps) = record_steps(Population { groups, ..Population::default() }, |call| {
        let wake = |call: &mut Call<'_>, frame| call.out.push(Op::Wake, frame, 0, 0, &[]);
        match (call.agent, call.call) {
            // The last wish holds, and 0 forgets it.
            (agent, CallKind::Init) if agent == id(2, 0) => {
                wake(call, 9);
                wake(call, 4);
            }
            (agent, CallKind::Init) if agent == id(2, 1) => {
                wake(call, 4);
                wake(call, 0);
            }
            // Not later than the frame is the next one.
            (agent, CallKind::Step) if agent == id(2, 0) && call.frame == 4 => wake(call, 2),
            (agent, CallKind::Step) if agent == id(3, 0) => {
                call.out.send(id(1, 0), 1, &[]);
                call.out.send(id(2, 0), 1, &[]);
            }
            _ => {}
        }
    });
    let records = frames(&mut app, 8);
    assert_eq!(stepped_in(&steps, id(1, 0)), [2], "a message wakes it");
    assert_eq!(stepped_in(&steps, id(1, 1)), []);
    assert_eq!(stepped_in(&steps, id(2, 0)), [4, 5], "messages don't wake it, and wait");
    assert_eq!(stepped_in(&steps, id(2, 1)), []);
    let steps = steps.lock().unwrap();
    assert!(steps.contains(&(4, id(2, 0), vec![id(3, 0)])));
    assert_eq!(records[6].counts.steps, 0);
}

#[test]
fn a_paused_agents_timer_rings_when_it_is_resumed() {
    let groups = vec![on(Trigger::Timer, 0, 1, 1)];
    let (mut app, steps) = record_steps(Population { groups, ..Population::default() }, |call| {
        if call.call == CallKind::Init {
            call.out.push(Op::Wake, 3, 0, 0, &[]);
        }
    });
    for n in 0..8 {
        let commands = match n {
            2 => vec![Action::Agent(id(1, 0), LifecycleAction::Pause)],
            6 => vec![Action::Agent(id(1, 0), LifecycleAction::Resume)],
            _ => Vec::new(),
        };
        run_frame(app.world_mut(), FrameInputs { commands, ..FrameInputs::default() });
    }
    assert_eq!(stepped_in(&steps, id(1, 0)), [6]);
}

fn budget(mode: SchedulerMode, steps_per_frame_max: u64, ageing_frames: u32) -> SchedulerSettings {
    SchedulerSettings { mode, steps_per_frame_max, ageing_frames, ..SchedulerSettings::default() }
}

/// Who is stepped in each frame from the first one on in which all are initialised, with room for some of them.
fn by_frame(groups: Vec<GroupSeed>, scheduler: SchedulerSettings, n: usize) -> (Vec<Vec<(u32, u32)>>, Vec<u64>) {
    let (mut app, steps) = record_steps(Population { groups, scheduler, ..Population::default() }, |_| {});
    let deferred = frames(&mut app, n).iter().map(|record| record.counts.deferred).collect();
    let steps = steps.lock().unwrap();
    let of = |frame| steps.iter().filter(move |step| step.0 == frame);
    let who = |step: &(u64, AgentId, Vec<AgentId>)| (step.1.group().0, step.1.ordinal());
    ((0..n as u64).map(|frame| of(frame).map(who).collect()).collect(), deferred)
}

#[test]
fn priority_is_strict_without_ageing_and_nobody_starves_with_it() {
    let groups = || vec![on(every(1, 0), 0, 1, 2), on(every(1, 0), 3, 2, 2)];
    let (strict, deferred) = by_frame(groups(), budget(SchedulerMode::Priority, 2, 0), 12);
    assert!(strict[4..].iter().all(|frame| *frame == [(2, 0), (2, 1)]), "{strict:?}");
    assert!(deferred[4..].iter().all(|&deferred| deferred == 2));
    let (aged, _) = by_frame(groups(), budget(SchedulerMode::Priority, 2, 2), 60);
    for agent in [(1, 0), (1, 1), (2, 0), (2, 1)] {
        assert!(aged.iter().filter(|frame| frame.contains(&agent)).count() >= 5, "{agent:?} in {aged:?}");
    }
    assert!(aged.iter().all(|frame| frame.len() <= 2));
}

#[test]
fn who_was_deferred_comes_first_in_the_next_frame() {
    let (frames, deferred) = by_frame(vec![on(every(4, 0), 0, 1, 3)], budget(SchedulerMode::Priority, 2, 0), 14);
    assert_eq!(frames[4], [(1, 0), (1, 1)]);
    assert_eq!(frames[5], [(1, 2)]);
    assert_eq!((deferred[4], deferred[5]), (1, 0));
    assert_eq!(frames[8], [(1, 0), (1, 1)]);
}

#[test]
fn round_robin_goes_on_where_it_stopped() {
    let groups = vec![on(every(1, 0), 9, 1, 3), on(every(1, 0), 0, 2, 2)];
    let (frames, _) = by_frame(groups, budget(SchedulerMode::RoundRobin, 2, 0), 13);
    let order: Vec<_> = frames[3..].concat();
    let round = [(1, 0), (1, 1), (1, 2), (2, 0), (2, 1)];
    let start = round.iter().position(|agent| *agent == order[0]).unwrap();
    let expected = round.iter().cycle().skip(start).take(order.len());
    // Within a frame, calls are in the order of ids.
    let mut expected: Vec<_> = expected.copied().collect();
    expected.chunks_mut(2).for_each(<[_]>::sort_unstable);
    assert_eq!(order, expected);
}

/// A tenant without limits.
fn unbounded() -> Tenant {
    let max = u64::MAX;
    Tenant {
        name: "t".into(),
        agents_max: max,
        memory_bytes_max: max,
        fuel_per_frame_max: max,
        messages_per_frame_max: max,
        jobs_per_frame_max: max,
        deliveries_per_frame_max: max,
        log_bytes_per_frame_max: max,
        output_bytes_per_frame_max: max,
    }
}

#[test]
fn fuel_budgets_hold_on_average_for_groups_tenants_and_all() {
    // A call of the table costs 10.
    let steps = |group: u64, tenant: u64, all: u64| {
        let mut seed = on(every(1, 0), 0, 1, 4);
        seed.group.limits.fuel_per_frame_max = group;
        seed.group.tenant = Some(TenantId(0));
        let tenant = Tenant { fuel_per_frame_max: tenant, ..unbounded() };
        let scheduler = SchedulerSettings { fuel_per_frame_max: all, ..SchedulerSettings::default() };
        let population = Population { groups: vec![seed], tenants: vec![tenant], scheduler, ..Population::default() };
        let (mut app, _) = record_steps(population, |_| {});
        frames(&mut app, 10);
        frames(&mut app, 100).iter().map(|record| record.counts.steps).sum::<u64>()
    };
    let max = u64::MAX;
    assert_eq!(steps(max, max, max), 400);
    for (group, tenant, all) in [(25, max, max), (max, 25, max), (max, max, 25)] {
        let steps = steps(group, tenant, all);
        assert!((248..=252).contains(&steps), "{steps} steps of 10 in 100 frames with 25 each");
    }
}

/// A mean is wrong once: each of a group's agents takes a hundred times what they took before.
#[test]
fn what_a_group_takes_beyond_its_own_budget_nobody_else_pays_for() {
    let max = u64::MAX;
    // The greedy group's steps from that frame on, and those of the others. 1,000 of each 4,040 that it takes at once are its own.
    for (group, tenant, all) in [(1_000, max, 1_200), (1_000, 1_100, max), (max, 1_000, 1_200)] {
        let mut greedy = on(every(1, 0), 0, 1, 4);
        (greedy.group.limits.fuel_per_frame_max, greedy.group.tenant) = (group, Some(TenantId(0)));
        let mut others = on(every(1, 0), 0, 2, 4);
        others.group.tenant = (group < max).then_some(TenantId(0));
        let tenant = Tenant { fuel_per_frame_max: tenant, ..unbounded() };
        let scheduler = SchedulerSettings { fuel_per_frame_max: all, ..SchedulerSettings::default() };
        let population =
            Population { groups: vec![greedy, others], tenants: vec![tenant], scheduler, ..Population::default() };
        let (mut app, steps) = record_steps(population, |call| {
            if call.agent.group() == GroupId(1) && call.frame == 10 {
                call.out.more_fuel = 1_000;
            }
        });
        frames(&mut app, 15);
        let steps = steps.lock().unwrap();
        let of = |group: u32, frame: u64| {
            steps.iter().filter(|step| step.0 == frame && step.1.group() == GroupId(group)).count()
        };
        let of_frames = |group| (10..15).map(|frame| of(group, frame)).collect::<Vec<_>>();
        assert_eq!(of_frames(1)[..4], [4, 0, 0, 0], "it makes up for what it took");
        assert_eq!(of_frames(2), [4; 5], "the others go on");
    }
}

/// From frame 10 on, each call takes a hundred times what calls took before.
#[test]
fn groups_with_bounds_of_their_own_keep_those_that_they_share() {
    let max = u64::MAX;
    for (own, tenant, all) in [(1_000, 1_000, max), (1_000, max, 1_000), (1_000, 2_000, 1_000), (max, 1_000, max)] {
        let groups = (1..=5).map(|id| {
            let mut seed = on(every(1, 0), 0, id, 4);
            seed.group.limits.fuel_per_frame_max = own;
            seed.group.tenant = (tenant < max).then_some(TenantId(0));
            seed
        });
        let tenants = vec![Tenant { fuel_per_frame_max: tenant, ..unbounded() }];
        let scheduler = SchedulerSettings { fuel_per_frame_max: all, ..SchedulerSettings::default() };
        let population = Population { groups: groups.collect(), tenants, scheduler, ..Population::default() };
        let (mut app, _) = record_steps(population, |call| {
            if call.frame >= 10 {
                call.out.more_fuel = 1_000;
            }
        });
        let before = frames(&mut app, 10).pop().unwrap();
        let after = frames(&mut app, 100).pop().unwrap();
        let fuel = |record: &FrameRecord| record.groups.iter().map(|group| group.totals.fuel).sum::<u64>();
        let used = fuel(&after) - fuel(&before);
        // What is owed at the end is at most what all of them take at once.
        assert!((90_000..=100_000 + 20 * 1_010).contains(&used), "{used} with {own}, {tenant}, {all}");
    }
}

/// Groups without a bound of their own, whose agents trap in each step and are resumed: nothing is counted of what they may have used.
#[test]
fn traps_of_many_groups_wait_for_one_tenants_fuel_together_and_other_groups_do_not_wait() {
    const FRAMES: u64 = 200;
    let run = |trapping: u32, (tenant, all): (u64, u64)| {
        let groups = (1..=trapping + 1).map(|id| {
            let mut seed = on(every(1, 0), 0, id, if id == 1 { 1 } else { 4 });
            seed.group.on_fault = FaultPolicy::Pause;
            seed.group.tenant = (tenant < u64::MAX).then_some(TenantId(0));
            seed
        });
        let tenants = vec![Tenant { fuel_per_frame_max: tenant, ..unbounded() }];
        let scheduler = SchedulerSettings { fuel_per_frame_max: all, ..SchedulerSettings::default() };
        let population = Population { groups: groups.collect(), tenants, scheduler, ..Population::default() };
        let (mut app, steps) = record_steps(population, |call| {
            let traps = call.call == CallKind::Step && call.agent.group() != GroupId(1);
            call.out.fault = traps.then_some(FaultKind::Trap);
        });
        let mut faults = 0;
        for _ in 0..FRAMES {
            let trapped = (2..=trapping + 1).flat_map(|group| (0..4).map(move |ordinal| id(group, ordinal)));
            let commands = trapped.map(|agent| Action::Agent(agent, LifecycleAction::Resume)).collect();
            let record = run_frame(app.world_mut(), FrameInputs { commands, ..FrameInputs::default() });
            faults += record.counts.faults;
        }
        (stepped_in(&steps, id(1, 0)).len(), faults)
    };
    // What is counted of all traps of a frame fits beside the honest group's step.
    for budgets in [(500, u64::MAX), (u64::MAX, 500), (500, 500), (500, 700)] {
        let (alone, _) = run(0, budgets);
        for trapping in [1, 10] {
            let (beside, faults) = run(trapping, budgets);
            // Each group's first call is expected to take its limit, which is all that there is in a frame.
            assert!(beside + trapping as usize + 2 >= alone, "{beside} steps, {alone} alone, {budgets:?}");
            // Beyond what the frames paid, a group may owe what it had not paid when it began and what its four agents took then.
            let owed = u64::from(trapping) * (500 + 4 * UNCOUNTED);
            let paid = FRAMES * 500;
            assert!(faults * UNCOUNTED <= paid + owed, "{faults} faults of {trapping} groups, {budgets:?}");
            assert!(
                faults * UNCOUNTED >= paid / 2 || trapping == 1,
                "{faults} faults of {trapping} groups, {budgets:?}"
            );
        }
    }
}

#[test]
fn a_greedy_tenant_does_not_change_anothers_digest() {
    let run = |greedy_steps: bool| {
        let mut modest = on(every(1, 0), 0, 1, 2);
        let mut greedy = on(every(1, 0), 9, 2, 8);
        (modest.group.tenant, greedy.group.tenant) = (Some(TenantId(0)), Some(TenantId(1)));
        modest.group.accepts = Some(Vec::new());
        let tenant = |name: &str| Tenant {
            name: name.into(),
            agents_max: 100,
            memory_bytes_max: u64::MAX,
            fuel_per_frame_max: 40,
            messages_per_frame_max: 10,
            jobs_per_frame_max: 1,
            deliveries_per_frame_max: 10,
            log_bytes_per_frame_max: 1,
            output_bytes_per_frame_max: 1,
        };
        let tenants = vec![tenant("modest"), tenant("greedy")];
        let population = Population { groups: vec![modest, greedy], tenants, ..Population::default() };
        let (mut app, _) = record_steps(population, move |call| {
            if greedy_steps && call.agent.group() == GroupId(2) {
                (0..50).for_each(|_| call.out.send(id(1, 0), 1, &[1; 100]));
            }
        });
        frames(&mut app, 20).pop().unwrap()
    };
    let (quiet, loud) = (run(false), run(true));
    assert_eq!(quiet.groups[0].digest, loud.groups[0].digest);
    assert_ne!(quiet.groups[1].digest, loud.groups[1].digest);
    assert_eq!(loud.groups[1].totals.messages, loud.groups[1].totals.steps * 50 + 8 * 50);
}

/// Three groups in a row, and one beside them. The first publishes, broadcasts and sends in frame 1.
fn chain() -> (App, Steps) {
    let mut groups: Vec<_> = (1..=4).map(|id| group(id, 2)).collect();
    // The order of the waves is against that of the ids.
    groups[1].group.after = vec![GroupId(3)];
    groups[0].group.after = vec![GroupId(2)];
    groups[0].group.schedule.trigger = Trigger::Message;
    groups.iter_mut().for_each(|seed| seed.group.subscribe = vec![TopicId(name_id("all"))]);
    let topics = vec![TopicSpec::new("all")];
    record_steps(Population { groups, topics, ..Population::default() }, |call| {
        let first = call.frame == 1 && call.call == CallKind::Step;
        if first && call.agent == id(3, 1) {
            call.out.push(Op::Publish, name_id("all"), 1, 0, &[]);
            call.out.push(Op::Broadcast, 2, 2, 0, &[]);
            call.out.send(id(2, 0), 3, &[]);
            call.out.send(id(1, 0), 4, &[]);
            call.out.send(id(4, 0), 5, &[]);
        }
        if first && call.agent == id(2, 0) && call.inbox.len() == 3 {
            call.out.send(id(1, 1), 6, &[]);
            call.out.send(id(3, 0), 7, &[]);
        }
    })
}

#[test]
fn messages_along_an_edge_arrive_in_the_same_frame_and_others_in_the_next() {
    let (mut app, steps) = chain();
    frames(&mut app, 4);
    let steps = steps.lock().unwrap();
    let inbox = |frame, agent| {
        let found = steps.iter().find(|step| step.0 == frame && step.1 == agent);
        found.map(|(.., from)| from.clone())
    };
    let writer = id(3, 1);
    // Wave 0 sends, wave 1 has it, and passes one on to wave 2: two edges in one frame.
    assert_eq!(inbox(1, id(2, 0)), Some(vec![writer; 3]), "publication, broadcast, message");
    assert_eq!(inbox(1, id(2, 1)), Some(vec![writer; 2]));
    assert_eq!(inbox(1, id(1, 1)), Some(vec![id(2, 0)]), "a message of this very frame woke it");
    assert_eq!(inbox(1, id(1, 0)), None, "no edge leads from the third group to the first");
    assert_eq!(inbox(2, id(1, 0)), Some(vec![writer; 2]), "message and publication");
    assert_eq!(inbox(2, id(2, 0)), Some(vec![]), "it has had the publication");
    assert_eq!(inbox(2, id(3, 0)), Some(vec![id(2, 0), writer]), "against the edge it takes a frame");
    assert_eq!(inbox(2, id(4, 0)), Some(vec![writer; 2]));
    let waves: Vec<_> = steps.iter().filter(|step| step.0 == 1).map(|step| step.1.group().0).collect();
    assert_eq!(waves, [3, 3, 4, 4, 2, 2, 1]);
}

#[test]
fn an_edge_costs_no_message_and_counts_none_twice() {
    let (mut app, _) = chain();
    let records = frames(&mut app, 4);
    let sum = |count: fn(&FrameRecord) -> u64| records.iter().map(count).sum::<u64>();
    assert_eq!(sum(|record| record.counts.messages), 7);
    // 8 members get the publication, 2 the broadcast, and 5 messages go to one each.
    assert_eq!(sum(|record| record.counts.delivered), 8 + 2 + 5);
    assert_eq!(sum(|record| record.counts.dropped), 0);
}

#[test]
fn a_budget_goes_to_the_highest_priority_whatever_its_wave() {
    let mut late = on(every(1, 0), 9, 1, 1);
    late.group.after = vec![GroupId(2)];
    let (frames, _) = by_frame(vec![late, on(every(1, 0), 0, 2, 3)], budget(SchedulerMode::Priority, 2, 0), 12);
    assert!(frames[4..].iter().all(|frame| frame.contains(&(1, 0)) && frame.len() == 2), "{frames:?}");
}

#[test]
fn sleepers_with_timers_are_in_the_digest() {
    let lane = |frame: u64| {
        let groups = vec![on(Trigger::Timer, 0, 1, 1)];
        let (mut app, _) = record_steps(Population { groups, ..Population::default() }, move |call| {
            if call.call == CallKind::Init {
                call.out.push(Op::Wake, frame, 0, 0, &[]);
            }
        });
        frames(&mut app, 3).pop().unwrap().lanes[Lane::Schedule]
    };
    assert_ne!(lane(10), lane(11));
}

#[test]
fn a_round_passes_over_nobody_whose_group_is_out_of_fuel() {
    let mut poor = group(1, 3);
    // The table's calls cost 10.
    poor.group.limits.fuel_per_frame_max = 10;
    let calls = Arc::new(Mutex::new([0_u32; 4]));
    let counted = Arc::clone(&calls);
    let scheduler = SchedulerSettings { mode: SchedulerMode::RoundRobin, ..SchedulerSettings::default() };
    let population = Population { groups: vec![poor, group(2, 1)], scheduler, ..Population::default() };
    let mut app = app(population, move |call| {
        let agent = if call.agent.group() == GroupId(2) { 3 } else { call.agent.ordinal() as usize };
        counted.lock().unwrap()[agent] += 1;
    });
    frames(&mut app, 30);
    assert_eq!(*calls.lock().unwrap(), [10, 10, 10, 30]);
}
