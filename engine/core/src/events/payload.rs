//! The payload of an event: text, base64, or numbers of one type in little-endian order.

use base64::Engine as _;
use serde_json::Number;

use super::address_book::PayloadLimit;
use super::raw_line::{LineFault, RawLine};
use crate::problem::{counted, nearest_name, thousands};

/// Types of `numbers`. Shape of a payload: `[numbers]`, little-endian, without padding.
const TYPES: [&str; 7] = ["u8", "i8", "i32", "i64", "u32", "f32", "f64"];

/// Returns the payload of a line, and the key it came from.
pub(super) fn payload(raw: RawLine) -> Result<(&'static str, Vec<u8>), LineFault> {
    let given = [("text", raw.text.is_some()), ("base64", raw.base64.is_some()), ("numbers", raw.numbers.is_some())];
    let mut given = given.iter().filter(|(_, there)| *there).map(|(key, _)| *key);
    if let (Some(first), Some(second)) = (given.next(), given.next()) {
        let what = format!("has two payloads, `{first}` and `{second}`");
        return Err(LineFault::of_line(what).help("keep one of them"));
    }
    if let (Some(_), None) = (&raw.number_type, &raw.numbers) {
        return Err(LineFault::new("type", "belongs to `numbers` only").help("remove it"));
    }
    if let Some(text) = raw.text {
        return Ok(("text", text.into_bytes()));
    }
    if let Some(text) = raw.base64 {
        let decoded = base64::engine::general_purpose::STANDARD.decode(text);
        return decoded.map(|bytes| ("base64", bytes)).map_err(|error| {
            LineFault::new("base64", format!("isn't base64: {error}")).help("write it as `base64 -w0 FILE` prints it")
        });
    }
    match raw.numbers {
        Some(numbers) => Ok(("numbers", packed(&numbers, raw.number_type.as_deref().unwrap_or("f32"))?)),
        None => Ok(("text", Vec::new())),
    }
}

/// Returns a payload and its key, unless it is larger than its recipient takes.
pub(super) fn limited(
    (key, payload): (&'static str, Vec<u8>),
    limit: PayloadLimit,
) -> Result<(&'static str, Vec<u8>), LineFault> {
    if payload.len() <= limit.bytes_max as usize {
        return Ok((key, payload));
    }
    let what = format!("the payload has {}, more than the limit", counted(payload.len(), "byte"));
    let mut help = format!("its recipient takes at most {}", thousands(limit.bytes_max));
    if let Some(key) = limit.key {
        help.push_str(&format!(", because of its group's `{key}`"));
    }
    Err(LineFault::new(key, what).help(help))
}

/// Returns the numbers as bytes.
fn packed(numbers: &[Number], number_type: &str) -> Result<Vec<u8>, LineFault> {
    match number_type {
        "u8" => each(numbers, number_type, |n| n.as_u64().and_then(|n| u8::try_from(n).ok()).map(u8::to_le_bytes)),
        "i8" => each(numbers, number_type, |n| n.as_i64().and_then(|n| i8::try_from(n).ok()).map(i8::to_le_bytes)),
        "i32" => each(numbers, number_type, |n| n.as_i64().and_then(|n| i32::try_from(n).ok()).map(i32::to_le_bytes)),
        "u32" => each(numbers, number_type, |n| n.as_u64().and_then(|n| u32::try_from(n).ok()).map(u32::to_le_bytes)),
        "i64" => each(numbers, number_type, |n| n.as_i64().map(i64::to_le_bytes)),
        "f32" => each(numbers, number_type, |n| {
            #[expect(clippy::cast_possible_truncation, reason = "the nearest f32 is meant")]
            let nearest = n.as_f64()? as f32;
            nearest.is_finite().then(|| nearest.to_le_bytes())
        }),
        "f64" => each(numbers, number_type, |n| n.as_f64().map(f64::to_le_bytes)),
        other => Err(LineFault::new("type", format!("there is no type `{other}`")).helped(nearest_name(other, TYPES))),
    }
}

fn each<const N: usize>(
    numbers: &[Number],
    number_type: &str,
    bytes_of: impl Fn(&Number) -> Option<[u8; N]>,
) -> Result<Vec<u8>, LineFault> {
    let mut bytes = Vec::with_capacity(numbers.len() * N);
    for (i, number) in numbers.iter().enumerate() {
        let Some(number_bytes) = bytes_of(number) else {
            let what = format!("number {i} (from 0), {number}, isn't of the type {number_type}");
            return Err(LineFault::new("numbers", what).help("use another `type`, or numbers in its range"));
        };
        bytes.extend_from_slice(&number_bytes);
    }
    Ok(bytes)
}
