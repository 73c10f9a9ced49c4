//! What must hold for any input, tried on random ones. `tests/fuzz` has more of these and
//! searches for inputs with coverage as its guide; here is what every test run can afford.

use std::collections::HashMap;

use bytes::Bytes;
use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use tfbridge::codec::predict::{self, Format};
use tfbridge::codec::signature::{DEFAULT_SIGNATURE, Input, Signature, Signatures};
use tfbridge::codec::stream::Stream;
use tfbridge::codec::{Limits, NanStyle, dtype, example, pretty};
use tfbridge::error::Error;
use tfbridge::proto::tensorflow::{DataType, TensorProto, TensorShapeProto};
use tfbridge::route::{self, Route, Target, Version};

use crate::support;

pub const DTYPES: [DataType; 16] = [
    DataType::DtFloat,
    DataType::DtDouble,
    DataType::DtHalf,
    DataType::DtBfloat16,
    DataType::DtInt8,
    DataType::DtInt16,
    DataType::DtInt32,
    DataType::DtInt64,
    DataType::DtUint8,
    DataType::DtUint16,
    DataType::DtUint32,
    DataType::DtUint64,
    DataType::DtBool,
    DataType::DtComplex64,
    DataType::DtComplex128,
    DataType::DtString,
];

const INTEGERS: [(DataType, i128, i128); 8] = [
    (DataType::DtInt8, i8::MIN as i128, i8::MAX as i128),
    (DataType::DtInt16, i16::MIN as i128, i16::MAX as i128),
    (DataType::DtInt32, i32::MIN as i128, i32::MAX as i128),
    (DataType::DtInt64, i64::MIN as i128, i64::MAX as i128),
    (DataType::DtUint8, 0, u8::MAX as i128),
    (DataType::DtUint16, 0, u16::MAX as i128),
    (DataType::DtUint32, 0, u32::MAX as i128),
    (DataType::DtUint64, 0, u64::MAX as i128),
];

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// The signature of a model with one input, `x_bytes`: strings of an output of that name are
/// written in base64, so that any bytes come back.
fn signatures(dtype: DataType) -> Signatures {
    let input = Input { name: "x_bytes".to_owned(), dtype, shape: None };
    [("serving_default".to_owned(), Signature::new(vec![input]))].into_iter().collect()
}

pub fn decode(body: impl Into<Bytes>, dtype: DataType) -> Result<TensorProto, Error> {
    predict::decode(&body.into(), &signatures(dtype), &Limits::default())
        .map(|mut predict| predict.inputs.remove("x_bytes").unwrap())
}

pub fn encode(tensor: &TensorProto, format: Format, nan: NanStyle) -> Result<Vec<u8>, Error> {
    predict::encode(&HashMap::from([("x_bytes".to_owned(), tensor.clone())]), format, nan)
}

/// Prints a tensor and reads it back.
fn round_trip(tensor: &TensorProto, format: Format) -> TensorProto {
    let (key, request_key) = match format {
        Format::Row => ("{\"predictions\":", "{\"instances\":"),
        Format::Columnar => ("{\"outputs\":", "{\"inputs\":"),
    };
    let text = encode(tensor, format, NanStyle::Literal).unwrap();
    let values = text.strip_prefix(key.as_bytes()).unwrap();
    decode([request_key.as_bytes(), values].concat(), tensor.dtype()).unwrap()
}

pub fn tensor(dtype: DataType, sizes: &[usize], content: Vec<u8>) -> TensorProto {
    let sizes: Vec<i64> = sizes.iter().map(|&size| size as i64).collect();
    TensorProto {
        dtype: dtype.into(),
        tensor_shape: Some(support::shape(&sizes)),
        tensor_content: content.into(),
        ..TensorProto::default()
    }
}

/// The tensor as it must come back: every NaN is the one that `NaN` reads as, and nothing is
/// known of the dimensions below one that is empty.
pub fn canonical(tensor: &TensorProto) -> TensorProto {
    fn quiet<const WIDTH: usize>(content: &mut [u8], is_nan: impl Fn([u8; WIDTH]) -> bool, nan: [u8; WIDTH]) {
        content.as_chunks_mut().0.iter_mut().filter(|chunk| is_nan(**chunk)).for_each(|chunk| *chunk = nan);
    }
    let mut content = tensor.tensor_content.to_vec();
    let is_above = |infinity| move |bytes| u16::from_le_bytes(bytes) & 0x7FFF > infinity;
    match tensor.dtype() {
        DataType::DtFloat | DataType::DtComplex64 => {
            quiet(&mut content, |bytes| f32::from_le_bytes(bytes).is_nan(), f32::NAN.to_le_bytes());
        }
        DataType::DtDouble | DataType::DtComplex128 => {
            quiet(&mut content, |bytes| f64::from_le_bytes(bytes).is_nan(), f64::NAN.to_le_bytes());
        }
        DataType::DtHalf => quiet(&mut content, is_above(0x7C00), 0x7E00_u16.to_le_bytes()),
        DataType::DtBfloat16 => quiet(&mut content, is_above(0x7F80), 0x7FC0_u16.to_le_bytes()),
        DataType::DtBool => content.iter_mut().for_each(|byte| *byte = u8::from(*byte != 0)),
        _ => {}
    }
    let mut canonical = TensorProto { tensor_content: content.into(), ..tensor.clone() };
    let dim = &mut canonical.tensor_shape.as_mut().unwrap().dim;
    let known = dim.iter().position(|dim| dim.size == 0).map_or(dim.len(), |empty| empty + 1);
    dim.truncate(known);
    canonical
}

/// Decimal text of all kinds, among it the middles between two floats, which round worst.
fn number() -> impl Strategy<Value = String> {
    let finite = any::<f64>().prop_filter("finite", |value| value.is_finite());
    let middle = |(bits, digits): (u32, usize)| {
        let (low, high) = (f32::from_bits(bits), f32::from_bits(bits + 1));
        format!("{:.digits$}", f64::midpoint(low.into(), high.into()))
    };
    // From 2^-20 on, where the middle is no long string of zeros.
    let bits = (127 - 20) << 23..(127_u32 + 60) << 23;
    prop_oneof![
        3 => "-?(0|[1-9][0-9]{0,19})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?",
        1 => "-?(0|[1-9][0-9]{0,8})\\.[0-9]{1,9}",
        1 => finite.clone().prop_map(|value| format!("{value:e}")),
        1 => finite.prop_map(|value| format!("{value}")),
        1 => any::<f32>().prop_filter("finite", |value| value.is_finite()).prop_map(|value| f64::from(value).to_string()),
        2 => (bits, 0..30_usize).prop_map(middle),
    ]
}

fn lists(rows: &[Vec<String>], separator: &str) -> String {
    let rows: Vec<String> = rows.iter().map(|row| format!("[{}]", row.join(separator))).collect();
    format!("{{\"inputs\":[{}]}}", rows.join(separator))
}

proptest! {
    #![proptest_config(cases(8000))]

    #[test]
    fn numbers_are_read_correctly_rounded(
        rows in (1..6_usize, 1..5_usize).prop_flat_map(|(rows, columns)| vec(vec(number(), columns), rows)),
        separator in select(vec![",", ", ", " , ", ",\n"]),
    ) {
        let body = lists(&rows, separator);
        let doubles: Vec<f64> = rows.iter().flatten().map(|text| text.parse().unwrap()).collect();
        let expected: Vec<u8> = doubles.iter().flat_map(|value| value.to_le_bytes()).collect();
        prop_assert_eq!(&decode(body.clone(), DataType::DtDouble).unwrap().tensor_content, &expected);
        // A float is what the correctly rounded double rounds to.
        let expected: Vec<u8> = doubles.iter().flat_map(|&value| (value as f32).to_le_bytes()).collect();
        prop_assert_eq!(&decode(body, DataType::DtFloat).unwrap().tensor_content, &expected);
    }

    #[test]
    fn integers_are_read_or_out_of_range(
        (dtype, least, most) in select(INTEGERS.to_vec()),
        values in vec(prop_oneof![any::<i8>().prop_map(i128::from), -(1_i128 << 66)..1 << 66, any::<i64>().prop_map(i128::from)], 1..5),
        edge in prop_oneof![Just(None), (-2..=2_i128).prop_map(Some)],
    ) {
        // Values of the type with one maybe at or over its edges.
        let mut values: Vec<i128> = values.iter().map(|value| value.rem_euclid(most - least + 1) + least).collect();
        if let Some(offset) = edge {
            values[0] = if offset < 0 { least + offset + 1 } else { most + offset - 1 };
        }
        let fits = values.iter().all(|value| (least..=most).contains(value));
        let row: Vec<String> = values.iter().map(ToString::to_string).collect();
        let decoded = decode(lists(&[row], ", "), dtype);
        prop_assert_eq!(decoded.is_ok(), fits, "{:?} {:?}", dtype, values);
        if let Ok(tensor) = decoded {
            let width = dtype::width(dtype).unwrap();
            let expected: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()[..width].to_vec()).collect();
            prop_assert_eq!(&tensor.tensor_content, &expected);
        }
    }
}

/// Shapes of few elements, empty and scalar ones among them.
fn sizes() -> impl Strategy<Value = Vec<usize>> {
    vec(prop_oneof![9 => 1..4_usize, 1 => Just(0)], 0..5)
}

fn sound_tensor() -> impl Strategy<Value = TensorProto> {
    (select(DTYPES.to_vec()), sizes()).prop_flat_map(|(dtype, sizes)| {
        let elements = sizes.iter().product::<usize>();
        let strings = if dtype == DataType::DtString { elements } else { 0 };
        let length = elements * dtype::width(dtype).unwrap_or(0);
        (vec(any::<u8>(), length), vec(vec(any::<u8>(), 0..12), strings)).prop_map(
            move |(content, strings)| {
                let string_val = strings.into_iter().map(Bytes::from).collect();
                TensorProto { string_val, ..tensor(dtype, &sizes, content) }
            },
        )
    })
}

/// A tensor with `more` elements that are like its last one, or zero if it has none.
fn extend(tensor: &TensorProto, more: usize) -> TensorProto {
    fn repeat_last<T: Clone>(values: &[T], period: usize, zero: T, more: usize) -> Vec<T> {
        let last = values.rchunks(period).next().map_or(vec![zero; period], <[T]>::to_vec);
        [values.to_vec(), vec![last; more].concat()].concat()
    }
    let elements: i64 = tensor.tensor_shape.as_ref().unwrap().dim.iter().map(|dim| dim.size).product();
    let mut extended =
        TensorProto { tensor_shape: Some(support::shape(&[elements + more as i64])), ..tensor.clone() };
    match dtype::width(tensor.dtype()) {
        Some(width) => extended.tensor_content = repeat_last(&tensor.tensor_content, width, 0, more).into(),
        None => extended.string_val = repeat_last(&tensor.string_val, 1, Bytes::new(), more),
    }
    extended
}

/// The digits of a decimal, without the zeros at either end.
fn digits(text: &str) -> String {
    let significand = text.split('e').next().unwrap();
    let digits: String = significand.chars().filter(char::is_ascii_digit).collect();
    digits.trim_matches('0').to_owned()
}

proptest! {
    #![proptest_config(cases(8000))]

    #[test]
    fn floats_are_printed_in_the_fewest_digits(
        bits in any::<u64>(),
        scale in -12..12_i32,
    ) {
        let float = f32::from_bits(bits as u32);
        // Of the size that models answer with.
        let usual = (bits >> 40) as f32 / 1e7 * 10_f32.powi(scale);
        let double = f64::from_bits(bits);
        for value in [f64::from(float), f64::from(usual), double].into_iter().filter(|value| value.is_finite()) {
            let (dtype, content, expected) = if value.to_bits() == double.to_bits() {
                (DataType::DtDouble, value.to_le_bytes().to_vec(), format!("{value:e}"))
            } else {
                (DataType::DtFloat, (value as f32).to_le_bytes().to_vec(), format!("{:e}", value as f32))
            };
            let text = encode(&tensor(dtype, &[1], content), Format::Columnar, NanStyle::Literal).unwrap();
            let text = String::from_utf8(text).unwrap();
            let text = text.strip_prefix("{\"outputs\":[").and_then(|rest| rest.strip_suffix("]}")).unwrap();
            prop_assert_eq!(digits(text).len(), digits(&expected).len(), "{} {}", text, expected);
            // And of those in the nearest, or in one of two that are equally near.
            let error = |text: &str| (text.parse::<f64>().unwrap() - value).abs();
            prop_assert!(error(text) <= error(&expected), "{} {}", text, expected);
        }
    }

    #[test]
    fn what_is_printed_reads_back(tensor in sound_tensor()) {
        prop_assert_eq!(round_trip(&tensor, Format::Columnar), canonical(&tensor));
        let rows = tensor.tensor_shape.as_ref().unwrap().dim.first().map_or(0, |dim| dim.size);
        if rows > 0 {
            prop_assert_eq!(round_trip(&tensor, Format::Row), canonical(&tensor));
        }
        let typed = support::typed(&tensor);
        let texts = [&tensor, &typed].map(|tensor| encode(tensor, Format::Columnar, NanStyle::Literal).unwrap());
        prop_assert_eq!(&texts[0], &texts[1]);
    }

    #[test]
    fn the_last_value_repeats(tensor in sound_tensor(), more in 0..4_usize) {
        let whole = extend(&tensor, more);
        let short = TensorProto { tensor_shape: whole.tensor_shape.clone(), ..support::typed(&tensor) };
        let texts = [&whole, &short].map(|tensor| encode(tensor, Format::Columnar, NanStyle::Literal).unwrap());
        prop_assert_eq!(&texts[0], &texts[1]);
    }
}

#[test]
fn every_16_bit_float_reads_back() {
    let content: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
    for dtype in [DataType::DtHalf, DataType::DtBfloat16] {
        let tensor = tensor(dtype, &[1 << 16], content.clone());
        assert!(round_trip(&tensor, Format::Columnar) == canonical(&tensor), "{dtype:?}");
    }
}

/// The magnitude of a 16-bit float; where infinity stands, the value that would be next.
fn magnitude(bits: u16, exponent_bits: u32) -> f64 {
    let fraction_bits = 15 - exponent_bits;
    let bias = (1 << (exponent_bits - 1)) - 1;
    let exponent = i32::from(bits >> fraction_bits);
    let fraction = f64::from(bits & ((1 << fraction_bits) - 1)) / f64::from(1 << fraction_bits);
    if exponent == 0 {
        fraction * 2_f64.powi(1 - bias)
    } else {
        (1.0 + fraction) * 2_f64.powi(exponent - bias)
    }
}

#[test]
fn doubles_round_to_the_nearest_16_bit_float() {
    for (dtype, exponent_bits) in [(DataType::DtHalf, 5), (DataType::DtBfloat16, 8)] {
        let infinity = ((1 << exponent_bits) - 1) << (15 - exponent_bits);
        let mut numbers = Vec::new();
        let mut expected = Vec::new();
        for low in 0..infinity {
            let middle = f64::midpoint(magnitude(low, exponent_bits), magnitude(low + 1, exponent_bits));
            for (value, bits) in [
                (middle.next_down(), low),
                (middle, low + low % 2),
                (middle.next_up(), low + 1),
                (-middle, (low + low % 2) | 0x8000),
            ] {
                numbers.push(format!("{value:e}"));
                expected.extend(bits.to_le_bytes());
            }
        }
        let body = format!("{{\"inputs\":[{}]}}", numbers.join(","));
        assert!(decode(body, dtype).unwrap().tensor_content == expected, "{dtype:?}");
    }
}

/// Pieces of strings: escapes whole and broken, surrogates with and without their other half.
fn string_literal() -> impl Strategy<Value = String> {
    let escapes = vec![
        "\\n",
        "\\\"",
        "\\\\",
        "\\/",
        "\\b",
        "\\f",
        "\\r",
        "\\t",
        "\\x",
        "\\u00e9",
        "\\u0000",
        "\\ud83d",
        "\\ude00",
        "\\ud83d\\ude00",
        "\\udbff\\udfff",
        "\\ud800\\ue000",
        "\\uFFFF",
        "\\u12",
        "\\ug000",
        "\u{1}",
        "\u{7f}",
        "\n",
    ];
    let piece = prop_oneof![1 => select(escapes).prop_map(str::to_owned), 2 => "[^\"\\\\]{0,20}"];
    vec(piece, 0..5).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

proptest! {
    #![proptest_config(cases(8000))]

    #[test]
    fn strings_are_read_as_serde_reads_them(literals in vec(string_literal(), 1..3)) {
        let list = format!("[{}]", literals.join(","));
        let expected = serde_json::from_str::<Vec<String>>(&list).ok();
        let found = decode(format!("{{\"inputs\":{list}}}"), DataType::DtString).ok();
        let expected: Option<Vec<Bytes>> = expected.map(|strings| strings.into_iter().map(Bytes::from).collect());
        prop_assert_eq!(found.map(|tensor| tensor.string_val), expected, "{}", list);
    }
}

/// The recorded bodies of all verbs and some longer lists, with the dtype of an input.
fn bodies() -> Vec<(Vec<u8>, DataType)> {
    let lists = [
        (r#"{"inputs":[[0.5,1.25],[2.5,3.75],[4.5,5.25]]}"#, DataType::DtFloat),
        (r#"{"instances": [[0.5, -1.25], [2.5, 3.75], [4.5, 5.25]]}"#, DataType::DtDouble),
        (r#"{"instances": [[1, 2, 3], [4, 5, 6], [7, 8, 9]]}"#, DataType::DtInt64),
        (r#"{"inputs":[[[1,2],[3,4]],[[5,6],[7,8]]]}"#, DataType::DtComplex64),
    ];
    let lists = lists.map(|(body, dtype)| (body.as_bytes().to_vec(), dtype));
    // As many as make a difference among the recorded ones.
    let lists = lists.iter().cycle().take(80).cloned();
    ["decode.json", "decode_probe.json", "classify_regress.json", "classify_regress_probe.json"]
        .into_iter()
        .flat_map(support::cases)
        .filter_map(|case| {
            let body = case["request_json"].as_str()?.as_bytes().to_vec();
            let input = case["signature"]["inputs"].as_object().and_then(|inputs| inputs.values().next());
            Some((body, input.map_or(DataType::DtFloat, |input| support::dtype(&input["dtype"]))))
        })
        .chain(lists)
        .collect()
}

#[derive(Debug, Clone)]
enum Mutation {
    Set(Index, u8),
    Insert(Index, &'static str),
    Remove(Index, Index),
    Repeat(Index, Index),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let tokens = vec![
        "[",
        "]",
        "{",
        "}",
        ",",
        ":",
        "\"",
        "\\",
        "\\u",
        "-",
        ".",
        "e",
        "0",
        "1",
        "18446744073709551616",
        "1e309",
        "NaN",
        "-Inf",
        "null",
        "true",
        " ",
        "\u{0}",
        "\\ud83d",
        "{\"b64\":\"",
        "\"instances\":",
        "\"inputs\":",
        "\"dtypes\":{\"x\":\"int8\"},",
        "\"tasks\":[{\"method_name\":\"classify\"}],",
    ];
    let index = any::<Index>;
    prop_oneof![
        (index(), any::<u8>()).prop_map(|(at, byte)| Mutation::Set(at, byte)),
        (index(), select(tokens)).prop_map(|(at, token)| Mutation::Insert(at, token)),
        (index(), index()).prop_map(|(from, to)| Mutation::Remove(from, to)),
        (index(), index()).prop_map(|(from, to)| Mutation::Repeat(from, to)),
    ]
}

fn mutate(mut body: Vec<u8>, mutations: &[Mutation]) -> Vec<u8> {
    for mutation in mutations {
        let length = body.len() + 1;
        let range = |from: &Index, to: &Index| {
            let (from, to) = (from.index(length), to.index(length));
            from.min(to)..from.max(to)
        };
        match mutation {
            Mutation::Set(at, byte) => {
                body.iter_mut().skip(at.index(length)).take(1).for_each(|old| *old = *byte);
            }
            Mutation::Insert(at, token) => {
                let at = at.index(length);
                body.splice(at..at, token.bytes());
            }
            Mutation::Remove(from, to) => drop(body.drain(range(from, to))),
            Mutation::Repeat(from, to) => {
                let range = range(from, to);
                let part = body[range.clone()].to_vec();
                body.splice(range.end..range.end, part);
            }
        }
    }
    body
}

proptest! {
    #![proptest_config(cases(10000))]

    #[test]
    fn a_broken_body_is_refused_and_a_whole_one_is_not(
        (body, dtype) in select(bodies()),
        mutations in vec(mutation(), 0..4),
        step in 1..40_usize,
    ) {
        let body = Bytes::from(mutate(body, &mutations));
        let checked = predict::check(&body, &Limits::default());
        let decoded = decode(body.clone(), dtype);
        let examples = example::decode(&body, "classify", &Limits::default());
        let tasks = example::decode_multi_inference(&body, "multi_inference", &Limits::default());
        let guessed = predict::decode_guessed(&body, &Limits::default());
        match &guessed {
            Ok(guessed) => {
                let input = |(name, tensor): (&String, &TensorProto)| {
                    Input { name: name.clone(), dtype: tensor.dtype(), shape: None }
                };
                let signature = Signature::new(guessed.inputs.iter().map(input).collect());
                let name = Some(&guessed.signature_name).filter(|name| !name.is_empty());
                let name = name.map_or(DEFAULT_SIGNATURE, String::as_str).to_owned();
                let told = predict::decode(&body, &Signatures::from_iter([(name, signature)]), &Limits::default());
                prop_assert_eq!(guessed, &told.unwrap());
            }
            Err(error) => if let Err(checked) = &checked {
                prop_assert_eq!(error.message(), checked.message());
            }
        }
        let tight = Limits { depth: 4, rank: 2, elements: 6, string_size: 6, ..Limits::default() };
        for limits in [Limits::default(), tight] {
            let whole = predict::decode(&body, &signatures(dtype), &limits);
            // Within tight limits a body is read as ever, or not at all.
            if let (Ok(whole), false) = (&whole, limits == Limits::default()) {
                prop_assert_eq!(whole.inputs.get("x_bytes"), decoded.as_ref().ok());
            }
            let mut stream = Stream::new(limits);
            let ends = (step..=body.len()).step_by(step);
            ends.for_each(|end| stream.feed(&body[..end], body.len(), &signatures(dtype)));
            let streamed = predict::decode_after(&body, &signatures(dtype), &limits, Some(stream));
            prop_assert_eq!(
                streamed.map_err(|error| error.to_string()),
                whole.map_err(|error| error.to_string())
            );
        }

        let Ok(text) = std::str::from_utf8(&body) else { return Ok(()) };
        if text.contains("NaN") || text.contains("Inf") {
            return Ok(());
        }
        let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
        let is_json = IgnoredAny::deserialize(&mut serde_json::Deserializer::from_str(text)).is_ok();
        if !is_json {
            prop_assert!(checked.is_err() && decoded.is_err() && guessed.is_err(), "{}", text);
            prop_assert!(examples.is_err() && tasks.is_err(), "{}", text);
        } else if let Err(error) = checked {
            let message = error.message();
            // Both of these are well formed to serde as long as nobody wants their value.
            let is_known = message.contains("Number too big") || message.contains("surrogate pair");
            prop_assert!(is_known || !message.starts_with("JSON Parse error"), "{}: {}", message, text);
        }
    }
}

/// Sizes that lie, that are negative and whose products overflow.
fn hostile_sizes() -> impl Strategy<Value = Vec<i64>> {
    let size = prop_oneof![
        8 => 0..5_i64,
        1 => select(vec![-1, i64::MIN, i64::MAX, 1 << 25, 1 << 32, 1 << 62]),
    ];
    prop_oneof![vec(size, 0..5), vec(Just(1), 250..260)]
}

fn hostile_tensor() -> impl Strategy<Value = TensorProto> {
    let dtype = prop_oneof![
        9 => select(DTYPES.to_vec()).prop_map(i32::from),
        1 => prop_oneof![-1..60, any::<i32>()],
    ];
    let content = prop_oneof![Just(Vec::new()), vec(any::<u8>(), 0..40)];
    let strings = vec(vec(any::<u8>(), 0..6).prop_map(Bytes::from), 0..4);
    (dtype, hostile_sizes(), any::<bool>(), any::<bool>(), content, strings, vec(any::<(f64, i64)>(), 0..5))
        .prop_map(|(dtype, sizes, has_shape, unknown_rank, content, string_val, values)| TensorProto {
            dtype,
            tensor_shape: has_shape.then(|| TensorShapeProto { unknown_rank, ..support::shape(&sizes) }),
            tensor_content: content.into(),
            string_val,
            float_val: values.iter().map(|(float, _)| *float as f32).collect(),
            double_val: values.iter().map(|(float, _)| *float).collect(),
            scomplex_val: values.iter().map(|(float, _)| *float as f32).collect(),
            dcomplex_val: values.iter().map(|(float, _)| *float).collect(),
            int_val: values.iter().map(|(_, integer)| *integer as i32).collect(),
            half_val: values.iter().map(|(_, integer)| *integer as i32).collect(),
            int64_val: values.iter().map(|(_, integer)| *integer).collect(),
            uint32_val: values.iter().map(|(_, integer)| *integer as u32).collect(),
            uint64_val: values.iter().map(|(_, integer)| integer.cast_unsigned()).collect(),
            bool_val: values.iter().map(|(_, integer)| *integer > 0).collect(),
            ..TensorProto::default()
        })
}

proptest! {
    #![proptest_config(cases(8000))]

    #[test]
    fn any_reply_becomes_json_or_an_error(outputs in vec((".{0,3}(_bytes)?", hostile_tensor()), 0..4)) {
        let outputs: HashMap<String, TensorProto> = outputs.into_iter().collect();
        for format in [Format::Row, Format::Columnar] {
            for nan in [NanStyle::Null, NanStyle::String, NanStyle::Error] {
                if let Ok(text) = predict::encode(&outputs, format, nan) {
                    let text = String::from_utf8(text).unwrap();
                    prop_assert!(serde_json::from_str::<IgnoredAny>(&text).is_ok(), "{}", text);
                }
            }
        }
    }
}

/// Paths made of what paths are made of.
fn path() -> impl Strategy<Value = String> {
    let keyword = select(vec![
        "v1",
        "V1",
        "models",
        "versions",
        "VERSIONS",
        "labels",
        "metadata",
        "7",
        "99999999999999999999",
        "%2F",
        "%3a",
        "%FF",
        "%",
        "",
        "é",
        "a b",
    ]);
    let piece = prop_oneof![4 => keyword.prop_map(str::to_owned), 1 => "\\PC{0,4}"];
    let verb = select(vec!["", "", "", ":predict", ":classify", ":regress", ":", ":predict:predict"]);
    let prefix = prop_oneof![3 => Just("/v1/models/"), 1 => Just("/"), 1 => Just("")];
    (prefix, vec(piece, 0..6), verb)
        .prop_map(|(prefix, pieces, verb)| format!("{prefix}{}{verb}", pieces.join("/")))
}

fn to_path(target: &Target) -> String {
    let name = utf8_percent_encode(&target.name, NON_ALPHANUMERIC);
    match &target.version {
        Version::Latest => format!("/v1/models/{name}"),
        Version::Number(number) => format!("/v1/models/{name}/versions/{number}"),
        Version::Label(label) => {
            format!("/v1/models/{name}/labels/{}", utf8_percent_encode(label, NON_ALPHANUMERIC))
        }
    }
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<i32>().prop_map(|value| Value::from(f64::from(value) / 8.0)),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            vec((any::<String>(), inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(cases(8000))]

    #[test]
    fn a_route_written_as_a_path_is_the_same_route(
        path in path(),
        method in select(vec![Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::OPTIONS, Method::TRACE]),
    ) {
        let Ok(route) = route::parse(&method, &path, &path) else { return Ok(()) };
        let path = match &route {
            Route::Predict(target) => to_path(target) + ":predict",
            Route::Classify(target) => to_path(target) + ":classify",
            Route::Regress(target) => to_path(target) + ":regress",
            Route::MultiInference(target) => to_path(target) + ":multi_inference",
            Route::Status(target) => to_path(target),
            Route::Metadata(target) => to_path(target) + "/metadata",
            _ => return Ok(()),
        };
        prop_assert_eq!(route::parse(&method, &path, &path).unwrap(), route, "{}", path);
    }
}

proptest! {
    #![proptest_config(cases(1000))]

    #[test]
    fn indented_json_says_the_same(value in json()) {
        let compact = serde_json::to_vec(&value).unwrap();
        let indented = pretty::indent(&compact);
        prop_assert_eq!(serde_json::from_slice::<Value>(&indented).unwrap(), value);
    }
}
