//! The two paths that Amazon SageMaker asks a container for: `GET /ping` and `POST /invocations`.
//!
//! They are there only where the configuration says which model they are for. A header of the request may name another
//! one, as SageMaker's own TensorFlow container reads it:
//!
//! ```text
//! X-Amzn-SageMaker-Custom-Attributes: tfs-model-name=NAME,tfs-model-version=3,tfs-method=predict,tfs-signature-name=NAME
//! ```

use std::fmt;
use std::str::FromStr;

use http::Method;

use super::{Route, Target, Version};
use crate::error::{Error, Result};

/// The header with the attributes.
pub const ATTRIBUTES: &str = "x-amzn-sagemaker-custom-attributes";

/// The model that SageMaker's paths are for: `MODEL` or `MODEL:SIGNATURE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SageMaker {
    model: String,
    signature_name: Option<String>,
}

/// What a request to `/invocations` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// The model.
    pub target: Target,
    /// What is to be done with it.
    pub verb: Verb,
    /// The signature for predict, if the body names none.
    pub signature_name: Option<String>,
}

/// The verbs that the attribute `tfs-method` may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Run a signature on a body of any type.
    Predict,
    /// Run a signature on examples and get labels with scores.
    Classify,
    /// Run a signature on examples and get numbers.
    Regress,
}

impl SageMaker {
    /// The model that they are for where the request names no other.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.model
    }

    /// Finds out what is asked for; `None` if the path is none of SageMaker's.
    ///
    /// # Errors
    ///
    /// 405 with another method, `INVALID_ARGUMENT` for attributes that cannot be meant.
    pub fn route(&self, method: &Method, path: &str, attributes: Option<&str>) -> Result<Option<Route>> {
        let refuse =
            |allow| Err(Error::method_not_allowed(format!("{path} cannot be asked to {method}"), allow));
        match (path, method) {
            ("/ping", &Method::GET | &Method::HEAD) => Ok(Some(Route::Ping)),
            ("/ping", _) => refuse("GET, HEAD"),
            ("/invocations", &Method::POST) => self
                .invocation(attributes.unwrap_or_default())
                .map(|invocation| Some(Route::Invoke(invocation))),
            ("/invocations", _) => refuse("POST"),
            _ => Ok(None),
        }
    }

    fn invocation(&self, attributes: &str) -> Result<Invocation> {
        let mut invocation = Invocation {
            target: Target { name: self.model.clone(), version: Version::Latest },
            verb: Verb::Predict,
            signature_name: self.signature_name.clone(),
        };
        let refuse = |key: &str, value: &str| {
            Err(Error::invalid_argument(format!("The attribute {key} cannot be {value:?}")))
        };
        for (key, value) in attributes.split(',').filter_map(|pair| pair.trim().split_once('=')) {
            match key {
                "tfs-model-name" | "tfs-signature-name" if value.is_empty() => return refuse(key, value),
                "tfs-model-name" if value != invocation.target.name => {
                    value.clone_into(&mut invocation.target.name);
                    // The signature of the configuration is one of its own model.
                    invocation.signature_name = None;
                }
                "tfs-model-version" => match value.parse() {
                    Ok(number) if number >= 0 => invocation.target.version = Version::Number(number),
                    _ => return refuse(key, value),
                },
                "tfs-method" => match value {
                    "predict" => invocation.verb = Verb::Predict,
                    "classify" => invocation.verb = Verb::Classify,
                    "regress" => invocation.verb = Verb::Regress,
                    _ => return refuse(key, value),
                },
                _ => {}
            }
        }
        let named = |pair: &str| pair.trim().strip_prefix("tfs-signature-name=").map(str::to_owned);
        invocation.signature_name = attributes.split(',').find_map(named).or(invocation.signature_name);
        Ok(invocation)
    }
}

impl FromStr for SageMaker {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (model, signature_name) = match text.split_once(':') {
            Some((model, signature_name)) => (model, Some(signature_name)),
            None => (text, None),
        };
        if model.is_empty() || signature_name.is_some_and(str::is_empty) {
            return Err("the name of a model is expected, or MODEL:SIGNATURE".to_owned());
        }
        Ok(Self { model: model.to_owned(), signature_name: signature_name.map(str::to_owned) })
    }
}

impl fmt::Display for SageMaker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.model)?;
        self.signature_name.iter().try_for_each(|name| write!(formatter, ":{name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invocation(sagemaker: &str, attributes: &str) -> Result<Invocation> {
        let sagemaker: SageMaker = sagemaker.parse().unwrap();
        match sagemaker.route(&Method::POST, "/invocations", Some(attributes))? {
            Some(Route::Invoke(invocation)) => Ok(invocation),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn attributes_count_for_more_than_the_configuration() {
        let check = |attributes: &str, name: &str, version, verb, signature_name: Option<&str>| {
            let expected = Invocation {
                target: Target { name: name.to_owned(), version },
                verb,
                signature_name: signature_name.map(str::to_owned),
            };
            assert_eq!(invocation("m:s", attributes).unwrap(), expected, "{attributes}");
        };
        check("", "m", Version::Latest, Verb::Predict, Some("s"));
        check("trace=1, tfs-method=classify", "m", Version::Latest, Verb::Classify, Some("s"));
        check("tfs-model-name=m,tfs-model-version=3", "m", Version::Number(3), Verb::Predict, Some("s"));
        check("tfs-model-name=n,tfs-method=regress", "n", Version::Latest, Verb::Regress, None);
        check("tfs-signature-name=t, tfs-model-name=n", "n", Version::Latest, Verb::Predict, Some("t"));
        for bad in [
            "tfs-method=delete",
            "tfs-model-version=-1",
            "tfs-model-version=x",
            "tfs-model-name=",
            "tfs-signature-name=",
        ] {
            assert!(invocation("m", bad).unwrap_err().message().starts_with("The attribute tfs-"), "{bad}");
        }
    }

    #[test]
    fn the_paths_are_two() {
        let sagemaker: SageMaker = "m".parse().unwrap();
        let route = |method, path| sagemaker.route(&method, path, None);
        assert_eq!(route(Method::GET, "/ping").unwrap(), Some(Route::Ping));
        assert_eq!(route(Method::POST, "/v1/models/m:predict").unwrap(), None);
        assert_eq!(route(Method::POST, "/ping").unwrap_err().status(), 405);
        assert_eq!(route(Method::GET, "/invocations").unwrap_err().allow(), Some("POST"));
        for bad in ["", ":s", "m:"] {
            assert!(bad.parse::<SageMaker>().is_err(), "{bad}");
        }
        assert_eq!("m:s".parse::<SageMaker>().unwrap().to_string(), "m:s");
    }
}
