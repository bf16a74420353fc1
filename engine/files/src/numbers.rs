//! Numbers as people write and read them.

use std::fmt;

/// Units of sizes, with their bytes.
const UNITS: [(&str, u64); 9] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("", 1),
];

/// Returns the bytes of a size: a whole number, which may have a unit. `None` if it isn't a size, or is too large.
pub fn parse_size(text: &str) -> Option<u64> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let (_, bytes) = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit.trim()))?;
    number.parse::<u64>().ok()?.checked_mul(*bytes)
}

/// Returns a whole number with commas between thousands.
pub fn thousands(number: impl fmt::Display) -> String {
    let digits = number.to_string();
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits.as_str()), |rest| ("-", rest));
    let mut text = sign.to_owned();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Returns a number with its noun, whose plural has an `s`: `1 frame`, `2,000 frames`.
pub fn counted(number: impl fmt::Display, one: &str) -> String {
    let number = thousands(number);
    let s = if number == "1" { "" } else { "s" };
    format!("{number} {one}{s}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_has_no_plural() {
        assert_eq!(
            [0, 1, 2_000].map(|number| counted(number, "log line")),
            ["0 log lines", "1 log line", "2,000 log lines"]
        );
    }

    #[test]
    fn thousands_have_commas() {
        let cases = [(0_i64, "0"), (999, "999"), (1_000, "1,000"), (-1_234_567, "-1,234,567"), (-100, "-100")];
        for (number, text) in cases {
            assert_eq!(thousands(number), text);
        }
    }

    #[test]
    fn sizes_have_units() {
        let sizes = [("1", 1), ("64KiB", 65_536), ("10 MB", 10_000_000), ("2gib", 2 << 30), ("1TB", 1_000_000_000_000)];
        for (text, bytes) in sizes {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        for bad in ["", "MB", "-1", "1.5GB", "1 parsec", "99999999999TB", "٣"] {
            assert_eq!(parse_size(bad), None, "{bad}");
        }
    }
}
