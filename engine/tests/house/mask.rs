//! Rust sources with comments and literals blanked, so that rules see code alone. Lengths and lines stay as they were: an
//! offset in the mask is an offset in the source.

/// Blanks comments and the contents of string and character literals.
pub fn mask(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes[at..].starts_with(b"//") => find(bytes, at, b"\n").unwrap_or(bytes.len()),
            b'/' if bytes[at..].starts_with(b"/*") => block_comment_end(bytes, at),
            b'"' => string_end(bytes, at),
            b'r' if is_raw_string(bytes, at) => raw_string_end(bytes, at),
            b'\'' => character_end(source, at),
            _ => at,
        };
        for byte in &mut out[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end.max(at + 1);
    }
    String::from_utf8(out).expect("only whole literals and comments are blanked")
}

/// The line of an offset, from 1.
pub fn line_of(text: &str, offset: usize) -> usize {
    1 + text.as_bytes()[..offset].iter().filter(|&&byte| byte == b'\n').count()
}

/// Offsets at which `word` stands by itself: not as a part of a longer name.
pub fn words<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    text.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let before = text.as_bytes()[..at].last();
        let after = text.as_bytes().get(at + word.len());
        let starts = word.bytes().next().is_some_and(is_name_byte);
        let ends = word.bytes().last().is_some_and(is_name_byte);
        !(starts && before.copied().is_some_and(is_name_byte) || ends && after.copied().is_some_and(is_name_byte))
    })
}

/// Whether a byte can be part of a name.
pub const fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn find(bytes: &[u8], from: usize, what: &[u8]) -> Option<usize> {
    bytes[from..].windows(what.len()).position(|window| window == what).map(|at| from + at)
}

fn block_comment_end(bytes: &[u8], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0_u32);
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    bytes.len()
}

fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

fn is_raw_string(bytes: &[u8], at: usize) -> bool {
    let prefixed = at > 0 && matches!(bytes[at - 1], b'b' | b'c');
    let before = at.checked_sub(1 + usize::from(prefixed)).map(|before| bytes[before]);
    let hashes = bytes[at + 1..].iter().take_while(|&&byte| byte == b'#').count();
    !before.is_some_and(is_name_byte) && bytes.get(at + 1 + hashes) == Some(&b'"')
}

fn raw_string_end(bytes: &[u8], start: usize) -> usize {
    let hashes = bytes[start + 1..].iter().take_while(|&&byte| byte == b'#').count();
    let close = [b"\"".as_slice(), &vec![b'#'; hashes]].concat();
    find(bytes, start + hashes + 2, &close).map_or(bytes.len(), |at| at + close.len())
}

/// The end of a character literal; `start` itself where the quote begins a lifetime.
fn character_end(source: &str, start: usize) -> usize {
    let mut rest = source[start + 1..].char_indices();
    match rest.next() {
        Some((_, '\\')) => {
            // The escaped character may be a quote itself: look for the closing one after it.
            let after = start + 3;
            source[after.min(source.len())..].find('\'').map_or(start, |at| after + at + 1)
        }
        Some(_) => match rest.next() {
            Some((at, '\'')) => start + 1 + at + 1,
            _ => start,
        },
        None => start,
    }
}

#[test]
fn comments_and_literals_are_blanked_and_code_stays() {
    let source = "let a = \"x // y\"; // z \"\n/* b /* c */ d */ let e = r#\"f\"g\"#; 'h: loop { i('\\'', '\"', 'é') }\nfn j<'a>(k: &'a str) {}";
    let masked = mask(source);
    assert_eq!(masked.len(), source.len());
    let code = masked.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(code, "let a = ; let e = ; 'h: loop { i( , , ) } fn j<'a>(k: &'a str) {}");
    assert_eq!(line_of(source, source.find("loop").unwrap()), 2);
}

#[test]
fn a_word_is_not_a_part_of_a_word() {
    assert_eq!(words("Query<A> SubQuery<B> (Query<C>)", "Query<").count(), 2);
    assert_eq!(words("HashMap HashMapLike", "HashMap").count(), 1);
}
