//! The first step of a load: is this a module that agents may be made of? Nothing of it has run yet, and nothing is believed.
//!
//! A module that passes can keep state in its memory and its mutable globals only, asks for nothing but the engine's imports,
//! and has frames of bounded size. [`super::runtime`] calls it for each module.

use wasm_engine_components::limits::{FUNCTION_SLOTS_MAX, MODULE_BYTES_MAX};
use wasmparser::{
    BinaryReaderError, DataKind, Element, ElementKind, FuncValidatorAllocations, Operator, Parser, Payload, ValType,
    ValidPayload, Validator, WasmFeatures,
};

use super::{
    error::ModuleProblem,
    imports::IMPORTS,
    instrument::RESERVED_PREFIX,
    interface::{check_exports, check_import_type, known_import},
};

/// Most elements that a module's tables may have together. A table isn't in the arena, and each instance has its own.
const TABLE_ELEMENTS_MAX: u64 = 65_536;
/// Most tables of a module.
const TABLES_MAX: u64 = 16;
/// Most globals of a module. Each instance has its own.
const GLOBALS_MAX: u64 = 1_000;

/// What agents may use. Everything here is deterministic, given canonical NaNs.
pub(super) const FEATURES: WasmFeatures = WasmFeatures::FLOATS
    .union(WasmFeatures::MUTABLE_GLOBAL)
    .union(WasmFeatures::SATURATING_FLOAT_TO_INT)
    .union(WasmFeatures::SIGN_EXTENSION)
    .union(WasmFeatures::REFERENCE_TYPES)
    .union(WasmFeatures::MULTI_VALUE)
    .union(WasmFeatures::BULK_MEMORY)
    .union(WasmFeatures::SIMD)
    .union(WasmFeatures::EXTENDED_CONST);

/// What the later steps want to know of a valid module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ModuleFacts {
    /// Size of its memory at the start, in pages.
    pub memory_pages_min: u64,
    /// Largest size of its memory that it states itself, in pages.
    pub memory_pages_max: Option<u64>,
    /// Which of [`IMPORTS`] it uses, by position.
    pub imports: [bool; IMPORTS.len()],
    /// Whether it exports `agent_receive`.
    pub has_receive: bool,
    /// Whether it exports `agent_shutdown`.
    pub has_shutdown: bool,
    /// The address of its exchange block.
    pub exchange: u32,
}

/// Checks a module's bytes.
pub(super) fn validate(bytes: &[u8]) -> Result<ModuleFacts, ModuleProblem> {
    check_kind(bytes)?;
    let mut validator = Validator::new_with_features(FEATURES);
    let mut allocations = FuncValidatorAllocations::default();
    let mut parser = Parser::new(0);
    parser.set_features(FEATURES);
    let mut facts = ModuleFacts::default();
    let mut globals = GlobalValues::default();
    let mut exports = Vec::new();
    let mut vectors = false;
    for payload in parser.parse_all(bytes) {
        let payload = payload.map_err(invalid)?;
        match validator.payload(&payload).map_err(invalid)? {
            ValidPayload::Func(function, body) => {
                let (index, mut function) = (function.index, function.into_validator(allocations));
                check_function(index, &mut function, &body, vectors)?;
                allocations = function.into_allocations();
            }
            ValidPayload::End(types) => check_exports(&exports, &types, &globals, &mut facts)?,
            ValidPayload::Ok | ValidPayload::Parser(_) => {}
        }
        match payload {
            Payload::TypeSection(section) => vectors = returns_vectors(section)?,
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import.map_err(invalid)?;
                    let at = known_import(import.module, import.name)?;
                    check_import_type(at, import.ty, &validator)?;
                    facts.imports[at] = true;
                }
            }
            Payload::TableSection(section) => {
                at_most("tables", u64::from(section.count()), TABLES_MAX)?;
                let mut elements = 0_u64;
                for table in section {
                    elements = elements.saturating_add(table.map_err(invalid)?.ty.initial);
                }
                at_most("table elements", elements, TABLE_ELEMENTS_MAX)?;
            }
            Payload::GlobalSection(section) => {
                at_most("globals", u64::from(section.count()), GLOBALS_MAX)?;
                globals.read(section)?;
            }
            Payload::ElementSection(section) => check_elements(section)?,
            Payload::DataSection(section) => {
                for (index, data) in (0_u32..).zip(section) {
                    if matches!(data.map_err(invalid)?.kind, DataKind::Passive) {
                        return Err(ModuleProblem::PassiveSegment { what: "data", index });
                    }
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export.map_err(invalid)?;
                    if export.name.starts_with(RESERVED_PREFIX) {
                        return Err(ModuleProblem::ReservedExport { export: export.name.to_owned() });
                    }
                    exports.push(export);
                }
            }
            _ => {}
        }
    }
    Ok(facts)
}

fn check_kind(bytes: &[u8]) -> Result<(), ModuleProblem> {
    let length = bytes.len() as u64;
    if bytes.is_empty() {
        return Err(ModuleProblem::Empty);
    }
    if length > MODULE_BYTES_MAX {
        return Err(ModuleProblem::TooLarge { bytes: length, bytes_max: MODULE_BYTES_MAX });
    }
    if !bytes.starts_with(&b"\0asm"[..bytes.len().min(4)]) {
        return Err(ModuleProblem::NotWasm);
    }
    if Parser::is_component(bytes) {
        return Err(ModuleProblem::Component);
    }
    Ok(())
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` hands over")]
fn invalid(error: BinaryReaderError) -> ModuleProblem {
    let offset = error.offset() as u64;
    // The parser has no other public mark for an early end.
    if error.message().contains("unexpected end") {
        return ModuleProblem::Truncated { offset };
    }
    ModuleProblem::Invalid { message: error.message().to_owned(), offset }
}

const fn at_most(what: &'static str, found: u64, max: u64) -> Result<(), ModuleProblem> {
    if found > max { Err(ModuleProblem::TooMany { what, found, max }) } else { Ok(()) }
}

/// The values of immutable `i32` globals: where a compiler's `static` lies.
#[derive(Default)]
pub(super) struct GlobalValues(pub Vec<Option<i32>>);

impl GlobalValues {
    fn read(&mut self, section: wasmparser::GlobalSectionReader<'_>) -> Result<(), ModuleProblem> {
        for (index, global) in (0_u32..).zip(section) {
            let global = global.map_err(invalid)?;
            if matches!(global.ty.content_type, ValType::Ref(_)) {
                return Err(ModuleProblem::ReferenceGlobal { index });
            }
            let mut init = global.init_expr.get_operators_reader();
            let constant = match init.read().map_err(invalid)? {
                Operator::I32Const { value } if !global.ty.mutable => Some(value),
                _ => None,
            };
            // A longer expression isn't a plain address.
            let plain = matches!(init.read().map_err(invalid)?, Operator::End);
            self.0.push(constant.filter(|_| plain));
        }
        Ok(())
    }
}

fn check_elements(section: wasmparser::ElementSectionReader<'_>) -> Result<(), ModuleProblem> {
    for (index, element) in (0_u32..).zip(section) {
        let Element { kind, .. } = element.map_err(invalid)?;
        if matches!(kind, ElementKind::Passive) {
            return Err(ModuleProblem::PassiveSegment { what: "element", index });
        }
    }
    Ok(())
}

/// Whether a call or a block may leave vectors below the top of the operand stack. Other vectors pass through the top.
fn returns_vectors(section: wasmparser::TypeSectionReader<'_>) -> Result<bool, ModuleProblem> {
    for ty in section.into_iter_err_on_gc_types() {
        if ty.map_err(invalid)?.results().contains(&ValType::V128) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Validates a function, and refuses what agents may not use: instructions that change state which a snapshot can't hold, and
/// frames so large that the call depth wouldn't bound the native stack.
fn check_function<T: wasmparser::WasmModuleResources>(
    index: u32,
    validator: &mut wasmparser::FuncValidator<T>,
    body: &wasmparser::FunctionBody<'_>,
    mut vectors: bool,
) -> Result<(), ModuleProblem> {
    let mut reader = body.get_binary_reader();
    validator.read_locals(&mut reader).map_err(invalid)?;
    // The number is bounded by the validator, to 50,000.
    let mut slots = 0_u64;
    for local in 0..validator.len_locals() {
        let vector = matches!(validator.get_local_type(local), Some(ValType::V128));
        vectors |= vector;
        slots += 1 + u64::from(vector);
    }
    let mut height_max = 0;
    let mut operators = wasmparser::OperatorsReader::new(reader);
    while !operators.eof() {
        let (operator, offset) = operators.read_with_offset().map_err(invalid)?;
        if let Some(instruction) = refused(&operator) {
            return Err(ModuleProblem::Instruction { instruction: instruction.to_owned(), offset: offset as u64 });
        }
        validator.op(offset, &operator).map_err(invalid)?;
        height_max = height_max.max(validator.operand_stack_height());
        vectors = vectors || matches!(validator.get_operand_type(0), Some(Some(ValType::V128)));
    }
    operators.finish().map_err(invalid)?;
    // Operands aren't told apart: where vectors occur, each is taken for one.
    slots += u64::from(height_max) << u32::from(vectors);
    if slots > u64::from(FUNCTION_SLOTS_MAX) {
        return Err(ModuleProblem::TooManyLocals { function: index, slots, slots_max: FUNCTION_SLOTS_MAX });
    }
    Ok(())
}

const fn refused(operator: &Operator<'_>) -> Option<&'static str> {
    Some(match operator {
        Operator::TableSet { .. } => "table.set",
        Operator::TableGrow { .. } => "table.grow",
        Operator::TableFill { .. } => "table.fill",
        Operator::TableCopy { .. } => "table.copy",
        Operator::TableInit { .. } => "table.init",
        Operator::ElemDrop { .. } => "elem.drop",
        Operator::MemoryInit { .. } => "memory.init",
        Operator::DataDrop { .. } => "data.drop",
        _ => return None,
    })
}
