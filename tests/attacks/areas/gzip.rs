//! Compressed bodies: bombs, and what is no gzip in the end.

use std::io::Write;

use flate2::write::{GzEncoder, ZlibEncoder};
use flate2::{Compress, Compression, FlushCompress};

use crate::attack::Attack;
use crate::http1::{HALF, post};

const BODY: &str = r#"{"instances":[1.0,2.0]}"#;

/// Refused for what it says; the connection is as good as before.
const BAD: &[&str] = &["400 open"];

/// Refused as a bomb.
const BOMB: &[&str] = &["413 open", "413 closed"];

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

/// The start of a member without a name.
const START: [u8; 10] = [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 3];

/// So many MiB of one byte, a thousand times smaller. Its sum is wrong, for whoever gets that far.
fn bomb(mebibytes: usize, byte: u8) -> Vec<u8> {
    let mut block = Vec::with_capacity(64 << 10);
    let mut compress = Compress::new(Compression::best(), false);
    compress.compress_vec(&vec![byte; 1 << 20], &mut block, FlushCompress::Full).unwrap();
    [&START[..], &block.repeat(mebibytes), &[3, 0], &[0; 8]].concat()
}

/// A request with a body that is said to be gzip.
fn zipped(body: impl AsRef<[u8]>) -> Vec<u8> {
    post(HALF, "Content-Encoding: gzip\r\n", body)
}

fn attack(name: &'static str, expect: &'static [&'static str], bytes: fn() -> Vec<u8>) -> Attack {
    Attack::http1("gzip", name, expect, bytes)
}

pub fn attacks() -> Vec<Attack> {
    vec![
        attack("1 GB of zeros", BOMB, || zipped(bomb(1024, 0))),
        attack("10 GB of spaces", BOMB, || zipped(bomb(10 << 10, b' '))),
        // What others hold already may leave no memory for it.
        attack("16 bombs at a time", &["413 open", "503 open"], || zipped(bomb(100, b' '))).attackers(16),
        attack("a bomb in chunks", BOMB, || {
            let bomb = bomb(100, b' ');
            let head = format!(
                "POST {HALF} HTTP/1.1\r\nHost: attacked\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
            );
            let chunks = bomb
                .chunks(1000)
                .flat_map(|chunk| [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
            head.into_bytes().into_iter().chain(chunks).chain(*b"0\r\n\r\n").collect()
        }),
        attack("a bomb for a model that is not there", &["413 open", "413 closed", "404 open"], || {
            post("/v1/models/none:predict", "Content-Encoding: gzip\r\n", bomb(100, b' '))
        }),
        attack("a bomb for classify", BOMB, || {
            post("/v1/models/half_plus_two:classify", "Content-Encoding: gzip\r\n", bomb(100, b' '))
        }),
        attack("a whole document of spaces, 1000:1", BOMB, || {
            zipped(gzip(format!("{}{BODY}", " ".repeat(16 << 20)).as_bytes()))
        })
        .needs(&["--max-inflate-ratio"]),
        attack("a bomb in gzip in gzip", &["400 open", "413 open"], || zipped(gzip(&bomb(1024, 0)))),
        attack("gzip in gzip, as announced", &["400 open", "415 open", "413 open"], || {
            post(HALF, "Content-Encoding: gzip, gzip\r\n", gzip(&gzip(BODY.as_bytes())))
        }),
        attack("a second member", &["400 open", "200 open"], || {
            zipped([gzip(BODY.as_bytes()), gzip(b" ")].concat())
        }),
        attack("a second member that is a bomb", &["400 open", "413 open"], || {
            zipped([gzip(BODY.as_bytes()), bomb(100, b' ')].concat())
        }),
        attack("100 000 empty members", &["400 open", "413 open"], || zipped(gzip(b"").repeat(100_000))),
        attack("32 bombs in members", &["400 open", "413 open"], || {
            zipped(gzip(&[b' '; 1 << 20]).repeat(32))
        }),
        attack("a truncated stream", BAD, || {
            let whole = gzip(BODY.as_bytes());
            (0..whole.len()).flat_map(|end| zipped(&whole[..end])).collect()
        }),
        attack("a wrong sum", BAD, || {
            let mut body = gzip(BODY.as_bytes());
            let sum = body.len() - 8;
            body[sum] ^= 1;
            zipped(body)
        }),
        attack("a wrong length", BAD, || {
            let mut body = gzip(BODY.as_bytes());
            let length = body.len() - 1;
            body[length] ^= 1;
            zipped(body)
        }),
        attack("bytes behind the end", BAD, || zipped([&gzip(BODY.as_bytes())[..], b"more"].concat())),
        attack("8 MB of a name", BAD, || {
            let mut start = START;
            start[3] = 8;
            zipped([&start[..], &vec![b'a'; 8 << 20]].concat())
        })
        .attackers(2),
        attack("each flag of the start", BAD, || {
            (1..=255_u8)
                .filter(|flags| flags & !0x10 != 1)
                .flat_map(|flags| {
                    let mut start = START;
                    start[3] = flags;
                    zipped([&start[..], &[0xFF; 40]].concat())
                })
                .collect()
        }),
        attack("zlib in place of gzip", BAD, || {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(BODY.as_bytes()).unwrap();
            zipped(encoder.finish().unwrap())
        }),
        attack("text that is said to be gzip", BAD, || zipped(BODY)),
        attack("gzip that is not said to be", BAD, || post(HALF, "", gzip(BODY.as_bytes()))),
        attack("bytes without a pattern", BAD, || {
            let noise = (0..1_000_000_u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8);
            zipped(START.into_iter().chain(noise).collect::<Vec<_>>())
        }),
    ]
}
