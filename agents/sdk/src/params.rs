//! The parameters that a scenario gives to a group.

/// The parameters of the agent's group: one `name = value` on each line, as the engine writes them from the scenario's `params`.
///
/// ```
/// use wasm_engine_sdk::{ParamError, Params};
/// let params = Params::new(b"city = \"Basel\"\nvotes = 3\n");
/// assert_eq!(params.u64("votes"), Ok(3));
/// assert_eq!(params.str("city"), Ok("Basel"));
/// assert_eq!(params.bool("votes"), Err(ParamError::Invalid));
/// assert_eq!(params.get_or("quorum", 2_u32), Ok(2));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Params<'a>(&'a [u8]);

/// Why a parameter can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamError {
    /// The scenario doesn't give it.
    Missing,
    /// It has another type, or is out of range.
    Invalid,
}

impl<'a> Params<'a> {
    /// Returns the parameters in a payload, which `agent_init` finds in its inbox.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Returns all bytes of the parameters, for a scenario that gives bytes of its own instead of a table.
    pub const fn bytes(&self) -> &'a [u8] {
        self.0
    }

    /// Returns a value as it is written, for types that this reader doesn't know; `None` if it is missing. A name that isn't a bare key of TOML
    /// (letters, digits, `_`, `-`) must be given in its quotes.
    pub fn raw(&self, name: &str) -> Option<&'a [u8]> {
        // The search is in bytes, not in text: a check that all of it is UTF-8 would take more code than all the rest.
        self.0.split(|&byte| byte == b'\n').find_map(|line| {
            let rest = line.trim_ascii_start().strip_prefix(name.as_bytes())?;
            Some(rest.trim_ascii_start().strip_prefix(b"=")?.trim_ascii())
        })
    }

    /// Returns a value of any type that can be read.
    ///
    /// # Errors
    /// It is missing, or not a `T`.
    pub fn get<T: FromParam<'a>>(&self, name: &str) -> Result<T, ParamError> {
        T::from_param(self.raw(name).ok_or(ParamError::Missing)?).ok_or(ParamError::Invalid)
    }

    /// Returns a value of any type that can be read, or `default` if the scenario doesn't give it.
    ///
    /// # Errors
    /// It is not a `T`.
    pub fn get_or<T: FromParam<'a>>(&self, name: &str, default: T) -> Result<T, ParamError> {
        self.raw(name).map_or(Ok(default), |text| T::from_param(text).ok_or(ParamError::Invalid))
    }

    /// Returns an integer from 0 to 2^63 - 1.
    ///
    /// # Errors
    /// It is missing, or not such a value.
    pub fn u64(&self, name: &str) -> Result<u64, ParamError> {
        self.get(name)
    }

    /// Returns an integer from 0 to 2^32 - 1.
    ///
    /// # Errors
    /// It is missing, or not such a value.
    pub fn u32(&self, name: &str) -> Result<u32, ParamError> {
        self.get(name)
    }

    /// Returns an integer from -2^63 to 2^63 - 1.
    ///
    /// # Errors
    /// It is missing, or not such a value.
    pub fn i64(&self, name: &str) -> Result<i64, ParamError> {
        self.get(name)
    }

    /// Returns a number, with or without a decimal point. This adds 19 KB to a module.
    ///
    /// # Errors
    /// It is missing, or not such a value.
    pub fn f64(&self, name: &str) -> Result<f64, ParamError> {
        self.get(name)
    }

    /// Returns `true` or `false`.
    ///
    /// # Errors
    /// It is missing, or not such a value.
    pub fn bool(&self, name: &str) -> Result<bool, ParamError> {
        self.get(name)
    }

    /// Returns a string without escapes.
    ///
    /// # Errors
    /// It is missing, isn't a string, or has escapes: see [`str_into`](Self::str_into).
    pub fn str(&self, name: &str) -> Result<&'a str, ParamError> {
        self.get(name)
    }

    /// Returns a string in double quotes, with its escapes resolved in `buffer`.
    ///
    /// # Errors
    /// It is missing, isn't such a string, or is longer than the buffer.
    pub fn str_into<'b>(&self, name: &str, buffer: &'b mut [u8]) -> Result<&'b str, ParamError> {
        let value = self.raw(name).ok_or(ParamError::Missing)?;
        let text = core::str::from_utf8(value).map_err(|_| ParamError::Invalid)?;
        let used = unescape(text, buffer).ok_or(ParamError::Invalid)?;
        core::str::from_utf8(&buffer[..used]).map_err(|_| ParamError::Invalid)
    }
}

/// A type that a parameter can be read as.
pub trait FromParam<'a>: Sized {
    /// Returns the value that a text in TOML stands for; `None` if that is of another type.
    fn from_param(value: &'a [u8]) -> Option<Self>;
}

/// Returns the integer that a decimal text stands for; `None` if it isn't one, or not in the range of TOML's integers.
fn integer(value: &[u8]) -> Option<i64> {
    let (negative, digits) = match value {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    // The digits are subtracted, because one more integer lies below zero than above it.
    let digit = |sum: i64, byte: &u8| {
        byte.is_ascii_digit().then(|| sum.checked_mul(10)?.checked_sub(i64::from(byte - b'0'))).flatten()
    };
    let sum = digits.iter().try_fold(0, digit)?;
    if digits.is_empty() {
        None
    } else if negative {
        Some(sum)
    } else {
        sum.checked_neg()
    }
}

macro_rules! from_integer {
    ($($number:ty),*) => {$(
        impl FromParam<'_> for $number {
            fn from_param(value: &[u8]) -> Option<Self> {
                integer(value)?.try_into().ok()
            }
        }
    )*};
}
from_integer!(u8, u16, u32, u64, i8, i16, i32, i64);

impl FromParam<'_> for f64 {
    fn from_param(value: &[u8]) -> Option<Self> {
        core::str::from_utf8(value).ok()?.parse().ok()
    }
}

impl FromParam<'_> for bool {
    fn from_param(value: &[u8]) -> Option<Self> {
        match value {
            b"true" => Some(true),
            b"false" => Some(false),
            _ => None,
        }
    }
}

impl<'a> FromParam<'a> for &'a str {
    fn from_param(value: &'a [u8]) -> Option<Self> {
        let text = core::str::from_utf8(value).ok()?;
        if let Some(literal) = text.strip_prefix('\'') {
            return literal.strip_suffix('\'').filter(|text| !text.contains('\''));
        }
        text.strip_prefix('"')?.strip_suffix('"').filter(|text| !text.contains(['"', '\\']))
    }
}

/// Writes the basic string `text` to `buffer`, without its quotes and with its escapes resolved, and returns its length in bytes.
fn unescape(text: &str, buffer: &mut [u8]) -> Option<usize> {
    let mut used = 0;
    let mut put = |char: char| {
        let end = used + char.len_utf8();
        char.encode_utf8(buffer.get_mut(used..end)?);
        used = end;
        Some(())
    };
    let mut rest = text.strip_prefix('"')?.strip_suffix('"')?.chars();
    while let Some(char) = rest.next() {
        let plain = match char {
            '"' => return None,
            '\\' => match rest.next()? {
                'b' => '\u{8}',
                't' => '\t',
                'n' => '\n',
                'f' => '\u{c}',
                'r' => '\r',
                'e' => '\u{1b}',
                'x' => code_point(&mut rest, 2)?,
                'u' => code_point(&mut rest, 4)?,
                'U' => code_point(&mut rest, 8)?,
                quote @ ('"' | '\\') => quote,
                _ => return None,
            },
            plain => plain,
        };
        put(plain)?;
    }
    Some(used)
}

fn code_point(rest: &mut core::str::Chars<'_>, digits: u32) -> Option<char> {
    let mut number = 0_u32;
    for _ in 0..digits {
        number = number << 4 | rest.next()?.to_digit(16)?;
    }
    char::from_u32(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = concat!(
        "agents = 1000\n",
        "agents_max = 7\n",
        "big = 9223372036854775807\n",
        "half = 0.5\n",
        "name = \"ring\"\n",
        "negative = -3\n",
        "on = true\n",
        "quoted = \"a \\\"b\\\" \\u00e9\\n\"\n",
    );

    #[test]
    fn values_are_found_by_their_whole_name() {
        let params = Params::new(TEXT.as_bytes());
        assert_eq!(params.u64("agents"), Ok(1000));
        assert_eq!(params.u32("agents_max"), Ok(7));
        assert_eq!(params.u64("agent"), Err(ParamError::Missing));
        assert_eq!(params.u64(""), Err(ParamError::Missing));
        assert_eq!(params.u64("1000"), Err(ParamError::Missing));
    }

    #[test]
    fn values_have_types() {
        let params = Params::new(TEXT.as_bytes());
        assert_eq!(params.i64("big"), Ok(i64::MAX));
        assert_eq!(params.u32("big"), Err(ParamError::Invalid));
        assert_eq!(params.i64("negative"), Ok(-3));
        assert_eq!(params.u64("negative"), Err(ParamError::Invalid));
        for (text, value) in [("-9223372036854775808", Some(i64::MIN)), ("9223372036854775808", None), ("-", None)] {
            assert_eq!(i64::from_param(text.as_bytes()), value);
        }
        assert_eq!(params.f64("half"), Ok(0.5));
        assert_eq!(params.f64("agents"), Ok(1000.0));
        assert_eq!(params.i64("half"), Err(ParamError::Invalid));
        assert_eq!(params.bool("on"), Ok(true));
        assert_eq!(params.str("name"), Ok("ring"));
        assert_eq!(params.str("agents"), Err(ParamError::Invalid));
    }

    #[test]
    fn escapes_are_resolved_in_the_caller_s_buffer() {
        let params = Params::new(TEXT.as_bytes());
        let mut buffer = [0; 16];
        assert_eq!(params.str("quoted"), Err(ParamError::Invalid));
        assert_eq!(params.str_into("quoted", &mut buffer), Ok("a \"b\" é\n"));
        assert_eq!(params.str_into("quoted", &mut buffer[..8]), Err(ParamError::Invalid));
        assert_eq!(params.str_into("name", &mut buffer), Ok("ring"));
    }

    #[test]
    fn bytes_that_are_no_text_have_no_values() {
        let params = Params::new(&[0xff, b'\n']);
        assert_eq!((params.u64("a"), params.bytes()), (Err(ParamError::Missing), &[0xff, b'\n'][..]));
        assert_eq!(Params::new(b"a = \"").str("a"), Err(ParamError::Invalid));
        assert_eq!(Params::new(b"a =").u64("a"), Err(ParamError::Invalid));
    }
}
