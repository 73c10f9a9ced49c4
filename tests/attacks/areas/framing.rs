//! Where a body ends: lengths and chunks that two servers in a row might understand differently, so
//! that what one takes for a body is a request of somebody else's to the other.
//!
//! Most carry such a request, [`SMUGGLED`], which has an answer of its own: 404. It must never come.

use crate::attack::Attack;
use crate::http1::HALF;

/// A request within a body.
const SMUGGLED: &str = "GET /v1/models/smuggled HTTP/1.1\r\nHost: attacked\r\n\r\n";

const BODY: &str = r#"{"instances":[1.0,2.0]}"#;

/// Refused, and the connection with it.
const BAD: &[&str] = &["400 closed"];

/// The same with the other status for a coding that nobody knows.
const UNKNOWN: &[&str] = &["400 closed", "501 closed"];

/// A request with these lines in its head and this body.
fn request(lines: &str, body: &str) -> Vec<u8> {
    format!("POST {HALF} HTTP/1.1\r\nHost: attacked\r\n{lines}\r\n{body}").into_bytes()
}

/// A chunked request with these chunks, after which there is a smuggled one.
fn chunks(chunks: &str) -> Vec<u8> {
    request("Transfer-Encoding: chunked\r\n", &format!("{chunks}{SMUGGLED}"))
}

/// A request whose length is written like this.
fn length(length: &str) -> Vec<u8> {
    request(&format!("Content-Length: {length}\r\n"), &format!("{BODY}{SMUGGLED}"))
}

/// A chunked request where the coding is written like this.
fn coding(lines: &str) -> Vec<u8> {
    request(lines, &format!("17\r\n{BODY}\r\n0\r\n\r\n{SMUGGLED}"))
}

fn attack(name: &'static str, expect: &'static [&'static str], bytes: fn() -> Vec<u8>) -> Attack {
    Attack::http1("framing", name, expect, bytes)
}

pub fn attacks() -> Vec<Attack> {
    vec![
        attack("chunks with a length", &["400 closed", "200 closed"], || {
            coding(&format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n", 33 + SMUGGLED.len()))
        }),
        attack("a length after chunks", &["400 closed", "200 closed"], || {
            coding(&format!("Transfer-Encoding: chunked\r\nContent-Length: {}\r\n", 33 + SMUGGLED.len()))
        }),
        attack("two lengths", BAD, || length("23\r\nContent-Length: 0")),
        attack("two lengths, the wrong one first", BAD, || length("0\r\nContent-Length: 23")),
        attack("two lengths in one", BAD, || length("23, 0")),
        // Here the smuggled request is none: both agree on where it starts.
        attack("the same length twice", &["400 closed", "200 404 open"], || {
            length("23\r\nContent-Length: 23")
        }),
        attack("a negative length", BAD, || length("-1")),
        attack("a length with a plus", BAD, || length("+23")),
        attack("a length in hexadecimal", BAD, || length("0x17")),
        attack("a length with a space in it", BAD, || length("2 3")),
        attack("a length with a fraction", BAD, || length("23.0")),
        attack("no length where one is named", BAD, || length("")),
        attack("a length of 2^64", BAD, || length("18446744073709551616")),
        attack("a length of a thousand digits", BAD, || length(&"9".repeat(1000))),
        attack("a length in other digits", BAD, || length("٢٣")),
        // Where the body ends is clear, but not what it is. The next request is one.
        attack("chunked twice", &["501 404 open", "501 closed", "400 closed"], || {
            coding("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n")
        }),
        attack("chunked twice in one", &["501 404 open", "501 closed", "400 closed"], || {
            coding("Transfer-Encoding: chunked, chunked\r\n")
        }),
        attack("gzip in chunks, by the coding", &["501 404 open", "501 closed", "400 closed"], || {
            coding("Transfer-Encoding: gzip, chunked\r\n")
        }),
        attack("a coding that is almost chunked", UNKNOWN, || coding("Transfer-Encoding: xchunked\r\n")),
        attack("chunked, but not in the end", UNKNOWN, || coding("Transfer-Encoding: chunked, identity\r\n")),
        attack("the coding of nothing", UNKNOWN, || {
            coding("Transfer-Encoding: identity\r\nContent-Length: 23\r\n")
        }),
        attack("a coding behind a vertical tab", UNKNOWN, || {
            coding("Transfer-Encoding: \x0bchunked\r\nContent-Length: 23\r\n")
        }),
        attack("a coding in quotes", UNKNOWN, || {
            coding("Transfer-Encoding: \"chunked\"\r\nContent-Length: 23\r\n")
        }),
        attack("a coding with a space before the colon", BAD, || {
            coding("Transfer-Encoding : chunked\r\nContent-Length: 23\r\n")
        }),
        attack("a coding on a folded line", BAD, || {
            coding("Transfer-Encoding:\r\n chunked\r\nContent-Length: 23\r\n")
        }),
        attack("chunks in version 1.0", BAD, || {
            let request = coding("Transfer-Encoding: chunked\r\n");
            String::from_utf8(request).unwrap().replacen("HTTP/1.1", "HTTP/1.0", 1).into_bytes()
        }),
        attack("a chunk of 2^64 bytes", BAD, || chunks("10000000000000000\r\n")),
        attack("a chunk of a thousand digits", BAD, || chunks(&format!("{}\r\n", "f".repeat(1000)))),
        attack("a chunk of a thousand zeros", &["200 404 open", "400 closed"], || {
            chunks(&format!("{}17\r\n{BODY}\r\n0\r\n\r\n", "0".repeat(1000)))
        }),
        attack("a chunk of a negative size", BAD, || chunks("-17\r\n")),
        attack("a chunk of 0x17 bytes", BAD, || chunks(&format!("0x17\r\n{BODY}\r\n0\r\n\r\n"))),
        attack("a chunk without a size", BAD, || chunks(&format!("\r\n{BODY}\r\n0\r\n\r\n"))),
        attack("a chunk that is longer than it says", BAD, || chunks(&format!("10\r\n{BODY}\r\n0\r\n\r\n"))),
        attack("a size that ends with LF alone", BAD, || chunks(&format!("17\n{BODY}\r\n0\r\n\r\n"))),
        attack("a chunk that ends with LF alone", BAD, || chunks(&format!("17\r\n{BODY}\n0\r\n\r\n"))),
        attack("an extension with LF in it", BAD, || chunks(&format!("17;a\nb\r\n{BODY}\r\n0\r\n\r\n"))),
        attack("an extension of 4 MB", &["400 closed", "closed"], || {
            chunks(&format!("17;{}\r\n{BODY}\r\n0\r\n\r\n", "a".repeat(4 << 20)))
        }),
        attack("extensions of 4 MB in all", &["400 closed", "closed"], || {
            let chunk = format!("1;{}\r\n \r\n", "a".repeat(1000));
            chunks(&format!("{}0\r\n\r\n", chunk.repeat(4000)))
        }),
        attack("a million trailers", &["400 closed", "431 closed", "closed"], || {
            chunks(&format!("17\r\n{BODY}\r\n0\r\n{}\r\n", "a: b\r\n".repeat(1_000_000)))
        }),
        attack("a trailer of 4 MB", &["400 closed", "431 closed", "closed"], || {
            chunks(&format!("17\r\n{BODY}\r\n0\r\na: {}\r\n\r\n", "b".repeat(4 << 20)))
        }),
        attack("a length among the trailers", &["200 404 open", "400 closed", "200 closed"], || {
            chunks(&format!("17\r\n{BODY}\r\n0\r\nContent-Length: 100\r\n\r\n"))
        }),
        attack("a body in 20 000 chunks", &["200 open", "400 closed"], || {
            let space = "1\r\n \r\n".repeat(20_000);
            request("Transfer-Encoding: chunked\r\n", &format!("{space}17\r\n{BODY}\r\n0\r\n\r\n"))
        }),
        // What comes behind a body is a request of its own, and this is none.
        attack("more than the length says", &["200 400 closed"], || {
            request(&format!("Content-Length: {}\r\n", BODY.len()), &format!("{BODY}{BODY}\r\n\r\n"))
        }),
        // The answer waits a little for a body that is on its way, which the client would not read it for.
        attack("an announcement of 2^63 bytes", &["400 closed", "413 closed"], || {
            request("Content-Length: 9223372036854775807\r\n", "")
        })
        .slow(),
        attack("an announcement of 100 MB", &["413 closed"], || request("Content-Length: 104857600\r\n", ""))
            .slow(),
        Attack::story("framing", "a body that stops at its half", &["400 closed", "closed"], |bridge| {
            Box::pin(super::slow::half_closed(bridge, request("Content-Length: 46\r\n", BODY)))
        }),
        Attack::story("framing", "a chunk that stops at its half", &["400 closed", "closed"], |bridge| {
            let request = request("Transfer-Encoding: chunked\r\n", &format!("2e\r\n{BODY}"));
            Box::pin(super::slow::half_closed(bridge, request))
        }),
        Attack::story("framing", "no chunk in the end", &["400 closed", "closed"], |bridge| {
            let request = request("Transfer-Encoding: chunked\r\n", &format!("17\r\n{BODY}\r\n"));
            Box::pin(super::slow::half_closed(bridge, request))
        }),
    ]
}
