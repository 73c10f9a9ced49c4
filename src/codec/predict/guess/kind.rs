//! What the values of an input have in common.

use crate::codec::fault::Fault;
use crate::codec::number;
use crate::codec::reader::Reader;
use crate::proto::tensorflow::DataType;

/// The kind of the elements that an input has so far.
///
/// The first element decides between numbers, booleans and strings: an element of another kind
/// has no place among them, which is for the decoder to say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Kind {
    /// No element yet, or only `null`s.
    #[default]
    Unknown,
    /// Numbers without point and exponent.
    Integer,
    /// Numbers of which some are no integers.
    Float,
    Bool,
    String,
}

impl Kind {
    /// The dtype that takes all elements of the kind.
    pub(super) fn dtype(self) -> DataType {
        match self {
            Self::Integer => DataType::DtInt64,
            Self::Unknown | Self::Float => DataType::DtFloat,
            Self::Bool => DataType::DtBool,
            Self::String => DataType::DtString,
        }
    }

    /// Adds the elements of the value at the reader's position, however deep its lists nest.
    pub(super) fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), Fault> {
        let mut depth = 0_usize;
        loop {
            if reader.peek() == b'[' {
                if reader.open_array()? {
                    depth += 1;
                    continue;
                }
            } else {
                let element = Self::of_element(reader)?;
                self.add(element);
            }
            // A value has ended: so may the lists around it.
            loop {
                if depth == 0 {
                    return Ok(());
                }
                if reader.next_element()? {
                    break;
                }
                depth -= 1;
            }
        }
    }

    /// Reads past one element.
    fn of_element(reader: &mut Reader<'_>) -> Result<Self, Fault> {
        let kind = match reader.byte() {
            // An object can only be meant for a string, in base64.
            b'"' | b'{' => Self::String,
            b't' | b'f' => Self::Bool,
            b'n' => Self::Unknown,
            _ => {
                let token = number::scan(reader.bytes, reader.at)?;
                reader.at = token.end;
                return Ok(if token.is_integer { Self::Integer } else { Self::Float });
            }
        };
        reader.skip_value()?;
        Ok(kind)
    }

    fn add(&mut self, element: Self) {
        match (*self, element) {
            (Self::Unknown, _) | (Self::Integer, Self::Float) => *self = element,
            _ => {}
        }
    }
}
