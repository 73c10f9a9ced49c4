//! The OpenAPI 3.1 document of the API, made from what models there are.
//!
//! The schemas of bodies say what the signatures say: dtypes become ranges of numbers, shapes become nested lists.
//! Where JSON Schema has no words for a rule, such as that all rows have one length, it is left out.
//! Nothing here asks anybody for anything, and the same models make the same bytes.

mod components;
mod custom;
mod example;
mod examples;
mod inference;
mod names;
mod paths;
mod predict;
mod request;
mod schema;
mod server;
mod tensor;

use serde_json::Value;

use super::catalog::Catalog;
use super::writer::NanStyle;
pub use custom::CustomPath;

/// What the document must know beside the models.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// How replies write NaN and infinities.
    pub nan: NanStyle,
    /// Whether requests need tokens.
    pub has_tokens: bool,
    /// The model that SageMaker's paths are for, if they are there.
    pub sagemaker: Option<String>,
    /// The routes of one's own.
    pub custom: Vec<CustomPath>,
}

/// The document.
#[must_use]
pub fn document(catalog: &Catalog, options: &Options) -> Value {
    paths::document(catalog, options)
}

/// The document as JSON.
#[must_use]
pub fn to_json(catalog: &Catalog, options: &Options) -> Vec<u8> {
    // Names and numbers can always be written.
    serde_json::to_vec(&document(catalog, options)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
