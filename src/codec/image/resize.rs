//! Pixels to elements, in another size if need be.
//!
//! The size is changed as `tf.image.resize` does it by default: bilinear, with the centres of pixels where they
//! are (half-pixel centres) and without a filter for what is made smaller (`antialias=False`), in floats.

use super::picture::Picture;

/// The elements of a picture in this size, each made of a sample from 0 to 255.
pub(super) fn content<const WIDTH: usize>(
    picture: &Picture,
    height: usize,
    width: usize,
    element: impl Fn(f32) -> [u8; WIDTH],
) -> Vec<u8> {
    let channels = picture.channels;
    let mut content = Vec::with_capacity(height * width * channels * WIDTH);
    if (picture.height, picture.width) == (height, width) {
        content.extend(picture.samples.iter().flat_map(|sample| element(f32::from(*sample))));
        return content;
    }
    let columns: Vec<Between> = (0..width).map(|column| Between::new(column, width, picture.width)).collect();
    for row in 0..height {
        let rows = Between::new(row, height, picture.height);
        let (top, bottom) = (picture.row(rows.lower), picture.row(rows.upper));
        for column in &columns {
            let (left, right) = (column.lower * channels, column.upper * channels);
            for channel in 0..channels {
                let across = |row: &[u8]| {
                    let sample = |at: usize| f32::from(row.get(at + channel).copied().unwrap_or_default());
                    column.weigh(sample(left), sample(right))
                };
                content.extend_from_slice(&element(rows.weigh(across(top), across(bottom))));
            }
        }
    }
    content
}

/// The two places that a new place lies between, and how near it is to the upper one.
#[derive(Debug, Clone, Copy)]
struct Between {
    lower: usize,
    upper: usize,
    share: f32,
}

impl Between {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "places are far below 2^24, and cut off at both ends"
    )]
    fn new(place: usize, new_size: usize, size: usize) -> Self {
        let scale = size as f32 / new_size as f32;
        let exact = (place as f32 + 0.5) * scale - 0.5;
        let below = exact.floor();
        let last = size.saturating_sub(1);
        let (lower, upper) = (below.max(0.0) as usize, exact.ceil().max(0.0) as usize);
        Self { lower: lower.min(last), upper: upper.min(last), share: exact - below }
    }

    fn weigh(self, lower: f32, upper: f32) -> f32 {
        lower + (upper - lower) * self.share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resized(height: usize, width: usize, samples: &[u8], new_height: usize, new_width: usize) -> Vec<f32> {
        let picture =
            Picture { height, width, channels: samples.len() / height / width, samples: samples.to_vec() };
        let content = content(&picture, new_height, new_width, f32::to_le_bytes);
        content.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    }

    #[test]
    fn sizes_change_as_tensorflow_changes_them() {
        // tf.image.resize([[[0.], [100.]]], [1, 4]) and so on, in TensorFlow 2.21.
        assert_eq!(resized(1, 2, &[0, 100], 1, 4), [0.0, 25.0, 75.0, 100.0]);
        assert_eq!(resized(1, 4, &[0, 100, 200, 40], 1, 2), [50.0, 120.0]);
        assert_eq!(resized(2, 2, &[0, 10, 20, 30], 1, 1), [15.0]);
        assert_eq!(resized(2, 1, &[0, 90], 3, 1), [0.0, 45.0, 90.0]);
        assert_eq!(resized(1, 2, &[1, 2, 3, 5, 6, 7], 1, 1), [3.0, 4.0, 5.0]);
        assert_eq!(resized(1, 2, &[1, 2], 1, 2), [1.0, 2.0]);
    }
}
