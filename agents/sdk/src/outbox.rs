//! The outbox area of a call, and the code that appends records to it. No other code writes records.

use core::fmt;

use wasm_engine_abi::{FrameContext, OutboxHeader};

use crate::OutboxFull;

/// The outbox area and its cursor.
///
/// The cursor is the pair `outbox_records`, `outbox_bytes` of the frame context itself: the host sets it to zero before a
/// frame's first call and reads it after the last, so that nothing needs to be flushed.
#[derive(Debug)]
pub(crate) struct Outbox<'a> {
    pub(crate) frame: &'a mut FrameContext,
    /// Its length is a multiple of 8, and below 2^32. `outbox_bytes` is a multiple of 8, and at most this length.
    area: &'a mut [u8],
}

impl<'a> Outbox<'a> {
    #[inline(always)]
    pub(crate) const fn new(frame: &'a mut FrameContext, area: &'a mut [u8]) -> Self {
        Self { frame, area }
    }

    /// Returns the room for the payload of one more record, in bytes; an error if not even its header has room.
    #[inline(always)]
    fn room(&self) -> Result<usize, OutboxFull> {
        let free = self.area.len().wrapping_sub(self.frame.outbox_bytes as usize);
        if free >= size_of::<OutboxHeader>() { Ok(free - size_of::<OutboxHeader>()) } else { Err(OutboxFull) }
    }

    /// Appends a record whose payload is `head` and then `tail`. Sets the header's `payload_bytes`.
    ///
    /// Inlined always: with a payload of constant length it is six stores and one comparison.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "what fits the area is below 2^32")]
    pub(crate) fn push(&mut self, mut header: OutboxHeader, head: &[u8], tail: &[u8]) -> Result<(), OutboxFull> {
        let room = self.room()?;
        // No overflow: a slice is at most isize::MAX bytes long.
        let bytes = head.len() + tail.len();
        if bytes > room {
            return Err(OutboxFull);
        }
        let body = bytes.next_multiple_of(8);
        header.payload_bytes = bytes as u32;
        // SAFETY: `room` says that the header fits behind the cursor, and `bytes` after it. `body` fits, too, because the
        // cursor and the area's length are multiples of 8. The slices lie elsewhere, because this outbox is borrowed mutably.
        unsafe {
            let at = self.area.as_mut_ptr().add(self.frame.outbox_bytes as usize);
            at.cast::<OutboxHeader>().write_unaligned(header);
            let at = at.add(size_of::<OutboxHeader>());
            if bytes != body {
                at.add(body - 8).cast::<u64>().write_unaligned(0);
            }
            core::ptr::copy_nonoverlapping(head.as_ptr(), at, head.len());
            core::ptr::copy_nonoverlapping(tail.as_ptr(), at.add(head.len()), tail.len());
        }
        self.frame.outbox_bytes += (size_of::<OutboxHeader>() + body) as u32;
        self.frame.outbox_records += 1;
        Ok(())
    }

    /// Appends a record whose payload is formatted in place.
    #[expect(clippy::cast_possible_truncation, reason = "what fits the area is below 2^32")]
    pub(crate) fn push_formatted(
        &mut self,
        mut header: OutboxHeader,
        text: fmt::Arguments<'_>,
    ) -> Result<(), OutboxFull> {
        let room = self.room()?;
        let start = self.frame.outbox_bytes as usize;
        let (head, rest) = self.area[start..].split_at_mut(size_of::<OutboxHeader>());
        let mut line = Line { bytes: &mut rest[..room], used: 0 };
        fmt::write(&mut line, text).map_err(|_| OutboxFull)?;
        let body = line.used.next_multiple_of(8);
        line.bytes[line.used..body].fill(0);
        header.payload_bytes = line.used as u32;
        head.copy_from_slice(bytemuck::bytes_of(&header));
        self.frame.outbox_bytes += (size_of::<OutboxHeader>() + body) as u32;
        self.frame.outbox_records += 1;
        Ok(())
    }
}

/// Formatted text that grows into an area of fixed size.
pub(crate) struct Line<'a> {
    pub(crate) bytes: &'a mut [u8],
    pub(crate) used: usize,
}

impl fmt::Write for Line<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let free = self.bytes.get_mut(self.used..).ok_or(fmt::Error)?;
        free.get_mut(..text.len()).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.used += text.len();
        Ok(())
    }
}
