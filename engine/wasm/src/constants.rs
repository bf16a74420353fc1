//! Constant expressions: the values of globals and of elements, and the offsets of segments. All of them are compiled into one function, which
//! each instance runs when it is made. So their length is bounded as that of code is: of each, and of all together.

use wasm_engine_components::limits::CONSTANT_PARTS_MAX;
use wasmparser::{ConstExpr, DataKind, ElementItems, ElementKind, Payload, TableInit};

use super::problem::ModuleProblem;

/// Estimated compilation of one part of a constant expression, in nanoseconds.
pub(super) const PART_NS: u64 = 4_000;

/// Returns the number of instructions of all constant expressions of a section that the validator has accepted.
pub(super) fn count_parts(section: &Payload<'_>) -> Result<u64, ModuleProblem> {
    let mut parts = 0;
    match section {
        Payload::TableSection(tables) => {
            for (index, table) in (0..).zip(tables.clone()) {
                if let TableInit::Expr(value) = table?.init {
                    parts += one("value of its table", index, &value)?;
                }
            }
        }
        Payload::GlobalSection(globals) => {
            for (index, global) in (0..).zip(globals.clone()) {
                parts += one("value of its global", index, &global?.init_expr)?;
            }
        }
        Payload::ElementSection(elements) => {
            for (index, element) in (0..).zip(elements.clone()) {
                let element = element?;
                if let ElementKind::Active { offset_expr, .. } = &element.kind {
                    parts += one("place of its element segment", index, offset_expr)?;
                }
                if let ElementItems::Expressions(_, items) = element.items {
                    for item in items {
                        parts += one("value in its element segment", index, &item?)?;
                    }
                }
            }
        }
        Payload::DataSection(data) => {
            for (index, data) in (0..).zip(data.clone()) {
                if let DataKind::Active { offset_expr, .. } = &data?.kind {
                    parts += one("place of its data segment", index, offset_expr)?;
                }
            }
        }
        _ => {}
    }
    Ok(parts)
}

/// Returns the number of instructions of one expression, without the `end`.
fn one(what: &'static str, index: u32, expression: &ConstExpr<'_>) -> Result<u64, ModuleProblem> {
    let mut operators = expression.get_operators_reader();
    let mut parts = 0_u64;
    while !operators.is_end_then_eof() {
        operators.read()?;
        parts += 1;
    }
    if parts > CONSTANT_PARTS_MAX {
        return Err(ModuleProblem::LongConstant { what, index, parts, parts_max: CONSTANT_PARTS_MAX });
    }
    Ok(parts)
}
