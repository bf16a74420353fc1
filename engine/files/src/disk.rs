//! The free room of a disk.

use std::path::Path;

/// Returns how many bytes of a folder's disk are free for this user, and how many it has. `None` if the system doesn't say.
#[cfg(unix)]
pub fn space(folder: &Path) -> Option<(u64, u64)> {
    use std::os::unix::ffi::OsStrExt as _;

    let path = std::ffi::CString::new(folder.as_os_str().as_bytes()).ok()?;
    let mut found = core::mem::MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: the path ends with a zero, and `found` has room for the result.
    if unsafe { libc::statvfs(path.as_ptr(), found.as_mut_ptr()) } != 0 {
        return None;
    }
    // SAFETY: the call succeeded, so it has filled `found`.
    let found = unsafe { found.assume_init() };
    #[allow(clippy::unnecessary_cast, reason = "the types differ between systems")]
    let [block, free, all] = [found.f_frsize as u64, found.f_bavail as u64, found.f_blocks as u64];
    Some((free.saturating_mul(block), all.saturating_mul(block)))
}

/// Returns `None`, because this system doesn't say.
#[cfg(not(unix))]
pub const fn space(_folder: &Path) -> Option<(u64, u64)> {
    None
}
