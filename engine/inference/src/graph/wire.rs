//! Protocol buffers' wire format: the fields of a message, one after another, for [`super::read`] and [`super::pad`].
//!
//! Nothing is copied, and nothing recurses. Whatever the bytes are, the result is an error at worst.

/// The bytes aren't a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// The content of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Content<'a> {
    Varint(u64),
    Fixed32(u32),
    Fixed64(u64),
    Bytes(&'a [u8]),
}

/// A field with its number, and its bytes in the message, the key included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Field<'a> {
    pub number: u32,
    pub content: Content<'a>,
    pub whole: &'a [u8],
}

impl<'a> Field<'a> {
    /// Returns the content as bytes.
    pub(super) const fn bytes(&self) -> Result<&'a [u8], Malformed> {
        match self.content {
            Content::Bytes(bytes) => Ok(bytes),
            _ => Err(Malformed),
        }
    }

    /// Returns the content as text.
    pub(super) fn text(&self) -> Result<&'a str, Malformed> {
        str::from_utf8(self.bytes()?).map_err(|_| Malformed)
    }

    /// Returns the content as a signed integer. Negative ones have all 64 bits.
    pub(super) const fn integer(&self) -> Result<i64, Malformed> {
        match self.content {
            Content::Varint(value) => Ok(value.cast_signed()),
            _ => Err(Malformed),
        }
    }

    /// Returns the integers of a repeated field, packed into one or not.
    pub(super) fn integers(&self, values: &mut Vec<i64>, values_max: usize) -> Result<(), Malformed> {
        match self.content {
            Content::Varint(value) => values.push(value.cast_signed()),
            Content::Bytes(mut rest) => {
                while !rest.is_empty() {
                    if values.len() > values_max {
                        return Err(Malformed);
                    }
                    values.push(varint(&mut rest)?.cast_signed());
                }
            }
            _ => return Err(Malformed),
        }
        if values.len() > values_max { Err(Malformed) } else { Ok(()) }
    }
}

/// Iterator over the fields of a message. After an error, it ends.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) const fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    fn read(&mut self) -> Result<Field<'a>, Malformed> {
        let start = self.rest;
        let key = varint(&mut self.rest)?;
        let number = u32::try_from(key >> 3).map_err(|_| Malformed)?;
        let content = match key & 7 {
            0 => Content::Varint(varint(&mut self.rest)?),
            1 => Content::Fixed64(u64::from_le_bytes(*take(&mut self.rest)?)),
            2 => {
                let length = usize::try_from(varint(&mut self.rest)?).map_err(|_| Malformed)?;
                let (bytes, rest) = self.rest.split_at_checked(length).ok_or(Malformed)?;
                self.rest = rest;
                Content::Bytes(bytes)
            }
            5 => Content::Fixed32(u32::from_le_bytes(*take(&mut self.rest)?)),
            // Groups were deprecated before ONNX existed.
            _ => return Err(Malformed),
        };
        if number == 0 {
            return Err(Malformed);
        }
        Ok(Field { number, content, whole: &start[..start.len() - self.rest.len()] })
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.read();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Result<&'a [u8; N], Malformed> {
    let (bytes, after) = rest.split_first_chunk().ok_or(Malformed)?;
    *rest = after;
    Ok(bytes)
}

/// Reads an integer with seven bits in each byte.
fn varint(rest: &mut &[u8]) -> Result<u64, Malformed> {
    let mut value = 0_u64;
    for shift in (0..u64::BITS).step_by(7) {
        let (&byte, after) = rest.split_first().ok_or(Malformed)?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Malformed)
}

/// Appends an integer with seven bits in each byte.
fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}

/// Appends an integer field.
pub(super) fn put_integer(out: &mut Vec<u8>, number: u32, value: i64) {
    put_varint(out, u64::from(number) << 3);
    put_varint(out, value.cast_unsigned());
}

/// Appends a field of bytes: text, or another message.
pub(super) fn put_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    put_varint(out, u64::from(number) << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut message = Vec::new();
        put_integer(&mut message, 1, -5);
        put_integer(&mut message, 2, 300);
        put_bytes(&mut message, 4, b"name");
        message.extend([0x2d, 0, 0, 0x80, 0x3f, 0x31, 1, 0, 0, 0, 0, 0, 0, 0]);
        put_bytes(&mut message, 7, &[1, 0xac, 0x02]);
        let fields: Vec<_> = Fields::new(&message).map(Result::unwrap).collect();
        assert_eq!((fields[0].number, fields[0].integer()), (1, Ok(-5)));
        assert_eq!(fields[1].integer(), Ok(300));
        assert_eq!((fields[2].number, fields[2].text()), (4, Ok("name")));
        assert_eq!(fields[3].content, Content::Fixed32(1.0_f32.to_bits()));
        assert_eq!(fields[4].content, Content::Fixed64(1));
        let mut integers = Vec::new();
        fields[5].integers(&mut integers, 2).unwrap();
        assert_eq!(integers, [1, 300]);
        assert_eq!(fields[5].integers(&mut Vec::new(), 1), Err(Malformed));
        let whole: Vec<u8> = fields.iter().flat_map(|field| field.whole).copied().collect();
        assert_eq!(whole, message, "fields can be copied as they are");
    }

    #[test]
    fn what_is_no_message_is_an_error_and_ends() {
        for bytes in [
            &[0x80][..],
            &[0x0a, 5, 1],
            &[0x0b],
            &[0x00, 0],
            &[0x09, 1, 2],
            &[0x0d, 1],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
            &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
        ] {
            assert_eq!(Fields::new(bytes).collect::<Vec<_>>(), [Err(Malformed)], "{bytes:?}");
        }
    }
}
