//! What a step costs, by hand: `cargo test --release -p wasm-engine --lib wasm::tests::speed -- --ignored --nocapture`.
//! The benches proper are in `bench/`.

use std::time::Instant;

use super::*;

/// Takes each token that it gets, adds one, and sends it to the next agent.
fn ring(agents: u32) -> String {
    agent(
        &format!(
            "(local $in i32) (local $out i32) (local $left i32) (local $next i32)
  (local.set $left (i32.load offset=32 (local.get $ctx)))
  (if (i32.eqz (local.get $left)) (then (return (i32.const 0))))
  (local.set $in (i32.const {INBOX})) (local.set $out (i32.const {OUTBOX}))
  (local.set $next (i32.rem_u (i32.add (i32.load offset=28 (local.get $ctx)) (i32.const 1)) (i32.const {agents})))
  (loop $more
    (i64.store (local.get $out) (i64.or (i64.const 0x100000000) (i64.extend_i32_u (local.get $next))))
    (i64.store offset=8 (local.get $out) (i64.const 0))
    (i64.store offset=16 (local.get $out) (i64.const 1))
    (i64.store offset=24 (local.get $out) (i64.const 8))
    (i64.store offset=32 (local.get $out) (i64.add (i64.load offset=48 (local.get $in)) (i64.const 1)))
    (local.set $in (i32.add (local.get $in) (i32.const 56)))
    (local.set $out (i32.add (local.get $out) (i32.const 40)))
    (br_if $more (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
  (i32.store offset=56 (local.get $ctx) (i32.load offset=32 (local.get $ctx)))
  (i32.store offset=60 (local.get $ctx) (i32.sub (local.get $out) (i32.const {OUTBOX})))
  i32.const 0"
        ),
        "",
    )
}

#[test]
#[ignore = "a measurement"]
fn steps_per_second() {
    for (agents, threads) in [(1_000, 1), (1_000, 2), (100_000, 1), (100_000, 2)] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).stack_size(32 << 20).build().unwrap();
        pool.install(|| {
            let began = Instant::now();
            let mut rig = Rig::of(&ring(agents), &group(1, agents));
            let load = began.elapsed();
            let step = time(&mut rig, CallKind::Step, 1, 20_000_000 / agents / 10);
            eprintln!("ring, {agents} agents, {threads} threads: {step:.1} ns of CPU per step; loaded in {load:?}");
        });
    }
}

#[test]
#[ignore = "a measurement"]
fn parts_of_a_step() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).stack_size(32 << 20).build().unwrap();
    pool.install(|| {
        let show = |name: &str, text: &str, call, mails, per: f64| {
            let mut rig = Rig::of(text, &group(1, 100));
            let each = time(&mut rig, call, mails, 2_000) / per;
            eprintln!("{name}: {each:.2} ns");
        };
        let nothing = agent("i32.const 0", "");
        eprintln!("a bare call with fuel: {:.2} ns", bare(&nothing));
        show("a call that does nothing", &nothing, CallKind::Step, 0, 1.0);
        show("the same with a message", &nothing, CallKind::Step, 1, 1.0);
        show("a ring's step, 100 agents", &ring(100), CallKind::Step, 1, 1.0);
        show("a restart", &nothing, CallKind::Init, 0, 1.0);
        show("unreachable", &agent("unreachable", ""), CallKind::Step, 0, 1.0);
        show("out of bounds", &agent("(i32.load (i32.const -1))", ""), CallKind::Step, 0, 1.0);
        let loads = "(local $p i32) (local $s i32) (loop $l
            (local.set $s (i32.xor (local.get $s) (i32.load (local.get $p))))
            (br_if $l (i32.lt_u (local.tee $p (i32.add (local.get $p) (i32.const 4))) (i32.const 65536))))
            (i32.and (local.get $s) (i32.const 0))";
        show("a load in a loop", &agent(loads, ""), CallKind::Step, 0, 16_384.0);
        let fib = "(func $fib (param i32) (result i32) (if (result i32) (i32.lt_u (local.get 0) (i32.const 2))
            (then (local.get 0)) (else (i32.add (call $fib (i32.sub (local.get 0) (i32.const 1)))
            (call $fib (i32.sub (local.get 0) (i32.const 2)))))))";
        show(
            "a call of fib(15)",
            &agent("(drop (call $fib (i32.const 15))) i32.const 0", fib),
            CallKind::Step,
            0,
            1_973.0,
        );
    });
}

/// What a reader's copy of a shared region costs: a frame in which it has changed, less one in which it hasn't.
#[test]
#[ignore = "a measurement"]
fn copies_of_a_region() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).stack_size(32 << 20).build().unwrap();
    pool.install(|| {
        let nothing = time(&mut Rig::of(&agent("i32.const 0", ""), &group(1, 1_000)), CallKind::Step, 0, 2_000);
        eprintln!("an agent that reads no region: {nothing:.1} ns a call");
        for (agents, bytes) in [(1_000, 1_024), (1_000, 16 << 10), (1_000, 64 << 10), (10, 64 << 10), (20, 16 << 20)] {
            let mut rig = super::regions::reader_of(bytes, agents);
            let unchanged = time(&mut rig, CallKind::Step, 0, 2_000);
            let rounds = (1 << 30) / bytes / agents + 1;
            let mut best = f64::MAX;
            for _ in 0..3 {
                let began = cpu_seconds();
                for _ in 0..rounds {
                    rig.frame_of(&[], CallKind::Step, &[], false);
                    rig.write(1, 0, &[1]);
                    rig.frame_of(&(0..agents).collect::<Vec<_>>(), CallKind::Step, &[], false);
                }
                best = best.min(cpu_seconds() - began);
            }
            let changed = best * 1e9 / f64::from(rounds) / f64::from(agents);
            let kib = f64::from(bytes) / 1024.0;
            eprintln!(
                "{kib} KiB, {agents} readers: {unchanged:.1} ns a call; changed {changed:.0} ns, {:.1} ns a KiB",
                (changed - unchanged) / kib
            );
        }
        let random = "(import \"wasm_engine\" \"random\" (func $random (param i32 i32) (result i64)))";
        let step = "(local $i i32) (loop $l (drop (call $random (i32.const 0) (local.get $i)))
            (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 1000)))) i32.const 0";
        let calls = time(&mut Rig::of(&agent_with(random, step, ""), &group(1, 100)), CallKind::Step, 0, 400);
        eprintln!("a call of an import: {:.1} ns", calls / 1_000.0);
    });
}

/// Nanoseconds of all threads together per call, the best of ten.
fn time(rig: &mut Rig, call: CallKind, inbox_len: u32, rounds: u32) -> f64 {
    let agents = rig.agents.len() as u32;
    let payload = 5_u64.to_le_bytes();
    let (mut host, mut links, mut requests) = (HostInbox::default(), Vec::new(), Vec::new());
    let mut firsts = Vec::new();
    for slot in 0..agents {
        let Mail(_, header, payload) = mail(slot, 0, &payload);
        host.push(Recipient::Agent(AgentSlot(slot)), &header, payload);
        let offset = host.addresses[slot as usize].offset;
        links.push(Link { delivery: Delivery { chunk: Delivery::HOST, offset }, next: Link::END });
        firsts.push(if inbox_len == 0 { Link::END } else { slot });
        requests.push(StepRequest { agent: rig.agents[slot as usize], slot: AgentSlot(slot), call });
    }
    let inbox = InboxView { firsts: &firsts, links: &links, chunks: &[], current: &[], host: &host };
    let directory = directory();
    let intake = OutboxIntake { frame: 0, directory: &directory };
    let regions: Vec<_> = rig.regions.iter().map(|(region, state)| SharedRegion { region, state }).collect();
    let mut best = f64::MAX;
    for _ in 0..10 {
        let began = cpu_seconds();
        for frame in 0..rounds.div_ceil(4) {
            let (frame, regions) = (u64::from(frame), &regions);
            let batch = StepBatch { frame, digest_memories: false, requests: &requests, inbox, regions, intake };
            rig.runtime.step(&batch, &mut rig.results);
        }
        best = best.min(cpu_seconds() - began);
    }
    best * 1e9 / f64::from(rounds.div_ceil(4)) / f64::from(agents)
}

/// What wasmtime itself takes for a call of `agent_step`, with fuel set and read.
fn bare(text: &str) -> f64 {
    let mut config = wasmtime::Config::new();
    config.consume_fuel(true).signals_based_traps(false).memory_reservation(0).memory_guard_size(0);
    config.memory_reservation_for_growth(0).memory_init_cow(false);
    let engine = wasmtime::Engine::new(&config).unwrap();
    let module = wasmtime::Module::new(&engine, wat::parse_str(text).unwrap()).unwrap();
    let mut store = wasmtime::Store::new(&engine, ());
    let mut steps = Vec::new();
    for _ in 0..100 {
        store.set_fuel(1_000).unwrap();
        let instance = wasmtime::Instance::new(&mut store, &module, &[]).unwrap();
        steps.push(instance.get_typed_func::<i32, i32>(&mut store, "agent_step").unwrap());
    }
    let mut best = f64::MAX;
    for _ in 0..10 {
        let began = cpu_seconds();
        for _ in 0..500 {
            for step in &steps {
                store.set_fuel(1_000_000).unwrap();
                assert_eq!(step.call(&mut store, 1088).unwrap(), 0);
                assert!(store.get_fuel().unwrap() > 0);
            }
        }
        best = best.min(cpu_seconds() - began);
    }
    best * 1e9 / 50_000.0
}

/// Time that all threads of this process have run: it counts on a busy machine, too.
fn cpu_seconds() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes to the local that it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}
