use super::*;
use wasm_engine_sdk::testing::{Harness, Incoming, Output};

const ME: AgentId = AgentId::new(1, 0);

fn foreman(crew: u32) -> Harness<Foreman> {
    let mut foreman = Harness::new(Foreman::NEW, 16_384, 8192).id(ME);
    let params = format!("crew = {crew}\ndeadline_frames = 5\nend_frame = 50\nrounds = 3\nworkers = 2\n");
    assert_eq!(foreman.init(&params), Ok(vec![]));
    foreman
}

fn worker(ordinal: u32) -> AgentId {
    AgentId::of_generation(2, ordinal, 1)
}

fn spawn(number: u64) -> Output {
    Output::Spawn { group: 2, kind: WELCOME, correlation: SPAWN | number, payload: vec![0] }
}

fn spawned(ordinal: u32, number: u64) -> Incoming {
    Incoming::spawned(worker(ordinal)).correlation(SPAWN | number)
}

fn task(to: AgentId, number: u64) -> Output {
    let payload = number.to_le_bytes().to_vec();
    Output::Request { to, kind: TASK, correlation: number, deadline_frames: 5, payload }
}

fn result(from: AgentId, number: u64) -> Incoming {
    Incoming::message(from, RESULT, &work(number, 3).to_le_bytes()).reply().correlation(number)
}

fn fault(ordinal: u32, escalated: bool) -> Incoming {
    Incoming::notice(Notice { agent: worker(ordinal), frame: 1, fault: 0, detail: 0, faults: 1, escalated })
}

/// Returns what was recorded, and what else was asked for.
fn split(outputs: Vec<Output>) -> (Vec<Output>, Vec<Output>) {
    outputs.into_iter().partition(|output| matches!(output, Output::RecordI64 { .. }))
}

/// Makes a step, and returns what it asked for, without what it recorded.
fn step(foreman: &mut Harness<Foreman>, frame: u64, messages: &[Incoming]) -> Vec<Output> {
    split(foreman.step(frame, messages).expect("step")).1
}

/// Returns a foreman in frame 2 with two workers, which have the tasks 1 and 2.
fn at_work() -> Harness<Foreman> {
    let mut foreman = foreman(2);
    assert_eq!(foreman.step(1, &[]), Ok(vec![spawn(0), spawn(1)]));
    let tasks = step(&mut foreman, 2, &[spawned(0, 0), spawned(1, 1)]);
    assert_eq!(tasks, [task(worker(0), 1), task(worker(1), 2)]);
    foreman
}

#[test]
fn a_crew_is_spawned_once_and_gets_tasks() {
    let mut foreman = at_work();
    assert_eq!(foreman.step(3, &[]), Ok(vec![]));
    let (records, tasks) = split(foreman.step(4, &[result(worker(1), 2)]).expect("step"));
    assert_eq!(tasks, [task(worker(1), 3)]);
    for (name, value) in [("spawned", 2), ("given", 3), ("answers", 1), ("waiting", 2), ("timeouts", 0)] {
        assert!(records.contains(&Output::RecordI64 { name: name.into(), value }), "{name}: {records:?}");
    }
    assert_eq!(records.len(), 10);
}

#[test]
fn a_task_without_a_result_in_time_is_followed_by_the_next() {
    let mut foreman = at_work();
    assert_eq!(step(&mut foreman, 7, &[Incoming::timeout(worker(0)).correlation(1)]), [task(worker(0), 3)]);
    // An answer or a timeout for a task that isn't waited for changes nothing.
    let late = [Incoming::timeout(worker(0)).correlation(1), result(worker(0), 1), result(worker(0), 2)];
    assert_eq!(foreman.step(8, &late), Ok(vec![]));
    assert_eq!(foreman.agent().counts.timeouts, 1);
}

#[test]
fn a_wrong_result_is_a_failure() {
    for payload in [&work(1, 4).to_le_bytes()[..], &[0; 8], &[]] {
        let wrong = Incoming::message(worker(0), RESULT, payload).reply().correlation(1);
        assert_eq!(at_work().step(4, &[wrong]), Err(WRONG_RESULT));
    }
    // An agent that isn't in the crew can't send a result.
    let forged = Incoming::message(worker(9), RESULT, &[]).reply().correlation(1);
    assert_eq!(at_work().step(4, &[forged]), Ok(vec![]));
}

#[test]
fn only_workers_that_are_left_to_it_are_restarted() {
    let mut foreman = at_work();
    assert_eq!(step(&mut foreman, 3, &[fault(0, false)]), []);
    assert_eq!(step(&mut foreman, 4, &[fault(0, true), fault(9, true)]), [Output::Restart { agent: worker(0) }]);
    let counts = foreman.agent().counts;
    assert_eq!((counts.faults, counts.restarted), (2, 1));
}

#[test]
fn a_full_group_is_enough() {
    let mut foreman = foreman(3);
    assert_eq!(foreman.step(1, &[]), Ok(vec![spawn(0), spawn(1), spawn(2)]));
    let full = |number| Incoming::bounce(BounceReason::GroupFull, 2).correlation(SPAWN | number);
    assert_eq!(step(&mut foreman, 2, &[spawned(0, 0), full(1), full(2)]), [task(worker(0), 1)]);
    assert_eq!(foreman.step(3, &[]), Ok(vec![]));
    assert_eq!(foreman.agent().counts.bounces, 2);
}

#[test]
fn whoever_has_ended_is_replaced() {
    let mut foreman = at_work();
    let gone = Incoming::bounce(BounceReason::Terminated, worker(0).0).correlation(1);
    assert_eq!(step(&mut foreman, 3, &[gone]), [spawn(2)]);
    let next = AgentId::of_generation(2, 0, 2);
    assert_eq!(step(&mut foreman, 4, &[Incoming::spawned(next).correlation(SPAWN | 2)]), [task(next, 3)]);
}

#[test]
fn a_task_that_bounces_for_another_reason_is_followed_by_the_next() {
    let full = Incoming::bounce(BounceReason::MailboxFull, worker(0).0).correlation(1);
    assert_eq!(step(&mut at_work(), 3, &[full]), [task(worker(0), 3)]);
}

#[test]
fn it_gives_no_more_tasks_than_it_may_send() {
    let mut foreman = foreman(3);
    foreman.budget(2, 0);
    assert_eq!(foreman.step(1, &[]).expect("spawns are no messages").len(), 3);
    let crew = [spawned(0, 0), spawned(1, 1), spawned(2, 2)];
    assert_eq!(step(&mut foreman, 2, &crew), [task(worker(0), 1), task(worker(1), 2)]);
    assert_eq!(step(&mut foreman, 3, &[]), [task(worker(2), 3)]);
}

#[test]
fn at_the_end_all_are_terminated_and_counted() {
    let mut foreman = at_work();
    let end = [0, 1].map(|ordinal| Output::Terminate { agent: worker(ordinal) });
    assert_eq!(step(&mut foreman, 50, &[result(worker(0), 1)]), end);
    let report = |ordinal, done| {
        let report = Report { done, ignored: 0, left: 1 };
        Incoming::message(worker(ordinal), REPORT, &report.to_bytes())
    };
    let forged = Incoming::message(AgentId::new(3, 0), REPORT, &[1; 12]);
    let last = [Incoming::timeout(worker(1)).correlation(2), fault(1, true), report(0, 1), report(1, 4), forged];
    assert_eq!(step(&mut foreman, 52, &last), []);
    let counts = foreman.agent().counts;
    assert_eq!((counts.answers, counts.timeouts, counts.given, counts.waiting), (1, 1, 2, 0));
    assert_eq!((counts.reports, counts.done, counts.restarted), (2, 5, 0));
    // A worker that comes after the end is terminated at once.
    assert_eq!(step(&mut foreman, 53, &[spawned(7, 9)]), [Output::Terminate { agent: worker(7) }]);
}

#[test]
fn a_foreman_that_is_restarted_gives_other_numbers() {
    let mut foreman = Harness::new(Foreman::NEW, 16_384, 8192);
    let params = "crew = 1\ndeadline_frames = 5\nend_frame = 50\nrounds = 3\nworkers = 2\n";
    assert_eq!(foreman.init_in(7, params), Ok(vec![]));
    assert_eq!(step(&mut foreman, 8, &[]), [spawn(0)]);
    assert_eq!(step(&mut foreman, 9, &[spawned(0, 0)]), [task(worker(0), (7 << 32) + 1)]);
}

#[test]
fn a_crew_that_is_too_large_is_a_failure() {
    let init = |crew: u32| {
        let params = format!("crew = {crew}\ndeadline_frames = 5\nend_frame = 50\nrounds = 3\nworkers = 2\n");
        Harness::new(Foreman::NEW, 16_384, 8192).init(&params)
    };
    assert_eq!((init(64), init(65), init(300)), (Ok(vec![]), Err(BAD_PARAMS), Err(Failure::PARAM_INVALID)));
}

/// The busiest frames of the largest crew fit into inbox and outbox.
#[test]
fn the_largest_crew_has_room() {
    let mut foreman = foreman(64);
    assert_eq!(foreman.step(1, &[]).expect("spawns").len(), 64);
    let crew: Vec<_> = (0..64).map(|ordinal| spawned(ordinal, ordinal.into())).collect();
    assert_eq!(foreman.step(2, &crew).expect("tasks").len(), 64 + 10);
    let numbered = |ordinal: u32| (worker(ordinal), u64::from(ordinal) + 1);
    let mut busy: Vec<_> = (0..64).map(numbered).map(|(worker, task)| result(worker, task)).collect();
    busy.extend((0..64).map(|ordinal| fault(ordinal, true)));
    assert_eq!(step(&mut foreman, 3, &busy).len(), 128);
    assert_eq!(step(&mut foreman, 50, &[]).len(), 64);
}
