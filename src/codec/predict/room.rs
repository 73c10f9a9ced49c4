//! How long the JSON of a reply may be beside its elements: what strings gain by their escapes, and the names in
//! every row.

use std::collections::HashMap;

use super::reply::MAX_SURPLUS;
use crate::codec::dtype;
use crate::proto::tensorflow::{DataType, TensorProto};

/// How many bytes the strings of a reply gain at most while they are written as JSON: a control character becomes
/// six, a byte that is no UTF-8 three.
pub(crate) fn escapes(outputs: &HashMap<String, TensorProto>) -> usize {
    let of = |tensor: &TensorProto| {
        if dtype::from_wire(tensor.dtype) != DataType::DtString {
            return 0;
        }
        let strings = tensor.string_val.iter().map(|string| gain(string)).fold(0, usize::saturating_add);
        let last = tensor.string_val.last().map_or(0, |last| gain(last).saturating_add(last.len()));
        let repeats = elements(tensor).saturating_sub(tensor.string_val.len());
        // What repeats beyond that is refused.
        let repeated = repeats.saturating_mul(last).min(MAX_SURPLUS);
        strings.saturating_add(repeated).saturating_add(gain(&tensor.tensor_content))
    };
    outputs.values().map(of).fold(0, usize::saturating_add)
}

/// How many bytes the names of several outputs take where each row is an object of them.
pub(crate) fn names(outputs: &HashMap<String, TensorProto>) -> usize {
    if outputs.len() < 2 {
        return 0;
    }
    let first = |tensor: &TensorProto| tensor.tensor_shape.as_ref()?.dim.first().map(|dim| dim.size);
    let rows = outputs.values().filter_map(first).max().unwrap_or_default();
    // Each with its quotes, a colon, and a comma or a brace; and the end of the object.
    let row = outputs.keys().map(|name| name.len() + gain(name.as_bytes()) + 4).sum::<usize>() + 2;
    // Beyond that it is refused.
    usize::try_from(rows).unwrap_or_default().saturating_mul(row).min(MAX_SURPLUS)
}

fn gain(string: &[u8]) -> usize {
    let of = |byte: &u8| match byte {
        b'"' | b'\\' | 0x08 | 0x0C | b'\n' | b'\r' | b'\t' => 1,
        0..=0x1F => 5,
        _ => 0,
    };
    let escaped: usize = string.iter().map(of).sum();
    let broken = if std::str::from_utf8(string).is_ok() {
        0
    } else {
        2 * string.iter().filter(|byte| !byte.is_ascii()).count()
    };
    escaped + broken
}

fn elements(tensor: &TensorProto) -> usize {
    let dimensions = tensor.tensor_shape.iter().flat_map(|shape| &shape.dim);
    dimensions.fold(1, |size: usize, dim| size.saturating_mul(usize::try_from(dim.size).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::codec::NanStyle;
    use crate::codec::dense::shape;
    use crate::codec::predict::{Format, encode};

    fn strings(sizes: &[usize], strings: &[&'static [u8]]) -> TensorProto {
        TensorProto {
            dtype: DataType::DtString.into(),
            tensor_shape: Some(shape(sizes)),
            string_val: strings.iter().map(|string| Bytes::from_static(string)).collect(),
            ..TensorProto::default()
        }
    }

    #[test]
    fn text_is_no_longer_than_its_elements_and_what_they_gain() {
        let check = |tensor: TensorProto, expected: usize| {
            let used: usize = tensor.string_val.iter().map(Bytes::len).sum();
            let brackets = 3 * elements(&tensor);
            let outputs = [("y".to_owned(), tensor)].into();
            assert_eq!(escapes(&outputs), expected);
            let text = encode(&outputs, Format::Columnar, NanStyle::Literal).unwrap();
            assert!(text.len() <= used + expected + brackets + 14, "{}", text.len());
        };
        check(strings(&[2], &[b"plain", "é".as_bytes()]), 0);
        check(strings(&[1], &[&[0; 1000]]), 5000);
        check(strings(&[1], &[&[0xFF; 1000]]), 2000);
        check(strings(&[2], &[b"\"\\\n", b"\x1f"]), 3 + 5);
        check(strings(&[10], &[&[1; 100]]), 500 + 9 * 600);
    }

    #[test]
    fn names_stand_in_every_row_of_several_outputs() {
        let output = |name: &str, rows: usize| (name.to_owned(), strings(&[rows, 0], &[]));
        let check = |outputs: &[(String, TensorProto)], expected: usize| {
            let outputs = outputs.iter().cloned().collect();
            assert_eq!(names(&outputs), expected);
            let text = encode(&outputs, Format::Row, NanStyle::Literal).map_or(0, |text| text.len());
            assert!(expected == 0 || text <= expected + outputs.len() * 2 * 1000 + 1000 + 20, "{text}");
        };
        check(&[output("a", 1000)], 0);
        check(&[output("a", 1000), output("\u{1}b", 1000)], 1000 * (5 + 11 + 2));
        check(&[output("a", 1 << 40), output("b", 1)], MAX_SURPLUS);
    }
}
