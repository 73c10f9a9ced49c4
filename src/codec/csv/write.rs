//! Tables from tensors: a line of names, and a line for each row.

use std::collections::HashMap;

use bytes::Bytes;

use super::MOST_COLUMNS;
use crate::codec::dense::{Dense, Elements};
use crate::codec::dtype;
use crate::codec::half::{self, Format};
use crate::codec::short::Short;
use crate::codec::writer::{NanStyle, Number};
use crate::error::{Error, Result};
use crate::proto::tensorflow::{DataType, TensorProto};

/// Writes the outputs of a reply, sorted by their names: vectors as a column each, matrices as one for each of
/// their columns. The line of names may be left out.
///
/// # Errors
///
/// 406 for outputs that make no table, `INTERNAL` for one that contradicts itself.
pub(in crate::codec) fn encode(outputs: &HashMap<String, TensorProto>, has_names: bool) -> Result<Bytes> {
    let mut tables =
        outputs.iter().map(|(name, tensor)| Table::new(name, tensor)).collect::<Result<Vec<_>>>()?;
    tables.sort_unstable_by_key(|table| table.name);
    let columns = tables.iter().map(|table| table.width).fold(0, usize::saturating_add);
    if columns > MOST_COLUMNS {
        return Err(no_table(&format!("has {columns} columns, more than {MOST_COLUMNS}")));
    }
    let rows = tables.first().map_or(0, |table| table.rows);
    if let Some(other) = tables.iter().find(|table| table.rows != rows) {
        return Err(no_table(&format!("has {rows} rows in one output and {} in {}", other.rows, other.name)));
    }
    let mut out = Vec::new();
    if has_names {
        names(&tables, &mut out);
    }
    for row in 0..rows {
        let mut is_first = true;
        for table in &tables {
            for index in row * table.width..(row + 1) * table.width {
                separate(&mut is_first, &mut out);
                table.cell(index, &mut out)?;
            }
        }
        out.push(b'\n');
    }
    Ok(out.into())
}

/// The line of names.
fn names(tables: &[Table<'_>], out: &mut Vec<u8>) {
    let (mut name, mut is_first) = (Vec::new(), true);
    for table in tables {
        for index in 0..table.width {
            name.clear();
            name.extend_from_slice(table.name.as_bytes());
            if table.is_matrix {
                name.extend_from_slice(format!("[{index}]").as_bytes());
            }
            separate(&mut is_first, out);
            text(&name, out);
        }
    }
    out.push(b'\n');
}

fn separate(is_first: &mut bool, out: &mut Vec<u8>) {
    if !std::mem::replace(is_first, false) {
        out.push(b',');
    }
}

/// An output as columns.
struct Table<'a> {
    name: &'a str,
    dense: Dense,
    rows: usize,
    width: usize,
    is_matrix: bool,
}

impl<'a> Table<'a> {
    fn new(name: &'a str, tensor: &TensorProto) -> Result<Self> {
        let dense = Dense::new(name, tensor)?;
        if matches!(dense.dtype, DataType::DtComplex64 | DataType::DtComplex128) {
            return Err(no_table(&format!("has {} numbers in {name}", dtype::name(dense.dtype))));
        }
        let (rows, width, is_matrix) = match *dense.dimensions.as_slice() {
            [rows] => (rows, 1, false),
            [rows, width] => (rows, width, true),
            ref other => {
                return Err(no_table(&format!("has {} dimensions in {name}, not 1 or 2", other.len())));
            }
        };
        Ok(Self { name, dense, rows, width, is_matrix })
    }

    fn cell(&self, index: usize, out: &mut Vec<u8>) -> Result<()> {
        let content = match &self.dense.elements {
            Elements::Strings(strings) => {
                text(strings.get(index).map_or(&[], |string| string), out);
                return Ok(());
            }
            Elements::Numbers(content) => content,
        };
        match self.dense.dtype {
            DataType::DtFloat => number(content, index, f32::from_le_bytes, out),
            DataType::DtDouble => number(content, index, f64::from_le_bytes, out),
            DataType::DtHalf => short(content, index, half::HALF, out),
            DataType::DtBfloat16 => short(content, index, half::BFLOAT16, out),
            DataType::DtInt8 => number(content, index, i8::from_le_bytes, out),
            DataType::DtInt16 => number(content, index, i16::from_le_bytes, out),
            DataType::DtInt64 => number(content, index, i64::from_le_bytes, out),
            DataType::DtUint8 => number(content, index, u8::from_le_bytes, out),
            DataType::DtUint16 => number(content, index, u16::from_le_bytes, out),
            DataType::DtUint32 => number(content, index, u32::from_le_bytes, out),
            DataType::DtUint64 => number(content, index, u64::from_le_bytes, out),
            DataType::DtBool => number(content, index, |[byte]| byte != 0, out),
            _ => number(content, index, i32::from_le_bytes, out),
        }
    }
}

fn number<T: Number, const WIDTH: usize>(
    content: &[u8],
    index: usize,
    from_bytes: impl Fn([u8; WIDTH]) -> T,
    out: &mut Vec<u8>,
) -> Result<()> {
    let (chunks, _) = content.as_chunks::<WIDTH>();
    chunks.get(index).map_or(Ok(()), |chunk| from_bytes(*chunk).write(out, NanStyle::Literal))
}

fn short(content: &[u8], index: usize, format: Format, out: &mut Vec<u8>) -> Result<()> {
    number(content, index, |bytes| Short { bits: u16::from_le_bytes(bytes), format }, out)
}

/// A string, in quotes if it would be read as another one without. An empty one has them, since an empty line
/// is no row.
fn text(string: &[u8], out: &mut Vec<u8>) {
    let is_plain =
        !string.is_empty() && !string.iter().any(|byte| matches!(byte, b'"' | b',' | b'\n' | b'\r'));
    if is_plain {
        out.extend_from_slice(string);
        return;
    }
    out.push(b'"');
    for byte in string {
        if *byte == b'"' {
            out.push(b'"');
        }
        out.push(*byte);
    }
    out.push(b'"');
}

fn no_table(what: &str) -> Error {
    Error::not_acceptable(format!("The reply {what}, which makes no table: accept application/json"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::dense::shape;

    fn tensor(dtype: DataType, sizes: &[usize], tensor: TensorProto) -> TensorProto {
        TensorProto { dtype: dtype.into(), tensor_shape: Some(shape(sizes)), ..tensor }
    }

    fn written(outputs: &[(&str, TensorProto)]) -> Result<String> {
        let outputs = outputs.iter().map(|(name, tensor)| ((*name).to_owned(), tensor.clone())).collect();
        encode(&outputs, true).map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[test]
    fn outputs_become_columns() {
        let floats =
            TensorProto { float_val: vec![1.0, f32::NAN, -2.5, f32::INFINITY], ..TensorProto::default() };
        let strings = ["a,\"b\"", ""].map(Bytes::from).to_vec();
        let labels = TensorProto { string_val: strings, ..TensorProto::default() };
        let halves = TensorProto { half_val: vec![0x3c00, 0xc000], ..TensorProto::default() };
        let outputs = [
            ("y", tensor(DataType::DtFloat, &[2, 2], floats)),
            ("la,bel", tensor(DataType::DtString, &[2], labels)),
            ("h", tensor(DataType::DtHalf, &[2, 1], halves)),
        ];
        let expected = "h[0],\"la,bel\",y[0],y[1]\n1.0,\"a,\"\"b\"\"\",1.0,NaN\n-2.0,\"\",-2.5,Infinity\n";
        assert_eq!(written(&outputs).unwrap(), expected);
        let outputs = outputs.map(|(name, tensor)| (name.to_owned(), tensor)).into();
        let (_, rows) = expected.split_once('\n').unwrap();
        assert_eq!(encode(&outputs, false).unwrap(), rows);
    }

    #[test]
    fn what_makes_no_table_is_not_acceptable() {
        let check = |outputs: &[(&str, TensorProto)], expected: &str| {
            let error = written(outputs).unwrap_err();
            assert_eq!(error.status(), 406);
            assert!(error.message().contains(expected), "{error}");
        };
        let of = |sizes: &[usize]| tensor(DataType::DtInt8, sizes, TensorProto::default());
        check(&[("y", of(&[]))], "has 0 dimensions in y");
        check(&[("y", of(&[1, 1, 1]))], "has 3 dimensions in y");
        check(&[("a", of(&[1])), ("y", of(&[2]))], "has 1 rows in one output and 2 in y");
        check(&[("y", of(&[0, 1 << 40]))], "more than 262144");
        check(
            &[("y", tensor(DataType::DtComplex64, &[1], TensorProto::default()))],
            "complex64 numbers in y",
        );
    }
}
