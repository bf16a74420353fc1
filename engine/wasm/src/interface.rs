//! The exports that a module must have and the imports that it may have: the ABI, as types.

use wasm_engine_abi::{
    EXPORT_EXCHANGE, EXPORT_EXPORT_STATE, EXPORT_IMPORT_STATE, EXPORT_INIT, EXPORT_MEMORY, EXPORT_RECEIVE,
    EXPORT_SHUTDOWN, EXPORT_STEP, IMPORT_MODULE,
};
use wasmparser::{
    ExternalKind, FuncType, TypeRef, ValType, Validator,
    types::{EntityType, Types},
};

use super::{
    facts::{GlobalValues, ModuleFacts},
    imports::IMPORTS,
    problem::ModuleProblem,
};

/// Returns the index of an import in [`IMPORTS`].
pub(super) fn known_import(module: &str, name: &str) -> Result<usize, ModuleProblem> {
    IMPORTS
        .iter()
        .position(|import| module == IMPORT_MODULE && name == import.name)
        .ok_or_else(|| ModuleProblem::UnknownImport { module: module.to_owned(), name: name.to_owned() })
}

/// Checks the type that a module gives an import, by the import's index.
pub(super) fn check_import_type(import: usize, found: TypeRef, validator: &Validator) -> Result<(), ModuleProblem> {
    let import = &IMPORTS[import];
    let mismatch =
        |found: String| ModuleProblem::ImportType { name: import.name.to_owned(), expected: import.signature, found };
    let types = validator.types(0);
    let (TypeRef::Func(index), Some(types)) = (found, types) else {
        return Err(mismatch("something other than a function".to_owned()));
    };
    let ty = types[types.core_type_at_in_module(index)].unwrap_func();
    if ty.params() != import.params || ty.results() != import.results {
        return Err(mismatch(signature(ty)));
    }
    Ok(())
}

fn signature(ty: &FuncType) -> String {
    let list = |types: &[ValType]| types.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    format!("a function ({}) -> ({})", list(ty.params()), list(ty.results()))
}

const CALL: &str = "a function (i32) -> (i32)";
const EXCHANGE: &str = "an immutable i32 global that holds the address of the exchange block";

/// Checks the exports of a module, and writes what they say into `facts`.
pub(super) fn check_exports(
    exports: &[wasmparser::Export<'_>],
    types: &Types,
    globals: &GlobalValues,
    facts: &mut ModuleFacts,
) -> Result<(), ModuleProblem> {
    let types = types.as_ref();
    let find = |name: &str| exports.iter().find(|export| export.name == name);
    let memory = find(EXPORT_MEMORY)
        .ok_or(ModuleProblem::MissingExport { export: EXPORT_MEMORY, expected: "the module's memory" })?;
    match types.entity_type_from_export(memory) {
        Some(EntityType::Memory(ty)) => {
            (facts.memory_pages_min, facts.memory_pages_max) = (ty.initial, ty.maximum);
        }
        _ => return Err(other_type(EXPORT_MEMORY, "the module's memory", kind_name(memory.kind).to_owned())),
    }
    let call = |name: &'static str, needed: bool| match find(name) {
        None if needed => Err(ModuleProblem::MissingExport { export: name, expected: CALL }),
        None => Ok(false),
        Some(export) => match types.entity_type_from_export(export) {
            Some(EntityType::Func(id)) => {
                let ty = types[id].unwrap_func();
                if ty.params() != [ValType::I32] || ty.results() != [ValType::I32] {
                    return Err(other_type(name, CALL, signature(ty)));
                }
                Ok(true)
            }
            _ => Err(other_type(name, CALL, kind_name(export.kind).to_owned())),
        },
    };
    call(EXPORT_INIT, true)?;
    call(EXPORT_STEP, true)?;
    facts.has_receive = call(EXPORT_RECEIVE, false)?;
    facts.has_shutdown = call(EXPORT_SHUTDOWN, false)?;
    call(EXPORT_EXPORT_STATE, false)?;
    call(EXPORT_IMPORT_STATE, false)?;
    let exchange =
        find(EXPORT_EXCHANGE).ok_or(ModuleProblem::MissingExport { export: EXPORT_EXCHANGE, expected: EXCHANGE })?;
    let value = match exchange.kind {
        ExternalKind::Global => globals.0.get(exchange.index as usize).copied().flatten(),
        _ => None,
    };
    facts.exchange = match value {
        Some(address) => address.cast_unsigned(),
        None if matches!(exchange.kind, ExternalKind::Global) => {
            return Err(other_type(EXPORT_EXCHANGE, EXCHANGE, "another kind of global".to_owned()));
        }
        None => return Err(other_type(EXPORT_EXCHANGE, EXCHANGE, kind_name(exchange.kind).to_owned())),
    };
    Ok(())
}

const fn other_type(export: &'static str, expected: &'static str, found: String) -> ModuleProblem {
    ModuleProblem::ExportType { export, expected, found }
}

const fn kind_name(kind: ExternalKind) -> &'static str {
    match kind {
        ExternalKind::Func | ExternalKind::FuncExact => "a function",
        ExternalKind::Table => "a table",
        ExternalKind::Memory => "a memory",
        ExternalKind::Global => "a global",
        ExternalKind::Tag => "a tag",
    }
}
