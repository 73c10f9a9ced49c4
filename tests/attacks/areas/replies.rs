//! Replies that are larger than what they answer, or that nobody waits for.

use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::attack::{Answer, Attack};
use crate::connection::{PATIENCE, connect};
use crate::http1::{ECHO, HALF, post};
use crate::http2::{self, HEADERS, RST_STREAM, frame};

/// A request whose answer is as large as it is.
pub fn large(numbers: usize) -> Vec<u8> {
    post(ECHO, "", format!("{{\"instances\":[{}1.5]}}", "1.5,".repeat(numbers)))
}

/// One of some MB, which all attackers share.
fn four_megabytes() -> &'static [u8] {
    static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| large(1_000_000));
    &BYTES
}

/// Four of a MB each.
fn four_times_one() -> &'static [u8] {
    static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| large(250_000).repeat(4));
    &BYTES
}

/// Sends requests and goes away when the first byte of an answer comes.
async fn leave_at_first_byte(bridge: SocketAddr, requests: impl AsRef<[u8]>) -> Answer {
    let mut stream = connect(bridge).await.unwrap();
    if stream.write_all(requests.as_ref()).await.is_err() {
        return "closed".to_owned();
    }
    match tokio::time::timeout(PATIENCE, stream.read(&mut [0])).await {
        Ok(Ok(1)) => "answered".to_owned(),
        Ok(_) => "closed".to_owned(),
        Err(_) => "open".to_owned(),
    }
}

/// Sends requests and breaks the connection off some time later.
async fn leave_after(bridge: SocketAddr, requests: impl AsRef<[u8]>, delay: Duration) -> Answer {
    let mut stream = connect(bridge).await.unwrap();
    // Broken off, not ended: the peer gets a reset.
    stream.set_zero_linger().unwrap();
    let _ = stream.write_all(requests.as_ref()).await;
    tokio::time::sleep(delay).await;
    "left".to_owned()
}

pub fn attacks() -> Vec<Attack> {
    let attack = |name, expect, story| Attack::story("replies", name, expect, story);
    vec![
        attack("4 MB that are left at the first byte", &["answered"], |bridge| {
            Box::pin(leave_at_first_byte(bridge, four_megabytes()))
        })
        .attackers(1),
        attack("4 replies of 1 MB, left at the first byte", &["answered", "closed"], |bridge| {
            Box::pin(leave_at_first_byte(bridge, four_times_one()))
        })
        .attackers(2),
        attack("requests that are broken off at once", &["left"], |bridge| {
            Box::pin(leave_after(bridge, post(HALF, "", r#"{"instances":[1.0,2.0]}"#), Duration::ZERO))
        }),
        attack("4 MB whose answer is broken off", &["left"], |bridge| {
            Box::pin(leave_after(bridge, four_megabytes(), Duration::from_millis(20)))
        })
        .attackers(1),
        attack("requests of version 2 that are broken off", &["left"], |bridge| {
            let requests = http2::streams(100).flat_map(http2::predict);
            let bytes: Vec<u8> = http2::hello().into_iter().chain(requests).collect();
            Box::pin(leave_after(bridge, bytes, Duration::from_millis(5)))
        }),
        Attack::http1("replies", "1 MB of numbers, indented", &["200 open", "500 open", "503 open"], || {
            post(&format!("{ECHO}?pretty"), "", format!("{{\"instances\":[{}1]}}", "1,".repeat(500_000)))
        })
        .attackers(1),
        Attack::http1("replies", "4 MB of control characters, escaped", &["200 open", "503 open"], || {
            let head = "Content-Type: application/octet-stream\r\n";
            post(&format!("{ECHO}?signature_name=string"), head, vec![1; 4 << 20])
        })
        .attackers(4),
        Attack::http1("replies", "1000 lists of 250 levels, indented", &["200 open"], || {
            let nested = format!("{}1{}", "[".repeat(250), "]".repeat(250));
            post(
                &format!("{ECHO}?pretty"),
                "",
                format!("{{\"instances\":[{}]}}", vec![nested; 1000].join(",")),
            )
        })
        .attackers(1),
        Attack::http1("replies", "a message with 2 MB of what was wrong", &["400 open"], || {
            post(HALF, "", format!("{{\"instances\":[\"{}\"]}}", "a".repeat(2 << 20)))
        })
        .attackers(2),
        Attack::http2("replies", "100 indented answers at a time", &["200, open"], || {
            // As much as may be sent before the server has opened its windows.
            let body = format!("{{\"instances\":[{}1]}}", "1,".repeat(250));
            let request = |stream| {
                let head = http2::head("POST", &format!("{ECHO}?pretty"), &[]);
                let head = frame(HEADERS, http2::END_HEADERS, stream, &head);
                [head, frame(http2::DATA, http2::END_STREAM, stream, body.as_bytes())].concat()
            };
            http2::streams(100).flat_map(request).collect()
        })
        .attackers(2),
        Attack::http2("replies", "100 answers that nobody wants any more", &["200, open", "open"], || {
            let reset = |stream| frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
            let ping = frame(http2::PING, 0, 0, &[0; 8]);
            let all = http2::streams(18)
                .flat_map(|stream| [http2::predict(stream), ping.clone(), reset(stream)].concat());
            all.chain(http2::predict(99)).collect()
        }),
    ]
}
