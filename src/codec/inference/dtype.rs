//! The datatypes of the Open Inference Protocol and the dtypes that they are.

use crate::proto::tensorflow::DataType;

/// The pairs of the protocol's name and the dtype.
const NAMES: [(&str, DataType); 14] = [
    ("BOOL", DataType::DtBool),
    ("UINT8", DataType::DtUint8),
    ("UINT16", DataType::DtUint16),
    ("UINT32", DataType::DtUint32),
    ("UINT64", DataType::DtUint64),
    ("INT8", DataType::DtInt8),
    ("INT16", DataType::DtInt16),
    ("INT32", DataType::DtInt32),
    ("INT64", DataType::DtInt64),
    ("FP16", DataType::DtHalf),
    ("BF16", DataType::DtBfloat16),
    ("FP32", DataType::DtFloat),
    ("FP64", DataType::DtDouble),
    ("BYTES", DataType::DtString),
];

/// The protocol's name of a dtype; `None` for complex numbers and what is no data.
#[must_use]
pub fn name(dtype: DataType) -> Option<&'static str> {
    NAMES.iter().find(|(_, other)| *other == dtype).map(|(name, _)| *name)
}

/// The dtype of that name.
#[must_use]
pub fn from_name(name: &str) -> Option<DataType> {
    NAMES.iter().find(|(other, _)| *other == name).map(|(_, dtype)| *dtype)
}

/// The names of all datatypes.
#[must_use]
pub fn names() -> [&'static str; NAMES.len()] {
    NAMES.map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_dtypes_are_pairs() {
        for (text, dtype) in NAMES {
            assert_eq!((name(dtype), from_name(text)), (Some(text), Some(dtype)));
        }
        assert_eq!((name(DataType::DtComplex64), from_name("fp32")), (None, None));
    }
}
