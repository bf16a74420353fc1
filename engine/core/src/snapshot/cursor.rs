//! Reads numbers from untrusted bytes. Each method returns `None` if there are fewer bytes than it needs.

/// The rest of some bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a>(pub &'a [u8]);

impl<'a> Cursor<'a> {
    pub fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub fn u128(&mut self) -> Option<u128> {
        self.array().map(u128::from_le_bytes)
    }

    /// Returns a length or a count; `None` if it doesn't fit a `usize`.
    pub fn length(&mut self) -> Option<usize> {
        self.u64()?.try_into().ok()
    }

    /// Returns a column of `count` numbers.
    pub fn column_u32(&mut self, count: usize) -> Option<Vec<u32>> {
        let (numbers, _) = self.take(count.checked_mul(4)?)?.as_chunks();
        Some(numbers.iter().map(|&bytes| u32::from_le_bytes(bytes)).collect())
    }

    /// Returns a column of `count` numbers.
    pub fn column_u64(&mut self, count: usize) -> Option<Vec<u64>> {
        let (numbers, _) = self.take(count.checked_mul(8)?)?.as_chunks();
        Some(numbers.iter().map(|&bytes| u64::from_le_bytes(bytes)).collect())
    }
}

/// Appends a column.
pub(super) fn put_u32(bytes: &mut Vec<u8>, column: &[u32]) {
    bytes.reserve(4 * column.len());
    column.iter().for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
}

/// Appends a column.
pub(super) fn put_u64(bytes: &mut Vec<u8>, column: &[u64]) {
    bytes.reserve(8 * column.len());
    column.iter().for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
}
