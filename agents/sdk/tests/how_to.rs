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
