//! Folders and files that nobody else of this machine reads, from the moment they are made: rows beside the log say who opaque ids are.

use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// What others have of a mode.
const OTHERS: u32 = 0o077;

/// A folder for its owner alone, made where it is not there. One that others have a part in is taken from them if it is empty, or known for ours
/// by the file `mark`: nobody loses `/tmp` to a wrong argument.
///
/// # Errors
/// It cannot be made, or others have a part in it and it is not known for ours.
pub fn dir(path: &Path, mark: &str) -> io::Result<()> {
    if !path.is_dir() {
        return DirBuilder::new().recursive(true).mode(0o700).create(path);
    }
    let is_ours = path.join(mark).exists() || std::fs::read_dir(path)?.next().is_none();
    if is_private(path)? || is_ours {
        return narrow(path, 0o700);
    }
    Err(io::Error::other("others have a part in it, and it holds other things: choose a new folder, or `chmod 700` it"))
}

/// A file for its owner alone, made empty where it is not there.
///
/// # Errors
/// As with [`dir`].
pub fn file(path: &Path) -> io::Result<()> {
    drop(OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)?);
    narrow(path, 0o600)
}

fn is_private(path: &Path) -> io::Result<bool> {
    Ok(std::fs::metadata(path)?.permissions().mode() & OTHERS == 0)
}

/// Takes away what others have of it. What was made by an earlier version, or by hand, is put in order.
fn narrow(path: &Path, mode: u32) -> io::Result<()> {
    if is_private(path)? { Ok(()) } else { std::fs::set_permissions(path, Permissions::from_mode(mode)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn what_is_made_is_private_and_what_is_known_is_put_in_order() {
        let root = tempfile::tempdir().unwrap();
        let (new, wide) = (root.path().join("a/b"), root.path().join("wide"));
        dir(&new, "lock").unwrap();
        assert_eq!((mode(&new), mode(&root.path().join("a"))), (0o700, 0o700));
        file(&new.join("lock")).unwrap();
        assert_eq!(mode(&new.join("lock")), 0o600);
        for path in [new.as_path(), &new.join("lock")] {
            std::fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
        }
        dir(&new, "lock").unwrap();
        file(&new.join("lock")).unwrap();
        assert_eq!((mode(&new), mode(&new.join("lock"))), (0o700, 0o600));
        std::fs::create_dir(&wide).unwrap();
        std::fs::write(wide.join("other"), "").unwrap();
        std::fs::set_permissions(&wide, Permissions::from_mode(0o777)).unwrap();
        assert!(dir(&wide, "lock").is_err());
        assert_eq!(mode(&wide), 0o777, "somebody else's folder is left as it is");
    }
}
