//! Notices of faults: they count against no limit of the group that faults, and an escalation is heard.

use wasm_engine_abi::MessageHeader;
use wasm_engine_abi::message::kind;
use wasm_engine_components::{
    Action, AgentId, FaultKind, FaultPolicy, FrameInputs, GroupId, GroupIndex, LifecycleAction, Recipient, Tenant,
    TenantId,
};
use wasm_engine_systems::{GroupSeed, run_frame, testing};

use crate::common::logged::{self, frames, groups, id, over_budget, run, seen, tenant};
use crate::common::table::{Call, group};

/// In which frames agents of group 1 hear of faults, and of whom.
fn notices(log: &logged::Log, agent: AgentId) -> Vec<(u64, AgentId)> {
    let notices = seen(log, agent).into_iter().filter(|(_, header, _)| header.kind == kind::NOTICE);
    notices.map(|(frame, header, _)| (frame, AgentId(header.topic))).collect()
}

/// A group that traps in frame 1 and is supervised by group 1.
fn faulty(id: u32, agents: u32, on_fault: FaultPolicy) -> GroupSeed {
    let mut faulty = group(id, agents);
    faulty.group.limits.deliveries_per_frame_max = 0;
    (faulty.group.supervisor, faulty.group.on_fault) = (Some(GroupId(1)), on_fault);
    faulty
}

fn trap_in_frame_1(call: &mut Call<'_>) {
    if call.agent.group() != GroupId(1) && call.frame == 1 {
        call.out.fault = Some(FaultKind::Trap);
    }
}

#[test]
fn notices_of_faults_count_against_no_limit_of_the_group_that_faults() {
    for on_fault in [FaultPolicy::Escalate, FaultPolicy::Terminate] {
        let mut shaky = faulty(2, 3, on_fault);
        shaky.group.tenant = Some(TenantId(0));
        let mut population = groups(vec![group(1, 4), shaky]);
        population.tenants = vec![Tenant { deliveries_per_frame_max: 0, ..tenant() }];
        population.scheduler.deliveries_per_frame_max = 0;
        let (mut app, log) = run(population, trap_in_frame_1);
        let records = frames(&mut app, 4);
        assert_eq!(notices(&log, id(1, 3)), [(2, id(2, 0)), (2, id(2, 1)), (2, id(2, 2))]);
        assert_eq!((records[2].counts.delivered, over_budget(&records[2])), (12, 0));
    }
}

/// A notice to 100,000 supervisors is more than what is there for each group, and less than what is there for all.
#[test]
fn an_escalation_that_does_not_fit_waits_and_other_notices_are_dropped_and_counted() {
    let escalate = FaultPolicy::Escalate;
    for (on_fault, later) in
        [(escalate, vec![(3, id(2, 2)), (3, id(2, 3)), (4, id(2, 4))]), (FaultPolicy::Pause, vec![])]
    {
        let (mut app, log) =
            run(groups(vec![group(1, 100_000), faulty(2, 5, on_fault), faulty(3, 1, escalate)]), trap_in_frame_1);
        let records = frames(&mut app, 6);
        // One of its own part, and one of what is there for all. The third group is heard, too.
        let first = vec![(2, id(2, 0)), (2, id(2, 1)), (2, id(3, 0))];
        let dropped: Vec<_> = records.iter().map(over_budget).collect();
        assert_eq!(dropped, if later.is_empty() { [0, 0, 3, 0, 0, 0] } else { [0; 6] });
        assert_eq!(notices(&log, id(1, 99_999)), [first, later].concat());
    }
}

#[test]
fn an_escalation_waits_only_while_its_agent_does() {
    let (mut app, log) = run(groups(vec![group(1, 100_000), faulty(2, 5, FaultPolicy::Escalate)]), trap_in_frame_1);
    frames(&mut app, 2);
    let restart = Action::Agent(id(2, 3), LifecycleAction::Restart);
    let inputs = FrameInputs { commands: vec![restart], ..FrameInputs::default() };
    let record = run_frame(app.world_mut(), inputs);
    assert_eq!(over_budget(&record), 1);
    frames(&mut app, 3);
    assert_eq!(notices(&log, id(1, 0)), [(2, id(2, 0)), (2, id(2, 1)), (3, id(2, 2)), (3, id(2, 4))]);
}

#[test]
fn an_escalation_waits_for_room_in_a_mailbox_and_for_a_supervisor() {
    let mut supervisors = group(1, 2);
    supervisors.group.limits.mailbox_messages_max = 2;
    supervisors.group.agents_max = 3;
    let all = (0..5).map(|ordinal| id(2, ordinal));
    let two_by_two: Vec<_> = [2, 2, 3, 3, 4].into_iter().zip(all.clone()).collect();
    let shaky = || faulty(2, 5, FaultPolicy::Escalate);
    let (mut app, log) = run(groups(vec![supervisors.clone(), shaky()]), trap_in_frame_1);
    let dropped: u64 = frames(&mut app, 6).iter().map(|record| record.counts.dropped).sum();
    assert_eq!((notices(&log, id(1, 0)), dropped), (two_by_two.clone(), 0));
    // One of them has room, the other one reads nothing.
    let (mut app, log) = run(groups(vec![supervisors.clone(), shaky()]), trap_in_frame_1);
    frames(&mut app, 1);
    logged::frame(&mut app, vec![logged::order(id(1, 1), LifecycleAction::Pause)]);
    frames(&mut app, 5);
    logged::frame(&mut app, vec![logged::order(id(1, 1), LifecycleAction::Resume)]);
    assert_eq!(notices(&log, id(1, 0)), two_by_two);
    assert_eq!(notices(&log, id(1, 1)), [(7, id(2, 0)), (7, id(2, 1))]);
    // Nobody is there yet: who comes in frame 4 finds two of them in frame 5.
    supervisors.group.agents = 0;
    let (mut app, log) = run(groups(vec![supervisors, shaky()]), trap_in_frame_1);
    frames(&mut app, 4);
    logged::frame(&mut app, vec![logged::spawn(1)]);
    frames(&mut app, 5);
    let heard: Vec<_> = notices(&log, id(1, 0)).into_iter().map(|(_, about)| about).collect();
    assert_eq!(heard, all.collect::<Vec<_>>());
}

/// A snapshot is a file, and who forges one may say that anything waits.
#[test]
fn what_waits_and_is_no_notice_ends_nothing() {
    for (agent, payload) in [(id(2, 0), 3), (id(2, 0), 32), (id(2, 0), 33), (id(9, 1), 32), (id(2, 9), 0)] {
        let (mut app, log) = run(groups(vec![group(1, 1), faulty(2, 1, FaultPolicy::Escalate)]), |_| {});
        frames(&mut app, 2);
        let header = MessageHeader { kind: kind::NOTICE, topic: agent.0, ..MessageHeader::default() };
        for to in [0, 1].map(GroupIndex) {
            testing::forge(app.world_mut(), Recipient::Group(to), header, vec![1; payload]);
        }
        testing::close_mailbox(app.world_mut(), id(1, 0));
        frames(&mut app, 2);
        assert_eq!(notices(&log, id(1, 0)), []);
    }
}
