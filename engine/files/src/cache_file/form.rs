//! The form of a file in the cache folder, and its check. [`super`] calls it before it uses any byte of a file.
//!
//! ```text
//! magic        8 bytes   of the kind of file
//! version      4         of this form and of the kind's content
//! reserved     4         zero
//! environment  16        hash of what made the content and for what: engine, libraries, their configuration, target, CPU features
//! subject      32        SHA-256 of the environment and of what the content was made from
//! length       8         of the content
//! content      length
//! checksum     16        xxh3-128 of all the bytes before it
//! ```
//!
//! Numbers are little-endian. The checksum finds damage by a disk, a memory or a careless program. It is no signature: who may
//! write to the folder can make valid files of any content.

use std::hash::{Hash, Hasher};

use sha2::{Digest as _, Sha256};
use xxhash_rust::xxh3::xxh3_128;

/// Bytes before the content.
pub(super) const HEAD_BYTES: usize = 72;
/// Bytes after the content.
const CHECKSUM_BYTES: usize = 16;
/// Bytes of a file besides its content.
pub const FRAME_BYTES: usize = HEAD_BYTES + CHECKSUM_BYTES;

/// A kind of file.
#[derive(Clone, Copy, Debug)]
pub struct FileForm {
    /// First bytes of its files.
    pub magic: [u8; 8],
    /// Version of the form, and of the content.
    pub version: u32,
    /// Extension of the files' names.
    pub suffix: &'static str,
    /// Size of the largest file in bytes.
    pub bytes_max: u64,
}

/// Key of a file: what its content was made from, by what, and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileKey {
    environment: [u8; 16],
    subject: [u8; 32],
}

/// Why bytes aren't the file that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CacheFileProblem {
    /// The bytes were changed, or never were such a file.
    #[error("the file was changed, or never was one of the cache")]
    Damaged,
    /// The bytes are a file of another form, engine, library, configuration or CPU.
    #[error("the file is that of another version, library, configuration or CPU")]
    Outdated,
    /// The bytes are a valid file of another subject.
    #[error("the file was made from something else")]
    OtherSubject,
}

/// Returns a hash of what content depends on besides its subject.
pub fn environment(parts: impl Hash) -> [u8; 16] {
    let mut hasher = ShaHasher(Sha256::new());
    parts.hash(&mut hasher);
    first(&hasher.0.finalize())
}

/// Adapter that hashes values of `Hash` with SHA-256, for which nobody can make a collision.
struct ShaHasher(Sha256);

impl Hasher for ShaHasher {
    fn write(&mut self, bytes: &[u8]) {
        // The length is hashed, too, so that the borders between values count.
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        u64::from_le_bytes(first(&self.0.clone().finalize()))
    }
}

/// Takes the first bytes of a slice.
fn first<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes[..N].try_into().expect("as many bytes as were taken")
}

impl FileKey {
    /// Returns the key of content that is made from these bytes.
    pub fn new(environment: [u8; 16], subject: &[u8]) -> Self {
        let hash = Sha256::new().chain_update(environment).chain_update(subject).finalize();
        Self { environment, subject: hash.into() }
    }
}

impl FileForm {
    /// Returns the name of the file with a key.
    pub fn file_name(&self, key: &FileKey) -> String {
        crate::hash::hex(&key.subject) + self.suffix
    }

    /// Returns the bytes of a file with some content.
    pub(super) fn seal(&self, key: &FileKey, content: &[u8]) -> Vec<u8> {
        let mut file = Vec::with_capacity(content.len() + FRAME_BYTES);
        file.extend_from_slice(&self.magic);
        file.extend_from_slice(&self.version.to_le_bytes());
        file.extend_from_slice(&[0; 4]);
        file.extend_from_slice(&key.environment);
        file.extend_from_slice(&key.subject);
        file.extend_from_slice(&(content.len() as u64).to_le_bytes());
        file.extend_from_slice(content);
        file.extend_from_slice(&xxh3_128(&file).to_le_bytes());
        file
    }

    /// Checks that a file has this key, and that all of its bytes are as they were written.
    pub(super) fn verify(&self, file: &[u8], key: &FileKey) -> Result<(), CacheFileProblem> {
        self.check_key(file, key)?;
        check_sum(file)
    }

    /// Checks that a file with the name `name` is valid and of this environment.
    pub(super) fn inspect(&self, file: &[u8], environment: [u8; 16], name: &str) -> Result<(), CacheFileProblem> {
        self.check_head(file, file.len() as u64)?;
        let key = FileKey { environment: first(&file[16..]), subject: first(&file[32..]) };
        self.verify(file, &key)?;
        if self.file_name(&key) != name {
            return Err(CacheFileProblem::Damaged);
        }
        if key.environment == environment { Ok(()) } else { Err(CacheFileProblem::Outdated) }
    }

    /// Checks that a file of `bytes` bytes may have this head. The content may be missing, and isn't checked.
    pub(super) fn check_head(&self, file: &[u8], bytes: u64) -> Result<(), CacheFileProblem> {
        if file.len() < HEAD_BYTES || bytes < FRAME_BYTES as u64 || file[..8] != self.magic {
            return Err(CacheFileProblem::Damaged);
        }
        if file[8..12] != self.version.to_le_bytes() {
            return Err(CacheFileProblem::Outdated);
        }
        if file[12..16] != [0; 4] || file[64..72] != (bytes - FRAME_BYTES as u64).to_le_bytes() {
            return Err(CacheFileProblem::Damaged);
        }
        Ok(())
    }

    /// Checks that the head is that of a file with this key. The content isn't checked.
    fn check_key(&self, file: &[u8], key: &FileKey) -> Result<(), CacheFileProblem> {
        self.check_head(file, file.len() as u64)?;
        if file[16..32] != key.environment {
            return Err(CacheFileProblem::Outdated);
        }
        if file[32..64] != key.subject {
            return Err(CacheFileProblem::OtherSubject);
        }
        Ok(())
    }
}

/// Returns the content of a file that was verified.
pub(super) fn content_of(file: &[u8]) -> &[u8] {
    &file[HEAD_BYTES..file.len() - CHECKSUM_BYTES]
}

/// Returns whether the checksum is that of the bytes before it.
fn check_sum(file: &[u8]) -> Result<(), CacheFileProblem> {
    let (bytes, sum) = file.split_at(file.len() - CHECKSUM_BYTES);
    if xxh3_128(bytes).to_le_bytes() == sum { Ok(()) } else { Err(CacheFileProblem::Damaged) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENVIRONMENT: [u8; 16] = [7; 16];
    const FORM: FileForm = FileForm { magic: *b"wetests\n", version: 1, suffix: ".test", bytes_max: 1 << 20 };

    fn file() -> (FileKey, Vec<u8>) {
        let key = FileKey::new(ENVIRONMENT, b"a subject");
        let content: Vec<u8> = (0..3_000_u32).map(|number| (number * 7 % 251) as u8).collect();
        let file = FORM.seal(&key, &content);
        assert_eq!(FORM.verify(&file, &key), Ok(()));
        assert_eq!(content_of(&file), content);
        assert_eq!(FORM.inspect(&file, ENVIRONMENT, &FORM.file_name(&key)), Ok(()));
        (key, file)
    }

    #[test]
    fn every_flipped_bit_and_every_length_is_seen() {
        let (key, mut file) = file();
        for bit in 0..file.len() * 8 {
            file[bit / 8] ^= 1 << (bit % 8);
            assert!(FORM.verify(&file, &key).is_err(), "bit {bit}");
            assert!(FORM.inspect(&file, ENVIRONMENT, &FORM.file_name(&key)).is_err(), "bit {bit}");
            file[bit / 8] ^= 1 << (bit % 8);
        }
        for length in 0..file.len() {
            assert!(FORM.verify(&file[..length], &key).is_err(), "cut to {length}");
        }
        file.push(0);
        assert_eq!(FORM.verify(&file, &key), Err(CacheFileProblem::Damaged));
    }

    /// The canary: without the checksum, changed content isn't found, so the test above can fail.
    #[test]
    fn without_the_checksum_changed_content_passes() {
        let (key, mut file) = file();
        let before = content_of(&file).to_vec();
        file[HEAD_BYTES + 100] ^= 1;
        assert_eq!(FORM.check_key(&file, &key), Ok(()));
        assert_ne!(content_of(&file), before);
        assert_eq!(FORM.verify(&file, &key), Err(CacheFileProblem::Damaged));
    }

    #[test]
    fn whole_files_of_others_are_told_apart() {
        let (key, file) = file();
        assert_eq!(FORM.verify(&file, &FileKey::new(ENVIRONMENT, b"another")), Err(CacheFileProblem::OtherSubject));
        assert_eq!(FORM.verify(&file, &FileKey::new([8; 16], b"a subject")), Err(CacheFileProblem::Outdated));
        assert_eq!(FORM.inspect(&file, [8; 16], &FORM.file_name(&key)), Err(CacheFileProblem::Outdated));
        assert_eq!(FORM.inspect(&file, ENVIRONMENT, "another name"), Err(CacheFileProblem::Damaged));
        let other = FileForm { magic: *b"another\n", ..FORM };
        assert_eq!(other.verify(&file, &key), Err(CacheFileProblem::Damaged));
        let mut later = file;
        later[8] = 2;
        assert_eq!(FORM.verify(&later, &key), Err(CacheFileProblem::Outdated));
        assert_eq!(FORM.verify(b"", &key), Err(CacheFileProblem::Damaged));
    }
}
