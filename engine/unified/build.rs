//! Does nothing. With it, Cargo gives those who build scripts and macros the features that `[build-dependencies]` names.

fn main() {}
