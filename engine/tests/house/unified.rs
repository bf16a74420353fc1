//! Tests of one crate build what is below it as the workspace's tests do, so that an edit in one crate waits for no other build of Bevy
//! or wasmtime.

use std::collections::BTreeSet;
use std::process::Command;

use crate::dependencies::members;
use crate::tree;

/// What Cargo builds for the tests of some packages: each with its version and its features.
fn built(packages: &[&str]) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--offline", "--edges", "normal,build,dev", "--prefix", "none"])
        .args(["--format", "{p} with {f}"])
        .args(packages)
        .current_dir(tree::root())
        .output()
        .expect("cargo can be run");
    assert!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    rows(&String::from_utf8_lossy(&output.stdout))
}

/// The rows of a list by `cargo tree`, each once. What was listed before has a star.
fn rows(list: &str) -> BTreeSet<String> {
    list.lines()
        .map(|line| line.trim_end_matches("(*)").trim_end().to_owned())
        .filter(|line| !line.is_empty())
        .collect()
}

/// What one package's tests build in another form than those of all.
fn built_again(alone: &BTreeSet<String>, all: &BTreeSet<String>) -> Vec<String> {
    let forms = |row: &String| {
        let package = row.split(" with ").next().unwrap_or_default();
        let forms = all.iter().filter_map(|other| other.strip_prefix(package)?.strip_prefix(" with "));
        forms.collect::<Vec<_>>().join("; or ")
    };
    alone.difference(all).map(|row| format!("{row}; in the workspace with {}", forms(row))).collect()
}

/// Other systems have other dependencies: what is asked of one is enough.
#[cfg(target_os = "linux")]
#[test]
fn tests_of_one_crate_build_no_dependency_otherwise_than_the_workspace_does() {
    let all = rows("a v1 with std\nb v2 with alloc,std\nb v2 with alloc,std (*)\n\nc v1 with");
    assert_eq!(all.len(), 3);
    assert_eq!(built_again(&rows("b v2 with alloc,std\nc v1 with"), &all), [""; 0]);
    assert_eq!(built_again(&rows("b v2 with std"), &all), ["b v2 with std; in the workspace with alloc,std"]);

    let all = built(&["--workspace"]);
    for member in members("Cargo.toml") {
        let name = member["name"].as_str().expect("a package has a name");
        let again = built_again(&built(&["--package", name]), &all);
        assert!(
            again.is_empty(),
            "`cargo test -p {name}` builds anew what engine/unified/Cargo.toml should name:\n{}",
            again.join("\n")
        );
    }
}
