//! Whether a file has changed since it was read.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

/// What tells one content of a file from another: its times, its size, and which file it is, since
/// two files may be written within one tick of the clock, or be given the time of another.
pub(crate) type Stamp = (SystemTime, i64, i64, u64, u64);

/// The stamp of a file as it is now; `None` if it is not there.
pub(crate) fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = std::fs::metadata(path).ok()?;
    let (seconds, nanoseconds) = (metadata.ctime(), metadata.ctime_nsec());
    Some((metadata.modified().ok()?, seconds, nanoseconds, metadata.len(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;

    #[test]
    fn a_file_of_the_same_size_and_time_is_another() {
        let directory = tempfile::tempdir().unwrap();
        let (path, new) = (directory.path().join("ca.pem"), directory.path().join("new"));
        fs::write(&path, "one").unwrap();
        let time = fs::metadata(&path).unwrap().modified().unwrap();
        let before = stamp(&path).unwrap();
        assert_eq!(stamp(&path), Some(before));
        fs::write(&new, "two").unwrap();
        File::options().write(true).open(&new).unwrap().set_modified(time).unwrap();
        fs::rename(&new, &path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), time);
        assert_ne!(stamp(&path), Some(before));
    }
}
