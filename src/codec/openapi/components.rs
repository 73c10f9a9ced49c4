//! What the document defines once and refers to from many places.

use serde_json::{Map, Value, json};

use super::names::Names;

/// The components of a document so far.
#[derive(Debug, Default)]
pub(super) struct Components {
    schemas: Map<String, Value>,
    bodies: Map<String, Value>,
    responses: Map<String, Value>,
    names: Names,
}

impl Components {
    /// A name for the components of a model, which no other has.
    pub(super) fn name(&mut self, wanted: &str) -> String {
        self.names.take(wanted)
    }

    /// Defines a schema of this name, unless it is defined already, and refers to it.
    pub(super) fn schema(&mut self, name: &str, make: impl FnOnce() -> Value) -> Value {
        if !self.schemas.contains_key(name) {
            self.schemas.insert(name.to_owned(), make());
        }
        reference("schemas", name)
    }

    /// Defines the body of requests and refers to it.
    pub(super) fn body(&mut self, name: &str, content: Value) -> Value {
        self.bodies.insert(name.to_owned(), members([("required", json!(true)), ("content", content)]));
        reference("requestBodies", name)
    }

    /// Defines a response with the version of a model in its head and refers to it.
    pub(super) fn response(&mut self, name: &str, description: &str, content: Value) -> Value {
        let headers = ["x-model-version", "x-request-id", "x-attempts"];
        self.responses.insert(name.to_owned(), response(description, content, &headers));
        reference("responses", name)
    }

    /// The object of all of them.
    pub(super) fn finish(mut self, has_tokens: bool) -> Value {
        let error = json!({
            "type": "object",
            "required": ["error"],
            "properties": {"error": {"type": "string", "description": "What is wrong, and where."}},
            "example": {"error": "Servable not found for request: Latest(none)"},
        });
        self.schemas.insert("Error".to_owned(), error);
        let content = json_content(reference("schemas", "Error"));
        let error = response("What went wrong.", content, &["x-request-id", "x-attempts"]);
        self.responses.insert("Error".to_owned(), error);
        let mut components = json!({
            "schemas": self.schemas,
            "requestBodies": self.bodies,
            "responses": self.responses,
            "headers": {
                "x-model-version": {
                    "description": "The version of the model that answered.",
                    "schema": {"type": "integer"},
                },
                "x-request-id": {
                    "description": "The id of the request: its own, or a new one.",
                    "schema": {"type": "string"},
                },
                "x-attempts": {
                    "description": "How many attempts at model servers it took.",
                    "schema": {"type": "integer", "minimum": 1},
                },
            },
        });
        if has_tokens {
            components["securitySchemes"] = json!({
                "bearer": {"type": "http", "scheme": "bearer", "description": "A token of `tfbridge token`."},
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same token."},
            });
        }
        components
    }
}

/// A reference to a component.
pub(super) fn reference(kind: &str, name: &str) -> Value {
    json!({"$ref": format!("#/components/{kind}/{name}")})
}

/// A body of JSON and nothing else.
pub(super) fn json_content(schema: Value) -> Value {
    members([("application/json", members([("schema", schema)]))])
}

/// A response with these headers.
pub(super) fn response(description: &str, content: Value, headers: &[&str]) -> Value {
    let headers: Map<_, _> =
        headers.iter().map(|name| ((*name).to_owned(), reference("headers", name))).collect();
    members([("description", json!(description)), ("headers", Value::Object(headers)), ("content", content)])
}

/// An object of these members.
pub(super) fn members<const COUNT: usize>(members: [(&str, Value); COUNT]) -> Value {
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
