//! Text with a checksum: its last line is a comment, such as in TOML, with the checksum of everything before.
//!
//! For files of a run directory that say what was run, such as the manifest: if one was changed, a replay would be wrong instead of failing.

use std::path::Path;

use xxhash_rust::xxh3::xxh3_128;

use crate::problem::Problem;

/// Help for a file that was changed.
pub(super) const PUT_BACK: &str = "take the file from a copy of the run directory; it isn't meant to be edited";

const LINE_START: &str = "# checksum xxh3-128 ";

/// Returns the text with its checksum. It ends its last line first, if that is open.
pub fn seal_text(text: &str) -> String {
    let mut sealed = text.to_owned();
    if !sealed.is_empty() && !sealed.ends_with('\n') {
        sealed.push('\n');
    }
    let line = checksum_line(&sealed);
    sealed.push_str(&line);
    sealed
}

/// Returns the text of a file without its checksum.
///
/// # Errors
/// Fails if the checksum is missing or wrong. The problem names the file.
pub fn open_text<'a>(path: &Path, text: &'a str) -> Result<&'a str, Problem> {
    let refused = |what: &str| Err(Problem::new(what).file(path).help(PUT_BACK));
    let last_line = text.strip_suffix('\n').unwrap_or(text).rfind('\n').map_or(0, |end| end + 1);
    let (body, line) = text.split_at(last_line);
    if !line.starts_with(LINE_START) {
        return refused("its last line isn't a checksum: it was changed, damaged or cut short");
    }
    // As text, so that no other way to write the same number passes.
    if line != checksum_line(body) {
        return refused("doesn't match the checksum in its last line: it was changed or damaged");
    }
    Ok(body)
}

fn checksum_line(body: &str) -> String {
    format!("{LINE_START}{:032x}\n", xxh3_128(body.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(text: &str) -> Result<&str, Problem> {
        open_text(Path::new("run/manifest.toml"), text)
    }

    #[test]
    fn sealed_text_opens_again() {
        for text in ["", "a = 1\n", "a = \"é\"\n# b\n", "\n\n", "# checksum xxh3-128 00\n"] {
            let sealed = seal_text(text);
            assert_eq!(opened(&sealed), Ok(text));
            assert_eq!(opened(&seal_text(&sealed)), Ok(sealed.as_str()), "sealed twice");
        }
        assert_eq!(opened(&seal_text("a = 1")), Ok("a = 1\n"));
        let table: toml::Table = seal_text("a = 1\n").parse().unwrap();
        assert_eq!(table["a"].as_integer(), Some(1));
    }

    #[test]
    fn every_changed_byte_and_every_cut_is_refused() {
        let sealed = seal_text("format = 1\nengine = \"0.1.0\"\nname = \"Zoë\"\n\n[params]\nagents = 20\n");
        for at in 0..sealed.len() {
            for flip in 1..=255 {
                let mut bytes = sealed.clone().into_bytes();
                bytes[at] ^= flip;
                // What isn't text any more isn't even read as one.
                let Ok(text) = String::from_utf8(bytes) else { continue };
                let problem = format!("{:#}", opened(&text).expect_err("a flipped byte"));
                assert!(problem.starts_with("run/manifest.toml: ") && problem.contains("damaged"), "{problem}");
            }
            if sealed.is_char_boundary(at) {
                assert!(opened(&sealed[..at]).is_err(), "cut at {at}");
            }
        }
        assert!(opened(&sealed.replace('\n', "\r\n")).is_err());
        assert!(opened(&format!("{sealed}\n")).is_err());
        assert!(opened(&format!("{sealed}{sealed}")).is_err());
        assert_eq!(
            format!("{:#}", opened("").unwrap_err()),
            "run/manifest.toml: its last line isn't a checksum: it was changed, damaged or cut short; help: take the file \
             from a copy of the run directory; it isn't meant to be edited"
        );
    }
}
