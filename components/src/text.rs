//! Text from a guest, a file or a path, on its way to a person. Such text may hold anything: sequences that colour, move or clear a
//! terminal, marks that reverse the order in which characters are seen, characters that nobody sees, newlines that forge a row of a
//! table, and megabytes. This is the only place where it is made harmless.
//!
//! [`shown`] and [`shown_path`] are for a piece of such text within a sentence; [`Lines`] is for whatever is printed, and lets nothing else
//! through, whoever put the text together; [`harmless_json`] and [`harmless_toml`] are for files and lines that keep the true text.

use std::borrow::Cow;
use std::fmt;
use std::path::Path;

use crate::limits::{LINE_CHARS_MAX, PATH_CHARS_MAX, SHOWN_CHARS_MAX};

/// Target of events (those of the crate `tracing`) that whoever runs the engine is told of without asking for more, though nothing is wrong.
pub const NOTE: &str = "wasm_engine::note";
/// Target of events that say that something is downloaded, which is told to whoever runs the engine in any case.
pub const DOWNLOAD: &str = "wasm_engine::download";

/// Most combining marks that a character may carry. No script has more; a character that has is meant to cover the lines around it.
const MARKS_MAX: u32 = 8;

/// Returns a text as it may stand in a line: without control characters, newlines, bidirectional marks and other invisible characters,
/// which are escaped as Rust would, and cut in the middle where it is longer than [`SHOWN_CHARS_MAX`] characters.
pub const fn shown(text: &str) -> Shown<'_> {
    Shown { text: Cow::Borrowed(text), chars_max: SHOWN_CHARS_MAX }
}

/// Returns a path as it may stand in a line. It is cut much later than other text: whoever is to find a file needs all of its path.
pub fn shown_path(path: &Path) -> Shown<'_> {
    Shown { text: path.to_string_lossy(), chars_max: PATH_CHARS_MAX }
}

/// A text as it may stand in a line. What is harmless and short is shown as it is, so that showing a text twice changes nothing.
#[derive(Clone, Debug)]
pub struct Shown<'a> {
    text: Cow<'a, str>,
    chars_max: usize,
}

impl Shown<'_> {
    /// Returns the same text with another limit of characters. A text that is cut says how much is missing, which takes some characters, too: so a
    /// limit below 40 counts as 40.
    #[must_use]
    pub fn at_most(self, chars: usize) -> Self {
        Self { chars_max: chars.max(40), ..self }
    }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&cut(&self.text, self.chars_max))
    }
}

/// Lines for a terminal. What is added is one line, whatever is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines(String);

impl Lines {
    /// Adds a line, which is escaped and cut as [`shown`] does, at [`LINE_CHARS_MAX`] characters.
    pub fn line(&mut self, line: impl fmt::Display) {
        self.0.push_str(&cut(&line.to_string(), LINE_CHARS_MAX));
        self.0.push('\n');
    }

    /// Adds an empty line.
    pub fn blank(&mut self) {
        self.0.push('\n');
    }

    /// Adds other lines.
    pub fn append(&mut self, lines: &Self) {
        self.0.push_str(&lines.0);
    }

    /// Returns whether there is no line.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the lines, each with its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Rows of columns: the first is aligned to the left, the others to the right.
#[derive(Clone, Debug)]
pub struct Table(Vec<Vec<String>>);

impl Table {
    /// Returns a table with a heading and no rows.
    pub fn new<'a>(heading: impl IntoIterator<Item = &'a str>) -> Self {
        let mut table = Self(Vec::new());
        table.row(heading);
        table
    }

    /// Adds a row. Each cell is escaped and cut as [`shown`] does.
    pub fn row<C: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = C>) {
        self.0.push(cells.into_iter().map(|cell| shown(cell.as_ref()).to_string()).collect());
    }

    /// Returns the rows, each as a line.
    pub fn lines(&self) -> Lines {
        let columns = self.0.iter().map(Vec::len).max().unwrap_or(0);
        let width = |at: usize| self.0.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max();
        let widths: Vec<usize> = (0..columns).map(|at| width(at).unwrap_or(0)).collect();
        let mut lines = Lines::default();
        for row in &self.0 {
            let cells = row.iter().zip(&widths).enumerate().map(|(at, (cell, &width))| match at {
                0 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            });
            lines.line(cells.collect::<Vec<_>>().join("  ").trim_end());
        }
        lines
    }
}

/// Returns JSON in which every character that a terminal might take for more than a character is written as its number: the same JSON, whoever
/// reads it. `json` must be JSON without line breaks between its tokens.
pub fn harmless_json(json: &str) -> Cow<'_, str> {
    // Outside of strings, JSON without line breaks has none of them.
    harmless(json, |c, text| {
        let mut units = [0; 2];
        for unit in c.encode_utf16(&mut units) {
            text.push_str(&format!("\\u{unit:04x}"));
        }
    })
}

/// Returns TOML in which every character that a terminal might take for more than a character is written as its number: the same TOML, whoever
/// reads it. All its strings, and keys that aren't bare, must be in double quotes, and its line breaks those between its lines.
pub fn harmless_toml(toml: &str) -> Cow<'_, str> {
    harmless(toml, |c, text| match u32::from(c) {
        0x0a => text.push(c),
        number @ ..=0xffff => text.push_str(&format!("\\u{number:04X}")),
        number => text.push_str(&format!("\\U{number:08X}")),
    })
}

/// Returns lines in which every character that a terminal might take for more than a character is replaced by U+FFFD: each place in them, counted
/// in lines and characters, stays what it is.
pub fn harmless_lines(text: &str) -> Cow<'_, str> {
    harmless(text, |c, out| out.push(if matches!(c, '\n' | '\t') { c } else { char::REPLACEMENT_CHARACTER }))
}

/// Returns the text, in which `escape` writes what a terminal might take for more than a character.
fn harmless(text: &str, mut escape: impl FnMut(char, &mut String)) -> Cow<'_, str> {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut seen = Seen::default();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if seen.is_plain(c, chars.peek().copied()) { out.push(c) } else { escape(c, &mut out) }
    }
    Cow::Owned(out)
}

/// Returns the text, escaped, and cut in the middle to at most `chars_max` characters.
fn cut(text: &str, chars_max: usize) -> Cow<'_, str> {
    if text.len() <= chars_max && text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Cow::Borrowed(text);
    }
    let (whole, _, end) = start(text, chars_max);
    if end == text.len() {
        return Cow::Owned(whole);
    }
    let longest_note = format!("…({} more)…", text.len());
    let room = chars_max.saturating_sub(longest_note.chars().count());
    let (head, _, after_head) = start(text, room - room / 3);
    // As many characters of the text's end as fit, if each became as long as it can.
    let mut tail_chars = 0;
    let tail = text[after_head..].char_indices().rev().take_while(|(_, c)| {
        tail_chars += escaped_chars(*c);
        tail_chars <= room / 3
    });
    let before_tail = tail.last().map_or(text.len(), |(at, _)| after_head + at);
    let (tail, ..) = start(&text[before_tail..], usize::MAX);
    let missing = text[after_head..before_tail].chars().count();
    Cow::Owned(format!("{head}…({missing} more)…{tail}"))
}

/// Returns as much of the start of a text, escaped, as has at most `chars_max` characters; how many they are, and where the rest begins.
fn start(text: &str, chars_max: usize) -> (String, usize, usize) {
    let (mut escaped, mut count, mut seen) = (String::new(), 0_usize, Seen::default());
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let is_plain = seen.is_plain(c, chars.peek().map(|(_, next)| *next));
        let more = if is_plain { 1 } else { escaped_chars(c) };
        if count.saturating_add(more) > chars_max {
            return (escaped, count, at);
        }
        count += more;
        match is_plain {
            true => escaped.push(c),
            false => escaped.extend(escape(c)),
        }
    }
    (escaped, count, text.len())
}

/// Characters before the one that is judged, as far as they decide whether it is harmless.
#[derive(Default)]
struct Seen {
    /// The character before, if it is shown as it is.
    last: Option<char>,
    marks: u32,
}

impl Seen {
    /// Returns whether a character is shown as it is: the next one, between the last one and `after`.
    fn is_plain(&mut self, c: char, after: Option<char>) -> bool {
        let is_plain = self.judge(c, after);
        // What was escaped is neither a part of an emoji nor can it carry marks.
        self.last = is_plain.then_some(c);
        is_plain
    }

    fn judge(&mut self, c: char, after: Option<char>) -> bool {
        if matches!(c, ' '..='~') {
            self.marks = 0;
            return true;
        }
        match c {
            // Signs of an emoji are joined by these. Between letters they would be there for nobody to see.
            '\u{200d}' => {
                self.last.is_some_and(is_of_emoji)
                    && after.is_some_and(|after| is_pictograph(after) && is_printable(after))
            }
            '\u{fe0e}' | '\u{fe0f}' => {
                self.last.is_some_and(|last| is_pictograph(last) || matches!(last, '0'..='9' | '#' | '*'))
            }
            _ if is_ignorable(c) => false,
            _ if is_mark(c) => {
                self.marks += 1;
                self.marks <= MARKS_MAX
            }
            _ => {
                self.marks = 0;
                is_space(c) || is_printable(c)
            }
        }
    }
}

/// Returns whether a character is a space that is seen as one. Those that end a line or a paragraph aren't among them.
const fn is_space(c: char) -> bool {
    matches!(c, '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}')
}

/// Returns whether a character is a letter or a mark that is seen as nothing.
const fn is_ignorable(c: char) -> bool {
    matches!(
        c,
        '\u{34f}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{2800}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{ffa0}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// Returns whether a character is a pictograph, or changes how one looks: it is in the ranges that Unicode keeps for them.
const fn is_pictograph(c: char) -> bool {
    matches!(
        c,
        '\u{a9}' | '\u{ae}' | '\u{203c}' | '\u{2049}' | '\u{2122}' | '\u{2139}' | '\u{2190}'..='\u{21ff}'
            | '\u{2300}'..='\u{27bf}' | '\u{2900}'..='\u{297f}' | '\u{2b00}'..='\u{2bff}' | '\u{3030}' | '\u{303d}'
            | '\u{3297}' | '\u{3299}' | '\u{1f000}'..='\u{1faff}'
    )
}

const fn is_of_emoji(c: char) -> bool {
    is_pictograph(c) || c == '\u{fe0f}'
}

/// Returns whether a character is neither a control character, nor of a format, nor private, nor unassigned: what std doesn't escape in the middle of
/// a text.
fn is_printable(c: char) -> bool {
    let mut bytes = [b'a'; 5];
    let length = 1 + c.encode_utf8(&mut bytes[1..]).len();
    std::str::from_utf8(&bytes[..length]).is_ok_and(|text| text.escape_debug().count() == 2)
}

/// Returns whether a character is set on the one before it: what std escapes at the beginning of a text, and nowhere else.
fn is_mark(c: char) -> bool {
    c > '\u{2ff}' && is_printable(c) && c.escape_debug().count() > 1
}

fn escape(c: char) -> impl Iterator<Item = char> {
    let short = match c {
        '\n' => Some("\\n"),
        '\r' => Some("\\r"),
        '\t' => Some("\\t"),
        _ => None,
    };
    let long = c.escape_unicode().filter(move |_| short.is_none());
    short.unwrap_or_default().chars().chain(long)
}

/// Returns how many characters a character becomes at most.
fn escaped_chars(c: char) -> usize {
    if matches!(c, ' '..='~') { 1 } else { escape(c).count() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What no output may hold: by std's own tables, and by name.
    fn is_harmful(c: char) -> bool {
        let named = matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200c}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0d}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}' | '\u{e000}'..='\u{f8ff}');
        c.is_control() || named
    }

    fn check(text: &str, chars_max: usize) {
        let out = shown(text).at_most(chars_max).to_string();
        assert!(!out.contains(is_harmful), "{out:?} of {text:?}");
        assert!(out.chars().count() <= chars_max, "{} of {}: {out:?}", out.chars().count(), text.chars().count());
        assert_eq!(shown(&out).at_most(chars_max).to_string(), out, "showing it twice");
        let mut lines = Lines::default();
        lines.line(text);
        assert_eq!(lines.as_str().matches('\n').count(), 1);
        assert!(!lines.as_str().trim_end_matches('\n').contains(is_harmful), "{lines:?}");
    }

    #[test]
    fn ordinary_text_is_unchanged() {
        let texts = [
            "",
            "plain ASCII with \"quotes\", 'ticks', `code` and C:\\back\\slashes",
            "Größe, Straße, façade, naïve, Ελληνικά, русский, עברית, العربية, हिन्दी, ไทย",
            "u\u{308} decomposed, e\u{301}\u{323}",
            "漢字、かな、한글　全角",
            "1\u{a0}000\u{202f}€",
            "❤️ 👩‍🚀 👨‍👩‍👧‍👦 🇩🇪 👍🏽 1️⃣ ⚖️ ©️ 🏳️‍🌈",
            "∀x∈ℝ: ⌈x⌉ = −⌊−x⌋, α ∧ ¬β → γ ▁▂▃ ░▒▓",
        ];
        for text in texts {
            assert_eq!(shown(text).to_string(), text);
            let json = serde_like(text);
            assert_eq!(harmless_json(&json), json);
        }
    }

    /// A JSON string of a text without control characters.
    fn serde_like(text: &str) -> String {
        format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
    }

    #[test]
    fn what_a_terminal_obeys_or_hides_is_escaped() {
        let cases = [
            ("\u{1b}[31mred\u{1b}[0m", "\\u{1b}[31mred\\u{1b}[0m"),
            ("a\r\nb\tc", "a\\r\\nb\\tc"),
            ("\u{9b}2J\u{7f}\0", "\\u{9b}2J\\u{7f}\\u{0}"),
            ("\u{202e}txt.exe", "\\u{202e}txt.exe"),
            ("pay\u{200d}ments", "pay\\u{200d}ments"),
            ("zero\u{200b}width\u{feff}", "zero\\u{200b}width\\u{feff}"),
            ("line\u{2028}para\u{2029}", "line\\u{2028}para\\u{2029}"),
            ("tag\u{e0041}", "tag\\u{e0041}"),
            ("a\u{fe0f}b", "a\\u{fe0f}b"),
            ("filler\u{3164}", "filler\\u{3164}"),
        ];
        for (text, expected) in cases {
            assert_eq!(shown(text).to_string(), expected);
            check(text, 40);
        }
        let heap = format!("a{}", "\u{300}".repeat(20));
        assert_eq!(shown(&heap).to_string().matches('\u{300}').count(), MARKS_MAX as usize);
    }

    #[test]
    fn long_text_is_cut_in_the_middle_and_says_how_much_is_missing() {
        let name = format!("head{}tail", "x".repeat(200_000));
        let out = shown(&name).to_string();
        assert!(out.starts_with("headxx") && out.ends_with("xxtail"), "{out}");
        let kept = out.matches('x').count();
        assert!(out.contains(&format!("…({} more)…", 200_000 - kept)), "{out}");
        let path = format!("/{}", "d/".repeat(200));
        assert_eq!(shown_path(Path::new(&path)).to_string(), path, "a path isn't cut as early");
        for (text, chars_max) in [("é".repeat(300), 100), ("\u{1b}".repeat(100_000), 41), ("👍".repeat(5_000), 4_096)]
        {
            check(&text, chars_max);
        }
    }

    /// Every character there is, alone and in the company of others.
    #[test]
    fn no_output_holds_what_a_terminal_obeys() {
        let all: Vec<char> = (0..=0x10_ffff).filter_map(char::from_u32).collect();
        for c in &all {
            assert!(!shown(&format!("a{c}b")).to_string().contains(is_harmful), "{c:?}");
        }
        // A sequence without a seed: the same in each run.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap() % below
        };
        let seasoning: Vec<char> = "\u{1b}\n\r\u{200d}\u{fe0f}👍❤\u{202e}\u{300}a1é漢\u{9b}\u{2028}".chars().collect();
        for _ in 0..2_000 {
            let length = next(400);
            let text: String = (0..length)
                .map(|_| if next(3) == 0 { all[next(all.len())] } else { seasoning[next(seasoning.len())] })
                .collect();
            check(&text, 40 + next(300));
        }
    }

    #[test]
    fn json_keeps_the_true_text() {
        let json = "{\"a\u{9b}\u{202e}\u{7f}\u{e0041}\":\"\u{2028}ü👍\"}";
        let out = harmless_json(json);
        assert_eq!(out, "{\"a\\u009b\\u202e\\u007f\\udb40\\udc41\":\"\\u2028ü👍\"}");
    }

    #[test]
    fn toml_keeps_its_lines() {
        let toml = "\"a\u{202e}\" = 1\n[b]\nc = \"\u{9b}\u{e0041}ü👍\"\n";
        assert_eq!(harmless_toml(toml), "\"a\\u202E\" = 1\n[b]\nc = \"\\u009B\\U000E0041ü👍\"\n");
    }

    #[test]
    fn cells_cannot_forge_rows() {
        let mut table = Table::new(["name", "sum"]);
        table.row(["a\nforged  999", "1"]);
        table.row(["bé", "22"]);
        assert_eq!(table.lines().as_str(), "name            sum\na\\nforged  999    1\nbé               22\n");
    }
}
