//! The attackers' side of HTTP/2, a frame at a time: no library would misbehave like this.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::attack::Answer;
use crate::connection::{self, End, Reader};
use crate::http1::HALF;

/// How a client begins.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;
pub const HAS_PRIORITY: u8 = 32;

/// A frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// A SETTINGS frame.
pub fn settings(values: &[(u16, u32)]) -> Vec<u8> {
    let payload: Vec<u8> = values
        .iter()
        .flat_map(|(key, value)| [&key.to_be_bytes()[..], &value.to_be_bytes()[..]].concat())
        .collect();
    frame(SETTINGS, 0, 0, &payload)
}

/// A header as a literal that is not indexed.
pub fn literal(name: &str, value: &str) -> Vec<u8> {
    let mut text = vec![0];
    for part in [name, value] {
        integer(&mut text, 0, 7, part.len());
        text.extend_from_slice(part.as_bytes());
    }
    text
}

/// An integer of HPACK in the low bits of a byte and what follows.
pub fn integer(text: &mut Vec<u8>, high: u8, bits: u32, value: usize) {
    let most = (1 << bits) - 1;
    if value < most {
        text.push(high | value as u8);
        return;
    }
    text.push(high | most as u8);
    let mut rest = value - most;
    while rest >= 128 {
        text.push(rest as u8 | 128);
        rest >>= 7;
    }
    text.push(rest as u8);
}

/// The headers of a request, with some more.
pub fn head(method: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let pseudo = [(":method", method), (":scheme", "http"), (":authority", "attacked"), (":path", path)];
    block(&pseudo.into_iter().chain(more.iter().copied()).collect::<Vec<_>>())
}

/// A block of exactly these headers.
pub fn block(headers: &[(&str, &str)]) -> Vec<u8> {
    headers.iter().flat_map(|(name, value)| literal(name, value)).collect()
}

/// A request without a body.
pub fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &head("GET", path, &[]))
}

/// The head of a request with a body.
pub fn open(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &head("POST", HALF, &[]))
}

/// A whole small request.
pub fn predict(stream: u32) -> Vec<u8> {
    [open(stream), frame(DATA, END_STREAM, stream, br#"{"instances":[1.0,2.0]}"#)].concat()
}

/// The numbers of the streams that a client may open.
pub fn streams(count: u32) -> impl Iterator<Item = u32> {
    (0..count).map(|index| 2 * index + 1)
}

/// Reads what a server says of streams and of the connection.
#[derive(Debug, Default)]
pub struct Frames {
    /// What was said, once each.
    said: Vec<String>,
    reply: Vec<u8>,
    /// Whether windows are opened for more.
    opens_windows: bool,
    /// Whether nothing is said in reply, not even what must be.
    is_mute: bool,
}

impl Reader for Frames {
    fn take(&mut self, bytes: &mut Vec<u8>) {
        let mut at = 0;
        while let Some(head) = bytes.get(at..at + 9) {
            let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
            let (kind, flags) = (head[3], head[4]);
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            let Some(payload) = bytes.get(at + 9..at + 9 + length) else { break };
            self.frame(kind, flags, stream, payload);
            at += 9 + length;
        }
        bytes.drain(..at);
    }

    fn is_answered(&self) -> bool {
        !self.said.is_empty()
    }

    fn reply(&mut self) -> Vec<u8> {
        let reply = std::mem::take(&mut self.reply);
        if self.is_mute { Vec::new() } else { reply }
    }
}

impl Frames {
    /// One that asks for more wherever it gets something.
    pub fn greedy() -> Self {
        Self { opens_windows: true, ..Self::default() }
    }

    /// One that says nothing: a frame in the midst of headers would be a fault of its own.
    pub fn mute() -> Self {
        Self { is_mute: true, ..Self::default() }
    }

    fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        match kind {
            HEADERS => self.say(status(payload)),
            RST_STREAM => self.say(format!("reset {}", error_name(payload))),
            GOAWAY => self.say(format!("goaway {}", error_name(payload.get(4..).unwrap_or_default()))),
            DATA if self.opens_windows && !payload.is_empty() => {
                let increment = u32::try_from(payload.len()).unwrap().to_be_bytes();
                self.reply.extend(frame(WINDOW_UPDATE, 0, 0, &increment));
                self.reply.extend(frame(WINDOW_UPDATE, 0, stream, &increment));
            }
            SETTINGS | PING if flags & ACK != 0 => {}
            SETTINGS => self.reply.extend(frame(SETTINGS, ACK, 0, &[])),
            PING => self.reply.extend(frame(PING, ACK, 0, payload)),
            _ => {}
        }
    }

    fn say(&mut self, text: String) {
        if !self.said.contains(&text) {
            self.said.push(text);
        }
    }

    /// What was said and how the connection ended; the statuses first, since they race with
    /// everything else.
    pub fn answer(&mut self, end: End) -> Answer {
        self.said.sort_by_key(|said| (said.starts_with("goaway"), said.starts_with("reset"), said.clone()));
        let end = if end == End::Closed { "closed" } else { "open" };
        self.said.iter().map(String::as_str).chain([end]).collect::<Vec<_>>().join(", ")
    }
}

/// The status at the start of a response's headers. Servers are told to keep no table, so it is one
/// of the static table or a literal.
fn status(block: &[u8]) -> String {
    const INDEXED: [&str; 7] = ["200", "204", "206", "304", "400", "404", "500"];
    // Changes of the table's size come first.
    let start = block.iter().take_while(|&&byte| byte & 0xE0 == 0x20).count();
    match block[start..] {
        [index @ 0x88..=0x8E, ..] => INDEXED[usize::from(index - 0x88)].to_owned(),
        [0x08 | 0x18 | 0x48, length, ref text @ ..] if length & 0x80 != 0 => {
            digits(&text[..usize::from(length & 0x7F)])
        }
        [0x08 | 0x18 | 0x48, length, ref text @ ..] => {
            String::from_utf8_lossy(&text[..usize::from(length)]).into_owned()
        }
        _ => format!("unreadable {block:02x?}"),
    }
}

/// Digits in the Huffman code of HPACK: 0, 1 and 2 have five bits, the others six.
fn digits(text: &[u8]) -> String {
    let bits = text.iter().fold(0_u64, |bits, &byte| bits << 8 | u64::from(byte));
    let mut left = 8 * text.len();
    let mut digits = String::new();
    while digits.len() < 3 {
        let five = bits >> (left - 5) & 0x1F;
        let (digit, length) = if five <= 2 { (five, 5) } else { ((bits >> (left - 6) & 0x3F) - 22, 6) };
        left -= length;
        digits.push_str(&digit.to_string());
    }
    digits
}

fn error_name(code: &[u8]) -> String {
    const NAMES: [&str; 14] = [
        "NO_ERROR",
        "PROTOCOL_ERROR",
        "INTERNAL_ERROR",
        "FLOW_CONTROL_ERROR",
        "SETTINGS_TIMEOUT",
        "STREAM_CLOSED",
        "FRAME_SIZE_ERROR",
        "REFUSED_STREAM",
        "CANCEL",
        "COMPRESSION_ERROR",
        "CONNECT_ERROR",
        "ENHANCE_YOUR_CALM",
        "INADEQUATE_SECURITY",
        "HTTP_1_1_REQUIRED",
    ];
    let name = code.get(3).and_then(|&code| NAMES.get(usize::from(code)));
    name.map_or_else(|| format!("{code:?}"), |&name| name.to_owned())
}

/// What every client says first: the preface, and that it keeps no table of headers.
pub fn hello() -> Vec<u8> {
    [PREFACE, &settings(&[(1, 0)])].concat()
}

/// Sends frames over a new connection and reads what comes of it.
pub async fn exchange(bridge: SocketAddr, frames: &[u8]) -> Answer {
    match connection::connect(bridge).await {
        Ok(stream) => exchange_over(stream, frames, connection::PATIENCE).await,
        Err(error) => format!("not connected: {error}"),
    }
}

/// The same over a connection that is there.
pub async fn exchange_over<S>(stream: S, frames: &[u8], patience: Duration) -> Answer
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let bytes = [&hello(), frames].concat();
    let mut frames = Frames::greedy();
    let end = connection::converse(stream, &bytes, &mut frames, patience).await;
    frames.answer(end)
}

#[test]
fn statuses_are_read() {
    assert_eq!(status(&[0x20, 0x88]), "200");
    assert_eq!(status(&[0x48, 3, b'4', b'1', b'3']), "413");
    // The example of RFC 7541, C.6.1: 302 in Huffman's code.
    assert_eq!(status(&[0x48, 0x82, 0x64, 0x02]), "302");
}
