//! Turns the error of a call into the fault that goes on the record.

use wasm_engine_components::FaultKind;
use wasmtime::Trap;

use super::problem::ModuleProblem;

/// Returns the fault of a trap. The caller recognises a trap of the depth counter by the counter's value.
pub(super) fn fault_of(error: &wasmtime::Error) -> FaultKind {
    let Some(trap) = error.downcast_ref::<Trap>() else {
        return FaultKind::Trap;
    };
    match trap {
        Trap::UnreachableCodeReached => FaultKind::Unreachable,
        Trap::MemoryOutOfBounds => FaultKind::MemoryOutOfBounds,
        Trap::TableOutOfBounds => FaultKind::TableOutOfBounds,
        Trap::IndirectCallToNull | Trap::BadSignature => FaultKind::BadIndirectCall,
        Trap::IntegerOverflow | Trap::IntegerDivisionByZero | Trap::BadConversionToInteger => FaultKind::Arithmetic,
        // Bounded frames and the depth counter keep guests from getting here; it would be the same misbehaviour.
        Trap::StackOverflow => FaultKind::CallDepth,
        Trap::OutOfFuel => FaultKind::OutOfFuel,
        _ => FaultKind::Trap,
    }
}

/// Returns whether the count of fuel is stored before the instructions that lead to a fault: see `Caller::fuel_used`.
pub(super) const fn counts_fuel(fault: FaultKind) -> bool {
    !matches!(
        fault,
        FaultKind::MemoryOutOfBounds | FaultKind::TableOutOfBounds | FaultKind::Arithmetic | FaultKind::Trap
    )
}

/// Returns the problem of a failed instantiation, in a group with so much fuel.
pub(super) fn start_failure(error: &wasmtime::Error, group: &str, fuel_max: u64) -> ModuleProblem {
    let reason = match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => return ModuleProblem::StartFuel { group: group.to_owned(), fuel_max },
        Some(trap) => trap.to_string(),
        None => error.root_cause().to_string(),
    };
    ModuleProblem::Start { reason }
}
