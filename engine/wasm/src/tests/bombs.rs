//! Small modules that would take minutes and gigabytes to compile: each family grows until it is refused, and names the function and the
//! limit. What is within the limits is compiled here in a debug build, so little is said of its time: `.ci/parts/compile-bounds` measures that.

mod families;
mod make;
mod search;

use wasm_engine_components::ModuleLimits;
use wasm_engine_components::limits::TABLE_ELEMENTS_MAX;

use self::families::{FAMILIES, loads, nested_loops, segments};
use self::make::{ADDITIONS_OF_GLOBAL, BOMB, Bomb};
use super::*;
use crate::validate::validate;

fn refused(bytes: &[u8]) -> Option<ModuleProblem> {
    validate(bytes, &ModuleLimits::DEFAULT).err()
}

/// Returns the first module of a family that is refused, and why. Each module has twice the number of the one before.
fn first_refused(make: fn(u32, u32) -> Bomb, width: u32) -> (Vec<u8>, ModuleProblem) {
    let mut modules = (0..22).map(|power| make(1 << power, width).module());
    modules.find_map(|bytes| refused(&bytes).map(|problem| (bytes, problem))).expect("each family is refused")
}

#[test]
fn each_family_is_refused_with_the_limit_to_raise() {
    for family in FAMILIES {
        for width in [1, 30, 100, 300, 900] {
            match first_refused(family.1, width).1 {
                ModuleProblem::FunctionOverLimit { max, found, function, .. } => {
                    assert!(found > max && function >= BOMB, "{}", family.0);
                }
                ModuleProblem::OverLimit { key, max, found, .. } => {
                    assert!(key.starts_with("module_") && found > max, "{}", family.0);
                }
                ModuleProblem::TooManyLocals { slots, .. } => assert!(slots > 1_000, "{}", family.0),
                other => panic!("{} of width {width}: {other:?}", family.0),
            }
        }
    }
}

#[test]
fn the_error_names_function_size_limit_and_key() {
    let problem = refused(&nested_loops(400, 100).module()).unwrap();
    let told = problem.to_string();
    assert!(told.starts_with("its function 2 (`the "), "{told}");
    assert!(
        told.contains(
            "microseconds of estimated compilation, and its groups allow 400000 (`limits.function_cost_max`)"
        )
    );
    assert!(!told.contains('\u{1b}'), "names are shown harmlessly: {told:?}");
    let told = refused(&segments(1_001, 0).module()).unwrap().to_string();
    assert!(
        told.starts_with("it has 1002 segments, and its groups allow 1000 (`limits.module_segments_max`)"),
        "{told}"
    );
}

#[test]
fn constant_expressions_are_bounded_each_and_together() {
    let sum = |additions: u32| format!("(i32.const 0) {}", "(i32.const 0) (i32.add)".repeat(additions as usize));
    let refused_with =
        |rest: &str| refused(&source(&agent("i32.const 0", rest)).bytes).map(|problem| problem.to_string());
    for (rest, what) in [
        ("(global i32 SUM)", "the value of its global 1 has"),
        ("(data (offset SUM) \"x\")", "the place of its data segment 1 has"),
        ("(table 1 funcref) (elem (offset SUM) func)", "the place of its element segment 0 has"),
    ] {
        assert_eq!(refused_with(&rest.replace("SUM", &sum(ADDITIONS_OF_GLOBAL))), None, "{rest}");
        let told = refused_with(&rest.replace("SUM", &sum(ADDITIONS_OF_GLOBAL + 1))).unwrap();
        assert!(
            told.starts_with(what) && told.contains("1001 parts, and a constant expression may have 1000"),
            "{told}"
        );
    }
    let bomb = Bomb { additions: 50_000, ..Bomb::default() };
    let told = refused(&bomb.module()).unwrap().to_string();
    assert!(
        told.starts_with(
            "it has 100102 parts of constant expressions, and its groups allow 100000 (`limits.module_constants_max`)"
        ),
        "{told}"
    );
    // The values of a table's elements are constant expressions, too.
    let elements = "(ref.func 0) ".repeat(60_000);
    let rest = format!(
        "(table 60000 funcref) (elem (i32.const 0) funcref {elements}) (elem (i32.const 0) funcref {elements})"
    );
    let told = refused_with(&rest).unwrap();
    assert!(told.starts_with("it has 120003 parts of constant expressions"), "{told}");
}

#[test]
fn a_group_may_raise_its_limits_and_the_least_of_several_counts() {
    let (bytes, _) = first_refused(loads, 1);
    let source = || ModuleSource { name: "m".into(), path: PathBuf::from("m.wasm"), bytes: bytes.clone() };
    let (small, mut large) = (group(1, 1), group(2, 1));
    large.module_limits = ModuleLimits { function_cost_max: 100_000_000, ..ModuleLimits::MAX };
    let load = |groups: &[GroupSpec]| WasmRuntime::load(&WasmOptions::default(), &[source()], groups).map(|_| ());
    load(from_ref(&large)).unwrap();
    let refused = load(&[small, large]).unwrap_err().to_string();
    assert!(refused.contains("(`limits.function_cost_max`)"), "{refused}");
}

/// A table is the agent's memory, as far as it is larger than what any module has.
#[test]
fn tables_count_as_memory() {
    let with_table = |elements: u32| {
        let bomb = Bomb { elements, ..Bomb::default() };
        ModuleSource { name: "m".into(), path: PathBuf::from("m.wasm"), bytes: bomb.module() }
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
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../agents/samples/wasm");
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
