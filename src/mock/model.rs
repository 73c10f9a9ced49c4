//! One model: what it computes, in which versions, under which labels.
//!
//! All versions of a model compute the same. A model never loads or unloads anything by itself;
//! a version that was unloaded stays listed as END, as in TensorFlow Serving.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::affine::Affine;
use super::echo::Echo;
use super::graph::{Graph, Signatures};
use super::half_plus::HalfPlus;
use crate::proto::tensorflow::serving::model_version_status::State;

/// A model of the mock, built with one of the constructors and refined from there.
///
/// It starts with the one version 1 and without labels.
#[derive(Debug, Clone)]
pub struct Model {
    pub(super) name: String,
    pub(super) program: Arc<Program>,
    pub(super) versions: BTreeMap<i64, State>,
    pub(super) labels: BTreeMap<String, i64>,
}

/// A graph with the signatures through which it is called, as a `SavedModel` holds them.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) graph: Box<dyn Graph>,
    pub(super) signatures: Signatures,
}

impl Model {
    /// TensorFlow Serving's own test model: half of `x` plus `addend`.
    #[must_use]
    pub fn half_plus(name: impl Into<String>, addend: f32) -> Self {
        Self::new(name, HalfPlus::new(addend))
    }

    /// A model that returns what it gets, with a signature for every dtype.
    #[must_use]
    pub fn echo(name: impl Into<String>) -> Self {
        Self::new(name, Echo)
    }

    /// One number out of a hundred, with the shape check of a matrix product.
    #[must_use]
    pub fn affine100(name: impl Into<String>) -> Self {
        Self::new(name, Affine)
    }

    fn new(name: impl Into<String>, graph: impl Graph + 'static) -> Self {
        let signatures = graph.signatures();
        let program = Arc::new(Program { graph: Box::new(graph), signatures });
        let versions = BTreeMap::from([(1, State::Available)]);
        Self { name: name.into(), program, versions, labels: BTreeMap::new() }
    }

    /// The same model with these versions and no others, all AVAILABLE.
    #[must_use]
    pub fn versions(mut self, versions: impl IntoIterator<Item = i64>) -> Self {
        self.versions = versions.into_iter().map(|version| (version, State::Available)).collect();
        self
    }

    /// The same model with one more label.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>, version: i64) -> Self {
        self.labels.insert(label.into(), version);
        self
    }

    /// True if requests for the version are answered.
    pub(super) fn is_available(&self, version: i64) -> bool {
        self.versions.get(&version) == Some(&State::Available)
    }

    /// The numerically largest version that answers.
    pub(super) fn latest(&self) -> Option<i64> {
        self.versions.keys().copied().rev().find(|&version| self.is_available(version))
    }
}
