//! `tfbridge healthcheck`: asks the admin port of a bridge how it is, for containers without a shell
//! or `curl`.
//!
//! It succeeds upon 200 and fails otherwise, with the reason. It asks once, waits for a bounded time and
//! reads a bounded answer.

use std::fmt::Display;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::serve::limit;
use crate::config::Listen;
use crate::error::{Error, Result};

/// The most bytes of an answer: a reason is a sentence.
const LONGEST: usize = 64 << 10;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The admin port to ask, `ADDRESS:PORT` or `unix:/PATH`: what `serve` has as `--admin-listen`.
    #[arg(long, env = "TFBRIDGE_ADMIN_LISTEN", default_value = "127.0.0.1:8502", value_name = "ADDRESS", value_parser = address)]
    address: Address,
    /// What to ask for: `/readyz`, whether requests may come, or `/livez`, whether the process answers.
    #[arg(long, default_value = "/readyz", value_name = "PATH", value_parser = path)]
    path: PathAndQuery,
    /// How long the answer may take.
    #[arg(long, default_value = "2s", value_name = "TIME", value_parser = limit)]
    timeout: Duration,
}

/// Where an admin port is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
    /// There is none: `--admin-listen` is `off`.
    Off,
}

/// Asks, and fails with the reason if all is not well.
pub(super) async fn run(arguments: Arguments) -> Result<()> {
    let Arguments { address, path, timeout } = arguments;
    let (status, body) = tokio::time::timeout(timeout, ask(&address, &path)).await.map_err(|_| {
        Error::deadline_exceeded(format!("No answer within {}", humantime::format_duration(timeout)))
    })??;
    if status == StatusCode::OK {
        return Ok(());
    }
    let reason = reason(&body);
    Err(Error::unavailable(format!("{path}: {status}{}{reason}", if reason.is_empty() { "" } else { ": " })))
}

/// The status and the body of the answer.
async fn ask(address: &Address, path: &PathAndQuery) -> Result<(StatusCode, Bytes)> {
    match address {
        Address::Tcp(tcp) => {
            let stream = TcpStream::connect(tcp).await.map_err(|error| unreachable(&tcp, &error))?;
            exchange(stream, path).await
        }
        Address::Unix(socket) => {
            let stream = UnixStream::connect(socket)
                .await
                .map_err(|error| unreachable(&format_args!("unix:{}", socket.display()), &error))?;
            exchange(stream, path).await
        }
        Address::Off => Err(Error::unavailable("There is no admin port to ask: --admin-listen is off")),
    }
}

fn unreachable(address: &dyn Display, error: &std::io::Error) -> Error {
    Error::unavailable(format!("Cannot reach {address}: {error}"))
}

/// Sends the request over a connection of its own, and takes the answer.
async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    path: &PathAndQuery,
) -> Result<(StatusCode, Bytes)> {
    let broken = |error: hyper::Error| Error::unavailable(format!("No answer: {error}"));
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let request = Request::get(path.as_str())
        .header(http::header::HOST, "localhost")
        .header(http::header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| Error::internal("The request cannot be made").with_source(error))?;
    // What goes wrong with the connection is seen by who waits for the answer.
    let connection = tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(broken)?;
    let status = response.status();
    let body = Limited::new(response.into_body(), LONGEST).collect().await;
    connection.abort();
    let body = body.map_err(|error| Error::unavailable(format!("{path}: the answer is broken: {error}")))?;
    Ok((status, body.to_bytes()))
}

/// The message of an error's body, or what there is in its place, in one line.
fn reason(body: &[u8]) -> String {
    let json: Option<Value> = serde_json::from_slice(body).ok();
    let message = json.as_ref().and_then(|json| json.get("error")?.as_str());
    let text = message.map_or_else(|| String::from_utf8_lossy(body).into_owned(), str::to_owned);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The address to ask where one to listen on is given: that of every interface is none to connect to.
fn address(text: &str) -> Result<Address, String> {
    if text == "off" {
        return Ok(Address::Off);
    }
    match text.parse() {
        Ok(Listen::Tcp(mut address)) => {
            if address.ip().is_unspecified() {
                let is_ipv4 = address.is_ipv4();
                address.set_ip(if is_ipv4 { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
            }
            Ok(Address::Tcp(address))
        }
        Ok(Listen::Unix(path)) => Ok(Address::Unix(path)),
        _ => Err("an address such as 127.0.0.1:8502 is expected, or unix:/PATH".to_owned()),
    }
}

fn path(text: &str) -> Result<PathAndQuery, String> {
    let path = text.parse().ok().filter(|path: &PathAndQuery| path.as_str().starts_with('/'));
    path.filter(|_| text.starts_with('/')).ok_or_else(|| "a path such as /readyz is expected".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_to_listen_on_become_ones_to_ask() {
        let check = |text: &str, expected: Address| assert_eq!(address(text), Ok(expected), "{text}");
        let tcp = |text: &str| Address::Tcp(text.parse().unwrap());
        check("127.0.0.1:8502", tcp("127.0.0.1:8502"));
        check("0.0.0.0:8502", tcp("127.0.0.1:8502"));
        check("[::]:1", tcp("[::1]:1"));
        check("10.0.0.1:1", tcp("10.0.0.1:1"));
        check("unix:/run/admin", Address::Unix("/run/admin".into()));
        check("off", Address::Off);
        for bad in ["", "systemd", "localhost", "8502"] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_path_is_one_of_a_server() {
        for good in ["/readyz", "/livez", "/readyz?verbose"] {
            assert_eq!(path(good).unwrap().as_str(), good);
        }
        for bad in ["", "readyz", "*", "?x", "/a b"] {
            assert!(path(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn reasons_are_one_line() {
        let check = |body: &str, expected: &str| assert_eq!(reason(body.as_bytes()), expected, "{body}");
        check(r#"{"error":"All backends\nhave failed"}"#, "All backends have failed");
        check(r#"{"status": "waiting"}"#, r#"{"status": "waiting"}"#);
        check("not\r\nfound", "not found");
        check("", "");
    }
}
