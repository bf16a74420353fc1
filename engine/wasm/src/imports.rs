//! The functions that agents may import, each with the capability that it needs. The calls of a step are counted here.

use wasm_engine_abi::{Capability, IMPORT_MODULE, random_u64};
use wasm_engine_components::limits::IMPORT_FUEL;
use wasm_engine_components::{TableBudget, text_row_bytes};
use wasm_engine_systems::ports::{CallFault, ImportedLine, OverLimit};
use wasmparser::ValType;
use wasmtime::{Caller, Engine, Extern, Linker, Trap};

use super::call_state::CallState;

/// A function that agents may import.
pub(super) struct Import {
    /// Its name in the module `wasm_engine`.
    pub name: &'static str,
    /// Its parameters.
    pub params: &'static [ValType],
    /// Its results.
    pub results: &'static [ValType],
    /// Its type, for messages.
    pub signature: &'static str,
    /// The capability that a group needs for it.
    pub capability: Capability,
}

/// Every import that the engine offers.
pub(super) const IMPORTS: [Import; 2] = [
    Import {
        name: "log",
        params: &[ValType::I32, ValType::I32, ValType::I32],
        results: &[],
        signature: "a function (level: i32, address: i32, length: i32) -> ()",
        capability: Capability::Log,
    },
    Import {
        name: "random",
        params: &[ValType::I32, ValType::I32],
        results: &[ValType::I64],
        signature: "a function (stream: i32, index: i32) -> (i64)",
        capability: Capability::Random,
    },
];

/// Returns the imports, ready to be linked.
pub(super) fn linker(engine: &Engine) -> wasmtime::Result<Linker<CallState>> {
    let mut linker = Linker::new(engine);
    linker.func_wrap(IMPORT_MODULE, IMPORTS[0].name, log)?;
    linker.func_wrap(IMPORT_MODULE, IMPORTS[1].name, random)?;
    Ok(linker)
}

/// Returns the error of an import that was called outside of an agent's call. Its message becomes that of a load error.
fn in_start() -> wasmtime::Error {
    wasmtime::Error::msg("the start function calls an import")
}

/// Takes the fuel that an import costs. Where too little is left, the call ends.
fn charge(caller: &mut Caller<'_, CallState>, fuel: u64) -> wasmtime::Result<()> {
    let left = caller.get_fuel()?.checked_sub(fuel);
    caller.set_fuel(left.unwrap_or(0))?;
    left.map(|_| ()).ok_or_else(|| Trap::OutOfFuel.into())
}

fn random(mut caller: Caller<'_, CallState>, stream: u32, index: u32) -> wasmtime::Result<u64> {
    charge(&mut caller, IMPORT_FUEL)?;
    let running = caller.data().running.as_ref().ok_or_else(in_start)?;
    Ok(random_u64(running.key, running.frame, stream, index))
}

fn log(mut caller: Caller<'_, CallState>, level: u32, address: u32, length: u32) -> wasmtime::Result<()> {
    let left = caller.data().running.as_ref().map_or(0, |running| running.bytes_max - running.bytes);
    // Each byte counts for at least one, so that a text that can't fit isn't copied.
    let fits = length <= left;
    charge(&mut caller, IMPORT_FUEL + if fits { u64::from(length) } else { 0 })?;
    let running = caller.data_mut().running.as_mut().ok_or_else(in_start)?;
    if running.lines >= running.lines_max {
        // This line is the first one too many.
        running.fault = Some(CallFault::over(OverLimit::LogLines, running.lines.saturating_add(1), running.lines_max));
        return Err(Trap::Interrupt.into());
    }
    let export = running.memory;
    let memory = caller.get_module_export(&export).and_then(Extern::into_memory);
    let memory = memory.expect("validation saw the exported memory").data(&caller);
    let end = u64::from(address) + u64::from(length);
    if end > memory.len() as u64 {
        return Err(Trap::MemoryOutOfBounds.into());
    }
    let text = fits.then(|| String::from_utf8_lossy(&memory[address as usize..][..length as usize]).into_owned());
    let state = caller.data_mut();
    let running = state.running.as_mut().ok_or_else(in_start)?;
    running.lines += 1;
    let bytes =
        text.as_ref().map_or_else(|| text_row_bytes(&[]) + u64::from(length), |text| text_row_bytes(text.as_bytes()));
    match (text, u32::try_from(bytes)) {
        (Some(text), Ok(bytes)) if bytes <= left => {
            running.bytes += bytes;
            state.lines.push(ImportedLine { agent: running.agent, level, text });
        }
        _ => state.unkept.add(bytes, TableBudget::Step),
    }
    Ok(())
}
