//! What a crate must have before strangers can take it.

use std::path::Path;

use serde_json::Value;

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

/// What a package lacks before it can be published.
fn lacks(member: &Value, version: &str) -> Vec<String> {
    let text = |key: &str| member[key].as_str().unwrap_or_default();
    let list = |key: &str| member[key].as_array().map_or(0, Vec::len);
    let mut lacks = Vec::new();
    let mut need = |holds: bool, what: &str| {
        if !holds {
            lacks.push(format!("{}: {what}", text("name")));
        }
    };
    need(text("description").ends_with('.') && text("description").len() <= 150, "a description of a sentence");
    need((1..=5).contains(&list("keywords")), "one to five keywords");
    need((1..=5).contains(&list("categories")), "one to five categories");
    need(!text("readme").is_empty(), "a readme");
    need(text("license") == "MIT OR Apache-2.0", "the licence of the workspace");
    let dependencies = member["dependencies"].as_array().into_iter().flatten();
    for sibling in dependencies.filter(|one| !one["path"].is_null() && one["kind"] != "dev") {
        let wanted = format!("^{version}");
        need(sibling["req"].as_str() == Some(&wanted), &format!("version {version} of {}", sibling["name"]));
    }
    lacks
}

#[test]
fn every_crate_has_what_a_registry_asks_for() {
    let good = serde_json::json!({
        "name": "a", "description": "Does things.", "keywords": ["b"], "categories": ["wasm"], "readme": "README.md",
        "license": "MIT OR Apache-2.0", "dependencies": [{ "name": "c", "path": "/c", "req": "^0.1.0", "kind": null }],
    });
    assert_eq!(lacks(&good, "0.1.0"), [""; 0]);
    assert_eq!(lacks(&good, "0.2.0"), ["a: version 0.2.0 of \"c\""]);
    assert_eq!(lacks(&serde_json::json!({ "name": "a" }), "0.1.0").len(), 5);

    for member in members("Cargo.toml") {
        let version = member["version"].as_str().expect("a package has a version");
        let lacks = lacks(&member, version);
        assert!(lacks.is_empty(), "{}", lacks.join("\n"));
        let manifest = Path::new(member["manifest_path"].as_str().expect("a package has a manifest"));
        for licence in ["LICENSE-APACHE", "LICENSE-MIT"] {
            let own = std::fs::read(manifest.with_file_name(licence)).ok();
            assert_eq!(own, std::fs::read(tree::root().join(licence)).ok(), "{licence} beside {}", manifest.display());
        }
    }
}
