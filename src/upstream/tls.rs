//! TLS to the backends: certificates from files, which are read again when they change.
//!
//! They are looked at whenever a connection is made. Files that cannot be used are reported, and
//! what was read last stays in use. Nothing here makes a connection.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;

use super::pem::{certificates, unusable};
use super::stamp::{Stamp, stamp};
use crate::config::UpstreamTls;

/// The TLS settings of the pool.
#[derive(Debug)]
pub(super) struct Tls {
    files: UpstreamTls,
    loaded: Mutex<Option<Loaded>>,
}

#[derive(Debug)]
struct Loaded {
    config: Arc<ClientConfig>,
    stamps: Vec<Option<Stamp>>,
}

impl Tls {
    /// Files that have not been read.
    pub(super) fn new(files: UpstreamTls) -> Self {
        Self { files, loaded: Mutex::default() }
    }

    /// Reads the files before they are needed: if they are broken by then, these are still there.
    pub(super) fn read(&self) {
        if let Err(error) = self.config() {
            tracing::warn!(%error, "the certificates for the backends cannot be used");
        }
    }

    /// The name that the certificate must have, if it is not the backend's own.
    pub(super) fn server_name(&self) -> Option<&str> {
        self.files.server_name.as_deref()
    }

    /// The settings as the files have them now.
    pub(super) fn config(&self) -> io::Result<Arc<ClientConfig>> {
        let stamps: Vec<_> = self.files.paths().map(|path| stamp(path)).collect();
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(loaded) = &*loaded
            && loaded.stamps == stamps
        {
            return Ok(Arc::clone(&loaded.config));
        }
        match load(&self.files) {
            Ok(config) => {
                let config = Arc::new(config);
                *loaded = Some(Loaded { config: Arc::clone(&config), stamps });
                Ok(config)
            }
            Err(error) => match &*loaded {
                Some(loaded) => {
                    tracing::warn!(%error, "the new certificates for the backends cannot be used");
                    Ok(Arc::clone(&loaded.config))
                }
                None => Err(error),
            },
        }
    }
}

/// Reads the certificates and makes the settings for HTTP/2.
///
/// # Errors
///
/// What cannot be read or used, with the name of the file.
pub(crate) fn load(files: &UpstreamTls) -> io::Result<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots(files)?);
    let mut config = match &files.identity {
        Some((certificate, key)) => {
            let private = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(key, error))?;
            builder
                .with_client_auth_cert(certificates(certificate)?, private)
                .map_err(|error| unusable(certificate, error))?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// The authorities that are trusted: those of the file, or the system's.
///
/// # Errors
///
/// What cannot be read or used, with the name of the file.
pub(crate) fn roots(files: &UpstreamTls) -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    match &files.ca {
        Some(path) => {
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| unusable(path, error))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    Ok(roots)
}
