//! How the values of a column lie: the lists around them, and what is inside.

use arrow_ipc::{Field, Int, Precision, Type};
use serde::Deserialize;

use crate::codec::dtype;
use crate::proto::tensorflow::DataType;

/// What a column is made of.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    /// The lists around the values, the outermost first.
    pub(super) lists: Vec<List>,
    pub(super) leaf: Leaf,
}

/// The lists of one level.
#[derive(Debug, Clone)]
pub(super) enum List {
    /// All have so many values, in these dimensions.
    Fixed(usize, Vec<usize>),
    /// Where each ends says an array of numbers of four or eight bytes.
    Offsets { is_long: bool },
}

/// The values.
#[derive(Debug, Clone)]
pub(super) enum Leaf {
    /// Bools, eight in a byte.
    Bits,
    Numbers(DataType),
    /// Strings whose ends are numbers of four or eight bytes.
    Strings {
        is_long: bool,
    },
    /// Strings of so many bytes each.
    FixedStrings(usize),
    /// Strings of which only the short ones are there, and of the others the place.
    Views,
    /// The numbers that values, which are strings or numbers themselves, have in a dictionary.
    Coded {
        dictionary: i64,
        index: DataType,
        values: Box<Leaf>,
    },
}

impl Leaf {
    pub(super) fn dtype(&self) -> DataType {
        match self {
            Self::Bits => DataType::DtBool,
            Self::Numbers(dtype) => *dtype,
            Self::Coded { values, .. } => values.dtype(),
            _ => DataType::DtString,
        }
    }

    /// Whether several of its strings may be the same bytes of the body.
    pub(super) fn is_folded(&self) -> bool {
        matches!(self, Self::Views | Self::Coded { .. }) && self.dtype() == DataType::DtString
    }

    /// How many bits each has in the first of the buffers that are not about nulls.
    pub(super) fn bits(&self) -> usize {
        match self {
            Self::Bits => 1,
            Self::Numbers(dtype) | Self::Coded { index: dtype, .. } => {
                dtype::width(*dtype).unwrap_or_default() * 8
            }
            Self::Strings { is_long } => {
                if *is_long {
                    64
                } else {
                    32
                }
            }
            Self::FixedStrings(width) => width.saturating_mul(8),
            Self::Views => 128,
        }
    }
}

impl Layout {
    /// The layout of a field.
    ///
    /// # Errors
    ///
    /// What makes it no tensor.
    pub(super) fn of(field: Field<'_>, most_dimensions: usize) -> Result<Self, String> {
        let (mut field, mut lists, mut rank) = (field, Vec::new(), 1);
        // The tables lie no deeper in each other than the verifier lets them.
        let leaf = loop {
            let list = match field.type_type() {
                // What a dictionary holds lies elsewhere.
                Type::FixedSizeList if field.dictionary().is_none() => Some(fixed(field)?),
                Type::List if field.dictionary().is_none() => Some(List::Offsets { is_long: false }),
                Type::LargeList if field.dictionary().is_none() => Some(List::Offsets { is_long: true }),
                _ => None,
            };
            rank += match &list {
                Some(List::Fixed(_, dimensions)) => dimensions.len(),
                Some(List::Offsets { .. }) => 1,
                None => 0,
            };
            if rank > most_dimensions {
                return Err(format!("More than {most_dimensions} dimensions"));
            }
            let Some(list) = list else { break leaf(field)? };
            lists.push(list);
            let children = field.children().filter(|children| children.len() == 1);
            field = children.ok_or("the metadata of its lists is damaged")?.get(0);
        };
        Ok(Self { lists, leaf })
    }
}

fn leaf(field: Field<'_>) -> Result<Leaf, String> {
    let leaf = match field.type_type() {
        Type::Bool => Some(Leaf::Bits),
        Type::Int => field.type_as_int().and_then(integer).map(Leaf::Numbers),
        Type::FloatingPoint => field.type_as_floating_point().and_then(|it| match it.precision() {
            Precision::HALF => Some(Leaf::Numbers(DataType::DtHalf)),
            Precision::SINGLE => Some(Leaf::Numbers(DataType::DtFloat)),
            Precision::DOUBLE => Some(Leaf::Numbers(DataType::DtDouble)),
            _ => None,
        }),
        Type::Utf8 | Type::Binary => Some(Leaf::Strings { is_long: false }),
        Type::LargeUtf8 | Type::LargeBinary => Some(Leaf::Strings { is_long: true }),
        Type::Utf8View | Type::BinaryView => Some(Leaf::Views),
        // Strings of no bytes would be any number of strings.
        Type::FixedSizeBinary => field
            .type_as_fixed_size_binary()
            .and_then(|it| usize::try_from(it.byteWidth()).ok())
            .filter(|width| *width > 0)
            .map(Leaf::FixedStrings),
        _ => None,
    };
    let leaf = leaf.ok_or_else(|| refusal(field))?;
    let Some(dictionary) = field.dictionary() else { return Ok(leaf) };
    if matches!(leaf, Leaf::Bits) {
        return Err("a dictionary of bools makes no tensor: cast it to bools".to_owned());
    }
    // Where no type is named, it is this.
    let index = dictionary.indexType().map_or(Some(DataType::DtInt32), integer);
    let index = index.ok_or("the numbers of its dictionary are of no type that is known")?;
    Ok(Leaf::Coded { dictionary: dictionary.id(), index, values: Box::new(leaf) })
}

/// What to say of values that are in no tensor, and what makes them some that are.
fn refusal(field: Field<'_>) -> String {
    let advice = match field.type_type() {
        Type::Decimal | Type::Date | Type::Time | Type::Timestamp | Type::Duration | Type::Int => {
            ": cast them to int64 or to floats"
        }
        Type::ListView | Type::LargeListView => ": cast them to lists",
        Type::RunEndEncoded => ": decode them",
        Type::Struct_ => ": make each of their fields a column",
        _ => "",
    };
    let width = field.type_as_int().map(|int| format!(" of {} bits", int.bitWidth())).unwrap_or_default();
    format!("values of Arrow's type {}{width} make no tensor{advice}", name(field))
}

fn name(field: Field<'_>) -> &'static str {
    field.type_type().variant_name().unwrap_or("unknown").trim_end_matches('_')
}

fn integer(int: Int<'_>) -> Option<DataType> {
    Some(match (int.bitWidth(), int.is_signed()) {
        (8, true) => DataType::DtInt8,
        (16, true) => DataType::DtInt16,
        (32, true) => DataType::DtInt32,
        (64, true) => DataType::DtInt64,
        (8, false) => DataType::DtUint8,
        (16, false) => DataType::DtUint16,
        (32, false) => DataType::DtUint32,
        (64, false) => DataType::DtUint64,
        _ => return None,
    })
}

/// What a tensor of a fixed shape says of itself, in JSON.
#[derive(Deserialize)]
struct Tensor {
    shape: Vec<usize>,
    #[serde(default)]
    permutation: Option<Vec<usize>>,
}

/// Lists of a fixed length, which may be tensors.
fn fixed(field: Field<'_>) -> Result<List, String> {
    let size = field.type_as_fixed_size_list().and_then(|list| usize::try_from(list.listSize()).ok());
    let size = size.ok_or("its lists have no length")?;
    let metadata = |key: &str| {
        let pair = field.custom_metadata()?.iter().find(|pair| pair.key() == Some(key))?;
        pair.value()
    };
    if metadata("ARROW:extension:name") != Some("arrow.fixed_shape_tensor") {
        return Ok(List::Fixed(size, vec![size]));
    }
    let text = metadata("ARROW:extension:metadata").unwrap_or_default();
    let Tensor { shape, permutation } =
        serde_json::from_str(text).map_err(|error| format!("the metadata of its tensors: {error}"))?;
    if permutation.is_some_and(|order| !order.into_iter().eq(0..shape.len())) {
        return Err("its tensors have their dimensions in another order, which cannot be read".to_owned());
    }
    if shape.iter().try_fold(1_usize, |count, size| count.checked_mul(*size)) != Some(size) {
        return Err(format!("its tensors of shape {shape:?} have {size} values"));
    }
    Ok(List::Fixed(size, shape))
}
