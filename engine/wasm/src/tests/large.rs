//! An agent with a language's library and some crates, as real toolchains build them: `agents/large`.

use crate::instrument::instrument;
use crate::validate::validate;
use wasm_engine_components::ModuleLimits;

fn scanner() -> Vec<u8> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../agents/large/wasm/scanner.wasm");
    std::fs::read(path).unwrap()
}

/// Estimated compilation of a module that is within the default limits, in seconds: the least limit that it is within, to a hundredth.
fn estimate(bytes: &[u8]) -> f64 {
    let fits = |module_cost_max| validate(bytes, &ModuleLimits { module_cost_max, ..ModuleLimits::MAX }).is_ok();
    let (mut under, mut within) = (0_u64, ModuleLimits::DEFAULT.module_cost_max);
    while within - under > within / 100 {
        let middle = under.midpoint(within);
        if fits(middle) { within = middle } else { under = middle }
    }
    within as f64 / 1e6
}

/// How long this thread has computed, in seconds.
#[cfg(target_os = "linux")]
fn thread_seconds() -> f64 {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    told.split(' ').next().unwrap().parse::<u64>().unwrap() as f64 / 1e9
}

#[test]
fn an_agent_of_half_a_megabyte_is_within_the_defaults_and_costs_what_is_estimated() {
    let bytes = scanner();
    assert!((400_000..600_000).contains(&bytes.len()));
    validate(&bytes, &ModuleLimits::DEFAULT).unwrap();
    let estimate = estimate(&bytes);
    #[cfg(target_os = "linux")]
    {
        let code = instrument(&bytes).unwrap().bytes;
        let engine = crate::compile::engine(std::sync::Arc::new(crate::arena::SlotCreator)).unwrap();
        let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let seconds = one.install(|| {
            let before = thread_seconds();
            wasmtime::Module::new(&engine, &code).unwrap();
            thread_seconds() - before
        });
        println!("estimated {estimate:.2} s, computed {seconds:.2} s");
        // A compiler that was itself built without optimisation takes some times as long.
        assert!(seconds < 4.0 * estimate, "{seconds} s, estimated {estimate}");
        assert!(estimate < 6.0 * seconds, "{seconds} s, estimated {estimate}");
    }
}
