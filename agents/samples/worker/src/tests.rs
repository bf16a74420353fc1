use super::*;
use wasm_engine_sdk::testing::{Harness, Incoming, Output};

const FOREMAN: AgentId = AgentId::new(1, 0);

fn worker() -> Harness<Worker> {
    let id = AgentId::of_generation(2, 4, 1);
    let mut worker = Harness::new(Worker::NEW, 1024, 1024).id(id);
    assert_eq!(worker.init_in(4, "ignore_every = 5\nrounds = 10\ntrap_every = 7\nwork_frames = 3\n"), Ok(vec![]));
    worker
}

fn task(number: u64) -> Incoming {
    Incoming::message(FOREMAN, TASK, &number.to_le_bytes()).request().correlation(number)
}

fn result(number: u64) -> Output {
    let payload = work(number, 10).to_le_bytes().to_vec();
    Output::Reply { to: FOREMAN, kind: RESULT, correlation: number, payload }
}

fn last_words(report: Report) -> Vec<Output> {
    let record = |name: &str, value: u32| Output::RecordI64 { name: name.into(), value: value.into() };
    vec![
        record("done", report.done),
        record("ignored", report.ignored),
        record("left", report.left),
        Output::Send { to: FOREMAN, kind: REPORT, correlation: 0, payload: report.to_bytes().to_vec() },
    ]
}

#[test]
fn results_come_when_their_work_is_done_and_a_timer_says_so() {
    let mut worker = worker();
    assert_eq!(worker.step(5, &[task(1)]), Ok(vec![Output::Wake { frame: 8 }]));
    assert_eq!(worker.step(6, &[task(2), task(3)]), Ok(vec![Output::Wake { frame: 8 }]));
    assert_eq!(worker.step(8, &[]), Ok(vec![result(1), Output::Wake { frame: 9 }]));
    assert_eq!(worker.step(9, &[]), Ok(vec![result(2), result(3)]));
}

#[test]
fn a_result_that_is_late_is_counted() {
    let mut worker = worker();
    assert_eq!(worker.step(5, &[task(1)]), Ok(vec![Output::Wake { frame: 8 }]));
    let late = Output::RecordI64 { name: "late".into(), value: 1 };
    assert_eq!(worker.step(11, &[]), Ok(vec![result(1), late]));
}

#[test]
fn work_without_frames_is_answered_at_once() {
    let mut worker = Harness::new(Worker::NEW, 1024, 1024);
    assert_eq!(worker.init("rounds = 10\nwork_frames = 0\n"), Ok(vec![]));
    assert_eq!(worker.step(1, &[task(5), task(7)]), Ok(vec![result(5), result(7)]));
}

#[test]
fn ignored_tasks_have_no_result() {
    let mut worker = worker();
    assert_eq!(worker.step(5, &[task(5), task(10)]), Ok(vec![]));
    let report = Report { done: 0, ignored: 2, left: 0 };
    assert_eq!(worker.shutdown(6, &[]), Ok(last_words(report)));
}

#[test]
#[should_panic(expected = "deadly")]
fn a_deadly_task_is_its_end() {
    let _ = worker().step(5, &[task(1), task(14)]);
}

#[test]
fn its_last_words_are_what_it_did_and_what_is_left() {
    let mut worker = worker();
    assert_eq!(worker.step(5, &[task(1)]), Ok(vec![Output::Wake { frame: 8 }]));
    assert_eq!(worker.step(8, &[task(2)]), Ok(vec![result(1), Output::Wake { frame: 11 }]));
    let report = Report { done: 1, ignored: 0, left: 2 };
    assert_eq!(worker.shutdown(9, &[task(3)]), Ok(last_words(report)));
}

#[test]
fn a_worker_that_was_only_welcomed_reports_too() {
    let mut worker = worker();
    assert_eq!(worker.step(5, &[Incoming::message(FOREMAN, WELCOME, &[0])]), Ok(vec![]));
    assert_eq!(worker.shutdown(6, &[]), Ok(last_words(Report::default())));
    assert_eq!(self::worker().shutdown(6, &[]).expect("nobody to tell").len(), 3);
}

#[test]
fn requests_that_are_no_tasks_are_failures() {
    assert_eq!(worker().step(5, &[Incoming::message(FOREMAN, TASK, &[1]).request()]), Err(BAD_TASK));
    assert_eq!(worker().step(5, &[Incoming::message(FOREMAN, RESULT, &[]).request()]), Err(BAD_TASK));
    assert_eq!(worker().step(5, &[Incoming::message(FOREMAN, TASK, &[0; 8])]), Ok(vec![]));
    let tasks = [1, 2, 3, 4, 6, 8, 9, 11, 12].map(task);
    assert_eq!(worker().step(5, &tasks), Err(TOO_MANY_TASKS));
}
