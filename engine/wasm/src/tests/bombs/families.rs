//! Families of bombs: each was found by a search, and grows with a number and a width until it is refused.

use wasm_encoder::{BlockType, InstructionSink, MemArg, ValType};

use super::make::{BOMB, Bomb, VOID};

pub const WORD: MemArg = MemArg { offset: 0, align: 0, memory_index: 0 };

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
pub fn unknown(code: &mut InstructionSink<'_>) {
    code.i32_const(0).i32_load(WORD);
}

pub fn with_locals(locals: u32, code: impl FnOnce(&mut InstructionSink<'_>)) -> Bomb {
    let bomb = Bomb { locals: vec![(locals.max(1), ValType::I64)], ..Bomb::default() };
    bomb.with(|sink| {
        define(sink, locals);
        code(sink);
        keep(sink, locals);
    })
}

/// Loops in loops around one change of all locals.
pub fn nested_loops(depth: u32, locals: u32) -> Bomb {
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
fn nested_blocks(depth: u32, locals: u32) -> Bomb {
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
fn one_label(branches: u32, locals: u32) -> Bomb {
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
fn loops(number: u32, locals: u32) -> Bomb {
    with_locals(locals, |code| {
        for _ in 0..number {
            code.loop_(BlockType::Empty);
            unknown(code);
            code.br_if(0).end();
        }
    })
}

/// Conditions one after the other, over which all locals live.
fn conditions(number: u32, locals: u32) -> Bomb {
    with_locals(locals, |code| {
        for _ in 0..number {
            unknown(code);
            code.if_(BlockType::Empty).end();
        }
    })
}

/// Loads, each from where the one before says.
pub fn loads(number: u32, locals: u32) -> Bomb {
    with_locals(locals.max(1), |code| {
        for at in 0..number {
            let place = MemArg { offset: u64::from(at) * 8, ..WORD };
            code.local_get(0).i32_wrap_i64().i64_load(place).local_set(0);
        }
    })
}

/// Conversions of floats, which may trap in three ways.
fn conversions(number: u32, _: u32) -> Bomb {
    let bomb = Bomb { locals: vec![(1, ValType::F32)], ..Bomb::default() };
    bomb.with(|code| {
        (0..number).for_each(|_| _ = code.local_get(0).i32_trunc_f32_s().f32_convert_i32_s().local_set(0));
        code.i32_const(0).local_get(0).f32_store(WORD);
    })
}

/// Calls with many parameters and results.
fn operands(calls: u32, width: u32) -> Bomb {
    let wide = vec![ValType::I64; width.clamp(1, 490) as usize];
    let bomb = Bomb { types: vec![(wide.clone(), wide.clone())], functions: vec![2], ..Bomb::default() };
    bomb.with(|code| {
        wide.iter().for_each(|_| _ = code.i64_const(0));
        (0..calls).for_each(|_| _ = code.call(BOMB + 1));
        wide.iter().for_each(|_| _ = code.drop());
    })
}

/// Branches that take many values along.
fn branch_operands(branches: u32, width: u32) -> Bomb {
    let wide = vec![ValType::I64; width.clamp(2, 490) as usize];
    let bomb = Bomb { types: vec![(vec![], wide.clone())], ..Bomb::default() };
    bomb.with(|code| {
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
fn table_calls(number: u32, locals: u32) -> Bomb {
    with_locals(locals, |code| {
        (0..number).for_each(|_| _ = code.i32_const(0).call_indirect(0, VOID));
    })
}

/// Jump tables, each over blocks of its own.
fn jump_tables(number: u32, targets: u32) -> Bomb {
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
fn wide_functions(number: u32, width: u32) -> Bomb {
    let params = vec![ValType::I64; width.min(900) as usize];
    let functions = vec![2; number as usize];
    Bomb { types: vec![(params, vec![])], functions, elements: number.min(60_000), ..Bomb::default() }
}

fn empty_functions(number: u32, _: u32) -> Bomb {
    Bomb { functions: vec![VOID; number as usize], ..Bomb::default() }
}

pub fn segments(number: u32, _: u32) -> Bomb {
    Bomb { segments: number, ..Bomb::default() }
}

/// Conditions one after the other, over which values of the operand stack live.
fn operand_stack(number: u32, width: u32) -> Bomb {
    let width = width.min(900);
    Bomb::default().with(|code| {
        (0..width).for_each(|at| _ = code.i32_const(8 * at.cast_signed()).i64_load(WORD));
        for _ in 0..number {
            unknown(code);
            code.if_(BlockType::Empty).end();
        }
        (0..width).for_each(|_| _ = code.drop());
    })
}

/// Loops that take values along, one in the other.
fn wide_loops(depth: u32, width: u32) -> Bomb {
    let wide = vec![ValType::I64; width.min(400) as usize];
    let bomb = Bomb { types: vec![(wide.clone(), wide.clone())], ..Bomb::default() };
    bomb.with(|code| {
        wide.iter().for_each(|_| _ = code.i32_const(0).i64_load(WORD));
        (0..depth).for_each(|_| _ = code.loop_(BlockType::FunctionType(2)));
        code.i64_const(3).i64_add();
        for _ in 0..depth {
            unknown(code);
            code.br_if(0).end();
        }
        wide.iter().for_each(|_| _ = code.drop());
    })
}

/// Conditions with two ways, one in the other, that give values.
fn two_ways(depth: u32, width: u32) -> Bomb {
    let wide = vec![ValType::I64; width.min(400) as usize];
    let bomb = Bomb { types: vec![(wide.clone(), wide.clone())], ..Bomb::default() };
    bomb.with(|code| {
        wide.iter().for_each(|_| _ = code.i32_const(0).i64_load(WORD));
        for _ in 0..depth {
            unknown(code);
            code.if_(BlockType::FunctionType(2)).i64_const(5).i64_xor();
        }
        for _ in 0..depth {
            code.else_().i64_const(9).i64_add().end();
        }
        wide.iter().for_each(|_| _ = code.drop());
    })
}

/// Conditions with two ways, one in the other: each changes locals that the other way finds as they were.
fn kept_locals(depth: u32, locals: u32) -> Bomb {
    with_locals(locals, |code| {
        for _ in 0..depth {
            unknown(code);
            code.if_(BlockType::Empty);
            change(code, locals);
        }
        for _ in 0..depth {
            code.else_();
            (0..locals).for_each(|local| _ = code.local_get(local).i64_const(7).i64_xor().local_set(local));
            code.end();
        }
    })
}

/// A chain of sums, each of the one before.
fn chain(number: u32, locals: u32) -> Bomb {
    with_locals(locals, |code| {
        for at in 0..number {
            let (from, to) = (at % locals.max(1), (at * 7 + 1) % locals.max(1));
            code.local_get(from).local_get(to).i64_const(0x1234_5678_9abc).i64_mul().i64_add().local_set(to);
        }
    })
}

/// Globals read and written.
fn global_steps(number: u32, _: u32) -> Bomb {
    Bomb::default().with(|code| {
        (0..number).for_each(|at| _ = code.global_get(1).i32_const(at.cast_signed()).i32_add().global_set(1));
    })
}

/// Bytes copied and filled.
fn bulk(number: u32, locals: u32) -> Bomb {
    with_locals(locals, |code| {
        for at in 0..number {
            code.i32_const(0).i32_const(at.cast_signed()).i32_const(9);
            if at % 2 == 0 {
                code.memory_copy(0, 0)
            } else {
                code.memory_fill(0)
            };
        }
    })
}

/// Types that no function has.
fn types(number: u32, width: u32) -> Bomb {
    let ty = |at: u32| {
        let param = |bit: u32| if bit < 12 && at >> bit & 1 == 1 { ValType::F64 } else { ValType::I64 };
        ((0..width.max(12)).map(param).collect(), vec![ValType::I64; width.min(900) as usize])
    };
    Bomb { types: (0..number).map(ty).collect(), ..Bomb::default() }
}

/// Exports of one function.
fn exports(number: u32, _: u32) -> Bomb {
    Bomb { exports: number, ..Bomb::default() }
}

/// A chain of sums with what the compiler finds out to be a constant, each way in which it may by another width.
fn hidden_constants(number: u32, width: u32) -> Bomb {
    with_locals(3, |code| {
        code.i64_const(77).local_set(2);
        if width > 450 {
            // Only in the second way it is one.
            unknown(code);
            code.if_(BlockType::Empty).i32_const(0).i64_load(WORD).local_set(2).else_();
        } else if width > 200 {
            // On both ways it is the same.
            code.block(BlockType::Empty);
            unknown(code);
            code.br_if(0).i64_const(5).drop().local_get(2).local_set(2).end();
        }
        for at in 0..number {
            code.local_get(0);
            match width {
                ..=1 => code.local_get(2).i64_add(),
                2..=17 => code.local_set(1).i64_const(i64::from(at) + 3).local_get(1).i64_add(),
                18..=60 => code.local_get(0).local_get(0).i64_eq().i64_extend_i32_u().i64_add(),
                61..=200 => code.local_get(1).i64_const(-1).i64_or().i64_add(),
                201..=450 => code.local_get(2).i64_xor(),
                _ => code.local_get(2).i64_add(),
            };
            code.local_set(0);
        }
        if width > 450 {
            code.end();
        }
    })
}

/// Globals whose values are long sums.
fn long_constants(number: u32, _: u32) -> Bomb {
    Bomb { additions: number, ..Bomb::default() }
}

/// A family of modules: its name, how it is made from a number and a width, and the keys of the limits that may refuse it.
pub type Family = (&'static str, fn(u32, u32) -> Bomb);

pub const FAMILIES: [Family; 25] = [
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
    ("operand stack", operand_stack),
    ("wide loops", wide_loops),
    ("two ways", two_ways),
    ("kept locals", kept_locals),
    ("chain", chain),
    ("global steps", global_steps),
    ("bulk", bulk),
    ("types", types),
    ("exports", exports),
    ("long constants", long_constants),
    ("hidden constants", hidden_constants),
];
