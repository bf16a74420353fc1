//! Blocks: the parts of a snapshot file that are compressed and have a checksum each. After the last one comes that of the whole file.
//!
//! zstd at its fastest ordinary level. It is in every build anyway, by way of wasmtime's code cache, so it costs no further C code and
//! no further licence; and pages of guests' memories, mostly zeros and small numbers, pack well at any level.

use std::io::{self, Read, Write};

use xxhash_rust::xxh3::Xxh3;
use zstd::bulk::{Compressor, Decompressor};

use super::cursor::Cursor;

/// Most bytes of a block's content.
pub(super) const CONTENT_BYTES_MAX: usize = 64 << 20;
/// Size of the pieces into which long content is cut.
pub(super) const PIECE_BYTES: usize = 16 << 20;
/// Bytes of a block's header.
pub(super) const BLOCK_HEADER_BYTES: usize = 32;
/// Bytes of the header that its checksum covers.
const CHECKED_BYTES: usize = 16;
/// Level of compression.
const LEVEL: i32 = 1;

/// Kind of a block's content, in the order of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub(super) enum Kind {
    World = 1,
    Instances,
    Zeroed,
    Pages,
    Extras,
    End,
}

impl Kind {
    fn of(number: u32) -> Option<Self> {
        [Self::World, Self::Instances, Self::Zeroed, Self::Pages, Self::Extras, Self::End]
            .into_iter()
            .find(|&kind| kind as u32 == number)
    }
}

/// Checksum of everything that was written or read so far.
struct Checked<T> {
    inner: T,
    hash: Xxh3,
}

impl<T: Write> Checked<T> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.inner.write_all(bytes)
    }
}

/// Writes blocks.
pub(super) struct BlockWriter<W> {
    to: Checked<W>,
    compressor: Compressor<'static>,
    stored: Vec<u8>,
    number: u32,
}

impl<W: Write> BlockWriter<W> {
    /// Begins with the header of the file.
    pub fn new(to: W, header: &[u8]) -> io::Result<Self> {
        let mut to = Checked { inner: to, hash: Xxh3::new() };
        to.put(header)?;
        Ok(Self { to, compressor: Compressor::new(LEVEL)?, stored: Vec::new(), number: 0 })
    }

    /// Writes content of any length, in as many blocks as it takes.
    pub fn pieces(&mut self, kind: Kind, content: &[u8]) -> io::Result<()> {
        content.chunks(PIECE_BYTES).try_for_each(|piece| self.block(kind, piece))
    }

    /// Writes one block.
    pub fn block(&mut self, kind: Kind, content: &[u8]) -> io::Result<()> {
        assert!(content.len() <= CONTENT_BYTES_MAX, "a block is cut before it is too long");
        self.stored.clear();
        self.stored.reserve(zstd::zstd_safe::compress_bound(content.len()));
        self.compressor.compress_to_buffer(content, &mut self.stored)?;
        // Content that doesn't get smaller is stored uncompressed, so that no block is longer than its content.
        let stored = if self.stored.len() < content.len() { &self.stored } else { content };
        let numbers = [kind as u32, self.number, content.len() as u32, stored.len() as u32];
        let mut header = [0; BLOCK_HEADER_BYTES];
        for (field, number) in header.chunks_mut(4).zip(numbers) {
            field.copy_from_slice(&number.to_le_bytes());
        }
        let checksum = checksum(&header, stored);
        header[CHECKED_BYTES..].copy_from_slice(&checksum.to_le_bytes());
        self.to.put(&header)?;
        self.to.put(stored)?;
        self.number += 1;
        Ok(())
    }

    /// Writes the last block and the checksum of the whole file. Returns the checksum.
    pub fn end(mut self) -> io::Result<(W, u128)> {
        self.block(Kind::End, &[])?;
        let checksum = self.to.hash.digest128();
        self.to.inner.write_all(&checksum.to_le_bytes())?;
        Ok((self.to.inner, checksum))
    }
}

fn checksum(header: &[u8], stored: &[u8]) -> u128 {
    let mut hash = Xxh3::new();
    hash.update(&header[..CHECKED_BYTES]);
    hash.update(stored);
    hash.digest128()
}

/// Why a file can't be read as a snapshot: a sentence about it, without its name, and what the system said, if it did.
pub(super) struct Unread {
    pub what: String,
    pub cause: Option<io::Error>,
}

impl From<String> for Unread {
    fn from(what: String) -> Self {
        Self { what, cause: None }
    }
}

/// Reads blocks. Errors are sentences about the file, without its name.
pub(super) struct BlockReader<R> {
    from: R,
    hash: Xxh3,
    decompressor: Decompressor<'static>,
    /// Number of bytes read so far.
    at: u64,
    /// Length of the file.
    length: u64,
    number: u32,
    last: Kind,
}

/// A block that was read, and where it begins.
pub(super) struct Block {
    pub kind: Kind,
    pub at: u64,
    pub content: Vec<u8>,
}

impl<R: Read> BlockReader<R> {
    pub fn new(from: R, length: u64) -> Result<Self, Unread> {
        let decompressor = Decompressor::new()
            .map_err(|error| Unread { what: "it can't be decompressed".to_owned(), cause: Some(error) })?;
        Ok(Self { from, hash: Xxh3::new(), decompressor, at: 0, length, number: 0, last: Kind::World })
    }

    /// Returns the next bytes as they are.
    pub fn bytes(&mut self, count: usize) -> Result<Vec<u8>, Unread> {
        let bytes = self.unhashed(count)?;
        self.hash.update(&bytes);
        Ok(bytes)
    }

    fn unhashed(&mut self, count: usize) -> Result<Vec<u8>, Unread> {
        if self.length - self.at < count as u64 {
            let (length, at) = (self.length, self.at);
            return Err(format!("it is cut off: it ends at byte {length}, inside of what begins at byte {at}").into());
        }
        let mut bytes = vec![0; count];
        let read = self.from.read_exact(&mut bytes);
        read.map_err(|error| Unread { what: format!("it can't be read at byte {}", self.at), cause: Some(error) })?;
        self.at += count as u64;
        Ok(bytes)
    }

    /// Returns the next block; `None` after the last one.
    pub fn block(&mut self) -> Result<Option<Block>, Unread> {
        let at = self.at;
        let wrong =
            |number: u32, what: &str| Err(format!("it is damaged: block {number}, at byte {at}, {what}").into());
        let header = self.bytes(BLOCK_HEADER_BYTES)?;
        let mut fields = Cursor(&header);
        let mut field = || fields.u32().unwrap_or(0);
        let (kind, number, bytes, stored_bytes) = (field(), field(), field() as usize, field() as usize);
        if number != self.number || bytes > CONTENT_BYTES_MAX || stored_bytes > bytes {
            return wrong(self.number, "has a header that isn't one");
        }
        let stored = self.bytes(stored_bytes)?;
        if Cursor(&header[CHECKED_BYTES..]).u128() != Some(checksum(&header, &stored)) {
            return wrong(number, "doesn't have its checksum");
        }
        let Some(kind) = Kind::of(kind).filter(|&kind| kind >= self.last) else {
            return wrong(number, "has a kind that it can't have there");
        };
        let content = if stored_bytes == bytes {
            stored
        } else {
            let mut content = Vec::with_capacity(bytes);
            match self.decompressor.decompress_to_buffer(&stored, &mut content) {
                Ok(length) if length == bytes => content,
                _ => return wrong(number, "can't be decompressed"),
            }
        };
        (self.number, self.last) = (number + 1, kind);
        if kind != Kind::End {
            return Ok(Some(Block { kind, at, content }));
        }
        if !content.is_empty() {
            return wrong(number, "is the last one, and isn't empty");
        }
        Ok(None)
    }

    /// Checks the checksum of the whole file, which follows the last block.
    pub fn end(mut self) -> Result<u128, Unread> {
        let at = self.at;
        let found = self.hash.digest128();
        let stated = self.unhashed(size_of::<u128>())?;
        if self.at != self.length {
            return Err(format!("it is damaged: it goes on after its end, at byte {}", self.at).into());
        }
        if Cursor(&stated).u128() != Some(found) {
            return Err(format!("it is damaged: the checksum of the whole file, at byte {at}, is another").into());
        }
        Ok(found)
    }
}
