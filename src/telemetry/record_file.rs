//! Files of records as TensorFlow has them (TFRecord): each a length, a checksum of that, the data, and a
//! checksum of those.
//!
//! What is there is never overwritten but for the beginning of a record at the end, which a process left that
//! was killed: with it, nothing behind it could be read.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// What stands around the data: before it the length and its checksum, behind it a checksum.
const BEFORE: u64 = 12;
const BEHIND: u64 = 4;

/// A file that records are appended to.
#[derive(Debug)]
pub(super) struct RecordFile {
    file: BufWriter<File>,
    /// How long it is, with what has not been flushed.
    length: u64,
}

impl RecordFile {
    /// Opens a file, or makes one that only its owner may read: it is for what clients send.
    ///
    /// # Errors
    ///
    /// If it cannot be written, or is a file of something else.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let mut file = options.read(true).append(true).create(true).mode(0o600).open(path)?;
        let (length, whole) = (file.metadata()?.len(), whole_records(&mut file)?);
        if whole < length {
            file.set_len(whole)?;
        }
        Ok(Self { file: BufWriter::new(file), length: whole })
    }

    /// How long it would be with a record of so many bytes.
    pub(super) fn length_with(&self, data: usize) -> u64 {
        (data as u64).saturating_add(self.length + BEFORE + BEHIND)
    }

    /// Appends a record.
    pub(super) fn append(&mut self, data: &[u8]) -> io::Result<()> {
        let size = (data.len() as u64).to_le_bytes();
        self.file.write_all(&size)?;
        self.file.write_all(&checksum(&size).to_le_bytes())?;
        self.file.write_all(data)?;
        self.file.write_all(&checksum(data).to_le_bytes())?;
        self.length = self.length_with(data.len());
        Ok(())
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// How many bytes of whole records a file begins with.
fn whole_records(file: &mut File) -> io::Result<u64> {
    let length = file.metadata()?.len();
    let mut reader = BufReader::new(file);
    let mut whole = 0;
    while length - whole >= BEFORE {
        reader.seek(SeekFrom::Start(whole))?;
        let (mut size, mut sum) = ([0; 8], [0; 4]);
        reader.read_exact(&mut size)?;
        reader.read_exact(&mut sum)?;
        if checksum(&size) != u32::from_le_bytes(sum) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is there and no file of records"));
        }
        let end = u64::from_le_bytes(size).checked_add(whole + BEFORE + BEHIND);
        match end.filter(|end| *end <= length) {
            Some(end) => whole = end,
            None => break,
        }
    }
    Ok(whole)
}

/// The CRC-32C of some bytes, turned around as TensorFlow does it, so that a checksum of checksums is one.
fn checksum(data: &[u8]) -> u32 {
    const MASK: u32 = 0xa282_ead8;
    crc32c::crc32c(data).rotate_right(15).wrapping_add(MASK)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn checksums_are_those_of_the_standard() {
        // The check value of CRC-32C, turned around.
        assert_eq!(checksum(b"123456789"), 0xe306_9283_u32.rotate_right(15).wrapping_add(0xa282_ead8));
        // The beginning of a file with one record of nothing.
        assert_eq!(checksum(&[0; 8]).to_le_bytes(), [0x29, 0x03, 0x98, 0x07]);
    }

    #[test]
    fn records_follow_those_that_are_there_and_a_broken_end_goes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("records");
        let append = |data: &[u8]| {
            let mut file = RecordFile::open(&path).unwrap();
            file.append(data).unwrap();
            file.flush().unwrap();
        };
        append(b"one");
        append(b"");
        let whole = fs::read(&path).unwrap();
        assert_eq!(whole.len(), 2 * 16 + 3);
        append(b"a third one");
        let more = fs::read(&path).unwrap();
        assert_eq!(more[..whole.len()], whole);
        for cut in whole.len()..more.len() {
            fs::write(&path, &more[..cut]).unwrap();
            append(b"a third one");
            assert_eq!(fs::read(&path).unwrap(), more, "{cut}");
        }
    }

    #[test]
    fn other_files_are_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("letter");
        fs::write(&path, "Dear Sir or Madam").unwrap();
        assert!(RecordFile::open(&path).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"Dear Sir or Madam");
        assert!(RecordFile::open(directory.path()).is_err());
    }
}
