//! Routes of one's own: the shape of their bodies and replies.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::components::{Components, json_content};
use super::request::{columns, line, rows};
use super::schema::object;
use super::tensor::{Way, row, whole};
use crate::codec::catalog::{Catalog, Signature};
use crate::codec::sample;
use crate::codec::signature::DEFAULT_SIGNATURE;
use crate::codec::writer::NanStyle;

/// How the values of a route are laid out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CustomFormat {
    /// Whole tensors.
    #[default]
    Columnar,
    /// A list with an entry for each row.
    Row,
    /// One row alone.
    SingleRow,
}

/// A route of one's own.
#[derive(Debug, Clone, Default)]
pub struct CustomPath {
    /// Its path.
    pub path: String,
    /// The model that it is for.
    pub model: String,
    /// The version of it.
    pub version: Option<i64>,
    /// The label of the version.
    pub label: Option<String>,
    /// The signature; the default one without it.
    pub signature_name: Option<String>,
    /// The member of the body that has the values; the whole body without it.
    pub input_key: Option<String>,
    /// The member of the reply that has the values; the whole reply without it.
    pub reply_key: Option<String>,
    /// The inputs that clients do not send.
    pub fixed: Vec<String>,
    /// Names of outputs for clients; if there are any, others are left out.
    pub outputs: BTreeMap<String, String>,
    /// How the values are laid out.
    pub format: CustomFormat,
}

impl CustomPath {
    /// The request's content and the reply's. Of a model that is not there, nothing is known but that both are JSON.
    pub(super) fn contents(
        &self,
        catalog: &Catalog,
        nan: NanStyle,
        components: &mut Components,
    ) -> (Value, Value) {
        let Some(signature) = self.signature(catalog) else {
            let (request, reply) =
                (under(self.input_key.as_ref(), json!({})), under(self.reply_key.as_ref(), json!({})));
            return (json_content(request), json_content(reply));
        };
        let values = match self.format {
            CustomFormat::Columnar => columns(&signature, components),
            CustomFormat::Row => rows(&signature, components).unwrap_or_else(|| json!({})),
            CustomFormat::SingleRow => line(&signature, components),
        };
        let mut request = json_content(under(self.input_key.as_ref(), values));
        if let Some(value) = self.example(&signature) {
            let value = match &self.input_key {
                Some(key) => json!({key: value}),
                None => value,
            };
            request["application/json"]["example"] = value;
        }
        (request, json_content(under(self.reply_key.as_ref(), self.reply(&signature, nan, components))))
    }

    /// The mark by which pages and programs know such a route.
    pub(super) fn mark(&self) -> Value {
        let mut mark = json!({
            "model": self.model,
            "signature_name": self.signature_name.as_deref().unwrap_or(DEFAULT_SIGNATURE),
        });
        if let Some(version) = self.version {
            mark["version"] = json!(version.to_string());
        } else if let Some(label) = &self.label {
            mark["label"] = json!(label);
        }
        mark
    }

    /// The signature, without the inputs that are fixed.
    fn signature(&self, catalog: &Catalog) -> Option<Signature> {
        let model = catalog.models.iter().find(|model| model.name == self.model)?;
        let name = self.signature_name.as_deref().unwrap_or(DEFAULT_SIGNATURE);
        let mut signature = model.signatures.as_ref()?.get(name)?.clone();
        signature.inputs.retain(|name, _| !self.fixed.contains(name));
        Some(signature)
    }

    fn example(&self, signature: &Signature) -> Option<Value> {
        sample::elements(signature).filter(|elements| *elements <= super::example::MOST)?;
        match self.format {
            CustomFormat::Columnar => {
                let mut values = sample::columnar(signature)?;
                let values = values["inputs"].take();
                match values.as_object()?.values().next() {
                    Some(value) if signature.inputs.len() == 1 => Some(value.clone()),
                    _ => Some(values),
                }
            }
            CustomFormat::Row => Some(sample::row(signature)?["instances"].take()),
            CustomFormat::SingleRow => Some(sample::row(signature)?["instances"][0].take()),
        }
    }

    fn reply(&self, signature: &Signature, nan: NanStyle, components: &mut Components) -> Value {
        let way = Way::Out(nan);
        let is_named = |name: &str| self.outputs.is_empty() || self.outputs.contains_key(name);
        let mut values: Map<_, _> = signature
            .outputs
            .iter()
            .filter(|(name, _)| is_named(name))
            .map(|(name, tensor)| {
                let value = match self.format {
                    CustomFormat::Columnar => whole(name, tensor, way, components),
                    _ => row(name, tensor, way, components),
                };
                (self.outputs.get(name).unwrap_or(name).clone(), value)
            })
            .collect();
        let only = if values.len() == 1 { values.keys().next().cloned() } else { None };
        let value = match only.and_then(|name| values.remove(&name)) {
            Some(value) => value,
            None => object(values),
        };
        if self.format == CustomFormat::Row { super::schema::list(&value, None, 0) } else { value }
    }
}

/// A schema under the member of an object, if there is to be one.
fn under(key: Option<&String>, schema: Value) -> Value {
    match key {
        Some(key) => object([(key.clone(), schema)].into_iter().collect()),
        None => schema,
    }
}
