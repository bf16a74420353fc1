//! Calls to the host. A module imports only those that it uses, and is refused at load if its group lacks the capability for one of them.

use crate::Level;

/// Writes a line to the log at once: it stays even if the agent traps right after. This is a host call, unlike
/// [`crate::Context::log`], and needs the capability `log`. In a native build, it does nothing.
#[inline]
pub fn log_now(level: Level, text: &str) {
    #[cfg(target_arch = "wasm32")]
    // SAFETY: address and length are those of a text that lives during the call.
    unsafe {
        import::log(level as u32, text.as_ptr(), text.len());
    }
    #[cfg(not(target_arch = "wasm32"))]
    let _ = (level, text);
}

#[cfg(target_arch = "wasm32")]
mod import {
    #[link(wasm_import_module = "wasm_engine")]
    unsafe extern "C" {
        pub(super) fn log(level: u32, text: *const u8, text_bytes: usize);
    }
}
