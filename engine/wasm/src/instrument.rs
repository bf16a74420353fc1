//! The second step of a load: a call-depth counter, and names for the mutable globals.
//!
//! How deep a native stack reaches depends on the machine and the compiler, so a counter in the module bounds the calls
//! instead. Each function that calls becomes
//!
//! ```text
//! depth += 1; if depth > CALL_DEPTH_MAX { unreachable }
//! block (results) body, each `return` a `br` out of the block end
//! depth -= 1
//! ```
//!
//! A trap of the counter leaves it above the limit, and no other trap does, so the host can tell them apart. Functions that call
//! no other aren't counted. Everything that is added goes to the end of its section, so no index of the module changes. Bodies
//! are copied as they are, except for their `return`s.

use core::convert::Infallible;

use wasm_encoder::reencode::{Error, Reencode, RoundtripReencoder};
use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, ExportKind, ExportSection, Function, GlobalSection, GlobalType, Module,
    RawSection, TypeSection, ValType,
};
use wasm_engine_components::limits::CALL_DEPTH_MAX;
use wasmparser::{BinaryReaderError, FunctionBody, Operator, Parser, Payload};

use super::{
    facts::{DEPTH_EXPORT, FEATURES, GLOBAL_PREFIX},
    problem::ModuleProblem,
};

/// A module that is ready to be compiled.
#[derive(Clone, Debug)]
pub(super) struct Instrumented {
    /// The module's bytes.
    pub bytes: Vec<u8>,
    /// Names under which it exports its mutable globals, in order, without the depth counter.
    pub globals: Vec<String>,
}

/// Instruments a valid module.
pub(super) fn instrument(bytes: &[u8]) -> Result<Instrumented, ModuleProblem> {
    rewrite(bytes).map_err(|error| ModuleProblem::Compile { reason: format!("it can't be instrumented: {error}") })
}

/// Facts about a module that are known when its code section begins.
#[derive(Default)]
struct Context {
    /// Type of each defined function.
    functions: Vec<u32>,
    /// For each type of the module, the type of a block without parameters that returns its results.
    blocks: Vec<BlockType>,
    depth: u32,
    mutable_globals: Vec<u32>,
}

fn rewrite(bytes: &[u8]) -> Result<Instrumented, Error<Infallible>> {
    let mut module = Module::new();
    let mut context = Context::default();
    let mut code = CodeSection::new();
    let mut names = Vec::new();
    let mut has_globals = false;
    let mut parser = Parser::new(0);
    parser.set_features(FEATURES);
    for payload in parser.parse_all(bytes) {
        let payload = payload?;
        // The section of globals comes right before that of exports, which a valid agent has.
        if matches!(payload, Payload::ExportSection(_)) && !has_globals {
            let mut globals = GlobalSection::new();
            context.add_depth(&mut globals);
            module.section(&globals);
        }
        match &payload {
            Payload::TypeSection(section) => {
                module.section(&context.types(section)?);
                continue;
            }
            Payload::FunctionSection(section) => {
                for ty in section.clone() {
                    context.functions.push(ty?);
                }
            }
            Payload::GlobalSection(section) => {
                has_globals = true;
                module.section(&context.globals(section)?);
                continue;
            }
            Payload::ExportSection(section) => {
                let mut exports = ExportSection::new();
                RoundtripReencoder.parse_export_section(&mut exports, section.clone())?;
                for &index in &context.mutable_globals {
                    let name = format!("{GLOBAL_PREFIX}{index}");
                    exports.export(&name, ExportKind::Global, index);
                    names.push(name);
                }
                exports.export(DEPTH_EXPORT, ExportKind::Global, context.depth);
                module.section(&exports);
                continue;
            }
            Payload::CodeSectionEntry(body) => {
                context.function(&mut code, bytes, body)?;
                if code.len() as usize == context.functions.len() {
                    module.section(&code);
                }
                continue;
            }
            Payload::CodeSectionStart { .. } | Payload::CustomSection(_) => continue,
            _ => {}
        }
        if let Some((id, range)) = payload.as_section() {
            module.section(&RawSection { id, data: &bytes[range] });
        }
    }
    Ok(Instrumented { bytes: module.finish(), globals: names })
}

impl Context {
    /// Writes the module's types, and one for each list of results that a block has to return.
    fn types(&mut self, section: &wasmparser::TypeSectionReader<'_>) -> Result<TypeSection, Error<Infallible>> {
        let mut types = TypeSection::new();
        RoundtripReencoder.parse_type_section(&mut types, section.clone())?;
        for ty in section.clone().into_iter_err_on_gc_types() {
            let ty = ty?;
            let results = ty.results().iter().map(|&ty| RoundtripReencoder.val_type(ty));
            let results = results.collect::<Result<Vec<ValType>, _>>()?;
            let block = match results[..] {
                [] => BlockType::Empty,
                [single] => BlockType::Result(single),
                _ => {
                    let index = types.len();
                    types.ty().function([], results);
                    BlockType::FunctionType(index)
                }
            };
            self.blocks.push(block);
        }
        Ok(types)
    }

    fn globals(&mut self, section: &wasmparser::GlobalSectionReader<'_>) -> Result<GlobalSection, Error<Infallible>> {
        let mut globals = GlobalSection::new();
        RoundtripReencoder.parse_global_section(&mut globals, section.clone())?;
        for (index, global) in (0_u32..).zip(section.clone()) {
            if global?.ty.mutable {
                self.mutable_globals.push(index);
            }
        }
        self.add_depth(&mut globals);
        Ok(globals)
    }

    fn add_depth(&mut self, globals: &mut GlobalSection) {
        self.depth = globals.len();
        globals.global(GlobalType { val_type: ValType::I32, mutable: true, shared: false }, &ConstExpr::i32_const(0));
    }

    fn function(&self, code: &mut CodeSection, bytes: &[u8], body: &FunctionBody<'_>) -> Result<(), Error<Infallible>> {
        let whole = &bytes[body.range()];
        let Some(returns) = returns_of_caller(body)? else {
            code.raw(whole);
            return Ok(());
        };
        let start = body.get_operators_reader()?.original_position();
        let ty = self.functions[code.len() as usize];
        let block = self.blocks[ty as usize];
        let mut locals = Vec::new();
        for local in body.get_locals_reader()? {
            let (count, ty) = local?;
            locals.push((count, RoundtripReencoder.val_type(ty)?));
        }
        let mut function = Function::new(locals);
        self.enter(&mut function, block);
        let mut at = start;
        for (offset, nesting) in returns {
            function.raw(bytes[at..offset].iter().copied());
            function.instructions().br(nesting);
            at = offset + 1;
        }
        // The body's own `end` closes the block.
        function.raw(bytes[at..body.range().end].iter().copied());
        function.instructions().global_get(self.depth).i32_const(1).i32_sub().global_set(self.depth).end();
        code.function(&function);
        Ok(())
    }

    fn enter(&self, function: &mut Function, block: BlockType) {
        function
            .instructions()
            .global_get(self.depth)
            .i32_const(1)
            .i32_add()
            .global_set(self.depth)
            .global_get(self.depth)
            .i32_const(CALL_DEPTH_MAX.cast_signed())
            .i32_gt_u()
            .if_(BlockType::Empty)
            .unreachable()
            .end()
            .block(block);
    }
}

/// Returns where a function returns early, with the number of blocks around each place; `None` if the function calls no other.
fn returns_of_caller(body: &FunctionBody<'_>) -> Result<Option<Vec<(usize, u32)>>, BinaryReaderError> {
    let mut returns = Vec::new();
    let mut nesting = 0_u32;
    let mut calls = false;
    let mut operators = body.get_operators_reader()?;
    while !operators.eof() {
        let (operator, offset) = operators.read_with_offset()?;
        match operator {
            Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => nesting += 1,
            // The last one closes the function.
            Operator::End => nesting = nesting.saturating_sub(1),
            Operator::Call { .. } | Operator::CallIndirect { .. } => calls = true,
            Operator::Return => returns.push((offset, nesting)),
            _ => {}
        }
    }
    Ok(calls.then_some(returns))
}
