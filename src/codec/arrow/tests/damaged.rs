//! Streams that have been changed at random or by somebody who means harm.

use arrow_ipc::{
    Bool, BoolArgs, Endianness, Field as Table, FieldArgs, Message, MessageArgs, MessageHeader,
    MetadataVersion, Schema as Tables, SchemaArgs, Type,
};
use flatbuffers::FlatBufferBuilder;

use super::*;

/// Streams of columns of every layout.
fn streams() -> Vec<Bytes> {
    let coded: DictionaryArray<Int8Type> = vec!["b", "a", "b"].into_iter().collect();
    let numbers: DictionaryArray<Int8Type> =
        DictionaryArray::new(vec![1, 0, 1].into(), Arc::new(Int64Array::from(vec![5, 6])));
    let columns: [ArrayRef; 8] = [
        fixed(2, Arc::new(Float64Array::from(vec![0.5; 6]))),
        lists(&[&[1, 2], &[3, 4], &[5, 6]]),
        Arc::new(BooleanArray::from(vec![true, false, true])),
        Arc::new(Int32Array::from(vec![Some(1), None, Some(3)])),
        words(&["a", "bc", ""]),
        Arc::new(StringViewArray::from(vec!["a", "b", "longer than a view"])),
        Arc::new(coded),
        Arc::new(numbers),
    ];
    let plain = columns.iter().map(|column| one(&[column.slice(0, 2), column.clone()]));
    let written = written! { "lz4" "lz4_nulls" "lz4_dictionary" "lz4_views" };
    plain.chain(written.map(|(_, stream)| stream)).collect()
}

/// Reads what may be damaged: what it becomes is whole and within the limits.
pub(super) fn survives(body: &[u8]) {
    let body = Bytes::copy_from_slice(body);
    let agreement = Agreement::new(Some("application/vnd.apache.arrow.stream"), [], None).unwrap();
    let most = room(&body, None, LIMITS.inflated);
    assert!(most <= 100 * (body.len() + LIMITS.inflated), "{most}");
    assert!(room(&body, None, 0) <= 100 * body.len());
    let given = Given { agreement: &agreement, body: &body, signatures: None, limits: &LIMITS };
    let Ok(decoded) = decode(&given) else { return };
    for tensor in decoded.inputs.values() {
        let sizes = tensor.tensor_shape.iter().flat_map(|shape| &shape.dim);
        let count: usize = sizes.map(|dim| usize::try_from(dim.size).unwrap()).product();
        let width = dtype::width(tensor.dtype()).unwrap_or_default();
        let strings = if width == 0 { count } else { 0 };
        assert_eq!((tensor.tensor_content.len(), tensor.string_val.len()), (count * width, strings));
        assert!(count <= LIMITS.elements);
    }
}

#[test]
fn streams_may_be_damaged_anywhere() {
    for stream in streams() {
        for at in 0..stream.len() {
            survives(&stream[..at]);
            for flip in [1, 64, 128, 255] {
                let mut damaged = stream.to_vec();
                damaged[at] ^= flip;
                survives(&damaged);
            }
            // Numbers of four and eight bytes that are beyond everything.
            for bytes in [&[255, 255, 255, 127][..], &[255; 8], &[255, 255, 255, 255, 255, 255, 255, 127]] {
                let mut damaged = stream.to_vec();
                damaged.splice(at..(at + bytes.len()).min(stream.len()), bytes.iter().copied());
                survives(&damaged);
            }
        }
    }
}

/// The start of a stream whose schema has so many fields, all of which are the same bytes.
fn repeated(fields: usize) -> Bytes {
    let mut builder = FlatBufferBuilder::new();
    let name = Some(builder.create_string(&"x".repeat(1000)));
    let type_ = Some(Bool::create(&mut builder, &BoolArgs {}).as_union_value());
    let field = FieldArgs { name, type_type: Type::Bool, type_, ..FieldArgs::default() };
    let field = Table::create(&mut builder, &field);
    let fields = Some(builder.create_vector(&vec![field; fields]));
    let schema = SchemaArgs { endianness: Endianness::Little, fields, ..SchemaArgs::default() };
    let header = Some(Tables::create(&mut builder, &schema).as_union_value());
    let version = MetadataVersion::V5;
    let message =
        MessageArgs { version, header_type: MessageHeader::Schema, header, ..MessageArgs::default() };
    let message = Message::create(&mut builder, &message);
    builder.finish(message, None);
    let metadata = builder.finished_data();
    let length = u32::try_from(metadata.len()).unwrap().to_le_bytes();
    [&length[..], metadata].concat().into()
}

#[test]
fn a_few_bytes_do_not_stand_for_many_columns() {
    let refused = |fields| {
        let inputs = [("x".repeat(1000), DataType::DtBool)];
        let inputs = inputs.each_ref().map(|(name, dtype)| (name.as_str(), *dtype));
        decoded(&repeated(fields), &inputs, &LIMITS).unwrap_err().message().to_owned()
    };
    assert!(refused(2).starts_with("The stream has two columns of the name xx"));
    for fields in [100, 5000, 1_000_000] {
        let expected = "The body is no Arrow stream that can be read: the metadata of a message is damaged";
        assert_eq!(refused(fields), expected);
        assert_eq!(room(&repeated(fields), None, 0), 0);
    }
}
