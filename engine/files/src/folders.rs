//! Folders of the engine: made so that nobody else may write them, and looked at for who may.

use std::fs::{DirBuilder, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use wasm_engine_components::text::shown_path;

/// Makes a folder, and those above it, where they aren't there. Those that are made are their owner's alone.
///
/// # Errors
/// It can't be made. If a file is in its place, or in that of a folder above it, the error names the file.
pub fn make_private_folder(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    make(&mut builder, folder)
}

/// Makes a folder, and those above it, where they aren't there.
///
/// # Errors
/// As [`make_private_folder`].
pub fn make_folder(folder: &Path) -> io::Result<()> {
    make(&mut DirBuilder::new(), folder)
}

fn make(builder: &mut DirBuilder, folder: &Path) -> io::Result<()> {
    builder.recursive(true).create(folder).map_err(|error| in_the_way(folder).unwrap_or(error))
}

/// Returns the error that a file is where a folder should be, if there is one. It has the kind `NotADirectory`.
fn in_the_way(folder: &Path) -> Option<io::Error> {
    let there = folder.ancestors().find(|path| path.symlink_metadata().is_ok())?;
    let what = || format!("{} is no folder: move it away, or name another folder", shown_path(there));
    (!there.is_dir()).then(|| io::Error::new(io::ErrorKind::NotADirectory, what()))
}

/// Returns in words who besides the user and root may write a file or a folder; `None` where nobody may.
///
/// A group that is the user's own isn't told from others: it may have got members since, and if there are access control lists, the bits of the
/// group are their mask, whoever is in them.
#[cfg(unix)]
pub(crate) fn others_may_write(metadata: &Metadata) -> Option<&'static str> {
    use std::os::unix::fs::MetadataExt as _;

    if is_of_another(metadata) {
        return Some(ANOTHER_USER);
    }
    match metadata.mode() & 0o022 {
        0 => None,
        0o020 => Some("its group"),
        _ => Some("anybody"),
    }
}

#[cfg(unix)]
const ANOTHER_USER: &str = "another user, whose it is,";

/// Returns whether something belongs neither to the user nor to root.
#[cfg(unix)]
fn is_of_another(metadata: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;

    // SAFETY: the call only returns a number, and can't fail.
    let user = unsafe { libc::geteuid() };
    ![0, user].contains(&metadata.uid())
}

/// Returns who may turn a symbolic link; `None` where it is none, or nobody else's. Its target is looked at by itself.
#[cfg(unix)]
fn others_may_turn(path: &Path) -> Option<&'static str> {
    let link = path.symlink_metadata().ok().filter(Metadata::is_symlink)?;
    is_of_another(&link).then_some(ANOTHER_USER)
}

#[cfg(not(unix))]
const fn others_may_turn(_: &Path) -> Option<&'static str> {
    None
}

#[cfg(not(unix))]
pub(crate) const fn others_may_write(_: &Metadata) -> Option<&'static str> {
    None
}

/// Returns whether others may make files in a folder, but can't remove or rename those of others.
#[cfg(unix)]
fn is_sticky(metadata: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;

    metadata.is_dir() && metadata.mode() & 0o1000 != 0 && !is_of_another(metadata)
}

#[cfg(not(unix))]
const fn is_sticky(_: &Metadata) -> bool {
    false
}

/// Returns the first of a file and the folders above it, up to the folder `top`, that others may write, and who. Whoever may could put another
/// file in its place. A folder with the sticky bit counts as one that they may not write. What isn't there isn't looked at.
///
/// # Errors
/// One of them can't be looked at.
pub fn open_to_others(file: &Path, top: &Path) -> io::Result<Option<(PathBuf, &'static str)>> {
    for path in file.ancestors().take_while(|path| path.starts_with(top)) {
        let metadata = match std::fs::metadata(path) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => continue,
            metadata => metadata?,
        };
        let who = others_may_write(&metadata).filter(|_| !is_sticky(&metadata));
        if let Some(who) = who.or_else(|| others_may_turn(path)) {
            return Ok(Some((path.to_path_buf(), who)));
        }
    }
    Ok(None)
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    use super::*;

    #[test]
    fn a_file_in_the_place_of_a_folder_is_named_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        for path in [file.clone(), file.join("a"), file.join("a/b")] {
            for made in [make_folder(&path), make_private_folder(&path)] {
                let error = made.unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::NotADirectory);
                let told = format!("{} is no folder: move it away, or name another folder", shown_path(&file));
                assert_eq!(error.to_string(), told);
            }
        }
        let private = folder.path().join("a/b");
        make_private_folder(&private).unwrap();
        make_private_folder(&private).unwrap();
        for path in [private.parent().unwrap(), &private] {
            assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o700);
        }
    }

    #[test]
    fn what_others_may_write_is_found_up_to_the_top() {
        let above = tempfile::tempdir().unwrap();
        let top = above.path().join("top");
        let (inner, file) = (top.join("inner"), top.join("inner/file"));
        make_private_folder(&inner).unwrap();
        std::fs::write(&file, "").unwrap();
        let found = |paths: [(&Path, u32); 4]| {
            paths.iter().for_each(|(path, mode)| set_permissions(path, Permissions::from_mode(*mode)).unwrap());
            open_to_others(&file, &top).unwrap()
        };
        let modes = |above_mode, top_mode, inner_mode, file_mode| {
            found([(above.path(), above_mode), (&top, top_mode), (&inner, inner_mode), (&file, file_mode)])
        };
        assert_eq!(modes(0o777, 0o755, 0o700, 0o644), None, "above the top, nobody looks");
        assert_eq!(modes(0o700, 0o1777, 0o1777, 0o644), None, "nobody can replace what isn't theirs");
        assert_eq!(modes(0o700, 0o777, 0o700, 0o644), Some((top.clone(), "anybody")));
        assert_eq!(modes(0o700, 0o700, 0o777, 0o644), Some((inner.clone(), "anybody")));
        assert_eq!(modes(0o700, 0o700, 0o700, 0o666), Some((file.clone(), "anybody")));
        assert_eq!(modes(0o700, 0o775, 0o700, 0o644), Some((top.clone(), "its group")));
        modes(0o700, 0o1777, 0o700, 0o644);
        let (aside, link) = (top.join("aside"), inner.clone());
        std::fs::rename(&inner, &aside).unwrap();
        std::os::unix::fs::symlink(&aside, &link).unwrap();
        assert_eq!(open_to_others(&file, &top).unwrap(), None, "the user's own link");
        // Only root can give a link to somebody else.
        if std::os::unix::fs::lchown(&link, Some(12_345), None).is_ok()
            && is_of_another(&link.symlink_metadata().unwrap())
        {
            assert_eq!(open_to_others(&file, &top).unwrap(), Some((link.clone(), ANOTHER_USER)), "it may be turned");
        }
        std::fs::remove_file(&link).unwrap();
        std::fs::rename(&aside, &inner).unwrap();
        std::fs::remove_file(&file).unwrap();
        set_permissions(&top, Permissions::from_mode(0o777)).unwrap();
        assert_eq!(open_to_others(&file, &top).unwrap(), Some((top.clone(), "anybody")), "the file isn't there yet");
    }
}
