//! One input of a request: what its JSON says, and its elements from there or from the binary data.

use bytes::Bytes;

use super::Values;
use super::members::{integer, is_null, list, object, string};
use crate::codec::column::Column;
use crate::codec::dense;
use crate::codec::fault::Fault;
use crate::codec::inference::{dtype, raw};
use crate::codec::limits::Limits;
use crate::codec::reader::Reader;
use crate::proto::tensorflow::{DataType, TensorProto, TensorShapeProto};

/// An input as the JSON has it.
pub(super) struct Input {
    pub(super) name: String,
    dtype: DataType,
    shape: Vec<i64>,
    /// How many bytes of the binary data are its elements.
    binary_size: Option<usize>,
    data: Option<Column>,
}

/// What has been read of an input.
#[derive(Default)]
struct Partial<'a> {
    name: Option<String>,
    dtype: Option<DataType>,
    shape: Option<Vec<i64>>,
    binary_size: Option<usize>,
    data: Option<Column>,
    /// Where the data is, if its datatype was not known yet.
    data_at: Option<Reader<'a>>,
}

impl Input {
    pub(super) fn read(reader: &mut Reader<'_>, json: &Bytes, values: Values) -> Result<Self, Fault> {
        let start = reader.at;
        let mut partial = Partial::default();
        object(reader, "An input", |reader, key| {
            match key {
                b"name" => partial.name = Some(string(reader, "The input's name")?),
                b"datatype" => partial.dtype = Some(datatype(reader)?),
                b"shape" => partial.shape = Some(shape(reader)?),
                b"parameters" if !is_null(reader) => partial.read_parameters(reader)?,
                b"data" if partial.data.is_some() || partial.data_at.is_some() => {
                    return Err(Fault::text(reader.at, "An input has its data twice"));
                }
                b"data" if !is_null(reader) => match partial.dtype {
                    Some(dtype) if values == Values::Read => {
                        partial.data = Some(column(reader, json, dtype)?);
                    }
                    _ => {
                        partial.data_at = Some(reader.clone());
                        reader.skip_value()?;
                    }
                },
                _ => reader.skip_value()?,
            }
            Ok(())
        })?;
        let missing = |what: &str| Fault::text(start, format!("An input has no {what}"));
        let dtype = partial.dtype.ok_or_else(|| missing("datatype"))?;
        if let Some(mut at) = partial.data_at.filter(|_| values == Values::Read) {
            partial.data = Some(column(&mut at, json, dtype)?);
        }
        Ok(Self {
            name: partial.name.ok_or_else(|| missing("name"))?,
            dtype,
            shape: partial.shape.ok_or_else(|| missing("shape"))?,
            binary_size: partial.binary_size,
            data: partial.data,
        })
    }

    /// How many strings it takes out of the binary data.
    pub(super) fn strings(&self) -> usize {
        if self.dtype != DataType::DtString || self.binary_size.is_none() {
            return 0;
        }
        let size = |size: &i64| usize::try_from(*size).unwrap_or(0);
        self.shape.iter().map(size).fold(1, usize::saturating_mul)
    }

    /// The tensor; the binary data begins with its elements, if they are there.
    ///
    /// # Errors
    ///
    /// What is wrong, without its place.
    pub(super) fn into_tensor(self, binary: &mut Bytes, limits: &Limits) -> Result<TensorProto, String> {
        let (dimensions, count) = raw::shape(&self.shape, limits)?;
        let column = match (self.data, self.binary_size) {
            (Some(column), None) => column,
            (None, Some(size)) if size <= binary.len() => {
                return raw::tensor(self.dtype, dimensions, count, &binary.split_to(size), limits);
            }
            (None, Some(size)) => {
                let left = binary.len();
                return Err(format!("its binary data has {size} bytes, but {left} are left of the body"));
            }
            (None, None) => return Err("there is no data".to_owned()),
            (Some(_), Some(_)) => return Err("there is data both in the JSON and in binary form".to_owned()),
        };
        let found = column.shape();
        let (found_count, is_flat, text) = (found.elements(), found.rank() <= 1, found.text());
        let mut tensor = column.into_tensor();
        let shape = dense::shape(&dimensions);
        if is_flat && found_count != count {
            return Err(format!(
                "{found_count} elements of data for the shape {}, which takes {count}",
                shape_text(&self.shape)
            ));
        }
        if !is_flat && tensor.tensor_shape.as_ref().map(sizes) != Some(sizes(&shape)) {
            return Err(format!("data of the shape {text}, but its shape is {}", shape_text(&self.shape)));
        }
        tensor.tensor_shape = Some(shape);
        Ok(tensor)
    }
}

impl Partial<'_> {
    fn read_parameters(&mut self, reader: &mut Reader<'_>) -> Result<(), Fault> {
        object(reader, "'parameters'", |reader, key| {
            let at = reader.at;
            match key {
                b"binary_data_size" => {
                    let size = integer(reader, "The size of the binary data")?;
                    let size = usize::try_from(size);
                    let negative = |_| Fault::text(at, "The size of the binary data is negative");
                    self.binary_size = Some(size.map_err(negative)?);
                }
                b"shared_memory_region" => {
                    reader.skip_value()?;
                    return Err(Fault::text(at, "Shared memory is not supported"));
                }
                _ => reader.skip_value()?,
            }
            Ok(())
        })
    }
}

fn column(reader: &mut Reader<'_>, json: &Bytes, dtype: DataType) -> Result<Column, Fault> {
    // Nothing is set aside beforehand: nobody knows how many inputs share the text that follows.
    let mut column = Column::new(dtype, json);
    column.read(reader)?;
    Ok(column)
}

fn datatype(reader: &mut Reader<'_>) -> Result<DataType, Fault> {
    let at = reader.at;
    let name = string(reader, "The datatype")?;
    dtype::from_name(&name).ok_or_else(|| {
        let mut name = name;
        name.truncate(name.char_indices().nth(MOST_NAME).map_or(name.len(), |(end, _)| end));
        Fault::text(at, format!("{name:?} is no datatype; these are: {}", dtype::names().join(", ")))
    })
}

/// How many characters of a wrong name a message shows.
const MOST_NAME: usize = 64;

fn shape(reader: &mut Reader<'_>) -> Result<Vec<i64>, Fault> {
    let mut sizes = Vec::new();
    list(reader, "A shape", |reader| {
        // How many dimensions there may be is found out later; these are too many in any case.
        if sizes.len() > crate::codec::MAX_RANK {
            return Err(Fault::text(reader.at, "A shape has too many dimensions"));
        }
        sizes.push(integer(reader, "A size")?);
        Ok(())
    })?;
    Ok(sizes)
}

fn sizes(shape: &TensorShapeProto) -> Vec<i64> {
    shape.dim.iter().map(|dim| dim.size).collect()
}

fn shape_text(sizes: &[i64]) -> String {
    let sizes: Vec<_> = sizes.iter().map(ToString::to_string).collect();
    format!("[{}]", sizes.join(","))
}
