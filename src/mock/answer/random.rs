//! Values that look random. A row of an output hangs on the seed, on the names of version, signature and
//! output, and on the same row of the inputs: so an instance has the same answer in whichever batch it comes.
//!
//! The numbers are the same in every release, since tests of others compare them.

use bytes::Bytes;

use super::super::graph::{Feed, Fetch};
use super::super::tensor::{Tensor, Values};
use super::{Blank, shapes};
use crate::codec::half::{BFLOAT16, HALF};
use crate::proto::tensorflow::DataType;

/// Whole numbers are less than this, which the narrowest dtype can hold.
const INTEGERS: u64 = 100;

/// What the rows of outputs hang on.
pub(super) struct Rows<'a> {
    start: Digest,
    feeds: &'a [Feed<'a>],
    /// The sum of each of the inputs as a whole.
    wholes: Vec<u64>,
    batch: i64,
}

/// The seed of a version of a model.
pub(super) fn seed_of(seed: u64, model: &str, version: i64) -> u64 {
    Digest(seed).bytes(model.as_bytes()).word(version.cast_unsigned()).0
}

impl<'a> Rows<'a> {
    pub(super) fn new(seed: u64, signature: &str, feeds: &'a [Feed<'a>], batch: i64) -> Self {
        let wholes = feeds.iter().map(|feed| Digest(0).tensor(&feed.tensor, 0, 1).0).collect();
        Self { start: Digest(seed).bytes(signature.as_bytes()), feeds, wholes, batch }
    }

    pub(super) fn fill(&self, blank: Blank, fetch: &Fetch<'_>) -> Tensor {
        let has_rows = shapes::is_batch(fetch.info) && blank.shape.first() == Some(&self.batch);
        // An output without elements may have more rows than could be counted.
        let rows = match usize::try_from(self.batch) {
            Ok(rows) if has_rows && rows > 0 && blank.count > 0 => rows,
            _ => 1,
        };
        let numbers = (0..rows).flat_map(|row| {
            let seed = if has_rows { self.row(row, rows) } else { self.all() };
            let mut digest = seed.bytes(fetch.alias.as_bytes());
            std::iter::repeat_with(move || digest.next()).take(blank.count / rows)
        });
        let values = match blank.width {
            None => Values::Strings(numbers.map(string).collect()),
            Some(width) => {
                let mut packed = Vec::with_capacity(blank.count * width);
                numbers.for_each(|number| push(blank.dtype, number, &mut packed));
                Values::Numbers(packed.into())
            }
        };
        Tensor { dtype: blank.dtype, shape: blank.shape, values }
    }

    fn all(&self) -> Digest {
        let feeds = self.feeds.iter().zip(&self.wholes);
        feeds.fold(self.start, |digest, (feed, &whole)| digest.bytes(feed.alias.as_bytes()).word(whole))
    }

    /// The sum of a row of those inputs that have rows, and of the others as they are.
    fn row(&self, row: usize, rows: usize) -> Digest {
        self.feeds.iter().zip(&self.wholes).fold(self.start, |digest, (feed, &whole)| {
            let has_rows = feed.tensor.shape.first() == Some(&self.batch);
            let part = if has_rows { Digest(0).tensor(&feed.tensor, row, rows).0 } else { whole };
            digest.bytes(feed.alias.as_bytes()).word(part)
        })
    }
}

/// Eight letters and digits.
fn string(number: u64) -> Bytes {
    format!("{:08x}", number >> 32).into()
}

/// Packs a value that a number stands for: one of [0, 1) for floats.
#[expect(clippy::cast_precision_loss, reason = "the bits that are kept are as many as the type is exact for")]
fn push(dtype: DataType, number: u64, packed: &mut Vec<u8>) {
    let float = |number: u64| ((number >> 40) as f32 / (1_u32 << 24) as f32).to_le_bytes();
    let double = |number: u64| ((number >> 11) as f64 / (1_u64 << 53) as f64).to_le_bytes();
    let fraction = |bits: u32| (number >> (64 - bits)) as f64 / f64::from(1 << bits);
    let width = match dtype {
        DataType::DtFloat => return packed.extend_from_slice(&float(number)),
        DataType::DtDouble => return packed.extend_from_slice(&double(number)),
        DataType::DtHalf => return packed.extend_from_slice(&HALF.round(fraction(11)).to_le_bytes()),
        DataType::DtBfloat16 => return packed.extend_from_slice(&BFLOAT16.round(fraction(8)).to_le_bytes()),
        DataType::DtComplex64 => {
            packed.extend_from_slice(&float(number));
            return packed.extend_from_slice(&float(mix(number)));
        }
        DataType::DtComplex128 => {
            packed.extend_from_slice(&double(number));
            return packed.extend_from_slice(&double(mix(number)));
        }
        DataType::DtBool => return packed.push((number >> 63) as u8),
        DataType::DtInt8 | DataType::DtUint8 => 1,
        DataType::DtInt16 | DataType::DtUint16 => 2,
        DataType::DtInt32 | DataType::DtUint32 => 4,
        _ => 8,
    };
    packed.extend_from_slice(&(number % INTEGERS).to_le_bytes()[..width]);
}

/// A sum of all that it has been told, and a source of numbers that follow from it.
#[derive(Debug, Clone, Copy)]
struct Digest(u64);

impl Digest {
    fn word(self, word: u64) -> Self {
        Self(mix(self.0.rotate_left(7) ^ word))
    }

    fn bytes(self, bytes: &[u8]) -> Self {
        let (words, rest) = bytes.as_chunks();
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        let told = words.iter().fold(self, |digest, word| digest.word(u64::from_le_bytes(*word)));
        // With the length, so that zeros at the end count.
        told.word(u64::from_le_bytes(last)).word(bytes.len() as u64)
    }

    /// One of so many equal parts of a tensor.
    fn tensor(self, tensor: &Tensor, index: usize, count: usize) -> Self {
        match &tensor.values {
            Values::Numbers(packed) => self.bytes(part(packed, index, count)),
            Values::Strings(strings) => {
                part(strings, index, count).iter().fold(self, |digest, string| digest.bytes(string))
            }
        }
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }
}

fn part<T>(values: &[T], index: usize, count: usize) -> &[T] {
    let length = values.len() / count;
    &values[index * length..(index + 1) * length]
}

/// Spreads each bit over all of them, as the generator SplitMix64 does.
pub(in crate::mock) fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::super::{Answer, Kind};
    use super::*;
    use crate::mock::signature::shaped;

    fn answer(seed: u64, version: i64, values: &[f32], dtype: DataType) -> Tensor {
        let input = shaped("x:0", DataType::DtFloat, &[-1, 2]);
        let output = shaped("y:0", dtype, &[-1, 3]);
        let rows = i64::try_from(values.len() / 2).unwrap();
        let tensor = Tensor::of_floats(vec![rows, 2], values.iter().copied());
        let feeds = [Feed { alias: "x", info: &input, tensor }];
        let fetches = [Fetch { alias: "y", info: &output }];
        let answer = Answer::new(Kind::Random, seed, false, "m", version);
        answer.give("serving_default", &feeds, &fetches).unwrap().remove(0)
    }

    #[test]
    fn the_same_row_has_the_same_answer_in_every_batch() {
        let floats = |values| answer(7, 1, values, DataType::DtFloat).floats().collect::<Vec<_>>();
        let (first, second) = (floats(&[1.0, 2.0]), floats(&[3.0, 4.0]));
        assert_ne!(first, second);
        assert_eq!(floats(&[1.0, 2.0, 3.0, 4.0]), [first.clone(), second].concat());
        assert!(first.iter().all(|value| (0.0..1.0).contains(value)));
        // Others compare with these in their tests, so they must not change.
        assert_eq!(first, [0.119_325_936, 0.600_664_56, 0.564_661_8]);
    }

    #[test]
    fn seeds_and_versions_have_answers_of_their_own() {
        let base = answer(7, 1, &[1.0, 2.0], DataType::DtFloat);
        assert_ne!(answer(8, 1, &[1.0, 2.0], DataType::DtFloat), base);
        assert_ne!(answer(7, 2, &[1.0, 2.0], DataType::DtFloat), base);
    }

    #[test]
    fn every_dtype_has_values_of_its_own() {
        for number in 1..=23 {
            let dtype = DataType::try_from(number).unwrap();
            let is_missing = crate::codec::dtype::width(dtype).is_none() && dtype != DataType::DtString;
            if is_missing {
                continue;
            }
            let tensor = answer(7, 1, &[0.5; 400], dtype);
            assert_eq!(Tensor::from_proto("y", &tensor.to_proto(false)).unwrap(), tensor, "{dtype:?}");
            let tensor = answer(7, 1, &(0_u8..200).map(f32::from).collect::<Vec<_>>(), dtype);
            let proto = tensor.to_proto(false);
            let floats = proto.half_val.iter().map(|bits| match dtype {
                DataType::DtHalf => HALF.to_f64(u16::try_from(*bits).unwrap()),
                _ => BFLOAT16.to_f64(u16::try_from(*bits).unwrap()),
            });
            assert!(floats.into_iter().all(|value| (0.0..1.0).contains(&value)), "{dtype:?}");
            assert!(proto.int_val.iter().all(|value| (0..100).contains(value)), "{dtype:?}");
            assert!(proto.double_val.iter().all(|value| (0.0..1.0).contains(value)), "{dtype:?}");
            assert!(proto.scomplex_val.iter().all(|value| (0.0..1.0).contains(value)), "{dtype:?}");
        }
    }
}
