//! Zip archives in memory: their members, inflated within bounds, and archives of stored members.
//!
//! The sizes that an archive announces are added up before any of it is inflated, and a member must inflate to
//! exactly what it announces. So neither members inside of members nor several over the same bytes make more of
//! a body than it may become.

use std::io::Read;

use bytes::Bytes;
use flate2::Crc;
use flate2::bufread::DeflateDecoder;
use rawzip::{CompressionMethod, ZipArchive};

use crate::codec::npy;
use crate::error::{Error, Result};

/// The most members: no signature has as many inputs.
const MOST_MEMBERS: usize = 4096;

/// How much of a deflated member is inflated to find out what it is.
const PEEK: u64 = 10_300;

/// A member of an archive.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: String,
    is_deflated: bool,
    /// Where its data is in the archive.
    start: usize,
    end: usize,
    /// How many bytes it says that it has.
    size: usize,
    checksum: u32,
}

/// The members of an archive which together are no larger than `most`.
///
/// # Errors
///
/// `INVALID_ARGUMENT` for what is no archive or has members that cannot be read, 413 for one that is larger.
pub(super) fn members(body: &Bytes, most: usize) -> Result<Vec<Member>> {
    let broken = |error: rawzip::Error| {
        Error::invalid_argument(format!("The body is no archive that can be read: {error}"))
            .with_source(error)
    };
    let archive = ZipArchive::from_slice(body).map_err(broken)?;
    let mut members = Vec::new();
    let mut inflated = 0_usize;
    let mut entries = archive.entries();
    while let Some(entry) = entries.next_entry().map_err(broken)? {
        let name = String::from_utf8_lossy(entry.file_path().as_ref()).into_owned();
        let is_deflated = match entry.compression_method() {
            CompressionMethod::STORE => false,
            CompressionMethod::DEFLATE => true,
            method => {
                return Err(Error::invalid_argument(format!(
                    "The member {name} is compressed by {method}: stored and deflated ones can be read"
                )));
            }
        };
        if entry.flags().is_encrypted() {
            return Err(Error::invalid_argument(format!("The member {name} is encrypted")));
        }
        let size = usize::try_from(entry.uncompressed_size_hint()).unwrap_or(usize::MAX);
        inflated = inflated.saturating_add(size);
        if inflated > most {
            return Err(Error::payload_too_large(format!(
                "The members of the archive inflate to more than the {most} bytes that one of its size may have"
            )));
        }
        if members.len() == MOST_MEMBERS {
            return Err(Error::invalid_argument(format!("The archive has more than {MOST_MEMBERS} members")));
        }
        let found = archive.get_entry(entry.wayfinder()).map_err(broken)?;
        let (start, end) = found.compressed_data_range();
        let place = |at| usize::try_from(at).unwrap_or(usize::MAX).min(body.len());
        let (start, end) = (place(start), place(end));
        members.push(Member { name, is_deflated, start, end: end.max(start), size, checksum: entry.crc32() });
    }
    Ok(members)
}

impl Member {
    /// What it holds, checked against what the archive says of it.
    pub(super) fn content(&self, body: &Bytes) -> Result<Bytes> {
        let broken =
            || Error::invalid_argument(format!("The member {} of the archive is damaged", self.name));
        let data = body.slice(self.start..self.end);
        let content = if self.is_deflated {
            let mut content = Vec::with_capacity(self.size.saturating_add(1));
            let mut decoder = DeflateDecoder::new(data.as_ref()).take((self.size as u64).saturating_add(1));
            decoder.read_to_end(&mut content).map_err(|error| broken().with_source(error))?;
            content.into()
        } else {
            data
        };
        let mut checksum = Crc::new();
        checksum.update(&content);
        if content.len() != self.size || checksum.sum() != self.checksum {
            return Err(broken());
        }
        Ok(content)
    }

    /// The most bytes that it takes to read it as an array.
    pub(super) fn room(&self, body: &[u8], widest: usize) -> usize {
        let data = body.get(self.start..self.end).unwrap_or_default();
        if !self.is_deflated {
            return npy::room(data, data.len(), widest);
        }
        let mut start = Vec::new();
        // What is damaged is refused later.
        let _ = DeflateDecoder::new(data).take(PEEK).read_to_end(&mut start);
        npy::room(&start, self.size, widest).saturating_add(self.size)
    }
}

/// An archive under way.
#[derive(Debug, Default)]
pub(super) struct Writer {
    out: Vec<u8>,
    directory: Vec<u8>,
    members: usize,
}

/// The flag of names in UTF-8, and the version that everybody reads.
const UTF_8: u16 = 1 << 11;
const VERSION: u16 = 20;

/// The first of January 1980, where the calendar of the format starts.
const DATE: u16 = 1 << 5 | 1;

impl Writer {
    /// Adds a member that holds what `write` appends.
    ///
    /// # Errors
    ///
    /// Those of `write`, and `INTERNAL` for an archive beyond 4 GiB.
    pub(super) fn member(
        &mut self,
        name: &str,
        write: impl FnOnce(&mut Vec<u8>) -> Result<()>,
    ) -> Result<()> {
        let (start, name_length) = (number(self.out.len())?, name_length(name)?);
        // The sizes are filled in when they are known.
        self.out.extend_from_slice(b"PK\x03\x04");
        let fields = self.out.len();
        self.out.extend_from_slice(&fields_of(0, 0, name_length));
        self.out.extend_from_slice(&0_u16.to_le_bytes());
        self.out.extend_from_slice(name.as_bytes());
        let content = self.out.len();
        write(&mut self.out)?;
        let mut checksum = Crc::new();
        checksum.update(&self.out[content..]);
        let known = fields_of(checksum.sum(), number(self.out.len() - content)?, name_length);
        self.out[fields..fields + known.len()].copy_from_slice(&known);
        self.directory.extend_from_slice(b"PK\x01\x02");
        self.directory.extend_from_slice(&VERSION.to_le_bytes());
        self.directory.extend_from_slice(&known);
        // No extra field, no comment, the first disk, no attributes.
        self.directory.extend_from_slice(&[0; 12]);
        self.directory.extend_from_slice(&start.to_le_bytes());
        self.directory.extend_from_slice(name.as_bytes());
        self.members += 1;
        Ok(())
    }

    /// The whole archive.
    ///
    /// # Errors
    ///
    /// `INTERNAL` if it is larger than such archives can be.
    pub(super) fn finish(mut self) -> Result<Vec<u8>> {
        let (start, size) = (number(self.out.len())?, number(self.directory.len())?);
        let members = u16::try_from(self.members).ok().filter(|members| *members < u16::MAX);
        let members = members.ok_or_else(too_large)?.to_le_bytes();
        self.out.append(&mut self.directory);
        self.out.extend_from_slice(b"PK\x05\x06\0\0\0\0");
        self.out.extend_from_slice(&members);
        self.out.extend_from_slice(&members);
        self.out.extend_from_slice(&size.to_le_bytes());
        self.out.extend_from_slice(&start.to_le_bytes());
        self.out.extend_from_slice(&[0; 2]);
        Ok(self.out)
    }
}

/// What the two heads of a stored member have in common.
fn fields_of(checksum: u32, size: u32, name_length: u16) -> [u8; 24] {
    let mut fields = [0; 24];
    fields[..2].copy_from_slice(&VERSION.to_le_bytes());
    fields[2..4].copy_from_slice(&UTF_8.to_le_bytes());
    fields[8..10].copy_from_slice(&DATE.to_le_bytes());
    fields[10..14].copy_from_slice(&checksum.to_le_bytes());
    fields[14..18].copy_from_slice(&size.to_le_bytes());
    fields[18..22].copy_from_slice(&size.to_le_bytes());
    fields[22..].copy_from_slice(&name_length.to_le_bytes());
    fields
}

fn number(size: usize) -> Result<u32> {
    u32::try_from(size).ok().filter(|size| *size < u32::MAX).ok_or_else(too_large)
}

fn name_length(name: &str) -> Result<u16> {
    u16::try_from(name.len()).map_err(|_| too_large())
}

fn too_large() -> Error {
    Error::internal("The reply is larger than an archive can be")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// An archive of one deflated member that says it has `size` bytes.
    fn deflated(content: &[u8], size: u32) -> Bytes {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(content).unwrap();
        let data = encoder.finish().unwrap();
        let mut checksum = Crc::new();
        checksum.update(content);
        let mut writer = Writer::default();
        writer
            .member("x.npy", |out| {
                out.extend_from_slice(&data);
                Ok(())
            })
            .unwrap();
        let patch = |bytes: &mut [u8], at: usize| {
            bytes[at + 4..at + 6].copy_from_slice(&8_u16.to_le_bytes());
            bytes[at + 10..at + 14].copy_from_slice(&checksum.sum().to_le_bytes());
            bytes[at + 18..at + 22].copy_from_slice(&size.to_le_bytes());
        };
        patch(&mut writer.out, 4);
        patch(&mut writer.directory, 6);
        writer.finish().unwrap().into()
    }

    #[test]
    fn members_hold_what_was_put_in() {
        let mut writer = Writer::default();
        for (name, content) in [("a", &b"hello"[..]), ("b", b""), ("c/d", &[7; 10_000])] {
            writer
                .member(name, |out| {
                    out.extend_from_slice(content);
                    Ok(())
                })
                .unwrap();
        }
        let body = Bytes::from(writer.finish().unwrap());
        let members = members(&body, 200_000).unwrap();
        let names: Vec<_> = members.iter().map(|member| member.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c/d"]);
        assert_eq!(members[0].content(&body).unwrap().as_ref(), b"hello");
        assert_eq!(members[2].content(&body).unwrap().as_ref(), [7; 10_000]);
        let body = deflated(&[3; 1000], 1000);
        assert_eq!(super::members(&body, 1000).unwrap()[0].content(&body).unwrap().as_ref(), [3; 1000]);
    }

    #[test]
    fn bombs_and_liars_are_refused() {
        let status = |body: &Bytes, most| {
            let content = members(body, most).and_then(|members| members[0].content(body));
            content.map_err(|error| error.status().as_u16())
        };
        let body = deflated(&vec![0; 1 << 20], 1 << 20);
        assert!(body.len() < 2000);
        assert_eq!(status(&body, (1 << 20) - 1), Err(413));
        assert!(status(&body, 1 << 20).is_ok());
        assert_eq!(status(&deflated(&vec![0; 1 << 20], 1000), 1000), Err(400));
        assert_eq!(status(&deflated(&[0; 1000], 1 << 20), 1 << 20), Err(400));
        assert_eq!(status(&Bytes::from_static(b"PK\x05\x06"), 1000).err(), Some(400));
        let mut wrong = deflated(&[0; 100], 100).to_vec();
        wrong[40] ^= 0x55;
        assert_eq!(status(&wrong.into(), 1000), Err(400));
    }
}
