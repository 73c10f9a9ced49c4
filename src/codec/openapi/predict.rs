//! Predict: its bodies of all types, its replies of all types, and what its query may say.

use serde_json::{Map, Value, json};

use super::components::Components;
use super::example;
use super::request::{self, Named};
use super::schema::{any_of, list, object};
use super::tensor::{Way, any_value, best, has_rows, row, whole};
use crate::codec::catalog::{Signature, Tensor};
use crate::codec::media::MediaType;
use crate::codec::sample::is_float;
use crate::codec::writer::NanStyle;
use crate::proto::tensorflow::DataType;

/// The types of body that a request may have for one of these signatures, the JSON first.
pub(super) fn content(name: &str, signatures: &[Named<'_>], components: &mut Components) -> Value {
    let mut content = Map::new();
    let json = json!({
        "schema": request::body(name, signatures, components),
        "examples": example::bodies(signatures),
    });
    content.insert(MediaType::Json.name().to_owned(), json);
    add_other_requests(&mut content, signatures);
    Value::Object(content)
}

/// Adds the types of body beside JSON that a request may have for one of these signatures.
pub(super) fn add_other_requests(content: &mut Map<String, Value>, signatures: &[Named<'_>]) {
    let any = |is_fit: fn(&Signature) -> bool| signatures.iter().any(|(_, signature)| is_fit(signature));
    let has_one = |signature: &Signature| signature.inputs.len() == 1;
    let takes_bytes = |signature: &Signature| {
        signature.inputs.len() == 1
            && signature.inputs.values().all(|input| is_string(input) || is_picture(input))
    };
    let types = [
        (
            MediaType::Lines,
            any(request::has_batch),
            "A value or an object of values per line, as an entry of `instances`.",
        ),
        (
            MediaType::Csv,
            any(request::has_batch),
            "A table whose columns are the inputs, a line for each row.",
        ),
        (MediaType::Npy, any(has_one), "An array of NumPy for the only input."),
        (MediaType::Npz, true, "An archive of arrays with the names of the inputs."),
        (MediaType::Protobuf, true, "A serialized `tensorflow.serving.PredictRequest`."),
        (MediaType::Arrow, any(request::has_batch), "A stream of Apache Arrow whose columns are the inputs."),
        (
            MediaType::Octets,
            any(takes_bytes),
            "The one string of the only input, or a picture for its pixels.",
        ),
        (MediaType::Image, any(takes_bytes), "A picture: the one string of the only input, or its pixels."),
    ];
    for (media_type, is_fit, description) in types {
        if !is_fit {
            continue;
        }
        let mut value = json!({"schema": text_or_bytes(media_type, description)});
        if media_type == MediaType::Lines
            && let Some(lines) = example::lines(signatures)
        {
            value["example"] = lines;
        }
        content.insert(media_type.name().to_owned(), value);
    }
    let parts: Map<_, _> = signatures
        .iter()
        .flat_map(|(_, signature)| signature.inputs.keys())
        .map(|name| (name.clone(), json!({"description": "A value of this input, or an array of NumPy."})))
        .collect();
    let form = json!({"type": "object", "description": "A part for each input.", "properties": parts});
    content.insert(MediaType::Multipart.name().to_owned(), json!({"schema": form}));
}

/// The types of body that a reply may have.
pub(super) fn reply(
    name: &str,
    signatures: &[Named<'_>],
    nan: NanStyle,
    components: &mut Components,
) -> Value {
    let mut forms = Vec::new();
    for (signature_name, signature) in signatures {
        let name = format!("{name}{}", super::names::pascal(signature_name));
        if request::has_batch(signature) {
            let rows = list(&row_value(signature, nan, components), None, 0);
            let name = components.name(&format!("{name}Predictions"));
            forms.push(
                components.schema(&name, || object([("predictions".to_owned(), rows)].into_iter().collect())),
            );
        }
        let columns = values(signature, false, nan, components);
        let name = components.name(&format!("{name}Outputs"));
        forms.push(
            components.schema(&name, || object([("outputs".to_owned(), columns)].into_iter().collect())),
        );
    }
    let mut content = Map::new();
    content.insert(MediaType::Json.name().to_owned(), json!({"schema": any_of(forms)}));
    add_other_replies(&mut content, signatures);
    Value::Object(content)
}

/// Adds the types of body beside JSON that a reply may have.
pub(super) fn add_other_replies(content: &mut Map<String, Value>, signatures: &[Named<'_>]) {
    let any = |is_fit: fn(&Signature) -> bool| signatures.iter().any(|(_, signature)| is_fit(signature));
    let types = [
        (MediaType::Lines, any(request::has_batch), "A prediction per line."),
        (MediaType::Csv, any(is_table), "A table whose columns are the outputs, a line for each row."),
        (
            MediaType::Npy,
            any(|signature| !signature.outputs.is_empty()),
            "The only output, or that of `?outputs=NAME`, as an array of NumPy.",
        ),
        (MediaType::Npz, true, "All outputs as an archive of arrays."),
        (MediaType::Protobuf, true, "A serialized `tensorflow.serving.PredictResponse`."),
        (
            MediaType::Arrow,
            any(|signature| signature.outputs.values().all(has_rows)),
            "A stream of Apache Arrow whose columns are the outputs.",
        ),
    ];
    for (media_type, is_fit, description) in types {
        if is_fit {
            content.insert(
                media_type.name().to_owned(),
                json!({"schema": text_or_bytes(media_type, description)}),
            );
        }
    }
}

/// A body that is text or bytes to all who read the document.
fn text_or_bytes(media_type: MediaType, description: &str) -> Value {
    match media_type {
        MediaType::Csv | MediaType::Lines => json!({"type": "string", "description": description}),
        _ => json!({"type": "string", "format": "binary", "description": description}),
    }
}

/// What the reply has for a row.
pub(super) fn row_value(signature: &Signature, nan: NanStyle, components: &mut Components) -> Value {
    values(signature, true, nan, components)
}

/// The values of all outputs, of the ones that a filter leaves, and of the best scores.
pub(super) fn values(
    signature: &Signature,
    is_row: bool,
    nan: NanStyle,
    components: &mut Components,
) -> Value {
    let way = Way::Out(nan);
    let mut bare = Vec::new();
    let mut members = Map::new();
    let is_only = signature.outputs.len() == 1;
    for (name, tensor) in &signature.outputs {
        let value =
            if is_row { row(name, tensor, way, components) } else { whole(name, tensor, way, components) };
        if let Some([indices, scores]) = best(tensor, is_row, way, components) {
            let one = [("indices".to_owned(), indices.clone()), ("scores".to_owned(), scores.clone())];
            bare.push(object(one.into_iter().collect()));
            if !is_only {
                members.insert(format!("{name}_indices"), indices);
                members.insert(format!("{name}_scores"), scores);
            }
        }
        members.insert(name.clone(), value.clone());
        bare.push(value);
    }
    if is_only {
        // The value itself is what is mostly asked for.
        bare.reverse();
        return any_value(bare);
    }
    any_value(std::iter::once(json!({"type": "object", "properties": members})).chain(bare))
}

/// What the query may say of a predict request.
pub(super) fn parameters(signatures: &[Named<'_>]) -> Vec<Value> {
    let parameter = |name: &str, description: &str, schema: Value| json!({"name": name, "in": "query", "description": description, "schema": schema});
    let names: Vec<_> = signatures.iter().map(|(name, _)| name).collect();
    let inputs: std::collections::BTreeSet<_> =
        signatures.iter().flat_map(|(_, signature)| signature.inputs.keys()).collect();
    let count = json!({"type": "integer", "minimum": 1});
    let mut parameters = vec![
        parameter(
            "signature_name",
            "The signature to run, for bodies that name none.",
            json!({"type": "string", "enum": names}),
        ),
        parameter(
            "input",
            "The input that a body without names is for.",
            json!({"type": "string", "enum": inputs}),
        ),
        parameter(
            "outputs",
            "The outputs that are wanted, separated by commas, for bodies that do not say so.",
            json!({"type": "string"}),
        ),
    ];
    let tensors = || signatures.iter().flat_map(|(_, signature)| signature.outputs.values());
    if tensors().any(|tensor| is_float(tensor.dtype)) {
        parameters.push(parameter("top_k", "How many of the best scores are wanted in place of all.", count));
    }
    if signatures.iter().any(|(_, it)| it.inputs.len() == 1 && it.inputs.values().all(is_picture)) {
        let size = json!({"type": "string", "pattern": "^[0-9]+x[0-9]+$"});
        let number = json!({"type": "string"});
        parameters.push(parameter("resize", "The height and width of a picture, such as `224x224`.", size));
        parameters.push(parameter(
            "scale",
            "What its pixels are multiplied by, such as `1/255`.",
            number.clone(),
        ));
        parameters.push(parameter("offset", "What is added to them then.", number));
    }
    parameters
}

fn is_string(input: &Tensor) -> bool {
    input.dtype == DataType::DtString
}

/// Whether an input may be the pixels of a picture.
fn is_picture(input: &Tensor) -> bool {
    let is_number = is_float(input.dtype) || input.dtype == DataType::DtUint8;
    is_number
        && matches!(input.shape.as_deref(), Some([.., 1 | 3 | 4]) if matches!(input.shape.as_ref().map(Vec::len), Some(3 | 4)))
}

/// Whether the outputs make a table.
fn is_table(signature: &Signature) -> bool {
    let is_column =
        |output: &Tensor| output.shape.as_ref().is_none_or(|shape| (1..=2).contains(&shape.len()));
    signature.outputs.values().all(|output| is_column(output) && has_rows(output))
}
