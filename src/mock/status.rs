//! The calls of `ModelService`: which versions there are, and new labels for them.
//!
//! Of a new configuration only the labels are taken over. No model is loaded, unloaded or
//! forgotten by it: there are no files that it could name.

use super::models::{Models, no_versions};
use super::predict::missing_spec;
use crate::error::{Error, Result};
use crate::proto::tensorflow::serving::model_server_config::Config;
use crate::proto::tensorflow::serving::model_spec::VersionChoice;
use crate::proto::tensorflow::serving::{
    GetModelStatusRequest, GetModelStatusResponse, ModelVersionStatus, ReloadConfigRequest,
    ReloadConfigResponse, StatusProto,
};

/// Lists one version, or all with the newest first. A label is ignored, as in the real server.
pub(super) fn get(models: &Models, request: &GetModelStatusRequest) -> Result<GetModelStatusResponse> {
    let spec = request.model_spec.as_ref().ok_or_else(missing_spec)?;
    let name = &spec.name;
    let models = models.read();
    let versions = models.get(name).map(|model| &model.versions);
    let entries = versions.into_iter().flatten().rev().map(|(&version, &state)| ModelVersionStatus {
        version,
        state: state.into(),
        // Present although it holds nothing but OK.
        status: Some(StatusProto::default()),
    });
    let model_version_status: Vec<_> = match spec.version_choice {
        Some(VersionChoice::Version(wanted)) => entries.filter(|entry| entry.version == wanted).collect(),
        _ => entries.collect(),
    };
    if model_version_status.is_empty() {
        return Err(match spec.version_choice {
            Some(VersionChoice::Version(version)) => {
                Error::not_found(format!("Could not find version {version} of model {name}"))
            }
            _ => no_versions(name),
        });
    }
    Ok(GetModelStatusResponse { model_version_status })
}

/// Replaces the labels of the models that are named, all or none.
pub(super) fn reload(models: &Models, request: &ReloadConfigRequest) -> Result<ReloadConfigResponse> {
    let config = request.config.as_ref().and_then(|config| config.config.as_ref());
    let Some(Config::ModelConfigList(list)) = config else {
        return Err(Error::invalid_argument(
            "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList is \
             currently supported",
        ));
    };
    let mut models = models.write();
    for config in &list.config {
        let model = models.get(&config.name);
        let is_missing = |version: &&i64| !model.is_some_and(|model| model.is_available(**version));
        // The smallest, so that the text does not depend on the order of a hash map.
        if let Some(version) = config.version_labels.values().filter(is_missing).min() {
            return Err(Error::new(
                tonic::Code::FailedPrecondition,
                format!(
                    "Request to assign label to version {version} of model {}, which is not currently \
                     available for inference",
                    config.name
                ),
            ));
        }
    }
    for config in &list.config {
        if let Some(model) = models.get_mut(&config.name) {
            model.labels = config.version_labels.clone().into_iter().collect();
        }
    }
    Ok(ReloadConfigResponse { status: Some(StatusProto::default()), metric: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::tensorflow::serving::model_version_status::State;
    use crate::proto::tensorflow::serving::{ModelConfig, ModelConfigList, ModelServerConfig, ModelSpec};

    fn check(
        models: &Models,
        name: &str,
        choice: Option<VersionChoice>,
        expected: Result<&[(i64, State)], &str>,
    ) {
        let spec = ModelSpec { name: name.to_owned(), version_choice: choice, ..ModelSpec::default() };
        let reply = get(models, &GetModelStatusRequest { model_spec: Some(spec) });
        let listed = reply.map(|reply| {
            reply.model_version_status.iter().map(|entry| (entry.version, entry.state())).collect::<Vec<_>>()
        });
        assert_eq!(listed.as_deref().map_err(Error::message), expected);
    }

    #[test]
    fn versions_are_listed_newest_first() {
        let models = Models::builtin();
        let two = "half_plus_two";
        let both = [(124, State::Available), (123, State::Available)];
        let label = VersionChoice::VersionLabel("unknown".to_owned());
        check(&models, two, None, Ok(&both));
        check(&models, two, Some(label), Ok(&both));
        check(&models, two, Some(VersionChoice::Version(123)), Ok(&both[1..]));
        let missing = "Could not find version 125 of model half_plus_two";
        check(&models, two, Some(VersionChoice::Version(125)), Err(missing));
        check(&models, "m", None, Err("Could not find any versions of model m"));
        models.unload(two, 124).unwrap();
        check(&models, two, None, Ok(&[(124, State::End), (123, State::Available)]));
    }

    #[test]
    fn labels_move_to_versions_that_are_there() {
        let models = Models::builtin();
        let assign = |version| {
            let config = ModelConfig {
                name: "half_plus_two".to_owned(),
                version_labels: [("new".to_owned(), version)].into(),
                ..ModelConfig::default()
            };
            let list = Config::ModelConfigList(ModelConfigList { config: vec![config] });
            let config = Some(ModelServerConfig { config: Some(list) });
            reload(&models, &ReloadConfigRequest { config, ..ReloadConfigRequest::default() })
        };
        assert_eq!(
            assign(9).unwrap_err().to_string(),
            "FAILED_PRECONDITION: Request to assign label to version 9 of model half_plus_two, which is not \
             currently available for inference"
        );
        assign(123).unwrap();
        let version_choice = Some(VersionChoice::VersionLabel("new".to_owned()));
        let spec = ModelSpec { name: "half_plus_two".to_owned(), version_choice, ..ModelSpec::default() };
        assert_eq!(models.find(&spec).unwrap().version, 123);
        assert!(reload(&models, &ReloadConfigRequest::default()).is_err());
    }
}
