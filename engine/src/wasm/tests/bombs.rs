//! Small modules that would take minutes and gigabytes to compile: each family was found by a search, grows until it is refused, and names the
//! function and the limit. What is within the limits is compiled here in a debug build, so nothing is said of its time: `.ci/parts/compile-bounds`
//! measures that.

use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, DataSection, ElementSection, Elements, ExportKind, ExportSection, Function,
    FunctionSection, GlobalSection, GlobalType, InstructionSink, MemArg, MemorySection, MemoryType, Module, NameMap,
    NameSection, RefType, TableSection, TableType, TypeSection, ValType,
};
use wasm_engine_abi::{MAGIC, random_u64};
use wasm_engine_components::ModuleLimits;
use wasm_engine_components::limits::TABLE_ELEMENTS_MAX;

use super::*;
use crate::wasm::validate::validate;

/// Type of a function that takes and gives nothing.
const VOID: u32 = 1;
/// Number of the function of a bomb: the first two are those that an agent exports.
const BOMB: u32 = 2;

/// An agent whose third function is a bomb, and what else it has.
#[derive(Default)]
struct Bomb {
    /// Locals of the bomb's function.
    locals: Vec<(u32, ValType)>,
    /// More types, from number 2 on.
    types: Vec<(Vec<ValType>, Vec<ValType>)>,
    /// More functions, from number 3 on: their types. They give what they take, as far as they give anything.
    functions: Vec<u32>,
    /// Elements of a table, all of one function, and whether the table's size is that.
    elements: u32,
    /// Data segments of a byte.
    segments: u32,
}

impl Bomb {
    /// The module's bytes.
    fn module(&self, code: impl FnOnce(&mut InstructionSink<'_>)) -> Vec<u8> {
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
        module.section(&functions);
        let mut tables = TableSection::new();
        let minimum = u64::from(self.elements.max(1));
        let table = TableType { element_type: RefType::FUNCREF, minimum, maximum: None, table64: false, shared: false };
        module.section(tables.table(table));
        let mut memories = MemorySection::new();
        let memory = MemoryType { minimum: 2, maximum: None, memory64: false, shared: false, page_size_log2: None };
        module.section(memories.memory(memory));
        let mut globals = GlobalSection::new();
        let immutable = GlobalType { val_type: ValType::I32, mutable: false, shared: false };
        module.section(globals.global(immutable, &ConstExpr::i32_const(64)));
        let mut exports = ExportSection::new();
        exports.export("memory", ExportKind::Memory, 0).export("agent_exchange", ExportKind::Global, 0);
        module.section(exports.export("agent_init", ExportKind::Func, 0).export("agent_step", ExportKind::Func, 1));
        if self.elements > 0 {
            let mut elements = ElementSection::new();
            let all: Vec<u32> = (0..self.elements).map(|at| BOMB + at % (1 + self.functions.len() as u32)).collect();
            elements.active(None, &ConstExpr::i32_const(0), Elements::Functions(all.into()));
            module.section(&elements);
        }
        module.section(&self.code(code));
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

    fn code(&self, code: impl FnOnce(&mut InstructionSink<'_>)) -> CodeSection {
        let mut section = CodeSection::new();
        for _ in 0..2 {
            let mut function = Function::new([]);
            function.instructions().i32_const(0).end();
            section.function(&function);
        }
        let mut bomb = Function::new(self.locals.iter().copied());
        code(&mut bomb.instructions());
        bomb.instructions().end();
        section.function(&bomb);
        for &ty in &self.functions {
            let mut function = Function::new([]);
            let results = if ty < 2 { 0 } else { self.types[ty as usize - 2].1.len() as u32 };
            (0..results).for_each(|param| _ = function.instructions().local_get(param));
            function.instructions().end();
            section.function(&function);
        }
        section
    }
}

const WORD: MemArg = MemArg { offset: 0, align: 0, memory_index: 0 };

/// Gives each local a value that the compiler doesn't know.
fn define(code: &mut InstructionSink<'_>, locals: u32) {
    (0..locals).for_each(|local| _ = code.i32_const(0).i64_load(WORD).local_set(local));
}

/// Makes each local another.
fn change(code: &mut InstructionSink<'_>, locals: u32) {
    (0..locals).for_each(|local| _ = code.local_get(local).i64_const(1).i64_add().local_set(local));
}

/// Asks for each local's value.
fn keep(code: &mut InstructionSink<'_>, locals: u32) {
    (0..locals).for_each(|local| _ = code.i32_const(0).local_get(local).i64_store(WORD));
}

/// A condition that the compiler doesn't know.
fn unknown(code: &mut InstructionSink<'_>) {
    code.i32_const(0).i32_load(WORD);
}

fn with_locals(locals: u32, code: impl FnOnce(&mut InstructionSink<'_>)) -> Vec<u8> {
    let bomb = Bomb { locals: vec![(locals.max(1), ValType::I64)], ..Bomb::default() };
    bomb.module(|sink| {
        define(sink, locals);
        code(sink);
        keep(sink, locals);
    })
}

/// Loops in loops around one change of all locals.
fn nested_loops(depth: u32, locals: u32) -> Vec<u8> {
    with_locals(locals, |code| {
        (0..depth).for_each(|_| _ = code.loop_(BlockType::Empty));
        change(code, locals);
        for _ in 0..depth {
            unknown(code);
            code.br_if(0).end();
        }
    })
}

/// Blocks in blocks, all of which are left before the change of all locals.
fn nested_blocks(depth: u32, locals: u32) -> Vec<u8> {
    with_locals(locals, |code| {
        (0..depth).for_each(|_| _ = code.block(BlockType::Empty));
        for label in 0..depth {
            unknown(code);
            code.br_if(label);
        }
        change(code, locals);
        (0..depth).for_each(|_| _ = code.end());
    })
}

/// Branches to one label, half of them before the change of all locals.
fn one_label(branches: u32, locals: u32) -> Vec<u8> {
    with_locals(locals, |code| {
        code.block(BlockType::Empty);
        for at in 0..branches {
            if at == branches / 2 {
                change(code, locals);
            }
            unknown(code);
            code.br_if(0);
        }
        code.end();
    })
}

/// Loops one after the other.
fn loops(number: u32, locals: u32) -> Vec<u8> {
    with_locals(locals, |code| {
        for _ in 0..number {
            code.loop_(BlockType::Empty);
            unknown(code);
            code.br_if(0).end();
        }
    })
}

/// Conditions one after the other, over which all locals live.
fn conditions(number: u32, locals: u32) -> Vec<u8> {
    with_locals(locals, |code| {
        for _ in 0..number {
            unknown(code);
            code.if_(BlockType::Empty).end();
        }
    })
}

/// Loads, each from where the one before says.
fn loads(number: u32, locals: u32) -> Vec<u8> {
    with_locals(locals.max(1), |code| {
        for at in 0..number {
            let place = MemArg { offset: u64::from(at) * 8, ..WORD };
            code.local_get(0).i32_wrap_i64().i64_load(place).local_set(0);
        }
    })
}

/// Conversions of floats, which may trap in three ways.
fn conversions(number: u32, _: u32) -> Vec<u8> {
    let bomb = Bomb { locals: vec![(1, ValType::F32)], ..Bomb::default() };
    bomb.module(|code| {
        (0..number).for_each(|_| _ = code.local_get(0).i32_trunc_f32_s().f32_convert_i32_s().local_set(0));
        code.i32_const(0).local_get(0).f32_store(WORD);
    })
}

/// Calls with many parameters and results.
fn operands(calls: u32, width: u32) -> Vec<u8> {
    let wide = vec![ValType::I64; width.clamp(1, 490) as usize];
    let bomb = Bomb { types: vec![(wide.clone(), wide.clone())], functions: vec![2], ..Bomb::default() };
    bomb.module(|code| {
        wide.iter().for_each(|_| _ = code.i64_const(0));
        (0..calls).for_each(|_| _ = code.call(BOMB + 1));
        wide.iter().for_each(|_| _ = code.drop());
    })
}

/// Branches that take many values along.
fn branch_operands(branches: u32, width: u32) -> Vec<u8> {
    let wide = vec![ValType::I64; width.clamp(2, 490) as usize];
    let bomb = Bomb { types: vec![(vec![], wide.clone())], ..Bomb::default() };
    bomb.module(|code| {
        code.block(BlockType::FunctionType(2));
        wide.iter().for_each(|_| _ = code.i64_const(0));
        for _ in 0..branches {
            unknown(code);
            code.br_if(0);
        }
        code.end();
        wide.iter().for_each(|_| _ = code.drop());
    })
}

/// Calls by a table.
fn table_calls(number: u32, locals: u32) -> Vec<u8> {
    with_locals(locals, |code| {
        (0..number).for_each(|_| _ = code.i32_const(0).call_indirect(0, VOID));
    })
}

/// Jump tables, each over blocks of its own.
fn jump_tables(number: u32, targets: u32) -> Vec<u8> {
    let targets = targets.clamp(1, 200);
    with_locals(8, |code| {
        for _ in 0..number {
            (0..targets).for_each(|_| _ = code.block(BlockType::Empty));
            unknown(code);
            code.br_table(0..targets, 0);
            for _ in 0..targets {
                code.end();
                change(code, 8);
            }
        }
    })
}

/// Functions with many parameters, which a table makes reachable from outside.
fn wide_functions(number: u32, width: u32) -> Vec<u8> {
    let params = vec![ValType::I64; width.min(900) as usize];
    let functions = vec![2; number as usize];
    let bomb = Bomb { types: vec![(params, vec![])], functions, elements: number.min(60_000), ..Bomb::default() };
    let mut text = bomb.module(|_| {});
    text.shrink_to_fit();
    text
}

fn empty_functions(number: u32, _: u32) -> Vec<u8> {
    Bomb { functions: vec![VOID; number as usize], ..Bomb::default() }.module(|_| {})
}

fn segments(number: u32, _: u32) -> Vec<u8> {
    Bomb { segments: number, ..Bomb::default() }.module(|_| {})
}

/// A family of modules: its name, how it is made from a number and a width, and the keys of the limits that may refuse it.
type Family = (&'static str, fn(u32, u32) -> Vec<u8>);

const FAMILIES: [Family; 14] = [
    ("nested loops", nested_loops),
    ("nested blocks", nested_blocks),
    ("one label", one_label),
    ("loops", loops),
    ("conditions", conditions),
    ("loads", loads),
    ("conversions", conversions),
    ("operands", operands),
    ("operands of branches", branch_operands),
    ("calls by a table", table_calls),
    ("jump tables", jump_tables),
    ("wide functions", wide_functions),
    ("empty functions", empty_functions),
    ("segments", segments),
];

fn refused(bytes: &[u8]) -> Option<ModuleProblem> {
    validate(bytes, &ModuleLimits::DEFAULT).err()
}

/// The largest number for which a family's module is within the limits.
fn largest((name, make): Family, width: u32) -> u32 {
    let mut over = 1;
    while refused(&make(over, width)).is_none() {
        over *= 2;
        assert!(over < 1 << 20, "{name} of width {width} is never refused");
    }
    let mut within = over / 2;
    while over - within > 1 {
        let middle = within.midpoint(over);
        if refused(&make(middle, width)).is_none() { within = middle } else { over = middle }
    }
    within
}

#[test]
fn each_family_is_refused_with_the_limit_to_raise() {
    for family in FAMILIES {
        for width in [1, 30, 100, 300, 900] {
            let within = largest(family, width);
            match refused(&family.1(2 * within + 2, width)) {
                Some(ModuleProblem::FunctionOverLimit { max, found, function, .. }) => {
                    assert!(found > max && function >= BOMB, "{}", family.0);
                }
                Some(ModuleProblem::OverLimit { key, max, found, .. }) => {
                    assert!(key.starts_with("module_") && found > max, "{}", family.0);
                }
                Some(ModuleProblem::TooManyLocals { slots, .. }) => assert!(slots > 1_000, "{}", family.0),
                other => panic!("{} of width {width}: {other:?}", family.0),
            }
        }
    }
}

#[test]
fn the_error_names_function_size_limit_and_key() {
    let problem = refused(&nested_loops(400, 100)).unwrap();
    let told = problem.to_string();
    assert!(told.starts_with("its function 2 (`the "), "{told}");
    assert!(
        told.contains(
            "microseconds of estimated compilation, and its groups allow 400000 (`limits.function_cost_max`)"
        )
    );
    assert!(!told.contains('\u{1b}'), "names are shown harmlessly: {told:?}");
    let told = refused(&segments(1_001, 0)).unwrap().to_string();
    assert!(
        told.starts_with("it has 1002 segments, and its groups allow 1000 (`limits.module_segments_max`)"),
        "{told}"
    );
}

#[test]
fn a_group_may_raise_its_limits_and_the_least_of_several_counts() {
    let bytes = loads(12_000, 1);
    let source = || ModuleSource { name: "m".into(), path: PathBuf::from("m.wasm"), bytes: bytes.clone() };
    let (small, mut large) = (group(1, 1), group(2, 1));
    large.module_limits = ModuleLimits { function_cost_max: 10_000_000, ..ModuleLimits::MAX };
    let load = |groups: &[&Group]| {
        let programs: Vec<_> = groups.iter().map(|group| GroupProgram { group, module: 0, params: b"" }).collect();
        WasmRuntime::load(&WasmOptions::default(), &[source()], &programs).map(|_| ())
    };
    load(&[&large]).unwrap();
    let refused = load(&[&small, &large]).unwrap_err().to_string();
    assert!(refused.contains("(`limits.function_cost_max`)"), "{refused}");
}

/// A table is the agent's memory, as far as it is larger than what any module has.
#[test]
fn tables_count_as_memory() {
    let with_table = |elements: u32| {
        let bomb = Bomb { elements, ..Bomb::default() };
        ModuleSource { name: "m".into(), path: PathBuf::from("m.wasm"), bytes: bomb.module(|_| {}) }
    };
    let mut two_pages = group(1, 2);
    two_pages.limits.memory_bytes_max = 2 << 16;
    load_bytes(with_table(1_000), &two_pages).unwrap();
    let told = problem_of(with_table(TABLE_ELEMENTS_MAX as u32), &two_pages).to_string();
    assert!(
        told.starts_with("it starts with 131072 bytes of memory and 508") && told.contains("`limits.memory_bytes_max`"),
        "{told}"
    );
    two_pages.limits.memory_bytes_max = (2 << 16) + (TABLE_ELEMENTS_MAX << 3);
    load_bytes(with_table(TABLE_ELEMENTS_MAX as u32), &two_pages).unwrap();
}

#[test]
fn the_samples_are_far_within_the_limits() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../agents/samples/wasm");
    let part = ModuleLimits {
        module_cost_max: ModuleLimits::DEFAULT.module_cost_max / 4,
        function_cost_max: ModuleLimits::DEFAULT.function_cost_max / 2,
        ..ModuleLimits::DEFAULT
    };
    let mut seen = 0;
    for file in std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()) {
        if file.extension().is_some_and(|extension| extension == "wasm") {
            validate(&std::fs::read(&file).unwrap(), &part)
                .unwrap_or_else(|problem| panic!("{}: {problem}", file.display()));
            seen += 1;
        }
    }
    assert!(seen > 5);
}

/// Writes what a search over the families finds to the folder that `WASM_ENGINE_BOMBS` names: for each of some seeds a module within the
/// limits, each family at its largest first. See `.ci/parts/compile-bounds`, which loads them all and measures.
#[test]
#[ignore = "writes files for .ci/parts/compile-bounds"]
fn write_bombs() {
    let folder = PathBuf::from(std::env::var_os("WASM_ENGINE_BOMBS").expect("WASM_ENGINE_BOMBS names a folder"));
    for family in FAMILIES {
        for width in [1, 17, 60, 200, 450, 900] {
            let number = largest(family, width);
            if number == 0 {
                continue;
            }
            let name = format!("{}-{width}-{number}.wasm", family.0.replace(' ', "-"));
            std::fs::write(folder.join(name), family.1(number, width)).unwrap();
        }
    }
    let seeds = std::env::var("WASM_ENGINE_BOMB_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(24_u64);
    for seed in 0..seeds {
        let mut number = 8_000;
        let bytes = loop {
            let bytes = random_code(seed, number);
            if refused(&bytes).is_none() {
                break bytes;
            }
            number = number * 3 / 4;
        };
        std::fs::write(folder.join(format!("random-{seed}-{number}.wasm")), bytes).unwrap();
    }
}

/// A function of random instructions that are valid in any order: the stack is empty between them.
fn random_code(seed: u64, instructions: u32) -> Vec<u8> {
    let draw = |at: u32, stream: u32, below: u64| (random_u64(seed, u64::from(at), stream, 0) % below) as u32;
    let locals = [1, 8, 30, 100, 300, 900][draw(0, 9, 6) as usize];
    // Each seed prefers some instructions.
    let weights: Vec<u32> = (0..10).map(|kind| draw(kind, 8, 8)).collect();
    let total = weights.iter().sum::<u32>().max(1);
    with_locals(locals, |code| {
        let mut depth = 0_u32;
        for at in 1..instructions {
            let mut left = draw(at, 0, total.into());
            let kind = weights.iter().position(|&weight| {
                let here = left < weight;
                left = left.saturating_sub(weight);
                here
            });
            let local = draw(at, 1, locals.into());
            match kind.unwrap_or(0) {
                0 => _ = code.local_get(local).i64_const(3).i64_add().local_set(draw(at, 2, locals.into())),
                1 if depth < 200 => {
                    code.loop_(BlockType::Empty);
                    depth += 1;
                }
                2 if depth < 200 => {
                    code.block(BlockType::Empty);
                    depth += 1;
                }
                3 if depth < 200 => {
                    unknown(code);
                    code.if_(BlockType::Empty);
                    depth += 1;
                }
                4 | 5 if depth > 0 => {
                    code.end();
                    depth -= 1;
                }
                6 => {
                    unknown(code);
                    code.br_if(draw(at, 3, u64::from(depth) + 1));
                }
                7 => {
                    let place = MemArg { offset: u64::from(at), ..WORD };
                    code.local_get(local).i32_wrap_i64().i64_load(place).local_set(draw(at, 2, locals.into()));
                }
                8 => _ = code.local_get(local).i64_const(7).i64_or().local_get(local).i64_div_s().local_set(local),
                _ => _ = code.i32_const(0).call_indirect(0, VOID),
            }
        }
        (0..depth).for_each(|_| _ = code.end());
    })
}
