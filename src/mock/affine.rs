//! `affine100`: one number out of a hundred, `x · w + b` with `w[i] = (i - 50)/64` and `b = 1/2`,
//! the same function that `deploy/export_model.py` exports.
//!
//! The sum is taken in doubles and rounded once, so small whole inputs give the answer that one
//! works out by hand. The shape is checked the way a matrix product checks it.

use super::graph::{Feeds, Graph, Signatures, not_fed};
use super::signature::{DEFAULT, PREDICT, shaped, signature};
use super::tensor::{Tensor, shape_text};
use crate::error::{Error, Result};
use crate::proto::tensorflow::DataType;

const X: &str = "serving_default_x:0";
const PREDICTIONS: &str = "StatefulPartitionedCall:0";
const FEATURES: usize = 100;
const BIAS: f64 = 0.5;

#[derive(Debug)]
pub(super) struct Affine;

impl Graph for Affine {
    fn signatures(&self) -> Signatures {
        let x = shaped(X, DataType::DtFloat, &[-1, 100]);
        let predictions = shaped(PREDICTIONS, DataType::DtFloat, &[-1, 1]);
        let serve = signature(PREDICT, [("x", x)], [("predictions", predictions)]);
        Signatures::from([(DEFAULT.to_owned(), serve)])
    }

    fn fetch(&self, feeds: &Feeds, _name: &str) -> Result<Tensor> {
        let x = feeds.get(X).ok_or_else(|| not_fed(X))?;
        let &[rows, columns] = x.shape.as_slice() else {
            return Err(Error::invalid_argument("In[0] is not a matrix"));
        };
        if usize::try_from(columns) != Ok(FEATURES) {
            let shape = shape_text(&x.shape);
            let text = format!("Matrix size-incompatible: In[0]: {shape}, In[1]: [{FEATURES},1]");
            return Err(Error::invalid_argument(text));
        }
        let values: Vec<f32> = x.floats().collect();
        Ok(Tensor::of_floats(vec![rows, 1], values.chunks_exact(FEATURES).map(predict)))
    }
}

/// The prediction for one row.
#[expect(clippy::cast_possible_truncation, reason = "the one rounding of the sum")]
fn predict(row: &[f32]) -> f32 {
    let products = row.iter().zip(-50_i32..).map(|(&x, weight)| f64::from(x) * f64::from(weight) / 64.0);
    (products.sum::<f64>() + BIAS) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(shape: &[i64], value: f32, expected: Result<&[f32], &str>) {
        let count = usize::try_from(shape.iter().product::<i64>()).unwrap();
        let x = Tensor::of_floats(shape.to_vec(), std::iter::repeat_n(value, count));
        let result = Affine.fetch(&Feeds::from([(X.to_owned(), x)]), PREDICTIONS);
        let result = result.map(|tensor| tensor.floats().collect::<Vec<_>>());
        let result = result.as_ref().map(Vec::as_slice).map_err(Error::message);
        assert_eq!(result, expected, "{shape:?}");
    }

    #[test]
    fn rows_of_a_hundred_become_one_number() {
        check(&[1, 100], 0.0, Ok(&[0.5]));
        // The weights from -50 to 49 add up to -50.
        check(&[2, 100], 64.0, Ok(&[-49.5, -49.5]));
        check(&[0, 100], 1.0, Ok(&[]));
        check(&[100], 1.0, Err("In[0] is not a matrix"));
        check(&[1, 3], 1.0, Err("Matrix size-incompatible: In[0]: [1,3], In[1]: [100,1]"));
    }
}
