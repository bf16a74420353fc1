//! An estimate of what a function costs to compile. A few kilobytes of code can take minutes and gigabytes, so [`super::validate`]
//! counts while it reads, and refuses functions over a limit before they are compiled.
//!
//! The estimate is in microseconds of one core. Its weights were measured with wasmtime 48 (decision 16). These cost more than in proportion to
//! a function's length:
//!
//! - values that meet: a local that is written inside nested blocks or loops is a value of its own at the end of each of them, and the
//!   register allocator merges those with one another;
//! - branches to one label: each brings all values that meet there;
//! - loops: each checks the fuel, in a block of its own;
//! - values that live across many blocks, where each access that may trap ends one.

use wasm_engine_components::ModuleLimits;
use wasm_engine_components::limits::FUNCTION_SLOTS_MAX;
use wasmparser::{BlockType, Operator};

use super::problem::{FunctionLimit, ModuleProblem};

/// Nanoseconds of a microsecond.
const MICROSECOND: u64 = 1_000;
/// Nanoseconds of each function, whatever is in it.
const FUNCTION_NS: u64 = 100_000;
/// Nanoseconds of a parameter or result of a function: it is moved where the function begins or ends, and by the code that enters it from outside.
const SIGNATURE_VALUE_NS: u64 = 50_000;
/// Nanoseconds of a value that a call or a branch takes along.
const OPERAND_NS: u64 = 7_000;
/// Nanoseconds of a loop around a loop.
const LOOP_AROUND_NS: u64 = 3_200;
/// Nanoseconds of a value that a loop takes along, for each loop around it and itself. Most of it stands for memory.
const LOOP_VALUE_NS: u64 = 300;
/// Nanoseconds of a type: code that leads out of functions of the type is made for each type, even if it has no functions.
const TYPE_NS: u64 = 50_000;
/// Nanoseconds of a parameter or result of a type.
const TYPE_VALUE_NS: u64 = 15_000;
/// Nanoseconds of a segment: code of the module's start places it.
pub(super) const SEGMENT_NS: u64 = 150_000;

/// Number of parameters and of results of a type.
#[derive(Clone, Copy, Default)]
pub(super) struct Arity {
    pub params: u32,
    pub results: u32,
}

impl Arity {
    const fn values(self) -> u64 {
        self.params as u64 + self.results as u64
    }

    /// Returns what a type with this arity costs by itself, in nanoseconds.
    pub(super) const fn type_ns(self) -> u64 {
        TYPE_NS + self.values() * TYPE_VALUE_NS
    }
}

/// Types and functions of a module, as the sections before its code declare them.
#[derive(Default)]
pub(super) struct Signatures {
    /// Arity of each type.
    pub types: Vec<Arity>,
    /// Type of each function, those of imported functions first.
    pub functions: Vec<u32>,
}

impl Signatures {
    fn of_type(&self, index: u32) -> Arity {
        self.types.get(index as usize).copied().unwrap_or_default()
    }

    fn of_function(&self, index: u32) -> Arity {
        self.functions.get(index as usize).map_or_else(Arity::default, |&ty| self.of_type(ty))
    }

    fn of_block(&self, ty: BlockType) -> Arity {
        match ty {
            BlockType::Empty => Arity::default(),
            BlockType::Type(_) => Arity { params: 0, results: 1 },
            BlockType::FuncType(index) => self.of_type(index),
        }
    }
}

const WORDS: usize = (FUNCTION_SLOTS_MAX as usize).div_ceil(64);

/// A set of locals of a function. Locals beyond the limit of slots, with which the function is refused anyway, aren't told apart.
#[derive(Clone, Copy, Default)]
struct Locals([u64; WORDS]);

impl Locals {
    const fn add(&mut self, local: u32) {
        let at = local as usize % (WORDS * 64);
        self.0[at / 64] |= 1 << (at % 64);
    }

    fn join(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(word, other)| *word |= other);
    }

    fn count(&self) -> u64 {
        self.0.iter().map(|word| u64::from(word.count_ones())).sum()
    }
}

/// A block that is open.
struct Frame {
    kind: FrameKind,
    arity: Arity,
    /// Number of branches to its label.
    branches: u64,
    /// Locals that are written in it, but not in an inner block at whose label values met.
    written: Locals,
    /// Locals that are written in such an inner block.
    met: Locals,
    /// Whether there is such an inner block.
    meets: bool,
    /// Most values that are kept at one time for an inner `else` that is still to come.
    kept: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum FrameKind {
    Block,
    Loop,
    If,
    Else,
}

impl Frame {
    fn new(kind: FrameKind, arity: Arity) -> Self {
        // The path around an `if` without `else`.
        let branches = u64::from(kind == FrameKind::If);
        Self { kind, arity, branches, written: Locals::default(), met: Locals::default(), meets: false, kept: 0 }
    }

    /// Begins the `else` of a block. Counts the values that were kept for it: its parameters, the fuel, and each local that the first
    /// branch writes.
    fn begin_else(&mut self) {
        let mut changed = self.written;
        changed.join(&self.met);
        self.kept += u64::from(self.arity.params) + 1 + changed.count();
    }

    /// Returns how many values a branch to its label takes along.
    const fn label_values(&self) -> u64 {
        match self.kind {
            FrameKind::Loop => self.arity.params as u64,
            _ => self.arity.results as u64,
        }
    }
}

/// Counter of one function.
pub(super) struct FunctionEffort<'a> {
    signatures: &'a Signatures,
    limits: &'a ModuleLimits,
    function: u32,
    frames: Vec<Frame>,
    nanoseconds: u64,
    blocks: u64,
    branches: u64,
    operands: u64,
    loops: u64,
    /// Number of open loops.
    loop_depth: u64,
    traps: u64,
    /// Number of instructions that take the lower bits of a number.
    parts: u64,
    calls: u64,
    /// Number of values that meet where values met inside.
    meetings: u64,
    /// Most values that are kept at one time for an `else`.
    kept: u64,
}

impl<'a> FunctionEffort<'a> {
    /// Begins with a function's signature and the size of its body.
    pub(super) fn new(
        signatures: &'a Signatures,
        limits: &'a ModuleLimits,
        function: u32,
        body_bytes: usize,
    ) -> Result<Self, ModuleProblem> {
        let arity = signatures.of_function(function);
        let own = Self {
            signatures,
            limits,
            function,
            frames: vec![Frame::new(FrameKind::Block, arity)],
            nanoseconds: FUNCTION_NS + arity.values() * SIGNATURE_VALUE_NS,
            blocks: 0,
            branches: 0,
            operands: 0,
            loops: 0,
            loop_depth: 0,
            traps: 0,
            parts: 0,
            calls: 0,
            meetings: 0,
            kept: 0,
        };
        own.at_most(FunctionLimit::Bytes, body_bytes as u64, limits.function_bytes_max)?;
        Ok(own)
    }

    /// Counts an instruction. `reachable` says whether it can be reached.
    pub(super) fn operator(&mut self, operator: &Operator<'_>, reachable: bool) -> Result<(), ModuleProblem> {
        self.nanoseconds += weight(operator);
        self.traps += traps(operator);
        self.parts += u64::from(takes_part(operator));
        match *operator {
            Operator::Block { blockty } => self.open(FrameKind::Block, blockty),
            Operator::Loop { blockty } => {
                self.loops += 1;
                self.loop_depth += 1;
                let values = self.signatures.of_block(blockty).values();
                self.nanoseconds += self.loop_depth * (LOOP_AROUND_NS + values * LOOP_VALUE_NS);
                self.open(FrameKind::Loop, blockty);
            }
            Operator::If { blockty } => self.open(FrameKind::If, blockty),
            Operator::Else => {
                if let Some(frame) = self.frames.last_mut() {
                    frame.kind = FrameKind::Else;
                    frame.begin_else();
                    frame.branches = (frame.branches - 1) + u64::from(reachable);
                }
            }
            Operator::End => self.close(reachable),
            Operator::LocalSet { local_index } | Operator::LocalTee { local_index } => {
                if let Some(frame) = self.frames.last_mut() {
                    frame.written.add(local_index);
                }
            }
            Operator::Br { relative_depth } | Operator::BrIf { relative_depth } => self.branch(relative_depth),
            Operator::BrTable { ref targets } => {
                self.branches += u64::from(targets.len());
                let mut depths: Vec<u32> = targets.targets().flatten().chain([targets.default()]).collect();
                depths.sort_unstable();
                depths.dedup();
                depths.into_iter().for_each(|depth| self.branch(depth));
            }
            Operator::Return => self.branch((self.frames.len() as u32).saturating_sub(1)),
            Operator::Call { function_index } => self.call(self.signatures.of_function(function_index)),
            Operator::CallIndirect { type_index, .. } => self.call(self.signatures.of_type(type_index)),
            _ => {}
        }
        let limits = self.limits;
        self.at_most(FunctionLimit::Blocks, self.blocks, limits.function_blocks_max)?;
        self.at_most(FunctionLimit::Branches, self.branches, limits.function_branches_max)?;
        self.at_most(FunctionLimit::Operands, self.operands, limits.function_operands_max)?;
        self.at_most(FunctionLimit::Cost, self.nanoseconds / MICROSECOND, limits.function_cost_max)
    }

    /// Returns the largest number of values that the function keeps at one time besides its locals and operands: those that an `else`
    /// must find as they were before the first branch.
    pub(super) const fn kept(&self) -> u64 {
        self.kept
    }

    /// Returns what the function costs, in nanoseconds. `slots` is the number of values that it keeps at one time.
    pub(super) fn finish(&self, slots: u64) -> Result<u64, ModuleProblem> {
        let square = |number: u64, nanoseconds: u64| number.saturating_mul(number).saturating_mul(nanoseconds);
        let borders = 2 * self.blocks + self.traps + self.calls;
        let sum = self
            .nanoseconds
            .saturating_add(borders.saturating_mul(slots).saturating_mul(200))
            .saturating_add(square(self.loops, 140))
            .saturating_add(square(self.meetings, 8))
            .saturating_add(square(self.traps, 2))
            .saturating_add(square(self.parts, 130));
        self.at_most(FunctionLimit::Cost, sum / MICROSECOND, self.limits.function_cost_max)?;
        Ok(sum)
    }

    fn open(&mut self, kind: FrameKind, ty: BlockType) {
        self.blocks += 1;
        self.frames.push(Frame::new(kind, self.signatures.of_block(ty)));
    }

    /// Closes a block: the values of all paths to its label meet.
    fn close(&mut self, reachable: bool) {
        let Some(frame) = self.frames.pop() else { return };
        self.loop_depth -= u64::from(frame.kind == FrameKind::Loop);
        // A loop's label is its start, which is reached from before it.
        let paths = frame.branches + u64::from(reachable || frame.kind == FrameKind::Loop);
        let meets = paths > 1 && (frame.kind != FrameKind::Loop || frame.branches > 0);
        let mut all = frame.written;
        all.join(&frame.met);
        if meets {
            // The fuel is a value, too.
            let values = all.count() + 1 + frame.label_values();
            self.meetings += frame.met.count() + u64::from(frame.meets) * (1 + frame.label_values());
            let merged = values.saturating_mul(paths).saturating_mul(paths).saturating_mul(8);
            self.nanoseconds = self.nanoseconds.saturating_add(merged).saturating_add(2_000 * values);
        }
        let Some(outer) = self.frames.last_mut() else {
            self.kept = frame.kept;
            return;
        };
        outer.kept = outer.kept.max(frame.kept);
        outer.meets |= meets || frame.meets;
        if meets {
            outer.met.join(&all);
        } else {
            outer.written.join(&frame.written);
            outer.met.join(&frame.met);
        }
    }

    fn branch(&mut self, depth: u32) {
        self.branches += 1;
        let Some(at) = self.frames.len().checked_sub(1 + depth as usize) else { return };
        let frame = &mut self.frames[at];
        frame.branches += 1;
        let values = frame.label_values();
        self.take_along(values);
    }

    fn call(&mut self, arity: Arity) {
        self.calls += 1;
        self.take_along(arity.values());
    }

    const fn take_along(&mut self, values: u64) {
        self.operands += values;
        self.nanoseconds += values * OPERAND_NS;
    }

    fn at_most(&self, limit: FunctionLimit, found: u64, max: u64) -> Result<(), ModuleProblem> {
        if found <= max {
            return Ok(());
        }
        Err(ModuleProblem::FunctionOverLimit { function: self.function, name: None, limit, found, max })
    }
}

/// Returns what an instruction costs by itself, in nanoseconds.
fn weight(operator: &Operator<'_>) -> u64 {
    match operator {
        Operator::CallIndirect { .. } => 240_000,
        Operator::MemoryCopy { .. } | Operator::MemoryFill { .. } => 100_000,
        Operator::Call { .. } | Operator::MemoryGrow { .. } | Operator::MemorySize { .. } => 12_000,
        Operator::If { .. } | Operator::Loop { .. } | Operator::Else | Operator::BrIf { .. } => 25_000,
        Operator::Block { .. } | Operator::BrTable { .. } | Operator::Br { .. } | Operator::Return => 6_000,
        Operator::LocalGet { .. } | Operator::LocalSet { .. } | Operator::LocalTee { .. } | Operator::End => 500,
        Operator::I32Const { .. }
        | Operator::I64Const { .. }
        | Operator::F32Const { .. }
        | Operator::F64Const { .. } => 4_000,
        // Most of this stands for the memory that the compiler needs.
        Operator::GlobalGet { .. } | Operator::GlobalSet { .. } => 24_000,
        _ => traps(operator) * 45_000 + computation(operator),
    }
}

/// Returns what an instruction that computes costs, in nanoseconds. Memory counts, too: 5 us for each kilobyte.
fn computation(operator: &Operator<'_>) -> u64 {
    use Operator as Op;

    match operator {
        // The compiler looks for sums with constants in sums with constants, and has many ways to find constants. So each sum counts as if
        // it were with a constant, as most sums in real code are.
        Op::I32Add | Op::I32Sub | Op::I32Mul | Op::I32And | Op::I32Or | Op::I32Xor => 50_000,
        Op::I64Add | Op::I64Sub | Op::I64Mul | Op::I64And | Op::I64Or | Op::I64Xor => 50_000,
        Op::I32Shl | Op::I32ShrS | Op::I32ShrU | Op::I64Shl | Op::I64ShrS | Op::I64ShrU => 50_000,
        Op::I32Rotl | Op::I32Rotr | Op::I64Rotl | Op::I64Rotr => 50_000,
        // NaNs are made canonical after each.
        Op::F32Add | Op::F32Sub | Op::F32Mul | Op::F32Div | Op::F32Min | Op::F32Max | Op::F32Sqrt => 30_000,
        Op::F64Add | Op::F64Sub | Op::F64Mul | Op::F64Div | Op::F64Min | Op::F64Max | Op::F64Sqrt => 30_000,
        Op::F32Ceil | Op::F32Floor | Op::F32Trunc | Op::F32Nearest | Op::F32DemoteF64 => 30_000,
        Op::F64Ceil | Op::F64Floor | Op::F64Trunc | Op::F64Nearest | Op::F64PromoteF32 => 30_000,
        Op::I32TruncSatF32S | Op::I32TruncSatF32U | Op::I32TruncSatF64S | Op::I32TruncSatF64U => 40_000,
        Op::I64TruncSatF32S | Op::I64TruncSatF32U | Op::I64TruncSatF64S | Op::I64TruncSatF64U => 40_000,
        Op::F32ConvertI64U | Op::F64ConvertI64U => 30_000,
        // Most of it stands for memory.
        Op::I32TruncF32S | Op::I32TruncF32U | Op::I32TruncF64S | Op::I32TruncF64U => 60_000,
        Op::I64TruncF32S | Op::I64TruncF32U | Op::I64TruncF64S | Op::I64TruncF64U => 60_000,
        operator if is_vector(operator) => 45_000,
        _ => 4_000,
    }
}

/// Returns whether an instruction works on vectors.
fn is_vector(operator: &Operator<'_>) -> bool {
    macro_rules! is_of_vectors {
        (simd) => {
            true
        };
        ($other:ident) => {
            false
        };
    }
    macro_rules! find {
        ($( @$proposal:ident $op:ident $({ $($arg:ident: $argty:ty),* })? => $visit:ident ($($ann:tt)*))*) => {
            match operator {
                $( Operator::$op $({ $($arg: _),* })? => is_of_vectors!($proposal), )*
                _ => false,
            }
        };
    }
    wasmparser::for_each_operator!(find)
}

/// Returns whether an instruction takes the lower bits of a number. The compiler looks for sums that can be computed with fewer bits: in a chain of
/// sums, each such instruction goes back through all before it.
const fn takes_part(operator: &Operator<'_>) -> bool {
    matches!(
        operator,
        Operator::I32WrapI64
            | Operator::I32Extend8S
            | Operator::I32Extend16S
            | Operator::I64Extend8S
            | Operator::I64Extend16S
            | Operator::I64Extend32S
            | Operator::I8x16Splat
            | Operator::I16x8Splat
            | Operator::I8x16ReplaceLane { .. }
            | Operator::I16x8ReplaceLane { .. }
    )
}

/// Returns in how many ways an instruction may trap. Each way is a block and a call of its own.
fn traps(operator: &Operator<'_>) -> u64 {
    if accesses_memory(operator) {
        return 1;
    }
    match operator {
        Operator::I32TruncF32S
        | Operator::I32TruncF32U
        | Operator::I32TruncF64S
        | Operator::I32TruncF64U
        | Operator::I64TruncF32S
        | Operator::I64TruncF32U
        | Operator::I64TruncF64S
        | Operator::I64TruncF64U => 3,
        Operator::I32DivS | Operator::I64DivS | Operator::CallIndirect { .. } => 2,
        Operator::I32DivU
        | Operator::I64DivU
        | Operator::I32RemS
        | Operator::I32RemU
        | Operator::I64RemS
        | Operator::I64RemU
        | Operator::TableGet { .. }
        | Operator::Unreachable => 1,
        _ => 0,
    }
}

/// Returns whether an instruction loads or stores.
fn accesses_memory(operator: &Operator<'_>) -> bool {
    macro_rules! has_memarg {
        (@any memarg $($rest:ident)*) => { true };
        (@any $($rest:ident)*) => { false };
        ($( @$proposal:ident $op:ident $({ $($arg:ident: $argty:ty),* })? => $visit:ident ($($ann:tt)*))*) => {
            match operator {
                $( Operator::$op $({ $($arg: _),* })? => has_memarg!(@any $($($arg)*)?), )*
                _ => false,
            }
        };
    }
    wasmparser::for_each_operator!(has_memarg)
}

#[cfg(test)]
mod tests {
    use Operator as Op;

    use super::*;

    /// The end of a row of decision 16's table.
    fn row(what: &str) -> &'static str {
        let decision = include_str!("../../../docs/decisions/0016-compilation-is-bounded.md");
        let row = decision.lines().find(|line| line.starts_with(&format!("| {what} | ")));
        row.unwrap_or_else(|| panic!("no row {what}")).rsplit(" | ").next().unwrap_or_default()
    }

    #[test]
    fn the_decision_has_these_weights() {
        let us = |nanoseconds: u64| nanoseconds / MICROSECOND;
        let each = |operator: &Operator<'_>| format!("{} us each |", us(weight(operator)));
        assert_eq!(row("sums, products and shifts of whole numbers, rotations"), each(&Op::I64Mul));
        assert_eq!(row("arithmetic of floats"), each(&Op::F32Add));
        assert_eq!(row("instructions of vectors"), each(&Op::I8x16Add));
        assert_eq!(row("truncations that saturate"), each(&Op::I32TruncSatF32S));
        assert_eq!(row("segments"), format!("{} us each |", us(SEGMENT_NS)));
        assert_eq!(row("operands of calls and branches"), format!("{} us each |", us(OPERAND_NS)));
        assert_eq!(row("parameters and results of functions"), format!("{} us each |", us(SIGNATURE_VALUE_NS)));
        assert_eq!(row("parts of constant expressions"), format!("{} us each |", us(super::super::constants::PART_NS)));
        let global = us(weight(&Op::GlobalGet { global_index: 0 }));
        assert_eq!(row("globals"), format!("{global} us for each that is read or written |"));
        let types = format!("{} us, and {} us for each parameter and result |", us(TYPE_NS), us(TYPE_VALUE_NS));
        assert_eq!(row("types"), types);
        assert!(row("values that a loop takes along").starts_with(&format!("{LOOP_VALUE_NS} ns for each value")));
        let (indirect, truncation) =
            (us(weight(&Op::CallIndirect { type_index: 0, table_index: 0 })), us(weight(&Op::I32TruncF32S)));
        let traps = format!("{indirect} us for `call_indirect`, {truncation} us for a truncation of a float |");
        assert!(row("instructions that may trap").ends_with(&traps));
    }
}
