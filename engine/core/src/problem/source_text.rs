//! The text of a file in which something is wrong, for a printer of diagnostics that shows the place.

use std::path::Path;
use std::sync::Arc;

use miette::{LabeledSpan, MietteError, MietteSpanContents, SourceCode, SourceOffset, SourceSpan, SpanContents};
use wasm_engine_components::text::{harmless_lines, shown_path};

/// The text of a file. All problems of the file share it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceText(Arc<Text>);

#[derive(Debug, PartialEq, Eq)]
struct Text {
    name: String,
    /// Harmless to a terminal.
    lines: String,
    /// The number of the first line in the file, from 1.
    first_line: usize,
}

impl SourceText {
    /// The whole text of a file.
    pub fn new(file: &Path, text: &str) -> Self {
        Self::from_line(file, text, 1)
    }

    /// A part of a file, whose first line has this number in it, from 1.
    pub fn from_line(file: &Path, text: &str, first_line: usize) -> Self {
        let (name, lines) = (shown_path(file).to_string(), harmless_lines(&text.replace("\r\n", "\n")).into_owned());
        Self(Arc::new(Text { name, lines, first_line: first_line.max(1) }))
    }

    /// Labels the word that begins at a place; without a column, all of the line.
    pub(super) fn label(&self, line: usize, column: Option<usize>, label: Option<String>) -> LabeledSpan {
        let Text { lines, first_line, .. } = &*self.0;
        let at = SourceOffset::from_location(lines, line.saturating_sub(first_line - 1), column.unwrap_or(1));
        let rest = lines[at.offset()..].lines().next().unwrap_or_default();
        let length = if column.is_some() { word_bytes(rest) } else { rest.len() };
        LabeledSpan::new_primary_with_span(label, SourceSpan::new(at, length))
    }
}

/// Returns the size of the word at the start of a text, in bytes: a string in quotes, or everything up to a space or a sign of TOML or JSON.
fn word_bytes(line: &str) -> usize {
    let mut chars = line.char_indices();
    let Some((_, first)) = chars.next() else { return 0 };
    if matches!(first, '"' | '\'') {
        let mut is_escaped = false;
        for (at, c) in chars {
            if c == first && !is_escaped {
                return at + c.len_utf8();
            }
            is_escaped = first == '"' && c == '\\' && !is_escaped;
        }
        return line.len();
    }
    let mut ends = chars.filter(|(_, c)| c.is_whitespace() || matches!(c, ',' | '=' | ':' | ']' | '}' | '#'));
    ends.next().map_or(line.len(), |(at, _)| at)
}

impl SourceCode for SourceText {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        context_lines_before: usize,
        context_lines_after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let Text { name, lines, first_line } = &*self.0;
        let found = lines.as_str().read_span(span, context_lines_before, context_lines_after)?;
        Ok(Box::new(MietteSpanContents::new_named(
            name.clone(),
            found.data(),
            *found.span(),
            found.line() + first_line - 1,
            found.column(),
            found.line_count(),
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the text that a label covers.
    fn covered(text: &SourceText, line: usize, column: Option<usize>) -> String {
        let label = text.label(line, column, None);
        let found = text.read_span(label.inner(), 0, 0).unwrap();
        assert_eq!((found.name(), found.line()), (Some("s.toml"), line - 1));
        String::from_utf8(found.data()[..label.len()].to_vec()).unwrap()
    }

    #[test]
    fn a_label_covers_the_word_at_its_place() {
        let text =
            SourceText::new(Path::new("s.toml"), "frames = 12 # so many\r\nnämé = \"a \\\" b\" # c\nlist = [1,2]\n");
        assert_eq!(covered(&text, 1, Some(1)), "frames");
        assert_eq!(covered(&text, 1, Some(10)), "12");
        assert_eq!(covered(&text, 1, None), "frames = 12 # so many");
        assert_eq!(covered(&text, 2, Some(8)), "\"a \\\" b\"");
        assert_eq!(covered(&text, 3, Some(9)), "1");
        let later = SourceText::from_line(Path::new("s.toml"), "{\"frame\":x}", 700);
        assert_eq!(covered(&later, 700, Some(2)), "\"frame\"");
    }

    #[test]
    fn no_place_is_outside_and_nothing_reaches_a_terminal_as_it_is() {
        let text = SourceText::new(Path::new("a\u{1b}"), "a = \"\u{1b}[2J\u{202e}\"\n");
        for (line, column) in [(0, Some(0)), (1, Some(500)), (9, Some(9)), (9, None), (usize::MAX, None)] {
            let label = text.label(line, column, None);
            let found = text.read_span(label.inner(), 1, 1).unwrap();
            let shown = format!("{}{}", String::from_utf8_lossy(found.data()), found.name().unwrap());
            assert!(!shown.contains(['\u{1b}', '\u{202e}']), "{shown:?}");
        }
        // There is no line 0: it counts as the first.
        assert_eq!(covered(&SourceText::from_line(Path::new("s.toml"), "a = 1", 0), 1, Some(1)), "a");
        let empty = SourceText::new(Path::new("s.toml"), "");
        assert_eq!(empty.label(1, Some(1), None).len(), 0);
    }
}
