//! What is seen of a TLS handshake besides its outcome: the certificate, even of a server that is not trusted, and
//! whether it asks for ours. Nobody is trusted here who would not be elsewhere.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, Error as TlsError, SignatureScheme};
use x509_parser::extensions::GeneralName;

use crate::config::UpstreamTls;
use crate::upstream;

/// What has been seen.
#[derive(Debug)]
pub(super) struct Witness {
    verifier: Arc<WebPkiServerVerifier>,
    resolver: Arc<dyn ResolvesClientCert>,
    certificate: Mutex<Option<Vec<u8>>>,
    is_asked: AtomicBool,
}

/// A certificate as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Certificate {
    /// The names and addresses that it is for.
    pub(super) names: Vec<String>,
    pub(super) issuer: String,
    pub(super) starts: SystemTime,
    pub(super) ends: SystemTime,
}

impl Witness {
    /// Settings for TLS as these files have them, with somebody who looks on.
    ///
    /// # Errors
    ///
    /// What cannot be read, or that nobody is trusted.
    pub(super) fn config(
        files: &UpstreamTls,
        protocols: &[&str],
    ) -> Result<(ClientConfig, Arc<Self>), String> {
        let mut config = upstream::client_tls(files).map_err(|error| error.to_string())?;
        let roots = upstream::trusted(files).map_err(|error| error.to_string())?;
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|error| error.to_string())?;
        let witness = Arc::new(Self {
            verifier,
            resolver: Arc::clone(&config.client_auth_cert_resolver),
            certificate: Mutex::default(),
            is_asked: AtomicBool::new(false),
        });
        config.dangerous().set_certificate_verifier(Arc::clone(&witness) as _);
        config.client_auth_cert_resolver = Arc::clone(&witness) as _;
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Ok((config, witness))
    }

    /// The certificate that the server has shown, if it can be read.
    pub(super) fn certificate(&self) -> Option<Certificate> {
        let certificate = self.certificate.lock().unwrap_or_else(PoisonError::into_inner);
        read(certificate.as_deref()?)
    }

    /// Whether the server has asked for a certificate of ours.
    pub(super) fn is_asked(&self) -> bool {
        self.is_asked.load(Ordering::Relaxed)
    }

    /// Whether there is one.
    pub(super) fn has_identity(&self) -> bool {
        self.resolver.has_certs()
    }
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        *self.certificate.lock().unwrap_or_else(PoisonError::into_inner) = Some(end_entity.to_vec());
        self.verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.verifier.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.verifier.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

impl ResolvesClientCert for Witness {
    fn resolve(&self, hints: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.is_asked.store(true, Ordering::Relaxed);
        self.resolver.resolve(hints, schemes)
    }

    fn has_certs(&self) -> bool {
        self.resolver.has_certs()
    }
}

/// Reads what people want to know of a certificate.
fn read(der: &[u8]) -> Option<Certificate> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    let alternatives = certificate.subject_alternative_name().ok().flatten();
    let names = alternatives.into_iter().flat_map(|extension| &extension.value.general_names);
    let names = names.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => address(bytes),
        _ => None,
    });
    let time = |seconds: i64| {
        let seconds = Duration::from_secs(seconds.try_into().unwrap_or_default());
        SystemTime::UNIX_EPOCH.checked_add(seconds).unwrap_or(SystemTime::UNIX_EPOCH)
    };
    let validity = certificate.validity();
    Some(Certificate {
        names: names.collect(),
        issuer: certificate.issuer().to_string(),
        starts: time(validity.not_before.timestamp()),
        ends: time(validity.not_after.timestamp()),
    })
}

fn address(bytes: &[u8]) -> Option<String> {
    let v4 = <[u8; 4]>::try_from(bytes).map(|bytes| std::net::Ipv4Addr::from(bytes).to_string());
    let v6 = <[u8; 16]>::try_from(bytes).map(|bytes| std::net::Ipv6Addr::from(bytes).to_string());
    v4.or(v6).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_read() {
        let mut parameters =
            rcgen::CertificateParams::new(["a.example".to_owned(), "::1".to_owned()]).unwrap();
        parameters.not_after = rcgen::date_time_ymd(2040, 1, 2);
        let made = parameters.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        let certificate = read(made.der()).unwrap();
        assert_eq!(certificate.names, ["a.example", "::1"]);
        assert_eq!(certificate.issuer, "CN=rcgen self signed cert");
        assert_eq!(humantime::format_rfc3339(certificate.ends).to_string(), "2040-01-02T00:00:00Z");
        assert_eq!(read(b"no certificate"), None);
    }
}
