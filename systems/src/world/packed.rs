//! Messages as agents find them in their inboxes, one record after another: a message is put into this form once, and each
//! recipient is given a copy of the words.

use wasm_engine_abi::{MessageHeader, padded};
use wasm_engine_components::MessageOffset;

const HEADER_WORDS: usize = size_of::<MessageHeader>() / 8;
const _: () = assert!(HEADER_WORDS * 8 == size_of::<MessageHeader>() && align_of::<MessageHeader>() == 8);

/// Inbox records side by side. A record is found by its offset, in words of 8 bytes.
#[derive(Clone, Debug, Default)]
pub struct PackedMessages {
    words: Vec<u64>,
}

impl PackedMessages {
    /// Adds a message. `header` has the length of `payload`. Returns the offset of its record.
    ///
    /// # Panics
    /// If there are 32 GiB of messages.
    // Always inlined: a header that is handed over in memory is written in small pieces and read in large ones, and that stalls the processor.
    #[inline(always)]
    pub fn push(&mut self, header: MessageHeader, payload: &[u8]) -> MessageOffset {
        debug_assert_eq!(header.payload_bytes as usize, payload.len());
        let offset = self.next_offset();
        let head: [u64; HEADER_WORDS] = bytemuck::cast(header);
        // Many payloads are one word, for which a loop or a call would cost more than the copy.
        if let Ok(word) = <[u8; 8]>::try_from(payload) {
            let [a, b, c, d, e, f] = head;
            self.words.extend_from_slice(&[a, b, c, d, e, f, u64::from_ne_bytes(word)]);
        } else {
            self.words.extend_from_slice(&head);
            self.push_payload(payload);
        }
        offset
    }

    #[inline(never)]
    fn push_payload(&mut self, payload: &[u8]) {
        let start = self.words.len();
        self.words.resize(start + payload.len().div_ceil(8), 0);
        bytemuck::cast_slice_mut(&mut self.words[start..])[..payload.len()].copy_from_slice(payload);
    }

    /// Returns the offset of the next record.
    #[inline]
    pub fn next_offset(&self) -> MessageOffset {
        MessageOffset(u32::try_from(self.words.len()).expect("a frame's messages take less than 32 GiB"))
    }

    /// Returns the record at an offset, padding included.
    #[inline]
    pub fn record(&self, offset: MessageOffset) -> &[u64] {
        let words = &self.words[offset.index()..];
        let length = (u64::from(header(words).payload_bytes) + 7) as usize / 8;
        &words[..HEADER_WORDS + length]
    }

    /// Returns the message at an offset: the header that the recipient sees, and the payload without padding.
    #[inline]
    pub fn message(&self, offset: MessageOffset) -> (&MessageHeader, &[u8]) {
        split(self.record(offset))
    }

    /// Forgets the records from an offset on.
    pub fn truncate(&mut self, offset: MessageOffset) {
        self.words.truncate(offset.index());
    }

    /// Forgets all messages, and keeps the buffer.
    pub fn clear(&mut self) {
        self.words.clear();
    }
}

/// Returns a record's header.
#[inline]
pub fn header(words: &[u64]) -> &MessageHeader {
    let head: &[u64; HEADER_WORDS] = words.first_chunk().expect("an offset of a record");
    bytemuck::cast_ref(head)
}

/// Returns a record's header and payload.
#[inline]
pub(crate) fn split(record: &[u64]) -> (&MessageHeader, &[u8]) {
    let header = header(record);
    let payload: &[u8] = bytemuck::cast_slice(&record[HEADER_WORDS..]);
    (header, &payload[..header.payload_bytes as usize])
}

/// Returns the bytes that a message takes in an inbox, header and padding included. A length that no message can have fills any mailbox.
#[inline]
pub(crate) fn record_bytes(payload_bytes: u32) -> u32 {
    padded(payload_bytes).unwrap_or(u32::MAX).saturating_add(MessageHeader::BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_what_inboxes_hold() {
        let mut packed = PackedMessages::default();
        let payloads: Vec<Vec<u8>> = [0, 1, 7, 8, 9, 64].iter().map(|&length| (1..=length).collect()).collect();
        let offsets: Vec<_> = payloads
            .iter()
            .zip(3_u32..)
            .map(|(payload, sequence)| {
                let payload_bytes = payload.len() as u32;
                packed.push(MessageHeader { sequence, payload_bytes, ..MessageHeader::default() }, payload)
            })
            .collect();
        let mut inbox: Vec<u8> = Vec::new();
        for ((&offset, payload), sequence) in offsets.iter().zip(&payloads).zip(3..) {
            let (header, found) = packed.message(offset);
            assert_eq!((header.sequence, found), (sequence, payload.as_slice()));
            assert_eq!(packed.record(offset).len() * 8, record_bytes(header.payload_bytes) as usize);
            inbox.extend_from_slice(bytemuck::cast_slice(packed.record(offset)));
        }
        let read: Vec<_> = wasm_engine_abi::InboxReader::new(&inbox).map(|record| record.payload.to_vec()).collect();
        assert_eq!(read, payloads);
        packed.truncate(offsets[1]);
        assert_eq!(packed.next_offset(), offsets[1]);
    }
}
