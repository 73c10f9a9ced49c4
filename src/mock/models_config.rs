//! The configuration of TensorFlow Serving, `model_config_list { ... }` in protocol buffers' text form.

use std::collections::BTreeMap;

use prost_reflect::DynamicMessage;

use crate::codec::model;
use crate::proto::tensorflow::serving::ModelServerConfig;
use crate::proto::tensorflow::serving::file_system_storage_path_source_config::servable_version_policy::PolicyChoice;
use crate::proto::tensorflow::serving::model_server_config::Config;

/// A model that is to be served.
#[derive(Debug)]
pub(super) struct Configured {
    pub(super) name: String,
    pub(super) base_path: String,
    pub(super) policy: Policy,
    pub(super) labels: BTreeMap<String, i64>,
}

/// Which versions are to be served.
#[derive(Debug)]
pub(super) enum Policy {
    All,
    /// So many of the highest.
    Latest(usize),
    Specific(Vec<i64>),
}

/// Reads a configuration, or says what is wrong with it.
pub(super) fn parse(text: &str) -> Result<Vec<Configured>, String> {
    let descriptor = model::descriptor("tensorflow.serving.ModelServerConfig");
    let descriptor = descriptor.map_err(|error| error.message().to_owned())?;
    let message = DynamicMessage::parse_text_format(descriptor, text).map_err(|error| {
        format!(
            "it is neither TOML, by its name, nor a configuration as TensorFlow Serving reads it: {error}"
        )
    })?;
    let config: ModelServerConfig = message.transcode_to().map_err(|error| error.to_string())?;
    let list = match config.config {
        Some(Config::ModelConfigList(list)) if !list.config.is_empty() => list,
        _ => return Err("it lists no models; expected is model_config_list { config { ... } }".to_owned()),
    };
    list.config
        .into_iter()
        .map(|config| {
            if config.name.is_empty() || config.base_path.is_empty() {
                return Err("a model has no name or no base_path".to_owned());
            }
            let choice = config.model_version_policy.and_then(|policy| policy.policy_choice);
            let policy = match choice {
                Some(PolicyChoice::All(_)) => Policy::All,
                Some(PolicyChoice::Specific(specific)) => Policy::Specific(specific.versions),
                Some(PolicyChoice::Latest(latest)) => {
                    Policy::Latest(usize::try_from(latest.num_versions.max(1)).unwrap_or(usize::MAX))
                }
                None => Policy::Latest(1),
            };
            let labels = config.version_labels.into_iter().collect();
            Ok(Configured { name: config.name, base_path: config.base_path, policy, labels })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_configuration_is_refused_with_the_place() {
        for (text, expected) in [
            ("", "it lists no models"),
            ("model_config_list {}", "it lists no models"),
            ("model_config_list { config { name: \"m\" } }", "no base_path"),
            ("model_config_list { config { nme: \"m\" } }", "nme"),
            ("[[model]]\nname = \"m\"", "as TensorFlow Serving reads it"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        let text = "# A comment.\nmodel_config_list: { config: [{ name: 'm', base_path: \"/m\" }] }";
        let config = &parse(text).unwrap()[0];
        assert_eq!((config.name.as_str(), config.base_path.as_str()), ("m", "/m"));
    }
}
