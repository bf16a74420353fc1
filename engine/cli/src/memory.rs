//! Ends the process when memory runs out. Rust would abort it with a status of the system; here it ends with the exit status
//! of a machine that failed.

use std::alloc::{GlobalAlloc, Layout, System};

use super::signals::{exit_now, say_no_memory};
use wasm_engine_core::problem::ErrorKind;

/// The system's allocator. If it has no memory, the process says so and ends. For binaries, as their `#[global_allocator]`.
#[derive(Debug)]
pub struct Allocator;

// SAFETY: all of it is the system's, which is what it must be; what fails doesn't come back.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are those that the system asks for.
        had(unsafe { System.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as for `alloc`.
        had(unsafe { System.alloc_zeroed(layout) })
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as for `alloc`.
        had(unsafe { System.realloc(pointer, layout, size) })
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as for `alloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[inline]
fn had(pointer: *mut u8) -> *mut u8 {
    if pointer.is_null() {
        no_memory();
    }
    pointer
}

#[cold]
#[inline(never)]
fn no_memory() -> ! {
    say_no_memory();
    exit_now(ErrorKind::Machine.into())
}
