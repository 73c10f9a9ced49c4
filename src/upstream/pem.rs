//! Certificates in files, as PEM has them, for TLS to either side.
//!
//! Every error names its file. Nothing here decides whom a certificate makes trusted.

use std::fmt::Display;
use std::io;
use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// The certificates of a file, of which there is at least one.
///
/// # Errors
///
/// Why there are none that can be used.
pub(crate) fn certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let certificates: Vec<_> = read.map_err(|error| unusable(path, error))?;
    if certificates.is_empty() {
        return Err(unusable(path, "there is no certificate in it"));
    }
    Ok(certificates)
}

/// The error about a file that cannot be used.
pub(crate) fn unusable(path: &Path, error: impl Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", path.display()))
}
