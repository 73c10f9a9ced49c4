//! The dtypes of TensorFlow: their names and their sizes in tensors.

use crate::proto::tensorflow::DataType;

/// The name that TensorFlow's messages use, for example `float` for `DT_FLOAT`.
///
/// It is the enum's name in lower case without its prefix, for every dtype.
#[must_use]
pub fn name(dtype: DataType) -> String {
    dtype.as_str_name().trim_start_matches("DT_").to_ascii_lowercase()
}

/// The dtype of that name: the enum's (`DT_FLOAT`), that of messages (`float`) or NumPy's
/// (`float32`).
#[must_use]
pub fn from_name(name: &str) -> Option<DataType> {
    let short = match name {
        "float16" => "half",
        "float32" => "float",
        "float64" => "double",
        _ if name.bytes().any(|byte| byte.is_ascii_uppercase()) => return DataType::from_str_name(name),
        _ => name,
    };
    DataType::from_str_name(&format!("DT_{}", short.to_ascii_uppercase()))
}

/// The dtype of a number on the wire; numbers we do not know are `DT_INVALID`.
#[must_use]
pub fn from_wire(number: i32) -> DataType {
    DataType::try_from(number).unwrap_or(DataType::DtInvalid)
}

/// Bytes per element in `tensor_content`, or `None` for dtypes that JSON does not carry as numbers.
#[must_use]
pub fn width(dtype: DataType) -> Option<usize> {
    match dtype {
        DataType::DtBool | DataType::DtInt8 | DataType::DtUint8 => Some(1),
        DataType::DtInt16 | DataType::DtUint16 | DataType::DtHalf | DataType::DtBfloat16 => Some(2),
        DataType::DtFloat | DataType::DtInt32 | DataType::DtUint32 => Some(4),
        DataType::DtDouble | DataType::DtInt64 | DataType::DtUint64 | DataType::DtComplex64 => Some(8),
        DataType::DtComplex128 => Some(16),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_three_spellings() {
        for number in 0..=33 {
            let dtype = from_wire(number);
            assert_eq!(from_name(dtype.as_str_name()), Some(dtype));
            assert_eq!(from_name(&name(dtype)), Some(dtype));
        }
        for (name, expected) in [
            ("float16", Some(DataType::DtHalf)),
            ("float32", Some(DataType::DtFloat)),
            ("float64", Some(DataType::DtDouble)),
            ("DT_FLOAT_REF", Some(DataType::DtFloatRef)),
            ("Float", None),
            ("dt_float", None),
            ("DT_float32", None),
            ("DT_", None),
            ("", None),
        ] {
            assert_eq!(from_name(name), expected, "{name}");
        }
    }
}
