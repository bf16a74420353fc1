//! Content of a snapshot's file: a header, then the world, the instances, pages that became zero, pages, and extras.

use std::io::{self, Read, Write};

use wasm_engine_components::{AgentSlot, Digest};
use xxhash_rust::xxh3::xxh3_128;

use super::block::{Block, BlockReader, BlockWriter, Kind, Unread};
use super::cursor::{Cursor, put_u32, put_u64};
use super::{Snapshot, SnapshotRef, VERSION};
use crate::state::State;
use wasm_engine_systems::state::WorldState;
use wasm_engine_wasm::{GuestCapture, InstanceColumns, PAGE_BYTES, PageBlock};

const MAGIC: &[u8; 8] = b"WESNAPSH";
/// Bytes of the header, its checksum included.
const HEADER_BYTES: usize = 80;
const HEADER_CHECKED_BYTES: usize = 64;

/// Writes a snapshot. Gives the checksum of the whole.
///
/// # Errors
/// It can't be written; or the guests aren't full where there is no base, or full where there is one.
pub(super) fn encode<W: Write>(snapshot: &Snapshot, to: W) -> io::Result<(W, u128)> {
    let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidInput, what);
    let Snapshot { state: State { world, guests, .. }, extras, .. } = snapshot;
    if guests.full != snapshot.base.is_none() {
        return Err(invalid("a snapshot has either all guests or a base".to_owned()));
    }
    let mut blocks = BlockWriter::new(to, &header(snapshot))?;
    let world = postcard::to_allocvec(world).map_err(|error| invalid(format!("the world can't be saved: {error}")))?;
    blocks.pieces(Kind::World, &world)?;
    blocks.pieces(Kind::Instances, &instances(guests))?;
    let mut content = Vec::new();
    for &(slot, page) in &guests.zeroed {
        put_u32(&mut content, &[slot.0, page]);
    }
    blocks.pieces(Kind::Zeroed, &content)?;
    for block in &guests.pages {
        content.clear();
        put_u32(&mut content, &[block.pages.len() as u32]);
        put_u32(&mut content, bytemuck::cast_slice(&block.slots));
        put_u32(&mut content, &block.pages);
        content.extend_from_slice(&block.bytes);
        blocks.block(Kind::Pages, &content)?;
    }
    content.clear();
    for (name, bytes) in extras {
        put_u64(&mut content, &[name.len() as u64, bytes.len() as u64]);
        content.extend_from_slice(name.as_bytes());
        content.extend_from_slice(bytes);
    }
    blocks.pieces(Kind::Extras, &content)?;
    blocks.end()
}

fn header(snapshot: &Snapshot) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    put_u32(&mut bytes, &[VERSION, u32::from(snapshot.base.is_some())]);
    put_u64(&mut bytes, &[snapshot.state.frame]);
    bytes.extend_from_slice(&snapshot.state.digest.0.to_le_bytes());
    let base = snapshot.base.unwrap_or(SnapshotRef { frame: 0, checksum: 0 });
    put_u64(&mut bytes, &[base.frame]);
    bytes.extend_from_slice(&base.checksum.to_le_bytes());
    bytes.extend_from_slice(&xxh3_128(&bytes).to_le_bytes());
    bytes
}

fn instances(guests: &GuestCapture) -> Vec<u8> {
    let InstanceColumns { slots, used, memory_bytes, shown, words, globals } = &guests.agents;
    let mut bytes = guests.digest.0.to_le_bytes().to_vec();
    put_u64(&mut bytes, &[slots.len() as u64, globals.len() as u64]);
    put_u32(&mut bytes, bytemuck::cast_slice(slots));
    put_u32(&mut bytes, words);
    put_u64(&mut bytes, memory_bytes);
    put_u64(&mut bytes, shown);
    put_u64(&mut bytes, globals);
    bytes.extend(used.iter().map(|&used| u8::from(used)));
    bytes
}

/// Reads a snapshot of `length` bytes, and gives its checksum. What is wrong comes as a sentence about the file.
pub(super) fn decode(from: impl Read, length: u64) -> Result<(Snapshot, u128), Unread> {
    let mut blocks = BlockReader::new(from, length)?;
    let mut snapshot = read_header(&blocks.bytes(HEADER_BYTES)?)?;
    // Contents that may be cut into blocks, by kind, and where each begins.
    let mut contents: [(u64, Vec<u8>); 4] = Default::default();
    while let Some(Block { kind, at, content }) = blocks.block()? {
        let whole = match kind {
            Kind::World => &mut contents[0],
            Kind::Instances => &mut contents[1],
            Kind::Zeroed => &mut contents[2],
            Kind::Extras => &mut contents[3],
            Kind::Pages => {
                snapshot.state.guests.pages.push(pages(&content).ok_or_else(|| malformed("pages", at))?);
                continue;
            }
            Kind::End => continue,
        };
        if whole.1.is_empty() {
            *whole = (at, content);
        } else {
            whole.1.extend_from_slice(&content);
        }
    }
    let checksum = blocks.end()?;
    let [world, agents, zeroed, extras] = &contents;
    snapshot.state.world = postcard::from_bytes(&world.1).map_err(|_| malformed("world", world.0))?;
    read_instances(&agents.1, &mut snapshot.state.guests).ok_or_else(|| malformed("instances", agents.0))?;
    snapshot.state.guests.zeroed = read_zeroed(&zeroed.1).ok_or_else(|| malformed("zeroed pages", zeroed.0))?;
    snapshot.extras = read_extras(&extras.1).ok_or_else(|| malformed("extras", extras.0))?;
    Ok((snapshot, checksum))
}

/// Reads the header alone.
pub(super) fn decode_base(from: impl Read, length: u64) -> Result<Option<SnapshotRef>, Unread> {
    let header = BlockReader::new(from, length)?.bytes(HEADER_BYTES)?;
    Ok(read_header(&header)?.base)
}

/// Reads no further than to what a snapshot says of the guests: the digest of the frame before, and that of all memories.
pub(super) fn decode_digests(from: impl Read, length: u64) -> Result<(Digest, Digest), Unread> {
    let mut blocks = BlockReader::new(from, length)?;
    let header = read_header(&blocks.bytes(HEADER_BYTES)?)?;
    while let Some(Block { kind, at, content }) = blocks.block()? {
        if kind == Kind::Instances {
            let digest = Cursor(&content).u128().ok_or_else(|| malformed("instances", at))?;
            return Ok((header.state.digest, Digest(digest)));
        }
    }
    Err(malformed("instances", 0).into())
}

/// Returns the text for content whose checksums are right, but that is no snapshot, because another program wrote it.
fn malformed(what: &str, at: u64) -> String {
    format!("it is malformed: the {what} that begin with the block at byte {at} aren't what this version writes")
}

fn read_header(bytes: &[u8]) -> Result<Snapshot, String> {
    let mut fields = Cursor(bytes);
    if fields.take(MAGIC.len()) != Some(MAGIC) {
        return Err("it isn't a snapshot, or its first bytes are damaged".to_owned());
    }
    let damaged = || "it is damaged: its header, at byte 0, doesn't have its checksum".to_owned();
    let version = fields.u32().ok_or_else(damaged)?;
    if version != VERSION {
        return Err(format!(
            "it has version {version} of the format, at byte 8, and this engine reads version {VERSION}: use the engine that wrote it"
        ));
    }
    let (checked, checksum) = bytes.split_at(HEADER_CHECKED_BYTES);
    if Cursor(checksum).u128() != Some(xxh3_128(checked)) {
        return Err(damaged());
    }
    let mut number = || fields.u32().zip(fields.u64()).zip(fields.u128()).zip(fields.u64()).zip(fields.u128());
    let ((((incremental, frame), digest), base), checksum) = number().ok_or_else(damaged)?;
    let base = SnapshotRef { frame: base, checksum };
    let base = match incremental {
        0 if base == (SnapshotRef { frame: 0, checksum: 0 }) => None,
        1 if base.frame < frame => Some(base),
        _ => return Err("it is malformed: its header, at byte 0, isn't what this version writes".to_owned()),
    };
    let guests = GuestCapture { full: base.is_none(), ..GuestCapture::default() };
    let state = State { frame, digest: Digest(digest), world: WorldState::default(), guests };
    Ok(Snapshot { state, base, extras: Vec::new() })
}

fn read_instances(bytes: &[u8], guests: &mut GuestCapture) -> Option<()> {
    let mut fields = Cursor(bytes);
    guests.digest = Digest(fields.u128()?);
    let (count, words) = (fields.length()?, fields.length()?);
    // Each column is in the bytes before it is allocated.
    guests.agents = InstanceColumns {
        slots: fields.column_u32(count)?.into_iter().map(AgentSlot).collect(),
        words: fields.column_u32(count)?,
        memory_bytes: fields.column_u64(count)?,
        shown: fields.column_u64(count)?,
        globals: fields.column_u64(words)?,
        used: fields.take(count)?.iter().map(|&used| (used < 2).then_some(used == 1)).collect::<Option<_>>()?,
    };
    fields.0.is_empty().then_some(())
}

fn read_zeroed(bytes: &[u8]) -> Option<Vec<(AgentSlot, u32)>> {
    let numbers = Cursor(bytes).column_u32(bytes.len() / 4)?;
    let (pairs, rest) = numbers.as_chunks::<2>();
    (rest.is_empty() && bytes.len().is_multiple_of(4))
        .then(|| pairs.iter().map(|&[slot, page]| (AgentSlot(slot), page)).collect())
}

fn pages(bytes: &[u8]) -> Option<PageBlock> {
    let mut fields = Cursor(bytes);
    let count = fields.u32()? as usize;
    let slots = fields.column_u32(count)?.into_iter().map(AgentSlot).collect();
    let pages = fields.column_u32(count)?;
    let whole = fields.0.len() == count * PAGE_BYTES;
    whole.then(|| PageBlock { slots, pages, bytes: fields.0.to_vec() })
}

fn read_extras(bytes: &[u8]) -> Option<Vec<(String, Vec<u8>)>> {
    let mut fields = Cursor(bytes);
    let mut extras = Vec::new();
    while !fields.0.is_empty() {
        let (name, length) = (fields.length()?, fields.length()?);
        let name = str::from_utf8(fields.take(name)?).ok()?.to_owned();
        extras.push((name, fields.take(length)?.to_vec()));
    }
    Some(extras)
}
