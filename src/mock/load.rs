//! What a path says of the models to serve: a directory of SavedModels, a configuration of TensorFlow Serving,
//! or a declaration in TOML.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use super::answer::{Answer, Kind};
use super::directory::{self, Found, complaint};
use super::double::Rules;
use super::faults::Faults;
use super::graph::Signatures;
use super::model::Model;
use super::models::Models;
use super::program::Program;
use super::{declaration, saved_model};
use crate::error::Result;

/// What applies to models that say nothing else.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Where the values of outputs come from.
    pub answer: Style,
    /// What random answers and faults start from.
    pub seed: u64,
    /// Whether inputs may have shapes that the signature does not declare.
    pub any_shape: bool,
    /// What goes wrong.
    pub faults: Faults,
}

/// A way to make answers up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Style {
    /// Outputs repeat inputs.
    Echo,
    /// Outputs are zeros, false and empty strings.
    Zeros,
    /// Outputs look random, and are the same for the same rows. It is the default, since with it a client
    /// that mixes up rows, outputs or models is found out, which zeros would hide.
    #[default]
    Random,
}

impl Style {
    pub(super) fn kind(self) -> Kind {
        match self {
            Self::Echo => Kind::Echo,
            Self::Zeros => Kind::Zeros,
            Self::Random => Kind::Random,
        }
    }
}

/// Models, and what applies to some of them.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) models: Models,
    pub(super) rules: BTreeMap<String, Rules>,
}

/// Loads the models that a path means.
pub(super) fn load(path: &Path, options: &Options) -> Result<Loaded> {
    if !path.exists() {
        return Err(complaint(path, "there is no such file or directory"));
    }
    let found = if path.is_dir() {
        directory::find(path)?
    } else if path.extension().is_some_and(|extension| extension == "toml") {
        return declaration::load(path, options);
    } else if path.file_name().is_some_and(|name| name == "saved_model.pb") {
        let above = path.canonicalize().ok().and_then(|path| path.parent().map(Path::to_owned));
        directory::find(&above.unwrap_or_default())?
    } else {
        directory::find_configured(path)?
    };
    let mut models = Models::empty();
    for Found { name, versions, labels } in found {
        let mut programs = BTreeMap::new();
        for (version, file) in versions {
            let kind = options.answer.kind();
            let answer = Answer::new(kind, options.seed, options.any_shape, &name, version);
            programs.insert(version, Program::of_answer(answer, signatures(&file)?));
        }
        models = models.with(labelled(Model::of_versions(&name, programs), labels));
    }
    Ok(Loaded { models, rules: BTreeMap::new() })
}

/// The signatures in the file of a SavedModel.
pub(super) fn signatures(path: &Path) -> Result<Signatures> {
    let file = File::open(path).map_err(|error| complaint(path, &format!("it cannot be read: {error}")))?;
    saved_model::read(file).map_err(|problem| complaint(path, &problem))
}

/// A model with all of its labels.
pub(super) fn labelled(model: Model, labels: BTreeMap<String, i64>) -> Model {
    labels.into_iter().fold(model, |model, (label, version)| model.label(label, version))
}
