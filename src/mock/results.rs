//! What Classify and Regress make of the tensors of a run: labels with scores, or numbers, for each example.
//!
//! The checks and their texts are TensorFlow Serving's.

use super::tensor::{Tensor, Values, shape_text};
use crate::error::{Error, Result};
use crate::proto::tensorflow::DataType;
use crate::proto::tensorflow::serving::{
    Class, ClassificationResult, Classifications, Regression, RegressionResult,
};

/// Labels, scores or both for so many examples.
pub(super) fn classifications(
    classes: Option<&Tensor>,
    scores: Option<&Tensor>,
    count: usize,
) -> Result<ClassificationResult> {
    let labels =
        classes.map(|tensor| class_count(tensor, "classes", DataType::DtString, count)).transpose()?;
    let numbers = scores.map(|tensor| class_count(tensor, "scores", DataType::DtFloat, count)).transpose()?;
    if let (Some(labels), Some(numbers)) = (labels, numbers)
        && labels != numbers
    {
        return Err(Error::invalid_argument(format!(
            "Tensors class and score should match in dim_size(1). Got {labels} vs. {numbers}"
        )));
    }
    let width = labels.or(numbers).unwrap_or_default();
    let mut labels = classes.into_iter().flat_map(Tensor::strings);
    let mut scores = scores.into_iter().flat_map(Tensor::floats);
    let mut class = || Class {
        label: labels.next().map(|label| String::from_utf8_lossy(label).into_owned()).unwrap_or_default(),
        score: scores.next().unwrap_or_default(),
    };
    let classifications =
        (0..count).map(|_| Classifications { classes: (0..width).map(|_| class()).collect() }).collect();
    Ok(ClassificationResult { classifications })
}

/// How many classes an output of Classify has for each of its examples.
fn class_count(tensor: &Tensor, alias: &str, dtype: DataType, count: usize) -> Result<usize> {
    let &[batch, classes] = tensor.shape.as_slice() else {
        let shape = shape_text(&tensor.shape);
        let text = format!("Expected Tensor shape: [batch_size num_classes] but got {shape}");
        return Err(Error::invalid_argument(text));
    };
    if tensor.dtype != dtype {
        let (name, got) = (dtype.as_str_name(), i32::from(tensor.dtype));
        let text = format!("Expected {alias} Tensor of {name}. Got: {got}");
        return Err(Error::invalid_argument(text));
    }
    if usize::try_from(batch) != Ok(count) {
        let text = format!("Expected {alias} output batch size of {count}. Got: {batch}");
        return Err(Error::invalid_argument(text));
    }
    Ok(usize::try_from(classes).unwrap_or_default())
}

/// A number for each of so many examples.
pub(super) fn regressions(tensor: &Tensor, count: usize) -> Result<RegressionResult> {
    let (&[batch] | &[batch, 1]) = tensor.shape.as_slice() else {
        let shape = shape_text(&tensor.shape);
        return Err(Error::invalid_argument(format!(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got {shape}"
        )));
    };
    if usize::try_from(batch) != Ok(count) {
        let text = format!("Input batch size did not match output batch size: {count} vs. {batch}");
        return Err(Error::invalid_argument(text));
    }
    let (DataType::DtFloat, Values::Numbers(_)) = (tensor.dtype, &tensor.values) else {
        let got = i32::from(tensor.dtype);
        let text = format!("Expected output Tensor of DT_FLOAT.  Got: {got}");
        return Err(Error::invalid_argument(text));
    };
    Ok(RegressionResult { regressions: tensor.floats().map(|value| Regression { value }).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats(shape: &[i64]) -> Tensor {
        let count: i64 = shape.iter().product();
        Tensor::of_floats(shape.to_vec(), (0_u16..).take(usize::try_from(count).unwrap()).map(f32::from))
    }

    fn strings(shape: &[i64], strings: &[&'static str]) -> Tensor {
        let strings = strings.iter().copied().map(bytes::Bytes::from).collect();
        Tensor { shape: shape.to_vec(), ..Tensor::of_strings(strings) }
    }

    #[test]
    fn labels_and_scores_are_put_together() {
        let labels = strings(&[2, 2], &["a", "b", "a", "b"]);
        let both = classifications(Some(&labels), Some(&floats(&[2, 2])), 2).unwrap().classifications;
        let class = |label: &str, score| Class { label: label.to_owned(), score };
        assert_eq!(both[0].classes, [class("a", 0.0), class("b", 1.0)]);
        assert_eq!(both[1].classes, [class("a", 2.0), class("b", 3.0)]);
        let labels = classifications(Some(&labels), None, 2).unwrap().classifications;
        assert_eq!(labels[1].classes, [class("a", 0.0), class("b", 0.0)]);
    }

    #[test]
    fn tensors_that_are_no_results_are_refused() {
        let check = |classes: Option<&Tensor>, scores: Option<&Tensor>, expected: &str| {
            assert_eq!(classifications(classes, scores, 2).unwrap_err().message(), expected);
        };
        let scores = floats(&[2, 2]);
        check(None, Some(&floats(&[2])), "Expected Tensor shape: [batch_size num_classes] but got [2]");
        check(None, Some(&floats(&[3, 1])), "Expected scores output batch size of 2. Got: 3");
        check(Some(&scores), None, "Expected classes Tensor of DT_STRING. Got: 1");
        check(
            Some(&strings(&[2, 1], &["a", "b"])),
            Some(&scores),
            "Tensors class and score should match in dim_size(1). Got 1 vs. 2",
        );
        let check = |tensor: &Tensor, expected: Result<usize, &str>| {
            let result = regressions(tensor, 2).map(|result| result.regressions.len());
            assert_eq!(result.as_ref().map_err(Error::message), expected.as_ref().map_err(|text| *text));
        };
        check(&floats(&[2]), Ok(2));
        check(&floats(&[2, 1]), Ok(2));
        check(&floats(&[3]), Err("Input batch size did not match output batch size: 2 vs. 3"));
        check(&strings(&[2], &["a", "b"]), Err("Expected output Tensor of DT_FLOAT.  Got: 7"));
        check(
            &floats(&[2, 2]),
            Err("Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got [2,2]"),
        );
    }
}
