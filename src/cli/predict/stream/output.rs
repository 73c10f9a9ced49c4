//! What a stream leaves behind: a line for each line of the input, and what has failed in a file beside it.
//!
//! Line N of the output belongs to line N of the input: a prediction, `null` if that failed, or nothing for a blank
//! line. So the number of its lines says where to go on. A failure is written before its `null`, and the end of a
//! line with the line, so that whenever the program ends no line is lost or there twice.
//!
//! The disk has all of it for sure only at the end of the stream. A machine that ends before may take lines along,
//! which are the last ones of the output mostly and are then asked for again; a file system that keeps no order
//! between files may have a `null` whose failure is gone.

use std::borrow::Cow;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufRead as _, BufReader, BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The two files.
#[derive(Debug)]
pub(super) struct Output {
    path: PathBuf,
    lines: BufWriter<File>,
    /// Whether they are there afterwards.
    is_file: bool,
    failures: Failures,
    /// How many lines there are.
    written: u64,
}

#[derive(Debug)]
struct Failures {
    path: PathBuf,
    /// Made when the first one is written.
    file: Option<File>,
    count: u64,
}

/// A line that failed.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Failure<'a> {
    /// Its number, from 1 on.
    line: u64,
    /// Why.
    error: Cow<'a, str>,
    /// What the input has there.
    input: Cow<'a, str>,
}

/// How the line of a failure begins, by which half of one is known.
const BEGINNING: &[u8] = b"{\"line\":";

/// What to do with an output that is there already.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Existing {
    Refuse,
    Replace,
    Resume,
}

impl Output {
    /// Opens the files.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` if they are there and are not to be, or cannot be opened.
    pub(super) fn open(path: &Path, failures: PathBuf, existing: Existing) -> Result<Self> {
        let cannot = |path: &Path, error: &std::io::Error| {
            Error::invalid_argument(format!("Cannot write {}: {error}", path.display()))
        };
        let is_file = may_be_file(path);
        if !is_file && existing == Existing::Resume {
            let path = path.display();
            return Err(Error::invalid_argument(format!(
                "{path} keeps no lines that --resume could go on behind"
            )));
        }
        let mut options = OpenOptions::new();
        // Who could read from a pipe would never learn that all others who could have gone.
        options.read(is_file).write(true).create(is_file).truncate(false);
        let mut file = options.open(path).map_err(|error| cannot(path, &error))?;
        // Any number of programs may write to a device.
        match if is_file { file.try_lock() } else { Ok(()) } {
            Err(TryLockError::WouldBlock) => {
                let path = path.display();
                return Err(Error::invalid_argument(format!("Another program is writing {path}")));
            }
            // Not every file system has locks.
            Ok(()) | Err(TryLockError::Error(_)) => {}
        }
        let length = file.metadata().map_err(|error| cannot(path, &error))?.len();
        let is_used = |path: &Path| std::fs::metadata(path).is_ok_and(|metadata| metadata.len() > 0);
        let used =
            if length > 0 { Some(path) } else { Some(failures.as_path()).filter(|path| is_used(path)) };
        if let (Existing::Refuse, Some(used)) = (existing, used) {
            return Err(Error::invalid_argument(format!(
                "{} is there already: --resume goes on with it, --overwrite replaces it",
                used.display()
            )));
        }
        let written = match existing {
            Existing::Resume => keep_lines(&mut file),
            Existing::Refuse | Existing::Replace => empty(&file).map(|()| 0),
        };
        let written = written.map_err(|error| cannot(path, &error))?;
        let failures = Failures::open(failures, written, existing);
        let failures = failures.map_err(|(path, error)| cannot(&path, &error))?;
        let lines = BufWriter::with_capacity(256 << 10, file);
        Ok(Self { path: path.to_owned(), lines, is_file, failures, written })
    }

    /// How many lines there are.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Whether they are there for somebody who goes on behind them.
    pub(super) fn keeps_lines(&self) -> bool {
        self.is_file
    }

    /// How many of them have failed.
    pub(super) fn failed(&self) -> u64 {
        self.failures.count
    }

    /// Where the failures are.
    pub(super) fn failures(&self) -> &Path {
        &self.failures.path
    }

    /// Writes the answer to the next line.
    pub(super) fn put(&mut self, line: &[u8]) -> Result<()> {
        let written = self.lines.write_all(line).and_then(|()| self.lines.write_all(b"\n"));
        written.map_err(|error| fails(&self.path, &error))?;
        self.written += 1;
        Ok(())
    }

    /// Writes that the next line has failed.
    pub(super) fn fail(&mut self, error: &str, input: &[u8]) -> Result<()> {
        let input = String::from_utf8_lossy(input);
        let failure = Failure { line: self.written + 1, error: Cow::Borrowed(error), input };
        self.failures.write(&failure).map_err(|error| fails(&self.failures.path, &error))?;
        self.put(b"null")
    }

    /// Has the system know what is written.
    pub(super) fn flush(&mut self) -> Result<()> {
        self.lines.flush().map_err(|error| fails(&self.path, &error))
    }

    /// Has the disk know it.
    pub(super) fn sync(&mut self) -> Result<()> {
        if let Some(file) = &self.failures.file {
            let synced = unless_unsupported(file.sync_data());
            synced.map_err(|error| fails(&self.failures.path, &error))?;
        }
        self.flush()?;
        unless_unsupported(self.lines.get_ref().sync_data()).map_err(|error| fails(&self.path, &error))
    }
}

/// Whether it is a file or nothing yet, and not a pipe or a device, which keep nothing that could be cut off or read
/// again.
pub(super) fn may_be_file(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file()) || !path.exists()
}

/// Has nothing in a file; a pipe or a device has nothing, and cannot be cut.
fn empty(file: &File) -> std::io::Result<()> {
    if file.metadata()?.len() > 0 { file.set_len(0) } else { Ok(()) }
}

/// A pipe has no disk.
fn unless_unsupported(result: std::io::Result<()>) -> std::io::Result<()> {
    match result {
        Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => Ok(()),
        result => result,
    }
}

#[cold]
fn fails(path: &Path, error: &std::io::Error) -> Error {
    Error::unavailable(format!("Cannot write {}: {error}", path.display()))
}

/// Cuts off what is behind the last end of a line, and counts the lines.
fn keep_lines(file: &mut File) -> std::io::Result<u64> {
    let (mut lines, mut at, mut end) = (0, 0, 0);
    let mut piece = vec![0; 1 << 20];
    loop {
        let length = file.read(&mut piece)?;
        let Some(read) = piece.get(..length).filter(|read| !read.is_empty()) else { break };
        lines += memchr::memchr_iter(b'\n', read).count() as u64;
        if let Some(last) = memchr::memrchr(b'\n', read) {
            end = at + last as u64 + 1;
        }
        at += length as u64;
    }
    file.set_len(end)?;
    file.seek(SeekFrom::Start(end))?;
    Ok(lines)
}

impl Failures {
    /// Keeps the failures of the first lines, which the output has, too.
    fn open(path: PathBuf, lines: u64, existing: Existing) -> Result<Self, (PathBuf, std::io::Error)> {
        let is_file = may_be_file(&path);
        let file = match OpenOptions::new().read(is_file).write(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self { path, file: None, count: 0 });
            }
            Err(error) => return Err((path, error)),
        };
        let kept = match existing {
            Existing::Resume if is_file => keep_failures(&file, lines),
            _ => empty(&file).map(|()| 0),
        };
        match kept {
            Ok(count) => Ok(Self { path, file: Some(file), count }),
            Err(error) => Err((path, error)),
        }
    }

    fn write(&mut self, failure: &Failure<'_>) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(failure)?;
        line.push(b'\n');
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(OpenOptions::new().write(true).create(true).truncate(true).open(&self.path)?),
        };
        file.write_all(&line)?;
        self.count += 1;
        Ok(())
    }
}

/// Cuts off the failures behind those of the first lines, and what is half of one, and counts what is left. A file
/// with something else in it is left alone: it was named by mistake.
fn keep_failures(mut file: &File, lines: u64) -> std::io::Result<u64> {
    let mut reader = BufReader::new(file);
    let (mut count, mut at, mut end) = (0, 0, 0);
    let mut line = Vec::new();
    loop {
        line.clear();
        at += reader.read_until(b'\n', &mut line)? as u64;
        if !line.ends_with(b"\n") {
            break;
        }
        let failure: Failure<'_> = serde_json::from_slice(&line).map_err(|_| no_failures())?;
        // They are in the order of their lines.
        if failure.line <= lines {
            (count, end) = (count + 1, at);
        }
    }
    let shown = line.len().min(BEGINNING.len());
    if line.get(..shown) != BEGINNING.get(..shown) {
        return Err(no_failures());
    }
    file.set_len(end)?;
    file.seek(SeekFrom::Start(end))?;
    Ok(count)
}

fn no_failures() -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, "it is no file of failures")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_output_says_where_to_go_on() {
        let directory = tempfile::tempdir().unwrap();
        let (path, failures) = (directory.path().join("out"), directory.path().join("failures"));
        let open = |existing| Output::open(&path, failures.clone(), existing);
        let mut output = open(Existing::Refuse).unwrap();
        assert!(!failures.exists());
        output.put(b"1.5").unwrap();
        output.fail("bad", b"\xffx\"").unwrap();
        output.put(b"").unwrap();
        assert!(open(Existing::Resume).unwrap_err().message().starts_with("Another program is writing"));
        output.sync().unwrap();
        drop(output);
        let failure = "{\"line\":2,\"error\":\"bad\",\"input\":\"\u{fffd}x\\\"\"}\n";
        assert_eq!(fs::read_to_string(&path).unwrap(), "1.5\nnull\n\n");
        assert_eq!(fs::read_to_string(&failures).unwrap(), failure);
        assert!(open(Existing::Refuse).unwrap_err().message().contains("--resume"));

        // What was being written when the end came.
        fs::write(&path, "1.5\nnull\n\nnul").unwrap();
        fs::write(&failures, format!("{failure}{{\"line\":4,\"error\":\"\",\"input\":\"\"}}\n{{\"li"))
            .unwrap();
        let mut output = open(Existing::Resume).unwrap();
        assert_eq!((output.written(), output.failed()), (3, 1));
        output.fail("worse", b"4").unwrap();
        drop(output);
        assert_eq!(fs::read_to_string(&path).unwrap(), "1.5\nnull\n\nnull\n");
        let worse = "{\"line\":4,\"error\":\"worse\",\"input\":\"4\"}\n";
        assert_eq!(fs::read_to_string(&failures).unwrap(), format!("{failure}{worse}"));

        // What was never written here is not cut off.
        for other in ["1\n", "{\"line\":9}\n", "a note", &format!("{failure}2,3\n{failure}"), "\n"] {
            fs::write(&failures, other).unwrap();
            let error = open(Existing::Resume).unwrap_err();
            assert!(error.message().ends_with(": it is no file of failures"), "{other:?}: {error}");
            assert_eq!(fs::read_to_string(&failures).unwrap(), other);
        }

        let output = open(Existing::Replace).unwrap();
        assert_eq!((output.written(), output.failed()), (0, 0));
        assert_eq!(fs::read_to_string(&path).unwrap() + &fs::read_to_string(&failures).unwrap(), "");
    }

    #[test]
    fn devices_take_lines_and_keep_none() {
        let open = |existing| Output::open(Path::new("/dev/null"), "/dev/null".into(), existing);
        let mut output = open(Existing::Refuse).unwrap();
        // Others write there at the same time.
        let mut other = open(Existing::Replace).unwrap();
        for output in [&mut output, &mut other] {
            output.put(b"1").unwrap();
            output.fail("bad", b"2").unwrap();
            output.sync().unwrap();
            assert_eq!((output.written(), output.failed()), (2, 1));
        }
        let error = open(Existing::Resume).unwrap_err();
        assert!(error.message().contains("--resume"), "{error}");
    }
}
