//! What becomes of streams, held against those that arrow-rs writes and reads.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::builder::{ListBuilder, PrimitiveBuilder};
use arrow_array::types::{Int8Type, Int32Type, UInt16Type, UInt64Type};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, DictionaryArray, FixedSizeListArray, Float32Array,
    Float64Array, Int32Array, Int64Array, LargeListArray, LargeStringArray, ListArray, RecordBatch,
    StringArray, StringViewArray, TimestampSecondArray, UInt8Array, UInt32Array,
};
use arrow_buffer::{Buffer, OffsetBuffer};
use arrow_ipc::reader::StreamDecoder;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{DataType as ArrowType, Field, Schema};
use bytes::Bytes;

use super::*;
use crate::codec::dense::{Dense, Elements, shape};
use crate::codec::dtype;
use crate::codec::limits::Limits;
use crate::codec::media::Agreement;
use crate::codec::signature::{Input, Signature, Signatures};
use crate::proto::tensorflow::{DataType, TensorProto};

/// The streams that pyarrow has written, by their names.
macro_rules! written {
    ($($name:literal)*) => {
        [$(($name, Bytes::from_static(include_bytes!(
            concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/arrow/", $name, ".arrows")
        )))),*]
    };
}

mod compressed;
mod damaged;
mod dictionaries;

const LIMITS: Limits = Limits { depth: 9, rank: 4, elements: 100, string_size: 20, inflated: 1000 };

/// A stream of batches that all have these columns.
fn stream(fields: Vec<Field>, batches: &[Vec<ArrayRef>]) -> Bytes {
    let schema = Arc::new(Schema::new(fields));
    let mut writer = StreamWriter::try_new(Vec::new(), &schema).unwrap();
    for columns in batches {
        writer.write(&RecordBatch::try_new(schema.clone(), columns.clone()).unwrap()).unwrap();
    }
    writer.into_inner().unwrap().into()
}

/// A stream of one column `x`.
fn one(batches: &[ArrayRef]) -> Bytes {
    let field = Field::new("x", batches[0].data_type().clone(), true);
    stream(vec![field], &batches.iter().map(|array| vec![array.clone()]).collect::<Vec<_>>())
}

fn signatures(inputs: &[(&str, DataType)]) -> Signatures {
    let input = |(name, dtype): &(&str, _)| Input { name: (*name).to_owned(), dtype: *dtype, shape: None };
    let signature = Signature::new(inputs.iter().map(input).collect());
    Signatures::from_iter([("serving_default".to_owned(), signature)])
}

fn decoded(body: &Bytes, inputs: &[(&str, DataType)], limits: &Limits) -> Result<Inputs> {
    let agreement = Agreement::new(Some("application/vnd.apache.arrow.stream; a=b"), [], None)?;
    let signatures = signatures(inputs);
    decode(&Given { agreement: &agreement, body, signatures: Some(&signatures), limits })
        .map(|decoded| decoded.inputs)
}

fn numbers(dtype: DataType, dimensions: &[usize], content: &[u8]) -> Dense {
    let elements = Elements::Numbers(Bytes::copy_from_slice(content));
    Dense { dtype, dimensions: dimensions.to_vec(), elements }
}

fn strings(dimensions: &[usize], strings: &[&'static str]) -> Dense {
    let elements = Elements::Strings(strings.iter().map(|string| Bytes::from(*string)).collect());
    Dense { dtype: DataType::DtString, dimensions: dimensions.to_vec(), elements }
}

fn fixed(size: i32, values: ArrayRef) -> ArrayRef {
    let field = Arc::new(Field::new_list_field(values.data_type().clone(), true));
    Arc::new(FixedSizeListArray::new(field, size, values, None))
}

fn longs(values: &[i64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Lists of int32.
fn lists(lists: &[&[i32]]) -> ArrayRef {
    let values = Int32Array::from(lists.concat());
    let field = Arc::new(Field::new_list_field(ArrowType::Int32, true));
    let offsets = OffsetBuffer::from_lengths(lists.iter().map(|list| list.len()));
    Arc::new(ListArray::new(field, offsets, Arc::new(values), None))
}

fn words(values: &[&'static str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

#[test]
fn columns_become_tensors() {
    let check = |batches: &[ArrayRef], expected: Dense| {
        let body = one(batches);
        let inputs = decoded(&body, &[("x", expected.dtype)], &LIMITS).unwrap();
        assert_eq!(inputs["x"], expected.into_proto());
    };
    let of = |values: &[i64]| -> ArrayRef { Arc::new(Int64Array::from(values.to_vec())) };
    check(&[of(&[1, -2])], numbers(DataType::DtInt64, &[2], &longs(&[1, -2])));
    check(&[of(&[1]), of(&[]), of(&[2, 3])], numbers(DataType::DtInt64, &[3], &longs(&[1, 2, 3])));
    check(&[of(&[7, 8, 9]).slice(1, 2)], numbers(DataType::DtInt64, &[2], &longs(&[8, 9])));
    check(&[of(&[])], numbers(DataType::DtInt64, &[0], &[]));
    let bools: ArrayRef = Arc::new((0..11).map(|at| Some(at % 3 == 0)).collect::<BooleanArray>());
    let bytes: Vec<u8> = (0..11).map(|at| u8::from(at % 3 == 0)).collect();
    check(std::slice::from_ref(&bools), numbers(DataType::DtBool, &[11], &bytes));
    check(&[bools.slice(3, 5)], numbers(DataType::DtBool, &[5], &bytes[3..8]));
    let six: ArrayRef = Arc::new(UInt8Array::from_iter_values(0..6));
    check(&[fixed(3, six.clone())], numbers(DataType::DtUint8, &[2, 3], &[0, 1, 2, 3, 4, 5]));
    let two = fixed(3, six.clone()).slice(1, 1);
    check(&[two, fixed(3, six.clone())], numbers(DataType::DtUint8, &[3, 3], &[3, 4, 5, 0, 1, 2, 3, 4, 5]));
    let nested = fixed(1, fixed(2, fixed(3, six)));
    check(&[nested], numbers(DataType::DtUint8, &[1, 1, 2, 3], &[0, 1, 2, 3, 4, 5]));
    let content: Vec<u8> = [1_i32, 2, 3, 4].iter().flat_map(|value| value.to_le_bytes()).collect();
    check(&[lists(&[&[1, 2], &[3, 4]])], numbers(DataType::DtInt32, &[2, 2], &content));
    check(&[lists(&[]), lists(&[&[1, 2, 3, 4]])], numbers(DataType::DtInt32, &[1, 4], &content));
    check(
        &[lists(&[&[9], &[1, 2], &[3, 4], &[]]).slice(1, 2)],
        numbers(DataType::DtInt32, &[2, 2], &content),
    );
    check(&[lists(&[&[], &[]])], numbers(DataType::DtInt32, &[2, 0], &[]));
    check(&[lists(&[])], numbers(DataType::DtInt32, &[0, 0], &[]));
    let field = Arc::new(Field::new_list_field(ArrowType::Int32, false));
    let large = LargeListArray::new(
        field,
        OffsetBuffer::from_lengths([2, 2]),
        Arc::new(Int32Array::from(vec![1, 2, 3, 4])),
        None,
    );
    check(&[Arc::new(large)], numbers(DataType::DtInt32, &[2, 2], &content));
}

#[test]
fn strings_come_in_many_layouts() {
    let check = |batches: &[ArrayRef], expected: Dense| {
        let inputs = decoded(&one(batches), &[("x", DataType::DtString)], &LIMITS).unwrap();
        assert_eq!(inputs["x"], expected.into_proto());
    };
    let three = strings(&[3], &["a", "", "longer than a view"]);
    let values = vec!["a", "", "longer than a view"];
    check(&[words(&values)], three.clone());
    check(&[words(&values[..1]), words(&values[1..])], three.clone());
    check(&[words(&["b", "a", "", "longer than a view", "c"]).slice(1, 3)], three.clone());
    check(&[Arc::new(LargeStringArray::from(values.clone()))], three.clone());
    let bytes = values.iter().map(|value| value.as_bytes()).collect();
    check(&[Arc::new(BinaryArray::from_vec(bytes))], three.clone());
    check(&[Arc::new(StringViewArray::from(values.clone()))], three.clone());
    let coded: DictionaryArray<Int8Type> = vec!["b", "a", "b"].into_iter().collect();
    check(&[Arc::new(coded)], strings(&[3], &["b", "a", "b"]));
    let coded: DictionaryArray<UInt64Type> = vec!["b", "a"].into_iter().collect();
    let other: DictionaryArray<UInt64Type> = vec!["c"].into_iter().collect();
    check(&[Arc::new(coded), Arc::new(other)], strings(&[3], &["b", "a", "c"]));
    check(&[fixed(2, words(&["a", "b", "c", "d"]))], strings(&[2, 2], &["a", "b", "c", "d"]));
    check(&[fixed(0, words(&[]))], strings(&[0, 0], &[]));
}

#[test]
fn tensors_of_a_fixed_shape_are_unfolded() {
    let check = |metadata: &str, expected: Result<&[usize], &str>| {
        let values = fixed(6, Arc::new(UInt8Array::from_iter_values(0..12)));
        let metadata = [("name", "arrow.fixed_shape_tensor"), ("metadata", metadata)];
        let metadata = metadata.map(|(key, value)| (format!("ARROW:extension:{key}"), value.to_owned()));
        let field = Field::new("x", values.data_type().clone(), true).with_metadata(HashMap::from(metadata));
        let inputs = decoded(&stream(vec![field], &[vec![values]]), &[("x", DataType::DtUint8)], &LIMITS);
        let content: Vec<u8> = (0..12).collect();
        match (inputs, expected) {
            (Ok(inputs), Ok(sizes)) => {
                assert_eq!(inputs["x"], numbers(DataType::DtUint8, sizes, &content).into_proto());
            }
            (inputs, expected) => assert_eq!(inputs.unwrap_err().message(), expected.unwrap_err()),
        }
    };
    check(r#"{"shape":[2,3]}"#, Ok(&[2, 2, 3]));
    check(r#"{"shape":[6],"dim_names":["C"],"permutation":[0]}"#, Ok(&[2, 6]));
    check(
        r#"{"shape":[2,3],"permutation":[1,0]}"#,
        Err("x: its tensors have their dimensions in another order, which cannot be read"),
    );
    check(r#"{"shape":[2,2]}"#, Err("x: its tensors of shape [2, 2] have 6 values"));
    check(r#"{"shape":[1,2,3,1]}"#, Err("x: More than 4 dimensions"));
    check("{}", Err("x: the metadata of its tensors: missing field `shape` at line 1 column 2"));
}

/// An index of a byte stands for a string, and a view of sixteen for bytes that others stand for, too.
#[test]
fn strings_that_are_told_many_times_are_limited() {
    let text = "a string of 20 bytes";
    let coded = |count: usize| -> ArrayRef {
        Arc::new(vec![text; count].into_iter().collect::<DictionaryArray<Int8Type>>())
    };
    let views = |count: usize| -> ArrayRef { Arc::new(StringViewArray::from(vec![text; count])) };
    let inputs = [("x", DataType::DtString)];
    for arrays in [[coded(25), coded(25)], [views(25), views(25)]] {
        assert!(decoded(&one(&arrays), &inputs, &LIMITS).is_ok(), "a thousand bytes are allowed");
    }
    for arrays in [[coded(25), coded(26)], [views(51), views(0)]] {
        let error = decoded(&one(&arrays), &inputs, &LIMITS).unwrap_err();
        let expected = "x: the strings of dictionaries and views have more than 1000 bytes together";
        assert_eq!((error.message(), error.status().as_u16()), (expected, 413));
    }
    assert!(room(&one(&[coded(1)]), None, 1000) > 1000);
    assert!(room(&one(&[words(&[text])]), None, 1000) < 1000);
}

#[test]
fn what_makes_no_tensor_is_named() {
    let check = |batches: &[ArrayRef], dtype, expected: &str| {
        let error = decoded(&one(batches), &[("x", dtype)], &LIMITS).unwrap_err();
        assert_eq!((error.message(), error.status().as_u16()), (expected, 400));
    };
    let (int, text) = (DataType::DtInt32, DataType::DtString);
    let holed = |values: Vec<Option<i32>>| -> ArrayRef { Arc::new(Int32Array::from(values)) };
    check(&[holed(vec![Some(1), None])], int, "x[1]: it is null, which no tensor holds");
    check(
        &[holed(vec![Some(1)]), holed(vec![Some(1), None])],
        int,
        "x[2]: it is null, which no tensor holds",
    );
    let inner = fixed(2, holed(vec![Some(1), Some(2), Some(3), None]));
    check(std::slice::from_ref(&inner), int, "x[1,1]: it is null, which no tensor holds");
    check(&[inner.slice(0, 1), inner], int, "x[2,1]: it is null, which no tensor holds");
    let mut builder = ListBuilder::new(PrimitiveBuilder::<Int32Type>::new());
    builder.append_value([Some(1)]);
    builder.append_null();
    check(&[Arc::new(builder.finish())], int, "x[1]: it is null, which no tensor holds");
    check(&[lists(&[&[1, 2], &[3]])], int, "x[1]: a list of 1 values, and others have 2");
    check(&[lists(&[&[1, 2]]), lists(&[&[3]])], int, "x[1]: a list of 1 values, and others have 2");
    let long = "more than twenty bytes";
    check(&[words(&["a", long])], text, "x[1]: More than 20 bytes in a string");
    check(&[Arc::new(Int32Array::from(vec![1; 101]))], int, "x: More than 100 elements");
    check(
        &[Arc::new(Int32Array::from(vec![1; 99])), holed(vec![Some(1); 2])],
        int,
        "x: More than 100 elements",
    );
    let time: ArrayRef = Arc::new(TimestampSecondArray::from(vec![1]));
    check(
        std::slice::from_ref(&time),
        int,
        "x: values of Arrow's type Timestamp make no tensor: cast them to int64 or to floats",
    );
    check(
        &[fixed(1, time)],
        int,
        "x: values of Arrow's type Timestamp make no tensor: cast them to int64 or to floats",
    );
    let coded = DictionaryArray::<UInt16Type>::new(vec![0].into(), Arc::new(BooleanArray::from(vec![true])));
    check(&[Arc::new(coded)], int, "x: a dictionary of bools makes no tensor: cast it to bools");
    let coded: DictionaryArray<Int8Type> = vec!["a", long].into_iter().collect();
    check(&[Arc::new(coded)], text, "x: its dictionary[1]: More than 20 bytes in a string");
    let coded: DictionaryArray<Int8Type> = vec![Some("a"), None].into_iter().collect();
    check(&[Arc::new(coded)], text, "x[1]: it is null, which no tensor holds");
    let deep = fixed(1, fixed(1, fixed(1, fixed(1, words(&["a"])))));
    check(&[deep], text, "x: More than 4 dimensions");
    check(&[words(&["a"])], int, "x: string values for an input of type int32");
    check(&[Arc::new(Float32Array::from(vec![1.0]))], int, "x: float values for an input of type int32");
    let wide: ArrayRef = Arc::new(Int64Array::from(vec![1, 1 << 40]));
    check(&[fixed(2, wide)], int, "x[0,1]: 1099511627776 is not a int32");
}

#[test]
fn columns_are_those_of_the_signature() {
    let check = |names: &[&str], expected: &str| {
        let fields = names.iter().map(|name| Field::new(*name, ArrowType::UInt8, false)).collect();
        let column: ArrayRef = Arc::new(UInt8Array::from(vec![1]));
        let batches = if names.is_empty() { vec![] } else { vec![vec![column; names.len()]] };
        let body = stream(fields, &batches);
        let inputs = [("x", DataType::DtUint8), ("y", DataType::DtUint8)];
        let error = decoded(&body, &inputs, &LIMITS).unwrap_err();
        assert_eq!((error.message(), error.status().as_u16()), (expected, 400));
    };
    check(&["z"], "There is no input \"z\" in the signature; it has: x, y");
    check(&["y"], "Missing named input: x");
    check(&["x", "y", "x"], "The stream has two columns of the name x");
    check(&[], "Missing named input: x");
}

#[test]
fn a_column_of_one_batch_is_not_copied() {
    let singles: ArrayRef = Arc::new(Float32Array::from(vec![1.5, -2.0]));
    let body = one(&[fixed(2, singles.clone())]);
    let content =
        |body: &Bytes, dtype| decoded(body, &[("x", dtype)], &LIMITS).unwrap()["x"].tensor_content.clone();
    let is_inside = |part: &Bytes, body: &Bytes| body.as_ptr_range().contains(&part.as_ptr());
    assert!(is_inside(&content(&body, DataType::DtFloat), &body), "it has been copied");
    let doubles = content(&body, DataType::DtDouble);
    assert_eq!(doubles.as_ref(), [1.5_f64.to_le_bytes(), (-2.0_f64).to_le_bytes()].concat());
    let room_for = |body: &Bytes, dtype| room(body, Some(&signatures(&[("x", dtype)])), 0);
    assert!(room_for(&body, DataType::DtFloat) < 200);
    assert!((16..300).contains(&room_for(&body, DataType::DtDouble)));
    let several = one(&[singles.clone(), singles]);
    assert!((16..400).contains(&room_for(&several, DataType::DtFloat)));
    let strings = one(&[words(&["a", "", "b"])]);
    assert!(is_inside(
        &decoded(&strings, &[("x", DataType::DtString)], &LIMITS).unwrap()["x"].string_val[2],
        &strings
    ));
    assert!(room_for(&strings, DataType::DtString) > 3 * size_of::<Bytes>());
    assert_eq!(room(&Bytes::from_static(b"hello"), None, 0), 0);
}

#[test]
fn what_is_no_stream_is_refused() {
    let check = |body: &[u8], expected: &str| {
        let error = decoded(&Bytes::copy_from_slice(body), &[("x", DataType::DtInt64)], &LIMITS).unwrap_err();
        let message = format!("The body is no Arrow stream that can be read: {expected}");
        assert_eq!((error.message(), error.status().as_u16()), (message.as_str(), 400));
    };
    let whole = one(&[Arc::new(Int64Array::from(vec![1, 2]))]);
    check(b"", "it does not start with a schema");
    check(b"hello", "it ends within a message");
    check(&[255; 16], "it ends within a message");
    check(
        b"ARROW1\0\0",
        "it is a file, write a stream: with pyarrow.ipc.new_stream, write_ipc_stream of polars, or their like",
    );
    check(&[&whole[..], b"more"].concat(), "there are 4 bytes behind its end");
    check(&whole[..whole.len() - 9], "it ends within a message");
    check(&[&[8, 0, 0, 0], &[255; 8][..]].concat(), "the metadata of a message is damaged");
    check(&[&[8, 0, 0, 0], &[0; 8][..]].concat(), "it is of a version of the format that is not known");
    // The end need not be marked.
    assert!(decoded(&whole.slice(..whole.len() - 8), &[("x", DataType::DtInt64)], &LIMITS).is_ok());
}

#[test]
fn streams_of_pyarrow_are_read() {
    let streams = written! {
        "batches" "bools" "dictionary" "fixed_lists" "fixed_strings" "large_strings" "lists" "nulls" "strings"
        "tensors" "views"
    };
    let singles = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>();
    let cube: Vec<u8> = (0..12_u8).flat_map(|value| [value, 0]).collect();
    let text = strings(&[3], &["a", "", "longer than a view"]);
    for (name, stream) in streams {
        let (dtype, expected) = match name {
            "batches" => (DataType::DtInt64, numbers(DataType::DtInt64, &[3], &longs(&[1, 2, 3]))),
            "bools" => (DataType::DtBool, numbers(DataType::DtBool, &[3], &[1, 0, 1])),
            "dictionary" => (DataType::DtString, strings(&[3], &["b", "a", "b"])),
            "fixed_lists" => (DataType::DtUint8, numbers(DataType::DtUint8, &[2, 3], &[1, 2, 3, 4, 5, 6])),
            "fixed_strings" => (DataType::DtString, strings(&[2], &["ab", "c\0"])),
            "lists" => {
                (DataType::DtFloat, numbers(DataType::DtFloat, &[2, 2], &singles(&[1.5, -2.0, 0.0, 4.0])))
            }
            "tensors" => (DataType::DtInt16, numbers(DataType::DtInt16, &[2, 2, 3], &cube)),
            "nulls" => {
                let error = decoded(&stream, &[("x", DataType::DtInt32)], &LIMITS).unwrap_err();
                assert_eq!(error.message(), "x[1]: it is null, which no tensor holds");
                continue;
            }
            _ => (DataType::DtString, text.clone()),
        };
        let inputs = [("x", dtype), ("y", DataType::DtFloat)];
        let has_others = matches!(name, "bools" | "fixed_lists");
        let inputs = decoded(&stream, &inputs[..if has_others { 2 } else { 1 }], &LIMITS).unwrap();
        assert_eq!(inputs["x"], expected.into_proto(), "{name}");
        assert_eq!(inputs.contains_key("y"), has_others);
    }
}

/// The one batch of a reply, as arrow-rs reads it.
fn read(outputs: &[(&str, TensorProto)]) -> Result<RecordBatch> {
    let outputs = outputs.iter().map(|(name, tensor)| ((*name).to_owned(), tensor.clone())).collect();
    let mut buffer = Buffer::from(encode(&outputs)?);
    let mut decoder = StreamDecoder::new();
    let mut batches = Vec::new();
    while !buffer.is_empty() {
        batches.extend(decoder.decode(&mut buffer).unwrap());
    }
    decoder.finish().unwrap();
    assert_eq!(batches.len(), 1);
    Ok(batches.remove(0))
}

#[test]
fn outputs_become_columns() {
    let tensor = |dense: Dense| dense.into_proto();
    let singles = tensor(numbers(DataType::DtFloat, &[2, 3], &1.5_f32.to_le_bytes().repeat(6)));
    let shorts = tensor(numbers(DataType::DtBfloat16, &[2], &[0x80, 0x3f, 0, 0xc0]));
    let cube = tensor(numbers(DataType::DtUint8, &[2, 1, 2, 2], &[1, 2, 3, 4, 5, 6, 7, 8]));
    let bools = tensor(numbers(DataType::DtBool, &[2, 9], &[1, 0].repeat(9)));
    let raw = TensorProto {
        dtype: DataType::DtString.into(),
        tensor_shape: Some(shape(&[2])),
        string_val: vec![Bytes::from_static(b"\xff"), Bytes::new()],
        ..TensorProto::default()
    };
    let batch = read(&[
        ("y", singles),
        ("short", shorts),
        ("cube", cube),
        ("bools", bools),
        ("text", tensor(strings(&[2, 1], &["é", ""]))),
        ("raw", raw),
        ("nothing", tensor(numbers(DataType::DtInt64, &[2, 0, 5], &[]))),
    ])
    .unwrap();
    assert_eq!(batch.num_rows(), 2);
    let schema = batch.schema();
    let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["bools", "cube", "nothing", "raw", "short", "text", "y"]);
    let column = |name: &str| batch.column_by_name(name).unwrap().clone();
    assert_eq!(&column("y"), &fixed(3, Arc::new(Float32Array::from(vec![1.5; 6]))));
    assert_eq!(&column("short"), &(Arc::new(Float32Array::from(vec![1.0, -2.0])) as ArrayRef));
    let flat = Arc::new(UInt8Array::from_iter_values(1..9));
    assert_eq!(&column("cube"), &fixed(1, fixed(2, fixed(2, flat))));
    let bits: BooleanArray = (0..18).map(|at| Some(at % 2 == 0)).collect();
    assert_eq!(&column("bools"), &fixed(9, Arc::new(bits)));
    assert_eq!(&column("text"), &fixed(1, words(&["é", ""])));
    assert_eq!(&column("raw"), &(Arc::new(BinaryArray::from_vec(vec![b"\xff", b""])) as ArrayRef));
    assert_eq!(column("nothing").len(), 2);
    assert_eq!(read(&[]).unwrap().num_columns(), 0);
    let none = read(&[("y", tensor(numbers(DataType::DtUint32, &[0], &[])))]).unwrap();
    assert_eq!(none.column(0), &(Arc::new(UInt32Array::from(Vec::<u32>::new())) as ArrayRef));
}

#[test]
fn what_is_written_is_read_again() {
    for number in 1..=23 {
        let dtype = dtype::from_wire(number);
        let Some(width) = dtype::width(dtype) else { continue };
        if matches!(dtype, DataType::DtBfloat16 | DataType::DtComplex64 | DataType::DtComplex128) {
            continue;
        }
        for sizes in [&[2_usize, 3, 1][..], &[6], &[2, 0, 3], &[0, 2], &[0]] {
            let count: usize = sizes.iter().product();
            let tensor = numbers(dtype, sizes, &vec![1; count * width]).into_proto();
            let outputs = HashMap::from([("x".to_owned(), tensor)]);
            assert_eq!(decoded(&encode(&outputs).unwrap(), &[("x", dtype)], &LIMITS).unwrap(), outputs);
        }
    }
    let text = HashMap::from([("x".to_owned(), strings(&[2, 1], &["a\0", "é"]).into_proto())]);
    assert_eq!(decoded(&encode(&text).unwrap(), &[("x", DataType::DtString)], &LIMITS).unwrap(), text);
}

#[test]
fn what_makes_no_table_is_not_acceptable() {
    let check = |outputs: &[(&str, DataType, &[usize])], expected: &str| {
        let tensor = |dtype, sizes: &[usize]| TensorProto {
            dtype: i32::from(dtype),
            tensor_shape: Some(shape(sizes)),
            ..TensorProto::default()
        };
        let outputs: Vec<_> =
            outputs.iter().map(|(name, dtype, sizes)| (*name, tensor(*dtype, sizes))).collect();
        let error = read(&outputs).unwrap_err();
        assert_eq!(error.status(), 406);
        assert!(error.message().contains(expected), "{error}");
    };
    let byte = DataType::DtInt8;
    check(
        &[("y", byte, &[])],
        "has 0 dimensions in y, not 1 to 60, which makes no table: accept application/x-npz",
    );
    check(&[("y", byte, &[1; 61])], "has 61 dimensions in y");
    check(&[("a", byte, &[1]), ("y", byte, &[2])], "has 1 rows in one output and 2 in y");
    check(&[("y", byte, &[0, 1 << 31])], "has rows beyond all lists in y");
    check(&[("y", DataType::DtComplex64, &[1])], "has complex64 numbers in y");
}
