//! The attackers' side of HTTP/1: it sends whatever it is given and reads the statuses.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::attack::Answer;
use crate::connection::{self, End, Reader};

/// A model whose answers are small.
pub const HALF: &str = "/v1/models/half_plus_two:predict";

/// A model that answers what it is asked.
pub const ECHO: &str = "/v1/models/echo:predict";

/// A whole request.
pub fn post(path: &str, headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let head =
        format!("POST {path} HTTP/1.1\r\nHost: attacked\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// Reads the responses of a connection.
#[derive(Debug, Default)]
pub struct Responses {
    /// The statuses so far; of several in a row that are the same, one.
    pub statuses: Vec<u16>,
    /// How many responses there were.
    pub count: usize,
    /// How much of a body is still to come.
    rest: usize,
}

impl Reader for Responses {
    fn take(&mut self, bytes: &mut Vec<u8>) {
        let mut at = 0;
        loop {
            let skipped = self.rest.min(bytes.len() - at);
            at += skipped;
            self.rest -= skipped;
            let Some(length) = bytes[at..].windows(4).position(|window| window == b"\r\n\r\n") else { break };
            let head = String::from_utf8_lossy(&bytes[at..at + length]).to_ascii_lowercase();
            at += length + 4;
            let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            self.rest = length.map_or(0, |length| length.parse().unwrap());
            self.count += 1;
            if self.statuses.last() != Some(&status) {
                self.statuses.push(status);
            }
        }
        bytes.drain(..at);
    }

    fn is_answered(&self) -> bool {
        self.count > 0 && self.rest == 0
    }
}

impl Responses {
    /// The statuses and how the connection ended.
    pub fn answer(&self, end: End) -> Answer {
        let statuses = self.statuses.iter().map(u16::to_string);
        let cut = (self.rest > 0).then(|| "cut".to_owned());
        let end = if end == End::Closed { "closed" } else { "open" };
        statuses.chain(cut).chain([end.to_owned()]).collect::<Vec<_>>().join(" ")
    }
}

/// Sends bytes over a new connection and reads what comes of it.
pub async fn exchange(bridge: SocketAddr, bytes: &[u8]) -> Answer {
    match connection::connect(bridge).await {
        Ok(stream) => exchange_over(stream, bytes, connection::PATIENCE).await,
        Err(error) => format!("not connected: {error}"),
    }
}

/// The same over a connection that is there.
pub async fn exchange_over<S>(stream: S, bytes: &[u8], patience: Duration) -> Answer
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut responses = Responses::default();
    let end = connection::converse(stream, bytes, &mut responses, patience).await;
    responses.answer(end)
}
