//! Threads, shards and the order of the requests change no result.

use super::*;

/// What a frame gave: per request its outcome without its place, and its outbox; the sums; the log.
fn view(rig: &Rig) -> (Vec<(u64, Option<FaultKind>, u32)>, Vec<Vec<u8>>, u128, u128, Vec<String>) {
    let outcomes = rig.results.outcomes.iter();
    let plain = outcomes.clone().map(|outcome| (outcome.fuel, outcome.fault, outcome.detail)).collect();
    let outboxes = (0..outcomes.len())
        .map(|at| rig.outbox(at).iter().flat_map(|record| record.payload.to_vec()).collect())
        .collect();
    let sum = rig.results.chunks.iter().fold(0, |sum: u128, chunk| sum.wrapping_add(chunk.outbox_sum));
    let lines = rig.results.chunks.iter().flat_map(|chunk| &chunk.log_lines);
    let lines = lines.map(|line| format!("{} {} {}", line.agent.0, line.level, line.text)).collect();
    (plain, outboxes, sum, rig.memory_sum(), lines)
}

/// Echoes, logs, and traps where the payload says so.
fn busy() -> String {
    let log = "(import \"wasm_engine\" \"log\" (func $log (param i32 i32 i32)))";
    let trap = format!(
        "(if (i32.eq (i32.load (i32.const {})) (i32.const 13)) (then unreachable))
         (call $log (i32.load (i32.const {})) (i32.const 0) (i32.const 1))",
        INBOX + 36,
        INBOX + 36
    );
    echo()
        .replace("(module ", &format!("(module {log}"))
        .replace("(global.set $steps", &format!("{trap} (global.set $steps"))
}

#[test]
fn threads_change_nothing() {
    let mails: Vec<Mail<'_>> = (0..1_000).filter(|n| n % 3 != 0).map(|n| mail(n, n % 17, b"payload")).collect();
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).stack_size(32 << 20).build().unwrap();
        pool.install(|| {
            let mut rig = Rig::of(&busy(), &group(2, 1_000));
            (0..3)
                .map(|_| {
                    rig.frame(CallKind::Step, &mails);
                    assert_eq!(rig.results.chunks.len(), 4);
                    view(&rig)
                })
                .collect::<Vec<_>>()
        })
    };
    let one = run(1);
    assert!(one[0].0.iter().any(|outcome| outcome.1.is_some()));
    assert_eq!(one, run(2));
    assert_eq!(one, run(4));
    assert_eq!(one, run(4));
}

#[test]
fn the_order_of_the_requests_changes_nothing() {
    let mails: Vec<Mail<'_>> = (0..700).map(|n| mail(n, n % 11, b"x")).collect();
    let slots: Vec<u32> = (0..700).filter(|n| n % 5 != 1).collect();
    let mut forward = Rig::of(&echo(), &group(1, 700));
    let mut mixed = Rig::of(&echo(), &group(1, 700));
    let order: Vec<u32> = (0..slots.len()).map(|n| slots[n * 181 % slots.len()]).collect();
    for _ in 0..2 {
        forward.frame_of(&slots, CallKind::Step, &mails, true);
        mixed.frame_of(&order, CallKind::Step, &mails, true);
        let (a, b) = (view(&forward), view(&mixed));
        assert_eq!((a.2, a.3), (b.2, b.3));
        for (position, slot) in order.iter().enumerate() {
            let same = slots.binary_search(slot).unwrap();
            assert_eq!((a.0[same], &a.1[same]), (b.0[position], &b.1[position]));
        }
    }
}

#[test]
fn groups_are_dense_in_slots_and_apart_in_chunks() {
    let groups = [group(1, 300), group(4, 1).with(|group| group.module = 1), group(5, 0), group(9, 257)];
    let sources = [source(&echo()), source(&agent("i32.const 3", ""))];
    let runtime = WasmRuntime::load(&WasmOptions::default(), &sources, &groups).unwrap();
    assert_eq!(runtime.inbox_bytes_max(GroupId(5)), 4096);
    let agents = groups.iter().flat_map(|group| (0..group.agents).map(|n| AgentId::new(group.id, n))).collect();
    let mut rig = Rig::from(runtime, agents, 0);
    rig.frame(CallKind::Step, &[mail(300, 1, b"a"), mail(301, 2, b"b"), mail(557, 3, b"c")]);
    let chunks: Vec<u32> = rig.results.chunks.iter().map(|chunk| chunk.group.0).collect();
    assert_eq!(chunks, [1, 1, 4, 9, 9]);
    assert_eq!(rig.results.outcomes[300].detail, 3);
    assert_eq!((rig.outbox(301)[0].header.kind, rig.outbox(557)[0].header.kind), (2, 3));
    // Fewer shards in the next frame: fewer chunks, and nothing of the last.
    rig.frame_of(&[557], CallKind::Step, &[], false);
    assert_eq!((rig.results.chunks.len(), rig.results.chunks[0].group.0), (1, 9));
    assert_eq!((rig.records(), rig.results.chunks[0].outbox_sum, rig.memory_sum()), (0, 0, 0));
}

#[test]
fn a_shallow_thread_may_step_deep_agents() {
    let deep = "(func $down (param i32) (result i32)
        (if (result i32) (local.get 0) (then (call $down (i32.sub (local.get 0) (i32.const 1)))) (else (i32.const 0))))";
    let text = agent("(call $down (i32.const 990))", deep);
    let work = move || Rig::new(&text).fault();
    let thread = std::thread::Builder::new().stack_size(256 << 10).spawn(work).unwrap();
    assert_eq!(thread.join().unwrap(), (None, 0));
}
