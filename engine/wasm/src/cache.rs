//! The port to where compiled code is kept from one run to the next, and the form of what is kept. Implemented above this crate, which
//! touches no file.
//!
//! ```text
//! compiler   8 bytes    hash of what the compiler was and how it was set
//! checksum   16         xxh3-128 of the compiler's hash, the module and the code
//! code       the rest   as wasmtime serialized it
//! ```
//!
//! An entry is checked here, right before it is given to wasmtime. So an implementation of the port that returns wrong bytes costs a compilation,
//! and nothing else. The checksum is no signature: anybody who may write where entries are kept can forge one (see SECURITY.md).

use std::error::Error;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

#[cfg(feature = "cranelift")]
use wasm_engine_components::causes::with_causes;
use wasmtime::{Engine, Module};
use xxhash_rust::xxh3::Xxh3;

use super::compile::{CONFIGURATION, build};
use super::problem::{MissingCode, ModuleProblem};

/// Bytes of an entry before its code.
const HEAD_BYTES: usize = COMPILER_BYTES + 16;
const COMPILER_BYTES: usize = 8;

/// Keeps compiled code from one run to the next.
pub trait CodeCache: fmt::Debug + Send + Sync {
    /// Returns the entry that was kept for a module; `None` where there is none.
    ///
    /// # Errors
    /// There is an entry, and it isn't what was kept.
    fn find(&self, module: &[u8]) -> Result<Option<Vec<u8>>, DamagedEntry>;

    /// Keeps an entry for a module.
    ///
    /// # Errors
    /// It can't be kept.
    fn keep(&self, module: &[u8], entry: &[u8]) -> Result<(), UnkeptEntry>;
}

/// An entry of a code cache isn't what was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the entry isn't what was kept")]
pub struct DamagedEntry;

/// Why an entry couldn't be kept: a sentence without its end.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct UnkeptEntry(Box<dyn Error + Send + Sync>);

impl UnkeptEntry {
    /// Returns the error with the error, or the text, that says why.
    pub fn new(why: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(why.into())
    }
}

/// Failures of a code cache during a load, which cost time and nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheReport {
    /// Number of damaged entries. Their modules were compiled.
    pub damaged: u32,
    /// Why the first of the entries that couldn't be kept couldn't be.
    pub unwritten: Option<String>,
}

/// A code cache during one load.
pub(crate) struct CacheInUse<'c> {
    cache: &'c dyn CodeCache,
    report: Mutex<CacheReport>,
}

impl<'c> CacheInUse<'c> {
    pub(crate) fn new(cache: &'c dyn CodeCache) -> Self {
        Self { cache, report: Mutex::default() }
    }

    /// Returns the compiled code of an instrumented module, and whether it was in the cache. Otherwise it is compiled and kept.
    pub(crate) fn compile(&self, engine: &Engine, bytes: &[u8]) -> Result<(Module, bool), ModuleProblem> {
        let missing = match self.find(engine, bytes) {
            Ok(module) => return Ok((module, true)),
            Err(missing) => missing,
        };
        if missing == MissingCode::Damaged {
            self.report().damaged += 1;
        }
        let module = build(engine, bytes, missing)?;
        #[cfg(feature = "cranelift")]
        if let Err(error) = seal(engine, bytes, &module).and_then(|entry| self.cache.keep(bytes, &entry)) {
            self.report().unwritten.get_or_insert_with(|| with_causes(&error));
        }
        Ok((module, false))
    }

    /// Finds the module that was kept for an instrumented one.
    fn find(&self, engine: &Engine, bytes: &[u8]) -> Result<Module, MissingCode> {
        let damaged = |DamagedEntry| MissingCode::Damaged;
        let entry = self.cache.find(bytes).map_err(damaged)?.ok_or(MissingCode::NoEntry)?;
        load(engine, bytes, &entry).map_err(damaged)?.ok_or(MissingCode::Unfit)
    }

    pub(crate) fn into_report(self) -> CacheReport {
        self.report.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self) -> MutexGuard<'_, CacheReport> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the compiled code of an instrumented module, and whether it was in the cache, if there is one.
pub(crate) fn compile(
    engine: &Engine,
    cache: Option<&CacheInUse<'_>>,
    bytes: &[u8],
) -> Result<(Module, bool), ModuleProblem> {
    cache.map_or_else(|| Ok((build(engine, bytes, MissingCode::NoCache)?, false)), |cache| cache.compile(engine, bytes))
}

/// Returns the hash of what compiled code depends on besides the module: wasmtime's release, how it is set, the target, and the CPU's features
/// that it compiles for. `None` without a compiler, where wasmtime itself compares what it can: all of these, but of its release the first number
/// alone. So the key of an entry has the release, too ([`CONFIGURATION`]), which is known to every build.
#[cfg(feature = "cranelift")]
fn compiler(engine: &Engine) -> Option<[u8; COMPILER_BYTES]> {
    use std::hash::{Hash as _, Hasher as _};

    let mut hash = Xxh3::new();
    engine.precompile_compatibility_hash().hash(&mut hash);
    Some(hash.finish().to_le_bytes())
}

#[cfg(not(feature = "cranelift"))]
const fn compiler(_: &Engine) -> Option<[u8; COMPILER_BYTES]> {
    None
}

fn checksum(compiler: &[u8], module: &[u8], code: &[u8]) -> [u8; 16] {
    let mut hash = Xxh3::new();
    let (release, configuration) = CONFIGURATION;
    hash.update(release.as_bytes());
    hash.update(&configuration.to_le_bytes());
    hash.update(compiler);
    hash.update(&(module.len() as u64).to_le_bytes());
    hash.update(module);
    hash.update(code);
    hash.digest128().to_le_bytes()
}

/// Makes an entry of a compiled module.
#[cfg(feature = "cranelift")]
fn seal(engine: &Engine, bytes: &[u8], module: &Module) -> Result<Vec<u8>, UnkeptEntry> {
    let code = module.serialize().map_err(|error| UnkeptEntry::new(format!("{error:#}")))?;
    let compiler = compiler(engine).ok_or_else(|| UnkeptEntry::new("it isn't known what compiled it"))?;
    Ok([&compiler[..], &checksum(&compiler, bytes, &code), &code].concat())
}

/// Loads a module from its entry; `None` where the entry is that of another compiler or kind of CPU.
fn load(engine: &Engine, bytes: &[u8], entry: &[u8]) -> Result<Option<Module>, DamagedEntry> {
    let (head, code) = entry.split_at_checked(HEAD_BYTES).ok_or(DamagedEntry)?;
    let (made_by, sum) = head.split_at(COMPILER_BYTES);
    if sum != checksum(made_by, bytes, code) {
        return Err(DamagedEntry);
    }
    if compiler(engine).is_some_and(|here| made_by != here) {
        return Ok(None);
    }
    // SAFETY: each byte of it was checked, in this very buffer, to be what a compiler of this version and configuration made of this
    // module. Anybody else who could have written it may write the user's files: see SECURITY.md.
    Ok(unsafe { Module::deserialize(engine, code) }.ok())
}

#[cfg(test)]
#[cfg(feature = "cranelift")]
#[allow(clippy::unwrap_used, reason = "a test ends at what it doesn't expect")]
mod tests {
    use std::sync::Arc;

    use super::super::{arena::SlotCreator, compile::engine};
    use super::*;

    #[test]
    fn an_entry_is_that_of_its_module_and_its_compiler_alone() {
        let engine = engine(Arc::new(SlotCreator)).unwrap();
        let bytes = wat::parse_str("(module (func (export \"f\") (result i32) i32.const 7))").unwrap();
        let entry = seal(&engine, &bytes, &build(&engine, &bytes, MissingCode::NoEntry).unwrap()).unwrap();
        assert!(load(&engine, &bytes, &entry).unwrap().is_some());
        assert_eq!(load(&engine, b"another", &entry).unwrap_err(), DamagedEntry);
        for length in 0..HEAD_BYTES {
            assert_eq!(load(&engine, &bytes, &entry[..length]).unwrap_err(), DamagedEntry, "cut to {length}");
        }
        for bit in (0..entry.len() * 8).step_by(101).chain(0..HEAD_BYTES * 8) {
            let mut changed = entry.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(load(&engine, &bytes, &changed).unwrap_err(), DamagedEntry, "bit {bit}");
        }
        // A whole entry of another compiler is none.
        let other = [7; COMPILER_BYTES];
        let foreign = [&other[..], &checksum(&other, &bytes, &entry[HEAD_BYTES..]), &entry[HEAD_BYTES..]].concat();
        assert!(load(&engine, &bytes, &foreign).unwrap().is_none());
    }
}

#[cfg(test)]
#[cfg(not(feature = "cranelift"))]
#[allow(clippy::unwrap_used, reason = "a test ends at what it doesn't expect")]
mod tests_without_compiler {
    use std::sync::Arc;

    use super::super::{arena::SlotCreator, compile::engine};
    use super::*;

    /// An entry that is whole, and no code that wasmtime takes.
    #[derive(Debug)]
    struct Unfit;

    impl CodeCache for Unfit {
        fn find(&self, module: &[u8]) -> Result<Option<Vec<u8>>, DamagedEntry> {
            let (compiler, code) = ([7; COMPILER_BYTES], [1; 500]);
            Ok(Some([&compiler[..], &checksum(&compiler, module, &code), &code].concat()))
        }

        fn keep(&self, _: &[u8], _: &[u8]) -> Result<(), UnkeptEntry> {
            Ok(())
        }
    }

    #[test]
    fn code_that_does_not_fit_is_told_from_code_that_is_damaged() {
        let cache = CacheInUse::new(&Unfit);
        let refused = cache.compile(&engine(Arc::new(SlotCreator)).unwrap(), b"a module").map(drop);
        assert_eq!(refused, Err(ModuleProblem::NoCompiler { missing: MissingCode::Unfit }));
        assert_eq!(cache.into_report().damaged, 0);
    }
}
