//! A stream of one batch, which has an output in each column.
//!
//! A row of several dimensions is lists in lists, each level of a fixed length, which every reader knows; the
//! extension for tensors would be one more thing for it to support. Strings are text if all of a column are
//! UTF-8 and else bytes. There are no nulls, though fields say that there may be, like those of most tables.

use std::collections::HashMap;

use arrow_ipc::{
    Binary, BinaryArgs, Bool, BoolArgs, Buffer, Endianness, Field, FieldArgs, FieldNode, FixedSizeList,
    FixedSizeListArgs, FloatingPoint, FloatingPointArgs, Int, IntArgs, LargeBinary, LargeBinaryArgs,
    LargeUtf8, LargeUtf8Args, Message, MessageArgs, MessageHeader, MetadataVersion, Precision, RecordBatch,
    RecordBatchArgs, Schema, SchemaArgs, Type, Utf8, Utf8Args,
};
use bytes::Bytes;
use flatbuffers::{FlatBufferBuilder, UnionWIPOffset, WIPOffset};

use crate::codec::cast::cast;
use crate::codec::dense::{Dense, Elements};
use crate::codec::dtype;
use crate::error::{Error, Result};
use crate::proto::tensorflow::{DataType, TensorProto};

/// What is behind a head, and each buffer, is at a multiple of this.
const ALIGNMENT: usize = 64;

/// The most dimensions: beyond 64 levels of tables readers take metadata for an attack.
const MOST_DIMENSIONS: usize = 60;

/// The most bytes of strings that stand for others behind them.
const MOST_REPEATED: usize = 1 << 28;

/// Writes the outputs of a reply, sorted by their names.
///
/// # Errors
///
/// 406 for outputs that make no table, `INTERNAL` for one that contradicts itself.
pub(in crate::codec) fn encode(outputs: &HashMap<String, TensorProto>) -> Result<Bytes> {
    let mut columns =
        outputs.iter().map(|(name, tensor)| Column::new(name, tensor)).collect::<Result<Vec<_>>>()?;
    columns.sort_unstable_by_key(|column| column.name);
    let rows = columns.first().map_or(0, |column| column.rows);
    if let Some(Column { name, rows: others, .. }) = columns.iter().find(|column| column.rows != rows) {
        return Err(no_table(&format!("has {rows} rows in one output and {others} in {name}")));
    }
    let schema = schema(&columns);
    let mut body = Body::default();
    for column in &columns {
        column.append(&mut body);
    }
    let batch = batch(rows, &body);
    let mut out = Vec::new();
    out.reserve_exact(padded(schema.len() + 8) + padded(batch.len() + 8) + body.length + 8);
    append_head(&schema, &mut out)?;
    append_head(&batch, &mut out)?;
    for chunk in &body.chunks {
        chunk.append(&mut out);
        out.resize(padded(out.len()), 0);
    }
    // The end of a stream is a message without metadata.
    append_number(u32::MAX, &mut out);
    append_number(0, &mut out);
    Ok(out.into())
}

fn no_table(what: &str) -> Error {
    Error::not_acceptable(format!("The reply {what}, which makes no table: accept application/x-npz"))
}

/// An output as a column.
struct Column<'a> {
    name: &'a str,
    rows: usize,
    /// How long the lists of each level are, the outermost first.
    lists: Vec<i32>,
    dense: Dense,
    /// Whether all strings are text.
    is_text: bool,
    /// Whether the strings are too many bytes for offsets of four bytes.
    is_long: bool,
}

impl<'a> Column<'a> {
    fn new(name: &'a str, tensor: &TensorProto) -> Result<Self> {
        let mut dense = Dense::new(name, tensor)?;
        match dense.dtype {
            DataType::DtComplex64 | DataType::DtComplex128 => {
                return Err(no_table(&format!("has {} numbers in {name}", dtype::name(dense.dtype))));
            }
            DataType::DtBfloat16 => dense = cast(name, dense, DataType::DtFloat)?,
            _ => {}
        }
        let count = dense.dimensions.len();
        let rest = dense.dimensions.split_first().filter(|_| count <= MOST_DIMENSIONS);
        let Some((&rows, rest)) = rest else {
            return Err(no_table(&format!("has {count} dimensions in {name}, not 1 to {MOST_DIMENSIONS}")));
        };
        let lists = rest.iter().map(|size| i32::try_from(*size)).collect::<Result<_, _>>();
        let lists = lists.map_err(|_| no_table(&format!("has rows beyond all lists in {name}")))?;
        let (mut is_text, mut is_long) = (false, false);
        if let Elements::Strings(strings) = &dense.elements {
            let given = length(&tensor.string_val).saturating_add(tensor.tensor_content.len());
            if length(strings).saturating_sub(given) > MOST_REPEATED {
                return Err(no_table(&format!("repeats a long string many times in {name}")));
            }
            is_text = strings.iter().all(|string| std::str::from_utf8(string).is_ok());
            is_long = i32::try_from(length(strings)).is_err();
        }
        Ok(Self { name, rows, lists, dense, is_text, is_long })
    }

    fn field<'b>(&self, builder: &mut FlatBufferBuilder<'b>) -> WIPOffset<Field<'b>> {
        // The lists of pyarrow call what they hold by this name.
        let name = |level: usize| if level == 0 { self.name } else { "item" };
        let kind = self.kind(builder);
        let mut inner = field(builder, name(self.lists.len()), kind, &[]);
        for (level, &size) in self.lists.iter().enumerate().rev() {
            let list = FixedSizeList::create(builder, &FixedSizeListArgs { listSize: size });
            inner = field(builder, name(level), (Type::FixedSizeList, list.as_union_value()), &[inner]);
        }
        inner
    }

    /// The type of the values.
    fn kind(&self, builder: &mut FlatBufferBuilder<'_>) -> (Type, WIPOffset<UnionWIPOffset>) {
        let mut int = |width, is_signed| {
            let int = Int::create(builder, &IntArgs { bitWidth: width, is_signed });
            (Type::Int, int.as_union_value())
        };
        let precision = match self.dense.dtype {
            DataType::DtInt8 => return int(8, true),
            DataType::DtInt16 => return int(16, true),
            DataType::DtInt64 => return int(64, true),
            DataType::DtUint8 => return int(8, false),
            DataType::DtUint16 => return int(16, false),
            DataType::DtUint32 => return int(32, false),
            DataType::DtUint64 => return int(64, false),
            DataType::DtHalf => Precision::HALF,
            DataType::DtFloat => Precision::SINGLE,
            DataType::DtDouble => Precision::DOUBLE,
            DataType::DtBool => return (Type::Bool, Bool::create(builder, &BoolArgs {}).as_union_value()),
            DataType::DtString => return self.string_kind(builder),
            _ => return int(32, true),
        };
        let float = FloatingPoint::create(builder, &FloatingPointArgs { precision });
        (Type::FloatingPoint, float.as_union_value())
    }

    fn string_kind(&self, builder: &mut FlatBufferBuilder<'_>) -> (Type, WIPOffset<UnionWIPOffset>) {
        match (self.is_text, self.is_long) {
            (true, false) => (Type::Utf8, Utf8::create(builder, &Utf8Args {}).as_union_value()),
            (true, true) => (Type::LargeUtf8, LargeUtf8::create(builder, &LargeUtf8Args {}).as_union_value()),
            (false, false) => (Type::Binary, Binary::create(builder, &BinaryArgs {}).as_union_value()),
            (false, true) => {
                (Type::LargeBinary, LargeBinary::create(builder, &LargeBinaryArgs {}).as_union_value())
            }
        }
    }

    /// Adds its arrays and their buffers to a body.
    fn append<'b>(&'b self, body: &mut Body<'b>) {
        let mut count = 1;
        for size in &self.dense.dimensions {
            count *= size;
            body.array(count);
        }
        match &self.dense.elements {
            Elements::Numbers(content) if self.dense.dtype == DataType::DtBool => {
                body.buffer(Chunk::Bytes(bits(content)));
            }
            Elements::Numbers(content) => body.buffer(Chunk::Bytes(content.clone())),
            Elements::Strings(strings) => {
                body.buffer(Chunk::Bytes(offsets(strings, self.is_long)));
                body.buffer(Chunk::Strings(strings));
            }
        }
    }
}

fn field<'b>(
    builder: &mut FlatBufferBuilder<'b>,
    name: &str,
    (type_type, type_): (Type, WIPOffset<UnionWIPOffset>),
    children: &[WIPOffset<Field<'b>>],
) -> WIPOffset<Field<'b>> {
    let name = builder.create_string(name);
    // Some readers want the list of children even where there are none.
    let children = builder.create_vector(children);
    let arguments = FieldArgs {
        name: Some(name),
        nullable: true,
        type_type,
        type_: Some(type_),
        children: Some(children),
        ..FieldArgs::default()
    };
    Field::create(builder, &arguments)
}

fn schema(columns: &[Column<'_>]) -> Vec<u8> {
    let mut builder = FlatBufferBuilder::new();
    let fields: Vec<_> = columns.iter().map(|column| column.field(&mut builder)).collect();
    let fields = Some(builder.create_vector(&fields));
    let arguments = SchemaArgs { endianness: Endianness::Little, fields, ..SchemaArgs::default() };
    let schema = Schema::create(&mut builder, &arguments).as_union_value();
    message(builder, MessageHeader::Schema, schema, 0)
}

fn batch(rows: usize, body: &Body<'_>) -> Vec<u8> {
    let mut builder = FlatBufferBuilder::new();
    let nodes = Some(builder.create_vector(&body.nodes));
    let buffers = Some(builder.create_vector(&body.buffers));
    let arguments = RecordBatchArgs { length: number(rows), nodes, buffers, ..RecordBatchArgs::default() };
    let batch = RecordBatch::create(&mut builder, &arguments).as_union_value();
    message(builder, MessageHeader::RecordBatch, batch, body.length)
}

fn message(
    mut builder: FlatBufferBuilder<'_>,
    header_type: MessageHeader,
    header: WIPOffset<UnionWIPOffset>,
    length: usize,
) -> Vec<u8> {
    let arguments = MessageArgs {
        version: MetadataVersion::V5,
        header_type,
        header: Some(header),
        bodyLength: number(length),
        ..MessageArgs::default()
    };
    let message = Message::create(&mut builder, &arguments);
    builder.finish(message, None);
    builder.finished_data().to_vec()
}

/// Writes what stands before the body of a message.
fn append_head(metadata: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let end = padded(metadata.len() + 8);
    let length = u32::try_from(end - 8);
    let length = length.map_err(|_| Error::internal("The reply has more outputs than a stream can have"))?;
    let start = out.len();
    append_number(u32::MAX, out);
    append_number(length, out);
    out.extend_from_slice(metadata);
    out.resize(start + end, 0);
    Ok(())
}

fn append_number(number: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&number.to_le_bytes());
}

/// What becomes the body of the batch.
#[derive(Default)]
struct Body<'a> {
    nodes: Vec<FieldNode>,
    buffers: Vec<Buffer>,
    chunks: Vec<Chunk<'a>>,
    length: usize,
}

impl<'a> Body<'a> {
    /// Adds an array without nulls, whose buffer for them may be empty then.
    fn array(&mut self, count: usize) {
        self.nodes.push(FieldNode::new(number(count), 0));
        self.buffers.push(Buffer::new(number(self.length), 0));
    }

    fn buffer(&mut self, chunk: Chunk<'a>) {
        let length = chunk.length();
        self.buffers.push(Buffer::new(number(self.length), number(length)));
        self.chunks.push(chunk);
        self.length += padded(length);
    }
}

/// The content of a buffer.
enum Chunk<'a> {
    Bytes(Bytes),
    Strings(&'a [Bytes]),
}

impl Chunk<'_> {
    fn length(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Strings(strings) => length(strings),
        }
    }

    fn append(&self, out: &mut Vec<u8>) {
        match self {
            Self::Bytes(bytes) => out.extend_from_slice(bytes),
            Self::Strings(strings) => strings.iter().for_each(|string| out.extend_from_slice(string)),
        }
    }
}

fn length(strings: &[Bytes]) -> usize {
    strings.iter().map(Bytes::len).fold(0, usize::saturating_add)
}

/// Bools as eight in a byte.
fn bits(bools: &[u8]) -> Bytes {
    let byte = |bools: &[u8]| bools.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit != 0));
    bools.chunks(8).map(byte).collect::<Vec<_>>().into()
}

/// Where each string ends, from where the first one starts.
fn offsets(strings: &[Bytes], is_long: bool) -> Bytes {
    let mut offsets = Vec::with_capacity((strings.len() + 1) * if is_long { 8 } else { 4 });
    let mut end = 0_u64;
    let lengths = strings.iter().map(|string| string.len() as u64);
    for length in std::iter::once(0).chain(lengths) {
        end += length;
        // What has only four bytes fits into them.
        let bytes = end.to_le_bytes();
        offsets.extend_from_slice(if is_long { &bytes } else { &bytes[..4] });
    }
    offsets.into()
}

fn padded(length: usize) -> usize {
    length.next_multiple_of(ALIGNMENT)
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
