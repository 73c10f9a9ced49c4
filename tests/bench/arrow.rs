//! The payloads `arrow` and `table`, which arrow-rs writes and reads: seeded, each of one batch.

use std::sync::Arc;

use arrow_array::{ArrayRef, FixedSizeListArray, Float32Array, Int64Array, RecordBatch, StringArray};
use arrow_buffer::Buffer;
use arrow_ipc::reader::StreamDecoder;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::Field;
use bytes::Bytes;
use fastrand::Rng;
use tfbridge::codec::signature::{Input, Signature, Signatures};
use tfbridge::proto::tensorflow::DataType;

/// The names of the payloads.
pub const STREAMS: [&str; 2] = ["arrow", "table"];

/// The numbers of an image.
const PIXELS: usize = 224 * 224 * 3;

/// A table, and the signature whose inputs are its columns.
pub struct Payload {
    pub batch: RecordBatch,
    pub signatures: Signatures,
}

/// An image as one list of a fixed length, or 1000 rows of the 20 columns that payload d has.
pub fn payload(name: &str) -> Payload {
    let mut random = Rng::with_seed(1);
    let columns = match name {
        "arrow" => vec![("x".to_owned(), DataType::DtFloat, image(&mut random))],
        _ => (0..20).map(|index| feature(index, &mut random)).collect(),
    };
    let input = |(name, dtype, _): &(String, DataType, ArrayRef)| Input {
        name: name.clone(),
        dtype: *dtype,
        shape: None,
    };
    let signature = Signature::new(columns.iter().map(input).collect());
    let columns = columns.into_iter().map(|(name, _, column)| (name, column));
    let batch = RecordBatch::try_from_iter(columns).expect("the columns have the same number of rows");
    Payload { batch, signatures: [("serving_default".to_owned(), signature)].into_iter().collect() }
}

fn image(random: &mut Rng) -> ArrayRef {
    let pixels: Float32Array = (0..PIXELS).map(|_| random.f32()).collect();
    let field = Arc::new(Field::new_list_field(arrow_schema::DataType::Float32, false));
    Arc::new(FixedSizeListArray::new(field, PIXELS as i32, Arc::new(pixels), None))
}

fn feature(index: usize, random: &mut Rng) -> (String, DataType, ArrayRef) {
    let (dtype, column): (_, ArrayRef) = match index % 3 {
        0 => (DataType::DtInt64, Arc::new((0..1000).map(|_| random.i64(..100_000)).collect::<Int64Array>())),
        1 => (DataType::DtFloat, Arc::new((0..1000).map(|_| random.f32() * 100.0).collect::<Float32Array>())),
        _ => {
            let words = (0..1000).map(|_| Some(format!("cat_{}", random.u16(..1000))));
            (DataType::DtString, Arc::new(words.collect::<StringArray>()))
        }
    };
    (format!("feature_{index:02}"), dtype, column)
}

/// The stream of a batch.
pub fn write(batch: &RecordBatch) -> Vec<u8> {
    let room = Vec::with_capacity(batch.get_array_memory_size() + 4096);
    let mut writer = StreamWriter::try_new(room, &batch.schema()).expect("the schema can be written");
    writer.write(batch).expect("the batch can be written");
    writer.into_inner().expect("the end can be written")
}

/// The batch of a stream, whose buffers are parts of it.
pub fn read(stream: &Bytes) -> RecordBatch {
    let mut buffer = Buffer::from(stream.clone());
    let mut decoder = StreamDecoder::new();
    let batch = decoder.decode(&mut buffer).expect("the stream is whole");
    batch.expect("the stream has a batch")
}
