//! Files that credentials come from: their contents, and whether they have changed since. Blocks:
//! for threads that may wait.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// No such file is longer, in bytes.
const MAX_LEN: u64 = 16 << 20;

/// What was read, and what it looked like then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen(Vec<(PathBuf, Option<Stamp>)>);

/// Detects whether a file is another one, or has other contents.
type Stamp = (u64, u64, i64, i64, u64);

impl Seen {
    /// Reads a file, and remembers it even if it is not there.
    ///
    /// # Errors
    /// It cannot be read, or is far too long for what it should be.
    pub(super) fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        // Before it is read: a change meanwhile is one that comes after.
        self.note(path);
        let mut bytes = Vec::new();
        File::open(path)?
            .take(MAX_LEN + 1)
            .read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_LEN {
            return Err(io::Error::other("it is longer than 16 MiB"));
        }
        Ok(bytes)
    }

    fn note(&mut self, path: &Path) {
        self.0.push((path.to_owned(), stamp(path)));
    }

    /// Whether one of them looks different now.
    pub(super) fn has_changed(&self) -> bool {
        self.0.iter().any(|(path, then)| stamp(path) != *then)
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Follows symbolic links, by which mounted secrets are replaced.
fn stamp(path: &Path) -> Option<Stamp> {
    let file = fs::metadata(path).ok()?;
    Some((
        file.dev(),
        file.ino(),
        file.mtime(),
        file.mtime_nsec(),
        file.size(),
    ))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_file_changes_in_place_by_its_link_and_when_it_comes_or_goes() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("one"), "1").unwrap();
        fs::write(at("two"), "2").unwrap();
        symlink(at("one"), at("link")).unwrap();
        let mut seen = Seen::default();
        assert_eq!(seen.read(&at("link")).unwrap(), b"1");
        assert!(!seen.has_changed());
        symlink(at("two"), at("new")).unwrap();
        fs::rename(at("new"), at("link")).unwrap();
        assert!(seen.has_changed(), "another target");
        let mut seen = Seen::default();
        seen.read(&at("link")).unwrap();
        fs::write(at("two"), "longer").unwrap();
        assert!(seen.has_changed(), "in place");
        let mut seen = Seen::default();
        assert!(seen.read(&at("gone")).is_err());
        assert!(!seen.has_changed());
        fs::write(at("gone"), "here").unwrap();
        assert!(seen.has_changed(), "it has come");
    }
}
