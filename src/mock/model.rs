//! One model: what it computes, in which versions, under which labels.
//!
//! All versions of a built-in model compute the same. A model never loads or unloads anything by itself;
//! a version that was unloaded stays listed as END, as in TensorFlow Serving.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::affine::Affine;
use super::echo::Echo;
use super::graph::Graph;
use super::half_plus::HalfPlus;
use super::program::Program;
use crate::proto::tensorflow::serving::model_version_status::State;

/// A model of the mock, built with one of the constructors and refined from there.
///
/// It starts with the one version 1 and without labels.
#[derive(Debug, Clone)]
pub struct Model {
    pub(super) name: String,
    /// What versions do that have no program of their own.
    program: Arc<Program>,
    own: BTreeMap<i64, Arc<Program>>,
    pub(super) versions: BTreeMap<i64, State>,
    pub(super) labels: BTreeMap<String, i64>,
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
        let program = Arc::new(Program::of_graph(graph));
        let versions = BTreeMap::from([(1, State::Available)]);
        Self { name: name.into(), program, own: BTreeMap::new(), versions, labels: BTreeMap::new() }
    }

    /// A model whose versions differ, all of them AVAILABLE. A version that is loaded later does what the
    /// latest of these does.
    pub(super) fn of_versions(name: &str, own: BTreeMap<i64, Program>) -> Self {
        let own: BTreeMap<i64, Arc<Program>> =
            own.into_iter().map(|(version, program)| (version, Arc::new(program))).collect();
        let program = own.values().last().map(Arc::clone).unwrap_or_default();
        let versions = own.keys().map(|&version| (version, State::Available)).collect();
        Self { name: name.to_owned(), program, own, versions, labels: BTreeMap::new() }
    }

    /// What a version does.
    pub(super) fn program(&self, version: i64) -> Arc<Program> {
        Arc::clone(self.own.get(&version).unwrap_or(&self.program))
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
