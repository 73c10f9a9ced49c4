//! What stands in for a model server: models, or the calls of a real server, and what is to go wrong.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::call::Call;
use super::faults::{Arrival, Faults, Injector};
use super::load::{self, Loaded, Options};
use super::models::Models;
use super::recording::Recording;
use super::recording::recorder::Recorder;
use crate::config::ListedModel;
use crate::error::{Error, Result};

/// TensorFlow Serving cuts longer texts, for they travel in a header.
const LONGEST_TEXT: usize = 1024;

/// A stand-in for a model server. It is a handle: clones share all but the form of replies.
#[derive(Debug, Clone, Default)]
pub struct Double {
    pub(super) models: Models,
    source: Source,
    faults: Arc<Injector>,
    rules: Arc<BTreeMap<String, Rules>>,
}

/// What applies to one model.
#[derive(Debug, Default)]
pub(super) struct Rules {
    pub(super) faults: Injector,
    /// Whether nothing but the recording answers.
    pub(super) is_replayed: bool,
}

/// Who answers before the models do.
#[derive(Debug, Clone, Default)]
enum Source {
    #[default]
    Models,
    Server(Arc<Recorder>),
    Recording(Arc<Recording>),
}

impl From<Models> for Double {
    fn from(models: Models) -> Self {
        Self { models, ..Self::default() }
    }
}

impl fmt::Display for Double {
    /// What is served, for people.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let models = self.models.read().len();
        match &self.source {
            Source::Models => write!(formatter, "{}", counted(models, "model")),
            Source::Server(recorder) => write!(formatter, "what {} answers", recorder.upstream()),
            Source::Recording(recording) => {
                let calls = counted(recording.len(), "recorded call");
                match models {
                    0 => write!(formatter, "{calls}"),
                    _ => write!(formatter, "{calls} and {}", counted(models, "model")),
                }
            }
        }
    }
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

impl Double {
    /// The models that are in a directory, or that a file declares.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` with the place and the reason if they cannot be used.
    pub fn load(path: &Path, options: &Options) -> Result<Self> {
        let Loaded { models, rules } = load::load(path, options)?;
        Ok(Self { models, rules: Arc::new(rules), ..Self::default() })
    }

    /// The same, with faults for the models that have none of their own.
    #[must_use]
    pub fn with_faults(mut self, faults: Faults, seed: u64) -> Self {
        self.faults = Arc::new(Injector::new(faults, seed));
        self
    }

    /// The same, but calls go to a real server at this address, and what comes of them into this file.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` if the address is none, or the file cannot be written.
    pub fn recording(mut self, upstream: &str, path: &Path) -> Result<Self> {
        self.source = Source::Server(Arc::new(Recorder::new(upstream, path)?));
        Ok(self)
    }

    /// The same, but calls that are in this file have the answers that they had.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` if the file cannot be read, with the line.
    pub fn replaying(mut self, path: &Path) -> Result<Self> {
        self.source = Source::Recording(Arc::new(Recording::read(path)?));
        Ok(self)
    }

    /// Refuses models that are to be replayed when there is no recording.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` with the name of such a model.
    pub fn check(&self) -> Result<()> {
        let mut rules = self.rules.iter();
        match rules.find(|(_, rules)| rules.is_replayed) {
            Some((name, _)) if !matches!(self.source, Source::Recording(_)) => Err(Error::invalid_argument(
                format!("Model {name:?} answers by replay, but there is no recording: add --replay FILE"),
            )),
            _ => Ok(()),
        }
    }

    /// Whether replies carry `tensor_content`; by default they carry the typed `*_val` fields.
    #[must_use]
    pub fn tensor_content(mut self, tensor_content: bool) -> Self {
        self.models = self.models.tensor_content(tensor_content);
        self
    }

    /// The models with their labels, for a bridge in front of them. Those of a server that is recorded are not known, and
    /// a bridge that asked for others would have calls recorded that nobody has made.
    #[must_use]
    pub fn listed(&self) -> Vec<ListedModel> {
        let mut listed = match &self.source {
            Source::Server(_) => return Vec::new(),
            Source::Models | Source::Recording(_) => self.models.listed(),
        };
        if let Source::Recording(recording) = &self.source {
            let models = self.models.read();
            let names = recording.models().iter().filter(|name| !models.contains_key(*name));
            listed.extend(names.map(ListedModel::new));
        }
        listed
    }

    /// Answers a call.
    pub(super) async fn answer<C: Call>(&self, request: Request<C>) -> Result<Response<C::Reply>, Status> {
        let rules = self.rules.get(request.get_ref().model());
        if C::RUNS {
            let faults = rules.map_or(self.faults.as_ref(), |rules| &rules.faults);
            faults.before_call(request.metadata(), Arrival::of(&request)).await?;
        }
        match &self.source {
            Source::Server(recorder) => return recorder.pass(request).await,
            Source::Recording(recording) => {
                let request = request.get_ref();
                if let Some(result) = recording.find(request) {
                    return result.map(Response::new);
                }
                let has_model = self.models.read().contains_key(request.model());
                if !has_model || rules.is_some_and(|rules| rules.is_replayed) {
                    return Err(recording.missing(request));
                }
            }
            Source::Models => {}
        }
        reply(request.get_ref().run(&self.models))
    }

    /// True if the models that are here answer.
    pub(super) fn has_models(&self) -> bool {
        !matches!(self.source, Source::Server(_))
    }
}

/// A result as it goes on the wire.
pub(super) fn reply<T>(result: Result<T>) -> Result<Response<T>, Status> {
    result.map(Response::new).map_err(|error: Error| Status::new(error.code(), cut(error.message())))
}

/// Cuts a text as the real server does, but never through a character.
fn cut(text: &str) -> String {
    if text.len() <= LONGEST_TEXT {
        return text.to_owned();
    }
    let end = (0..=LONGEST_TEXT).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    format!("{}...TRUNCATED", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn models_are_listed_that_answer() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("calls.jsonl");
        let line = |model: &str| {
            format!(
                r#"{{"method": "tensorflow.serving.ModelService/GetModelStatus", "request": {{"model_spec": {{"name": "{model}"}}}}, "reply": {{}}}}"#
            )
        };
        std::fs::write(&path, [line("seen"), line("echo"), line("")].join("\n")).unwrap();
        let names = |double: &Double| double.listed().into_iter().map(|model| model.name).collect::<Vec<_>>();
        let replaying = Double::default().replaying(&path).unwrap();
        assert_eq!(names(&replaying), ["echo", "seen"]);
        let both = Double::from(Models::builtin()).replaying(&path).unwrap();
        assert_eq!(names(&both), ["affine100", "echo", "half_plus_three", "half_plus_two", "seen"]);
        assert_eq!(both.listed()[1].labels, ["stable"]);
        let recording = Double::from(Models::builtin()).recording("localhost:1", &path).unwrap();
        assert_eq!(recording.listed(), []);
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let kept = "m".repeat(LONGEST_TEXT);
        assert_eq!(cut(&kept), kept);
        assert_eq!(cut(&format!("{kept}m")), format!("{kept}...TRUNCATED"));
        assert_eq!(cut(&format!("{}é!", &kept[1..])), format!("{}...TRUNCATED", &kept[1..]));
    }
}
