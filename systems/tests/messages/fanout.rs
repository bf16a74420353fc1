//! Messages to many are metered by their recipients, where they are delivered.

use wasm_engine_abi::message::{kind, sender};
use wasm_engine_abi::{BounceReason, CallKind, Op};
use wasm_engine_components::limits::DELIVERIES_LEAST;
use wasm_engine_components::{
    AgentId, Backlog, ExternalEvent, FrameInputs, GroupId, GroupLimits, MailboxCounters, OverflowPolicy, Recipient,
    Schedule, TenantId, TopicId, TopicSpec, Trigger,
};
use wasm_engine_systems::state::save_state;
use wasm_engine_systems::{
    AuthorSystems, Frame, GroupSeed, MailReader, MailWriter, Population, inspect, run_frame, testing,
};

use crate::common::logged::{self, bounces, frames, groups, id, over_budget, run, seen, tenant};
use crate::common::table::{self, Call, group};

const NEWS: u64 = 31;
const OVER: u32 = BounceReason::OverBudget as u32;

fn topic() -> Vec<TopicSpec> {
    vec![TopicSpec::new("news").with(|topic| topic.id = TopicId(NEWS))]
}

/// The correlations of an agent's messages, by the frame in which it saw them.
fn numbers(log: &logged::Log, agent: AgentId) -> Vec<(u64, u64)> {
    let seen = seen(log, agent).into_iter().filter(|(_, header, _)| header.kind < kind::RESERVED);
    seen.map(|(frame, header, _)| (frame, header.correlation)).collect()
}

fn limited(id: u32, agents: u32, change: impl FnOnce(&mut GroupLimits)) -> GroupSeed {
    let mut seed = group(id, agents);
    change(&mut seed.group.limits);
    seed
}

/// In frame 1, an agent of group 2 sends what `push` says.
fn once(
    agent: AgentId,
    push: impl Fn(&mut table::Out) + Send + Sync + 'static,
) -> impl Fn(&mut Call<'_>) + Send + Sync {
    move |call| {
        if call.agent == agent && call.frame == 1 && call.call == CallKind::Step {
            push(call.out);
        }
    }
}

#[test]
fn what_is_beyond_a_step_reaches_nobody_and_bounces_and_what_still_fits_arrives() {
    let writers = limited(2, 2, |limits| limits.deliveries_per_step_max = 12);
    let population = Population { groups: vec![group(1, 5), writers], ..Population::default() };
    // 5 recipients each, and 1 in the own group: 5, 10 for two times 128 bytes, 5, 1, 5.
    let (mut app, log) = run(
        population,
        once(id(2, 0), |out| {
            out.push(Op::Broadcast, 1, 0, 1, &[0; 80]);
            out.push(Op::Broadcast, 1, 0, 2, &[0; 81]);
            out.push(Op::Broadcast, 1, 0, 3, &[]);
            out.push(Op::Broadcast, 2, 0, 4, &[]);
            out.push(Op::Broadcast, 1, 0, 5, &[]);
            out.send(id(1, 0), 0, &[0; 3000]);
        }),
    );
    let records = frames(&mut app, 5);
    assert_eq!(numbers(&log, id(1, 4)), [(2, 1), (2, 3)]);
    assert_eq!(numbers(&log, id(1, 0)), [(2, 1), (2, 3), (2, 0)], "a message to one isn't counted");
    assert_eq!(numbers(&log, id(2, 1)), [(2, 4)]);
    assert_eq!(bounces(&log, id(2, 0)), [(3, 2, OVER), (3, 5, OVER)], "the frame after it was to be delivered");
    assert_eq!((over_budget(&records[2]), records[2].counts.delivered), (2, 12));
    assert_eq!(records.iter().map(|record| record.counts.dropped).sum::<u64>(), 2, "once for all recipients");
}

#[test]
fn each_agent_has_its_step_and_all_of_a_group_its_frame_lower_ids_first() {
    let writers = limited(2, 3, |limits| {
        (limits.deliveries_per_step_max, limits.deliveries_per_frame_max) = (8, 15);
    });
    let population = Population { groups: vec![group(1, 4), writers], ..Population::default() };
    let (mut app, log) = run(population, |call| {
        if call.agent.group() == GroupId(2) && call.frame % 2 == 1 && call.call == CallKind::Step {
            for n in 0..3 {
                call.out.push(Op::Broadcast, 1, 0, u64::from(call.agent.ordinal()) * 10 + n, &[]);
            }
        }
    });
    frames(&mut app, 6);
    // 4 each: two fit into a step, three into the frame; each frame has its own.
    assert_eq!(numbers(&log, id(1, 0)), [(2, 0), (2, 1), (2, 10), (4, 0), (4, 1), (4, 10)]);
    let refused = |ordinal| bounces(&log, id(2, ordinal)).into_iter().map(|bounce| bounce.1).collect::<Vec<_>>();
    assert_eq!((refused(0), refused(1), refused(2)), (vec![2, 2], vec![11, 12, 11, 12], vec![20, 21, 22, 20, 21, 22]));
}

#[test]
fn tenants_and_the_frame_bound_their_groups_together() {
    for (of_tenant, of_all, expected) in [(6, 100, [4, 2]), (100, 9, [4, 5])] {
        let population = move || {
            let (mut first, mut second) = (group(2, 1), group(3, 2));
            (first.group.tenant, second.group.tenant) = (Some(TenantId(0)), Some(TenantId(0)));
            let mut population =
                Population { groups: vec![group(1, 4), first, second, group(4, 1)], ..Population::default() };
            population.tenants = vec![tenant()];
            population.tenants[0].deliveries_per_frame_max = of_tenant;
            population.scheduler.deliveries_per_frame_max = of_all;
            population
        };
        let (mut app, log) = run(population(), |call| {
            let is_first = call.agent.ordinal() == 0 && call.frame == 1 && call.call == CallKind::Step;
            match call.agent.group().0 {
                2 if is_first => call.out.push(Op::Broadcast, 1, 0, 1, &[]),
                3 if is_first => {
                    call.out.push(Op::Broadcast, 1, 0, 2, &[]);
                    call.out.push(Op::Broadcast, 3, 0, 3, &[]);
                    call.out.push(Op::Broadcast, 4, 0, 4, &[]);
                }
                4 if is_first => call.out.push(Op::Broadcast, 1, 0, 5, &[]),
                _ => {}
            }
        });
        let records = frames(&mut app, 4);
        let own = numbers(&log, id(3, 1)).len() + numbers(&log, id(4, 0)).len();
        match expected {
            // The tenant's 6: 4, not 4 more, but 1 and 1. Group 4 has no tenant.
            [4, 2] => assert_eq!((numbers(&log, id(1, 0)), own), (vec![(2, 1), (2, 5)], 2)),
            // All may make 9: 4 and 4, and 1.
            _ => assert_eq!((numbers(&log, id(1, 0)), own), (vec![(2, 1), (2, 2)], 1)),
        }
        assert!(over_budget(&records[2]) > 0);
    }
}

#[test]
fn only_recipients_that_take_messages_from_the_sender_count_and_those_that_join_in_time_do() {
    let mut deaf = group(1, 50);
    (deaf.group.accepts, deaf.group.subscribe) = (Some(vec![GroupId(1)]), vec![TopicId(NEWS)]);
    let mut hearing = group(3, 3);
    hearing.group.subscribe = vec![TopicId(NEWS)];
    let writers = limited(2, 1, |limits| limits.deliveries_per_step_max = 4);
    let population =
        Population { groups: vec![deaf, writers, hearing, group(4, 2)], topics: topic(), ..Population::default() };
    let (mut app, log) = run(population, |call| {
        if call.call != CallKind::Step {
            return;
        }
        match (call.agent.group().0, call.frame) {
            (2, 1 | 2) => call.out.push(Op::Publish, NEWS, 0, call.frame, &[]),
            // They are members when the second one is delivered, and weren't when it was sent.
            (4, 2) => call.out.push(Op::Join, NEWS, 0, 0, &[]),
            _ => {}
        }
    });
    let records = frames(&mut app, 6);
    assert_eq!(numbers(&log, id(3, 0)), [(2, 1)]);
    assert_eq!(bounces(&log, id(2, 0)), [(4, 2, OVER)], "there are 5 recipients by then");
    assert_eq!((records[2].counts.delivered, over_budget(&records[3])), (3, 1));
    assert_eq!(numbers(&log, id(1, 7)), []);
}

#[test]
fn along_an_edge_a_frame_pays_for_what_it_delivers_itself() {
    let mut later = group(3, 4);
    (later.group.after, later.group.subscribe) = (vec![GroupId(2)], vec![TopicId(NEWS)]);
    let mut others = group(1, 4);
    others.group.subscribe = vec![TopicId(NEWS)];
    let writers = limited(2, 1, |limits| limits.deliveries_per_frame_max = 6);
    let population = Population { groups: vec![others, writers, later], topics: topic(), ..Population::default() };
    let (mut app, log) = run(
        population,
        once(id(2, 0), |out| {
            out.push(Op::Broadcast, 3, 0, 1, &[]);
            out.push(Op::Publish, NEWS, 0, 2, &[]);
        }),
    );
    let records = frames(&mut app, 4);
    assert_eq!(numbers(&log, id(3, 0)), [(1, 1)], "the publication is beyond the frame");
    assert_eq!(numbers(&log, id(1, 0)), [], "so it reaches nobody in the next one, either");
    assert_eq!(bounces(&log, id(2, 0)), [(2, 2, OVER)]);
    assert_eq!((over_budget(&records[1]), over_budget(&records[2])), (1, 0));
}

#[test]
fn along_edges_a_message_is_paid_for_once_and_reaches_all_its_waves_or_none() {
    let mut groups = vec![limited(1, 1, |limits| limits.deliveries_per_step_max = 13)];
    for wave in 2..5 {
        let mut next = group(wave, 2);
        next.group.after = (1..wave).map(GroupId).collect();
        next.group.subscribe = vec![TopicId(NEWS)];
        groups.push(next);
    }
    let population = Population { groups, topics: topic(), ..Population::default() };
    let publish = |out: &mut table::Out| (0..4).for_each(|n| out.push(Op::Publish, NEWS, 0, n, &[]));
    let (mut app, log) = run(population, once(id(1, 0), publish));
    let records = frames(&mut app, 4);
    assert_eq!((records[1].counts.delivered, over_budget(&records[1]), over_budget(&records[2])), (12, 2, 0));
    for member in (2..5).flat_map(|wave| [id(wave, 0), id(wave, 1)]) {
        assert_eq!(numbers(&log, member), [(1, 0), (1, 1)], "{member}: each takes 6 of 13");
    }
    assert_eq!(bounces(&log, id(1, 0)), [(2, 2, OVER), (2, 3, OVER)], "one for each message");
}

#[test]
fn what_is_over_its_deliveries_along_edges_is_shown_once_as_refused() {
    let mut now = group(2, 2);
    now.group.after = vec![GroupId(1)];
    let mut groups = vec![limited(1, 1, |limits| limits.deliveries_per_step_max = 1), now, group(3, 1)];
    groups[1..].iter_mut().for_each(|group| group.group.subscribe = vec![TopicId(NEWS)]);
    let population = Population { groups, topics: topic(), ..Population::default() };
    let (mut app, _) = run(population, once(id(1, 0), |out| out.push(Op::Publish, NEWS, 0, 7, &[])));
    let records = frames(&mut app, 2);
    assert_eq!(over_budget(&records[1]), 1);
    let seen = wasm_engine_systems::inspect::sent(app.world());
    let sent: Vec<_> = seen.iter().filter(|message| message.header.sender == id(1, 0).0).collect();
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].to, sent[0].refused), (Recipient::Topic(TopicId(NEWS)), Some(BounceReason::OverBudget)));
    assert_eq!((sent[0].header.correlation, seen.len()), (7, 2), "it, and the bounce");
}

#[test]
fn events_and_native_systems_have_a_budget_and_nobody_sees_what_nobody_gets() {
    #[derive(bevy_ecs::resource::Resource, Default)]
    struct Heard(Vec<u64>);
    let mut population = Population { groups: vec![group(1, 3)], topics: topic(), ..Population::default() };
    population.groups[0].group.subscribe = vec![TopicId(NEWS)];
    population.scheduler.host_deliveries_per_frame_max = 7;
    let (mut app, log) = run(population, |_| {});
    app.init_resource::<Heard>();
    let listen = |mail: MailReader, mut heard: bevy_ecs::system::ResMut<Heard>| {
        heard.0.extend(mail.published(TopicId(NEWS)).map(|(header, _)| header.correlation));
    };
    let post = |mut post: MailWriter| post.broadcast(GroupId(1), 1, &[]).unwrap();
    use bevy_ecs::schedule::IntoScheduleConfigs;
    app.add_systems(Frame, (listen.in_set(AuthorSystems::Sense), post.in_set(AuthorSystems::Simulate)));
    let event = |to, correlation| ExternalEvent { to, kind: 1, correlation, payload: Vec::new() };
    frames(&mut app, 1);
    let (all, news) = (Recipient::Group(GroupId(1)), Recipient::Topic(TopicId(NEWS)));
    let events = vec![event(news, 1), event(all, 2), event(news, 3)];
    let record = run_frame(app.world_mut(), FrameInputs { events, ..FrameInputs::default() });
    assert_eq!((record.counts.delivered, over_budget(&record)), (6, 2), "the third event, and the native system's");
    assert_eq!(numbers(&log, id(1, 2)), [(1, 1), (1, 2)]);
    assert_eq!(app.world().resource::<Heard>().0, [1]);
    let record = frames(&mut app, 1).remove(0);
    assert_eq!((record.counts.delivered, over_budget(&record)), (3, 0), "that of the next frame is within its own");
}

#[test]
fn by_default_a_frame_has_a_delivery_for_each_agent_and_no_small_run_has_few() {
    let sent = |agents: u32, messages: u64| {
        let population = Population { groups: vec![group(1, agents), group(2, 1)], ..Population::default() };
        let (mut app, log) = run(
            population,
            once(id(2, 0), move |out| {
                (0..messages).for_each(|n| out.push(Op::Broadcast, 1, 0, n, &[]));
            }),
        );
        let record = frames(&mut app, 3).remove(2);
        (record.counts.delivered, over_budget(&record), numbers(&log, id(1, agents - 1)).len())
    };
    let fit = DELIVERIES_LEAST / 4_000;
    assert_eq!(sent(4_000, 70), (fit * 4_000, 70 - fit, fit as usize));
    let many = DELIVERIES_LEAST as u32 + 10;
    assert_eq!(sent(many, 3), (u64::from(many), 2, 1), "one for each agent, the sender is one, too");
}

/// What mailboxes don't take is counted for each of them, whatever their policy.
#[test]
fn what_full_mailboxes_drop_of_messages_to_many_is_counted_for_each() {
    for overflow in [OverflowPolicy::Reject, OverflowPolicy::DropOldest, OverflowPolicy::Fault] {
        for trigger in [Trigger::default(), Trigger::Timer] {
            let mut readers = limited(1, 70, |limits| limits.mailbox_messages_max = 2);
            (readers.group.overflow, readers.group.schedule) = (overflow, Schedule { trigger, priority: 0 });
            let (mut app, _) = run(
                groups(vec![readers, group(2, 1)]),
                once(id(2, 0), |out| {
                    (0..5).for_each(|n| out.push(Op::Broadcast, 1, 0, n, &[]));
                }),
            );
            let record = frames(&mut app, 3).remove(2);
            let full = record.counts.dropped_by_reason[BounceReason::MailboxFull as usize - 1];
            assert_eq!((full, record.counts.dropped), (70 * 3, 70 * 3), "{overflow:?} {trigger:?}");
            let faults = if overflow == OverflowPolicy::Fault && trigger == Trigger::default() { 70 } else { 0 };
            assert_eq!(record.counts.faults, faults);
            let world = app.world_mut();
            let mut mailboxes = world.query::<(&MailboxCounters, &Backlog)>();
            let dropped: Vec<_> = mailboxes.iter(world).map(|(counters, _)| counters.dropped).collect();
            assert_eq!(dropped.iter().filter(|&&dropped| dropped == 3).count(), 70);
            let held = if trigger == Trigger::Timer { 70 } else { 0 };
            assert_eq!(mailboxes.iter(world).filter(|(_, backlog)| backlog.len() == 2).count(), held);
        }
    }
}

/// Those that wake together find what they all waited with, and the host has it once.
#[test]
fn what_many_waited_with_is_handed_over_from_one_place() {
    let mut sleepers = group(1, 300);
    sleepers.group.schedule = Schedule { trigger: Trigger::Timer, priority: 0 };
    let (mut app, log) = run(groups(vec![sleepers, group(2, 1)]), |call| match (call.agent.group().0, call.call) {
        (1, CallKind::Init) => call.out.push(Op::Wake, 4, 0, 0, &[]),
        (2, CallKind::Step) if call.frame < 3 => {
            call.out.push(Op::Broadcast, 1, 0, call.frame, &[7; 1000]);
            call.out.send(id(1, 5), 0, &[8; 100]);
        }
        _ => {}
    });
    let record = frames(&mut app, 5).remove(4);
    assert_eq!(record.counts.delivered, 300 * 2 + 2);
    assert_eq!(numbers(&log, id(1, 299)), [(4, 1), (4, 2)]);
    assert_eq!(numbers(&log, id(1, 5)), [(4, 1), (4, 0), (4, 2), (4, 0)]);
    let of_agents = seen(&log, id(1, 0)).iter().all(|(_, header, _)| header.sender > sender::NATIVE);
    assert!(of_agents);
    let words = testing::host_words(app.world());
    assert_eq!(words, 2 * (1_048 / 8) + 2 * (152 / 8), "two to all, and two to one");
}

/// A saved state has what many wait with once, and a few bytes for each mailbox, however many messages wait in it.
#[test]
fn a_state_grows_with_the_messages_that_wait_and_not_with_the_mailboxes() {
    let bytes = |messages: u64| {
        let mut sleepers = group(1, 2_000);
        sleepers.group.schedule = Schedule { trigger: Trigger::Timer, priority: 0 };
        let (mut app, _) = run(
            groups(vec![sleepers, group(2, 1)]),
            once(id(2, 0), move |out| (0..messages).for_each(|n| out.push(Op::Broadcast, 1, 0, n, b"eight by"))),
        );
        let record = frames(&mut app, 3).remove(2);
        assert_eq!(record.counts.dropped, 0);
        let state = save_state(app.world_mut());
        assert_eq!(inspect::backlog(app.world(), id(1, 1_999)).len() as u64, messages);
        (state.section("Backlog").unwrap().bytes(), state.section("HeldMessages").unwrap().bytes())
    };
    let message = 48 + 8 + 16;
    assert_eq!(bytes(1), (2_000 * (8 + 16), message));
    assert_eq!(bytes(60), (2_000 * (8 + 16), 60 * message));
}

/// Groups that send all that they may are bounded together. None of them takes what another has for itself, and none is bounded by the others
/// where a scenario says what it may.
#[test]
fn groups_that_send_as_much_as_they_may_are_bounded_together_and_leave_the_others_their_parts() {
    const READERS: u32 = 1_000;
    let mut seeds = vec![group(1, READERS)];
    seeds[0].inbox_bytes_max = 1 << 20;
    seeds.extend((2..=41).map(|id| group(id, 1)));
    let mut explicit = group(42, 1);
    explicit.group.limits.deliveries_per_frame_max = 20 * u64::from(READERS);
    seeds.extend([explicit, group(43, 1)]);
    let delivered = |honest: u64, of_tenant: bool| {
        let mut seeds = seeds.clone();
        if of_tenant {
            seeds[1..41].iter_mut().for_each(|seed| seed.group.tenant = Some(TenantId(0)));
        }
        let population = Population { tenants: vec![tenant()], ..groups(seeds) };
        let (mut app, log) = run(population, move |call| {
            if call.call == CallKind::Step && call.frame == 1 {
                let messages = match call.agent.group().0 {
                    1 => 0,
                    42 => 20,
                    43 => honest,
                    _ => 200,
                };
                (0..messages).for_each(|n| call.out.push(Op::Broadcast, 1, 0, n, &[]));
            }
        });
        let record = frames(&mut app, 3).remove(2);
        let senders = seen(&log, id(1, 7)).into_iter().map(|(_, header, _)| AgentId(header.sender).group().0);
        let mut by_group = [0_u64; 44];
        senders.for_each(|group| by_group[group as usize] += 1);
        assert_eq!(record.counts.delivered, by_group.iter().sum::<u64>() * u64::from(READERS));
        by_group
    };
    // Of 262,144 for all, and as many again in 42 parts of 6,241, of which one is that of the readers' group.
    let part = DELIVERIES_LEAST / 42 / 1_000;
    let counts = delivered(part, false);
    assert_eq!((counts[42], counts[43]), (20, part));
    assert!(counts[2..42].iter().all(|&count| count >= part), "{counts:?}");
    let together: u64 = counts[2..42].iter().sum();
    assert!(together * 1_000 <= 2 * DELIVERIES_LEAST, "{together}");
    assert_eq!((counts[2], counts[41]), (200, part), "what is there for all goes to whoever comes first");
    // A tenant has one part, and what is there for all within its own budget.
    let counts = delivered(part, true);
    assert_eq!((counts[42], counts[43]), (20, part));
    assert_eq!(counts[2..42].iter().sum::<u64>(), DELIVERIES_LEAST / 1_000);
}

#[test]
fn a_delivery_to_those_who_sleep_or_drop_the_oldest_counts_twice() {
    for (trigger, overflow, counts) in [
        (Trigger::default(), OverflowPolicy::Reject, 1),
        (Trigger::default(), OverflowPolicy::Fault, 1),
        (Trigger::default(), OverflowPolicy::DropOldest, 2),
        (Trigger::Timer, OverflowPolicy::Reject, 2),
        (Trigger::Message, OverflowPolicy::Reject, 2),
        (Trigger::Every { period: 2, phase: 0 }, OverflowPolicy::DropOldest, 2),
    ] {
        let mut readers = group(1, 10);
        (readers.group.overflow, readers.group.schedule.trigger, readers.group.subscribe) =
            (overflow, trigger, vec![TopicId(NEWS)]);
        let writers = limited(2, 1, |limits| limits.deliveries_per_frame_max = 100);
        let population = Population { topics: topic(), ..groups(vec![readers, writers]) };
        let (mut app, _) = run(
            population,
            once(id(2, 0), |out| {
                (0..6).for_each(|n| out.push(Op::Broadcast, 1, 0, n, &[]));
                (0..6).for_each(|n| out.push(Op::Publish, NEWS, 0, n, &[]));
            }),
        );
        let record = frames(&mut app, 3).remove(2);
        assert_eq!(over_budget(&record), 12 - 10 / counts, "{trigger:?} {overflow:?}");
    }
}
