//! The panic handler of a module. It ends the call with a trap: the engine records the fault `unreachable`, and the group's policy decides.

use core::panic::PanicInfo;

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    #[cfg(feature = "panic-message")]
    say(info);
    let _ = info;
    core::arch::wasm32::unreachable()
}

/// Writes the place and the message of the panic to the log, as far as they fit.
#[cfg(feature = "panic-message")]
fn say(info: &PanicInfo<'_>) {
    use core::fmt::Write;

    let mut buffer = [0; 512];
    let mut line = crate::outbox::Line { bytes: &mut buffer, used: 0 };
    let _ = write!(line, "{info}");
    let used = line.used;
    if let Ok(text) = core::str::from_utf8(&buffer[..used]) {
        crate::log_now(crate::Level::Error, text);
    }
}
