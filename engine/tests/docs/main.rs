//! The documents, held to what is: their links lead somewhere, their commands run, their figures are the engine's, and their
//! requirements name real tests.

#[path = "../house/tree.rs"]
mod tree;

mod commands;
mod figures;
mod markdown;
mod references;
