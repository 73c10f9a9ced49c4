//! HTTP/2: floods, bombs and frames that must not be.
//!
//! Floods that a connection may survive end with a request, so that its answer shows that it has.

use crate::attack::Attack;
use crate::http1::HALF;
use crate::http2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HAS_PRIORITY, HEADERS, PADDED, PING, PRIORITY,
    PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE, block, frame, get, head, literal, open, predict,
    settings, streams,
};

/// The connection ends: the client breaks the protocol, or asks for too much.
macro_rules! ends {
    ($($code:literal),+) => {
        &["closed", $(concat!("goaway ", $code, ", closed"), concat!("200, goaway ", $code, ", closed")),+]
    };
}

/// So many resets are the server's own that it has had enough.
const RESETS: &[&str] = &[
    "closed",
    "goaway ENHANCE_YOUR_CALM, closed",
    "reset REFUSED_STREAM, goaway ENHANCE_YOUR_CALM, closed",
    "reset FLOW_CONTROL_ERROR, goaway ENHANCE_YOUR_CALM, closed",
    "reset FLOW_CONTROL_ERROR, reset REFUSED_STREAM, goaway ENHANCE_YOUR_CALM, closed",
    "reset PROTOCOL_ERROR, goaway ENHANCE_YOUR_CALM, closed",
    "reset PROTOCOL_ERROR, reset REFUSED_STREAM, goaway ENHANCE_YOUR_CALM, closed",
    // What arrives for a stream behind its reset is for a closed one.
    "reset PROTOCOL_ERROR, reset STREAM_CLOSED, goaway ENHANCE_YOUR_CALM, closed",
    "reset PROTOCOL_ERROR, reset REFUSED_STREAM, reset STREAM_CLOSED, goaway ENHANCE_YOUR_CALM, closed",
];

const PROTOCOL: &[&str] = ends!("PROTOCOL_ERROR");
const CALM: &[&str] = ends!("ENHANCE_YOUR_CALM");

/// One stream is refused and the connection goes on, or not: a server may take it for hopeless.
const BAD_STREAM: &[&str] =
    &["reset PROTOCOL_ERROR, open", "400, open", "goaway PROTOCOL_ERROR, closed", "closed"];

/// The flood did nothing but take time, or the connection ended for it.
const FLOOD: &[&str] = &["200, open", "goaway ENHANCE_YOUR_CALM, closed", "closed"];

fn attack(name: &'static str, expect: &'static [&'static str], frames: fn() -> Vec<u8>) -> Attack {
    Attack::http2("streams", name, expect, frames)
}

/// A request without a body and with exactly these headers.
fn request(headers: &[u8]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, 1, headers)
}

fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())
}

/// The same frame often, and then a request.
fn flood(frame: &[u8], count: usize) -> Vec<u8> {
    [frame.repeat(count), predict(1)].concat()
}

/// A request with a body that this frame is a part of.
fn body(more: Vec<u8>) -> Vec<u8> {
    [open(1), more].concat()
}

pub fn attacks() -> Vec<Attack> {
    vec![
        attack("rapid reset", CALM, || {
            streams(20_000)
                .flat_map(|stream| [get(stream, "/v1/models/half_plus_two"), reset(stream)].concat())
                .collect()
        }),
        attack("rapid reset of requests with bodies", CALM, || {
            streams(20_000).flat_map(|stream| [predict(stream), reset(stream)].concat()).collect()
        }),
        attack("resets that the server is made to send, for windows", RESETS, || {
            let mistake = |stream| frame(WINDOW_UPDATE, 0, stream, &0x7FFF_FFFF_u32.to_be_bytes());
            streams(20_000).flat_map(|stream| [open(stream), mistake(stream)].concat()).collect()
        }),
        attack("resets that the server is made to send, for lengths", RESETS, || {
            let empty =
                |stream| frame(HEADERS, END_HEADERS, stream, &head("POST", HALF, &[("content-length", "0")]));
            let mistake = |stream| frame(DATA, 0, stream, b"{}");
            streams(20_000).flat_map(|stream| [empty(stream), mistake(stream)].concat()).collect()
        }),
        attack(
            "10 000 streams at a time",
            &[
                "200, reset REFUSED_STREAM, open",
                "200, goaway ENHANCE_YOUR_CALM, closed",
                "goaway ENHANCE_YOUR_CALM, closed",
                "reset REFUSED_STREAM, goaway ENHANCE_YOUR_CALM, closed",
                "200, reset REFUSED_STREAM, goaway ENHANCE_YOUR_CALM, closed",
                "closed",
            ],
            || {
                let unfinished = streams(10_000).flat_map(open);
                let end = streams(256)
                    .flat_map(|stream| frame(DATA, END_STREAM, stream, br#"{"instances":[1.0,2.0]}"#));
                unfinished.chain(end).collect()
            },
        ),
        attack(
            "10 000 streams without an end",
            &[
                "reset REFUSED_STREAM, open",
                "goaway ENHANCE_YOUR_CALM, closed",
                "reset REFUSED_STREAM, goaway ENHANCE_YOUR_CALM, closed",
                "closed",
            ],
            || streams(10_000).flat_map(open).collect(),
        ),
        attack("4000 headers", &["431, open", "goaway ENHANCE_YOUR_CALM, closed", "closed"], || {
            let headers = [head("GET", HALF, &[]), block(&[("a", "b")]).repeat(3000)].concat();
            request(&headers)
        }),
        attack("a header of 16 KB", &["200, open", "431, open"], || {
            request(&head("GET", "/v1/models/half_plus_two", &[("x-long", &"a".repeat(16_000))]))
        }),
        attack(
            "a path of 60 KB",
            &[
                "404, open",
                "431, open",
                "414, open",
                "400, open",
                "goaway COMPRESSION_ERROR, closed",
                "goaway ENHANCE_YOUR_CALM, closed",
                "closed",
            ],
            || {
                let block = head("GET", &format!("/{}", "a".repeat(60_000)), &[]);
                let mut parts = block.chunks(16_000);
                let first = frame(HEADERS, END_STREAM, 1, parts.next().unwrap());
                let mut frames = first;
                let parts: Vec<_> = parts.collect();
                for (index, part) in parts.iter().enumerate() {
                    let flags = if index + 1 == parts.len() { END_HEADERS } else { 0 };
                    frames.extend(frame(CONTINUATION, flags, 1, part));
                }
                frames
            },
        ),
        attack(
            "a bomb of references",
            &["431, open", "goaway ENHANCE_YOUR_CALM, closed", "goaway COMPRESSION_ERROR, closed", "closed"],
            || {
                // One header of 4 KB that is kept in the table, and 12 000 references to it.
                let mut kept = literal("x-kept", &"a".repeat(4000));
                kept[0] = 0x40;
                request(&[head("GET", HALF, &[]), kept, vec![0xBE; 12_000]].concat())
            },
        ),
        attack(
            "a bomb of references for each stream",
            &[
                "431, open",
                "431, reset REFUSED_STREAM, open",
                "goaway ENHANCE_YOUR_CALM, closed",
                "431, goaway ENHANCE_YOUR_CALM, closed",
                "closed",
            ],
            || {
                let mut kept = literal("x-kept", &"a".repeat(4000));
                kept[0] = 0x40;
                let first = request(&[head("GET", HALF, &[]), kept].concat());
                let bomb = [head("GET", HALF, &[]), vec![0xBE; 12_000]].concat();
                let bombs =
                    (1..100).flat_map(|index| frame(HEADERS, END_HEADERS | END_STREAM, 2 * index + 1, &bomb));
                first.into_iter().chain(bombs).collect()
            },
        ),
        attack(
            "10 000 changes of the table's size",
            &["405, open", "goaway COMPRESSION_ERROR, closed", "goaway PROTOCOL_ERROR, closed"],
            || request(&[vec![0x20; 10_000], vec![0x3F; 6], head("GET", HALF, &[])].concat()),
        ),
        attack("an index that is not there", ends!("COMPRESSION_ERROR", "PROTOCOL_ERROR"), || {
            request(&[vec![0xFF, 0x80, 0x01], head("GET", HALF, &[])].concat())
        }),
        attack("an index of 2^70", ends!("COMPRESSION_ERROR", "PROTOCOL_ERROR"), || {
            request(&[vec![0xFF; 11], vec![0x01]].concat())
        }),
        attack("a string beyond its block", ends!("COMPRESSION_ERROR", "PROTOCOL_ERROR"), || {
            request(&[0x00, 0x7F, 0xFF, 0xFF, 0x7F, b'a'])
        }),
        attack("Huffman's code of nothing", ends!("COMPRESSION_ERROR", "PROTOCOL_ERROR"), || {
            request(
                &[&head("GET", HALF, &[])[..], &[0x00, 0x01, b'a', 0x84, 0xFF, 0xFF, 0xFF, 0xFF]].concat(),
            )
        }),
        attack(
            "a flood of continuations",
            &["goaway ENHANCE_YOUR_CALM, closed", "goaway COMPRESSION_ERROR, closed", "closed", "431, open"],
            || {
                let start = frame(HEADERS, END_STREAM, 1, &head("GET", HALF, &[]));
                let more = frame(CONTINUATION, 0, 1, &block(&[("a", "b")]).repeat(2000));
                [start, more.repeat(2000)].concat()
            },
        ),
        attack(
            "a flood of empty continuations",
            &[
                "goaway ENHANCE_YOUR_CALM, closed",
                "goaway COMPRESSION_ERROR, closed",
                "closed",
                "404, open",
                "400, open",
                "405, open",
            ],
            || {
                let start = frame(HEADERS, END_STREAM, 1, &head("GET", HALF, &[]));
                let empty = frame(CONTINUATION, 0, 1, &[]).repeat(100_000);
                [start, empty, frame(CONTINUATION, END_HEADERS, 1, &[])].concat()
            },
        ),
        attack("a continuation of another stream", PROTOCOL, || {
            [frame(HEADERS, END_STREAM, 1, &head("GET", HALF, &[])), frame(CONTINUATION, END_HEADERS, 3, &[])]
                .concat()
        }),
        attack("a continuation of nothing", PROTOCOL, || {
            frame(CONTINUATION, END_HEADERS, 1, &head("GET", HALF, &[]))
        }),
        attack("data between headers and their continuation", PROTOCOL, || {
            [frame(HEADERS, 0, 1, &head("POST", HALF, &[])), frame(DATA, END_STREAM, 1, b"{}")].concat()
        }),
        attack("a flood of settings", FLOOD, || flood(&settings(&[(3, 100)]), 100_000)),
        attack("settings of a thousand values", FLOOD, || flood(&settings(&[(4, 65_535); 1000]), 300)),
        attack("windows that grow and shrink", FLOOD, || {
            flood(&[settings(&[(4, 0)]), settings(&[(4, 65_535)])].concat(), 20_000)
        }),
        attack("a flood of pings", FLOOD, || flood(&frame(PING, 0, 0, &[7; 8]), 100_000)),
        attack("a flood of pings that are answers", FLOOD, || flood(&frame(PING, 1, 0, &[7; 8]), 100_000)),
        attack("a flood of priorities", FLOOD, || flood(&frame(PRIORITY, 0, 9, &[0, 0, 0, 11, 5]), 100_000)),
        attack("priorities for 50 000 streams", FLOOD, || {
            let priorities =
                streams(50_000).flat_map(|stream| frame(PRIORITY, 0, stream + 2, &[0, 0, 0, 1, 5]));
            priorities.chain(predict(1)).collect()
        }),
        attack("a flood of windows", FLOOD, || {
            flood(&frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes()), 100_000)
        }),
        attack("a flood of frames of no kind", FLOOD, || flood(&frame(0x77, 0xFF, 1, b"what"), 100_000)),
        attack("a flood of empty data", FLOOD, || {
            body(
                [
                    frame(DATA, 0, 1, &[]).repeat(100_000),
                    frame(DATA, END_STREAM, 1, br#"{"instances":[1.0,2.0]}"#),
                ]
                .concat(),
            )
        }),
        attack("a body of single bytes", FLOOD, || {
            let spaces = frame(DATA, 0, 1, b" ").repeat(50_000);
            body([spaces, frame(DATA, END_STREAM, 1, br#"{"instances":[1.0,2.0]}"#)].concat())
        }),
        attack("padding and little else", FLOOD, || {
            let padded = [&[255][..], b" ", &[0; 255]].concat();
            let spaces = frame(DATA, PADDED, 1, &padded).repeat(200);
            body([spaces, frame(DATA, END_STREAM, 1, br#"{"instances":[1.0,2.0]}"#)].concat())
        }),
        attack("more padding than frame", PROTOCOL, || {
            body(frame(DATA, PADDED | END_STREAM, 1, &[200, b'{', b'}']))
        }),
        attack("more padding than headers", PROTOCOL, || {
            frame(
                HEADERS,
                PADDED | END_HEADERS | END_STREAM,
                1,
                &[&[250][..], &head("GET", HALF, &[])].concat(),
            )
        }),
        attack(
            "a stream that depends on itself",
            &["reset PROTOCOL_ERROR, open", "goaway PROTOCOL_ERROR, closed", "404, open", "405, open"],
            || {
                let payload = [&[0, 0, 0, 1, 5][..], &head("GET", HALF, &[])].concat();
                frame(HEADERS, HAS_PRIORITY | END_HEADERS | END_STREAM, 1, &payload)
            },
        ),
        attack("a frame of 16 MB", ends!("FRAME_SIZE_ERROR", "PROTOCOL_ERROR"), || {
            body(frame(DATA, 0, 1, &vec![b' '; (1 << 24) - 1]))
        })
        .attackers(2),
        attack("settings of five bytes", ends!("FRAME_SIZE_ERROR", "PROTOCOL_ERROR"), || {
            frame(SETTINGS, 0, 0, &[0; 5])
        }),
        attack("an answer to settings with values", ends!("FRAME_SIZE_ERROR", "PROTOCOL_ERROR"), || {
            frame(SETTINGS, 1, 0, &[0; 6])
        }),
        attack("a ping of seven bytes", ends!("FRAME_SIZE_ERROR", "PROTOCOL_ERROR"), || {
            frame(PING, 0, 0, &[0; 7])
        }),
        attack("a window of three bytes", ends!("FRAME_SIZE_ERROR", "PROTOCOL_ERROR"), || {
            frame(WINDOW_UPDATE, 0, 0, &[0; 3])
        }),
        attack("a reset of three bytes", ends!("FRAME_SIZE_ERROR", "PROTOCOL_ERROR"), || {
            body(frame(RST_STREAM, 0, 1, &[0; 3]))
        }),
        attack("settings beyond all windows", ends!("FLOW_CONTROL_ERROR", "PROTOCOL_ERROR"), || {
            settings(&[(4, u32::MAX)])
        }),
        attack("settings of frames of one byte", PROTOCOL, || settings(&[(5, 1)])),
        attack("settings on a stream", PROTOCOL, || frame(SETTINGS, 0, 1, &[])),
        attack("a ping on a stream", PROTOCOL, || frame(PING, 0, 1, &[0; 8])),
        attack("data on stream 0", PROTOCOL, || frame(DATA, END_STREAM, 0, b"{}")),
        attack("headers on stream 0", PROTOCOL, || {
            frame(HEADERS, END_HEADERS | END_STREAM, 0, &head("GET", HALF, &[]))
        }),
        attack("a reset of stream 0", PROTOCOL, || reset(0)),
        attack("a reset of a stream that never was", PROTOCOL, || reset(99)),
        attack("data on a stream that never was", ends!("PROTOCOL_ERROR", "STREAM_CLOSED"), || {
            frame(DATA, END_STREAM, 99, b"{}")
        }),
        attack("a stream of the server's", PROTOCOL, || {
            frame(HEADERS, END_HEADERS | END_STREAM, 2, &head("GET", HALF, &[]))
        }),
        attack(
            "streams that go backwards",
            &[
                "404, goaway PROTOCOL_ERROR, closed",
                "405, goaway PROTOCOL_ERROR, closed",
                "goaway PROTOCOL_ERROR, closed",
                "goaway STREAM_CLOSED, closed",
                "reset STREAM_CLOSED, open",
                "405, goaway STREAM_CLOSED, closed",
                "405, reset STREAM_CLOSED, open",
                "closed",
            ],
            || [get(9, HALF), get(3, HALF)].concat(),
        ),
        attack("a promise of the client's", PROTOCOL, || {
            frame(PUSH_PROMISE, END_HEADERS, 1, &[&[0, 0, 0, 2][..], &head("GET", HALF, &[])].concat())
        }),
        attack("windows that overflow", ends!("FLOW_CONTROL_ERROR"), || {
            frame(WINDOW_UPDATE, 0, 0, &0x7FFF_FFFF_u32.to_be_bytes()).repeat(2)
        }),
        attack(
            "the window of a stream that overflows",
            &["reset FLOW_CONTROL_ERROR, open", "goaway FLOW_CONTROL_ERROR, closed", "closed"],
            || body(frame(WINDOW_UPDATE, 0, 1, &0x7FFF_FFFF_u32.to_be_bytes()).repeat(2)),
        ),
        attack("a window that grows by nothing", PROTOCOL, || frame(WINDOW_UPDATE, 0, 0, &[0; 4])),
        attack(
            "more than the window",
            &[
                "reset FLOW_CONTROL_ERROR, open",
                "goaway FLOW_CONTROL_ERROR, closed",
                "413, open",
                "400, open",
                "closed",
                "413, reset NO_ERROR, open",
            ],
            || {
                // The window is the server's to give, and this is more than it can have given.
                body(frame(DATA, 0, 1, &[b' '; 16_000]).repeat(2000))
            },
        )
        .attackers(1),
        attack(
            "the end of a connection, and more",
            &[
                "200, open",
                "200, closed",
                "closed",
                "open",
                "200, goaway NO_ERROR, closed",
                "goaway NO_ERROR, closed",
            ],
            || [frame(GOAWAY, 0, 0, &[0; 8]), predict(1)].concat(),
        ),
        attack("a name in capitals", BAD_STREAM, || request(&head("GET", HALF, &[("X-Capital", "a")]))),
        attack("a name with a line break", BAD_STREAM, || request(&head("GET", HALF, &[("x\r\ny", "a")]))),
        attack("a value with a line break", BAD_STREAM, || {
            request(&head("GET", HALF, &[("x", "a\r\nb: c")]))
        }),
        attack("NUL in a value", BAD_STREAM, || request(&head("GET", HALF, &[("x", "a\0b")]))),
        attack("no method", BAD_STREAM, || {
            request(&block(&[(":scheme", "http"), (":authority", "a"), (":path", HALF)]))
        }),
        attack("no path", BAD_STREAM, || {
            request(&block(&[(":method", "GET"), (":scheme", "http"), (":authority", "a")]))
        }),
        attack("an empty path", BAD_STREAM, || request(&head("GET", "", &[]))),
        attack("a path with spaces", BAD_STREAM, || request(&head("GET", "/a b HTTP/1.1", &[]))),
        attack("two paths", BAD_STREAM, || request(&head("GET", HALF, &[(":path", "/other")]))),
        attack("a pseudo header of one's own", BAD_STREAM, || request(&head("GET", HALF, &[(":mine", "a")]))),
        attack("a pseudo header of responses", BAD_STREAM, || {
            request(&head("GET", HALF, &[(":status", "200")]))
        }),
        attack("a pseudo header behind the others", BAD_STREAM, || {
            let headers =
                [(":method", "GET"), ("x", "a"), (":scheme", "http"), (":authority", "a"), (":path", HALF)];
            request(&block(&headers))
        }),
        attack("a header of version 1's connections", BAD_STREAM, || {
            request(&head("GET", HALF, &[("transfer-encoding", "chunked")]))
        }),
        attack(
            "CONNECT with a path",
            &["reset PROTOCOL_ERROR, open", "400, open", "501, open", "405, open"],
            || request(&head("CONNECT", HALF, &[])),
        ),
        attack(
            "an extended CONNECT that nobody offered",
            &["reset PROTOCOL_ERROR, open", "400, open", "501, open"],
            || request(&head("CONNECT", HALF, &[(":protocol", "websocket")])),
        ),
        attack(
            "more data than its length",
            &["reset PROTOCOL_ERROR, open", "400, open", "400, reset PROTOCOL_ERROR, open"],
            || {
                let head = frame(HEADERS, END_HEADERS, 1, &head("POST", HALF, &[("content-length", "2")]));
                [head, frame(DATA, END_STREAM, 1, br#"{"instances":[1.0,2.0]}"#)].concat()
            },
        ),
        attack(
            "less data than its length",
            &["reset PROTOCOL_ERROR, open", "400, open", "400, reset PROTOCOL_ERROR, open"],
            || {
                let head = frame(HEADERS, END_HEADERS, 1, &head("POST", HALF, &[("content-length", "200")]));
                [head, frame(DATA, END_STREAM, 1, br#"{"instances":[1.0,2.0]}"#)].concat()
            },
        ),
        attack("two lengths in version 2", &["reset PROTOCOL_ERROR, open", "400, open"], || {
            let lengths = [("content-length", "23"), ("content-length", "0")];
            let head = frame(HEADERS, END_HEADERS, 1, &head("POST", HALF, &lengths));
            [head, frame(DATA, END_STREAM, 1, br#"{"instances":[1.0,2.0]}"#)].concat()
        }),
        attack("trailers with a path", BAD_STREAM, || {
            body(
                [
                    frame(DATA, 0, 1, b"{}"),
                    frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&[(":path", HALF)])),
                ]
                .concat(),
            )
        }),
        attack("trailers without an end", BAD_STREAM, || {
            body([frame(DATA, 0, 1, b"{}"), frame(HEADERS, END_HEADERS, 1, &block(&[("a", "b")]))].concat())
        }),
        attack(
            "a flood of trailers",
            &[
                "reset PROTOCOL_ERROR, open",
                "goaway PROTOCOL_ERROR, closed",
                "reset STREAM_CLOSED, open",
                "closed",
            ],
            || body(frame(HEADERS, END_HEADERS, 1, &block(&[("a", "b")])).repeat(10_000)),
        ),
        attack(
            "data behind the end",
            &[
                "200, reset STREAM_CLOSED, open",
                "reset STREAM_CLOSED, open",
                "goaway STREAM_CLOSED, closed",
                "200, goaway STREAM_CLOSED, closed",
                "goaway PROTOCOL_ERROR, closed",
                "200, goaway PROTOCOL_ERROR, closed",
                "closed",
            ],
            || [predict(1), frame(DATA, END_STREAM, 1, b"{}")].concat(),
        ),
        Attack::http1("streams", "a preface with another end", &["400 closed", "closed"], || {
            b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n".to_vec()
        }),
        Attack::http1("streams", "a preface and a request of version 1", &["closed"], || {
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nGET / HTTP/1.1\r\nHost: attacked\r\n\r\n".to_vec()
        }),
    ]
}
