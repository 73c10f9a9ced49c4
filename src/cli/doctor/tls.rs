//! The TLS handshake: whose certificate it is, whether it is trusted, and why not.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::pki_types::ServerName;
use rustls::{AlertDescription, CertificateError, Error as TlsError};
use tokio_rustls::TlsConnector;

use super::report::{Fault, Found, Not};
use super::target::{Kind, Target};
use super::witness::{Certificate, Witness};
use crate::cli::dial::{Dial, To};
use crate::config::UpstreamTls;

/// A certificate that ends within this time is worth a word.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);

/// What is known after a handshake.
#[derive(Debug, Clone)]
pub(super) struct Secured {
    pub(super) dial: Dial,
    /// Whether the other side has agreed to HTTP/2.
    pub(super) is_http2: bool,
    pub(super) witness: Arc<Witness>,
}

/// Makes a connection with TLS.
pub(super) async fn shake_hands(
    to: &To,
    target: &Target,
    files: &UpstreamTls,
    limit: Duration,
) -> Result<Found<Secured>, Not> {
    let protocols: &[&str] = match target.kind {
        Kind::Bridge => &["h2", "http/1.1"],
        Kind::Backend => &["h2"],
    };
    let (config, witness) = Witness::config(files, protocols).map_err(|error| {
        Fault::new(
            error,
            "There are no authorities to trust, or a file of --ca, --cert or --key cannot be used.",
            "Give the certificates of the authorities with --ca FILE.",
        )
    })?;
    let host = target.to.host();
    let name = ServerName::try_from(host.to_owned()).map_err(|_| {
        Fault::new(
            format!("{host:?} is no name that a certificate can have"),
            "The host in the address is misspelt.",
            "Use a DNS name or an IP address.",
        )
    })?;
    let config = Arc::new(config);
    let handshake = async {
        let stream = to.connect().await?;
        TlsConnector::from(Arc::clone(&config)).connect(name.clone(), stream).await
    };
    let stream = match tokio::time::timeout(limit, handshake).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(explain(&error, target, &witness, files).into()),
        Err(_) => {
            return Err(Not::Failed(Fault::new(
                format!("no answer to the handshake within {}", humantime::format_duration(limit)),
                "The other side takes connections but does not speak TLS: it may wait for clear text.",
                format!("Try {} {}.", target.flag(), target.with_scheme("http")),
            )));
        }
    };
    let (_, session) = stream.get_ref();
    let protocol = session.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned());
    let version = session.protocol_version().map_or_else(String::new, |version| format!("{version:?}"));
    let mut detail = format!("{}, trusted", version.replace('_', "."));
    let certificate = witness.certificate();
    if let Some(certificate) = &certificate {
        detail = format!("{detail}, certificate {}", described(certificate));
    }
    if let Some(protocol) = &protocol {
        detail = format!("{detail}, ALPN {protocol}");
    }
    let is_http2 = protocol.as_deref() == Some("h2");
    if target.kind == Kind::Backend && !is_http2 {
        return Err(Not::Failed(Fault::new(
            format!("{detail}, but no agreement on HTTP/2"),
            "The other side, or a proxy in front of it, does not offer HTTP/2 (ALPN h2), which gRPC needs.",
            "Let the proxy offer h2, or go around it.",
        )));
    }
    let dial = Dial { to: to.clone(), tls: Some((config, name)) };
    let advice = certificate.as_ref().and_then(advice).or_else(|| {
        (witness.is_asked() && !witness.has_identity()).then(|| {
            "The server asks for a certificate of the client, and there is none: --cert FILE --key FILE."
                .to_owned()
        })
    });
    Ok(Found::new(Secured { dial, is_http2, witness }, detail).advise(advice))
}

/// A certificate in some words.
fn described(certificate: &Certificate) -> String {
    let names =
        if certificate.names.is_empty() { "no name".to_owned() } else { certificate.names.join(", ") };
    let ends = humantime::format_rfc3339_seconds(certificate.ends);
    format!("for {names}, from {}, until {ends}", certificate.issuer)
}

fn advice(certificate: &Certificate) -> Option<String> {
    let left = certificate.ends.duration_since(SystemTime::now()).unwrap_or_default();
    (left < SOON).then(|| {
        let days = left.as_secs() / (24 * 3600);
        format!("The certificate ends in {days} days: have it renewed.")
    })
}

/// Why a handshake has failed, or a connection over TLS right after it.
pub(super) fn explain(error: &io::Error, target: &Target, witness: &Witness, files: &UpstreamTls) -> Fault {
    let told = error.to_string();
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<TlsError>());
    match cause {
        Some(TlsError::InvalidCertificate(reason)) => certificate_fault(reason, target, witness, files),
        Some(TlsError::InvalidMessage(_)) => Fault::new(
            told,
            "The other side does not speak TLS: what it answers is clear text.",
            format!("Try {} {}.", target.flag(), target.with_scheme("http")),
        ),
        Some(TlsError::AlertReceived(alert)) => alert_fault(*alert, told, witness),
        Some(TlsError::PeerIncompatible(_)) => Fault::new(
            told,
            "The two sides have no version of TLS, or no cipher, in common.",
            "The server must speak TLS 1.2 or 1.3 with ciphers of today.",
        ),
        _ if witness.is_asked() => client_certificate_fault(told, witness),
        _ => Fault::new(
            format!("the connection is closed during the handshake: {told}"),
            "The other side does not speak TLS, or something between closes the connection.",
            format!("Try {} {}.", target.flag(), target.with_scheme("http")),
        ),
    }
}

fn alert_fault(alert: AlertDescription, told: String, witness: &Witness) -> Fault {
    match alert {
        AlertDescription::NoApplicationProtocol => Fault::new(
            told,
            "The server does not offer HTTP/2 (ALPN h2).",
            "Is it the right port? A proxy in front of gRPC must offer h2.",
        ),
        AlertDescription::UnrecognisedName => Fault::new(
            told,
            "The server does not know the name that it is called by.",
            "Call it by a name that its configuration has.",
        ),
        AlertDescription::ProtocolVersion => Fault::new(
            told,
            "The two sides have no version of TLS in common.",
            "The server must speak TLS 1.2 or 1.3.",
        ),
        _ if witness.is_asked() => client_certificate_fault(told, witness),
        _ => Fault::new(told, "The server ends the handshake.", "Its log says why."),
    }
}

fn client_certificate_fault(told: String, witness: &Witness) -> Fault {
    if witness.has_identity() {
        return Fault::new(
            told,
            "The server does not accept our certificate: it has expired, or its issuer is not one that the server trusts.",
            "Use a certificate from an authority that the server has among those for clients.",
        );
    }
    Fault::new(
        told,
        "The server asks for a certificate of the client (mutual TLS), and there is none.",
        "Give one with --cert FILE --key FILE.",
    )
}

fn certificate_fault(
    reason: &CertificateError,
    target: &Target,
    witness: &Witness,
    files: &UpstreamTls,
) -> Fault {
    let certificate = witness.certificate();
    let shown =
        certificate.as_ref().map_or_else(|| "a certificate that cannot be read".to_owned(), described);
    let time = |time: Option<SystemTime>| {
        time.map_or_else(
            || "an unknown time".to_owned(),
            |time| humantime::format_rfc3339_seconds(time).to_string(),
        )
    };
    match reason {
        // An issuer of the same name with another key is as unknown.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            let advice = match &files.ca {
                Some(path) => format!("{} has other authorities: give the issuer's.", path.display()),
                None => "Give the certificate of the authority with --ca FILE.".to_owned(),
            };
            Fault::new(
                format!("the certificate is not trusted: {shown}"),
                "Its issuer is none of the authorities that are trusted here, or the server does not send the \
                 certificates between.",
                advice,
            )
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Fault::new(
            format!("the certificate is not for {}: it is {shown}", target.to.host()),
            "The server is called by a name that its certificate does not have.",
            "Call it by a name of the certificate, or have one made for this name.",
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Fault::new(
            format!("the certificate has ended at {}", time(certificate.map(|it| it.ends))),
            "It was not renewed, or the server was not told to read the new one; or the clock of this machine is wrong.",
            "Renew it, and compare the clock.",
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Fault::new(
            format!("the certificate begins at {}", time(certificate.map(|it| it.starts))),
            "The clock of this machine is behind, or that of the authority was ahead.",
            "Compare the clocks.",
        ),
        other => Fault::new(
            format!("the certificate is not trusted: {other}; it is {shown}"),
            "It is not one for servers, or broken.",
            // What `openssl req -x509` makes is an authority's, if it is not told otherwise.
            "An authority's own certificate is none for a server: have the authority issue one. To a command such as \
             `openssl req -x509` add `-addext basicConstraints=critical,CA:FALSE -addext subjectAltName=DNS:NAME`.",
        ),
    }
}
