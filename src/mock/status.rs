//! The calls of ModelService: which versions there are, and new labels for them.
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
