//! Files, for the crates of the engine that touch a disk: reading files that users name, files of the cache folder, unfinished
//! files, hashes, and numbers as people write them. It knows no scenario, no run, no module and no model.

#![deny(clippy::print_stderr, clippy::print_stdout)]

pub mod cache_file;
mod cache_folder;
pub mod cpu;
mod disk;
mod folders;
mod hash;
mod lack;
mod numbers;
mod progress;
mod regular;
pub mod unfinished;

pub use cache_folder::{CACHE_VARIABLE, cache_folder};
pub use disk::space;
pub use folders::{make_folder, make_private_folder, open_to_others};
pub use hash::{ascii, hex, parse_sha256, sha256};
pub use lack::Lack;
pub use numbers::{counted, parse_size, thousands};
pub use progress::LoadProgress;
pub use regular::{
    FileError, FileProblem, no_link, open_regular, read_at_most, read_checked, sha256_of_file, sync_folder,
};
