//! Attackers who send lines and want an answer to each.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;

use super::slow::{SOON, drip};
use crate::attack::{Answer, Attack};
use crate::connection::{End, PATIENCE, Reader, connect, converse};
use crate::http1::{ECHO, HALF};

/// What has come back: the head and the lines behind it.
#[derive(Default)]
struct Seen {
    text: Vec<u8>,
}

impl Reader for Seen {
    fn take(&mut self, bytes: &mut Vec<u8>) {
        self.text.append(bytes);
    }

    fn is_answered(&self) -> bool {
        false
    }
}

impl Seen {
    /// The status, the errors of lines, and how the connection ended.
    fn answer(&self, end: End) -> Answer {
        let text = String::from_utf8_lossy(&self.text);
        let status = text.split(' ').nth(1).unwrap_or("nothing").to_owned();
        let all = [("all that follow: ", "rest"), ("is longer than ", "line")];
        let errors =
            all.iter().filter(|(phrase, _)| text.contains(phrase)).map(|(_, name)| (*name).to_owned());
        let end = if end == End::Closed { "closed" } else { "open" };
        [status].into_iter().chain(errors).chain([end.to_owned()]).collect::<Vec<_>>().join(" ")
    }
}

fn head(path: &str, more: &str) -> Vec<u8> {
    format!("POST {path} HTTP/1.1\r\nHost: attacked\r\nContent-Type: application/x-ndjson\r\n{more}\r\n\r\n")
        .into()
}

/// The answers to chunks that come one at a time.
async fn dribble(bridge: SocketAddr, drop: &[u8]) -> Answer {
    let mut seen = Seen::default();
    let stream = connect(bridge).await.unwrap();
    let end = drip(stream, &head(HALF, "Transfer-Encoding: chunked"), drop, SOON, &mut seen).await;
    seen.answer(End::from(end))
}

/// Sends lines for as long as they are taken, and reads nothing.
async fn ask_and_never_read(bridge: SocketAddr) -> Answer {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 << 10).unwrap();
    socket.bind(SocketAddr::from(([127, 0, 2, 2], 0))).unwrap();
    let mut stream = socket.connect(bridge).await.unwrap();
    let path = format!("{ECHO}?signature_name=float");
    let _ = stream.write_all(&head(&path, "Content-Length: 100000000000")).await;
    let lines = "0.12345678\n".repeat(6000);
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(60) {
        match tokio::time::timeout(PATIENCE, stream.write_all(lines.as_bytes())).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return "cut".to_owned(),
            Err(_) => return "stuck".to_owned(),
        }
    }
    "taken".to_owned()
}

/// A line of more bytes than a line may have.
async fn long_line(bridge: SocketAddr) -> Answer {
    const SIZE: usize = 24 << 20;
    let mut request = head(HALF, &format!("Connection: close\r\nContent-Length: {SIZE}"));
    request.resize(request.len() + SIZE, b'1');
    let mut seen = Seen::default();
    let end = converse(connect(bridge).await.unwrap(), &request, &mut seen, PATIENCE).await;
    seen.answer(end)
}

pub fn attacks() -> Vec<Attack> {
    let attack = |name, expect, story| {
        Attack::story("lines", name, expect, story).needs(&["--stream-max-line", "--body-timeout"])
    };
    vec![
        attack("a line that is too long", &["200 line closed"], |bridge| Box::pin(long_line(bridge))),
        attack("lines, one at a time", &["200 rest closed"], |bridge| {
            Box::pin(dribble(bridge, b"2\r\n1\n\r\n"))
        })
        .slow()
        .attackers(20),
        attack(
            "a line without an end, a byte at a time",
            &["200 rest closed", "408 rest closed"],
            |bridge| Box::pin(dribble(bridge, b"1\r\n1\r\n")),
        )
        .slow()
        .attackers(20),
        attack("lines without an end, whose answers are not read", &["cut"], |bridge| {
            Box::pin(ask_and_never_read(bridge))
        })
        .slow()
        .attackers(2),
    ]
}
