//! Our protos beside the descriptors of TensorFlow Serving's own Python package, and of a client of the Open
//! Inference Protocol.
//!
//! `tests/descriptors/dump.py` and `inference.py` write the fixtures from the packages; the first says what they hold.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorSet};
use serde_json::{Value, json};

/// Every message and enum of ours under its full name.
#[derive(Default)]
struct Declared {
    messages: BTreeMap<String, Value>,
    enums: BTreeMap<String, Value>,
    services: BTreeMap<String, Value>,
}

impl Declared {
    fn add_message(&mut self, scope: &str, message: &DescriptorProto) {
        let name = format!("{scope}.{}", message.name());
        for nested in &message.nested_type {
            self.add_message(&name, nested);
        }
        for nested in &message.enum_type {
            self.add_enum(&name, nested);
        }
        let fields: BTreeMap<&str, Value> = message
            .field
            .iter()
            .map(|field| {
                let kind = match field.r#type() {
                    Type::Message => "message".to_owned(),
                    Type::Enum => "enum".to_owned(),
                    scalar => scalar.as_str_name().trim_start_matches("TYPE_").to_ascii_lowercase(),
                };
                let label = if field.label() == Label::Repeated { "repeated" } else { "optional" };
                let type_name = field.type_name.as_deref().map(|name| name.trim_start_matches('.'));
                let oneof =
                    field.oneof_index.map(|index| message.oneof_decl[usize::try_from(index).unwrap()].name());
                (field.name(), json!([field.number(), label, kind, type_name, oneof]))
            })
            .collect();
        self.messages.insert(name, json!(fields));
    }

    fn add_enum(&mut self, scope: &str, declared: &EnumDescriptorProto) {
        let values: BTreeMap<&str, i32> =
            declared.value.iter().map(|value| (value.name(), value.number())).collect();
        self.enums.insert(format!("{scope}.{}", declared.name()), json!(values));
    }
}

fn declared() -> Declared {
    let files = FileDescriptorSet::decode(tfbridge::proto::DESCRIPTORS).unwrap();
    let mut declared = Declared::default();
    for file in files.file.iter().filter(|file| !file.package().starts_with("google.")) {
        for message in &file.message_type {
            declared.add_message(file.package(), message);
        }
        for value in &file.enum_type {
            declared.add_enum(file.package(), value);
        }
        for service in &file.service {
            let methods: BTreeMap<&str, Value> = service
                .method
                .iter()
                .map(|method| {
                    let name = |name: &str| name.trim_start_matches('.').to_owned();
                    let mut types = vec![name(method.input_type()), name(method.output_type())];
                    let streams = [
                        (method.client_streaming(), "client stream"),
                        (method.server_streaming(), "server stream"),
                    ];
                    types.extend(streams.iter().filter(|(is, _)| *is).map(|(_, text)| (*text).to_owned()));
                    (method.name(), json!(types))
                })
                .collect();
            declared.services.insert(format!("{}.{}", file.package(), service.name()), json!(methods));
        }
    }
    declared
}

fn fixture(name: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(format!("tests/fixtures/{name}")).unwrap()).unwrap()
}

#[test]
fn protos_equal_those_of_the_python_packages() {
    let mut upstream = fixture("descriptors.json");
    for (kind, declared) in fixture("inference_descriptors.json").as_object().unwrap() {
        if let Some(declared) = declared.as_object() {
            upstream[kind].as_object_mut().unwrap().extend(declared.clone());
        }
    }
    let trimmed = fs::read_to_string("tests/descriptors/trimmed.txt").unwrap();
    let trimmed: BTreeSet<&str> = trimmed
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(':'))
        .map(|(name, _)| name)
        .collect();
    let ours = declared();
    assert!(ours.messages.len() > 80 && ours.enums.len() > 5 && ours.services.len() == 3);
    for (name, fields) in &ours.messages {
        let expected =
            upstream["messages"][name].as_object().unwrap_or_else(|| panic!("{name} is not upstream"));
        // The sixth item, packedness, is compared by dump.py, which knows the defaults.
        let expected: BTreeMap<_, _> = expected
            .iter()
            .map(|(name, field)| (name.as_str(), json!(field.as_array().unwrap()[..5])))
            .collect();
        for (field, declared) in fields.as_object().unwrap() {
            assert_eq!(Some(declared), expected.get(field.as_str()), "{name}.{field}");
        }
        if !trimmed.contains(name.as_str()) {
            assert_eq!(fields.as_object().unwrap().len(), expected.len(), "{name} lacks fields");
        }
    }
    for (name, values) in &ours.enums {
        assert_eq!(values, &upstream["enums"][name], "{name}");
    }
    for (name, methods) in &ours.services {
        assert_eq!(methods, &upstream["services"][name], "{name}");
    }
}
