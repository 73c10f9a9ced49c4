//! The payloads a to i: seeded, with Python's separators, as `json.dumps` would write them.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::hint::black_box;

use serde::Deserialize;
use serde_json::Value;
use tfbridge::codec::signature::{Input, Signature, Signatures};
use tfbridge::proto::tensorflow::tensor_shape_proto::Dim;
use tfbridge::proto::tensorflow::{DataType, TensorProto, TensorShapeProto};

/// The letters of the request payloads.
pub const DECODE: [&str; 8] = ["a", "b", "c", "c17", "cu8", "d", "e", "f"];

/// The letters of the reply payloads.
pub const ENCODE: [&str; 4] = ["g", "h", "i", "half"];

/// A request.
pub struct Decode {
    pub letter: &'static str,
    pub json: String,
    pub signatures: Signatures,
    /// Parses the body into the Rust types that fit it best.
    pub typed: fn(&[u8]),
}

/// A reply.
pub struct Encode {
    pub letter: &'static str,
    pub tensor: TensorProto,
    /// Writes nested rows of floats with serde.
    pub rows: Box<dyn Fn()>,
    /// Writes a `Value` of the same numbers with serde.
    pub value: Box<dyn Fn()>,
}

/// SplitMix64: the same numbers on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Uniform in [0, 1).
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Normal with mean 0 and deviation 1 (Box and Muller).
    fn normal(&mut self) -> f64 {
        let (radius, angle) = ((-2.0 * (1.0 - self.unit()).ln()).sqrt(), std::f64::consts::TAU * self.unit());
        radius * angle.cos()
    }
}

#[derive(Deserialize)]
struct Instances<T> {
    #[serde(rename = "instances")]
    _instances: T,
}

fn typed<T: for<'a> Deserialize<'a>>(body: &[u8]) {
    let instances: Instances<T> = serde_json::from_slice(body).expect("the payload is valid");
    black_box(instances);
}

type Images = Vec<Vec<Vec<Vec<f32>>>>;

#[derive(Deserialize)]
struct Base64 {
    #[serde(rename = "b64")]
    _b64: String,
}

/// Makes a request payload.
pub fn decode(letter: &'static str) -> Decode {
    let mut random = Random(1);
    let mut json = String::from("{\"instances\": ");
    let mut inputs = vec![input("x", DataType::DtFloat)];
    let typed: fn(&[u8]) = match letter {
        "a" => {
            nest(&[1, 100], &mut json, &mut || six_decimals(random.unit()));
            typed::<Vec<Vec<f32>>>
        }
        "b" => {
            nest(&[32, 224, 224, 3], &mut json, &mut || six_decimals(random.unit()));
            typed::<Images>
        }
        "c" => {
            nest(&[1, 224, 224, 3], &mut json, &mut || six_decimals(random.unit()));
            typed::<Images>
        }
        "c17" => {
            nest(&[1, 224, 224, 3], &mut json, &mut || f64::from(random.unit() as f32).to_string());
            typed::<Images>
        }
        "cu8" => {
            nest(&[1, 224, 224, 3], &mut json, &mut || (random.next() % 256).to_string());
            typed::<Images>
        }
        "d" => {
            inputs = rows_of_features(&mut json, &mut random);
            typed::<Vec<HashMap<String, Value>>>
        }
        "e" => {
            let bytes: Vec<u8> = (0..200_000).map(|_| random.next() as u8).collect();
            let text = base64_simd::STANDARD.encode_to_string(&bytes);
            write!(json, "[{{\"b64\": \"{text}\"}}]").expect("strings can be written to");
            inputs = vec![input("x", DataType::DtString)];
            typed::<Vec<Base64>>
        }
        _ => {
            nest(&[32, 128], &mut json, &mut || (random.next() % 30_522).to_string());
            inputs = vec![input("x", DataType::DtInt64)];
            typed::<Vec<Vec<i64>>>
        }
    };
    json.push('}');
    let signatures = [("serving_default".to_owned(), Signature::new(inputs))].into_iter().collect();
    Decode { letter, json, signatures, typed }
}

/// The lines of a batch of NDJSON, and what they are for.
pub struct Lines {
    pub text: Vec<u8>,
    pub signature: Signature,
    /// Parses the lines into the Rust types that fit them best.
    pub typed: fn(&[u8]),
    /// Parses the lines into values.
    pub value: fn(&[u8]),
}

/// 256 rows as that of a, each on a line of its own.
pub fn lines() -> Lines {
    let mut random = Random(1);
    let mut text = String::new();
    for _ in 0..256 {
        nest(&[100], &mut text, &mut || six_decimals(random.unit()));
        text.push('\n');
    }
    let signature = Signature::new(vec![input("x", DataType::DtFloat)]);
    Lines { text: text.into(), signature, typed: each_line::<Vec<f32>>, value: each_line::<Value> }
}

fn each_line<T: for<'a> Deserialize<'a>>(text: &[u8]) {
    for line in serde_json::Deserializer::from_slice(text).into_iter::<T>() {
        black_box(line.expect("the payload is valid"));
    }
}

/// A request whose body is an array.
pub struct Npy {
    pub file: Vec<u8>,
    pub signatures: Signatures,
}

/// An image of 150 528 floats as `numpy.save` writes it.
pub fn npy() -> Npy {
    let mut random = Random(1);
    let head = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 224, 224, 3), }";
    let mut file = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
    file.extend_from_slice(format!("{head:<117}\n").as_bytes());
    file.extend((0..224 * 224 * 3).flat_map(|_| (random.unit() as f32).to_le_bytes()));
    let signature = Signature::new(vec![input("x", DataType::DtFloat)]);
    Npy { file, signatures: [("serving_default".to_owned(), signature)].into_iter().collect() }
}

/// A number as `round(x, 6)` prints.
fn six_decimals(value: f64) -> String {
    let rounded = (value * 1e6).round() / 1e6;
    if rounded == 0.0 { "0.0".to_owned() } else { rounded.to_string() }
}

fn input(name: &str, dtype: DataType) -> Input {
    Input { name: name.to_owned(), dtype, shape: None }
}

/// 1000 objects of 20 named scalars: integers, floats with four decimals, categories.
fn rows_of_features(json: &mut String, random: &mut Random) -> Vec<Input> {
    let names: Vec<String> = (0..20).map(|index| format!("feature_{index:02}")).collect();
    for row in 0..1000 {
        json.push_str(if row == 0 { "[{" } else { ", {" });
        for (index, name) in names.iter().enumerate() {
            let value = match index % 3 {
                0 => (random.next() % 100_000).to_string(),
                1 => ((random.unit() * 1e6).round() / 1e4).to_string(),
                _ => format!("\"cat_{}\"", random.next() % 1000),
            };
            let comma = if index == 0 { "" } else { ", " };
            write!(json, "{comma}\"{name}\": {value}").expect("strings can be written to");
        }
        json.push('}');
    }
    json.push(']');
    let dtypes = [DataType::DtInt64, DataType::DtFloat, DataType::DtString];
    names.iter().enumerate().map(|(index, name)| input(name, dtypes[index % 3])).collect()
}

fn nest(shape: &[usize], json: &mut String, next: &mut impl FnMut() -> String) {
    let [size, inner @ ..] = shape else {
        json.push_str(&next());
        return;
    };
    json.push('[');
    for index in 0..*size {
        if index > 0 {
            json.push_str(", ");
        }
        nest(inner, json, next);
    }
    json.push(']');
}

/// Makes a reply payload.
pub fn encode(letter: &'static str) -> Encode {
    let mut random = Random(2);
    let (shape, floats): (Vec<usize>, Vec<f32>) = match letter {
        "g" => (vec![32, 1000], (0..32).flat_map(|_| softmax(&mut random)).collect()),
        "h" => (vec![1, 2048], (0..2048).map(|_| random.normal() as f32).collect()),
        "half" => (vec![1, 2048], (0..2048).map(|_| half(&mut random)).collect()),
        _ => (vec![64, 128, 768], (0..64 * 128 * 768).map(|_| random.normal() as f32).collect()),
    };
    let dim = shape.iter().map(|&size| Dim { size: size as i64, ..Dim::default() }).collect();
    let (dtype, content): (_, Vec<u8>) = if letter == "half" {
        (DataType::DtHalf, floats.iter().flat_map(|float| half_bits(*float).to_le_bytes()).collect())
    } else {
        (DataType::DtFloat, floats.iter().flat_map(|float| float.to_le_bytes()).collect())
    };
    let tensor = TensorProto {
        dtype: dtype.into(),
        tensor_shape: Some(TensorShapeProto { dim, unknown_rank: false }),
        tensor_content: content.into(),
        ..TensorProto::default()
    };
    let value: Value = floats.chunks(shape[shape.len() - 1]).map(|row| Value::from(row.to_vec())).collect();
    let rows: Box<dyn Fn()> = if shape.len() == 3 {
        Box::new(move || {
            let planes = floats.chunks(shape[1] * shape[2]);
            let nested: Vec<Vec<&[f32]>> = planes.map(|plane| plane.chunks(shape[2]).collect()).collect();
            black_box(
                serde_json::to_vec(&HashMap::from([("predictions", nested)])).expect("floats can be written"),
            );
        })
    } else {
        Box::new(move || {
            let nested: Vec<&[f32]> = floats.chunks(shape[1]).collect();
            black_box(
                serde_json::to_vec(&HashMap::from([("predictions", nested)])).expect("floats can be written"),
            );
        })
    };
    let value = Box::new(move || drop(black_box(serde_json::to_vec(&value).expect("floats can be written"))));
    Encode { letter, tensor, rows, value }
}

/// A float between 1/64 and 4 of as many bits as a half has.
fn half(random: &mut Random) -> f32 {
    let bits = random.next();
    let (sign, exponent, fraction) =
        (bits as u32 & 1, 121 + (bits >> 1) as u32 % 8, (bits >> 8) as u32 % 1024);
    f32::from_bits(sign << 31 | exponent << 23 | fraction << 13)
}

/// Such a float as a half.
fn half_bits(float: f32) -> u16 {
    let bits = float.to_bits();
    (bits >> 16 & 0x8000) as u16 | ((bits >> 13 & 0x3_FFFF) - ((127 - 15) << 10)) as u16
}

/// A row of 1000 probabilities.
fn softmax(random: &mut Random) -> Vec<f32> {
    let exponentials: Vec<f64> = (0..1000).map(|_| random.normal().exp()).collect();
    let sum: f64 = exponentials.iter().sum();
    exponentials.iter().map(|exponential| (exponential / sum) as f32).collect()
}
