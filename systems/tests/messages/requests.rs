//! What docs/ABI.md says of requests, deadlines and replies, between groups in no order and along the edges of `after`.

use wasm_engine_abi::message::{kind, status};
use wasm_engine_abi::{BounceReason, Op, OutboxHeader};
use wasm_engine_components::{AgentId, GroupId, Lane, OverflowPolicy, Trigger};
use wasm_engine_systems::Population;

use crate::common::logged::{Log, bounces, frames, groups, id, run, seen};
use crate::common::table::group;

const ASKED: u32 = 1;

/// Which of the two groups comes after the other one: 1 asks, 2 answers.
#[derive(Clone, Copy, Debug)]
enum Order {
    None,
    WhoAnswersIsLater,
    WhoAsksIsLater,
}

impl Order {
    fn population(self) -> Population {
        let (mut asks, mut answers) = (group(1, 1), group(2, 1));
        match self {
            Self::None => {}
            Self::WhoAnswersIsLater => answers.group.after = vec![GroupId(1)],
            Self::WhoAsksIsLater => asks.group.after = vec![GroupId(2)],
        }
        groups(vec![asks, answers])
    }
}

/// When an agent was told what: the kinds, or the status of what isn't the engine's.
fn told(log: &Log, agent: AgentId) -> Vec<(u64, u32)> {
    let told = seen(log, agent).into_iter().map(|(frame, header, _)| {
        let is_engines = header.kind >= kind::RESERVED;
        (frame, if is_engines { header.kind } else { header.status })
    });
    told.collect()
}

/// Agent 1/0 asks 2/0 in frame 1, and is answered in the frame `answered`, twice.
fn ask(order: Order, deadline: u32, answered: u64) -> Log {
    let (mut app, log) = run(order.population(), move |call| {
        if call.agent == id(1, 0) && call.frame == 1 {
            call.out.request(id(2, 0), 77, deadline);
        } else if call.agent == id(2, 0) && call.frame == answered {
            call.out.push(Op::Reply, id(1, 0).0, ASKED, 77, &[]);
            call.out.push(Op::Reply, id(1, 0).0, ASKED, 77, &[]);
        }
    });
    frames(&mut app, 8);
    log
}

#[test]
fn a_reply_counts_if_it_is_sent_before_the_frame_of_the_deadline() {
    for (order, asked) in [(Order::None, 2), (Order::WhoAnswersIsLater, 1), (Order::WhoAsksIsLater, 2)] {
        for deadline in 1..4 {
            for answered in asked..6 {
                let log = ask(order, deadline, answered);
                let case = format!("{order:?}: deadline {deadline}, answered in frame {answered}");
                assert_eq!(told(&log, id(2, 0))[0], (asked, status::REQUEST), "{case}");
                let in_time = answered < 1 + u64::from(deadline);
                let arrives = if matches!(order, Order::WhoAsksIsLater) { answered } else { answered + 1 };
                let expected = match in_time {
                    true => (arrives, status::REPLY),
                    false => (1 + u64::from(deadline), kind::TIMEOUT),
                };
                assert_eq!(told(&log, id(1, 0)), [expected], "{case}: one of both, and once");
                let late = (answered + 1, 77, BounceReason::NoRequest as u32);
                let bounced = if in_time { vec![late] } else { vec![late; 2] };
                assert_eq!(bounces(&log, id(2, 0)), bounced, "{case}");
            }
        }
    }
}

#[test]
fn the_shortest_deadline_that_can_be_met_is_one_along_an_edge_to_who_answers_and_two_else() {
    for (order, asked, shortest) in
        [(Order::None, 2, 2), (Order::WhoAnswersIsLater, 1, 1), (Order::WhoAsksIsLater, 2, 2)]
    {
        let is_met = |deadline| told(&ask(order, deadline, asked), id(1, 0))[0].1 == status::REPLY;
        assert_eq!((1..4).find(|&deadline| is_met(deadline)), Some(shortest), "{order:?}");
    }
}

#[test]
fn a_reply_without_room_is_told_as_a_timeout_in_the_next_frame_and_bounces() {
    for (order, asked, arrives) in
        [(Order::None, 2, 3), (Order::WhoAnswersIsLater, 1, 2), (Order::WhoAsksIsLater, 2, 2)]
    {
        let mut population = order.population();
        population.groups[0].group.limits.mailbox_messages_max = 1;
        let (mut app, log) = run(population, move |call| {
            if call.agent == id(1, 0) && call.frame == 1 {
                call.out.request(id(2, 0), 77, 9);
            } else if call.agent == id(2, 0) && call.frame == asked {
                call.out.send(id(1, 0), ASKED, &[]);
                call.out.push(Op::Reply, id(1, 0).0, ASKED, 77, &[]);
            }
        });
        frames(&mut app, 12);
        let expected = [(arrives, status::PLAIN), (arrives + 1, kind::TIMEOUT)];
        assert_eq!(told(&log, id(1, 0)), expected, "{order:?}: it isn't told again at the deadline");
        assert_eq!(bounces(&log, id(2, 0)), [(arrives + 1, 77, BounceReason::MailboxFull as u32)], "{order:?}");
    }
}

#[test]
fn a_request_that_is_not_delivered_bounces_and_is_over() {
    for (order, bounced) in [(Order::None, 3), (Order::WhoAnswersIsLater, 2), (Order::WhoAsksIsLater, 3)] {
        let mut population = order.population();
        population.groups[1].group.limits.mailbox_messages_max = 1;
        let (mut app, log) = run(population, move |call| {
            if call.agent == id(1, 0) && call.frame == 1 {
                call.out.send(id(2, 0), ASKED, &[]);
                call.out.request(id(2, 0), 77, 3);
            } else if call.agent == id(1, 0) && call.frame == bounced {
                // Its number is free again.
                call.out.request(id(2, 0), 77, 1);
            }
        });
        frames(&mut app, 8);
        let full = (bounced, 77, BounceReason::MailboxFull as u32);
        assert_eq!(bounces(&log, id(1, 0)), [full], "{order:?}");
        let told = told(&log, id(1, 0));
        assert_eq!(told[1..], [(bounced + 1, kind::TIMEOUT)], "{order:?}: that of the second one alone");
    }
}

#[test]
fn an_old_request_that_is_dropped_does_not_end_a_new_one_of_its_number() {
    let mut slow = group(2, 1);
    slow.group.schedule.trigger = Trigger::Timer;
    slow.group.limits.mailbox_messages_max = 1;
    slow.group.overflow = OverflowPolicy::DropOldest;
    let (mut app, log) = run(groups(vec![group(1, 1), slow, group(3, 1)]), |call| {
        match (call.agent.group().0, call.frame) {
            (1, 1) => call.out.request(id(2, 0), 9, 2),
            (1, 3) => call.out.request(id(3, 0), 9, 9),
            (1, 4) => call.out.send(id(2, 0), 0, &[]),
            // It answers after the old request was pushed out of the mailbox of 2/0, in frame 5.
            (3, 7) => call.out.push(Op::Reply, id(1, 0).0, 0, 9, &[]),
            _ => {}
        }
    });
    frames(&mut app, 10);
    let told = seen(&log, id(1, 0)).into_iter().map(|(frame, header, _)| {
        assert_eq!(header.correlation, 9);
        (frame, header.kind)
    });
    assert_eq!(told.collect::<Vec<_>>(), [(3, kind::TIMEOUT), (6, kind::BOUNCE), (8, 0)]);
}

#[test]
fn who_asks_hears_that_the_reply_found_no_room() {
    let mut asker = group(1, 1);
    asker.group.limits.mailbox_messages_max = 1;
    let (mut app, log) = run(groups(vec![asker, group(2, 2)]), |call| {
        if call.frame == 1 && call.agent == id(1, 0) {
            call.out.request(id(2, 1), 7, 9);
        }
        if call.frame == 2 && call.agent == id(2, 0) {
            call.out.send(id(1, 0), 1, &[]);
        }
        if call.frame == 2 && call.agent == id(2, 1) {
            let (target, op) = (id(1, 0).0, Op::Reply as u32);
            call.out.record(OutboxHeader { target, correlation: 7, op, ..OutboxHeader::default() }, &[]);
        }
    });
    let last = frames(&mut app, 6).pop().unwrap();
    let told = seen(&log, id(1, 0)).into_iter();
    let told: Vec<_> = told.map(|(frame, header, _)| (frame, header.kind, header.correlation, header.topic)).collect();
    assert_eq!(told, [(3, 1, 0, 0), (4, kind::TIMEOUT, 7, id(2, 1).0)]);
    assert_eq!(last.lanes[Lane::Requests].0, 0, "the request is over");
}
