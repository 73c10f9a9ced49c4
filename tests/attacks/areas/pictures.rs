//! Pictures that are larger than their files, or more work.

use crate::attack::Attack;
use crate::http1::{ECHO, post};

/// Refused for what it says; the connection is as good as before.
const BAD: &[&str] = &["400 open"];

/// Refused as more than there is memory for.
const LARGE: &[&str] = &["413 open"];

/// A PNG file of this size, all black.
fn png(side: u32) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, side, side);
    encoder.set_color(png::ColorType::Grayscale);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&vec![0; (side * side) as usize]).unwrap();
    writer.finish().unwrap();
    file
}

/// A small PNG file whose head claims another size.
fn lying(side: u32) -> Vec<u8> {
    let mut file = png(8);
    file[16..20].copy_from_slice(&side.to_be_bytes());
    file[20..24].copy_from_slice(&side.to_be_bytes());
    file
}

/// The head of a progressive JPEG file of 64 times 64 pixels, and as many scans of nothing.
fn scans(count: usize) -> Vec<u8> {
    let frame = [0xFF, 0xC2, 0, 11, 8, 0, 64, 0, 64, 1, 1, 0x11, 0];
    let scan = [0xFF, 0xDA, 0, 8, 1, 1, 0, 0, 0, 0];
    [&[0xFF, 0xD8][..], &frame, &scan.repeat(count)].concat()
}

fn picture(kind: &str, query: &str, file: &[u8]) -> Vec<u8> {
    post(&format!("{ECHO}?{query}"), &format!("Content-Type: image/{kind}\r\n"), file)
}

fn attack(name: &'static str, expect: &'static [&'static str], bytes: fn() -> Vec<u8>) -> Attack {
    Attack::http1("pictures", name, expect, bytes)
}

pub fn attacks() -> Vec<Attack> {
    vec![
        attack("65 000 times 65 000 pixels in a head", LARGE, || picture("png", "", &lying(65_000))),
        attack("4 Mpx in a head", &["400 open", "503 open"], || picture("png", "resize=2x2", &lying(2000))),
        attack("25 Mpx of nothing", LARGE, || picture("png", "resize=2x2", &png(5000))),
        // What others hold already may leave no memory for it.
        attack("4 Mpx of nothing", &["200 open", "503 open"], || picture("png", "resize=2x2", &png(2000))),
        attack("a pixel as 65 536 times 65 536", LARGE, || picture("png", "resize=65536x65536", &png(1))),
        attack("1000 scans", BAD, || picture("jpeg", "", &scans(1000))),
        attack("90 scans without data", BAD, || picture("jpeg", "", &scans(90))),
        attack("32 bytes of a PNG", BAD, || picture("png", "", &png(8)[..32])),
    ]
}
