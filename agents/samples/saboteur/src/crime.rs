//! Actions that work only in a sandbox. Natively, some do nothing, some panic and some never return: tests must not call them.

use wasm_engine_sdk::{Context, OutboxFull};

#[cfg(target_arch = "wasm32")]
pub fn trap() {
    core::arch::wasm32::unreachable()
}

pub fn loop_forever() {
    loop {
        core::hint::spin_loop();
    }
}

/// Calls itself to a depth that no limit allows. Its calls don't use the stack in the agent's memory, which would overflow first.
#[inline(never)]
fn deeper(depth: u32) -> u32 {
    if depth == 0 { 1 } else { deeper(depth - 1).rotate_left(7) ^ depth }
}

pub fn recurse() {
    core::hint::black_box(deeper(core::hint::black_box(u32::MAX)));
}

/// Writes outside the memory: the first byte behind it, a word across its end, or the last byte of the address space.
#[cfg(target_arch = "wasm32")]
pub fn write_out_of_bounds(frame: u64) {
    let end = core::arch::wasm32::memory_size(0) << 16;
    // SAFETY: this is out of bounds on purpose. A WebAssembly store outside the memory traps, and can't do anything else.
    unsafe {
        match frame % 3 {
            0 => core::ptr::without_provenance_mut::<u8>(end).write_volatile(1),
            1 => core::ptr::without_provenance_mut::<u64>(end - 4).write_volatile(u64::MAX),
            _ => core::ptr::without_provenance_mut::<u8>(usize::MAX).write_volatile(1),
        }
    }
}

/// Writes one honest record, and then changes the counts or the record so that they are no longer true.
pub fn lie_about_outbox(ctx: &mut Context<'_>) -> Result<(), OutboxFull> {
    ctx.record_i64("honest", 1)?;
    let (variant, frame) = (ctx.frame() % 4, ctx.as_raw());
    // SAFETY: the context lies at offset 64 of the exchange block, which begins with its header. The record at the start of
    // the outbox was just written. All of it is the agent's own memory, and the SDK isn't asked for anything after this.
    unsafe {
        match variant {
            // More bytes than the area has.
            0 => (*frame).outbox_bytes = u32::MAX - 7,
            // Bytes that no record covers, and that end at no record's boundary.
            1 => (*frame).outbox_bytes += 4,
            // One record more than there are bytes for.
            2 => (*frame).outbox_records += 1,
            // A payload that reaches over the end of the outbox, nearly around the address space.
            _ => forge_payload_bytes(frame.cast(), u32::MAX - 40),
        }
    }
    Ok(())
}

/// # Safety
/// `context` is the address of the context in an exchange block whose outbox starts with a record.
unsafe fn forge_payload_bytes(context: *mut u8, payload_bytes: u32) {
    const CONTEXT_OFFSET: usize = 64;
    const OUTBOX_OFFSET_AT: usize = 16;
    const PAYLOAD_BYTES_AT: usize = 24;
    // SAFETY: this function's own contract says that the block and the record lie there.
    unsafe {
        let block = context.sub(CONTEXT_OFFSET);
        let outbox = block.add(OUTBOX_OFFSET_AT).cast::<u32>().read() as usize;
        block.add(outbox + PAYLOAD_BYTES_AT).cast::<u32>().write_volatile(payload_bytes);
    }
}

/// Grows the memory until the growth is refused.
#[cfg(target_arch = "wasm32")]
pub fn take_all_memory() {
    while core::arch::wasm32::memory_grow(0, 1) != usize::MAX {}
}

#[cfg(not(target_arch = "wasm32"))]
pub fn trap() {
    panic!("only in a sandbox");
}

#[cfg(not(target_arch = "wasm32"))]
pub fn write_out_of_bounds(_frame: u64) {
    panic!("only in a sandbox");
}

#[cfg(not(target_arch = "wasm32"))]
pub fn take_all_memory() {}
