//! A JPEG or PNG picture for an input of numbers: its pixels, in the size and the range that a model wants.
//!
//! The input has the shape `[-1,H,W,C]` or `[H,W,C]` with C of 1 (gray), 3 (RGB) or 4 (RGBA); where the
//! signature leaves C or all of the shape open, it is 3, and a batch of one picture. The picture gets the height
//! and the width of `?resize=HxW`, else of the signature where it has them, else it keeps its own.
//! Pixels go from 0 to 255; `?scale=` multiplies them, `?offset=` is added then. Integers are rounded to the
//! nearest, and `uint8` has neither.
//!
//! How large a picture is stands in its head, and is compared with the limits before anything is decoded.

mod picture;
mod resize;

use super::body::{Decoded, Given, form, only_input, signature};
use super::dense::{Dense, Elements};
use super::dtype;
use super::half::{BFLOAT16, HALF};
use super::media::{Agreement, MediaType};
use super::predict::{Format, Inputs};
use super::signature::{Input, Signature, Signatures};
use crate::error::{Error, Result};
use crate::proto::tensorflow::DataType;
use picture::{Channels, Picture};

/// Whether a body begins as the file of a picture does, and so as no JSON.
pub(super) fn is_picture(body: &[u8]) -> bool {
    body.starts_with(b"\x89PNG") || body.starts_with(b"\xff\xd8\xff")
}

/// Decodes a picture for the one input of numbers that it is for; `None` if that takes strings, nobody knows, or
/// the bytes do not say that they are a picture and are no picture by their type.
///
/// # Errors
///
/// `INVALID_ARGUMENT` if it is not clear which input is meant, its shape or dtype is none of a picture, or the
/// picture cannot be read or is too large.
pub(super) fn decode(given: &Given<'_>) -> Result<Option<Decoded>> {
    let Given { agreement, body, signatures, limits } = *given;
    let Some(signatures) = signatures else { return Ok(None) };
    let (signature_name, signature) = signature(agreement, signatures)?;
    let Some((name, target)) = target(agreement, body, signature)? else { return Ok(None) };
    let too_large = |what: &str| {
        Err(Error::invalid_argument(format!("{what} of more than {} elements", limits.elements)))
    };
    let (height, width) = picture::size(body).ok_or_else(|| {
        Error::invalid_argument("The body is no picture that can be read; JPEG and PNG can")
    })?;
    // The channels of the file are not more than four, whatever the input wants.
    if height.saturating_mul(width).saturating_mul(4) > limits.elements {
        return too_large("A picture");
    }
    let (out_height, out_width) = (target.height.unwrap_or(height), target.width.unwrap_or(width));
    let channels = target.channels.count();
    if out_height.saturating_mul(out_width).saturating_mul(channels) > limits.elements {
        return too_large("A tensor");
    }
    let picture = picture::decode(body, (height, width), target.channels)?;
    let content = target.content(&picture, out_height, out_width);
    let mut dimensions = vec![1; usize::from(target.is_batch)];
    dimensions.extend([out_height, out_width, channels]);
    let tensor = Dense { dtype: target.dtype, dimensions, elements: Elements::Numbers(content.into()) };
    let inputs = Inputs::from([(name, tensor.into_proto())]);
    let form = form(agreement.reply, Format::Row);
    Ok(Some(Decoded { signature_name, inputs, output_filter: Vec::new(), form }))
}

/// The most bytes that decoding a picture takes, if that is what the body is for. What is wrong with it is for
/// [`decode`] to say.
pub(super) fn memory(agreement: &Agreement, body: &[u8], signatures: Option<&Signatures>) -> usize {
    let target = signatures
        .and_then(|signatures| signature(agreement, signatures).ok())
        .and_then(|(_, signature)| target(agreement, body, signature).ok().flatten());
    let (Some((_, target)), Some((height, width))) = (target, picture::size(body)) else { return 0 };
    let (out_height, out_width) = (target.height.unwrap_or(height), target.width.unwrap_or(width));
    let elements = out_height.saturating_mul(out_width).saturating_mul(target.channels.count());
    // What is resized takes a table of weights for a row on top.
    let tensor = elements.saturating_add(out_width.saturating_mul(4)).saturating_mul(8);
    picture::memory(height, width).saturating_add(tensor)
}

/// What the pixels are to become.
#[derive(Debug)]
struct Target {
    dtype: DataType,
    is_batch: bool,
    height: Option<usize>,
    width: Option<usize>,
    channels: Channels,
    scale: f32,
    offset: f32,
}

/// The input that takes the body as a picture, and how; `None` if the body is to be taken as it is.
fn target(agreement: &Agreement, body: &[u8], signature: &Signature) -> Result<Option<(String, Target)>> {
    let input = only_input(agreement, signature)?;
    let is_picture = agreement.request == MediaType::Image || picture::size(body).is_some();
    if input.dtype == DataType::DtString || !is_picture {
        return Ok(None);
    }
    let Input { name, dtype, shape } = input;
    let refuse = |reason: String| Err(Error::invalid_argument(format!("The input {name:?} {reason}")));
    let (is_batch, sizes) = match shape.as_deref() {
        None => (true, [-1, -1, -1]),
        Some(&[-1 | 1, height, width, channels]) => (true, [height, width, channels]),
        Some(&[height, width, channels]) => (false, [height, width, channels]),
        Some(shape) => {
            return refuse(format!("has the shape {shape:?}, but a picture is [-1,H,W,C] or [H,W,C]"));
        }
    };
    let [height, width, channels] = sizes;
    let channels = match channels {
        1 => Channels::Gray,
        ..=-1 | 3 => Channels::Rgb,
        4 => Channels::Rgba,
        other => return refuse(format!("has {other} channels, but a picture has 1, 3 or 4")),
    };
    let parameters = &agreement.parameters;
    let is_scaled = parameters.scale.is_some() || parameters.offset.is_some();
    match dtype {
        DataType::DtUint8 if is_scaled => {
            return refuse(
                "is of type uint8, which takes pixels as they are, without scale and offset".to_owned(),
            );
        }
        DataType::DtUint8
        | DataType::DtInt32
        | DataType::DtFloat
        | DataType::DtDouble
        | DataType::DtHalf
        | DataType::DtBfloat16 => {}
        other => return refuse(format!("is of type {}, which no picture becomes", dtype::name(*other))),
    }
    let fixed = |size: i64| usize::try_from(size).ok();
    let (height, width) = match parameters.resize {
        Some((height, width)) => (Some(height), Some(width)),
        None => (fixed(height), fixed(width)),
    };
    if height == Some(0) || width == Some(0) {
        return refuse("has no room for a picture".to_owned());
    }
    let (scale, offset) = (parameters.scale.unwrap_or(1.0), parameters.offset.unwrap_or(0.0));
    Ok(Some((name.clone(), Target { dtype: *dtype, is_batch, height, width, channels, scale, offset })))
}

impl Target {
    /// The elements of the tensor for a picture in this size.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "what is rounded saturates, and pixels of bytes are bytes"
    )]
    fn content(&self, picture: &Picture, height: usize, width: usize) -> Vec<u8> {
        if self.dtype == DataType::DtUint8 && (picture.height, picture.width) == (height, width) {
            return picture.samples.clone();
        }
        let (scale, offset) = (self.scale, self.offset);
        let value = move |sample: f32| sample * scale + offset;
        match self.dtype {
            DataType::DtUint8 => resize::content(picture, height, width, |sample| [sample.round() as u8]),
            DataType::DtInt32 => {
                resize::content(picture, height, width, |sample| (value(sample).round() as i32).to_le_bytes())
            }
            DataType::DtDouble => {
                resize::content(picture, height, width, |sample| f64::from(value(sample)).to_le_bytes())
            }
            DataType::DtHalf => resize::content(picture, height, width, |sample| {
                HALF.round(f64::from(value(sample))).to_le_bytes()
            }),
            DataType::DtBfloat16 => resize::content(picture, height, width, |sample| {
                BFLOAT16.round(f64::from(value(sample))).to_le_bytes()
            }),
            _ => resize::content(picture, height, width, |sample| value(sample).to_le_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::codec::limits::Limits;

    /// A PNG file of these samples.
    fn png(height: u32, width: u32, color: png::ColorType, depth: png::BitDepth, samples: &[u8]) -> Bytes {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, width, height);
        encoder.set_color(color);
        encoder.set_depth(depth);
        encoder.write_header().unwrap().write_image_data(samples).unwrap();
        file.into()
    }

    fn decoded(
        file: &Bytes,
        dtype: DataType,
        shape: Option<&[i64]>,
        query: &str,
        limits: &Limits,
    ) -> Result<Option<Decoded>> {
        let input = Input { name: "x".to_owned(), dtype, shape: shape.map(<[i64]>::to_vec) };
        let signatures = Signatures::from_iter([("serving_default".to_owned(), Signature::new(vec![input]))]);
        let agreement = Agreement::new(Some("image/png"), [], Some(query))?;
        let decoded =
            decode(&Given { agreement: &agreement, body: file, signatures: Some(&signatures), limits });
        if let Ok(Some(decoded)) = &decoded {
            let taken = decoded.inputs["x"].tensor_content.len();
            assert!(memory(&agreement, file, Some(&signatures)) > taken);
        }
        decoded
    }

    fn check(
        file: &Bytes,
        dtype: DataType,
        shape: Option<&[i64]>,
        query: &str,
        sizes: &[usize],
        expected: &[u8],
    ) {
        let decoded = decoded(file, dtype, shape, query, &Limits::default()).unwrap().unwrap();
        let tensor = Dense::new("x", &decoded.inputs["x"]).unwrap();
        assert_eq!((tensor.dtype, tensor.dimensions.as_slice()), (dtype, sizes), "{query}");
        assert_eq!(tensor.elements, Elements::Numbers(Bytes::copy_from_slice(expected)), "{query}");
    }

    #[test]
    fn every_kind_of_picture_becomes_what_the_input_has() {
        use png::BitDepth::{Eight, Sixteen};
        use png::ColorType::{Grayscale, GrayscaleAlpha, Rgb, Rgba};
        let uint8 = |file: &Bytes, channels: i64, expected: &[u8]| {
            let count = usize::try_from(channels).unwrap();
            let shape = [-1, -1, -1, channels];
            check(file, DataType::DtUint8, Some(&shape), "", &[1, 1, 2, count], expected);
        };
        let rgb = png(1, 2, Rgb, Eight, &[255, 0, 0, 1, 2, 3]);
        uint8(&rgb, 3, &[255, 0, 0, 1, 2, 3]);
        uint8(&rgb, 4, &[255, 0, 0, 255, 1, 2, 3, 255]);
        uint8(&rgb, 1, &[76, 1]);
        let rgba = png(1, 2, Rgba, Eight, &[255, 0, 0, 9, 1, 2, 3, 0]);
        uint8(&rgba, 3, &[255, 0, 0, 1, 2, 3]);
        uint8(&rgba, 4, &[255, 0, 0, 9, 1, 2, 3, 0]);
        uint8(&rgba, 1, &[76, 1]);
        let gray = png(1, 2, Grayscale, Eight, &[7, 200]);
        uint8(&gray, 1, &[7, 200]);
        uint8(&gray, 3, &[7, 7, 7, 200, 200, 200]);
        uint8(&gray, 4, &[7, 7, 7, 255, 200, 200, 200, 255]);
        let alpha = png(1, 2, GrayscaleAlpha, Eight, &[7, 5, 200, 6]);
        uint8(&alpha, 1, &[7, 200]);
        uint8(&alpha, 4, &[7, 7, 7, 5, 200, 200, 200, 6]);
        let wide = png(1, 2, Grayscale, Sixteen, &[7, 255, 200, 1]);
        uint8(&wide, 1, &[7, 200]);
    }

    #[test]
    fn shape_and_dtype_are_those_of_the_input() {
        let file = png(2, 1, png::ColorType::Grayscale, png::BitDepth::Eight, &[10, 255]);
        let floats = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>();
        let float = DataType::DtFloat;
        check(&file, float, Some(&[-1, -1, -1, 1]), "", &[1, 2, 1, 1], &floats(&[10.0, 255.0]));
        check(&file, float, Some(&[-1, -1, 1]), "", &[2, 1, 1], &floats(&[10.0, 255.0]));
        check(&file, float, Some(&[1, 1, 2, 1]), "", &[1, 1, 2, 1], &floats(&[132.5, 132.5]));
        check(&file, float, Some(&[-1, 1, 2, 1]), "resize=2x1", &[1, 2, 1, 1], &floats(&[10.0, 255.0]));
        check(&file, float, None, "resize=1x1", &[1, 1, 1, 3], &floats(&[132.5; 3]));
        check(
            &file,
            float,
            Some(&[-1, -1, 1]),
            "scale=1/255&offset=-1",
            &[2, 1, 1],
            &floats(&[10.0 * (1.0 / 255.0) - 1.0, 0.0]),
        );
        check(&file, DataType::DtUint8, Some(&[1, 1, 1]), "", &[1, 1, 1], &[133]);
        check(&file, DataType::DtInt32, Some(&[1, 1, 1]), "scale=-1", &[1, 1, 1], &(-133_i32).to_le_bytes());
        check(&file, DataType::DtDouble, Some(&[1, 1, 1]), "", &[1, 1, 1], &132.5_f64.to_le_bytes());
        check(&file, DataType::DtHalf, Some(&[1, 1, 1]), "", &[1, 1, 1], &0x5824_u16.to_le_bytes());
        check(&file, DataType::DtBfloat16, Some(&[1, 1, 1]), "", &[1, 1, 1], &0x4304_u16.to_le_bytes());
    }

    #[test]
    fn what_is_for_others_is_left_to_them() {
        let file = png(1, 1, png::ColorType::Grayscale, png::BitDepth::Eight, &[1]);
        let strings = decoded(&file, DataType::DtString, None, "", &Limits::default());
        assert_eq!(strings.unwrap(), None);
        let agreement = Agreement::new(Some("application/octet-stream"), [], None).unwrap();
        assert_eq!(
            decode(&Given {
                agreement: &agreement,
                body: &file,
                signatures: None,
                limits: &Limits::default()
            })
            .unwrap(),
            None
        );
        assert_eq!(memory(&agreement, &file, None), 0);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let file = png(2, 2, png::ColorType::Grayscale, png::BitDepth::Eight, &[1; 4]);
        let limits = Limits { elements: 16, ..Limits::default() };
        for (shape, query, expected) in [
            (Some(&[-1, 2][..]), "", "The input \"x\" has the shape [-1, 2], but a picture is"),
            (Some(&[-1, 3, 8, 8]), "", "The input \"x\" has 8 channels"),
            (Some(&[-1, -1, -1, 0]), "", "The input \"x\" has 0 channels"),
            (Some(&[2, 2, 2, 3]), "", "The input \"x\" has the shape [2, 2, 2, 3]"),
            (Some(&[-1, 0, 2, 3]), "", "The input \"x\" has no room for a picture"),
            (Some(&[-1, 4, 4, 3]), "", "A tensor of more than 16 elements"),
            (None, "resize=3x2", "A tensor of more than 16 elements"),
        ] {
            let error = decoded(&file, DataType::DtFloat, shape, query, &limits).unwrap_err();
            assert!(error.message().starts_with(expected), "{shape:?} {query}: {error}");
        }
        let large = png(1, 5, png::ColorType::Grayscale, png::BitDepth::Eight, &[1; 5]);
        let error = decoded(&large, DataType::DtFloat, None, "", &limits).unwrap_err();
        assert_eq!(error.message(), "A picture of more than 16 elements");
    }
}
