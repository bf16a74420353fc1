//! A frame as the payload of a record: only what differs from the frame before, in few bytes.
//!
//! | part | bytes |
//! |---|---|
//! | number of the frame | varint |
//! | flags | 1 |
//! | digest | 16 |
//! | which lanes differ from the frame before: bit `n` for lane `n` | varint |
//! | those lanes, in order | 16 each |
//! | with flag `NAMES`: how many native components there are, then each one's name as length and UTF-8 | varints and bytes |
//! | if there are native components: which digests differ, bit `n % 8` of byte `n / 8` for component `n` | 1 for 8 |
//! | those digests, in order | 16 each |
//! | with flag `INFERENCE`: how many rows there are, then of each its status, the length of its output, the output | varints and bytes |
//! | with flag `NOTICES`: how many notices of models there are, then of each the model, the kind, the number of rows, the length of the reason, the reason | varints and bytes |
//! | with flag `COUNTS`: how many lines of events were given to the frame, and how many were left out | varints |
//! | with flag `INPUTS`: the events, the commands and the swaps, as postcard writes them | to the end |
//!
//! In a frame with flag `KEY`, the frame before counts as all zeros without native components.

use wasm_engine_abi::InferenceStatus;
use wasm_engine_components::{
    Action, Digest, EventCounts, ExternalEvent, FrameInputs, Lane, Lanes, ModelAnswers, ModelId, ModelNotice,
    ModelNoticeKind, Swap,
};

use super::{FrameRef, JournalFrame};

const KEY: u8 = 1;
const NAMES: u8 = 2;
const COUNTS: u8 = 4;
const INFERENCE: u8 = 8;
const INPUTS: u8 = 16;
const NOTICES: u8 = 32;
const FLAGS: u8 = KEY | NAMES | COUNTS | INFERENCE | INPUTS | NOTICES;

// The mask of lanes is a number of 64 bits.
const _: () = assert!(Lane::COUNT <= 64);

/// Facts about the frame before that are needed to encode or decode the next one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Before {
    lanes: Lanes,
    native: Vec<(String, Digest)>,
}

impl Before {
    /// Makes the frame the one before.
    pub fn set(&mut self, frame: &FrameRef<'_>) {
        self.lanes = *frame.lanes;
        if !self.native.iter().map(|(name, _)| name).eq(frame.native.iter().map(|(name, _)| name)) {
            self.native = frame.native.iter().map(|(name, digest)| ((*name).to_owned(), *digest)).collect();
        }
        self.native.iter_mut().zip(&frame.native).for_each(|((_, before), (_, digest))| *before = *digest);
    }
}

/// The parts of a frame's inputs that flag `INPUTS` stands for.
type Inputs = (Vec<ExternalEvent>, Vec<Action>, Vec<Swap>);

/// Appends a frame's payload. `before` is ignored in a keyframe.
pub(super) fn encode(
    frame: &FrameRef<'_>,
    before: &Before,
    key: bool,
    out: &mut Vec<u8>,
) -> Result<(), postcard::Error> {
    let zeros = Before::default();
    let before = if key { &zeros } else { before };
    let same_names = before.native.iter().map(|(name, _)| name).eq(frame.native.iter().map(|(name, _)| name));
    let inputs = !frame.inputs.is_empty();
    let (counts, inference) = (&frame.inputs.counts, frame.inference);
    let counted = !counts.is_zero();
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    put_number(out, frame.frame);
    out.push(
        flag(key, KEY)
            | flag(!same_names, NAMES)
            | flag(counted, COUNTS)
            | flag(!inference.rows.is_empty(), INFERENCE)
            | flag(!inference.notices.is_empty(), NOTICES)
            | flag(inputs, INPUTS),
    );
    put_digest(out, frame.digest);
    let lanes = || frame.lanes.0.iter().zip(&before.lanes.0).map(|(now, before)| (*now, now != before));
    put_number(out, lanes().enumerate().fold(0, |mask, (lane, (_, differs))| mask | u64::from(differs) << lane));
    lanes().filter(|(_, differs)| *differs).for_each(|(digest, _)| put_digest(out, digest));
    if !same_names {
        put_number(out, frame.native.len() as u64);
        frame.native.iter().for_each(|(name, _)| put_bytes(out, name.as_bytes()));
    }
    put_native(frame, if same_names { &before.native } else { &[] }, out);
    if !inference.rows.is_empty() {
        put_number(out, inference.rows.len() as u64);
        for (status, output) in inference.outputs() {
            put_number(out, status as u64);
            put_bytes(out, output);
        }
    }
    if !inference.notices.is_empty() {
        put_number(out, inference.notices.len() as u64);
        for notice in &inference.notices {
            put_number(out, notice.model.0);
            put_number(out, notice.kind as u64);
            put_number(out, notice.rows.into());
            put_bytes(out, notice.reason.as_bytes());
        }
    }
    if counted {
        put_number(out, counts.delivered);
        put_number(out, counts.disabled);
    }
    if inputs {
        let FrameInputs { events, commands, swaps, models: _, counts: _ } = frame.inputs;
        *out = postcard::to_extend(&(events, commands, swaps), std::mem::take(out))?;
    }
    Ok(())
}

fn put_native(frame: &FrameRef<'_>, before: &[(String, Digest)], out: &mut Vec<u8>) {
    let mask = out.len();
    out.resize(mask + frame.native.len().div_ceil(8), 0);
    for (n, (_, digest)) in frame.native.iter().enumerate() {
        if *digest != before.get(n).map_or(Digest(0), |(_, digest)| *digest) {
            out[mask + n / 8] |= 1 << (n % 8);
            put_digest(out, *digest);
        }
    }
}

/// Why a payload isn't that of a frame. Its checksum was right, so it was written like this.
pub(super) type Misfit = &'static str;

/// Decodes a frame from a payload. Returns it and whether it is a keyframe. It becomes the frame before.
pub(super) fn decode(payload: &[u8], before: &mut Before) -> Result<(JournalFrame, bool), Misfit> {
    let mut rest = Rest(payload);
    let number = rest.number()?;
    let flags = rest.byte()?;
    if flags & !FLAGS != 0 {
        return Err("has a flag that isn't known");
    }
    if flags & KEY != 0 {
        *before = Before::default();
    }
    let mut frame = JournalFrame { frame: number, digest: rest.digest()?, ..JournalFrame::default() };
    frame.lanes = before.lanes;
    let mask = rest.number()?;
    if mask.checked_shr(Lane::COUNT as u32).unwrap_or(0) != 0 {
        return Err("has a lane that isn't known");
    }
    for (lane, digest) in frame.lanes.0.iter_mut().enumerate() {
        if mask >> lane & 1 != 0 {
            *digest = rest.digest()?;
        }
    }
    frame.native = rest.native(flags & NAMES != 0, &before.native)?;
    if flags & INFERENCE != 0 {
        for _ in 0..rest.number()? {
            let (status, output) = rest.row()?;
            frame.inference.push(status, output);
        }
    }
    if flags & NOTICES != 0 {
        for _ in 0..rest.number()? {
            frame.inference.notices.push(rest.notice()?);
        }
    }
    if flags & COUNTS != 0 {
        frame.inputs.counts = EventCounts { delivered: rest.number()?, disabled: rest.number()? };
    }
    if flags & INPUTS != 0 {
        let ((events, commands, swaps), left) =
            postcard::take_from_bytes::<Inputs>(rest.0).map_err(|_| "has inputs that can't be read")?;
        let counts = frame.inputs.counts;
        frame.inputs = FrameInputs { events, commands, swaps, models: ModelAnswers::Compute, counts };
        rest.0 = left;
    }
    if !rest.0.is_empty() {
        return Err("goes on behind the end of its frame");
    }
    before.set(&FrameRef::from(&frame));
    Ok((frame, flags & KEY != 0))
}

/// The rest of a payload. A length that it states is used only after the bytes were found to be there.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn bytes(&mut self, length: u64) -> Result<&'a [u8], Misfit> {
        let length = usize::try_from(length).ok().filter(|length| *length <= self.0.len());
        let (bytes, rest) = self.0.split_at(length.ok_or("ends in the middle of its frame")?);
        self.0 = rest;
        Ok(bytes)
    }

    fn byte(&mut self) -> Result<u8, Misfit> {
        Ok(self.bytes(1)?[0])
    }

    fn number(&mut self) -> Result<u64, Misfit> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            if part << shift >> shift != part {
                break;
            }
            number |= part << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err("has a number of more than 64 bits")
    }

    fn digest(&mut self) -> Result<Digest, Misfit> {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(self.bytes(16)?);
        Ok(Digest(u128::from_le_bytes(bytes)))
    }

    fn native(&mut self, names: bool, before: &[(String, Digest)]) -> Result<Vec<(String, Digest)>, Misfit> {
        let mut native = if names { Vec::new() } else { before.to_vec() };
        if names {
            for _ in 0..self.number()? {
                native.push((self.text("has a name that isn't text")?, Digest(0)));
            }
        }
        let mask = self.bytes(native.len().div_ceil(8) as u64)?;
        for (n, (_, digest)) in native.iter_mut().enumerate() {
            if mask[n / 8] >> (n % 8) & 1 != 0 {
                *digest = self.digest()?;
            }
        }
        Ok(native)
    }

    fn text(&mut self, misfit: Misfit) -> Result<String, Misfit> {
        let length = self.number()?;
        Ok(std::str::from_utf8(self.bytes(length)?).map_err(|_| misfit)?.to_owned())
    }

    fn notice(&mut self) -> Result<ModelNotice, Misfit> {
        let (model, kind, rows) = (ModelId(self.number()?), self.number()?, self.number()?);
        let kind = u8::try_from(kind).ok().and_then(ModelNoticeKind::from_number);
        let kind = kind.ok_or("has a kind of notice of a model that isn't known")?;
        let rows = u32::try_from(rows).map_err(|_| "has a notice of more rows than there can be")?;
        Ok(ModelNotice { model, kind, rows, reason: self.text("has a reason that isn't text")? })
    }

    fn row(&mut self) -> Result<(InferenceStatus, &'a [u8]), Misfit> {
        let status = self.number()?;
        let status = u32::try_from(status).ok().and_then(InferenceStatus::from_number);
        let status = status.ok_or("has a status of inference that isn't known")?;
        let length = self.number()?;
        Ok((status, self.bytes(length)?))
    }
}

fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_digest(out: &mut Vec<u8>, digest: Digest) {
    out.extend_from_slice(&digest.0.to_le_bytes());
}
