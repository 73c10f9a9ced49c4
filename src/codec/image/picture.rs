//! JPEG and PNG files to pixels of bytes, as TensorFlow's `decode_jpeg` and `decode_png` make them.
//!
//! Colours become gray by their weights in light, gray becomes colours of three times the same, transparency
//! is dropped and not blended, and 16 bits are cut to 8. Of an animation there is the first picture. What a
//! camera says about which way is up is not looked at, and neither are profiles of colours.

use std::io::Cursor;

use png::{ColorType, Transformations};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use crate::error::{Error, Result};

/// The most times that a JPEG file may come back to all of its pixels, and how many pixels that may be in all.
const MAX_SCANS: usize = 100;
const MAX_VISITS: usize = 1 << 31;

/// The most bytes that the PNG decoder may take besides its rows.
const MAX_CHUNKS: usize = 1 << 20;

/// The pixels of a picture, row by row.
#[derive(Debug)]
pub(super) struct Picture {
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) channels: usize,
    pub(super) samples: Vec<u8>,
}

impl Picture {
    /// The samples of a row.
    pub(super) fn row(&self, row: usize) -> &[u8] {
        let length = self.width * self.channels;
        self.samples.get(row * length..(row + 1) * length).unwrap_or_default()
    }
}

/// What the samples of a pixel are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Channels {
    Gray,
    Rgb,
    Rgba,
}

impl Channels {
    /// How many there are.
    pub(super) fn count(self) -> usize {
        match self {
            Self::Gray => 1,
            Self::Rgb => 3,
            Self::Rgba => 4,
        }
    }
}

/// The height and the width that the head of a file tells; `None` if that is none of a picture.
pub(super) fn size(file: &[u8]) -> Option<(usize, usize)> {
    let (height, width) = match file {
        [0x89, b'P', b'N', b'G', 0x0D, 0x0A, 0x1A, 0x0A, rest @ ..] => png_size(rest),
        [0xFF, 0xD8, rest @ ..] => jpeg_size(rest),
        _ => None,
    }?;
    (height > 0 && width > 0).then_some((height, width))
}

/// The first chunk has both, 4 bytes each.
fn png_size(chunks: &[u8]) -> Option<(usize, usize)> {
    let [_, _, _, _, b'I', b'H', b'D', b'R', rest @ ..] = chunks else { return None };
    let (sizes, _) = rest.as_chunks::<4>();
    let [width, height, ..] = sizes else { return None };
    let read = |bytes: &[u8; 4]| usize::try_from(u32::from_be_bytes(*bytes)).ok();
    Some((read(height)?, read(width)?))
}

/// They are in the first segment that starts a frame.
fn jpeg_size(segments: &[u8]) -> Option<(usize, usize)> {
    let mut rest = segments;
    loop {
        rest = match rest {
            // Segments may be filled up in front.
            [0xFF, 0xFF, ..] => &rest[1..],
            [0xFF, 0xC0..=0xC2, _, _, _, height @ ..] if height.len() >= 4 => {
                let read = |at: usize| {
                    Some(usize::from(u16::from_be_bytes([*height.get(at)?, *height.get(at + 1)?])))
                };
                return Some((read(0)?, read(2)?));
            }
            // Ends of pictures, and starts of their data: the frame should have been there before.
            [0xFF, 0xD8..=0xDA, ..] => return None,
            [0xFF, _, high, low, ..] => {
                let length = usize::from(u16::from_be_bytes([*high, *low]));
                rest.get(2 + length.max(2)..)?
            }
            _ => return None,
        };
    }
}

/// About how many bytes the pixels of a file take while they are decoded: a progressive JPEG has all of its
/// coefficients at once, in blocks that are filled up.
pub(super) fn memory(height: usize, width: usize) -> usize {
    let filled = |size: usize| size.saturating_add(31) / 32 * 32;
    filled(height).saturating_mul(filled(width)).saturating_mul(16).saturating_add(MAX_CHUNKS)
}

/// Decodes a file of this size to pixels of these channels.
///
/// # Errors
///
/// `INVALID_ARGUMENT` if it is broken, or is more work than it can be worth.
pub(super) fn decode(file: &[u8], size: (usize, usize), channels: Channels) -> Result<Picture> {
    let (samples, found) = if file.starts_with(&[0xFF, 0xD8]) {
        decode_jpeg(file, size, channels)?
    } else {
        decode_png(file, size)?
    };
    let (height, width) = size;
    if samples.len() != height * width * found {
        return Err(broken("it has another size than its head says"));
    }
    Ok(Picture { height, width, channels: channels.count(), samples: convert(samples, found, channels) })
}

#[cold]
fn broken(reason: impl std::fmt::Display) -> Error {
    Error::invalid_argument(format!("The picture cannot be decoded: {reason}"))
}

/// The samples, and how many there are for a pixel.
fn decode_jpeg(file: &[u8], (height, width): (usize, usize), channels: Channels) -> Result<(Vec<u8>, usize)> {
    let scans = memchr::memmem::find_iter(file, &[0xFF, 0xDA]).count();
    if scans > MAX_SCANS || scans.saturating_mul(height * width) > MAX_VISITS {
        return Err(broken(format!("it has too many scans, {scans}")));
    }
    let limits = DecoderOptions::default().set_max_width(width).set_max_height(height);
    let options = limits.jpeg_set_max_scans(MAX_SCANS).jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(file), options);
    decoder.decode_headers().map_err(|error| broken(format!("{error:?}")))?;
    if decoder.dimensions() != Some((width, height)) {
        return Err(broken("it has another size than its head says"));
    }
    // Its brightness is what TensorFlow takes for gray.
    let has_brightness = matches!(decoder.input_colorspace(), Some(ColorSpace::YCbCr | ColorSpace::Luma));
    if has_brightness && channels == Channels::Gray {
        decoder.set_options(options.jpeg_set_out_colorspace(ColorSpace::Luma));
    }
    let samples = decoder.decode().map_err(|error| broken(format!("{error:?}")))?;
    let found = match decoder.output_colorspace() {
        Some(ColorSpace::Luma) => 1,
        Some(ColorSpace::RGB) => 3,
        _ => return Err(broken("its colours are of no known kind")),
    };
    Ok((samples, found))
}

fn decode_png(file: &[u8], (height, width): (usize, usize)) -> Result<(Vec<u8>, usize)> {
    // A row of 16 bits in four channels is not counted by the decoder's pixels.
    let limits = png::Limits { bytes: MAX_CHUNKS + width.saturating_mul(64) };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(file), limits);
    decoder.set_transformations(Transformations::normalize_to_color8());
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let mut reader = decoder.read_info().map_err(broken)?;
    let size = reader.output_buffer_size();
    let size = size.filter(|size| *size <= height.saturating_mul(width).saturating_mul(4));
    let mut samples = vec![0; size.ok_or_else(|| broken("it has another size than its head says"))?];
    let frame = reader.next_frame(&mut samples).map_err(broken)?;
    let found = match frame.color_type {
        ColorType::Grayscale => 1,
        ColorType::GrayscaleAlpha => 2,
        ColorType::Rgb | ColorType::Indexed => 3,
        ColorType::Rgba => 4,
    };
    samples.truncate(frame.buffer_size());
    Ok((samples, found))
}

/// Samples of `found` channels as those of others.
fn convert(samples: Vec<u8>, found: usize, channels: Channels) -> Vec<u8> {
    if found == channels.count() {
        return samples;
    }
    let mut converted = Vec::with_capacity(samples.len() / found * channels.count());
    for pixel in samples.chunks_exact(found) {
        let (colours, alpha) = match *pixel {
            [light] => ([light; 3], u8::MAX),
            [light, alpha] => ([light; 3], alpha),
            [red, green, blue] => ([red, green, blue], u8::MAX),
            [red, green, blue, alpha, ..] => ([red, green, blue], alpha),
            [] => continue,
        };
        match channels {
            Channels::Gray => converted.push(gray(colours)),
            Channels::Rgb => converted.extend_from_slice(&colours),
            Channels::Rgba => {
                converted.extend_from_slice(&colours);
                converted.push(alpha);
            }
        }
    }
    converted
}

/// How light a colour is: 0.299 of red, 0.587 of green and 0.114 of blue, in parts of 2^15 and cut off, as
/// TensorFlow's libpng has it.
#[expect(clippy::cast_possible_truncation, reason = "the weights add up to 2^15")]
fn gray([red, green, blue]: [u8; 3]) -> u8 {
    ((9797 * u32::from(red) + 19_234 * u32::from(green) + 3737 * u32::from(blue)) >> 15) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many broken files of each kind there are.
    const ROUNDS: usize = 2000;

    #[test]
    fn the_size_is_in_the_head_of_a_file() {
        let png = b"\x89PNG\r\n\x1a\n\0\0\0\x0DIHDR\0\0\x01\x02\0\0\0\x03\x08\x02";
        let jpeg = b"\xFF\xD8\xFF\xE0\0\x04ab\xFF\xFF\xC2\0\x11\x08\x01\x02\0\x03\x03";
        assert_eq!(size(png), Some((3, 258)));
        assert_eq!(size(jpeg), Some((258, 3)));
        for length in 0..=24 {
            assert_eq!(size(&png[..length.min(23)]), None);
        }
        for length in 0..18 {
            assert_eq!(size(&jpeg[..length]), None, "{length}");
        }
        for other in [
            &b"GIF89a"[..],
            b"\xFF\xD8\xFF\xDA\0\x04ab\xFF\xC0\0\x11\x08\x01\x02\0\x03",
            b"\xFF\xD8\xFF\xE0\0\0",
        ] {
            assert_eq!(size(other), None);
        }
    }

    #[test]
    fn broken_files_are_read_or_refused() {
        // The same 16 times 8 pixels, as a PNG, a JPEG and a progressive JPEG.
        for file in [
            "iVBORw0KGgoAAAANSUhEUgAAABAAAAAICAIAAAB/FOjAAAAAHUlEQVQYlWM8kWLEgA34HFmFVZwJqygeMKqBGAAAm1wDKKJ9VmMAAAAASUVORK5CYII=",
            "/9j/4AAQSkZJRgABAQEBLAEsAAD/2wBDAAIBAQEBAQIBAQECAgICAgQDAgICAgUEBAMEBgUGBgYFBgYGBwkIBgcJBwYGCAsICQoKCgoKBggLDAsKDAkKCgr/2wBDAQICAgICAgUDAwUKBwYHCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgr/wAARCAAIABADAREAAhEBAxEB/8QAFQABAQAAAAAAAAAAAAAAAAAABQn/xAAUEAEAAAAAAAAAAAAAAAAAAAAA/8QAFgEBAQEAAAAAAAAAAAAAAAAACAkK/8QAFBEBAAAAAAAAAAAAAAAAAAAAAP/aAAwDAQACEQMRAD8APFc2E62hxMN//9k=",
            "/9j/4AAQSkZJRgABAQEBLAEsAAD/2wBDAAIBAQEBAQIBAQECAgICAgQDAgICAgUEBAMEBgUGBgYFBgYGBwkIBgcJBwYGCAsICQoKCgoKBggLDAsKDAkKCgr/2wBDAQICAgICAgUDAwUKBwYHCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgr/wgARCAAIABADAREAAhEBAxEB/8QAFQABAQAAAAAAAAAAAAAAAAAABAj/xAAWAQEBAQAAAAAAAAAAAAAAAAAHCAn/2gAMAwEAAhADEAAAATlbZOuh0w//xAAUEAEAAAAAAAAAAAAAAAAAAAAQ/9oACAEBAAEFAj//xAAUEQEAAAAAAAAAAAAAAAAAAAAQ/9oACAEDAQE/AT//xAAUEQEAAAAAAAAAAAAAAAAAAAAQ/9oACAECAQE/AT//xAAUEAEAAAAAAAAAAAAAAAAAAAAQ/9oACAEBAAY/Aj//xAAUEAEAAAAAAAAAAAAAAAAAAAAQ/9oACAEBAAE/IT//2gAMAwEAAgADAAAAEAP/xAAUEQEAAAAAAAAAAAAAAAAAAAAQ/9oACAEDAQE/ED//xAAUEQEAAAAAAAAAAAAAAAAAAAAQ/9oACAECAQE/ED//xAAUEAEAAAAAAAAAAAAAAAAAAAAQ/9oACAEBAAE/ED//2Q==",
        ] {
            let whole = base64_simd::STANDARD.decode_to_vec(file).unwrap();
            assert!(decode(&whole, (8, 16), Channels::Gray).is_ok());
            let mut random = fastrand::Rng::with_seed(1);
            let mut read = 0;
            for _ in 0..ROUNDS {
                let mut file = whole.clone();
                for _ in 0..random.usize(1..4) {
                    let at = random.usize(0..file.len());
                    file[at] = random.u8(..);
                }
                file.truncate(random.usize(file.len() / 2..4 * file.len()));
                let Some(size) = size(&file).filter(|(height, width)| height * width < 1 << 16) else {
                    continue;
                };
                let channels = [Channels::Gray, Channels::Rgb, Channels::Rgba][random.usize(..3)];
                if let Ok(picture) = decode(&file, size, channels) {
                    assert_eq!(picture.samples.len(), size.0 * size.1 * channels.count());
                    read += 1;
                }
            }
            assert!(read > 0);
        }
    }

    #[test]
    fn files_that_come_back_too_often_are_refused() {
        let scans = [&b"\xFF\xD8"[..], &b"\xFF\xDA".repeat(MAX_SCANS + 1)].concat();
        let error = decode(&scans, (1, 1), Channels::Rgb).unwrap_err();
        assert_eq!(error.message(), "The picture cannot be decoded: it has too many scans, 101");
        let error = decode(&scans[..8], (65_535, 65_535), Channels::Rgb).unwrap_err();
        assert!(error.message().ends_with("it has too many scans, 3"), "{error}");
        let error = decode(b"\xFF\xD8\xFF\xDA", (8, 8), Channels::Rgb).unwrap_err();
        assert!(error.message().starts_with("The picture cannot be decoded: "), "{error}");
    }
}
