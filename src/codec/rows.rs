//! The shape of a tensor whose rows come one by one, each with as many values.

use super::signature::Input;
use crate::error::{Error, Result};

/// The shape of so many rows: that of the signature, as far as the values allow it. Where that is open, values
/// that are a list have a dimension of their own.
///
/// # Errors
///
/// `INVALID_ARGUMENT` if they make no tensor that the signature takes.
pub(super) fn shape(input: &Input, rows: usize, width: usize, is_list: bool) -> Result<Vec<usize>> {
    let Some(shape) = &input.shape else {
        return Ok(if is_list { vec![rows, width] } else { vec![rows] });
    };
    let misfit = |what: String| {
        let sizes: Vec<_> = shape.iter().map(ToString::to_string).collect();
        let (name, shape) = (&input.name, sizes.join(","));
        Error::invalid_argument(format!("The input {name} has shape [{shape}], and {what}"))
    };
    let values = || misfit(format!("a row has {width} values for it"));
    let Some((_, inner)) = shape.split_first() else {
        return match (rows, width) {
            (1, 1) => Ok(Vec::new()),
            (1, _) => Err(values()),
            _ => Err(misfit(format!("there are {rows} rows"))),
        };
    };
    let known = inner.iter().filter_map(|size| usize::try_from(*size).ok());
    let known = known.fold(1, usize::saturating_mul);
    // The one size that is open is what the values make it; several would be anything.
    let open = match inner.iter().filter(|size| **size < 0).count() {
        0 if known == width => 0,
        1 if known > 0 && width.is_multiple_of(known) => width / known,
        _ => return Err(values()),
    };
    let sizes = inner.iter().map(|size| usize::try_from(*size).unwrap_or(open));
    Ok(std::iter::once(rows).chain(sizes).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::tensorflow::DataType;

    #[test]
    fn rows_have_the_shape_of_the_signature() {
        let check = |wanted: Option<&[i64]>, rows, width, is_list, expected: Option<&[usize]>| {
            let (name, shape) = ("x".to_owned(), wanted.map(<[i64]>::to_vec));
            let input = Input { name, dtype: DataType::DtFloat, shape };
            let found = super::shape(&input, rows, width, is_list).ok();
            assert_eq!(found.as_deref(), expected, "{wanted:?} {rows} {width}");
        };
        check(None, 3, 1, false, Some(&[3]));
        check(None, 3, 1, true, Some(&[3, 1]));
        check(Some(&[]), 1, 1, true, Some(&[]));
        check(Some(&[]), 2, 1, true, None);
        check(Some(&[]), 1, 2, true, None);
        check(Some(&[-1]), 3, 1, true, Some(&[3]));
        check(Some(&[-1]), 3, 2, true, None);
        check(Some(&[-1, 1]), 3, 1, false, Some(&[3, 1]));
        check(Some(&[-1, 2, 3]), 3, 6, true, Some(&[3, 2, 3]));
        check(Some(&[-1, 2, -1]), 3, 6, true, Some(&[3, 2, 3]));
        check(Some(&[-1, 4, -1]), 3, 6, true, None);
        check(Some(&[-1, -1, -1]), 3, 6, true, None);
        check(Some(&[-1, 0, -1]), 3, 6, true, None);
        check(Some(&[-1, i64::MAX, 9]), 3, 6, true, None);
    }
}
