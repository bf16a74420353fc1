//! Values of a manifest for which TOML has no type: numbers of 128 bits, and seeds.

use serde::{Deserialize, Deserializer};

/// Returns a number of 128 bits in 32 hexadecimal digits, as a manifest has digests and ids.
pub(super) fn parse_digits(digits: &str) -> Option<u128> {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let is_whole = digits.len() == 32 && digits.bytes().all(is_digit);
    is_whole.then(|| u128::from_str_radix(digits, 16).ok())?
}

/// Reads a run's number.
pub(super) fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u128, D::Error> {
    let digits = String::deserialize(deserializer)?;
    parse_digits(&digits).ok_or_else(|| serde::de::Error::custom("an id has 32 hexadecimal digits"))
}

/// Reads a seed. TOML's integers end below 2^63, so a larger seed is a string.
pub(super) fn seed<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Seed {
        Number(u64),
        Text(String),
    }
    match Seed::deserialize(deserializer)? {
        Seed::Number(seed) => Ok(seed),
        Seed::Text(seed) => match seed.parse::<u64>() {
            // Only the form that is written counts: a `+` isn't a digit.
            Ok(number) if number.to_string() == seed => Ok(number),
            _ => Err(serde::de::Error::custom("a seed is a whole number of 64 bits")),
        },
    }
}
