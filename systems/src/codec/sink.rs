//! Sinks for the bytes of a value: the end of a vector, or a hash.

use postcard::ser_flavors::Flavor;
use serde::Serialize;
use xxhash_rust::xxh3::{Xxh3, xxh3_128_with_seed};

/// Takes the bytes of a value, all in order. How they are cut into pieces makes no difference.
pub(crate) trait Sink {
    /// Takes the next bytes.
    fn put(&mut self, bytes: &[u8]);

    #[inline]
    fn u8(&mut self, number: u8) {
        self.put(&[number]);
    }

    #[inline]
    fn bool(&mut self, value: bool) {
        self.u8(value.into());
    }

    #[inline]
    fn u32(&mut self, number: u32) {
        self.put(&number.to_le_bytes());
    }

    #[inline]
    fn u64(&mut self, number: u64) {
        self.put(&number.to_le_bytes());
    }

    #[inline]
    fn u64s<const N: usize>(&mut self, numbers: [u64; N]) {
        numbers.into_iter().for_each(|number| self.u64(number));
    }

    #[inline]
    fn u128(&mut self, number: u128) {
        self.put(&number.to_le_bytes());
    }

    /// Takes a value in its serde form: postcard's.
    ///
    /// # Panics
    /// If the value's own serialisation fails: what is state can be serialised. The panic names the state by `name`.
    fn serde<T: Serialize + ?Sized>(&mut self, value: &T, name: &str)
    where
        Self: Sized,
    {
        postcard::serialize_with_flavor(value, Pieces(self))
            .unwrap_or_else(|error| panic!("`{name}`, which is state, can't be serialised: {error}"));
    }
}

impl Sink for Vec<u8> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Hands over what postcard writes.
struct Pieces<'a, S>(&'a mut S);

impl<S: Sink> Flavor for Pieces<'_, S> {
    type Output = ();

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.put(bytes);
        Ok(())
    }

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.put(&[byte]);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Number of bytes that are gathered before they are hashed. Most values are shorter, and are hashed in one piece, which is fastest.
const BUFFER_BYTES: usize = 192;

/// Makes the xxh3-128 of what it is given, without a copy of all of it in memory. A buffer that is just as long as what it is given is the
/// fastest.
pub(crate) struct Hasher<const BYTES: usize = BUFFER_BYTES> {
    seed: u64,
    buffer: [u8; BYTES],
    /// Number of bytes that are in the buffer.
    used: usize,
    /// The hash of earlier bytes, once there were more than the buffer holds.
    stream: Option<Xxh3>,
}

impl<const BYTES: usize> Hasher<BYTES> {
    /// Returns a hasher that was given nothing.
    #[inline]
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, buffer: [0; BYTES], used: 0, stream: None }
    }

    /// Begins another hash. The buffer isn't cleared, which would take longer than to hash a value of a few bytes.
    #[inline]
    pub(crate) fn begin(&mut self, seed: u64) {
        self.seed = seed;
        self.used = 0;
        self.stream = None;
    }

    /// Returns the hash of all that it was given.
    #[inline]
    pub(crate) fn finish(&mut self) -> u128 {
        match self.stream {
            None => xxh3_128_with_seed(&self.buffer[..self.used], self.seed),
            Some(_) => self.finish_stream(),
        }
    }

    #[inline(never)]
    fn finish_stream(&mut self) -> u128 {
        self.flush(&[]);
        self.stream.as_ref().map_or(0, Xxh3::digest128)
    }

    /// Hashes what the buffer holds, and then these bytes.
    #[inline(never)]
    fn flush(&mut self, bytes: &[u8]) {
        let stream = self.stream.get_or_insert_with(|| Xxh3::with_seed(self.seed));
        stream.update(&self.buffer[..self.used]);
        stream.update(bytes);
        self.used = 0;
    }
}

impl<const BYTES: usize> Sink for Hasher<BYTES> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        let end = self.used + bytes.len();
        match self.buffer.get_mut(self.used..end) {
            Some(free) => {
                free.copy_from_slice(bytes);
                self.used = end;
            }
            // Short pieces go through the buffer, so that the hash is given long ones.
            None if bytes.len() < BYTES => {
                self.flush(&[]);
                self.buffer[..bytes.len()].copy_from_slice(bytes);
                self.used = bytes.len();
            }
            None => self.flush(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_that_of_the_bytes_however_they_are_cut() {
        let bytes: Vec<u8> = (0..5_000_u32).map(|at| (at * 7 / 3) as u8).collect();
        for length in [0, 1, 3, 17, 32, 129, 191, 192, 193, 240, 241, 384, 385, 1_024, 1_025, 5_000] {
            let bytes = &bytes[..length];
            for piece in [1, 7, 8, 191, 192, 193, 300, 5_000] {
                let (mut hasher, mut small) = (Hasher::<BUFFER_BYTES>::new(77), Hasher::<8>::new(77));
                bytes.chunks(piece).for_each(|piece| {
                    hasher.put(piece);
                    small.put(piece);
                });
                let whole = xxh3_128_with_seed(bytes, 77);
                assert_eq!([hasher.finish(), small.finish()], [whole; 2], "{length} bytes in pieces of {piece}");
                // Nothing is left of it in the next hash.
                hasher.begin(78);
                hasher.put(&bytes[length / 2..]);
                assert_eq!(hasher.finish(), xxh3_128_with_seed(&bytes[length / 2..], 78));
            }
        }
    }

    #[test]
    fn a_serde_form_is_the_same_in_both_sinks() {
        let value = (vec![1_u8; 300], "text", Some(7_u64), [1.5_f32; 4]);
        let mut bytes = Vec::new();
        bytes.serde(&value, "it");
        assert_eq!(bytes, postcard::to_allocvec(&value).unwrap());
        let mut hasher: Hasher = Hasher::new(5);
        hasher.serde(&value, "it");
        assert_eq!(hasher.finish(), xxh3_128_with_seed(&bytes, 5));
    }
}
