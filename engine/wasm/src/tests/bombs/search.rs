//! A search for modules that are within the limits and take as long as possible to compile.

use wasm_encoder::{BlockType, InstructionSink, MemArg, ValType};
use wasm_engine_abi::random_u64;

use super::families::{FAMILIES, WORD, unknown, with_locals};
use super::make::{Bomb, VOID};
use super::refused;
use crate::tests::*;

/// About the largest number for which a module is within the limits: no more than a fiftieth below it. `None` where there is none.
pub fn largest(make: impl Fn(u32, u32) -> Bomb, width: u32) -> Option<u32> {
    let fits = |number: u32| refused(&make(number, width).module()).is_none();
    if !fits(0) {
        return None;
    }
    let mut over = 1;
    while fits(over) {
        over *= 2;
        if over == 1 << 21 {
            // Only the file's size bounds it, and 4 MiB of it are quick.
            return Some(over / 2);
        }
    }
    let mut within = over / 2;
    while over - within > 1 + over / 50 {
        let middle = within.midpoint(over);
        if fits(middle) { within = middle } else { over = middle }
    }
    Some(within)
}

/// The folder for what a search finds.
struct Found(PathBuf);

impl Found {
    fn folder() -> Self {
        Self(PathBuf::from(std::env::var_os("WASM_ENGINE_BOMBS").expect("WASM_ENGINE_BOMBS names a folder")))
    }

    /// Writes a module that is within the limits.
    fn write(&self, name: &str, bomb: &Bomb) {
        assert_eq!(refused(&bomb.module()), None, "{name}");
        self.write_any(name, bomb);
    }

    fn write_any(&self, name: &str, bomb: &Bomb) {
        std::fs::write(self.0.join(name).with_extension("wasm"), bomb.module()).unwrap();
    }

    /// Writes a bomb in as many functions as a module may have, if that is more than one.
    fn write_copies(&self, name: &str, bomb: &Bomb) {
        let with = |copies: u32, _: u32| Bomb { copies, ..bomb.clone() };
        match largest(with, 0) {
            Some(copies) if copies > 0 => self.write(&format!("{name}-copies-{copies}"), &with(copies, 0)),
            _ => {}
        }
    }
}

/// Writes what the search finds to the folder that `WASM_ENGINE_BOMBS` names: modules within the limits, each family at its largest, alone and
/// in as many functions as the module may have. See `.ci/parts/compile-bounds`, which loads them all and measures.
#[test]
#[ignore = "writes files for .ci/parts/compile-bounds"]
fn write_bombs() {
    let found = Found::folder();
    for (name, make) in FAMILIES {
        for width in [1, 17, 60, 200, 450, 900] {
            let Some(number) = largest(make, width).filter(|number| *number > 0) else { continue };
            let (bomb, name) = (make(number, width), format!("{}-{width}-{number}", name.replace(' ', "-")));
            found.write(&name, &bomb);
            if !bomb.code.is_empty() {
                found.write_copies(&name, &bomb);
            }
        }
    }
    let seeds = std::env::var("WASM_ENGINE_BOMB_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(24_u64);
    for seed in 0..seeds {
        // Some seeds have so many locals that these alone are too much.
        let Some(number) = largest(|number, _| random_code(seed, number), 0) else { continue };
        found.write_copies(&format!("random-{seed}-{number}"), &random_code(seed, number));
    }
}

/// A function of random instructions that are valid in any order: the stack is empty between them.
pub fn random_code(seed: u64, instructions: u32) -> Bomb {
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

/// The code of an instruction that only computes, and what it takes and gives.
struct Plain {
    code: Vec<u8>,
    takes: Vec<ValType>,
    gives: ValType,
}

const TYPES: [ValType; 5] = [ValType::I32, ValType::I64, ValType::F32, ValType::F64, ValType::V128];

/// All instructions that only compute. What they take and give is found by trying: one of all signatures is valid.
fn plain_instructions() -> Vec<Plain> {
    let mut signatures = Vec::new();
    for first in TYPES {
        signatures.extend([vec![first], vec![first, first], vec![first, first, first]]);
        signatures.extend(TYPES.map(|second| vec![first, second]));
    }
    let single = (0x45..=0xc4).map(|code| vec![code]);
    let saturating = (0..8).map(|code| vec![0xfc, code]);
    let vectors = (12..0x114_u32)
        .map(|code| if code < 128 { vec![0xfd, code as u8] } else { vec![0xfd, code as u8 | 0x80, (code >> 7) as u8] });
    let find = |code: Vec<u8>| {
        for immediate in [vec![], vec![1], (0..16).collect()] {
            for takes in &signatures {
                for gives in TYPES {
                    let plain = Plain { code: [&code[..], &immediate].concat(), takes: takes.clone(), gives };
                    if refused(&plain.bomb(1).module()).is_none() {
                        return Some(plain);
                    }
                }
            }
        }
        None
    };
    single.chain(saturating).chain(vectors).filter_map(find).collect()
}

impl Plain {
    /// The instruction again and again, each time with what it gave before, or else with a sum of that.
    fn bomb(&self, number: u32) -> Bomb {
        self.repeated(number, |sink, ty, _| _ = sink.local_get(place(ty)))
    }

    /// The same, but each value after the first is a constant.
    fn with_constants(&self, number: u32) -> Bomb {
        self.repeated(number, |sink, ty, at| {
            let value = 0x0123_4567_89ab_cdef_i64.rotate_left(at % 64) ^ i64::from(at);
            let float = f64::from(at) + 0.5;
            match ty {
                _ if at % 8 == 0 => sink.local_get(place(ty)),
                ValType::I32 => sink.i32_const(value as i32),
                ValType::I64 => sink.i64_const(value),
                ValType::F32 => sink.f32_const((float as f32).into()),
                ValType::F64 => sink.f64_const(float.into()),
                _ => sink.v128_const(i128::from(value) << 20),
            };
        })
    }

    /// `take` brings a value of a type: it is told eight times the number of the instruction, and which value of it.
    fn repeated(&self, number: u32, take: impl Fn(&mut InstructionSink<'_>, ValType, u32)) -> Bomb {
        let mut code = Vec::new();
        let mut sink = InstructionSink::new(&mut code);
        sink.i32_const(0).i32_load(WORD).local_set(0).i32_const(8).i64_load(WORD).local_set(1);
        sink.i32_const(0).f32_load(WORD).local_set(2).i32_const(8).f64_load(WORD).local_set(3);
        sink.i32_const(0).v128_load(WORD).local_set(4);
        for at in 0..number {
            for (nth, &ty) in (0..).zip(&self.takes) {
                take(&mut InstructionSink::new(&mut code), ty, at * 8 + nth);
            }
            code.extend(&self.code);
            let mut sink = InstructionSink::new(&mut code);
            sink.local_set(place(self.gives));
            if !self.takes.contains(&self.gives) {
                self.lead_back(&mut sink);
            }
        }
        let mut sink = InstructionSink::new(&mut code);
        sink.i32_const(0).local_get(0).i32_store(WORD).i32_const(0).local_get(1).i64_store(WORD);
        sink.i32_const(0).local_get(2).f32_store(WORD).i32_const(0).local_get(3).f64_store(WORD);
        sink.i32_const(0).local_get(4).v128_store(WORD);
        Bomb { locals: TYPES.map(|ty| (1, ty)).to_vec(), code, ..Bomb::default() }
    }

    /// Makes what the next one takes of what this one gave.
    fn lead_back(&self, sink: &mut InstructionSink<'_>) {
        match self.gives {
            ValType::I32 => sink.local_get(0).i64_extend_i32_u(),
            ValType::I64 => sink.local_get(1),
            ValType::F32 => sink.local_get(2).i32_reinterpret_f32().i64_extend_i32_u(),
            ValType::F64 => sink.local_get(3).i64_reinterpret_f64(),
            _ => sink.local_get(4).i64x2_extract_lane(0),
        };
        sink.local_get(1).i64_xor().local_set(1);
        match self.takes[0] {
            ValType::I32 => sink.local_get(1).i32_wrap_i64(),
            ValType::I64 => sink.local_get(1),
            ValType::F32 => sink.local_get(1).i32_wrap_i64().f32_reinterpret_i32(),
            ValType::F64 => sink.local_get(1).f64_reinterpret_i64(),
            _ => sink.local_get(1).i64x2_splat(),
        };
        sink.local_set(place(self.takes[0]));
    }
}

/// The local that holds values of a type.
fn place(ty: ValType) -> u32 {
    TYPES.iter().position(|&one| one == ty).expect("one of the five") as u32
}

/// Writes modules of each instruction that only computes: seven at a time, each in functions as large as the limits let through; or, where
/// `WASM_ENGINE_BOMB_LENGTH` says how large, each in one function of its own, for who looks for its weight.
#[test]
#[ignore = "writes files for .ci/parts/compile-bounds"]
fn write_instructions() {
    let found = Found::folder();
    let all = plain_instructions();
    assert!(all.len() > 300, "{}", all.len());
    let name = |plain: &Plain| plain.code.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    if let Some(length) = std::env::var("WASM_ENGINE_BOMB_LENGTH").ok().and_then(|text| text.parse().ok()) {
        for plain in &all {
            found.write_any(&format!("code-{}", name(plain)), &plain.bomb(length));
            if plain.takes.len() > 1 {
                found.write_any(&format!("constants-{}", name(plain)), &plain.with_constants(length));
            }
        }
        return;
    }
    for some in all.chunks(7) {
        let codes = |make: fn(&Plain, u32) -> Bomb| {
            let bombs = some.iter().map(|plain| make(plain, largest(|number, _| make(plain, number), 0).unwrap()));
            let mut bombs: Vec<Bomb> = bombs.collect();
            let first = bombs.remove(0);
            let make = |number: u32, _: u32| {
                let codes = bombs.iter().cycle().take(number as usize).map(|bomb| bomb.code.clone()).collect();
                Bomb { codes, ..first.clone() }
            };
            make(largest(make, 0).unwrap(), 0)
        };
        found.write(&format!("instructions-{}", name(&some[0])), &codes(Plain::bomb));
        found.write(&format!("constants-{}", name(&some[0])), &codes(Plain::with_constants));
    }
}
