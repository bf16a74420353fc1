//! Numbers of names. Topics, models and shared regions have names in a scenario, and numbers in the ABI.

/// Returns the number of a name: its FNV-1a hash of 64 bits. Guests compute it at compile time; the engine refuses a scenario in which two
/// names have the same number.
///
/// ```
/// assert_eq!(wasm_engine_abi::name_id(""), 0xcbf2_9ce4_8422_2325);
/// assert_eq!(wasm_engine_abi::name_id("a"), 0xaf63_dc4c_8601_ec8c);
/// ```
pub const fn name_id(name: &str) -> u64 {
    let bytes = name.as_bytes();
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut i = 0;
    while i < bytes.len() {
        hash = (hash ^ bytes[i] as u64).wrapping_mul(0x0000_0100_0000_01b3);
        i += 1;
    }
    hash
}
