//! One named input while it is decoded: the rows read so far of one tensor.

use bytes::Bytes;

use super::element::{self, Strings};
use super::fault::Fault;
use super::limits::Limits;
use super::nested::{self, Progress, Shape, Step};
use super::reader::Reader;
use crate::proto::tensorflow::{DataType, TensorProto};

/// The elements of one input and the shape of a row, that is of one value that was read.
pub(crate) struct Column {
    dtype: DataType,
    shape: Shape,
    store: Store,
    /// How many values have been read.
    pub(crate) rows: usize,
}

enum Store {
    /// Elements in the layout of `tensor_content`.
    Content(Vec<u8>),
    Strings(Strings),
    Unsupported(DataType),
}

/// Calls a generic function with the element type of a dtype and its store.
macro_rules! with_element {
    ($self:ident, $function:ident($($argument:expr),*)) => {{
        let Column { dtype, shape, store, .. } = $self;
        match store {
            Store::Strings(strings) => nested::$function::<element::String>($($argument,)* shape, strings),
            Store::Unsupported(dtype) => nested::$function::<element::Unsupported>($($argument,)* shape, dtype),
            Store::Content(content) => match *dtype {
                DataType::DtFloat => nested::$function::<element::Float32>($($argument,)* shape, content),
                DataType::DtDouble => nested::$function::<element::Float64>($($argument,)* shape, content),
                DataType::DtHalf => nested::$function::<element::Half>($($argument,)* shape, content),
                DataType::DtBfloat16 => nested::$function::<element::Bfloat16>($($argument,)* shape, content),
                DataType::DtInt8 => nested::$function::<element::Int8>($($argument,)* shape, content),
                DataType::DtInt16 => nested::$function::<element::Int16>($($argument,)* shape, content),
                DataType::DtInt32 => nested::$function::<element::Int32>($($argument,)* shape, content),
                DataType::DtInt64 => nested::$function::<element::Int64>($($argument,)* shape, content),
                DataType::DtUint8 => nested::$function::<element::Uint8>($($argument,)* shape, content),
                DataType::DtUint16 => nested::$function::<element::Uint16>($($argument,)* shape, content),
                DataType::DtUint32 => nested::$function::<element::Uint32>($($argument,)* shape, content),
                DataType::DtUint64 => nested::$function::<element::Uint64>($($argument,)* shape, content),
                DataType::DtBool => nested::$function::<element::Bool>($($argument,)* shape, content),
                DataType::DtComplex64 => nested::$function::<element::Complex64>($($argument,)* shape, content),
                _ => nested::$function::<element::Complex128>($($argument,)* shape, content),
            },
        }
    }};
}

impl Column {
    /// An input of the given dtype without rows. Strings will be slices of `body`.
    pub(crate) fn new(dtype: DataType, body: &Bytes) -> Self {
        let store = match dtype {
            DataType::DtString => Store::Strings(Strings { body: body.clone(), values: Vec::new() }),
            dtype if super::dtype::width(dtype).is_some() => Store::Content(Vec::new()),
            dtype => Store::Unsupported(dtype),
        };
        Self { dtype, shape: Shape::default(), store, rows: 0 }
    }

    /// Goes on in another text. Strings will be slices of it.
    pub(crate) fn turn_to(&mut self, body: &Bytes) {
        if let Store::Strings(strings) = &mut self.store {
            strings.body = body.clone();
        }
    }

    /// Reads one value, which must have the shape of the values before it.
    ///
    /// After a fault the column is of no use.
    pub(crate) fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), Fault> {
        with_element!(self, read_whole(reader))?;
        self.rows += 1;
        Ok(())
    }

    /// Reads values for as long as they are lists like those before them, each on a line of its own, and
    /// written plainly: how many. See [`nested::read_lines`] for where it ends.
    pub(crate) fn read_lines(&mut self, reader: &mut Reader<'_>, has_returns: bool) -> usize {
        let rows = with_element!(self, read_lines(reader, has_returns));
        self.rows += rows;
        rows
    }

    /// Reads as much of one value as there is; see [`nested::read`] for where text may end.
    pub(crate) fn read_part(
        &mut self,
        reader: &mut Reader<'_>,
        progress: &mut Progress,
    ) -> Result<Step, Fault> {
        let step = with_element!(self, read(reader, progress))?;
        self.rows += usize::from(step == Step::Done);
        Ok(step)
    }

    /// The shape of one value.
    pub(crate) fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Makes room for about as many elements as a text of this length holds, within reason.
    pub(crate) fn reserve(&mut self, text_length: usize, limits: &Limits) {
        if let (Store::Content(content), Some(width)) = (&mut self.store, super::dtype::width(self.dtype)) {
            let elements = (text_length / 8).min(limits.elements);
            content.reserve(elements.saturating_mul(width).min(RESERVED));
        }
    }

    /// Makes room for the rest of a value of which `read` bytes of text have been read, and which
    /// has about `all`: as many elements as there have been, and a few more. A large tensor is
    /// not copied then every time that it has doubled, and takes no more memory than it needs.
    pub(crate) fn reserve_rest(&mut self, read: usize, all: usize, limits: &Limits) {
        if let (Store::Content(content), Some(width)) = (&mut self.store, super::dtype::width(self.dtype)) {
            let expected =
                u128::try_from(content.len()).unwrap_or_default() * all as u128 / read.max(1) as u128;
            let expected = usize::try_from(expected + expected / 64).unwrap_or_default();
            let expected = expected.min(limits.elements.saturating_mul(width));
            content.reserve_exact(expected.saturating_sub(content.len()));
        }
    }

    /// The tensor of the one value that was read.
    pub(crate) fn into_tensor(self) -> TensorProto {
        self.into_proto(None)
    }

    /// The tensor of all rows: its first dimension counts them.
    pub(crate) fn into_batch(self) -> TensorProto {
        let rows = self.rows;
        self.into_proto(Some(rows))
    }

    fn into_proto(self, rows: Option<usize>) -> TensorProto {
        let mut tensor = TensorProto {
            dtype: self.dtype.into(),
            tensor_shape: Some(self.shape.to_proto(rows)),
            ..TensorProto::default()
        };
        match self.store {
            Store::Content(content) => tensor.tensor_content = content.into(),
            Store::Strings(strings) => tensor.string_val = strings.values,
            Store::Unsupported(_) => {}
        }
        tensor
    }
}

/// The most bytes that are set aside before the elements are seen.
const RESERVED: usize = 64 * 1024;
