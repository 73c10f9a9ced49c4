//! Routes of one's own: the shape of their bodies and replies.

use serde_json::{Map, Value, json};

use super::components::{Components, json_content};
use super::predict;
use super::request::{columns, entry, rows};
use super::schema::object;
use super::tensor::{Way, row, whole};
use crate::codec::catalog::{Catalog, Signature};
use crate::codec::custom::{Format, Mapping};
use crate::codec::media::MediaType;
use crate::codec::sample;
use crate::codec::signature::DEFAULT_SIGNATURE;
use crate::codec::writer::NanStyle;

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
    /// How bodies become inputs, and outputs replies.
    pub mapping: Mapping,
}

impl CustomPath {
    /// The request's content and the reply's. Of a model that is not there, nothing is known but that both may be
    /// JSON.
    pub(super) fn contents(
        &self,
        catalog: &Catalog,
        nan: NanStyle,
        components: &mut Components,
    ) -> (Value, Value) {
        let Some(signature) = self.signature(catalog) else {
            let (request, reply) = (
                under(self.mapping.input_key.as_ref(), json!({})),
                under(self.mapping.reply_key.as_ref(), json!({})),
            );
            return (json_content(request), json_content(reply));
        };
        let values = match self.mapping.format {
            // With nothing to send, whatever is sent will do.
            _ if signature.inputs.is_empty() => json!({}),
            Format::Columnar => columns(&signature, components),
            Format::Row => rows(&signature, components).unwrap_or_else(|| json!({})),
            Format::Single => entry(&signature, components),
        };
        let mut request = json_content(under(self.mapping.input_key.as_ref(), values));
        if let Some(value) = self.example(&signature) {
            let value = match &self.mapping.input_key {
                Some(key) => json!({key: value}),
                None => value,
            };
            request["application/json"]["example"] = value;
        }
        let reply = self.reply(&signature, nan, components);
        let mut reply = json_content(under(self.mapping.reply_key.as_ref(), reply));
        let named = [(self.signature_name(), &signature)];
        if let (Value::Object(request), Value::Object(reply)) = (&mut request, &mut reply) {
            // With nothing to send there is nothing to send as anything else.
            if !signature.inputs.is_empty() {
                predict::add_other_requests(request, &named);
                // Messages of the gRPC API name their model and inputs themselves.
                request.remove(MediaType::Protobuf.name());
            }
            predict::add_other_replies(reply, &named);
        }
        (request, reply)
    }

    /// The mark by which pages and programs know such a route.
    pub(super) fn mark(&self) -> Value {
        let mut mark = json!({
            "model": self.model,
            "signature_name": self.signature_name(),
        });
        if let Some(version) = self.version {
            mark["version"] = json!(version.to_string());
        } else if let Some(label) = &self.label {
            mark["label"] = json!(label);
        }
        mark
    }

    fn signature_name(&self) -> &str {
        if self.mapping.signature_name.is_empty() { DEFAULT_SIGNATURE } else { &self.mapping.signature_name }
    }

    /// The signature, without the inputs that are fixed and the outputs that are not asked for.
    fn signature(&self, catalog: &Catalog) -> Option<Signature> {
        let model = catalog.models.iter().find(|model| model.name == self.model)?;
        let name = self.signature_name();
        let mut signature = model.signatures.as_ref()?.get(name)?.clone();
        signature.inputs.retain(|name, _| !self.mapping.fixed.contains_key(name));
        let wanted = &self.mapping.outputs;
        signature.outputs.retain(|name, _| wanted.is_empty() || wanted.contains_key(name));
        Some(signature)
    }

    fn example(&self, signature: &Signature) -> Option<Value> {
        sample::elements(signature).filter(|elements| *elements <= super::example::MOST)?;
        match self.mapping.format {
            Format::Columnar => {
                let mut values = sample::columnar(signature)?;
                let values = values["inputs"].take();
                match values.as_object()?.values().next() {
                    Some(value) if signature.inputs.len() == 1 => Some(value.clone()),
                    _ => Some(values),
                }
            }
            Format::Row => Some(sample::row(signature)?["instances"].take()),
            Format::Single => Some(sample::row(signature)?["instances"][0].take()),
        }
    }

    fn reply(&self, signature: &Signature, nan: NanStyle, components: &mut Components) -> Value {
        let way = Way::Out(nan);
        let mut values: Map<_, _> = signature
            .outputs
            .iter()
            .map(|(name, tensor)| {
                let new = self.mapping.outputs.get(name).unwrap_or(name);
                // Either name may say that its strings are bytes.
                let telling = if new.ends_with("_bytes") { new } else { name };
                let value = match self.mapping.format {
                    Format::Columnar => whole(telling, tensor, way, components),
                    _ => row(telling, tensor, way, components),
                };
                (new.clone(), value)
            })
            .collect();
        let is_bare = self.mapping.is_bare(values.len());
        let only = values.keys().next().filter(|_| is_bare).cloned();
        let value = match only.and_then(|name| values.remove(&name)) {
            Some(value) => value,
            None => object(values),
        };
        if self.mapping.format == Format::Row { super::schema::list(&value, None, 0) } else { value }
    }
}

/// A schema under the member of an object, if there is to be one.
fn under(key: Option<&String>, schema: Value) -> Value {
    match key {
        Some(key) => object([(key.clone(), schema)].into_iter().collect()),
        None => schema,
    }
}
