//! The documents, held to what is: their links lead somewhere, their commands run, and their requirements name real tests.

#[path = "../house/tree.rs"]
mod tree;

mod commands;
mod markdown;
mod references;
