//! How a bomb is made: an agent whose third function, and copies of it, has the code that is to be expensive.

use wasm_encoder::{
    CodeSection, ConstExpr, DataSection, ElementSection, Elements, ExportKind, ExportSection, Function,
    FunctionSection, GlobalSection, GlobalType, InstructionSink, MemorySection, MemoryType, Module, NameMap,
    NameSection, RefType, TableSection, TableType, TypeSection, ValType,
};
use wasm_engine_abi::MAGIC;
use wasm_engine_components::limits::CONSTANT_PARTS_MAX;

/// Type of a function that takes and gives nothing.
pub const VOID: u32 = 1;
/// Number of the function of a bomb: the first two are those that an agent exports.
pub const BOMB: u32 = 2;

/// As many as a constant expression may have.
pub const ADDITIONS_OF_GLOBAL: u32 = (CONSTANT_PARTS_MAX as u32 - 1) / 2;

/// An agent whose third function is a bomb, and what else it has.
#[derive(Clone, Default)]
pub struct Bomb {
    /// Locals of the bomb's function.
    pub locals: Vec<(u32, ValType)>,
    /// Its instructions, without the last `end`.
    pub code: Vec<u8>,
    /// How many more functions have the same code. They come last.
    pub copies: u32,
    /// The code of more functions with the same locals. They come after those.
    pub codes: Vec<Vec<u8>>,
    /// More types, from number 2 on.
    pub types: Vec<(Vec<ValType>, Vec<ValType>)>,
    /// More functions, from number 3 on: their types. They give what they take, as far as they give anything.
    pub functions: Vec<u32>,
    /// Elements of a table, all of one function, and whether the table's size is that.
    pub elements: u32,
    /// Data segments of a byte.
    pub segments: u32,
    /// More exports.
    pub exports: u32,
    /// How many additions the values of globals are given by, [`ADDITIONS_OF_GLOBAL`] each.
    pub additions: u32,
}

impl Bomb {
    /// The same with this code.
    pub fn with(self, code: impl FnOnce(&mut InstructionSink<'_>)) -> Self {
        let mut bytes = Vec::new();
        code(&mut InstructionSink::new(&mut bytes));
        Self { code: bytes, ..self }
    }

    /// The module's bytes.
    pub fn module(&self) -> Vec<u8> {
        let mut module = Module::new();
        let mut types = TypeSection::new();
        types.ty().function([ValType::I32], [ValType::I32]);
        types.ty().function([], []);
        for (params, results) in &self.types {
            types.ty().function(params.iter().copied(), results.iter().copied());
        }
        module.section(&types);
        let mut functions = FunctionSection::new();
        functions.function(0).function(0).function(VOID);
        self.functions.iter().for_each(|&ty| _ = functions.function(ty));
        (0..self.copies as usize + self.codes.len()).for_each(|_| _ = functions.function(VOID));
        module.section(&functions);
        let mut tables = TableSection::new();
        let minimum = u64::from(self.elements.max(1));
        let table = TableType { element_type: RefType::FUNCREF, minimum, maximum: None, table64: false, shared: false };
        module.section(tables.table(table));
        let mut memories = MemorySection::new();
        let memory = MemoryType { minimum: 2, maximum: None, memory64: false, shared: false, page_size_log2: None };
        module.section(memories.memory(memory));
        module.section(&self.globals());
        module.section(&self.exports());
        if self.elements > 0 {
            let mut elements = ElementSection::new();
            let all: Vec<u32> = (0..self.elements).map(|at| BOMB + at % (1 + self.functions.len() as u32)).collect();
            elements.active(None, &ConstExpr::i32_const(0), Elements::Functions(all.into()));
            module.section(&elements);
        }
        module.section(&self.bodies());
        let mut data = DataSection::new();
        let words = [MAGIC, 1, 128, 1024, 1152, 1024, 0, 0_u32];
        data.active(0, &ConstExpr::i32_const(64), words.map(u32::to_le_bytes).concat());
        for _ in 0..self.segments {
            data.active(0, &ConstExpr::i32_const(8192), *b"x");
        }
        module.section(&data);
        let (mut names, mut map) = (NameSection::new(), NameMap::new());
        map.append(BOMB, "the \u{1b}[31mbomb");
        names.functions(&map);
        module.section(&names);
        module.finish()
    }

    fn globals(&self) -> GlobalSection {
        let mut globals = GlobalSection::new();
        let plain = |mutable| GlobalType { val_type: ValType::I32, mutable, shared: false };
        globals.global(plain(false), &ConstExpr::i32_const(64));
        let mut left = self.additions;
        loop {
            let (mut value, some) = (ConstExpr::i32_const(1), left.min(ADDITIONS_OF_GLOBAL));
            for _ in 0..some {
                value = value.with_i32_const(1).with_i32_add();
            }
            globals.global(plain(true), &value);
            left -= some;
            if left == 0 {
                return globals;
            }
        }
    }

    fn exports(&self) -> ExportSection {
        let mut exports = ExportSection::new();
        exports.export("memory", ExportKind::Memory, 0).export("agent_exchange", ExportKind::Global, 0);
        exports.export("agent_init", ExportKind::Func, 0).export("agent_step", ExportKind::Func, 1);
        for at in 0..self.exports {
            exports.export(&format!("{at:x}"), ExportKind::Func, BOMB);
        }
        exports
    }

    fn bodies(&self) -> CodeSection {
        let mut section = CodeSection::new();
        for _ in 0..2 {
            let mut function = Function::new([]);
            function.instructions().i32_const(0).end();
            section.function(&function);
        }
        let function = |code: &[u8]| {
            let mut function = Function::new(self.locals.iter().copied());
            function.raw(code.iter().copied());
            function.instructions().end();
            function
        };
        let bomb = function(&self.code);
        section.function(&bomb);
        for &ty in &self.functions {
            let mut function = Function::new([]);
            let results = if ty < 2 { 0 } else { self.types[ty as usize - 2].1.len() as u32 };
            (0..results).for_each(|param| _ = function.instructions().local_get(param));
            function.instructions().end();
            section.function(&function);
        }
        (0..self.copies).for_each(|_| _ = section.function(&bomb));
        self.codes.iter().for_each(|code| _ = section.function(&function(code)));
        section
    }
}
