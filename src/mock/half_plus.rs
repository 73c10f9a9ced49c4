//! `half_plus_two` and its like: the model of TensorFlow Serving's own tests.
//!
//! `y = x/2 + n`, `y2 = x/2 + n + 1` and `y3 = x2/2 + n + 1`, element by element for any shape,
//! whatever the signature declares. `x` is fed, or parsed out of `tf.Example`s; `x2` is only fed,
//! so Classify and Regress on its signatures are refused, as the original refuses them.

use super::graph::{Feeds, Graph, Signatures, not_fed};
use super::parse_example::parse_examples;
use super::signature::{CLASSIFY, DEFAULT, PREDICT, REGRESS, shaped, signature, unshaped};
use super::tensor::Tensor;
use crate::error::Result;
use crate::proto::tensorflow::DataType;

const EXAMPLES: &str = "tf_example:0";
const X: &str = "x:0";
const X2: &str = "x2:0";
const Y: &str = "y:0";
const Y2: &str = "y2:0";
const Y3: &str = "y3:0";

#[derive(Debug)]
pub(super) struct HalfPlus {
    addend: f32,
}

impl HalfPlus {
    pub(super) fn new(addend: f32) -> Self {
        Self { addend }
    }
}

impl Graph for HalfPlus {
    fn signatures(&self) -> Signatures {
        let float = |name| shaped(name, DataType::DtFloat, &[-1, 1]);
        let examples = || [("inputs", unshaped(EXAMPLES, DataType::DtString))];
        let x2 = || [("inputs", float(X2))];
        [
            (DEFAULT, signature(PREDICT, [("x", float(X))], [("y", float(Y))])),
            ("regress_x_to_y", signature(REGRESS, examples(), [("outputs", float(Y))])),
            ("regress_x_to_y2", signature(REGRESS, examples(), [("outputs", float(Y2))])),
            ("regress_x2_to_y3", signature(REGRESS, x2(), [("outputs", float(Y3))])),
            ("classify_x_to_y", signature(CLASSIFY, examples(), [("scores", float(Y))])),
            ("classify_x2_to_y3", signature(CLASSIFY, x2(), [("scores", float(Y3))])),
        ]
        .map(|(name, signature)| (name.to_owned(), signature))
        .into()
    }

    fn fetch(&self, feeds: &Feeds, name: &str) -> Result<Tensor> {
        let (source, addend) = match name {
            Y => (X, self.addend),
            Y2 => (X, self.addend + 1.0),
            _ => (X2, self.addend + 1.0),
        };
        let half_plus = |x: &Tensor| Tensor::of_floats(x.shape.clone(), x.floats().map(|x| x * 0.5 + addend));
        match (feeds.get(source), feeds.get(EXAMPLES)) {
            (Some(x), _) => Ok(half_plus(x)),
            (None, Some(examples)) if source == X => Ok(half_plus(&parse_examples(examples)?)),
            _ => Err(not_fed(source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::*;
    use crate::mock::graph::tensor_name;
    use crate::proto::tensorflow::TensorInfo;

    fn info(info: &TensorInfo) -> Value {
        let shape = info.tensor_shape.as_ref().unwrap();
        let dims = shape.dim.iter().map(|dim| json!({"size": dim.size.to_string(), "name": dim.name}));
        json!({
            "dtype": info.dtype().as_str_name(),
            "tensor_shape": {"dim": dims.collect::<Vec<_>>(), "unknown_rank": shape.unknown_rank},
            "name": tensor_name(info),
        })
    }

    #[test]
    fn signatures_are_those_of_the_original() {
        let fixtures = include_str!("../../tests/fixtures/vectors/fixtures.json");
        let fixtures: Value = serde_json::from_str(fixtures).unwrap();
        let signatures = HalfPlus::new(2.0).signatures().into_iter().map(|(name, signature)| {
            let infos = |(alias, tensor): (&String, &TensorInfo)| (alias.clone(), info(tensor));
            let signature = json!({
                "inputs": signature.inputs.iter().map(infos).collect::<Map<_, _>>(),
                "outputs": signature.outputs.iter().map(infos).collect::<Map<_, _>>(),
                "method_name": signature.method_name,
                "defaults": {},
            });
            (name, signature)
        });
        assert_eq!(Value::Object(signatures.collect()), fixtures["handler_test"]["signatures"]);
    }
}
