//! Bounds the memory that ONNX Runtime takes for what models compute. Called once by [`super::runtime`].
//!
//! All sessions take their memory from one arena, which refuses what would go beyond its limit: so a model whose intermediate
//! results are huge fails in its run, with a reason, and the process lives. Weights aren't counted: the size of their file is
//! limited.

use std::ptr;

use ort::AsPointer as _;
use ort::environment::Environment;
use ort::sys::{OrtAllocatorType, OrtMemType, OrtStatusPtr};
use wasm_engine_components::limits::MODELS_MEMORY_BYTES_DEFAULT;

/// Lets the sessions that ask for it share an arena with a limit.
pub(crate) fn bound(environment: &Environment) -> Result<(), ort::Error> {
    /// ONNX Runtime chooses.
    const DEFAULT: i32 = -1;
    let bytes_max = usize::try_from(limit_bytes()).unwrap_or(usize::MAX);
    let api = ort::api();
    let (mut place, mut arena) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: the functions are those of the loaded library, and have these types in every version that it may be. They write
    // a pointer to what they made, which is released below; the environment lives and copies what it is given.
    unsafe {
        let (on_cpu, plain) = (OrtAllocatorType::OrtArenaAllocator, OrtMemType::OrtMemTypeDefault);
        check((api.CreateCpuMemoryInfo)(on_cpu, plain, &raw mut place))?;
        let made = check((api.CreateArenaCfg)(bytes_max, DEFAULT, DEFAULT, DEFAULT, &raw mut arena));
        let registered =
            made.and_then(|()| check((api.CreateAndRegisterAllocator)(environment.ptr().cast_mut(), place, arena)));
        if !arena.is_null() {
            (api.ReleaseArenaCfg)(arena);
        }
        (api.ReleaseMemoryInfo)(place);
        registered
    }
}

/// # Safety
/// The status comes from a function of the library, and nobody else has it.
unsafe fn check(status: OrtStatusPtr) -> Result<(), ort::Error> {
    // SAFETY: the caller says so.
    unsafe { ort::Error::result_from_status(status) }
}

/// Half of what this machine has, or of what this process may have of it.
fn limit_bytes() -> u64 {
    let all = ["/proc/meminfo", "/sys/fs/cgroup/memory.max"].into_iter().filter_map(|file| {
        let text = std::fs::read_to_string(file).ok()?;
        memory_bytes(&text)
    });
    all.min().map_or(MODELS_MEMORY_BYTES_DEFAULT, |bytes| bytes / 2)
}

/// The bytes that either file says: `MemTotal:  16 kB` among other lines, or a number alone.
fn memory_bytes(text: &str) -> Option<u64> {
    if let Ok(bytes) = text.trim().parse() {
        return Some(bytes);
    }
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = total.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1 << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_machine_says_of_its_memory_is_read() {
        assert_eq!(memory_bytes("MemTotal:       16316412 kB\nMemFree:  1 kB\n"), Some(16_316_412 << 10));
        assert_eq!(memory_bytes("2147483648\n"), Some(2 << 30));
        assert_eq!(memory_bytes("max\n"), None);
        assert!(limit_bytes() > 0);
    }
}
