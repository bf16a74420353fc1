//! As much of Markdown as the documents use.

use crate::tree::{self, File};

/// A fenced block.
#[derive(Debug, PartialEq, Eq)]
pub struct Block {
    /// The line of its fence, from 1.
    pub line: usize,
    /// What stands behind the opening fence: a language, then options.
    pub info: String,
    /// What is between the fences.
    pub text: String,
}

/// The documents at the root, but for the changelog, which names what is gone, and everything below docs/.
pub fn documents() -> Vec<File> {
    let ours =
        |path: &str| ["README.md", "CONTRIBUTING.md", "SECURITY.md"].contains(&path) || path.starts_with("docs/");
    let documents: Vec<_> = tree::files().into_iter().filter(|file| file.is("md") && ours(&file.path)).collect();
    assert!(documents.iter().any(|file| file.path == "README.md"), "the README is read");
    documents
}

/// The fenced blocks of a document, and its text without them (their lines are empty).
pub fn split(text: &str) -> (Vec<Block>, String) {
    let (mut blocks, mut prose) = (Vec::new(), String::new());
    let mut open: Option<Block> = None;
    for (at, line) in text.lines().enumerate() {
        let fence = line.trim_start().strip_prefix("```");
        match (&mut open, fence) {
            (None, Some(info)) => {
                open = Some(Block { line: at + 1, info: info.trim().to_owned(), text: String::new() });
            }
            (None, None) => prose.push_str(line),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
        }
        prose.push('\n');
    }
    assert!(open.is_none(), "a fenced block isn't closed: {open:?}");
    (blocks, prose)
}

/// The pieces of code in a line of prose: what stands between backticks.
pub fn code_spans(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// The anchors of a document's headings, as GitHub makes them.
pub fn anchors(text: &str) -> Vec<String> {
    let (_, prose) = split(text);
    let headings = prose.lines().filter_map(|line| Some(line.strip_prefix('#')?.trim_start_matches('#').trim()));
    headings.map(anchor).collect()
}

fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    kept.chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

#[test]
fn blocks_and_prose_are_told_apart() {
    let (blocks, prose) = split("# A `b` C\ntext\n```sh no-test: why\nls\n```\nend\n");
    assert_eq!(blocks, [Block { line: 3, info: "sh no-test: why".to_owned(), text: "ls\n".to_owned() }]);
    assert_eq!(prose, "# A `b` C\ntext\n\n\n\nend\n");
    assert_eq!(anchors("## What's *in* a_b, 2\n```\n# no heading\n```\n"), ["whats-in-a_b-2"]);
    assert_eq!(code_spans("a `b` c `d e`").collect::<Vec<_>>(), ["b", "d e"]);
}
