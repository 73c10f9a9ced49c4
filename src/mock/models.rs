//! The models by name, and which version of which model a request means.
//!
//! A lookup never waits and never computes anything: it hands out a shared program.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::model::Model;
use super::program::Program;
use crate::config::ListedModel;
use crate::error::{Error, Result};
use crate::proto::tensorflow::serving::ModelSpec;
use crate::proto::tensorflow::serving::model_spec::VersionChoice;
use crate::proto::tensorflow::serving::model_version_status::State;

/// The models that a server answers for.
///
/// This is a handle: clones share the models, so that a test may load and unload versions while
/// the server runs. The form of replies belongs to each handle.
#[derive(Debug, Clone, Default)]
pub struct Models {
    models: Arc<RwLock<BTreeMap<String, Model>>>,
    tensor_content: bool,
}

/// One version of a model, ready to run.
#[derive(Debug)]
pub(super) struct Servable {
    pub(super) version: i64,
    pub(super) program: Arc<Program>,
}

impl Models {
    /// `half_plus_two`, `half_plus_three`, `echo` and `affine100`.
    #[must_use]
    pub fn builtin() -> Self {
        let versioned = |model: Model| model.versions([123, 124]).label("stable", 123).label("canary", 124);
        Self::empty()
            .with(versioned(Model::half_plus("half_plus_two", 2.0)))
            .with(versioned(Model::half_plus("half_plus_three", 3.0)))
            .with(Model::echo("echo").label("stable", 1))
            .with(Model::affine100("affine100").label("stable", 1))
    }

    /// No models at all.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// Adds a model, or replaces the one of the same name, for every handle.
    #[must_use]
    pub fn with(self, model: Model) -> Self {
        self.write().insert(model.name.clone(), model);
        self
    }

    /// Whether replies carry `tensor_content`; by default they carry the typed `*_val` fields.
    #[must_use]
    pub fn tensor_content(mut self, tensor_content: bool) -> Self {
        self.tensor_content = tensor_content;
        self
    }

    /// Makes a version AVAILABLE.
    ///
    /// # Errors
    ///
    /// `NOT_FOUND` when there is no such model.
    pub fn load(&self, name: &str, version: i64) -> Result<()> {
        self.change(name, |model| model.versions.insert(version, State::Available))
    }

    /// Makes a version END: it is still listed, but no longer answers.
    ///
    /// # Errors
    ///
    /// `NOT_FOUND` when there is no such model.
    pub fn unload(&self, name: &str, version: i64) -> Result<()> {
        self.change(name, |model| model.versions.insert(version, State::End))
    }

    /// Moves a label, or makes a new one. The version need not be there.
    ///
    /// # Errors
    ///
    /// `NOT_FOUND` when there is no such model.
    pub fn set_label(&self, name: &str, label: &str, version: i64) -> Result<()> {
        self.change(name, |model| model.labels.insert(label.to_owned(), version))
    }

    /// Forgets a model as if it had never been there.
    pub fn remove(&self, name: &str) {
        self.write().remove(name);
    }

    /// The models with their labels, for a bridge in front of them.
    #[must_use]
    pub fn listed(&self) -> Vec<ListedModel> {
        let models = self.read();
        let listed = |model: &Model| ListedModel {
            name: model.name.clone(),
            labels: model.labels.keys().cloned().collect(),
        };
        models.values().map(listed).collect()
    }

    fn change<T>(&self, name: &str, change: impl FnOnce(&mut Model) -> T) -> Result<()> {
        let mut models = self.write();
        let model = models.get_mut(name).ok_or_else(|| no_versions(name))?;
        change(model);
        Ok(())
    }

    /// The version that a request means.
    pub(super) fn find(&self, spec: &ModelSpec) -> Result<Servable> {
        let name = &spec.name;
        if name.is_empty() {
            return Err(Error::invalid_argument("ModelSpec has no name specified."));
        }
        let models = self.read();
        let model = models.get(name);
        let asked = match &spec.version_choice {
            None => None,
            Some(VersionChoice::Version(version)) => Some(*version),
            // An unknown label is refused before anybody looks whether the model is there.
            Some(VersionChoice::VersionLabel(label)) => {
                let version = model.and_then(|model| model.labels.get(label)).copied();
                let text = || format!("Unrecognized servable version label: {label}");
                Some(version.ok_or_else(|| Error::invalid_argument(text()))?)
            }
        };
        let found = model.and_then(|model| match asked {
            None => Some((model, model.latest()?)),
            Some(version) => model.is_available(version).then_some((model, version)),
        });
        let Some((model, version)) = found else {
            let request = asked
                .map_or_else(|| format!("Latest({name})"), |version| format!("Specific({name}, {version})"));
            return Err(Error::not_found(format!("Servable not found for request: {request}")));
        };
        Ok(Servable { version, program: model.program(version) })
    }

    /// True if replies of this handle carry `tensor_content`.
    pub(super) fn replies_as_content(&self) -> bool {
        self.tensor_content
    }

    // A panic of another thread cannot leave the map half changed, so poison means nothing here.
    pub(super) fn read(&self) -> RwLockReadGuard<'_, BTreeMap<String, Model>> {
        self.models.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<String, Model>> {
        self.models.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The refusal of a model that is not there, in the words of the status call.
pub(super) fn no_versions(name: &str) -> Error {
    Error::not_found(format!("Could not find any versions of model {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(name: &str, version_choice: Option<VersionChoice>) -> ModelSpec {
        ModelSpec { name: name.to_owned(), version_choice, ..ModelSpec::default() }
    }

    fn label(label: &str) -> Option<VersionChoice> {
        Some(VersionChoice::VersionLabel(label.to_owned()))
    }

    fn check(models: &Models, spec: &ModelSpec, expected: Result<i64, &str>) {
        let found = models.find(spec).map(|servable| servable.version);
        assert_eq!(
            found.as_ref().map_err(Error::message),
            expected.as_ref().map_err(|text| *text),
            "{spec:?}"
        );
    }

    #[test]
    fn versions_are_found_as_requests_name_them() {
        let models = Models::builtin();
        let two = "half_plus_two";
        let number = |version| Some(VersionChoice::Version(version));
        for (name, choice, expected) in [
            (two, None, Ok(124)),
            (two, number(123), Ok(123)),
            (two, label("stable"), Ok(123)),
            (two, label("canary"), Ok(124)),
            ("", None, Err("ModelSpec has no name specified.")),
            ("m", None, Err("Servable not found for request: Latest(m)")),
            ("m", number(7), Err("Servable not found for request: Specific(m, 7)")),
            (two, number(0), Err("Servable not found for request: Specific(half_plus_two, 0)")),
            (two, label("s"), Err("Unrecognized servable version label: s")),
            ("m", label("stable"), Err("Unrecognized servable version label: stable")),
        ] {
            check(&models, &spec(name, choice), expected);
        }
    }

    #[test]
    fn versions_come_and_go_while_others_hold_the_handle() {
        let models = Models::empty().with(Model::half_plus("m", 1.0).versions([2, 10]).label("l", 10));
        let other = models.clone();
        check(&other, &spec("m", None), Ok(10));
        models.unload("m", 10).unwrap();
        check(&other, &spec("m", None), Ok(2));
        check(&other, &spec("m", label("l")), Err("Servable not found for request: Specific(m, 10)"));
        models.load("m", 30).unwrap();
        models.set_label("m", "l", 30).unwrap();
        check(&other, &spec("m", label("l")), Ok(30));
        assert_eq!(models.load("n", 1).unwrap_err().message(), "Could not find any versions of model n");
        models.remove("m");
        check(&other, &spec("m", None), Err("Servable not found for request: Latest(m)"));
    }
}
