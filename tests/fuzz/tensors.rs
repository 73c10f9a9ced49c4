//! Tensors that make sense, from a fuzzer's bytes.

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use tfbridge::codec::dtype;
use tfbridge::proto::tensorflow::tensor_shape_proto::Dim;
use tfbridge::proto::tensorflow::{DataType, TensorProto, TensorShapeProto};

use crate::reference::DTYPES;

/// How many of [`DTYPES`] have a form in JSON.
const PRINTABLE: usize = DTYPES.len() - 2;

/// Most elements of a tensor.
const MAX_ELEMENTS: usize = 256;

/// A tensor of any dtype that JSON carries; its first dimension is `rows` if that is given.
pub fn tensor(input: &mut Unstructured<'_>, rows: Option<usize>) -> Result<TensorProto> {
    let dtype = DTYPES[input.choose_index(PRINTABLE)?];
    let mut sizes: Vec<usize> = rows.into_iter().collect();
    for _ in 0..input.int_in_range(0..=4)? {
        let size = usize::from(input.int_in_range(0..=12_u8)?);
        if size * sizes.iter().product::<usize>() <= MAX_ELEMENTS {
            sizes.push(size);
        }
    }
    let elements = sizes.iter().product();
    let dim = sizes.iter().map(|&size| Dim { size: size as i64, ..Dim::default() }).collect();
    let mut tensor = TensorProto {
        dtype: dtype.into(),
        tensor_shape: Some(TensorShapeProto { dim, unknown_rank: false }),
        ..TensorProto::default()
    };
    if dtype == DataType::DtString {
        let string = |_| input.arbitrary::<Vec<u8>>().map(bytes::Bytes::from);
        tensor.string_val = (0..elements).map(string).collect::<Result<_>>()?;
        return Ok(tensor);
    }
    let width = dtype::width(dtype).expect("of the dtypes, only strings have none");
    let mut content = vec![0; elements * width];
    input.fill_buffer(&mut content)?;
    if dtype == DataType::DtBool {
        content.iter_mut().for_each(|byte| *byte &= 1);
    }
    tensor.tensor_content = content.into();
    Ok(tensor)
}

/// The same tensor with its elements in the typed field, as servers send it by default.
pub fn typed(tensor: &TensorProto) -> TensorProto {
    let content = tensor.tensor_content.clone();
    let mut typed = TensorProto { tensor_content: bytes::Bytes::new(), ..tensor.clone() };
    macro_rules! fill {
        ($field:ident, $element:ty) => {{
            let (chunks, _) = content.as_chunks::<{ size_of::<$element>() }>();
            typed.$field = chunks.iter().map(|chunk| <$element>::from_le_bytes(*chunk).into()).collect();
        }};
    }
    match tensor.dtype() {
        DataType::DtFloat => fill!(float_val, f32),
        DataType::DtDouble => fill!(double_val, f64),
        DataType::DtInt8 => fill!(int_val, i8),
        DataType::DtInt16 => fill!(int_val, i16),
        DataType::DtInt32 => fill!(int_val, i32),
        DataType::DtUint8 => fill!(int_val, u8),
        DataType::DtUint16 => fill!(int_val, u16),
        DataType::DtHalf | DataType::DtBfloat16 => fill!(half_val, u16),
        DataType::DtInt64 => fill!(int64_val, i64),
        DataType::DtUint32 => fill!(uint32_val, u32),
        DataType::DtUint64 => fill!(uint64_val, u64),
        DataType::DtComplex64 => fill!(scomplex_val, f32),
        DataType::DtComplex128 => fill!(dcomplex_val, f64),
        DataType::DtBool => typed.bool_val = content.iter().map(|&byte| byte != 0).collect(),
        _ => {}
    }
    typed
}

/// The tensor as it must come back from its text: every NaN is the one that `NaN` reads as, and
/// nothing is known of the dimensions below one that is empty.
pub fn canonical(tensor: &TensorProto) -> TensorProto {
    let mut canonical = tensor.clone();
    let mut content = tensor.tensor_content.to_vec();
    match tensor.dtype() {
        DataType::DtFloat | DataType::DtComplex64 => {
            for chunk in
                content.as_chunks_mut().0.iter_mut().filter(|chunk| f32::from_le_bytes(**chunk).is_nan())
            {
                *chunk = f32::NAN.to_le_bytes();
            }
        }
        DataType::DtDouble | DataType::DtComplex128 => {
            for chunk in
                content.as_chunks_mut().0.iter_mut().filter(|chunk| f64::from_le_bytes(**chunk).is_nan())
            {
                *chunk = f64::NAN.to_le_bytes();
            }
        }
        DataType::DtHalf => quiet(&mut content, 0x7C00, 0x7E00),
        DataType::DtBfloat16 => quiet(&mut content, 0x7F80, 0x7FC0),
        _ => {}
    }
    canonical.tensor_content = content.into();
    if let Some(shape) = &mut canonical.tensor_shape
        && let Some(empty) = shape.dim.iter().position(|dim| dim.size == 0)
    {
        shape.dim.truncate(empty + 1);
    }
    canonical
}

fn quiet(content: &mut [u8], infinity: u16, nan: u16) {
    for chunk in content.as_chunks_mut().0 {
        if u16::from_le_bytes(*chunk) & 0x7FFF > infinity {
            *chunk = nan.to_le_bytes();
        }
    }
}

/// A tensor has as many elements as its shape says.
pub fn assert_whole(tensor: &TensorProto) {
    let elements: usize = sizes(tensor).iter().product();
    let strings = if tensor.dtype() == DataType::DtString { elements } else { 0 };
    let width = dtype::width(tensor.dtype()).unwrap_or(0);
    assert_eq!((tensor.tensor_content.len(), tensor.string_val.len()), (elements * width, strings));
}

/// The sizes of a tensor's dimensions.
pub fn sizes(tensor: &TensorProto) -> Vec<usize> {
    let shape = tensor.tensor_shape.as_ref().expect("a shape");
    shape.dim.iter().map(|dim| usize::try_from(dim.size).expect("a size")).collect()
}
