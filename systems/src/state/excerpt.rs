//! Differences of the bytes of two values: their place, and some of the bytes.

/// Place and number of the bytes in which two values differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByteDifference {
    /// The first byte that differs; the length of the shorter one where that is the start of the longer one.
    pub offset: usize,
    /// Number of bytes that differ, those that only one of the two has among them.
    pub count: usize,
    /// Bytes of the left one; `None` where there is no such value.
    pub left: Option<Excerpt>,
    /// Bytes of the right one.
    pub right: Option<Excerpt>,
}

/// Some bytes of a value: those around the first one that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// Length of the whole value.
    pub length: usize,
    /// Offset of the bytes in it.
    pub start: usize,
    /// The bytes: none where the value ends before.
    pub bytes: Vec<u8>,
}

impl Excerpt {
    /// Most bytes of an excerpt that come before the first one that differs.
    pub const BYTES_BEFORE_MAX: usize = 16;
    /// Most bytes of an excerpt.
    pub const BYTES_MAX: usize = 48;

    /// Returns the bytes of a value around an offset. They begin at a multiple of 8, so that the bytes of two values can be shown one below the other.
    fn around(value: &[u8], offset: usize) -> Self {
        let start = offset.saturating_sub(Self::BYTES_BEFORE_MAX).next_multiple_of(8).min(offset).min(value.len());
        let bytes = &value[start..];
        Self { length: value.len(), start, bytes: bytes[..bytes.len().min(Self::BYTES_MAX)].to_vec() }
    }
}

impl ByteDifference {
    /// Returns where two values differ; `None` if they don't. A value that isn't there differs from one that is, even from an empty one.
    pub fn of(left: Option<&[u8]>, right: Option<&[u8]>) -> Option<Self> {
        if left == right {
            return None;
        }
        let (a, b) = (left.unwrap_or_default(), right.unwrap_or_default());
        let shorter = a.len().min(b.len());
        let offset = a.iter().zip(b).position(|(a, b)| a != b).unwrap_or(shorter);
        let count = a.iter().zip(b).filter(|(a, b)| a != b).count() + a.len().max(b.len()) - shorter;
        let excerpt = |value: Option<&[u8]>| value.map(|value| Excerpt::around(value, offset));
        Some(Self { offset, count, left: excerpt(left), right: excerpt(right) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_differ_are_shown_at_any_offset() {
        let value: Vec<u8> = (0..200).collect();
        for at in [0, 1, 7, 8, 23, 63, 64, 65, 100, 151, 152, 198, 199] {
            let mut other = value.clone();
            other[at] ^= 0xff;
            let difference = ByteDifference::of(Some(&value), Some(&other)).unwrap();
            assert_eq!((difference.offset, difference.count), (at, 1));
            for (excerpt, value) in [(difference.left.unwrap(), &value), (difference.right.unwrap(), &other)] {
                assert_eq!(excerpt.length, 200);
                assert_eq!(excerpt.bytes[at - excerpt.start], value[at], "the byte is among those that are shown");
                assert_eq!(excerpt.bytes, value[excerpt.start..][..excerpt.bytes.len()]);
                assert!(at - excerpt.start <= Excerpt::BYTES_BEFORE_MAX && excerpt.bytes.len() <= Excerpt::BYTES_MAX);
            }
        }
    }

    #[test]
    fn one_that_is_longer_or_alone_differs_in_what_only_it_has() {
        let of = |left: Option<&[u8]>, right: Option<&[u8]>| ByteDifference::of(left, right);
        let longer = of(Some(b"abc"), Some(b"abcde")).unwrap();
        assert_eq!((longer.offset, longer.count), (3, 2));
        assert_eq!((longer.left.unwrap().bytes, longer.right.unwrap().bytes), (b"abc".to_vec(), b"abcde".to_vec()));
        let apart = of(Some(b"xbc"), Some(b"abcde")).unwrap();
        assert_eq!((apart.offset, apart.count), (0, 3));
        let alone = of(None, Some(b"ab")).unwrap();
        assert_eq!((alone.offset, alone.count, alone.left), (0, 2, None));
        let empty = of(Some(b""), None).unwrap();
        assert_eq!((empty.offset, empty.count, empty.right), (0, 0, None));
        assert_eq!(of(None, None), None);
        assert_eq!(of(Some(b"ab"), Some(b"ab")), None);
        let far = of(Some(&[0; 1_000]), Some(&[0; 900])).unwrap();
        assert_eq!((far.offset, far.count), (900, 100));
        assert!(far.left.unwrap().bytes.len() > 16 && far.right.unwrap().bytes.len() <= 16);
    }
}
