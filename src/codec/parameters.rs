//! What the query of a predict request says: what a body of its type has no place for.
//!
//! ```text
//! POST /v1/models/m:predict?signature_name=serving_default&input=x&outputs=scores,labels&top_k=5
//! ```
//!
//! What is not listed here is ignored, as TensorFlow Serving ignores all of it.

use std::num::NonZeroUsize;

use percent_encoding::percent_decode_str;

use crate::error::{Error, Result};

/// The most pixels of a picture's height or width.
const MAX_SIDE: usize = 65_536;

/// The parameters that are known. Each is what it is if the query does not name it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Parameters {
    /// The signature to run; a body that names one comes first.
    pub signature_name: Option<String>,
    /// The input that a body without names is for.
    pub input: Option<String>,
    /// The outputs that are wanted, empty for all; a body that names some comes first.
    pub outputs: Vec<String>,
    /// How many of the best scores are wanted in place of all; a body that says how many comes first.
    pub top_k: Option<NonZeroUsize>,
    /// The height and the width that a picture gets.
    pub resize: Option<(usize, usize)>,
    /// What the pixels of a picture are multiplied by.
    pub scale: Option<f32>,
    /// What is added to them then.
    pub offset: Option<f32>,
}

impl Parameters {
    /// Reads a query; of each parameter the first one counts.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` for a known parameter whose value cannot be read.
    pub fn parse(query: &str) -> Result<Self> {
        let mut parameters = Self::default();
        for (key, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            // A key may be encoded as well; one that is no UTF-8 is none of ours.
            let key = percent_decode_str(key).decode_utf8().unwrap_or_default();
            match &*key {
                "signature_name" => set(&mut parameters.signature_name, text(&key, value)?),
                "input" => set(&mut parameters.input, text(&key, value)?),
                "outputs" if parameters.outputs.is_empty() => {
                    let names = text(&key, value)?;
                    let names = names.split(',').filter(|name| !name.is_empty());
                    parameters.outputs = names.map(str::to_owned).collect();
                }
                "resize" => set(&mut parameters.resize, size(&key, &text(&key, value)?)?),
                "scale" => set(&mut parameters.scale, fraction(&key, &text(&key, value)?)?),
                "offset" => set(&mut parameters.offset, fraction(&key, &text(&key, value)?)?),
                "top_k" => set(&mut parameters.top_k, count(&key, &text(&key, value)?)?),
                _ => {}
            }
        }
        Ok(parameters)
    }
}

fn set<T>(place: &mut Option<T>, value: T) {
    place.get_or_insert(value);
}

/// A number from 1.
fn count(key: &str, text: &str) -> Result<NonZeroUsize> {
    text.parse().map_err(|_| {
        Error::invalid_argument(format!("The parameter {key} must be a whole number from 1, not {text:?}"))
    })
}

/// A height and a width: `224x224`.
fn size(key: &str, text: &str) -> Result<(usize, usize)> {
    let side = |text: &str| text.parse().ok().filter(|side| (1..=MAX_SIDE).contains(side));
    let sides = text.split_once('x').and_then(|(height, width)| Some((side(height)?, side(width)?)));
    sides.ok_or_else(|| {
        Error::invalid_argument(format!(
            "The parameter {key} must be a height and a width such as 224x224, each up to {MAX_SIDE}, not {text:?}"
        ))
    })
}

/// A number, or one divided by another: `0.5`, `1/255`.
fn fraction(key: &str, text: &str) -> Result<f32> {
    let number = |text: &str| text.trim().parse::<f32>().ok();
    let value = match text.split_once('/') {
        Some((above, below)) => number(above).zip(number(below)).map(|(above, below)| above / below),
        None => number(text),
    };
    value.filter(|value| value.is_finite()).ok_or_else(|| {
        Error::invalid_argument(format!(
            "The parameter {key} must be a number such as 0.5 or 1/255, not {text:?}"
        ))
    })
}

/// The text that a value stands for: `%20` and `+` are spaces.
fn text(key: &str, value: &str) -> Result<String> {
    let value = value.replace('+', " ");
    match percent_decode_str(&value).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(Error::invalid_argument(format!("The parameter {key} is no UTF-8"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_parameters_are_read_and_others_ignored() {
        let parameters =
            Parameters::parse("pretty&signature_name=a%20b+c&input=x&input=y&outputs=a,,b&top_k=3&resize=20x30&scale=1/4&offset=-1.5&more=1")
                .unwrap();
        let expected = Parameters {
            signature_name: Some("a b c".to_owned()),
            input: Some("x".to_owned()),
            outputs: vec!["a".to_owned(), "b".to_owned()],
            top_k: NonZeroUsize::new(3),
            resize: Some((20, 30)),
            scale: Some(0.25),
            offset: Some(-1.5),
        };
        assert_eq!(parameters, expected);
        assert_eq!(Parameters::parse("").unwrap(), Parameters::default());
        let encoded = Parameters::parse("signature%5Fname=a%5fb&%FF=1&to%70_k=2").unwrap();
        assert_eq!((encoded.signature_name.as_deref(), encoded.top_k), (Some("a_b"), NonZeroUsize::new(2)));
        let error = Parameters::parse("input=%ff").unwrap_err();
        assert_eq!(error.message(), "The parameter input is no UTF-8");
        for query in ["top_k=0", "top_k=", "top_k=1.5", "top_k=-1"] {
            let error = Parameters::parse(query).unwrap_err();
            assert!(
                error.message().starts_with("The parameter top_k must be a whole number from 1"),
                "{error}"
            );
        }
    }
}
