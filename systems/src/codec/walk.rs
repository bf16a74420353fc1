//! The fields of values that are saved in their serde form. Postcard's bytes have no names in them and no fixed places, but the type that was
//! written has names: so the value is serialised once more, by a serializer that notes what each byte is called.
//!
//! | of | names |
//! |---|---|
//! | a struct | `field`, `field.inner` |
//! | a list, a text, bytes | `list.length`, `list[3]`; `text.length`, `text`, of which a byte is `text[3]` |
//! | a map | `map.length`, `map[key]`, and `map[key].key` for the bytes of the key itself |
//! | an option | `field?`, which is `none` or `some`, and `field` for what is inside |
//! | an enum | `field`, which is the variant, and `field.Variant` or `field.Variant.inner` for what is inside |

use std::fmt::{self, Display, Write as _};

use serde::de::DeserializeOwned;
use serde::ser::{self, Serialize};

use super::field::{FieldValue, Held, Placed};
use super::reader::Reader;

/// Name of the only field of a value that has no named ones.
const WHOLE: &str = "value";
/// Name of the length of a list.
const LENGTH: &str = "length";
/// Most fields of a value that are looked at.
const FIELDS_MAX: usize = 1 << 16;
/// Most bytes of a text that are shown.
const TEXT_BYTES_MAX: usize = 64;

/// Returns the fields of a value of type `T`, but for those that end before the byte `from`. There are none if the bytes aren't what the type writes.
pub(crate) fn fields<T: Serialize + DeserializeOwned>(value: &[u8], from: usize) -> Vec<Placed> {
    walk::<T>(value, from, false)
}

/// Returns the same for a type of the engine's own, in which a number may be the id of an agent.
pub(super) fn own_fields<T: Serialize + DeserializeOwned>(value: &[u8], from: usize) -> Vec<Placed> {
    walk::<T>(value, from, true)
}

fn walk<T: Serialize + DeserializeOwned>(value: &[u8], from: usize, is_own: bool) -> Vec<Placed> {
    let Some(decoded) = Reader(value).serde::<T>() else { return Vec::new() };
    let mut walker = Walker { value, from, is_own, at: 0, path: String::new(), placed: Vec::new() };
    match decoded.serialize(&mut walker) {
        Ok(()) if walker.at == value.len() => walker.placed,
        Err(Stop::Enough) => walker.placed,
        _ => Vec::new(),
    }
}

/// Goes through a value as postcard does.
struct Walker<'a> {
    value: &'a [u8],
    from: usize,
    is_own: bool,
    /// Offset of the next field.
    at: usize,
    /// Its name so far.
    path: String,
    placed: Vec<Placed>,
}

/// Why a walk ends early.
#[derive(Debug)]
enum Stop {
    /// As many fields were found as are looked at.
    Enough,
    /// Other bytes are there than the value has.
    Misfit,
}

impl Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the walk over a value ended")
    }
}

impl std::error::Error for Stop {}

impl ser::Error for Stop {
    fn custom<T: Display>(_: T) -> Self {
        Self::Misfit
    }
}

impl Walker<'_> {
    /// Notes that the next bytes are a field with that value.
    fn place(&mut self, bytes: &[u8], is_indexed: bool, value: impl FnOnce() -> FieldValue) -> Result<(), Stop> {
        let range = self.at..self.at + bytes.len();
        if self.value.get(range.clone()) != Some(bytes) {
            return Err(Stop::Misfit);
        }
        self.at = range.end;
        if range.end > self.from {
            if self.placed.len() == FIELDS_MAX {
                return Err(Stop::Enough);
            }
            let name = if self.path.is_empty() { WHOLE } else { &self.path };
            let held = Held::Value { value: value(), is_indexed };
            self.placed.push(Placed { name: name.to_owned(), range, held });
        }
        Ok(())
    }

    /// Notes that the next bytes are a number or the like, which postcard writes in a few bytes.
    fn small<T: Serialize + ?Sized>(&mut self, encoded: &T, value: impl FnOnce() -> FieldValue) -> Result<(), Stop> {
        let mut buffer = [0; 32];
        let bytes = postcard::to_slice(encoded, &mut buffer).map_err(|_| Stop::Misfit)?;
        self.place(bytes, false, value)
    }

    /// Walks through a part whose name is longer by `more`.
    fn under<R>(&mut self, more: impl Display, then: impl FnOnce(&mut Self) -> R) -> R {
        let length = self.path.len();
        // Into a string, writing can't fail.
        let _ = write!(self.path, "{more}");
        let done = then(self);
        self.path.truncate(length);
        done
    }

    /// Walks through a field by its name, or its number.
    fn field<R>(&mut self, name: impl Display, then: impl FnOnce(&mut Self) -> R) -> R {
        let point = if self.path.is_empty() { "" } else { "." };
        self.under(format_args!("{point}{name}"), then)
    }

    fn length(&mut self, length: usize) -> Result<(), Stop> {
        self.field(LENGTH, |walker| walker.small(&length, || FieldValue::Number(length as u64)))
    }

    /// Notes the number of a variant, by which it is saved.
    fn variant(&mut self, index: u32, name: &str) -> Result<(), Stop> {
        self.small(&index, || FieldValue::Text(name.to_owned()))
    }

    fn signed(&mut self, encoded: &impl Serialize, value: i64) -> Result<(), Stop> {
        self.small(encoded, || FieldValue::Signed(value))
    }

    fn unsigned(&mut self, encoded: &impl Serialize, value: u64) -> Result<(), Stop> {
        self.small(encoded, || FieldValue::Number(value))
    }

    /// Walks through a key of a map. Returns the name of its entry: the key, if that is one value, else the entry's index.
    fn key<T: Serialize + ?Sized>(&mut self, key: &T, place: usize) -> Result<String, Stop> {
        // The fields of a key are found under names of their own at first, even if its bytes end before `from`: the entry is named by them.
        let (start, from) = (self.placed.len(), std::mem::take(&mut self.from));
        let path = std::mem::take(&mut self.path);
        key.serialize(&mut *self)?;
        (self.path, self.from) = (path, from);
        let mut parts = self.placed.split_off(start);
        let values: Vec<_> = parts.iter().filter(|part| part.name != LENGTH).collect();
        let name = match values[..] {
            [Placed { held: Held::Value { value, .. }, .. }] => value.to_string(),
            _ => place.to_string(),
        };
        for part in &mut parts {
            let rest = if part.name == WHOLE { String::new() } else { format!(".{}", part.name) };
            part.name = format!("{}[{name}].key{rest}", self.path);
        }
        self.placed.extend(parts.into_iter().filter(|part| part.range.end > from));
        Ok(name)
    }
}

/// The parts of something that has several.
struct Parts<'w, 'a> {
    walker: &'w mut Walker<'a>,
    /// Number of bytes to cut off the path in the end.
    path_bytes: usize,
    number: usize,
    key: String,
}

impl<'w, 'a> Parts<'w, 'a> {
    fn new(walker: &'w mut Walker<'a>) -> Self {
        let path_bytes = walker.path.len();
        Self { walker, path_bytes, number: 0, key: String::new() }
    }

    /// Returns the parts of a variant, below its name.
    fn of_variant(walker: &'w mut Walker<'a>, index: u32, name: &str) -> Result<Self, Stop> {
        walker.variant(index, name)?;
        let parts = Self::new(walker);
        let point = if parts.walker.path.is_empty() { "" } else { "." };
        let _ = write!(parts.walker.path, "{point}{name}");
        Ok(parts)
    }

    fn named<T: Serialize + ?Sized>(&mut self, name: impl Display, value: &T) -> Result<(), Stop> {
        self.number += 1;
        self.walker.field(name, |walker| value.serialize(walker))
    }

    fn numbered<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Stop> {
        self.named(self.number, value)
    }

    fn listed<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Stop> {
        self.number += 1;
        self.walker.under(format_args!("[{}]", self.number - 1), |walker| value.serialize(walker))
    }

    fn finish(self) {
        self.walker.path.truncate(self.path_bytes);
    }
}

/// Methods that serialise a number.
macro_rules! numbers {
    ($($method:ident $number:ty: $write:ident as $wide:ty;)*) => {
        $(fn $method(self, value: $number) -> Result<(), Stop> {
            self.$write(&value, <$wide>::from(value))
        })*
    };
}

/// Methods that serialise a part of something.
macro_rules! parts {
    ($($of:ident: $method:ident($($argument:ident: $kind:ty),*) by $call:ident($($given:expr),*);)*) => {
        $(impl ser::$of for Parts<'_, '_> {
            type Ok = ();
            type Error = Stop;

            fn $method<T: Serialize + ?Sized>(&mut self, $($argument: $kind,)* value: &T) -> Result<(), Stop> {
                self.$call($($given,)* value)
            }

            fn end(self) -> Result<(), Stop> {
                self.finish();
                Ok(())
            }
        })*
    };
}

parts! {
    SerializeSeq: serialize_element() by listed();
    SerializeTuple: serialize_element() by listed();
    SerializeTupleStruct: serialize_field() by numbered();
    SerializeTupleVariant: serialize_field() by numbered();
    SerializeStruct: serialize_field(key: &'static str) by named(key);
    SerializeStructVariant: serialize_field(key: &'static str) by named(key);
}

impl ser::SerializeMap for Parts<'_, '_> {
    type Ok = ();
    type Error = Stop;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Stop> {
        self.key = self.walker.key(key, self.number)?;
        self.number += 1;
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Stop> {
        self.walker.under(format_args!("[{}]", self.key), |walker| value.serialize(walker))
    }

    fn end(self) -> Result<(), Stop> {
        self.finish();
        Ok(())
    }
}

impl<'w, 'a> ser::Serializer for &'w mut Walker<'a> {
    type Ok = ();
    type Error = Stop;
    type SerializeSeq = Parts<'w, 'a>;
    type SerializeTuple = Parts<'w, 'a>;
    type SerializeTupleStruct = Parts<'w, 'a>;
    type SerializeTupleVariant = Parts<'w, 'a>;
    type SerializeMap = Parts<'w, 'a>;
    type SerializeStruct = Parts<'w, 'a>;
    type SerializeStructVariant = Parts<'w, 'a>;

    fn is_human_readable(&self) -> bool {
        // Postcard answers this, too: a value whose form depends on the answer must be written here as it was saved.
        false
    }

    numbers! {
        serialize_i8 i8: signed as i64;
        serialize_i16 i16: signed as i64;
        serialize_i32 i32: signed as i64;
        serialize_i64 i64: signed as i64;
        serialize_u8 u8: unsigned as u64;
        serialize_u16 u16: unsigned as u64;
        serialize_u32 u32: unsigned as u64;
        serialize_u64 u64: unsigned as u64;
    }

    fn serialize_i128(self, value: i128) -> Result<(), Stop> {
        self.small(&value, || FieldValue::Text(value.to_string()))
    }

    fn serialize_u128(self, value: u128) -> Result<(), Stop> {
        self.small(&value, || FieldValue::Text(value.to_string()))
    }

    fn serialize_bool(self, value: bool) -> Result<(), Stop> {
        self.small(&value, || FieldValue::Bool(value))
    }

    fn serialize_f32(self, value: f32) -> Result<(), Stop> {
        self.small(&value, || FieldValue::Float(value.to_string()))
    }

    fn serialize_f64(self, value: f64) -> Result<(), Stop> {
        self.small(&value, || FieldValue::Float(value.to_string()))
    }

    fn serialize_char(self, value: char) -> Result<(), Stop> {
        self.small(&value, || FieldValue::Text(value.to_string()))
    }

    fn serialize_str(self, value: &str) -> Result<(), Stop> {
        self.length(value.len())?;
        self.place(value.as_bytes(), true, || FieldValue::Text(shortened(value)))
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), Stop> {
        self.length(value.len())?;
        self.place(value, true, || FieldValue::Bytes(value.len()))
    }

    fn serialize_none(self) -> Result<(), Stop> {
        self.under("?", |walker| walker.small(&false, || FieldValue::Text("none".to_owned())))
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Stop> {
        self.under("?", |walker| walker.small(&true, || FieldValue::Text("some".to_owned())))?;
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Stop> {
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Stop> {
        Ok(())
    }

    fn serialize_unit_variant(self, _: &'static str, index: u32, variant: &'static str) -> Result<(), Stop> {
        self.variant(index, variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<(), Stop> {
        let from = self.placed.len();
        value.serialize(&mut *self)?;
        // An author may have given such a name to something else.
        if self.is_own
            && let [Placed { held: Held::Value { value, .. }, .. }] = &mut self.placed[from..]
            && let FieldValue::Number(number) = *value
        {
            *value = match name {
                "AgentId" => FieldValue::Agent(number),
                "TopicId" | "ModelId" | "RegionId" => FieldValue::Name(number),
                _ => FieldValue::Number(number),
            };
        }
        Ok(())
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Stop> {
        self.variant(index, variant)?;
        self.field(variant, |walker| value.serialize(walker))
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<Parts<'w, 'a>, Stop> {
        self.length(length.ok_or(Stop::Misfit)?)?;
        Ok(Parts::new(self))
    }

    fn serialize_tuple(self, _: usize) -> Result<Parts<'w, 'a>, Stop> {
        Ok(Parts::new(self))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Parts<'w, 'a>, Stop> {
        Ok(Parts::new(self))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        index: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Parts<'w, 'a>, Stop> {
        Parts::of_variant(self, index, variant)
    }

    fn serialize_map(self, length: Option<usize>) -> Result<Parts<'w, 'a>, Stop> {
        self.length(length.ok_or(Stop::Misfit)?)?;
        Ok(Parts::new(self))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Parts<'w, 'a>, Stop> {
        Ok(Parts::new(self))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        index: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Parts<'w, 'a>, Stop> {
        Parts::of_variant(self, index, variant)
    }
}

/// Returns the beginning of a text that is long, and the whole of any other.
fn shortened(text: &str) -> String {
    if text.len() <= TEXT_BYTES_MAX {
        return text.to_owned();
    }
    format!("{}...", &text[..text.floor_char_boundary(TEXT_BYTES_MAX)])
}

#[cfg(test)]
mod tests;
