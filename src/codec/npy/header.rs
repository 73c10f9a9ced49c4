//! The head of a file in NumPy's format: what is behind it, and in which order.
//!
//! It is a Python literal, a dictionary of three members. What NumPy writes is read, in any order and with any
//! spaces; nothing is evaluated, and nothing is set aside for what it says.

use crate::codec::dtype;
use crate::proto::tensorflow::DataType;

/// What every file starts with; the version follows.
pub(crate) const MAGIC: &[u8] = b"\x93NUMPY";

/// The most bytes of a head: NumPy itself takes no more of a file that it does not trust, and needs a few hundred.
const MOST: usize = 10_000;

/// What a head says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    pub(crate) is_big_endian: bool,
    /// Whether the first dimension runs fastest.
    pub(crate) is_fortran: bool,
    pub(crate) dimensions: Vec<usize>,
    /// Where the elements start.
    pub(crate) start: usize,
}

/// The type of the elements.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Numbers(DataType),
    /// So many bytes each, filled up with zeros.
    Bytes(usize),
    /// So many characters of four bytes each, filled up with zeros.
    Text(usize),
}

impl Kind {
    /// How many bytes an element has.
    pub(crate) fn width(self) -> usize {
        match self {
            Self::Numbers(dtype) => dtype::width(dtype).unwrap_or_default(),
            Self::Bytes(width) => width,
            Self::Text(length) => length.saturating_mul(4),
        }
    }
}

impl Header {
    /// Reads the head that a file starts with.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(crate) fn parse(bytes: &[u8], most_dimensions: usize) -> Result<Self, String> {
        let rest = bytes.strip_prefix(MAGIC).ok_or("it is no file in NumPy's format")?;
        let (length, before) = match *rest {
            [1, 0, a, b, ..] => (usize::from(u16::from_le_bytes([a, b])), 4),
            [2 | 3, 0, a, b, c, d, ..] => {
                (usize::try_from(u32::from_le_bytes([a, b, c, d])).unwrap_or(usize::MAX), 6)
            }
            [1..=3, 0, ..] | [] | [_] => return Err("it ends within its head".to_owned()),
            [major, minor, ..] => return Err(format!("version {major}.{minor} of the format is not known")),
        };
        if length > MOST {
            return Err(format!("its head has {length} bytes, more than {MOST}"));
        }
        let start = MAGIC.len() + before + length;
        let text = bytes.get(MAGIC.len() + before..start).ok_or("it ends within its head")?;
        let mut parser = Parser { text, at: 0 };
        let header = parser.dictionary(most_dimensions)?;
        Ok(Self { start, ..header })
    }

    /// How many elements there are; none if that is beyond all memory.
    pub(crate) fn count(&self) -> Option<usize> {
        // An empty dimension makes any others possible.
        if self.dimensions.contains(&0) {
            return Some(0);
        }
        self.dimensions.iter().try_fold(1_usize, |count, size| count.checked_mul(*size))
    }
}

/// A type such as `<f4`.
fn kind(descr: &str) -> Result<(Kind, bool), String> {
    let unknown = || format!("elements of type {:?} are not supported", shortened(descr));
    let is_big_endian = match descr.as_bytes().first() {
        Some(b'>') => true,
        Some(b'<' | b'|' | b'=') => false,
        _ => return Err(unknown()),
    };
    let name = descr.get(1..).unwrap_or_default();
    let (letter, digits) = name.split_at_checked(1).ok_or_else(unknown)?;
    if letter == "O" {
        return Err("arrays of Python objects are not read: they are pickles, which run code".to_owned());
    }
    if digits.is_empty() || digits.len() > 9 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(unknown());
    }
    let width = digits.parse().map_err(|_| unknown())?;
    let kind = match (letter, width) {
        ("S" | "a" | "U", 0) => return Err("its strings have no bytes".to_owned()),
        ("S" | "a", width) => Kind::Bytes(width),
        ("U", width) => Kind::Text(width),
        ("b", 1) => Kind::Numbers(DataType::DtBool),
        ("i", 1) => Kind::Numbers(DataType::DtInt8),
        ("i", 2) => Kind::Numbers(DataType::DtInt16),
        ("i", 4) => Kind::Numbers(DataType::DtInt32),
        ("i", 8) => Kind::Numbers(DataType::DtInt64),
        ("u", 1) => Kind::Numbers(DataType::DtUint8),
        ("u", 2) => Kind::Numbers(DataType::DtUint16),
        ("u", 4) => Kind::Numbers(DataType::DtUint32),
        ("u", 8) => Kind::Numbers(DataType::DtUint64),
        ("f", 2) => Kind::Numbers(DataType::DtHalf),
        ("f", 4) => Kind::Numbers(DataType::DtFloat),
        ("f", 8) => Kind::Numbers(DataType::DtDouble),
        ("c", 8) => Kind::Numbers(DataType::DtComplex64),
        ("c", 16) => Kind::Numbers(DataType::DtComplex128),
        // NumPy has no such type: libraries that add it are written as two bytes of anything.
        ("V", 2) => Kind::Numbers(DataType::DtBfloat16),
        _ => return Err(unknown()),
    };
    Ok((kind, is_big_endian))
}

fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}

/// The literal as it is read.
struct Parser<'a> {
    text: &'a [u8],
    at: usize,
}

impl Parser<'_> {
    fn peek(&mut self) -> u8 {
        while self.text.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
        self.text.get(self.at).copied().unwrap_or_default()
    }

    fn take(&mut self, byte: u8) -> bool {
        let is_there = self.peek() == byte;
        self.at += usize::from(is_there);
        is_there
    }

    fn expect(&mut self, byte: u8) -> Result<(), String> {
        if self.take(byte) {
            return Ok(());
        }
        Err(format!("its head has no {:?} at byte {}", char::from(byte), self.at))
    }

    fn dictionary(&mut self, most_dimensions: usize) -> Result<Header, String> {
        let (mut descr, mut is_fortran, mut dimensions) = (None, None, None);
        self.expect(b'{')?;
        while !self.take(b'}') {
            let key = self.string()?;
            self.expect(b':')?;
            match key.as_str() {
                "descr" if descr.is_none() => {
                    if matches!(self.peek(), b'[' | b'(') {
                        return Err("arrays with fields are not supported".to_owned());
                    }
                    descr = Some(kind(&self.string()?)?);
                }
                "fortran_order" if is_fortran.is_none() => is_fortran = Some(self.boolean()?),
                "shape" if dimensions.is_none() => dimensions = Some(self.shape(most_dimensions)?),
                _ => return Err(format!("its head has {:?} where it should not", shortened(&key))),
            }
            if !self.take(b',') {
                self.expect(b'}')?;
                break;
            }
        }
        if self.peek() != 0 || self.at < self.text.len() {
            return Err(format!("its head goes on behind its end at byte {}", self.at));
        }
        match (descr, is_fortran, dimensions) {
            (Some((kind, is_big_endian)), Some(is_fortran), Some(dimensions)) => {
                Ok(Header { kind, is_big_endian, is_fortran, dimensions, start: 0 })
            }
            _ => Err("its head lacks one of descr, fortran_order and shape".to_owned()),
        }
    }

    /// A string without escapes, which no head needs.
    fn string(&mut self) -> Result<String, String> {
        let quote = self.peek();
        if !matches!(quote, b'\'' | b'"') {
            return Err(format!("its head has no string at byte {}", self.at));
        }
        let rest = self.text.get(self.at + 1..).unwrap_or_default();
        let length = rest.iter().position(|byte| *byte == quote || *byte == b'\\');
        let length =
            length.filter(|length| rest[*length] == quote).ok_or("its head has a string without end")?;
        self.at += length + 2;
        Ok(String::from_utf8_lossy(&rest[..length]).into_owned())
    }

    fn boolean(&mut self) -> Result<bool, String> {
        self.peek();
        for (word, value) in [("True", true), ("False", false)] {
            if self.text.get(self.at..).unwrap_or_default().starts_with(word.as_bytes()) {
                self.at += word.len();
                return Ok(value);
            }
        }
        Err(format!("its head has no True or False at byte {}", self.at))
    }

    fn shape(&mut self, most: usize) -> Result<Vec<usize>, String> {
        let mut sizes = Vec::new();
        self.expect(b'(')?;
        while !self.take(b')') {
            if sizes.len() == most {
                return Err(format!("it has more than {most} dimensions"));
            }
            sizes.push(self.size()?);
            if !self.take(b',') {
                self.expect(b')')?;
                break;
            }
        }
        Ok(sizes)
    }

    fn size(&mut self) -> Result<usize, String> {
        self.peek();
        let rest = self.text.get(self.at..).unwrap_or_default();
        let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let digits = std::str::from_utf8(&rest[..length]).unwrap_or_default();
        let size = digits.parse::<usize>().ok().filter(|size| i64::try_from(*size).is_ok());
        let size = size.ok_or_else(|| format!("its head has no size at byte {}", self.at))?;
        self.at += length;
        // Python 2 wrote long integers so.
        if self.text.get(self.at) == Some(&b'L') {
            self.at += 1;
        }
        Ok(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(version: u8, text: &str) -> Vec<u8> {
        let length = u32::try_from(text.len()).unwrap().to_le_bytes();
        let length = if version == 1 { &length[..2] } else { &length[..] };
        [MAGIC, &[version, 0], length, text.as_bytes()].concat()
    }

    fn parse(text: &str) -> Result<Header, String> {
        Header::parse(&file(1, text), 8)
    }

    #[test]
    fn heads_are_read_however_they_are_spaced() {
        let expected = |kind, is_big_endian, is_fortran, dimensions: &[usize], start| Header {
            kind,
            is_big_endian,
            is_fortran,
            dimensions: dimensions.to_vec(),
            start,
        };
        let float = Kind::Numbers(DataType::DtFloat);
        let text = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }       \n";
        for (version, start) in [(1, 10), (2, 12), (3, 12)] {
            let header = Header::parse(&file(version, text), 8).unwrap();
            assert_eq!(header, expected(float, false, false, &[2, 3], start + text.len()));
        }
        let text = "{\"shape\":(7L,),\"fortran_order\":True,\"descr\":\">U5\"}";
        assert_eq!(parse(text).unwrap(), expected(Kind::Text(5), true, true, &[7], 10 + text.len()));
        let text = "{'shape': (), 'fortran_order': False, 'descr': '|S12'}";
        assert_eq!(parse(text).unwrap(), expected(Kind::Bytes(12), false, false, &[], 10 + text.len()));
    }

    #[test]
    fn what_is_wrong_with_a_head_is_told() {
        let check = |text: &str, expected: &str| {
            let error = parse(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        };
        let with_descr = |descr: &str| format!("{{'descr': {descr}, 'fortran_order': False, 'shape': (1,)}}");
        check(&with_descr("'|O'"), "Python objects");
        check(&with_descr("[('a', '<f4')]"), "fields");
        for descr in ["", "f", "<", "<f", "<f3", "<f16", "<M8[ns]", "<S4294967296", "é4", "<é", "|V3", "<f+4"]
        {
            check(&with_descr(&format!("'{descr}'")), "not supported");
        }
        check(&with_descr("'|S0'"), "no bytes");
        let with_shape =
            |shape: &str| format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}");
        check(&with_shape("(-1,)"), "no size");
        check(&with_shape("(99999999999999999999,)"), "no size");
        check(&with_shape("(1,1,1,1,1,1,1,1,1)"), "more than 8 dimensions");
        check(&with_shape("3"), "no '('");
        check(&with_shape("(1 2)"), "no ')'");
        check("{'descr': '<f4'}", "lacks");
        check("{'descr': '<f4', 'descr': '<f4'}", "where it should not");
        check("{'other': 1}", "where it should not");
        check("{'fortran_order': 1}", "no True or False");
        check("{'descr': '<f4", "without end");
        check("", "no '{'");
        check(&(with_shape("(1,)") + "x"), "behind its end");
        for (bytes, expected) in [
            (&b"PK\x03\x04"[..], "no file in NumPy's format"),
            (b"\x93NUMPY", "ends within"),
            (b"\x93NUMPY\x01\x00\x10", "ends within"),
            (b"\x93NUMPY\x02\x00\x00\x00\x00", "ends within"),
            (b"\x93NUMPY\x01\x00\x10\x00{", "ends within"),
            (b"\x93NUMPY\x02\x00\xff\xff\xff\xff{", "more than 10000"),
            (b"\x93NUMPY\x04\x00\x00\x00", "version 4.0"),
        ] {
            let error = Header::parse(bytes, 8).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        assert_eq!(parse(&with_shape("(4294967296, 4294967296, 2)")).unwrap().count(), None);
        assert_eq!(parse(&with_shape("(9223372036854775807, 4, 0)")).unwrap().count(), Some(0));
    }
}
