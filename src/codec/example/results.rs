//! The replies of classify and regress: `results`.

use crate::codec::writer::{self, NanStyle, Number};
use crate::error::{Error, Result};
use crate::proto::tensorflow::serving::{ClassificationResult, RegressionResult};

/// Writes a list of `[label, score]` pairs for each example.
///
/// # Errors
///
/// `INVALID_ARGUMENT` for an empty result, as in the original.
pub fn encode_classifications(result: &ClassificationResult, nan: NanStyle) -> Result<Vec<u8>> {
    encode(|out| write_classifications(result, out, nan))
}

/// Writes a number for each example.
///
/// # Errors
///
/// `INVALID_ARGUMENT` for an empty result, as in the original.
pub fn encode_regressions(result: &RegressionResult, nan: NanStyle) -> Result<Vec<u8>> {
    encode(|out| write_regressions(result, out, nan))
}

fn encode(write: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<Vec<u8>> {
    let mut out = b"{\"results\":".to_vec();
    write(&mut out)?;
    out.push(b'}');
    Ok(out)
}

/// Writes the bare list of classifications.
pub(super) fn write_classifications(
    result: &ClassificationResult,
    out: &mut Vec<u8>,
    nan: NanStyle,
) -> Result<()> {
    if result.classifications.is_empty() {
        return Err(Error::invalid_argument("Cannot convert empty ClassificationResults to JSON"));
    }
    write_list(&result.classifications, out, |classifications, out| {
        write_list(&classifications.classes, out, |class, out| {
            out.push(b'[');
            writer::write_string(class.label.as_bytes(), out);
            out.push(b',');
            class.score.write(out, nan)?;
            out.push(b']');
            Ok(())
        })
    })
}

/// Writes the bare list of regressions.
pub(super) fn write_regressions(result: &RegressionResult, out: &mut Vec<u8>, nan: NanStyle) -> Result<()> {
    if result.regressions.is_empty() {
        return Err(Error::invalid_argument("Cannot convert empty RegressionResults to JSON"));
    }
    write_list(&result.regressions, out, |regression, out| regression.value.write(out, nan))
}

/// Writes items as a JSON list.
pub(super) fn write_list<T>(
    items: &[T],
    out: &mut Vec<u8>,
    write: impl Fn(&T, &mut Vec<u8>) -> Result<()>,
) -> Result<()> {
    out.push(b'[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(item, out)?;
    }
    out.push(b']');
    Ok(())
}
