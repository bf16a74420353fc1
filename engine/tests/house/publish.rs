//! What a crate must have before strangers can take it.

use crate::dependencies::members;
use crate::tree;

/// The oldest Rust that must do.
fn oldest_rust() -> String {
    let manifest = std::fs::read_to_string(tree::root().join("Cargo.toml")).expect("the workspace has a manifest");
    let manifest: toml::Value = toml::from_str(&manifest).expect("a manifest is TOML");
    manifest["workspace"]["package"]["rust-version"].as_str().expect("it is stated").to_owned()
}

/// The versions of Rust that a text names.
fn named_rust(text: &str) -> Vec<&str> {
    let after = text.split("Rust ").skip(1).map(|rest| rest.split(|c: char| !c.is_ascii_digit() && c != '.').next());
    after.flatten().map(|version| version.trim_end_matches('.')).filter(|version| !version.is_empty()).collect()
}

#[test]
fn every_crate_states_the_oldest_rust_and_the_documents_name_it() {
    assert_eq!(named_rust("Rust 1.95 or newer. In Rust, Rust 2.0."), ["1.95", "2.0"]);

    let oldest = oldest_rust();
    for member in members("Cargo.toml") {
        assert_eq!(member["rust_version"].as_str(), Some(oldest.as_str()), "rust-version of {}", member["name"]);
    }
    for path in ["README.md", "CONTRIBUTING.md", ".ci/run"] {
        let text = std::fs::read_to_string(tree::root().join(path)).expect("it is there");
        let named = named_rust(&text);
        assert!(!named.is_empty() && named.iter().all(|version| *version == oldest), "{path} names Rust {named:?}");
    }
}
