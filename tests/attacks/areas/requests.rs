//! Heads of requests: too long, malformed, or after something that they must not reach.

use crate::attack::Attack;
use crate::http1::{HALF, post};

const BODY: &str = r#"{"instances":[1.0,2.0]}"#;

/// Refused, and the connection with it.
const BAD: &[&str] = &["400 closed"];

/// The same where a client that still sends may lose the answer.
const TOO_LONG: &[&str] = &["431 closed", "closed"];

/// A request for a path, and after it a good one.
fn get(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: attacked\r\n\r\n").into_bytes()
}

/// A good request but for some lines of its head.
fn lines(lines: &[u8]) -> Vec<u8> {
    let end = format!("Content-Length: {}\r\n\r\n{BODY}", BODY.len());
    [format!("POST {HALF} HTTP/1.1\r\n").as_bytes(), lines, end.as_bytes()].concat()
}

fn attack(name: &'static str, expect: &'static [&'static str], bytes: fn() -> Vec<u8>) -> Attack {
    Attack::http1("requests", name, expect, bytes)
}

pub fn attacks() -> Vec<Attack> {
    vec![
        attack("a path of 1 MB", &["414 closed", "431 closed", "closed"], || {
            get(&format!("/{}", "a".repeat(1 << 20)))
        }),
        attack("a query of 1 MB", &["414 closed", "431 closed", "closed"], || {
            get(&format!("/v1/models/half_plus_two?{}", "a=b&".repeat(1 << 18)))
        }),
        attack("a method of 1 MB", &["400 closed", "431 closed", "closed"], || {
            format!("{} / HTTP/1.1\r\nHost: attacked\r\n\r\n", "A".repeat(1 << 20)).into_bytes()
        }),
        attack("a header of 1 MB", TOO_LONG, || {
            lines(format!("Host: attacked\r\nX-Long: {}\r\n", "a".repeat(1 << 20)).as_bytes())
        }),
        attack("the name of a header of 1 MB", TOO_LONG, || {
            lines(format!("Host: attacked\r\n{}: a\r\n", "a".repeat(1 << 20)).as_bytes())
        }),
        attack("10 000 headers", TOO_LONG, || {
            lines(format!("Host: attacked\r\n{}", "a: b\r\n".repeat(10_000)).as_bytes())
        }),
        attack("a head just beyond 64 KiB", TOO_LONG, || {
            lines(format!("Host: attacked\r\nX-Long: {}\r\n", "a".repeat(64 << 10)).as_bytes())
        })
        .needs(&["--max-header-size"]),
        attack("101 headers", TOO_LONG, || {
            lines(format!("Host: attacked\r\n{}", "a: b\r\n".repeat(101)).as_bytes())
        })
        .needs(&["--max-headers"]),
        attack("version 9.9", &["400 closed", "505 closed"], || {
            format!("GET {HALF} HTTP/9.9\r\nHost: attacked\r\n\r\n").into_bytes()
        }),
        attack("version 2.0 in a line of version 1", &["400 closed", "505 closed"], || {
            format!("GET {HALF} HTTP/2.0\r\nHost: attacked\r\n\r\n").into_bytes()
        }),
        attack("NUL in the name of a header", BAD, || lines(b"Host: attacked\r\nX-\0: a\r\n")),
        attack("NUL in the value of a header", BAD, || lines(b"Host: attacked\r\nX-A: a\0b\r\n")),
        attack("a bare CR in the value of a header", BAD, || {
            lines(b"Host: attacked\r\nX-A: a\rContent-Length: 0\r\n")
        }),
        attack("a folded line", BAD, || lines(b"Host: attacked\r\nX-A: a\r\n b\r\n")),
        attack("a space before the colon", BAD, || lines(b"Host: attacked\r\nX-A : a\r\n")),
        attack("a space before the first header", BAD, || lines(b" Host: attacked\r\n")),
        attack("a header without a colon", BAD, || lines(b"Host: attacked\r\nX-A\r\n")),
        attack("a header without a name", BAD, || lines(b"Host: attacked\r\n: a\r\n")),
        attack("UTF-8 in the name of a header", BAD, || lines("Host: attacked\r\nX-é: a\r\n".as_bytes())),
        // Nothing here depends on the host: what is right for other servers, 400, is as good.
        attack("two hosts", &["200 open", "400 closed"], || lines(b"Host: attacked\r\nHost: other\r\n")),
        // Allowed by RFC 9112, 2.2, where it ends a line; where it hides one it is the next ones' matter.
        attack("lines that end with LF alone", &["200 open", "400 closed"], || {
            let request = String::from_utf8(lines(b"Host: attacked\r\n")).unwrap();
            request.replace("\r\n", "\n").into_bytes()
        }),
        attack("1 MB of empty lines", &["400 closed", "431 closed", "closed"], || b"\r\n".repeat(1 << 19)),
        attack("bytes of no protocol", &["400 closed", "closed"], || {
            (0..100_000_u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
        }),
        attack("NULs alone", &["400 closed", "closed"], || vec![0; 100_000]),
        attack(
            "CONNECT to another host",
            &["400 open", "400 closed", "405 open", "501 open", "501 closed"],
            || b"CONNECT other:443 HTTP/1.1\r\nHost: other:443\r\n\r\n".to_vec(),
        ),
        attack("a method of one's own", &["501 open"], || {
            b"BREW /v1/models/half_plus_two HTTP/1.1\r\nHost: attacked\r\n\r\n".to_vec()
        }),
        attack("OPTIONS for everything", &["404 open", "400 open", "405 open"], || {
            b"OPTIONS * HTTP/1.1\r\nHost: attacked\r\n\r\n".to_vec()
        }),
        attack("a path that climbs", &["400 open", "404 open"], || get("/v1/models/../../../etc/passwd")),
        attack("a whole URL that climbs", &["400 open", "404 open"], || {
            get("http://other/v1/models/../../../etc/passwd")
        }),
        // A name like any other, which no model has.
        attack("a name that climbs in percent", &["404 open"], || {
            get("/v1/models/..%2F..%2F..%2Fetc%2Fpasswd")
        }),
        attack("percent in percent", &["404 open"], || get("/v1/models/%252e%252e%252f%252e%252e")),
        attack("NUL in the name of a model", &["400 open", "404 open"], || {
            get("/v1/models/half_plus_two%00")
        }),
        attack("a name that is no UTF-8", &["400 open", "404 open"], || get("/v1/models/%ff%fe")),
        attack("a line break in the name of a model", &["400 open", "404 open"], || {
            get("/v1/models/a%0d%0aSet-Cookie:%20a=b")
        }),
        attack("a version of a million digits", &["400 open", "414 closed", "431 closed", "closed"], || {
            get(&format!("/v1/models/half_plus_two/versions/{}", "9".repeat(1_000_000)))
        }),
        attack("an unknown expectation", &["200 open", "417 open", "417 closed"], || {
            post(HALF, "Expect: the-unexpected\r\n", BODY)
        }),
        attack("an upgrade to what is not spoken", &["200 open"], || {
            post(
                HALF,
                "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
                BODY,
            )
        }),
        attack("500 requests in one go", &["200 open", "200 closed"], || {
            get("/v1/models/half_plus_two").repeat(500)
        }),
    ]
}
