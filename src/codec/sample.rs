//! Sample values for a signature: requests that it is likely to take.
//!
//! They are examples in the description of the API, and what the command line sends where nobody has given
//! it anything. Nothing here knows what a model makes of its inputs: sizes, types and names are all that the
//! values are guessed from.

use base64_simd::STANDARD;
use serde_json::{Map, Value, json};

use super::catalog::{Signature, Tensor};
use crate::proto::tensorflow::DataType;

/// The most elements of all inputs together: of larger ones there is no sample.
pub const MOST_ELEMENTS: usize = 1 << 24;

/// How large an open size is that is not the batch's: some models take pieces of a few.
const OPEN: usize = 4;

/// The height and width of pictures of any size.
const OPEN_SIDE: usize = 16;

/// A grey picture of one pixel, as PNG.
const PICTURE: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR42mNoAAAAggCB2kUIOwAAAABJRU5ErkJggg==";

/// Where the values come from.
#[derive(Debug, Clone)]
pub struct Source(State);

#[derive(Debug, Clone)]
enum State {
    /// The same few values again and again.
    Plain(usize),
    /// Values of a generator of pseudorandom numbers.
    Random(u64),
}

impl Source {
    /// Values for people to read.
    #[must_use]
    pub fn plain() -> Self {
        Self(State::Plain(0))
    }

    /// Values that differ, the same for the same seed.
    #[must_use]
    pub fn random(seed: u64) -> Self {
        Self(State::Random(seed))
    }

    /// A number below `most`, which is below 2^32.
    fn below(&mut self, most: u64) -> u64 {
        match &mut self.0 {
            State::Plain(next) => {
                *next += 1;
                (*next as u64 - 1) % most
            }
            State::Random(state) => {
                // SplitMix64.
                *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
                let mut mixed = *state;
                mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
                mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
                (mixed ^ (mixed >> 31)) % most
            }
        }
    }

    /// An element of an input.
    fn element(&mut self, name: &str, dtype: DataType) -> Option<Value> {
        Some(match dtype {
            DataType::DtBool => json!(self.below(2) == 0),
            DataType::DtString => self.string(name),
            DataType::DtComplex64 | DataType::DtComplex128 => json!([self.fraction(), self.fraction()]),
            dtype if is_float(dtype) => json!(self.fraction()),
            dtype if is_integer(dtype) => json!(1 + self.below(3)),
            _ => return None,
        })
    }

    /// From 0 up to and not including 1, exact in every type of float.
    fn fraction(&mut self) -> f64 {
        const PLAIN: [f64; 4] = [0.5, 0.25, 0.75, 0.125];
        let is_plain = matches!(self.0, State::Plain(_));
        let index = self.below(if is_plain { 4 } else { 128 });
        if is_plain {
            usize::try_from(index).ok().and_then(|index| PLAIN.get(index)).copied().unwrap_or(0.5)
        } else {
            f64::from(u32::try_from(index).unwrap_or_default()) / 128.0
        }
    }

    fn string(&mut self, name: &str) -> Value {
        if is_picture(name) {
            return json!({"b64": PICTURE});
        }
        let text = match self.0 {
            State::Plain(_) => "text".to_owned(),
            State::Random(_) => format!("text {}", self.below(1000)),
        };
        if name.ends_with("_bytes") {
            json!({"b64": STANDARD.encode_to_string(text.as_bytes())})
        } else {
            json!(text)
        }
    }

    /// A value of these sizes.
    fn nested(&mut self, name: &str, dtype: DataType, sizes: &[usize]) -> Option<Value> {
        let Some((size, sizes)) = sizes.split_first() else { return self.element(name, dtype) };
        (0..*size).map(|_| self.nested(name, dtype, sizes)).collect::<Option<Vec<_>>>().map(Value::Array)
    }
}

/// A predict body in the row format; `None` if there can be none, as for an input that is a single value.
#[must_use]
pub fn row(signature: &Signature) -> Option<Value> {
    row_of(signature, &mut Source::plain())
}

/// The same with values from a source.
#[must_use]
pub fn row_of(signature: &Signature, source: &mut Source) -> Option<Value> {
    let sizes = sizes(signature)?;
    let rows = *sizes.first()?.first()?;
    if rows == 0 || sizes.iter().any(|sizes| sizes.first() != Some(&rows)) {
        return None;
    }
    let inputs = || signature.inputs.iter().zip(&sizes);
    let instances = (0..rows).map(|_| {
        let values = inputs().map(|((name, tensor), sizes)| {
            Some((name.clone(), source.nested(name, tensor.dtype, sizes.get(1..)?)?))
        });
        let mut values = values.collect::<Option<Map<_, _>>>()?;
        let only = if signature.inputs.len() == 1 { signature.inputs.keys().next() } else { None };
        Some(only.and_then(|name| values.remove(name)).unwrap_or(Value::Object(values)))
    });
    Some(json!({"instances": instances.collect::<Option<Vec<_>>>()?}))
}

/// A predict body in the columnar format; `None` for inputs that JSON cannot carry, and for huge ones.
#[must_use]
pub fn columnar(signature: &Signature) -> Option<Value> {
    columnar_of(signature, &mut Source::plain())
}

/// The same with values from a source.
#[must_use]
pub fn columnar_of(signature: &Signature, source: &mut Source) -> Option<Value> {
    let sizes = sizes(signature)?;
    let values = signature
        .inputs
        .iter()
        .zip(&sizes)
        .map(|((name, tensor), sizes)| Some((name.clone(), source.nested(name, tensor.dtype, sizes)?)));
    Some(json!({"inputs": values.collect::<Option<Map<_, _>>>()?}))
}

/// A body of one example for `:classify` and `:regress`, whose features are the inputs of a signature that takes
/// them one by one: the model's signatures for examples do not tell theirs.
#[must_use]
pub fn examples(signature: &Signature) -> Option<Value> {
    let mut source = Source::plain();
    let sizes = sizes(signature)?;
    let features = signature.inputs.iter().zip(&sizes).map(|((name, tensor), sizes)| {
        let count = sizes.get(1..)?.iter().product::<usize>();
        let is_feature = tensor.dtype == DataType::DtString
            || tensor.dtype == DataType::DtInt64
            || tensor.dtype == DataType::DtFloat;
        let values = is_feature.then(|| source.nested(name, tensor.dtype, &[count]))??;
        // A list of one is written as its element.
        Some((name.clone(), if count == 1 { values.get(0)?.clone() } else { values }))
    });
    Some(json!({"examples": [features.collect::<Option<Map<_, _>>>()?]}))
}

/// How many elements a sample of the inputs has, if there can be one.
#[must_use]
pub fn elements(signature: &Signature) -> Option<usize> {
    sizes(signature).and_then(|sizes| count(&sizes))
}

/// The elements of all inputs; where a size is zero, the lists that have none.
fn count(sizes: &[Vec<usize>]) -> Option<usize> {
    sizes.iter().try_fold(0_usize, |all, sizes| {
        let count = sizes.iter().try_fold(1_usize, |count, size| count.checked_mul((*size).max(1)))?;
        all.checked_add(count)
    })
}

/// The sizes of a sample of an input: one row, unless it says otherwise. Those of an open rank are one row of
/// one value.
#[must_use]
pub fn shape(tensor: &Tensor) -> Vec<usize> {
    let Some(shape) = &tensor.shape else { return vec![1] };
    let is_picture = matches!(shape.as_slice(), [_, -1, -1, 1 | 3 | 4]);
    let open = if is_picture { OPEN_SIDE } else { OPEN };
    let sizes = shape.iter().enumerate().map(|(index, &size)| match (usize::try_from(size), index) {
        (Ok(size), _) => size,
        (Err(_), 0) => 1,
        (Err(_), _) => open,
    });
    sizes.collect()
}

/// The sizes of all inputs, if there are any and they are of a reasonable size.
fn sizes(signature: &Signature) -> Option<Vec<Vec<usize>>> {
    let sizes: Vec<_> = signature.inputs.values().map(shape).collect();
    let elements = count(&sizes)?;
    (!sizes.is_empty() && elements <= MOST_ELEMENTS).then_some(sizes)
}

/// Whether the strings of an input are files of pictures, by its name.
#[must_use]
pub fn is_picture(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["image", "img", "jpeg", "jpg", "png", "picture", "photo"].iter().any(|word| name.contains(word))
}

/// Whether a type is one of floats.
#[must_use]
pub fn is_float(dtype: DataType) -> bool {
    use DataType::{DtBfloat16, DtDouble, DtFloat, DtHalf};
    matches!(dtype, DtFloat | DtDouble | DtHalf | DtBfloat16)
}

/// Whether a type is one of integers.
#[must_use]
pub fn is_integer(dtype: DataType) -> bool {
    use DataType::{DtInt8, DtInt16, DtInt32, DtInt64, DtUint8, DtUint16, DtUint32, DtUint64};
    matches!(dtype, DtInt8 | DtInt16 | DtInt32 | DtInt64 | DtUint8 | DtUint16 | DtUint32 | DtUint64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature(inputs: &[(&str, DataType, Option<&[i64]>)]) -> Signature {
        let tensor = |(name, dtype, shape): &(&str, DataType, Option<&[i64]>)| {
            ((*name).to_owned(), Tensor { dtype: *dtype, shape: shape.map(Into::into) })
        };
        Signature { inputs: inputs.iter().map(tensor).collect(), ..Signature::default() }
    }

    fn check(inputs: &[(&str, DataType, Option<&[i64]>)], row: &Value, columnar: &Value) {
        let signature = signature(inputs);
        let row = (!row.is_null()).then(|| json!({"instances": row}));
        assert_eq!(super::row(&signature), row, "{inputs:?}");
        let columnar = (!columnar.is_null()).then(|| json!({"inputs": columnar}));
        assert_eq!(super::columnar(&signature), columnar, "{inputs:?}");
    }

    #[test]
    fn samples_have_the_types_and_sizes_of_the_inputs() {
        use DataType::{DtBool, DtComplex64, DtFloat, DtInt64, DtResource, DtString, DtUint8};
        check(&[("x", DtFloat, Some(&[-1, 2]))], &json!([[0.5, 0.25]]), &json!({"x": [[0.5, 0.25]]}));
        check(&[("x", DtUint8, Some(&[2]))], &json!([1, 2]), &json!({"x": [1, 2]}));
        check(&[("x", DtFloat, None)], &json!([0.5]), &json!({"x": [0.5]}));
        check(
            &[("a", DtBool, Some(&[-1])), ("b_bytes", DtString, Some(&[-1, 1]))],
            &json!([{"a": true, "b_bytes": [{"b64": "dGV4dA=="}]}]),
            &json!({"a": [true], "b_bytes": [[{"b64": "dGV4dA=="}]]}),
        );
        check(&[("x", DtInt64, Some(&[-1, -1]))], &json!([[1, 2, 3, 1]]), &json!({"x": [[1, 2, 3, 1]]}));
        check(&[("x", DtComplex64, Some(&[]))], &Value::Null, &json!({"x": [0.5, 0.25]}));
        check(
            &[("s", DtString, Some(&[-1])), ("t", DtBool, Some(&[]))],
            &Value::Null,
            &json!({"s": ["text"], "t": true}),
        );
        check(&[("x", DtResource, Some(&[-1]))], &Value::Null, &Value::Null);
        check(&[("x", DtFloat, Some(&[-1, 1 << 40, 1 << 40]))], &Value::Null, &Value::Null);
        // Lists of nothing are lists, too.
        check(&[("x", DtFloat, Some(&[-1, 2, 0]))], &json!([[[], []]]), &json!({"x": [[[], []]]}));
        check(&[("x", DtFloat, Some(&[-1, 1 << 33, 0]))], &Value::Null, &Value::Null);
        check(&[("x", DtFloat, Some(&[0, 1 << 40, 1 << 40]))], &Value::Null, &Value::Null);
        check(&[], &Value::Null, &Value::Null);
        assert_eq!(elements(&signature(&[("x", DtFloat, Some(&[-1, -1, -1, 3]))])), Some(768));
    }

    #[test]
    fn pictures_are_pictures_and_features_are_flat() {
        let image = signature(&[("image_bytes", DataType::DtString, Some(&[-1]))]);
        assert_eq!(row(&image), Some(json!({"instances": [{"b64": PICTURE}]})));
        let features =
            signature(&[("x", DataType::DtFloat, Some(&[-1, 1])), ("y", DataType::DtInt64, Some(&[-1, 2]))]);
        assert_eq!(examples(&features), Some(json!({"examples": [{"x": 0.5, "y": [2, 3]}]})));
        assert_eq!(examples(&signature(&[("x", DataType::DtBool, Some(&[-1]))])), None);
    }

    #[test]
    fn the_same_seed_gives_the_same_values() {
        let signature = signature(&[("x", DataType::DtFloat, Some(&[-1, 100]))]);
        let body = |seed| columnar_of(&signature, &mut Source::random(seed));
        assert_eq!(body(1), body(1));
        assert_ne!(body(1), body(2));
    }
}
