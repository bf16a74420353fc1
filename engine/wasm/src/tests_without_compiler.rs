//! Tests of a build without a compiler. That modules run from code that another build has kept is shown by `.ci/parts/features`.

use std::sync::Mutex;

use wasm_engine_components::{GroupId, GroupSpec};

use super::{
    CodeCache, DamagedEntry, MissingCode, ModuleError, ModuleProblem, ModuleSource, UnkeptEntry, WasmOptions,
    WasmRuntime,
};

/// A cache that has the same entry for every module.
#[derive(Debug)]
struct OneEntry {
    entry: Option<Vec<u8>>,
    kept: Mutex<usize>,
}

impl CodeCache for OneEntry {
    fn find(&self, _: &[u8]) -> Result<Option<Vec<u8>>, DamagedEntry> {
        Ok(self.entry.clone())
    }

    fn keep(&self, _: &[u8], _: &[u8]) -> Result<(), UnkeptEntry> {
        *self.kept.lock().unwrap() += 1;
        Ok(())
    }
}

#[test]
fn a_module_whose_code_is_nowhere_is_refused_and_the_error_says_what_to_do() {
    let agent = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../../agents/samples/wasm/ring.wasm")).unwrap();
    let load = |cache: Option<std::sync::Arc<dyn CodeCache>>| {
        let source = ModuleSource { name: "m".into(), path: "m.wasm".into(), bytes: agent.clone() };
        let options = WasmOptions { code_cache: cache, ..WasmOptions::default() };
        let group = GroupSpec::new(GroupId(1), "g", 1);
        WasmRuntime::load(&options, &[source], &[group])
    };
    // No entry, one that is none, and one that no compiler of this version has sealed.
    for (entry, why) in [
        (None, MissingCode::NoEntry),
        (Some(Vec::new()), MissingCode::Damaged),
        (Some(vec![7; 5_000]), MissingCode::Damaged),
    ] {
        let cache = std::sync::Arc::new(OneEntry { entry, kept: Mutex::new(0) });
        let Err(ModuleError::Module { problem, .. }) = load(Some(std::sync::Arc::clone(&cache) as _)) else {
            panic!("there is no code to run")
        };
        assert_eq!(problem, ModuleProblem::NoCompiler { missing: why });
        assert!(
            problem.to_string().contains(&format!("(it was made without the feature `cranelift`), and {why}")),
            "{problem}"
        );
        assert!(problem.help().starts_with("run the scenario once with a build that has one"), "{problem}");
        assert_eq!(*cache.kept.lock().unwrap(), 0);
    }
    let Err(ModuleError::Module { problem, .. }) = load(None) else { panic!("there is no code to run") };
    assert_eq!(problem, ModuleProblem::NoCompiler { missing: MissingCode::NoCache });
}
