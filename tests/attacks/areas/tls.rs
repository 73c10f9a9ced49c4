//! Attacks on a port that speaks TLS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::slow::drip;
use crate::attack::{Answer, Attack};
use crate::connection::{End, PATIENCE, Reader, connect, converse};
use crate::http1::{self, HALF, Responses, post};
use crate::http2;

const BODY: &str = r#"{"instances":[1.0,2.0]}"#;

/// Takes every certificate: the attacker does not care.
#[derive(Debug)]
struct Careless(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Careless {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

/// An attacker's configuration with these protocols to choose from.
fn config(protocols: &[&[u8]]) -> Arc<ClientConfig> {
    let provider: CryptoProvider = rustls::crypto::ring::default_provider();
    let verifier = Careless(provider.signature_verification_algorithms);
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Arc::new(config)
}

async fn shake_hands(bridge: SocketAddr, protocols: &[&[u8]]) -> std::io::Result<TlsStream<TcpStream>> {
    let connector = TlsConnector::from(config(protocols));
    connector.connect(ServerName::try_from("localhost").unwrap(), connect(bridge).await?).await
}

/// The first bytes of a client that means well.
fn client_hello() -> Vec<u8> {
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = ClientConnection::new(config(&[]), name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

/// A record of TLS.
fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[kind, 3, 1][..], &length, content].concat()
}

/// Reads records, of which only alerts are told.
#[derive(Debug, Default)]
struct Records {
    alerts: usize,
    records: usize,
}

impl Reader for Records {
    fn take(&mut self, bytes: &mut Vec<u8>) {
        while let Some(&[kind, _, _, high, low]) = bytes.first_chunk() {
            let length = 5 + usize::from(u16::from_be_bytes([high, low]));
            if bytes.len() < length {
                break;
            }
            bytes.drain(..length);
            self.records += 1;
            self.alerts += usize::from(kind == 21);
        }
    }

    fn is_answered(&self) -> bool {
        self.records > 0
    }
}

impl Records {
    fn answer(&self, end: End) -> Answer {
        let alert = if self.alerts > 0 { "alert " } else { "" };
        format!("{alert}{}", if end == End::Closed { "closed" } else { "open" })
    }
}

/// Sends bytes that are no TLS, or not much of it.
async fn raw(bridge: SocketAddr, bytes: Vec<u8>) -> Answer {
    let mut records = Records::default();
    let end = converse(connect(bridge).await.unwrap(), &bytes, &mut records, PATIENCE).await;
    records.answer(end)
}

/// Sends a start, and then drips, which have two seconds.
async fn slowly(bridge: SocketAddr, start: Vec<u8>, drops: &[u8]) -> Answer {
    let mut records = Records::default();
    let stream = connect(bridge).await.unwrap();
    let end = drip(stream, &start, drops, Duration::from_secs(7), &mut records).await;
    records.answer(End::from(end))
}

/// A whole handshake, and then bytes past the encryption.
async fn behind_handshake(bridge: SocketAddr, bytes: Vec<u8>) -> Answer {
    let Ok(stream) = shake_hands(bridge, &[]).await else { return "no handshake".to_owned() };
    let mut records = Records::default();
    let end = converse(stream.into_inner().0, &bytes, &mut records, PATIENCE).await;
    // Alerts are encrypted here.
    Records { alerts: 0, ..records }.answer(end)
}

/// A whole handshake, and then bytes of HTTP/1.
async fn within(bridge: SocketAddr, bytes: Vec<u8>) -> Answer {
    match shake_hands(bridge, &[b"http/1.1"]).await {
        Ok(stream) => http1::exchange_over(stream, &bytes, PATIENCE).await,
        Err(_) => "no handshake".to_owned(),
    }
}

/// A whole handshake, and then frames of HTTP/2.
async fn frames(bridge: SocketAddr, frames: Vec<u8>) -> Answer {
    match shake_hands(bridge, &[b"h2"]).await {
        Ok(stream) => http2::exchange_over(stream, &frames, PATIENCE).await,
        Err(_) => "no handshake".to_owned(),
    }
}

/// A handshake that is left in the middle, when the server has done its part.
async fn leave(bridge: SocketAddr) -> Answer {
    let mut stream = connect(bridge).await.unwrap();
    let _ = stream.write_all(&client_hello()).await;
    let read = tokio::time::timeout(PATIENCE, stream.read(&mut [0; 5])).await;
    if matches!(read, Ok(Ok(1..))) { "left".to_owned() } else { "closed".to_owned() }
}

/// A whole handshake and no more, again and again.
async fn handshake(bridge: SocketAddr) -> Answer {
    if shake_hands(bridge, &[]).await.is_ok() { "left".to_owned() } else { "no handshake".to_owned() }
}

pub fn attacks() -> Vec<Attack> {
    const REFUSED: &[&str] = &["closed", "alert closed"];
    let attack = |name, expect, story| Attack::story("tls", name, expect, story);
    let slow = |name, story| attack(name, REFUSED, story).slow().attackers(20);
    vec![
        attack("clear text", REFUSED, |bridge| Box::pin(raw(bridge, post(HALF, "", BODY)))),
        attack("the preface of version 2 in clear text", REFUSED, |bridge| {
            Box::pin(raw(bridge, http2::hello()))
        }),
        attack("bytes of no protocol", REFUSED, |bridge| {
            Box::pin(raw(
                bridge,
                (0..100_000_u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect(),
            ))
        }),
        attack("a record of no kind", REFUSED, |bridge| Box::pin(raw(bridge, record(99, b"what")))),
        attack("data before the handshake", REFUSED, |bridge| Box::pin(raw(bridge, record(23, &[0; 100])))),
        attack("an alert before the handshake", REFUSED, |bridge| {
            Box::pin(raw(bridge, record(21, &[2, 40])))
        }),
        attack("a record of the greatest length", REFUSED, |bridge| {
            Box::pin(raw(bridge, record(22, &[1; 65_535])))
        }),
        attack("a hello that announces 16 MB", REFUSED, |bridge| {
            let start = record(22, &[&[1, 0xFF, 0xFF, 0xFF][..], &[0; 10_000]].concat());
            let more = record(22, &[0; 16_000]).repeat(1000);
            Box::pin(raw(bridge, [start, more].concat()))
        }),
        attack("a hello in records of one byte", &["open", "closed", "alert closed"], |bridge| {
            let hello = client_hello();
            Box::pin(raw(bridge, hello[5..].iter().flat_map(|&byte| record(22, &[byte])).collect()))
        }),
        attack("100 000 empty records", REFUSED, |bridge| {
            Box::pin(raw(bridge, record(22, &[]).repeat(100_000)))
        }),
        attack("a hello of SSL 2", REFUSED, |bridge| {
            Box::pin(raw(bridge, [&[0x80, 46, 1, 0, 2, 0, 21, 0, 0, 0, 16][..], &[7; 37]].concat()))
        }),
        attack("a hello of TLS 1.0", REFUSED, |bridge| {
            let hello = [&[3, 1][..], &[7; 32], &[0, 0, 2, 0, 47, 1, 0]].concat();
            let hello = [&[1, 0, 0, hello.len() as u8][..], &hello].concat();
            Box::pin(raw(bridge, record(22, &hello)))
        }),
        attack("a hello, twice", REFUSED, |bridge| Box::pin(raw(bridge, client_hello().repeat(2)))),
        attack("a hello with wrong bits", &["closed", "alert closed", "open"], |bridge| {
            let mut hello = client_hello();
            for at in (6..hello.len()).step_by(7) {
                hello[at] ^= 0x55;
            }
            Box::pin(raw(bridge, hello))
        }),
        attack("handshakes that are left in the middle", &["left"], |bridge| Box::pin(leave(bridge))),
        attack("handshakes and nothing else", &["left"], |bridge| Box::pin(handshake(bridge))).attackers(2),
        attack("a hello behind the handshake", &["closed"], |bridge| {
            Box::pin(behind_handshake(bridge, client_hello()))
        }),
        attack("clear text behind the handshake", &["closed"], |bridge| {
            Box::pin(behind_handshake(bridge, post(HALF, "", BODY)))
        }),
        attack("a record that does not decrypt", &["closed"], |bridge| {
            Box::pin(behind_handshake(bridge, record(23, &[7; 1000])))
        }),
        attack("a protocol that nobody speaks", &["no handshake", "200 open"], |bridge| {
            Box::pin(async move {
                match shake_hands(bridge, &[b"spdy/3"]).await {
                    Ok(stream) => http1::exchange_over(stream, &post(HALF, "", BODY), PATIENCE).await,
                    Err(_) => "no handshake".to_owned(),
                }
            })
        }),
        attack(
            "version 2 where version 1 was agreed",
            &["closed", "400 closed", "200 open", "open"],
            |bridge| Box::pin(within(bridge, http2::hello())),
        )
        .attackers(1)
        .slow(),
        attack("a head of 1 MB within", &["431 closed", "closed"], |bridge| {
            Box::pin(within(bridge, post(HALF, &format!("X-Long: {}\r\n", "a".repeat(1 << 20)), BODY)))
        }),
        attack(
            "rapid reset within",
            &["goaway ENHANCE_YOUR_CALM, closed", "200, goaway ENHANCE_YOUR_CALM, closed", "closed"],
            |bridge| {
                let reset = |stream| http2::frame(http2::RST_STREAM, 0, stream, &8_u32.to_be_bytes());
                let flood = http2::streams(10_000)
                    .flat_map(|stream| [http2::predict(stream), reset(stream)].concat());
                Box::pin(frames(bridge, flood.collect()))
            },
        )
        .attackers(2),
        slow("a silent connection to TLS", |bridge| Box::pin(slowly(bridge, vec![], b""))),
        slow("a byte of a handshake", |bridge| Box::pin(slowly(bridge, vec![22], b""))),
        slow("half a hello", |bridge| Box::pin(slowly(bridge, client_hello()[..100].to_vec(), b""))),
        slow("a hello, a byte at a time", |bridge| {
            // More than it will get to say.
            Box::pin(slowly(bridge, record(22, &[&[1, 0, 0x3F, 0xFF][..], &[0; 100]].concat()), &[22]))
        }),
        slow("a hello and then nothing", |bridge| Box::pin(slowly(bridge, client_hello(), b""))),
        slow("a handshake and then nothing", |bridge| {
            Box::pin(async move {
                let mut responses = Responses::default();
                let stream = shake_hands(bridge, &[]).await.unwrap();
                let end = drip(stream, b"", b"", Duration::from_secs(7), &mut responses).await;
                responses.answer(End::from(end))
            })
        }),
        slow("a head within, a letter at a time", |bridge| {
            Box::pin(async move {
                let mut responses = Responses::default();
                let stream = shake_hands(bridge, &[]).await.unwrap();
                let start = format!("POST {HALF} HTTP/1.1\r\nX-Slow: ");
                let end = drip(stream, start.as_bytes(), b"a", Duration::from_secs(7), &mut responses).await;
                responses.answer(End::from(end))
            })
        }),
    ]
}
