//! Nothing but dependencies. Each crate of the workspace has this one as a dependency of its tests, so that `cargo test -p` of any of them
//! builds what is below it with the features that `cargo test --workspace` does, and finds it built: otherwise an edit in one crate would
//! cost another build of Bevy or wasmtime before its tests run.
//!
//! Cargo gives a dependency the features that the packages ask for which are built together. `Cargo.toml` lists what differs, and
//! `engine/tests/house/unified.rs` says what is missing there. What is published has none of it. Cargo's own way,
//! `resolver.feature-unification`, isn't in a stable version yet; when it is, this crate can go.

#![forbid(unsafe_code)]
#![deny(clippy::print_stderr, clippy::print_stdout)]
