//! The names of a value's bytes, and the fields in which two values differ.

use std::collections::BTreeMap;

use wasm_engine_components::{Digest, FaultKind};

use super::field::{Field, FieldValue, Fields, Held, Kind, LIST_BY_FAULT, Placed};

/// A field that two values don't share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldDifference {
    /// Its name: `steps`, `payload`, `members[3]`.
    pub name: String,
    /// Offset of the field in the value.
    pub offset: usize,
    /// Value of the field on the left; `None` where the left value has no such field.
    pub left: Option<FieldValue>,
    /// Value of the field on the right; `None` where the right value has no such field.
    pub right: Option<FieldValue>,
}

/// Returns the fields of a value; of one in its serde form, those that don't end before the byte `from`. None where they don't fit.
pub(crate) fn fields(of: Fields, value: &[u8], from: usize) -> Vec<Placed> {
    match of {
        Fields::Fixed { once, again } => at_fixed_places(once, again, value),
        Fields::Serde(walk) => walk(value, from),
    }
}

/// Returns the fields of a value: those that come once, and those that come again and again until its end.
fn at_fixed_places(once: &[Field], again: &[Field], value: &[u8]) -> Vec<Placed> {
    let (mut placed, mut at) = (Vec::new(), 0);
    let mut place = |name: String, kind: Kind, at: &mut usize| {
        let bytes = match kind {
            Kind::Number(bytes) => bytes,
            Kind::Agent | Kind::Name => 8,
            Kind::Word(_) => 1,
            Kind::Digest => 16,
            Kind::Text | Kind::Bytes => value.len() - *at,
        };
        let fits = *at + bytes <= value.len();
        if fits {
            placed.push(Placed { name, range: *at..*at + bytes, held: Held::Kind(kind) });
            *at += bytes;
        }
        fits
    };
    for &(name, kind) in once {
        if !place(name.to_owned(), kind, &mut at) {
            return Vec::new();
        }
    }
    for number in 0.. {
        if at == value.len() || again.is_empty() {
            break;
        }
        for &(name, kind) in again {
            if !place(numbered(name, number), kind, &mut at) {
                return Vec::new();
            }
        }
    }
    if at == value.len() { placed } else { Vec::new() }
}

/// Returns the name of a field that comes several times.
fn numbered(name: &str, number: usize) -> String {
    match (name.split_once('.'), FaultKind::ALL.get(number)) {
        (None, Some(kind)) if name == LIST_BY_FAULT => format!("{name}.{}", kind.name()),
        (Some((list, field)), _) => format!("{list}[{number}].{field}"),
        _ => format!("{name}[{number}]"),
    }
}

impl Placed {
    fn value(&self, value: &[u8]) -> Option<FieldValue> {
        let bytes = value.get(self.range.clone())?;
        let mut wide = [0; 8];
        let number = |wide: &mut [u8; 8]| {
            wide[..bytes.len()].copy_from_slice(bytes);
            u64::from_le_bytes(*wide)
        };
        let kind = match &self.held {
            Held::Value { value, .. } => return Some(value.clone()),
            Held::Kind(kind) => kind,
        };
        Some(match kind {
            Kind::Number(_) => FieldValue::Number(number(&mut wide)),
            Kind::Agent => FieldValue::Agent(number(&mut wide)),
            Kind::Name => FieldValue::Name(number(&mut wide)),
            Kind::Word(word) => FieldValue::Text(word(*bytes.first()?).to_owned()),
            Kind::Digest => FieldValue::Text(Digest(u128::from_le_bytes(bytes.try_into().ok()?)).to_string()),
            Kind::Text => FieldValue::Text(String::from_utf8_lossy(bytes).into_owned()),
            Kind::Bytes => FieldValue::Bytes(bytes.len()),
        })
    }
}

/// Returns the name of the byte at an offset: that of its field, and its index there if the field is a text or bytes.
pub(crate) fn name_at(fields: &[Placed], offset: usize) -> Option<String> {
    let field = fields.iter().find(|field| field.range.contains(&offset))?;
    let is_indexed = matches!(field.held, Held::Kind(Kind::Text | Kind::Bytes) | Held::Value { is_indexed: true, .. });
    let name = field.name.clone();
    Some(if is_indexed { format!("{name}[{}]", offset - field.range.start) } else { name })
}

/// Returns the fields in which two values differ, at most `max` of them; of a value that is alone, all. A field is compared with that of the same
/// name, wherever it lies in the other value.
pub(crate) fn differing(
    (a, left): (&[Placed], Option<&[u8]>),
    (b, right): (&[Placed], Option<&[u8]>),
    max: usize,
) -> Vec<FieldDifference> {
    let mut pairs: BTreeMap<(&str, usize), [Option<&Placed>; 2]> = BTreeMap::new();
    for (side, fields) in [a, b].into_iter().enumerate() {
        let mut seen = BTreeMap::new();
        for field in fields {
            let times = seen.entry(field.name.as_str()).or_insert(0);
            pairs.entry((&field.name, *times)).or_default()[side] = Some(field);
            *times += 1;
        }
    }
    let bytes_of = |value: Option<&[u8]>, field: Option<&Placed>| {
        field.and_then(|field| value?.get(field.range.clone())).map(<[u8]>::to_vec)
    };
    let mut differ: Vec<_> =
        pairs.into_values().filter(|[one, other]| bytes_of(left, *one) != bytes_of(right, *other)).collect();
    let start = |[one, other]: &[Option<&Placed>; 2]| one.or(*other).map_or(0, |field| field.range.start);
    // A field may lie at different offsets in the two values: the order is that of the left one.
    differ.sort_by_key(start);
    let found = differ.into_iter().take(max).filter_map(|[one, other]| {
        let field = one.or(other)?;
        let value = |field: Option<&Placed>, value: Option<&[u8]>| field.and_then(|field| field.value(value?));
        let (left, right) = (value(one, left), value(other, right));
        Some(FieldDifference { name: field.name.clone(), offset: field.range.start, left, right })
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_come_several_times_are_named_by_their_number_or_by_their_fault() {
        assert_eq!(numbered("slots", 1), "slots[1]");
        assert_eq!(numbered("jobs.model", 2), "jobs[2].model");
        assert_eq!(numbered(LIST_BY_FAULT, 0), format!("{LIST_BY_FAULT}.{}", FaultKind::ALL[0].name()));
        assert_eq!(numbered(LIST_BY_FAULT, FaultKind::ALL.len()), format!("{LIST_BY_FAULT}[{}]", FaultKind::ALL.len()));
    }
}
