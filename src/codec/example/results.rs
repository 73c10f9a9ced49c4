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
    if result.classifications.is_empty() {
        return Err(Error::invalid_argument("Cannot convert empty ClassificationResults to JSON"));
    }
    encode(&result.classifications, |classifications, out| {
        list(&classifications.classes, out, |class, out| {
            out.push(b'[');
            writer::write_string(class.label.as_bytes(), out);
            out.push(b',');
            class.score.write(out, nan)?;
            out.push(b']');
            Ok(())
        })
    })
}

/// Writes a number for each example.
///
/// # Errors
///
/// `INVALID_ARGUMENT` for an empty result, as in the original.
pub fn encode_regressions(result: &RegressionResult, nan: NanStyle) -> Result<Vec<u8>> {
    if result.regressions.is_empty() {
        return Err(Error::invalid_argument("Cannot convert empty RegressionResults to JSON"));
    }
    encode(&result.regressions, |regression, out| regression.value.write(out, nan))
}

fn encode<T>(results: &[T], write: impl Fn(&T, &mut Vec<u8>) -> Result<()>) -> Result<Vec<u8>> {
    let mut out = b"{\"results\":".to_vec();
    list(results, &mut out, write)?;
    out.push(b'}');
    Ok(out)
}

fn list<T>(items: &[T], out: &mut Vec<u8>, write: impl Fn(&T, &mut Vec<u8>) -> Result<()>) -> Result<()> {
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
