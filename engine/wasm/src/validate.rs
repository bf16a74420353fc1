//! The first step of a load: checks that agents may be made of a module, before any of it has run.
//!
//! A module that passes can keep state only in its memory and its mutable globals, has no imports but the engine's,
//! and has frames of bounded size. [`super::runtime`] calls this for each module.

use wasm_engine_components::ModuleLimits;
use wasm_engine_components::limits::{FUNCTION_SLOTS_MAX, GLOBALS_MAX, TABLE_ELEMENTS_MAX, TABLES_MAX};
use wasmparser::{
    BinaryReaderError, DataKind, Element, ElementItems, ElementKind, FuncValidatorAllocations, KnownCustom, Operator,
    Parser, Payload, TypeRef, ValType, ValidPayload, Validator,
};

use super::{
    constants,
    effort::{Arity, FunctionEffort, SEGMENT_NS, Signatures},
    facts::{FEATURES, GlobalValues, ModuleFacts, RESERVED_PREFIX},
    interface::{check_exports, check_import_type, known_import},
    problem::{FunctionLimit, ModuleProblem},
};

/// Checks a module's bytes. `limits` are those of the groups that use it.
pub(super) fn validate(bytes: &[u8], limits: &ModuleLimits) -> Result<ModuleFacts, ModuleProblem> {
    check_kind(bytes, limits)?;
    Reader::new(limits).read(bytes).map_err(|problem| with_name(problem, bytes))
}

/// A validator, which keeps what later sections need of earlier ones.
struct Reader<'a> {
    limits: &'a ModuleLimits,
    facts: ModuleFacts,
    globals: GlobalValues,
    exports: Vec<wasmparser::Export<'a>>,
    vectors: bool,
    signatures: Signatures,
    /// Bytes of all names of imports and exports.
    name_bytes: u64,
    segments: u64,
    segment_bytes: u64,
    /// Number of parts of all constant expressions.
    constant_parts: u64,
    /// Estimated compilation of what was read so far, in nanoseconds.
    nanoseconds: u64,
}

impl<'a> Reader<'a> {
    fn new(limits: &'a ModuleLimits) -> Self {
        Self {
            limits,
            facts: ModuleFacts::default(),
            globals: GlobalValues::default(),
            exports: Vec::new(),
            vectors: false,
            signatures: Signatures::default(),
            name_bytes: 0,
            segments: 0,
            segment_bytes: 0,
            constant_parts: 0,
            nanoseconds: 0,
        }
    }

    fn read(mut self, bytes: &'a [u8]) -> Result<ModuleFacts, ModuleProblem> {
        let mut validator = Validator::new_with_features(FEATURES);
        let mut allocations = FuncValidatorAllocations::default();
        let mut parser = Parser::new(0);
        parser.set_features(FEATURES);
        for payload in parser.parse_all(bytes) {
            let payload = payload?;
            self.count(&payload)?;
            match validator.payload(&payload)? {
                ValidPayload::Func(function, body) => {
                    let (index, mut function) = (function.index, function.into_validator(allocations));
                    let effort = FunctionEffort::new(&self.signatures, self.limits, index, body.range().len())?;
                    self.nanoseconds += check_function(index, &mut function, &body, self.vectors, effort)?;
                    self.check_cost()?;
                    allocations = function.into_allocations();
                }
                ValidPayload::End(types) => check_exports(&self.exports, &types, &self.globals, &mut self.facts)?,
                ValidPayload::Ok | ValidPayload::Parser(_) => {}
            }
            self.count_constants(&payload)?;
            self.section(payload, &validator)?;
        }
        self.facts.instance_bytes += 16 * self.globals.0.len() as u64;
        Ok(self.facts)
    }

    /// Checks the numbers with which a section begins, before any of it is kept.
    fn count(&mut self, payload: &Payload<'_>) -> Result<(), ModuleProblem> {
        let limits = self.limits;
        match payload {
            Payload::TypeSection(section) => {
                over("types", section.count().into(), limits.module_types_max, "module_types_max")
            }
            Payload::FunctionSection(section) => {
                let functions = self.signatures.functions.len() as u64 + u64::from(section.count());
                over("functions", functions, limits.module_functions_max, "module_functions_max")
            }
            Payload::DataSection(section) => self.count_segments(section.count()),
            Payload::ElementSection(section) => self.count_segments(section.count()),
            Payload::TableSection(section) => at_most("tables", u64::from(section.count()), TABLES_MAX),
            Payload::GlobalSection(section) => at_most("globals", u64::from(section.count()), GLOBALS_MAX),
            _ => Ok(()),
        }
    }

    fn count_segments(&mut self, more: u32) -> Result<(), ModuleProblem> {
        self.segments += u64::from(more);
        self.nanoseconds += u64::from(more) * SEGMENT_NS;
        over("segments", self.segments, self.limits.module_segments_max, "module_segments_max")?;
        self.check_cost()
    }

    fn count_bytes(&mut self, more: u64) -> Result<(), ModuleProblem> {
        self.segment_bytes += more;
        over("bytes of segments", self.segment_bytes, self.limits.module_segment_bytes_max, "module_segment_bytes_max")
    }

    fn count_name(&mut self, name: &str) -> Result<(), ModuleProblem> {
        self.name_bytes += name.len() as u64;
        let what = "bytes of names of imports and exports";
        over(what, self.name_bytes, self.limits.module_names_bytes_max, "module_names_bytes_max")
    }

    fn count_constants(&mut self, section: &Payload<'_>) -> Result<(), ModuleProblem> {
        let parts = constants::count_parts(section)?;
        self.constant_parts += parts;
        self.nanoseconds += parts * constants::PART_NS;
        let what = "parts of constant expressions";
        over(what, self.constant_parts, self.limits.module_constants_max, "module_constants_max")?;
        self.check_cost()
    }

    fn check_cost(&self) -> Result<(), ModuleProblem> {
        over(FunctionLimit::Cost.what(), self.nanoseconds / 1_000, self.limits.module_cost_max, "module_cost_max")
    }

    fn section(&mut self, payload: Payload<'a>, validator: &Validator) -> Result<(), ModuleProblem> {
        match payload {
            Payload::TypeSection(section) => {
                self.vectors = returns_vectors(section.clone())?;
                self.signatures.types = arities(section)?;
                self.nanoseconds += self.signatures.types.iter().map(|arity| arity.type_ns()).sum::<u64>();
                self.check_cost()?;
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import?;
                    self.count_name(import.module)?;
                    self.count_name(import.name)?;
                    let at = known_import(import.module, import.name)?;
                    check_import_type(at, import.ty, validator)?;
                    if let TypeRef::Func(ty) = import.ty {
                        self.signatures.functions.push(ty);
                    }
                    // The same import may be there several times.
                    self.facts.instance_bytes += FUNCTION_REFERENCE_BYTES;
                    self.facts.imports[at] = true;
                }
            }
            Payload::FunctionSection(section) => {
                for ty in section {
                    self.signatures.functions.push(ty?);
                }
            }
            Payload::TableSection(section) => {
                let mut elements = 0_u64;
                for table in section {
                    elements = elements.saturating_add(table?.ty.initial);
                }
                at_most("table elements", elements, TABLE_ELEMENTS_MAX)?;
                self.facts.instance_bytes += TABLE_ELEMENT_BYTES * elements;
            }
            Payload::GlobalSection(section) => self.globals.read(section)?,
            Payload::ElementSection(section) => self.elements(section)?,
            Payload::DataSection(section) => {
                for (index, data) in (0_u32..).zip(section) {
                    let data = data?;
                    if matches!(data.kind, DataKind::Passive) {
                        return Err(ModuleProblem::PassiveSegment { what: "data", index });
                    }
                    self.count_bytes(data.data.len() as u64)?;
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    self.count_name(export.name)?;
                    if export.name.starts_with(RESERVED_PREFIX) {
                        return Err(ModuleProblem::ReservedExport { export: export.name.to_owned() });
                    }
                    self.facts.instance_bytes += FUNCTION_REFERENCE_BYTES;
                    self.exports.push(export);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn elements(&mut self, section: wasmparser::ElementSectionReader<'_>) -> Result<(), ModuleProblem> {
        for (index, element) in (0_u32..).zip(section) {
            let Element { kind, items, .. } = element?;
            if matches!(kind, ElementKind::Passive) {
                return Err(ModuleProblem::PassiveSegment { what: "element", index });
            }
            let count = match items {
                ElementItems::Functions(functions) => functions.count(),
                ElementItems::Expressions(_, expressions) => expressions.count(),
            };
            self.count_bytes(u64::from(count) * TABLE_ELEMENT_BYTES)?;
        }
        // Each function that a table may hold has one reference in each instance, however often the table holds it.
        let functions = (self.segment_bytes / TABLE_ELEMENT_BYTES).min(self.signatures.functions.len() as u64);
        self.facts.instance_bytes += FUNCTION_REFERENCE_BYTES * functions;
        Ok(())
    }
}

/// Bytes of an element of a table in each instance.
const TABLE_ELEMENT_BYTES: u64 = 8;
/// Bytes that each instance holds for a function that is imported, or that a table or an export refers to.
const FUNCTION_REFERENCE_BYTES: u64 = 32;

/// Returns how many parameters and results each type has.
fn arities(section: wasmparser::TypeSectionReader<'_>) -> Result<Vec<Arity>, ModuleProblem> {
    let arity = |ty: Result<wasmparser::FuncType, BinaryReaderError>| -> Result<Arity, ModuleProblem> {
        let ty = ty?;
        Ok(Arity { params: ty.params().len() as u32, results: ty.results().len() as u32 })
    };
    section.into_iter_err_on_gc_types().map(arity).collect()
}

/// Adds the function's name to a problem that is about a function, if the module names it.
fn with_name(problem: ModuleProblem, bytes: &[u8]) -> ModuleProblem {
    match problem {
        ModuleProblem::FunctionOverLimit { function, limit, found, max, .. } => {
            let name = function_name(bytes, function);
            ModuleProblem::FunctionOverLimit { function, name, limit, found, max }
        }
        other => other,
    }
}

/// Returns the name of a function in the module's name section.
fn function_name(bytes: &[u8], function: u32) -> Option<String> {
    let payloads = Parser::new(0).parse_all(bytes).map_while(Result::ok);
    let mut sections = payloads.filter_map(|payload| match payload {
        Payload::CustomSection(section) => match section.as_known() {
            KnownCustom::Name(names) => Some(names),
            _ => None,
        },
        _ => None,
    });
    let names = sections.next()?.map_while(Result::ok).find_map(|names| match names {
        wasmparser::Name::Function(names) => Some(names),
        _ => None,
    })?;
    let mut names = names.into_iter().map_while(Result::ok);
    names.find(|naming| naming.index == function).map(|naming| naming.name.to_owned())
}

fn check_kind(bytes: &[u8], limits: &ModuleLimits) -> Result<(), ModuleProblem> {
    if bytes.is_empty() {
        return Err(ModuleProblem::Empty);
    }
    if !bytes.starts_with(&b"\0asm"[..bytes.len().min(4)]) {
        return Err(ModuleProblem::NotWasm);
    }
    if Parser::is_component(bytes) {
        return Err(ModuleProblem::Component);
    }
    over("bytes", bytes.len() as u64, limits.module_bytes_max, "module_bytes_max")
}

/// Refuses a number beyond a limit that a scenario may set.
const fn over(what: &'static str, found: u64, max: u64, key: &'static str) -> Result<(), ModuleProblem> {
    if found > max { Err(ModuleProblem::OverLimit { what, found, max, key }) } else { Ok(()) }
}

const fn at_most(what: &'static str, found: u64, max: u64) -> Result<(), ModuleProblem> {
    if found > max { Err(ModuleProblem::TooMany { what, found, max }) } else { Ok(()) }
}

impl GlobalValues {
    fn read(&mut self, section: wasmparser::GlobalSectionReader<'_>) -> Result<(), ModuleProblem> {
        for (index, global) in (0_u32..).zip(section) {
            let global = global?;
            if matches!(global.ty.content_type, ValType::Ref(_)) {
                return Err(ModuleProblem::ReferenceGlobal { index });
            }
            let mut init = global.init_expr.get_operators_reader();
            let constant = match init.read()? {
                Operator::I32Const { value } if !global.ty.mutable => Some(value),
                _ => None,
            };
            // A longer expression isn't a plain address.
            let plain = matches!(init.read()?, Operator::End);
            self.0.push(constant.filter(|_| plain));
        }
        Ok(())
    }
}

/// Returns whether a call or a block may leave vectors below the top of the operand stack. Other vectors pass through the top.
fn returns_vectors(section: wasmparser::TypeSectionReader<'_>) -> Result<bool, ModuleProblem> {
    for ty in section.into_iter_err_on_gc_types() {
        if ty?.results().contains(&ValType::V128) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Validates a function, and refuses instructions that change state which a snapshot can't hold, and frames so large that the call
/// depth wouldn't bound the native stack. Returns the estimated compilation of the function, in nanoseconds.
fn check_function<T: wasmparser::WasmModuleResources>(
    index: u32,
    validator: &mut wasmparser::FuncValidator<T>,
    body: &wasmparser::FunctionBody<'_>,
    mut vectors: bool,
    mut effort: FunctionEffort<'_>,
) -> Result<u64, ModuleProblem> {
    let mut reader = body.get_binary_reader();
    validator.read_locals(&mut reader)?;
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
        let (operator, offset) = operators.read_with_offset()?;
        if let Some(instruction) = refused(&operator) {
            return Err(ModuleProblem::Instruction { instruction: instruction.to_owned(), offset: offset as u64 });
        }
        let reachable = validator.get_control_frame(0).is_some_and(|frame| !frame.unreachable);
        validator.op(offset, &operator)?;
        effort.operator(&operator, reachable)?;
        height_max = height_max.max(validator.operand_stack_height());
        vectors = vectors || matches!(validator.get_operand_type(0), Some(Some(ValType::V128)));
    }
    operators.finish()?;
    // Operands aren't told apart: if there are vectors, each operand counts as one.
    slots += (u64::from(height_max) + effort.kept()) << u32::from(vectors);
    if slots > u64::from(FUNCTION_SLOTS_MAX) {
        return Err(ModuleProblem::TooManyLocals { function: index, slots, slots_max: FUNCTION_SLOTS_MAX });
    }
    effort.finish(slots)
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
