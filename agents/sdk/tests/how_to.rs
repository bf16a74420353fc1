//! docs/how-to/write-an-agent.md shows the sample agent `counter` and its scenario as they are.

#![allow(missing_docs)]

fn read(path: &str) -> String {
    let path = format!("{}/../../{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The blocks of one language, in order.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let blocks = text.split("\n```").filter_map(|block| block.strip_prefix(&format!("{language}\n")));
    blocks.map(|block| format!("{block}\n")).collect()
}

#[test]
fn the_how_to_shows_the_sample() {
    let text = read("docs/how-to/write-an-agent.md");
    assert_eq!(blocks(&text, "rust").join("\n"), read("agents/samples/counter/src/lib.rs"));
}

#[test]
fn the_how_to_shows_the_scenario() {
    let text = read("docs/how-to/write-an-agent.md");
    let scenario = read("agents/scenarios/counter.toml")
        .replace("../samples/wasm/counter.wasm", "target/wasm32-unknown-unknown/release/counter.wasm");
    assert_eq!(blocks(&text, "toml").pop(), Some(scenario));
}

#[test]
fn the_how_to_links_agents_as_the_samples_do() {
    let text = read("docs/how-to/write-an-agent.md");
    let config = read("agents/samples/.cargo/config.toml");
    let flags = config.lines().find(|line| line.starts_with("rustflags")).unwrap_or_default();
    assert!(!flags.is_empty() && text.contains(flags), "{flags}");
}

/// Blocks that say of which file they are an excerpt are one, word for word, but for the indentation of the whole.
#[test]
fn the_how_to_s_excerpts_are_from_the_samples() {
    let text = read("docs/how-to/write-an-agent.md");
    let mut found = 0;
    let excerpts = |language| text.split(&format!("\n```{language} excerpt of ")).skip(1).collect::<Vec<_>>();
    for block in [excerpts("rust"), excerpts("toml")].concat() {
        let (path, rest) = block.split_once('\n').expect("a block has lines");
        let excerpt = rest.split("\n```").next().unwrap_or_default();
        let source = read(path);
        let indented = |by: usize| {
            let lines = excerpt.lines().map(|line| format!("{:by$}{line}", "").trim_end().to_owned());
            format!("\n{}\n", lines.collect::<Vec<_>>().join("\n"))
        };
        assert!([0, 4, 8, 12].map(indented).iter().any(|lines| source.contains(lines)), "{path} hasn't:\n{excerpt}");
        found += 1;
    }
    assert!(found > 0, "there are excerpts");
}
