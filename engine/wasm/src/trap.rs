//! What an error of a call means: the fault that goes on the record.

use wasm_engine_components::FaultKind;
use wasmtime::Trap;

use super::error::ModuleProblem;

/// The fault of a trap, but for the depth counter's, which the caller knows by its value.
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
        // Bounded frames and the depth counter keep guests from here; it is the same misbehaviour.
        Trap::StackOverflow => FaultKind::CallDepth,
        Trap::OutOfFuel => FaultKind::OutOfFuel,
        _ => FaultKind::Trap,
    }
}

/// Whether the fuel is written down before what leads to a fault: see `Caller::fuel_used`.
pub(super) const fn counts_fuel(fault: FaultKind) -> bool {
    !matches!(
        fault,
        FaultKind::MemoryOutOfBounds | FaultKind::TableOutOfBounds | FaultKind::Arithmetic | FaultKind::Trap
    )
}

/// What a failed instantiation in a group with so much fuel means.
pub(super) fn start_failure(error: &wasmtime::Error, group: &str, fuel_max: u64) -> ModuleProblem {
    let reason = match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => return ModuleProblem::StartFuel { group: group.to_owned(), fuel_max },
        Some(trap) => trap.to_string(),
        None => error.root_cause().to_string(),
    };
    ModuleProblem::Start { reason }
}
