//! The form of an entry of the code cache, and the check that a file is one. Called by [`super::cache`], for every byte that is to run.
//!
//! ```text
//! magic        8 bytes   "wecode\r\n"
//! version      4         of this form
//! reserved     4         zero
//! environment  16        what the code was compiled by and for: engine, wasmtime, its configuration, target, CPU features
//! module       32        SHA-256 of environment and instrumented module
//! length       8         of the code
//! code         length
//! checksum     16        xxh3-128 of all the bytes before it
//! ```
//!
//! Numbers are little-endian. The checksum finds what a disk, a memory or a careless program did to a file. It is no signature: who may
//! write the folder can make whole entries of any code.

use std::hash::{Hash, Hasher};

use sha2::{Digest as _, Sha256};
use wasmtime::Engine;
use xxhash_rust::xxh3::xxh3_128;

const MAGIC: [u8; 8] = *b"wecode\r\n";
/// Version of the form.
const VERSION: u32 = 1;
/// How the names of entries' files end.
pub(super) const ENTRY_SUFFIX: &str = ".code";
/// Bytes before the code.
const HEAD_BYTES: usize = 72;
/// Bytes after it.
const CHECKSUM_BYTES: usize = 16;
/// Bytes of an entry besides its code.
pub(super) const FRAME_BYTES: usize = HEAD_BYTES + CHECKSUM_BYTES;

/// What the code of one entry was compiled from, by and for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EntryKey {
    environment: [u8; 16],
    module: [u8; 32],
}

/// Why bytes aren't the entry that was looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EntryProblem {
    /// They were changed, or never were an entry.
    Damaged,
    /// They are an entry of another form, engine, wasmtime, configuration or CPU.
    Outdated,
    /// They are a whole entry of another module.
    OtherModule,
}

/// What compiled code depends on besides the module.
pub(super) fn environment(engine: &Engine) -> [u8; 16] {
    let mut hasher = ShaHasher(Sha256::new());
    hasher.write(env!("CARGO_PKG_VERSION").as_bytes());
    // wasmtime's exact version, its configuration, the target, and the CPU's features that it compiles for.
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.write(crate::cpu::class().as_bytes());
    first(&hasher.0.finalize())
}

/// Hashes what only tells a [`Hasher`] what it is, with a hash that nobody can make collide.
struct ShaHasher(Sha256);

impl Hasher for ShaHasher {
    fn write(&mut self, bytes: &[u8]) {
        // With the length: the borders of what is hashed count.
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        u64::from_le_bytes(first(&self.0.clone().finalize()))
    }
}

/// The first bytes of some.
fn first<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes[..N].try_into().expect("as many bytes as were taken")
}

impl EntryKey {
    /// The key of an instrumented module.
    pub(super) fn new(environment: [u8; 16], module: &[u8]) -> Self {
        let hash = Sha256::new().chain_update(environment).chain_update(module).finalize();
        Self { environment, module: hash.into() }
    }

    /// The name of the entry's file.
    pub(super) fn file_name(&self) -> String {
        crate::files::hex(&self.module) + ENTRY_SUFFIX
    }
}

/// Makes an entry of compiled code.
pub(super) fn seal(key: &EntryKey, code: &[u8]) -> Vec<u8> {
    let mut entry = Vec::with_capacity(code.len() + FRAME_BYTES);
    entry.extend_from_slice(&MAGIC);
    entry.extend_from_slice(&VERSION.to_le_bytes());
    entry.extend_from_slice(&[0; 4]);
    entry.extend_from_slice(&key.environment);
    entry.extend_from_slice(&key.module);
    entry.extend_from_slice(&(code.len() as u64).to_le_bytes());
    entry.extend_from_slice(code);
    entry.extend_from_slice(&xxh3_128(&entry).to_le_bytes());
    entry
}

/// The code of an entry with this key, if all of its bytes are what was written.
pub(super) fn verify<'a>(entry: &'a [u8], key: &EntryKey) -> Result<&'a [u8], EntryProblem> {
    let code = code_of(entry, key)?;
    check_sum(entry)?;
    Ok(code)
}

/// Whether a file is a whole entry of this environment. `name` is that of the file.
pub(super) fn inspect(entry: &[u8], environment: [u8; 16], name: &str) -> Result<(), EntryProblem> {
    if entry.len() < FRAME_BYTES || entry[..8] != MAGIC {
        return Err(EntryProblem::Damaged);
    }
    if entry[8..12] != VERSION.to_le_bytes() {
        return Err(EntryProblem::Outdated);
    }
    let key = EntryKey { environment: first(&entry[16..]), module: first(&entry[32..]) };
    verify(entry, &key)?;
    if key.file_name() != name {
        return Err(EntryProblem::Damaged);
    }
    if key.environment == environment { Ok(()) } else { Err(EntryProblem::Outdated) }
}

/// What stands between head and checksum, if the head is that of an entry with this key. Nothing is known of the code's bytes yet.
fn code_of<'a>(entry: &'a [u8], key: &EntryKey) -> Result<&'a [u8], EntryProblem> {
    if entry.len() < FRAME_BYTES || entry[..8] != MAGIC {
        return Err(EntryProblem::Damaged);
    }
    if entry[8..12] != VERSION.to_le_bytes() {
        return Err(EntryProblem::Outdated);
    }
    let code = &entry[HEAD_BYTES..entry.len() - CHECKSUM_BYTES];
    if entry[12..16] != [0; 4] || entry[64..72] != (code.len() as u64).to_le_bytes() {
        return Err(EntryProblem::Damaged);
    }
    if entry[16..32] != key.environment {
        return Err(EntryProblem::Outdated);
    }
    if entry[32..64] != key.module {
        return Err(EntryProblem::OtherModule);
    }
    Ok(code)
}

/// Whether the checksum is that of the bytes before it.
fn check_sum(entry: &[u8]) -> Result<(), EntryProblem> {
    let (bytes, sum) = entry.split_at(entry.len() - CHECKSUM_BYTES);
    if xxh3_128(bytes).to_le_bytes() == sum { Ok(()) } else { Err(EntryProblem::Damaged) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENVIRONMENT: [u8; 16] = [7; 16];

    fn entry() -> (EntryKey, Vec<u8>) {
        let key = EntryKey::new(ENVIRONMENT, b"a module");
        let code: Vec<u8> = (0..3_000_u32).map(|number| (number * 7 % 251) as u8).collect();
        let entry = seal(&key, &code);
        assert_eq!(verify(&entry, &key), Ok(&code[..]));
        assert_eq!(inspect(&entry, ENVIRONMENT, &key.file_name()), Ok(()));
        (key, entry)
    }

    #[test]
    fn every_flipped_bit_and_every_length_is_seen() {
        let (key, mut entry) = entry();
        for bit in 0..entry.len() * 8 {
            entry[bit / 8] ^= 1 << (bit % 8);
            assert!(verify(&entry, &key).is_err(), "bit {bit}");
            assert!(inspect(&entry, ENVIRONMENT, &key.file_name()).is_err(), "bit {bit}");
            entry[bit / 8] ^= 1 << (bit % 8);
        }
        for length in 0..entry.len() {
            assert!(verify(&entry[..length], &key).is_err(), "cut to {length}");
        }
        entry.push(0);
        assert_eq!(verify(&entry, &key), Err(EntryProblem::Damaged));
    }

    /// The canary: what is looked at without the checksum lets changed code through, so the test above can fail.
    #[test]
    fn without_the_checksum_changed_code_passes() {
        let (key, mut entry) = entry();
        let before = code_of(&entry, &key).unwrap().to_vec();
        entry[HEAD_BYTES + 100] ^= 1;
        let passed = code_of(&entry, &key).unwrap();
        assert_ne!(passed, before);
        assert_eq!(verify(&entry, &key), Err(EntryProblem::Damaged));
    }

    #[test]
    fn whole_entries_of_others_are_told_apart() {
        let (key, entry) = entry();
        assert_eq!(verify(&entry, &EntryKey::new(ENVIRONMENT, b"another")), Err(EntryProblem::OtherModule));
        assert_eq!(verify(&entry, &EntryKey::new([8; 16], b"a module")), Err(EntryProblem::Outdated));
        assert_eq!(inspect(&entry, [8; 16], &key.file_name()), Err(EntryProblem::Outdated));
        assert_eq!(inspect(&entry, ENVIRONMENT, "another name"), Err(EntryProblem::Damaged));
        let mut later = entry;
        later[8] = 2;
        assert_eq!(verify(&later, &key), Err(EntryProblem::Outdated));
        assert_eq!(verify(b"", &key), Err(EntryProblem::Damaged));
    }
}
