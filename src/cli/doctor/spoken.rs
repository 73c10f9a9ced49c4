//! What is spoken on a connection: it is found out by a first word, and by the bytes that come back.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::report::{Fault, Found, Not};
use super::target::{Kind, Target};
use super::tls::{Secured, explain};
use crate::cli::dial::{Dial, To};
use crate::config::UpstreamTls;

/// The first bytes of a client of HTTP/2, and an empty frame of settings.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// So many bytes of an answer tell what it is.
const ENOUGH: usize = 12;

/// The type of a frame of settings, which is the first that a server of HTTP/2 sends, and of one that says farewell.
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;

/// What has come back.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Spoken {
    /// HTTP/1, with its status.
    Http1(String),
    Http2,
    /// An alert of TLS: it is what is expected there.
    Tls,
    /// The connection was closed without a word.
    Closed,
    /// Nothing at all in that time.
    Silence,
    Other(String),
}

/// Finds out whether what the target should speak is spoken there.
pub(super) async fn check(
    to: &To,
    secured: Option<&Secured>,
    target: &Target,
    files: &UpstreamTls,
    limit: Duration,
) -> Result<Found<()>, Not> {
    let dial = secured.map_or_else(|| Dial { to: to.clone(), tls: None }, |secured| secured.dial.clone());
    let is_http2 = target.kind == Kind::Backend || secured.is_some_and(|secured| secured.is_http2);
    let greeting = if is_http2 {
        PREFACE.to_vec()
    } else {
        let (path, host) = (&target.prefix, target.authority());
        format!("GET {path}/v2/health/live HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
            .into_bytes()
    };
    let spoken = match hear(&dial, &greeting, limit / 2).await {
        Ok(spoken) => spoken,
        Err(error) => {
            let fault = secured.map_or_else(
                || {
                    Fault::new(
                        format!("the connection breaks: {error}"),
                        "The server, or something between, ends connections at once.",
                        "Look into the server's log.",
                    )
                },
                |secured| explain(&error, target, &secured.witness, files),
            );
            return Err(fault.into());
        }
    };
    match spoken {
        Spoken::Http2 if is_http2 => Ok(Found::new((), "HTTP/2 is spoken")),
        Spoken::Http1(status) if !is_http2 => Ok(Found::new((), format!("HTTP/1.1 is spoken: {status}"))),
        // A server of HTTP/2 may just close upon what it does not understand.
        Spoken::Closed if !is_http2 && hear(&dial, PREFACE, limit / 2).await.ok() == Some(Spoken::Http2) => {
            Err(explain_spoken(&Spoken::Http2, target, limit).into())
        }
        spoken => Err(explain_spoken(&spoken, target, limit).into()),
    }
}

/// Says a first word and takes the first bytes of the answer.
async fn hear(dial: &Dial, greeting: &[u8], limit: Duration) -> io::Result<Spoken> {
    let mut answer = Vec::new();
    let exchange = async {
        let mut stream = dial.connect().await?;
        stream.write_all(greeting).await?;
        stream.flush().await?;
        let mut bytes = [0; 64];
        while answer.len() < ENOUGH {
            match stream.read(&mut bytes).await? {
                0 => break,
                length => answer.extend(bytes.iter().take(length)),
            }
        }
        io::Result::Ok(())
    };
    match tokio::time::timeout(limit, exchange).await {
        // What has come before it broke says more.
        Ok(Err(error)) if answer.is_empty() && error.kind() != io::ErrorKind::ConnectionReset => Err(error),
        Ok(_) => Ok(recognize(&answer).unwrap_or(Spoken::Closed)),
        Err(_) => Ok(recognize(&answer).unwrap_or(Spoken::Silence)),
    }
}

/// What the beginning of an answer is; `None` if there is none.
fn recognize(answer: &[u8]) -> Option<Spoken> {
    if answer.is_empty() {
        return None;
    }
    if answer.starts_with(b"HTTP/1") {
        let line = answer.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let status = String::from_utf8_lossy(line).split(' ').nth(1).unwrap_or_default().to_owned();
        return Some(Spoken::Http1(status.chars().take(3).collect()));
    }
    if let [0x15, 3, ..] = answer {
        return Some(Spoken::Tls);
    }
    if let [_, _, _, SETTINGS | GOAWAY, ..] = answer {
        return Some(Spoken::Http2);
    }
    Some(Spoken::Other(
        answer
            .iter()
            .take(ENOUGH)
            .copied()
            .map(std::ascii::escape_default)
            .map(|it| it.to_string())
            .collect(),
    ))
}

/// What is wrong if this is spoken.
fn explain_spoken(spoken: &Spoken, target: &Target, limit: Duration) -> Fault {
    let (flag, tls) = (target.flag(), target.with_scheme("https"));
    match (spoken, target.kind) {
        (Spoken::Http1(status), Kind::Backend) => Fault::new(
            format!("HTTP/1.1 is spoken, not HTTP/2: {status}"),
            "This is no gRPC port. It may be TensorFlow Serving's REST port, that of a bridge, or a proxy without HTTP/2.",
            format!(
                "TensorFlow Serving's gRPC port is 8500: {}. Or look at it as REST: --server {}.",
                target.other_kind(),
                target.name
            ),
        ),
        (Spoken::Http2, Kind::Bridge) => Fault::new(
            "HTTP/2 is spoken, not HTTP/1.1",
            "This is a gRPC port: TensorFlow Serving's REST port, and that of a bridge, is 8501.",
            format!("Look at it as a model server: {}.", target.other_kind()),
        ),
        (Spoken::Tls, _) => Fault::new(
            "an alert of TLS comes back",
            "The port expects TLS, and was spoken to in clear text.",
            format!("Try {flag} {tls}."),
        ),
        (Spoken::Silence, _) => Fault::new(
            format!("nothing comes back within {}", humantime::format_duration(limit / 2)),
            "The port takes connections, but the program behind it does not answer: it hangs, speaks something else, \
             or is a proxy whose own server is away.",
            "Look into the log of the server, and try the port of another program.",
        ),
        (Spoken::Closed, Kind::Backend) => Fault::new(
            "the connection is closed without an answer",
            "This is no gRPC port, or one that expects TLS.",
            format!("Try {flag} {tls}; TensorFlow Serving's gRPC port is 8500."),
        ),
        (Spoken::Closed, Kind::Bridge) => Fault::new(
            "the connection is closed without an answer",
            "The port is not one of HTTP, or it expects TLS.",
            format!("Try {flag} {tls}; the port of a bridge, and TensorFlow Serving's for REST, is 8501."),
        ),
        (Spoken::Other(_) | Spoken::Http1(_) | Spoken::Http2, _) => {
            let told = match spoken {
                Spoken::Other(bytes) => format!("what comes back is no HTTP: {bytes:?}"),
                _ => "another version of HTTP is spoken than was agreed on".to_owned(),
            };
            Fault::new(told, "Another program listens there.", "Check the port.")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_tell_what_is_spoken() {
        let check = |answer: &[u8], expected: Option<Spoken>| assert_eq!(recognize(answer), expected);
        check(b"", None);
        check(b"HTTP/1.1 404 Not Found\r\n", Some(Spoken::Http1("404".to_owned())));
        check(&PREFACE[24..], Some(Spoken::Http2));
        check(b"\0\0\x08\x07\0\0\0\0\0", Some(Spoken::Http2));
        check(b"\x15\x03\x03\0\x02\x02\x32", Some(Spoken::Tls));
        check(b"SSH-2.0-x", Some(Spoken::Other("SSH-2.0-x".to_owned())));
        check(b"\xff\n", Some(Spoken::Other("\\xff\\n".to_owned())));
    }
}
