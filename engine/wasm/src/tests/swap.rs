//! Swaps: what an agent takes along, what becomes of one that can't, and that nothing of the old instance is left.

use wasm_engine_abi::{OutboxError, kind};
use wasm_engine_systems::ports::{OverLimit, SwapBatch, SwapRequest, SwapResults};

use super::*;

/// A counter: each step adds `by` to what it has, and reports it. Its initialisation sets it to `start`. `exports` come besides.
fn counter(by: u32, start: u32, exports: &str) -> String {
    let step = format!("(global.set $n (i32.add (global.get $n) (i32.const {by}))) (global.get $n)");
    let init = format!("(param i32) (result i32) (global.set $n (i32.const {start})) i32.const 0)");
    agent(&step, &format!("(global $n (mut i32) (i32.const 0)) {exports}"))
        .replace("(param i32) (result i32) i32.const 0)", &init)
}

fn export(body: &str) -> String {
    format!("(func (export \"agent_export_state\") (param $ctx i32) (result i32) {body})")
}

fn import(body: &str) -> String {
    format!("(func (export \"agent_import_state\") (param $ctx i32) (result i32) {body})")
}

/// Leaves `bytes` bytes, of which the first four are the count.
fn exporting(bytes: u32) -> String {
    export(&format!(
        "(i32.store (i32.const {OUTBOX}) (global.get $n))
         (i32.store offset=60 (local.get $ctx) (i32.const {})) i32.const 0",
        bytes.cast_signed()
    ))
}

/// Adds what it finds to what its initialisation left.
fn importing() -> String {
    import(&format!("(global.set $n (i32.add (global.get $n) (i32.load (i32.const {})))) i32.const 0", INBOX + 48))
}

/// A counter with both exports.
fn swappable(by: u32, start: u32) -> String {
    counter(by, start, &(exporting(4) + &importing()))
}

/// A runtime whose one group begins with the first module, and may get each of the others.
fn rig(texts: &[&str], group: &GroupSpec) -> Rig {
    let sources: Vec<_> = texts.iter().map(|text| source(text)).collect();
    let swaps: Vec<_> = (0..texts.len() as u32).map(|module| ModuleSwap { group: group.id, module }).collect();
    let with_params = group.clone().with(|group| group.params = b"p=1".to_vec());
    let runtime = WasmRuntime::load_with_swaps(&WasmOptions::default(), &sources, &[with_params], &swaps);
    let runtime = runtime.unwrap_or_else(|error| panic!("{error}"));
    let agents = (0..group.agents).map(|ordinal| AgentId::new(group.id, ordinal)).collect();
    let mut rig =
        Rig { runtime, agents, results: StepResults::default(), frame: 0, called: Vec::new(), regions: Vec::new() };
    rig.frame(CallKind::Init, &[]);
    rig
}

impl Rig {
    /// Swaps all agents; `init` is whether each is initialised at once where it has no state.
    fn swap(&mut self, module: u32, init: bool) -> SwapResults {
        let requests: Vec<_> = self
            .agents
            .iter()
            .zip(0..)
            .map(|(&agent, slot)| SwapRequest { agent, slot: AgentSlot(slot), init })
            .collect();
        self.swap_of(module, &requests)
    }

    fn swap_of(&mut self, module: u32, requests: &[SwapRequest]) -> SwapResults {
        let mut results = SwapResults::default();
        let batch =
            SwapBatch { frame: self.frame, digest_memories: true, group: self.agents[0].group(), module, requests };
        self.runtime.swap(&batch, &mut results);
        results
    }

    /// What each agent reports in a step.
    fn counts(&mut self) -> Vec<u32> {
        self.frame(CallKind::Step, &[]);
        self.results.outcomes.iter().map(|outcome| outcome.detail).collect()
    }
}

#[test]
fn state_is_carried_over_and_back() {
    let mut rig = rig(&[&swappable(1, 100), &swappable(10, 1_000)], &group(1, 300));
    assert_eq!(rig.counts(), [101; 300]);
    let results = rig.swap(1, false);
    assert_eq!((results.carried, results.faults.len()), (vec![true; 300], 0));
    assert!(results.fuel > 0 && results.memory_sum != 0);
    // Initialised with 1,000, to which the import added the 101 that were there.
    assert_eq!(rig.counts(), [1_111; 300]);
    assert!(rig.swap(0, false).carried.iter().all(|&carried| carried));
    assert_eq!(rig.counts(), [100 + 1_111 + 1; 300]);
    assert!(rig.swap(0, false).carried.iter().all(|&carried| carried), "a module may take its own place");
    assert_eq!(rig.counts(), [100 + 1_212 + 1; 300]);
}

#[test]
fn without_both_exports_an_agent_begins_anew() {
    let (plain, only_export) = (counter(1, 5, ""), counter(1, 6, &exporting(4)));
    let only_import = counter(1, 7, &importing());
    for (from, to) in [(&plain, &only_import), (&only_export, &plain), (&only_import, &only_export)] {
        let mut rig = rig(&[from, to], &group(1, 2));
        rig.counts();
        let results = rig.swap(1, false);
        assert_eq!((results.carried, results.faults.len(), results.fuel), (vec![false; 2], 0, 0));
        assert_eq!(rig.counts(), [1; 2], "it isn't even initialised: that is the frame's to do");
        // One that nobody will initialise later is initialised at once.
        let results = rig.swap(1, true);
        assert!(results.carried == [false; 2] && results.faults.is_empty() && results.fuel > 0);
        assert!(rig.counts()[0] > 1);
    }
}

#[test]
fn an_agent_that_is_not_asked_for_begins_anew() {
    let mut rig = rig(&[&swappable(1, 0), &swappable(10, 0)], &group(1, 3));
    rig.counts();
    let request = SwapRequest { agent: rig.agents[1], slot: AgentSlot(1), init: false };
    assert_eq!(rig.swap_of(1, &[request]).carried, [true]);
    assert_eq!(rig.counts(), [10, 11, 10]);
}

/// Swaps two agents from a module with one export to a good one, or from a good one to one with one import.
fn check(exports: &str, imports: &str, fault: FaultKind, detail: u32) {
    let mut rig = rig(&[&counter(1, 0, exports), &counter(10, 50, imports)], &group(1, 2));
    rig.counts();
    let results = rig.swap(1, false);
    assert_eq!(results.carried, [false; 2], "{exports} {imports}");
    let faults: Vec<_> = results.faults.iter().map(|fault| (fault.agent, fault.kind, fault.detail)).collect();
    let expected: Vec<_> = rig.agents.iter().map(|&agent| (agent, fault, detail)).collect();
    assert_eq!(faults, expected, "{exports} {imports}");
    // As it was made, so that the frame's initialisation begins at the beginning.
    assert_eq!(rig.counts(), [10; 2]);
    rig.frame(CallKind::Init, &[]);
    assert_eq!(rig.counts(), [60; 2]);
}

#[test]
fn an_export_that_faults_is_a_fresh_start() {
    let whole = |body: &str, kind, detail| check(&export(body), &importing(), kind, detail);
    whole("unreachable", FaultKind::Unreachable, 0);
    whole("(loop $l (br $l)) i32.const 0", FaultKind::OutOfFuel, 0);
    whole("i32.const 9", FaultKind::Reported, 9);
    whole(
        "(i32.store offset=56 (local.get $ctx) (i32.const 1)) i32.const 0",
        FaultKind::BadOutbox,
        OutboxError::Malformed as u32,
    );
    for bytes in [8_193, u32::MAX] {
        check(&exporting(bytes), &importing(), FaultKind::BadOutbox, OutboxError::Truncated as u32);
    }
}

#[test]
fn an_import_that_faults_is_a_fresh_start() {
    let whole = |body: &str, kind, detail| {
        let changed = format!("(global.set $n (i32.const 77)) (i32.store (i32.const 40000) (i32.const 1)) {body}");
        check(&exporting(4), &import(&changed), kind, detail);
    };
    whole("unreachable", FaultKind::Unreachable, 0);
    whole("(loop $l (br $l)) i32.const 0", FaultKind::OutOfFuel, 0);
    whole("i32.const 3", FaultKind::Reported, 3);
}

#[test]
fn an_agent_that_nobody_will_initialise_is_initialised_at_once() {
    let fails = |text: &str| {
        text.replace("(global.set $n (i32.const 50)) i32.const 0", "(global.set $n (i32.const 50)) i32.const 4")
    };
    let good = counter(10, 50, &importing());
    assert_ne!(fails(&good), good);
    let bad_export = counter(1, 0, &export("unreachable"));
    let bad_import = counter(10, 50, &import("(global.set $n (i32.const 77)) unreachable"));
    let good_export = counter(1, 0, &exporting(4));
    for (from, to, faults, count) in [
        (&bad_export, &good, &[FaultKind::Unreachable][..], 60),
        (&good_export, &bad_import, &[FaultKind::Unreachable], 60),
        // It stays as its failure left it, like any agent that is paused after a fault.
        (&good_export, &fails(&good), &[FaultKind::Reported], 60),
        (&bad_export, &fails(&good), &[FaultKind::Unreachable, FaultKind::Reported], 60),
    ] {
        let mut rig = rig(&[from, to], &group(1, 1));
        let results = rig.swap(1, true);
        assert_eq!(results.carried, [false]);
        assert_eq!(results.faults.iter().map(|fault| fault.kind).collect::<Vec<_>>(), faults);
        assert_eq!(rig.counts(), [count]);
    }
}

#[test]
fn a_state_that_is_too_large_is_a_fresh_start() {
    // The inbox of the second has room for a header and 16 bytes.
    let small = |text: String| text.replace(&good_header(), &header(wasm_engine_abi::MAGIC, 1, (128, 64), (8192, 64)));
    for (bytes, fits) in [(0, true), (15, true), (16, true), (17, false), (8_192, false)] {
        let (from, to) = (counter(1, 0, &exporting(bytes)), small(counter(10, 0, &importing())));
        let mut rig = rig(&[&from, &to], &group(1, 1));
        assert_eq!(rig.runtime.inbox_bytes_max(GroupId(1)), 64, "mailboxes hold what every module of the group takes");
        rig.counts();
        let results = rig.swap(1, false);
        assert_eq!(results.carried, [fits], "{bytes} bytes");
        if !fits {
            let fault = results.faults[0];
            assert_eq!((fault.kind, fault.detail), (FaultKind::OverLimit, OverLimit::StateBytes as u32));
            assert_eq!((fault.reached, fault.allowed), (48 + u64::from(bytes.next_multiple_of(8)), 64));
        }
        // Of an empty state, it finds what lies where a payload would be: the parameters.
        let found = if bytes == 0 { u32::from_le_bytes(*b"p=1\0") } else { u32::from(fits) };
        assert_eq!(rig.counts(), [10 + found]);
    }
}

#[test]
fn the_import_finds_one_record_of_the_engine_with_the_state() {
    let seen = format!(
        "(if (i32.ne (i32.load offset=32 (local.get $ctx)) (i32.const 1)) (then unreachable))
         (if (i32.ne (i32.load offset=36 (local.get $ctx)) (i32.const 56)) (then unreachable))
         (if (i32.ne (i32.load offset=40 (local.get $ctx)) (i32.const 5)) (then unreachable))
         (if (i64.ne (i64.load (i32.const {INBOX})) (i64.const 0)) (then unreachable))
         (if (i32.ne (i32.load (i32.const {})) (i32.const {})) (then unreachable))
         (if (i32.ne (i32.load (i32.const {})) (i32.const 4)) (then unreachable)) i32.const 0",
        INBOX + 36,
        kind::STATE.cast_signed(),
        INBOX + 44,
    );
    let mut rig = rig(&[&swappable(1, 0), &counter(1, 0, &import(&seen))], &group(1, 1));
    let results = rig.swap(1, false);
    assert_eq!((results.carried, results.faults), (vec![true], vec![]));
}

#[test]
fn nothing_of_the_old_instance_is_left() {
    // It grows, and fills its memory; the new module has two pages, and another place for its block.
    let wild = "(drop (memory.grow (i32.const 3))) (memory.fill (i32.const 20000) (i32.const 255) (i32.const 200000)) i32.const 0";
    let next = agent("(drop (memory.grow (i32.const 1))) i32.const 0", "(data (i32.const 70000) \"new\")")
        .replace("(memory (export \"memory\") 1)", "(memory (export \"memory\") 2 3)");
    let mut swapped = rig(&[&agent(wild, ""), &next], &group(1, 2));
    swapped.frame(CallKind::Step, &[]);
    swapped.swap(1, false);
    let mut fresh = Rig::of(&next, &group(1, 2));
    for frame in 0..3 {
        (swapped.frame, fresh.frame) = (frame, frame);
        swapped.frame(CallKind::Step, &[]);
        fresh.frame(CallKind::Step, &[]);
        assert_eq!(swapped.memory_sum(), fresh.memory_sum());
        assert!(swapped.results.outcomes.iter().all(|outcome| outcome.fault.is_none()));
    }
}

#[test]
fn a_module_that_is_refused_leaves_the_old_one() {
    let foreign = agent_with("(import \"env\" \"f\" (func))", "i32.const 0", "");
    let log = agent_with("(import \"wasm_engine\" \"log\" (func (param i32 i32 i32)))", "i32.const 0", "");
    let large = agent("i32.const 0", "").replace("(memory (export \"memory\") 1)", "(memory (export \"memory\") 17)");
    let narrow =
        agent("i32.const 0", "").replace(&good_header(), &header(wasm_engine_abi::MAGIC, 1, (128, 48), (8192, 64)));
    let newer =
        agent("i32.const 0", "").replace(&good_header(), &header(wasm_engine_abi::MAGIC, 2, (128, 4096), (8192, 64)));
    let wrong = agent("i32.const 0", "(func (export \"agent_import_state\") (param i64))");
    let traps = agent("i32.const 0", "(func $s unreachable) (start $s)");
    let mut group = group(1, 2);
    group.capabilities = Capabilities::NONE;
    let good = swappable(1, 0);
    let texts = [&good, &foreign, &log, &large, &narrow, &newer, &wrong, &traps].map(String::as_str);
    let mut rig = rig(&texts, &group);
    let problem = |module| rig.runtime.refusal(ModuleSwap { group: GroupId(1), module });
    assert_eq!(problem(0), None);
    assert!(matches!(problem(1), Some(ModuleProblem::UnknownImport { .. })));
    assert!(matches!(problem(2), Some(ModuleProblem::Denied { .. })));
    assert!(matches!(problem(3), Some(ModuleProblem::Memory { .. })));
    assert!(matches!(problem(4), Some(ModuleProblem::Params { .. })));
    assert!(matches!(problem(5), Some(ModuleProblem::Layout(_))));
    assert!(matches!(problem(6), Some(ModuleProblem::ExportType { export: "agent_import_state", .. })));
    assert!(matches!(problem(7), Some(ModuleProblem::Start { .. })));
    assert_eq!(rig.runtime.inbox_bytes_max(GroupId(1)), 4096, "what is refused bounds nothing");
    assert_eq!((rig.counts(), rig.counts()), (vec![1; 2], vec![2; 2]));
    // A module that a group begins with is refused as ever, and so is one that nobody uses.
    let bad = source(&foreign);
    let swap = [ModuleSwap { group: GroupId(1), module: 0 }];
    assert!(WasmRuntime::load_with_swaps(&WasmOptions::default(), from_ref(&bad), from_ref(&group), &swap).is_err());
    let sources = [source(&swappable(1, 0)), bad];
    assert!(WasmRuntime::load(&WasmOptions::default(), &sources, &[group]).is_err());
}

#[test]
fn other_groups_are_left_alone() {
    let groups = [group(1, 2), group(2, 3), group(5, 1)];
    let sources = [source(&swappable(1, 0)), source(&swappable(10, 0))];
    let swaps = [ModuleSwap { group: GroupId(2), module: 1 }];
    let runtime = WasmRuntime::load_with_swaps(&WasmOptions::default(), &sources, &groups, &swaps).unwrap();
    let agents = groups.iter().flat_map(|group| (0..group.agents).map(|n| AgentId::new(group.id, n))).collect();
    let mut rig =
        Rig { runtime, agents, results: StepResults::default(), frame: 0, called: Vec::new(), regions: Vec::new() };
    assert_eq!(rig.counts(), [1; 6]);
    let requests =
        [2, 3, 4].map(|slot| SwapRequest { agent: rig.agents[slot as usize], slot: AgentSlot(slot), init: false });
    let mut results = SwapResults::default();
    let batch = SwapBatch { frame: 1, digest_memories: false, group: GroupId(2), module: 1, requests: &requests };
    rig.runtime.swap(&batch, &mut results);
    assert_eq!((results.carried, results.memory_sum), (vec![true; 3], 0));
    assert_eq!(rig.counts(), [2, 2, 11, 11, 11, 2]);
}

#[test]
fn lines_of_a_swap_stay_and_are_in_the_order_of_the_agents() {
    let log = "(import \"wasm_engine\" \"log\" (func $log (param i32 i32 i32)))";
    let line = |level: u32| format!("(call $log (i32.const {level}) (i32.const 0) (i32.const 0))");
    let body = format!(
        "{} {}",
        exporting(4).replace("i32.const 0)", &format!("{} i32.const 0)", line(1))),
        import(&format!("{} unreachable", line(2)))
    );
    let text = counter(1, 0, &body).replace("(module ", &format!("(module {log} "));
    let mut rig = rig(&[&text, &text.clone()], &group(1, 300));
    let results = rig.swap(1, false);
    let lines: Vec<_> = results.log_lines.iter().map(|line| (line.agent.ordinal(), line.level)).collect();
    assert_eq!(lines, (0..300).flat_map(|ordinal| [(ordinal, 1), (ordinal, 2)]).collect::<Vec<_>>());
    assert_eq!(results.faults.len(), 300);
}

#[test]
fn threads_change_nothing() {
    // Every third agent traps in its export, every fifth in its import.
    let traps = |every: u32| {
        format!(
            "(if (i32.eqz (i32.rem_u (i32.load offset=28 (local.get $ctx)) (i32.const {every}))) (then unreachable))"
        )
    };
    let with = |export: String, import: String, at: &str, every| {
        (export + &import).replace(
            &format!("\"{at}\") (param $ctx i32) (result i32)"),
            &format!("\"{at}\") (param $ctx i32) (result i32) {}", traps(every)),
        )
    };
    let first = counter(1, 3, &with(exporting(4), importing(), "agent_export_state", 3));
    let second = counter(10, 4, &with(exporting(400), importing(), "agent_import_state", 5));
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).stack_size(32 << 20).build().unwrap();
        pool.install(|| {
            let mut rig = rig(&[&first, &second], &group(2, 1_000));
            let mut seen = Vec::new();
            for module in [1, 0, 1] {
                seen.push((rig.counts(), rig.memory_sum()));
                let SwapResults { carried, faults, log_lines, unkept_lines: _, fuel, uncounted: _, memory_sum } =
                    rig.swap(module, module == 0);
                assert!(log_lines.is_empty());
                let carried = carried.iter().map(|&carried| u32::from(carried)).collect();
                seen.push((carried, memory_sum.wrapping_add(u128::from(fuel))));
                seen.push((faults.iter().map(|fault| fault.agent.ordinal() ^ (fault.kind as u32) << 16).collect(), 0));
            }
            seen
        })
    };
    let one = run(1);
    assert!(one[1].0.contains(&0) && one[1].0.contains(&1));
    assert_eq!((&one, &one), (&run(2), &run(4)));
}
