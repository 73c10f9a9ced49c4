//! The replies that are the same for all models: their states, their signatures, and what the server says of itself.

use serde_json::{Value, json};

use super::components::{Components, json_content};

const STATES: [&str; 6] = ["UNKNOWN", "START", "LOADING", "AVAILABLE", "UNLOADING", "END"];

/// The states of a model's versions.
pub(super) fn status(components: &mut Components) -> Value {
    let schema = components.schema("ModelStatus", || {
        json!({
            "type": "object",
            "required": ["model_version_status"],
            "properties": {
                "model_version_status": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["version", "state", "status"],
                        "properties": {
                            "version": {"type": "string", "pattern": "^[0-9]+$"},
                            "state": {"type": "string", "enum": STATES},
                            "status": {
                                "type": "object",
                                "properties": {
                                    "error_code": {"type": "string"},
                                    "error_message": {"type": "string"},
                                },
                            },
                        },
                    },
                },
            },
        })
    });
    json_content(schema)
}

/// The signatures of a model, as the original has them.
pub(super) fn metadata(components: &mut Components) -> Value {
    let schema = components.schema("ModelMetadata", || {
        json!({
            "type": "object",
            "required": ["model_spec", "metadata"],
            "properties": {
                "model_spec": {
                    "type": "object",
                    "properties": {
                        "name": {"type": "string"},
                        "signature_name": {"type": "string"},
                        "version": {"type": "string"},
                    },
                },
                "metadata": {
                    "type": "object",
                    "required": ["signature_def"],
                    "properties": {
                        "signature_def": {
                            "type": "object",
                            "properties": {"signature_def": {"type": "object"}},
                        },
                    },
                },
            },
        })
    });
    json_content(schema)
}

/// All models.
pub(super) fn models(components: &mut Components) -> Value {
    let tensors = components.schema("Tensors", || {
        json!({
            "description": "Inputs or outputs by name.",
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "required": ["dtype", "shape"],
                "properties": {
                    "dtype": {"type": "string", "description": "Such as `DT_FLOAT`."},
                    "shape": {
                        "description": "Sizes, -1 where any will do; null if even the rank is open.",
                        "type": ["array", "null"],
                        "items": {"type": "integer", "minimum": -1},
                    },
                },
            },
        })
    });
    let schema = components.schema("Models", || {
        json!({
            "type": "object",
            "required": ["models"],
            "properties": {
                "models": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["name", "state", "versions", "signatures"],
                        "properties": {
                            "name": {"type": "string"},
                            "state": {"type": "string", "enum": STATES},
                            "version": {"type": "string", "description": "The one that the signatures are of."},
                            "versions": {
                                "type": "array",
                                "items": {
                                    "type": "object",
                                    "required": ["version", "state", "labels"],
                                    "properties": {
                                        "version": {"type": "string"},
                                        "state": {"type": "string", "enum": STATES},
                                        "labels": {"type": "array", "items": {"type": "string"}},
                                    },
                                },
                            },
                            "signatures": {
                                "type": ["object", "null"],
                                "additionalProperties": {
                                    "type": "object",
                                    "required": ["method_name", "inputs", "outputs"],
                                    "properties": {
                                        "method_name": {"type": "string"},
                                        "inputs": tensors,
                                        "outputs": tensors,
                                    },
                                },
                            },
                            "error": {"type": "string", "description": "Why something is missing."},
                        },
                    },
                },
            },
        })
    });
    json_content(schema)
}

/// What this server is, as the Open Inference Protocol asks it.
pub(super) fn about(components: &mut Components) -> Value {
    let schema = components.schema("Server", || {
        json!({
            "type": "object",
            "required": ["name", "version", "extensions"],
            "properties": {
                "name": {"type": "string"},
                "version": {"type": "string"},
                "extensions": {"type": "array", "items": {"type": "string"}},
            },
        })
    });
    json_content(schema)
}

/// An object of one boolean.
pub(super) fn flag(name: &str) -> Value {
    json_content(json!({
        "type": "object",
        "required": [name],
        "properties": {name: {"type": "boolean"}},
    }))
}
