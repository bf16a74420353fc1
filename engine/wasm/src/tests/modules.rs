//! Modules that are refused, each with an error that says what is wrong, where, and what to do.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use super::*;
use crate::{CacheReport, CodeCache, DamagedEntry, UnkeptEntry};

fn bytes(bytes: &[u8]) -> ModuleProblem {
    problem_of(ModuleSource { bytes: bytes.to_vec(), ..source("(module)") }, &group(1, 1))
}

fn plain() -> String {
    agent("i32.const 0", "")
}

#[test]
fn files_that_are_no_modules() {
    assert_eq!(bytes(b""), ModuleProblem::Empty);
    assert_eq!(bytes(b"#!/bin/sh"), ModuleProblem::NotWasm);
    assert_eq!(bytes(b"\0as"), ModuleProblem::Truncated { offset: 0 });
    assert_eq!(bytes(b"\0asm\x0d\0\x01\0"), ModuleProblem::Component);
    assert_eq!(bytes(&wat::parse_str("(component)").unwrap()), ModuleProblem::Component);
    assert!(matches!(bytes(b"\0asm\x02\0\0\0"), ModuleProblem::Invalid { .. }));
    // Without names, so that no custom section ends the file.
    let whole = wat::parse_str(plain().replace("$ctx", "")).unwrap();
    for length in 4..whole.len() {
        let found = bytes(&whole[..length]);
        // A cut between two sections leaves a module, but not an agent.
        let expected = matches!(
            found,
            ModuleProblem::Truncated { .. }
                | ModuleProblem::Invalid { .. }
                | ModuleProblem::MissingExport { .. }
                | ModuleProblem::Layout(_)
        );
        assert!(expected, "{length} of {}: {found}", whole.len());
    }
    assert!(matches!(bytes(&whole[..whole.len() - 3]), ModuleProblem::Truncated { .. }));
}

#[test]
fn the_error_names_module_file_and_remedy() {
    let Err(error) = load(&plain().replace("agent_step", "step"), &group(1, 1)) else { panic!("it was loaded") };
    assert_eq!(
        error.to_string(),
        "module `m` (agents/m.wasm): it doesn't export `agent_step` (a function (i32) -> (i32))"
    );
    let ModuleError::Module { problem, .. } = error else { panic!("it is of a module") };
    assert_eq!(problem.help(), "use an agent SDK, or see docs/ABI.md");
    let groups = [group(1, 1).with(|group| group.module = 3)];
    let Err(error) = WasmRuntime::load(&WasmOptions::default(), &[], &groups) else { panic!("it was loaded") };
    assert_eq!(error.to_string(), "group `g1` refers to module number 3, and only 0 modules were given");
}

#[test]
fn exports_that_are_missing_or_wrong() {
    for export in ["memory", "agent_init", "agent_step", "agent_exchange"] {
        let text = plain().replace(&format!("(export \"{export}\")"), "");
        assert!(matches!(problem(&text), ModuleProblem::MissingExport { export: e, .. } if e == export));
    }
    let wrong = |from: &str, to: &str| {
        assert!(plain().contains(from));
        let found = problem(&plain().replace(from, to));
        assert!(matches!(found, ModuleProblem::ExportType { .. }), "{found}");
        found.to_string()
    };
    let text =
        wrong("(func (export \"agent_init\") (param i32) (result i32)", "(func (export \"agent_init\") (result i32)");
    assert!(
        text.contains("`agent_init` as a function () -> (i32), and it must be a function (i32) -> (i32)"),
        "{text}"
    );
    wrong("(param $ctx i32) (result i32) i32.const 0", "(param $ctx i64) (result i32) i32.const 0");
    wrong("(global (export \"agent_exchange\") i32", "(global (export \"agent_exchange\") (mut i32)");
    wrong(
        "(global (export \"agent_exchange\") i32 (i32.const 1024))",
        "(global (export \"agent_exchange\") i64 (i64.const 1024))",
    );
    wrong("(global (export \"agent_exchange\")", "(func (export \"agent_exchange\")) (global");
    wrong("(memory (export \"memory\") 1)", "(memory 1) (func (export \"memory\"))");
    for optional in ["agent_receive", "agent_shutdown"] {
        let found = problem(&agent("i32.const 0", &format!("(func (export \"{optional}\"))")));
        assert!(matches!(found, ModuleProblem::ExportType { export, .. } if export == optional));
    }
    let reserved = problem(&agent("i32.const 0", "(func (export \"$we_depth\"))"));
    assert_eq!(reserved, ModuleProblem::ReservedExport { export: "$we_depth".into() });
    // What linkers export besides is none of our business.
    let more = "(global (export \"__heap_base\") i32 (i32.const 1)) (table (export \"table\") 1 funcref)";
    assert!(load(&agent("i32.const 0", more), &group(1, 1)).is_ok());
}

#[test]
fn imports_that_are_unknown_or_wrong() {
    let with = |imports: &str| problem(&agent_with(imports, "i32.const 0", ""));
    let found = with("(import \"wasi_snapshot_preview1\" \"fd_write\" (func))");
    assert!(found.to_string().starts_with("it imports `wasi_snapshot_preview1.fd_write`, and the engine offers only"));
    for import in ["\"wasm_engine\" \"clock\"", "\"env\" \"log\""] {
        assert!(matches!(with(&format!("(import {import} (func))")), ModuleProblem::UnknownImport { .. }));
    }
    let found = with("(import \"wasm_engine\" \"log\" (func (param i32)))");
    assert!(matches!(&found, ModuleProblem::ImportType { .. }));
    assert!(found.to_string().contains("`wasm_engine.log` as a function (i32) -> ()"), "{found}");
    for other in ["(global i32)", "(table 1 funcref)", "(func (param i32 i32) (result i32))"] {
        let found = with(&format!("(import \"wasm_engine\" \"random\" {other})"));
        assert!(matches!(found, ModuleProblem::ImportType { .. }));
    }
    let memory = plain().replace(
        "(memory (export \"memory\") 1)",
        "(import \"env\" \"memory\" (memory 1)) (export \"memory\" (memory 0))",
    );
    assert!(matches!(problem(&memory), ModuleProblem::UnknownImport { .. }));
    // The type that the engine gives it may come by way of any type index.
    let used = "(type $a (func)) (type $b (func (param i32 i32) (result i64)))
        (import \"wasm_engine\" \"random\" (func (type $b)))";
    assert!(load(&agent_with(used, "i32.const 0", ""), &group(1, 1)).is_ok());
    let mut bound = group(1, 1);
    bound.capabilities = Capabilities::NONE;
    let found = problem_of(source(&agent_with(used, "i32.const 0", "")), &bound);
    assert_eq!(found.to_string(), "it imports `wasm_engine.random`, and group `g1` isn't granted `random`");
    assert_eq!(found.help(), "add it to the group's capabilities");
}

#[test]
fn state_that_cannot_be_saved() {
    let table = "(table $t 2 funcref) (elem $e func) (data $d \"x\")";
    for (step, instruction) in [
        ("(table.set $t (i32.const 0) (ref.null func))", "table.set"),
        ("(drop (table.grow $t (ref.null func) (i32.const 1)))", "table.grow"),
        ("(table.fill $t (i32.const 0) (ref.null func) (i32.const 1))", "table.fill"),
        ("(table.copy $t $t (i32.const 0) (i32.const 0) (i32.const 1))", "table.copy"),
    ] {
        let found = problem(&agent(&format!("{step} i32.const 0"), "(table $t 2 funcref)"));
        assert!(matches!(&found, ModuleProblem::Instruction { instruction: i, .. } if i == instruction), "{found}");
    }
    assert_eq!(
        problem(&agent("i32.const 0", "(table 1 funcref) (elem func)")),
        ModuleProblem::PassiveSegment { what: "element", index: 0 }
    );
    assert_eq!(
        problem(&agent("i32.const 0", "(data \"x\")")),
        ModuleProblem::PassiveSegment { what: "data", index: 1 }
    );
    assert!(matches!(
        problem(&agent("(elem.drop $e) i32.const 0", table)),
        ModuleProblem::PassiveSegment { .. } | ModuleProblem::Instruction { .. }
    ));
    assert_eq!(
        problem(&agent("i32.const 0", "(global (mut funcref) (ref.null func))")),
        ModuleProblem::ReferenceGlobal { index: 1 }
    );
}

#[test]
fn features_that_are_off() {
    for rest in [
        "(memory 1)",
        "(memory 1 1 shared)",
        "(memory i64 1)",
        "(tag)",
        "(func (return_call 0 (i32.const 1)) drop)",
        "(type (struct))",
        "(func (param externref))",
        "(func (drop (i8x16.relaxed_swizzle (v128.const i64x2 0 0) (v128.const i64x2 0 0))))",
        "(func (drop (i32.atomic.load (i32.const 0))))",
    ] {
        let found = problem(&agent("i32.const 0", rest));
        assert!(matches!(found, ModuleProblem::Invalid { .. }), "{rest}: {found}");
    }
    let found = problem(&agent("i64.const 0", ""));
    assert!(found.to_string().starts_with("it isn't a valid module for agents: type mismatch"), "{found}");
}

#[test]
fn what_is_too_large() {
    let mut small = group(1, 1);
    small.limits.memory_bytes_max = 2 << 16;
    let three = plain().replace("(export \"memory\") 1)", "(export \"memory\") 3)");
    assert_eq!(
        problem_of(source(&three), &small).to_string(),
        "it starts with 196608 bytes of memory, and group `g1` allows 131072 (`limits.memory_bytes_max`)"
    );
    let locals =
        |count: usize, ty: &str| agent("i32.const 0", &format!("(func (local {}))", format!("{ty} ").repeat(count)));
    assert!(load(&locals(1_000, "i64"), &group(1, 1)).is_ok());
    assert!(matches!(problem(&locals(1_001, "i32")), ModuleProblem::TooManyLocals { slots: 1_001, .. }));
    assert!(load(&locals(500, "v128"), &group(1, 1)).is_ok());
    assert!(matches!(problem(&locals(501, "v128")), ModuleProblem::TooManyLocals { slots: 1_002, .. }));
    let operands = |count: usize| {
        agent("i32.const 0", &format!("(func {} {})", "i32.const 1 ".repeat(count), "drop ".repeat(count)))
    };
    assert!(load(&operands(1_000), &group(1, 1)).is_ok());
    assert!(matches!(problem(&operands(1_001)), ModuleProblem::TooManyLocals { slots: 1_001, .. }));
    assert!(matches!(
        problem(&agent("i32.const 0", "(table 65537 funcref)")),
        ModuleProblem::TooMany { what: "table elements", .. }
    ));
    let globals = "(global (mut i32) (i32.const 1))".repeat(1_000);
    assert!(matches!(problem(&agent("i32.const 0", &globals)), ModuleProblem::TooMany { what: "globals", .. }));
    let groups = [group(1, 1).with(|group| group.params = vec![0; 4_049])];
    let Err(error) = WasmRuntime::load(&WasmOptions::default(), &[source(&plain())], &groups) else { panic!("loaded") };
    assert!(
        error
            .to_string()
            .contains("the parameters of group `g1` take 4097 bytes as a message, and its inbox area has 4096")
    );
    let mut huge = group(1, 4_000_000);
    huge.limits.memory_bytes_max = 4 << 30;
    let Err(error) = load(&plain(), &huge) else { panic!("it was loaded") };
    assert!(matches!(error, ModuleError::AddressSpace { agents: 4_000_000, .. }), "{error}");
    assert!(error.help().unwrap().starts_with("lower `memory_bytes_max`"));
}

#[test]
fn starts_that_fail() {
    let start = |body: &str| problem(&agent("i32.const 0", &format!("(func $s {body}) (start $s)")));
    assert_eq!(
        start("unreachable").to_string(),
        "its start failed: wasm trap: wasm `unreachable` instruction executed"
    );
    assert!(
        start("(loop (br 0))")
            .to_string()
            .starts_with("its start used up the fuel of a step, of which group `g1` allows ")
    );
    assert!(start("(call $s)").to_string().contains("unreachable"));
    assert!(
        problem(&agent("i32.const 0", "(data (i32.const 65530) \"0123456789\")")).to_string().contains("out of bounds")
    );
    let random = "(import \"wasm_engine\" \"random\" (func $random (param i32 i32) (result i64)))";
    let found = problem(&agent_with(
        random,
        "i32.const 0",
        "(func $s (drop (call $random (i32.const 0) (i32.const 0)))) (start $s)",
    ));
    assert!(found.to_string().contains("the start function calls an import"), "{found}");
}

/// Entries in memory, by module.
#[derive(Debug, Default)]
struct Entries {
    kept: Mutex<BTreeMap<Vec<u8>, Vec<u8>>>,
    found: AtomicU32,
    is_full: bool,
}

impl CodeCache for Entries {
    fn find(&self, module: &[u8]) -> Result<Option<Vec<u8>>, DamagedEntry> {
        let found = self.kept.lock().unwrap().get(module).cloned();
        self.found.fetch_add(u32::from(found.is_some()), Ordering::Relaxed);
        Ok(found)
    }

    fn keep(&self, module: &[u8], entry: &[u8]) -> Result<(), UnkeptEntry> {
        if self.is_full {
            return Err(UnkeptEntry::new("it is full"));
        }
        self.kept.lock().unwrap().insert(module.to_vec(), entry.to_vec());
        Ok(())
    }
}

#[test]
fn a_code_cache_is_filled_and_used_and_what_is_wrong_with_it_is_told() {
    let load = |cache: &Arc<Entries>| {
        let options = WasmOptions { code_cache: Some(Arc::clone(cache) as _), ..WasmOptions::default() };
        WasmRuntime::load(&options, &[source(&plain())], &[group(1, 1)]).unwrap().cache_report().clone()
    };
    let cache = Arc::new(Entries::default());
    let found = || cache.found.load(Ordering::Relaxed);
    assert_eq!((load(&cache), found()), (CacheReport::default(), 0));
    assert_eq!((load(&cache), found()), (CacheReport::default(), 1));
    let whole = cache.kept.lock().unwrap().clone();
    cache.kept.lock().unwrap().values_mut().for_each(|entry| *entry.last_mut().unwrap() ^= 1);
    assert_eq!(load(&cache), CacheReport { damaged: 1, unwritten: None });
    assert_eq!(*cache.kept.lock().unwrap(), whole, "it was kept anew");
    let full = Arc::new(Entries { is_full: true, ..Entries::default() });
    assert_eq!(load(&full), CacheReport { damaged: 0, unwritten: Some("it is full".to_owned()) });
}
