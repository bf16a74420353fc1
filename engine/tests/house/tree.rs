//! The files of the repository. Build outputs, runs and other people's packages aside.

use std::fs;
use std::path::{Path, PathBuf};

/// Folders that aren't the repository's, wherever they lie.
const SKIPPED: [&str; 5] = ["target", "runs", "node_modules", "__pycache__", "venv"];
/// Folders that are, although their names begin with a dot.
const DOTTED: [&str; 3] = [".ci", ".cargo", ".config"];

/// A file of the repository.
pub struct File {
    /// From the root, with slashes on every platform.
    pub path: String,
    /// What it holds.
    pub bytes: Vec<u8>,
}

impl File {
    /// The file as text; bytes that aren't UTF-8 are replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// Whether its name ends so.
    pub fn is(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|own| own == extension)
    }
}

/// The root of the repository.
pub fn root() -> PathBuf {
    let engine = Path::new(env!("CARGO_MANIFEST_DIR"));
    engine.parent().expect("the engine lies in the repository").to_path_buf()
}

/// Every file of the repository, sorted by path.
pub fn files() -> Vec<File> {
    let root = root();
    let mut files = Vec::new();
    walk(&root, &root, &mut files);
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

fn walk(root: &Path, folder: &Path, files: &mut Vec<File>) {
    for entry in fs::read_dir(folder).expect("the folder can be read") {
        let entry = entry.expect("the folder can be read");
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type().expect("the entry can be read");
        if kind.is_dir() {
            let hidden = name.starts_with('.') && !DOTTED.contains(&name.as_str());
            if !hidden && !SKIPPED.contains(&name.as_str()) {
                walk(root, &entry.path(), files);
            }
        } else if kind.is_file() && !(folder == root && name == ".git") {
            let path = entry.path();
            let relative = path.strip_prefix(root).expect("it lies in the root");
            let path =
                relative.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/");
            files.push(File { path, bytes: fs::read(entry.path()).expect("the file can be read") });
        }
    }
}
