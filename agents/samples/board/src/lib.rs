//! The bytes that a herald writes to a shared region, and that watchers read from it: a [`Post`], with a checksum behind it.
//!
//! | offset | bytes | |
//! |---|---|---|
//! | 0 | 8 | frame in which it was written |
//! | 8 | 8 | its number, from 1 |
//! | 16 | 8 | checksum of these sixteen bytes |
//!
//! All numbers are little-endian. A region that nobody has written to holds zeros, whose checksum is wrong.
#![cfg_attr(target_arch = "wasm32", no_std)]

/// Size of a post with its checksum, in bytes. The region has the same size.
pub const BYTES: usize = BODY_BYTES + 8;
/// Size of a post without its checksum, in bytes. The checksum starts at this offset.
pub const BODY_BYTES: usize = 16;

/// A post of a herald.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Post {
    /// Frame in which it was written.
    pub frame: u64,
    /// Number of posts that the herald had written by then, this one included.
    pub number: u64,
}

impl Post {
    /// Returns the bytes of the post, without the checksum.
    pub const fn body(self) -> [u8; BODY_BYTES] {
        // The frame comes first, then the number: the lower half of a little-endian u128 is the first in memory.
        ((self.number as u128) << 64 | self.frame as u128).to_le_bytes()
    }

    /// Returns the checksum, which stands behind the post.
    pub const fn checksum(self) -> [u8; 8] {
        checksum(&self.body()).to_le_bytes()
    }

    /// Reads a post with its checksum; `None` if the length or the checksum is wrong, as that of a post that is half written.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (&frame, rest) = bytes.split_first_chunk()?;
        let (&number, rest) = rest.split_first_chunk()?;
        let post = Self { frame: u64::from_le_bytes(frame), number: u64::from_le_bytes(number) };
        (rest == post.checksum()).then_some(post)
    }
}

/// Returns the FNV-1a hash of 64 bits.
const fn checksum(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x100_0000_01b3);
        at += 1;
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_post_is_what_it_was() {
        let post = Post { frame: 260, number: 3 };
        let bytes = [&post.body()[..], &post.checksum()].concat();
        assert_eq!((bytes.len(), &bytes[..3], bytes[8]), (BYTES, &[4, 1, 0][..], 3));
        assert_eq!(Post::from_bytes(&bytes), Some(post));
    }

    #[test]
    fn whatever_was_changed_is_no_post() {
        let post = Post { frame: 260, number: 3 };
        let bytes = [&post.body()[..], &post.checksum()].concat();
        for at in 0..BYTES {
            let mut torn = bytes.clone();
            torn[at] ^= 1;
            assert_eq!(Post::from_bytes(&torn), None, "byte {at}");
        }
        for length in [0, BODY_BYTES, BYTES - 1] {
            assert_eq!(Post::from_bytes(&bytes[..length]), None, "{length} bytes");
        }
        assert_eq!(Post::from_bytes(&[bytes, vec![0]].concat()), None);
        assert_eq!(Post::from_bytes(&[0; BYTES]), None, "nobody has written yet");
    }
}
