//! The cost of a frame follows from what it delivers and changes, and not from how many agents or waves there are beside it. The tests
//! count what a frame looks at, where it does so, in builds of these tests alone. A count is the same on every machine. Before these costs
//! were mended, each count was at least a hundred times as high.

use wasm_engine_abi::{CallKind, Op, name_id};
use wasm_engine_components::{
    Action, AgentId, FaultKind, FrameInputs, GroupId, LifecycleAction, OverflowPolicy, TopicId, TopicSpec, Trigger,
};

use crate::world::looks;
use crate::{GroupSeed, Population, run_frame};

#[expect(unreachable_pub, reason = "the tests outside of the crate share it")]
#[path = "../tests/common/table.rs"]
pub(crate) mod table;

use table::{Call, app, group};

/// Runs a frame, and returns how much it looked at and how many messages it delivered.
fn looked(app: &mut bevy_app::App, inputs: FrameInputs) -> (u64, u64) {
    looks::take();
    let record = run_frame(app.world_mut(), inputs);
    (looks::take(), record.counts.delivered)
}

/// Returns the same for a frame that comes after the first ones, and is like all later ones.
fn of_a_frame(app: &mut bevy_app::App) -> (u64, u64) {
    for _ in 0..4 {
        looked(app, FrameInputs::default());
    }
    looked(app, FrameInputs::default())
}

fn topics() -> Vec<TopicSpec> {
    vec![TopicSpec::new("news")]
}

/// A message to a group costs what its living agents do. Its slots are looked at once in a frame.
#[test]
fn a_broadcast_to_a_group_that_has_ended_costs_what_is_left_of_it() {
    for slots in [2_u32, 50_000] {
        let mut ending = group(1, slots);
        ending.inbox_bytes_max = 1 << 20;
        let population = Population { groups: vec![ending, group(2, 1_000)], ..Population::default() };
        let mut app = app(population, |call: Call<'_>| {
            if call.call == CallKind::Step && call.agent.group() == GroupId(2) {
                call.out.push(Op::Broadcast, 1, 0, 0, &[]);
            }
        });
        looked(&mut app, FrameInputs::default());
        let ended =
            (1..slots).map(|ordinal| Action::Agent(AgentId::new(GroupId(1), ordinal), LifecycleAction::Terminate));
        looked(&mut app, FrameInputs { commands: ended.collect(), ..FrameInputs::default() });
        let (looks, delivered) = of_a_frame(&mut app);
        assert_eq!(delivered, 1_000);
        assert_eq!(looks, u64::from(slots) + delivered, "{slots} slots");
    }
}

/// Returns a group that sends, and groups that come after it, each in a wave of its own, with `members` members of a topic together.
fn along(waves: u32, senders: GroupSeed, members: u32) -> Population {
    let mut groups = vec![senders];
    for id in 2..2 + waves {
        let mut next = group(id, members / waves);
        next.group.subscribe = vec![TopicId(name_id("news"))];
        next.group.after = vec![GroupId(id - 1), GroupId(1)];
        next.group.after.dedup();
        next.group.after.sort_unstable();
        groups.push(next);
    }
    Population { groups, topics: topics(), ..Population::default() }
}

/// A publication that is over a budget costs one look, however many waves it would reach.
#[test]
fn publications_along_edges_that_are_over_a_budget_cost_a_look_each() {
    const WAVES: u32 = 300;
    let mut senders = group(1, 10);
    senders.inbox_bytes_max = 1 << 20;
    senders.group.limits.deliveries_per_frame_max = 2 * u64::from(WAVES);
    let mut app = app(along(WAVES, senders, WAVES), |call: Call<'_>| {
        if call.call == CallKind::Step && call.agent.group() == GroupId(1) {
            (0..100).for_each(|_| call.out.push(Op::Publish, name_id("news"), 0, 0, &[]));
        }
    });
    let (looks, delivered) = of_a_frame(&mut app);
    // 1,000 messages, of which two fit. Each sender hears of the others that were its own.
    assert_eq!(delivered, u64::from(2 * WAVES) + 998);
    let most = 1_000 + 2 * u64::from(2 * WAVES) + 8 * u64::from(WAVES) + 1_000;
    assert!(looks <= most, "{looks} looks, at most {most}");
}

const TOPICS: u64 = 50;

/// Returns an app of `groups`, whose agents are members of many topics. The groups for which `publishes` says so publish to each of them, and a frame
/// has as many deliveries as `deliveries` says.
fn publishers(mut groups: Vec<GroupSeed>, deliveries: u64, publishes: fn(GroupId) -> bool) -> bevy_app::App {
    for group in &mut groups {
        group.group.subscribe = (1..=TOPICS).map(TopicId).collect();
    }
    let topics = (1..=TOPICS).map(|id| TopicSpec::new(id.to_string()).with(|topic| topic.id = TopicId(id))).collect();
    let mut population = Population { groups, topics, ..Population::default() };
    population.scheduler.deliveries_per_frame_max = deliveries;
    app(population, move |call: Call<'_>| {
        if call.call == CallKind::Step && publishes(call.agent.group()) {
            (1..=TOPICS).for_each(|topic| call.out.push(Op::Publish, topic, 0, 0, &[]));
        }
    })
}

/// Nobody looks for the members of a topic before their deliveries are paid for, however many groups publish to however many topics.
#[test]
fn publications_to_many_topics_that_are_over_a_budget_cost_no_look_at_their_members() {
    const GROUPS: u32 = 60;
    for edges in [false, true] {
        let groups = (1..=GROUPS).map(|id| {
            let mut group = group(id, 2);
            group.group.after = if edges && id > 1 { vec![GroupId(id - 1)] } else { Vec::new() };
            group
        });
        let (looks, _) = of_a_frame(&mut publishers(groups.collect(), 1, |_| true));
        let messages = u64::from(2 * GROUPS) * TOPICS;
        // One for each message, and one for the group after each in each topic.
        assert!(looks <= messages + 2 * u64::from(GROUPS) * TOPICS, "{looks} looks for {messages} messages");
    }
}

/// What a publication counts is found once for all groups that the same ones hear, by a look at each of those.
#[test]
fn what_a_publication_counts_is_found_once_for_all_that_the_same_groups_hear() {
    const GROUPS: u32 = 120;
    for (chooses, edges) in [(false, false), (true, false), (false, true), (true, true)] {
        let groups = (1..=GROUPS).map(|id| {
            let mut group = group(id, 1);
            group.group.accepts = chooses.then(|| (1..=GROUPS).map(GroupId).collect());
            group.group.after = if edges { (1..id).map(GroupId).collect() } else { Vec::new() };
            group
        });
        let (looks, _) = of_a_frame(&mut publishers(groups.collect(), 0, |_| true));
        let runs = u64::from(GROUPS) * TOPICS;
        // Each has lists of its own with edges, of those that hear it now and of those that do later; without, there is one for all.
        let lists = if edges { u64::from(GROUPS) } else { 1 };
        let most = runs + runs + lists * 4 * runs;
        assert!(looks <= most, "{looks} looks, at most {most}: chooses {chooses}, edges {edges}");
    }
}

/// One that publishes to all topics costs some looks at each of their groups, however many edges there are between those.
#[test]
fn one_that_publishes_beside_groups_with_many_edges_costs_a_few_looks_at_each() {
    const GROUPS: u32 = 300;
    let groups = (1..=GROUPS).map(|id| {
        let mut group = group(id, 1);
        group.group.after = (1..id).map(GroupId).collect();
        group
    });
    let (looks, _) = of_a_frame(&mut publishers(groups.collect(), 1, |group| group == GroupId(1)));
    let most = 10 * u64::from(GROUPS) * TOPICS;
    assert!(looks <= most, "{looks} looks, at most {most}: each topic has {} edges", GROUPS * (GROUPS - 1) / 2);
}

/// Groups after the sender's that don't take its messages cost a publication that is paid for nothing.
#[test]
fn groups_that_dont_take_a_publication_along_edges_cost_it_nothing() {
    const AFTER: u32 = 300;
    const SENDERS: u32 = 40;
    let mut population = along(AFTER, group(1, SENDERS), AFTER);
    for group in &mut population.groups[2..] {
        group.group.accepts = Some(Vec::new());
    }
    let mut app = app(population, |call: Call<'_>| {
        if call.call == CallKind::Step && call.agent.group() == GroupId(1) {
            call.out.push(Op::Publish, name_id("news"), 0, 0, &[]);
        }
    });
    let (looks, delivered) = of_a_frame(&mut app);
    assert_eq!(delivered, u64::from(SENDERS));
    let most = 4 * u64::from(SENDERS) + 4 * u64::from(AFTER);
    assert!(looks <= most, "{looks} looks, at most {most}");
}

/// A publication along edges costs what its recipients do, and two looks for each wave that it is for.
#[test]
fn a_publication_along_many_waves_costs_what_one_along_few_does() {
    const SENDERS: u32 = 40;
    const MEMBERS: u32 = 1_200;
    for waves in [3_u32, 300] {
        let population = along(waves, group(1, SENDERS), MEMBERS);
        let mut app = app(population, |call: Call<'_>| {
            if call.call == CallKind::Step && call.agent.group() == GroupId(1) {
                call.out.push(Op::Publish, name_id("news"), 0, 0, &[]);
            }
        });
        let (looks, delivered) = of_a_frame(&mut app);
        assert_eq!(delivered, u64::from(SENDERS * MEMBERS));
        // Members are found once, and the runs of a wave with what reaches them; those of the frame after, of which there are none, are looked for
        // once more.
        let most = delivered + u64::from(SENDERS * (2 * waves + 1)) + u64::from(MEMBERS) + 4 * u64::from(waves);
        assert!((delivered..=most).contains(&looks), "{looks} looks, at most {most}, in {waves} waves");
    }
}

/// What stays in a mailbox that drops the oldest is looked at once in a frame, however many messages push others out.
#[test]
fn what_stays_at_the_head_of_a_backlog_is_looked_at_once() {
    const FAULTS: u32 = 400;
    const SENT: u32 = 100;
    let mut overseers = group(1, 1);
    overseers.group.overflow = OverflowPolicy::DropOldest;
    overseers.inbox_bytes_max = 1 << 20;
    overseers.group.limits.mailbox_messages_max = FAULTS + 10;
    overseers.group.schedule.trigger = Trigger::Timer;
    let mut faulty = group(2, FAULTS);
    faulty.group.supervisor = Some(GroupId(1));
    let population = Population { groups: vec![overseers, faulty, group(3, 1)], ..Population::default() };
    let mut app = app(population, |call: Call<'_>| match (call.call, call.agent.group().0) {
        (CallKind::Step, 2) if call.frame == 1 => call.out.fault = Some(FaultKind::Trap),
        (CallKind::Step, 3) => {
            for _ in 0..SENT {
                call.out.send(AgentId::new(GroupId(1), 0), 0, &[]);
            }
        }
        _ => {}
    });
    let (looks, _) = of_a_frame(&mut app);
    // Each notice that stays once, and each message once that is pushed out.
    let (least, most) = (u64::from(FAULTS), u64::from(FAULTS + 2 * SENT));
    assert!((least..=most).contains(&looks), "{looks} looks, at most {most}");
}

/// What agents join and leave in a frame changes a topic once: its members are looked at once.
#[test]
fn to_join_and_leave_in_turns_costs_what_to_join_once_does() {
    const MEMBERS: u32 = 50_000;
    for turns in [0_u32, 250] {
        let mut members = group(1, MEMBERS);
        members.group.subscribe = vec![TopicId(name_id("news"))];
        let population = Population { groups: vec![members], topics: topics(), ..Population::default() };
        let mut app = app(population, move |call: Call<'_>| {
            if call.call == CallKind::Step && call.agent.ordinal().is_multiple_of(500) {
                for turn in 0..=turns {
                    let op = if (turn + turns).is_multiple_of(2) { Op::Join } else { Op::Leave };
                    call.out.push(op, name_id("news"), 0, 0, &[]);
                }
            }
        });
        let (looks, _) = of_a_frame(&mut app);
        assert_eq!(looks, u64::from(MEMBERS + MEMBERS / 500 * (turns + 1)), "{turns} turns");
    }
}
