//! The third step of a load: the compiler's configuration, which is a part of the determinism contract.

use std::sync::Arc;

use wasm_engine_components::limits::{MEMORY_GROW_FUEL, REF_FUNC_FUEL, WASM_STACK_BYTES_MAX};
use wasmtime::{Config, Engine, MemoryCreator, Module, OperatorCost, WasmFeatures};

use super::arena::SlotCreator;
use super::error::{MachineError, ModuleError};
use super::problem::{MissingCode, ModuleProblem};

/// The smallest module.
const EMPTY_MODULE: &[u8] = b"\0asm\x01\0\0\0";

/// Returns the compiler for all modules of a runtime.
pub(super) fn engine(memory: Arc<dyn MemoryCreator>) -> Result<Engine, ModuleError> {
    let mut config = Config::new();
    // Determinism: fuel and not epochs, canonical NaNs. Never Winch: it charges other fuel.
    #[cfg(feature = "cranelift")]
    {
        config.strategy(wasmtime::Strategy::Cranelift).cranelift_opt_level(wasmtime::OptLevel::Speed);
        config.cranelift_nan_canonicalization(true);
    }
    config.consume_fuel(true).operator_cost(fuel()).epoch_interruption(false);
    // Nothing is async, but wasmtime demands that the stack of guests isn't larger than an async one.
    config.async_stack_size(WASM_STACK_BYTES_MAX as usize).max_wasm_stack(WASM_STACK_BYTES_MAX as usize);
    // The same features that `validate` lets through.
    config.wasm_reference_types(true).wasm_extended_const(true);
    config.wasm_relaxed_simd(false).wasm_tail_call(false).wasm_multi_memory(false).wasm_memory64(false);
    config.wasm_wide_arithmetic(false).wasm_custom_page_sizes(false);
    config.wasm_features(
        WasmFeatures::GC
            | WasmFeatures::FUNCTION_REFERENCES
            | WasmFeatures::EXCEPTIONS
            | WasmFeatures::LEGACY_EXCEPTIONS
            | WasmFeatures::STACK_SWITCHING,
        false,
    );
    config.gc_support(false);
    // Memories are slots of the arena: no guards, no maps of their own, bounds checked in code. A slot never moves, so its base
    // may be kept in a register.
    config.with_host_memory(memory).memory_may_move(false).memory_init_cow(false).guard_before_linear_memory(false);
    config.memory_reservation(0).memory_guard_size(0).memory_reservation_for_growth(0);
    // No signal handlers: the engine is a library, and a check in code traps in 0.2 us. That leaves out the Spectre mitigation of
    // bounds checks, too: a guest has no clock, no shared memory and no concurrency to observe a timing with, and the mitigation
    // was measured to make loops over memory 1.4 to 3.1 times slower.
    config.signals_based_traps(false);
    // Backtraces cost more than the traps that they explain, and faults are counted by kind.
    config.wasm_backtrace_max_frames(None).generate_address_map(false).native_unwind_info(cfg!(windows));
    Engine::new(&config).map_err(|error| ModuleError::Engine { reason: format!("{error:#}") })
}

/// Returns what instructions cost in fuel. Most cost what wasmtime says: one, and one more for each byte of those that fill and copy. Those for which
/// the host is called cost more, because they take as long as dozens or hundreds of others.
fn fuel() -> OperatorCost {
    OperatorCost { MemoryGrow: MEMORY_GROW_FUEL, RefFunc: REF_FUNC_FUEL, ..OperatorCost::new() }
}

/// The version of wasmtime that the workspace pins. What instructions cost in fuel depends on it.
pub const WASMTIME_VERSION: &str = "48.0";

/// The exact release of wasmtime in this build, such as `48.0.8`.
pub const WASMTIME_RELEASE: &str = wasmtime_environ::VERSION;

/// Key of the compiled code that this build can use, besides what wasmtime itself checks: its exact release, of which it checks the first number
/// alone, and a number that is raised whenever `engine` sets the compiler in another way.
pub const CONFIGURATION: (&str, u32) = (WASMTIME_RELEASE, 2);

/// Checks that code can be compiled and mapped on this machine. In a build without a compiler, checks that code could run.
///
/// # Errors
/// Why it can't.
pub fn check_machine() -> Result<(), MachineError> {
    let engine = engine(Arc::new(SlotCreator))?;
    match build(&engine, EMPTY_MODULE, MissingCode::NoCache) {
        Ok(_) | Err(ModuleProblem::NoCompiler { .. }) => Ok(()),
        Err(problem) => Err(problem.into()),
    }
}

/// Compiles an instrumented module whose code is missing elsewhere.
#[cfg(feature = "cranelift")]
pub(super) fn build(engine: &Engine, bytes: &[u8], _: MissingCode) -> Result<Module, ModuleProblem> {
    Module::new(engine, bytes).map_err(|error| ModuleProblem::Compile { reason: format!("{error:#}") })
}

/// Refuses an instrumented module whose code is missing elsewhere: this build has no compiler.
#[cfg(not(feature = "cranelift"))]
pub(super) fn build(_: &Engine, _: &[u8], missing: MissingCode) -> Result<Module, ModuleProblem> {
    Err(ModuleProblem::NoCompiler { missing })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_that_prices_instructions_is_that_of_the_release() {
        let rest = WASMTIME_RELEASE.strip_prefix(WASMTIME_VERSION).and_then(|rest| rest.strip_prefix('.'));
        assert!(rest.is_some_and(|patch| patch.parse::<u32>().is_ok()), "{WASMTIME_RELEASE}");
    }
}
