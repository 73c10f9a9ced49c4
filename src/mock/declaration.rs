//! Models that are declared in TOML: their versions, their signatures and what they answer.
//!
//! `file` says what the keys are. Signatures may be those of a SavedModel on the disk. A mistake is told with
//! its line.

mod file;

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::Path;

use toml::Spanned;

use self::file::{AnswerName, File, ModelTable};
use super::answer::{Answer, Fixed, Kind, Misfit};
use super::directory::{self, complaint};
use super::double::Rules;
use super::faults::{Faults, Injector};
use super::graph::Signatures;
use super::load::{self, Loaded, Options};
use super::model::Model;
use super::program::Program;
use crate::error::{Error, Result};

/// Where in which file something is.
struct Place<'a> {
    path: &'a Path,
    text: &'a str,
}

/// Loads the models of a file.
pub(super) fn load(path: &Path, options: &Options) -> Result<Loaded> {
    let text =
        fs::read_to_string(path).map_err(|error| complaint(path, &format!("it cannot be read: {error}")))?;
    let place = Place { path, text: &text };
    let file: File = toml::from_str(&text).map_err(|error| match error.span() {
        Some(span) => place.complaint(&span, error.message()),
        None => complaint(path, error.message()),
    })?;
    let mut loaded = Loaded::default();
    for table in file.model {
        let name = table.name.get_ref();
        if name.is_empty() {
            return Err(place.complaint(&table.name.span(), "the name of a model is empty"));
        }
        if loaded.rules.contains_key(name) {
            return Err(place.complaint(&table.name.span(), &format!("model {name:?} is there twice")));
        }
        let (model, rules) = place.model(&table, options)?;
        loaded.rules.insert(name.clone(), rules);
        loaded.models = loaded.models.with(model);
    }
    if loaded.rules.is_empty() {
        return Err(complaint(path, "it declares no [[model]]"));
    }
    Ok(loaded)
}

impl Place<'_> {
    fn model(&self, table: &ModelTable, options: &Options) -> Result<(Model, Rules)> {
        let name = table.name.get_ref();
        let (versions, labels) = self.versions(table)?;
        let seed = table.seed.unwrap_or(options.seed);
        let any_shape = table.any_shape.unwrap_or(options.any_shape);
        let mut programs = BTreeMap::new();
        for (version, signatures) in versions {
            let answer = Answer::new(self.kind(table, &signatures, options)?, seed, any_shape, name, version);
            programs.insert(version, Program::of_answer(answer, signatures));
        }
        for (label, version) in &table.labels {
            if !programs.contains_key(version.get_ref()) {
                let text =
                    format!("the label {label:?} is for version {}, which is not there", version.get_ref());
                return Err(self.complaint(&version.span(), &text));
            }
        }
        let faults = Faults {
            delay: table.delay.map(|delay| delay.0).or(options.faults.delay),
            fail: table.fail.unwrap_or(options.faults.fail),
            fail_code: table.fail_code.map_or(options.faults.fail_code, |code| code.0),
        };
        let rules = Rules {
            faults: Injector::new(faults, seed),
            is_replayed: table.answer == Some(AnswerName::Replay),
        };
        Ok((load::labelled(Model::of_versions(name, programs), labels), rules))
    }

    /// The signatures of each version, and the labels.
    fn versions(&self, table: &ModelTable) -> Result<(BTreeMap<i64, Signatures>, BTreeMap<String, i64>)> {
        let labels =
            table.labels.iter().map(|(label, version)| (label.clone(), *version.get_ref())).collect();
        let wanted = table.versions.as_ref().map(Spanned::get_ref);
        if let Some(versions) = &table.versions
            && (versions.get_ref().is_empty() || versions.get_ref().iter().any(|version| *version < 0))
        {
            return Err(self.complaint(&versions.span(), "there is no version, or one is less than 0"));
        }
        let Some(path) = &table.saved_model else {
            if table.signatures.is_empty() && table.answer != Some(AnswerName::Replay) {
                let text = "the model has neither a [model.signatures.NAME] nor a saved-model";
                return Err(self.complaint(&table.name.span(), text));
            }
            let signatures: Signatures =
                table.signatures.iter().map(|(name, table)| (name.clone(), table.definition(name))).collect();
            let versions = wanted.map_or(&[1][..], Vec::as_slice);
            return Ok((versions.iter().map(|version| (*version, signatures.clone())).collect(), labels));
        };
        if !table.signatures.is_empty() {
            let text = "the model has both signatures of its own and a saved-model";
            return Err(self.complaint(&path.span(), text));
        }
        let base = self.path.parent().unwrap_or(Path::new("")).join(path.get_ref());
        let about = |error: &Error| self.complaint(&path.span(), error.message());
        let found = directory::model(&base).map_err(|error| about(&error))?.ok_or_else(|| {
            let text =
                format!("there is neither saved_model.pb nor VERSION/saved_model.pb in {}", base.display());
            self.complaint(&path.span(), &text)
        })?;
        let mut versions = BTreeMap::new();
        for (version, file) in &found.versions {
            versions.insert(*version, load::signatures(file).map_err(|error| about(&error))?);
        }
        if let Some(wanted) = wanted {
            if let (1, Some((_, signatures))) = (versions.len(), versions.first_key_value()) {
                // One export may stand for any version.
                versions = wanted.iter().map(|version| (*version, signatures.clone())).collect();
            } else {
                versions.retain(|version, _| wanted.contains(version));
            }
            let span = table.versions.as_ref().map(Spanned::span).unwrap_or_default();
            if let Some(missing) = wanted.iter().find(|version| !versions.contains_key(version)) {
                return Err(
                    self.complaint(&span, &format!("there is no version {missing} in {}", base.display()))
                );
            }
        }
        let labels = if table.labels.is_empty() && wanted.is_none() { found.labels } else { labels };
        Ok((versions, labels))
    }

    fn kind(&self, table: &ModelTable, signatures: &Signatures, options: &Options) -> Result<Kind> {
        let span = table.values.as_ref().map(Spanned::span);
        match (table.answer, span) {
            (None | Some(AnswerName::Fixed), Some(_)) => self.values(table, signatures).map(Kind::Fixed),
            (Some(AnswerName::Fixed), None) => {
                let text = "a fixed answer needs [model.values] with a value for each output";
                Err(self.complaint(&table.name.span(), text))
            }
            (Some(_), Some(span)) => Err(self.complaint(&span, "values go with answer = \"fixed\" only")),
            (Some(AnswerName::Echo), None) => Ok(Kind::Echo),
            (Some(AnswerName::Zeros), None) => Ok(Kind::Zeros),
            (Some(AnswerName::Random), None) => Ok(Kind::Random),
            (Some(AnswerName::Replay) | None, None) => Ok(options.answer.kind()),
        }
    }

    /// The values of the outputs of all signatures that have one of that name.
    fn values(
        &self,
        table: &ModelTable,
        signatures: &Signatures,
    ) -> Result<BTreeMap<(String, String), Fixed>> {
        let mut values = BTreeMap::new();
        for (alias, value) in table.values.iter().flat_map(Spanned::get_ref) {
            let json = file::to_json(value.get_ref()).map_err(|problem| {
                self.complaint(&value.span(), &format!("the value of {alias:?} {problem}"))
            })?;
            let mut is_known = false;
            for (name, signature) in signatures {
                let Some(info) = signature.outputs.get(alias) else { continue };
                is_known = true;
                let fixed = Fixed::read(alias, info, &json).map_err(|Misfit(problem)| {
                    self.complaint(&value.span(), &format!("the value of output {alias:?}: {problem}"))
                })?;
                values.insert((name.clone(), alias.clone()), fixed);
            }
            if !is_known {
                let text = format!("no signature has an output {alias:?}");
                return Err(self.complaint(&value.span(), &text));
            }
        }
        Ok(values)
    }

    fn complaint(&self, span: &Range<usize>, problem: &str) -> Error {
        let line = self.text.bytes().take(span.start).filter(|byte| *byte == b'\n').count() + 1;
        complaint(self.path, &format!("line {line}: {problem}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mock::predict::predict;
    use crate::proto::tensorflow::serving::{ModelSpec, PredictRequest, PredictResponse};
    use crate::proto::tensorflow::{DataType, TensorProto};

    const MODEL: &str = "[[model]]
name = \"m\"
versions = [1, 2]
labels = { stable = 1 }
[model.signatures.serving_default.inputs.x]
dtype = \"float\"
shape = [-1, 2]
[model.signatures.serving_default.outputs.y]
dtype = \"float32\"
shape = [-1, 3]
[model.signatures.serving_default.outputs.label]
dtype = \"DT_STRING\"
";

    fn read(text: &str) -> Result<Loaded> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("models.toml");
        fs::write(&path, text).unwrap();
        load(&path, &Options::default())
    }

    fn run(loaded: &Loaded, filter: &[&str]) -> PredictResponse {
        let x = TensorProto {
            dtype: DataType::DtFloat.into(),
            tensor_shape: Some(crate::mock::signature::shape_proto(&[2, 2])),
            float_val: vec![1.0, 2.0, 3.0, 4.0],
            ..TensorProto::default()
        };
        let request = PredictRequest {
            model_spec: Some(ModelSpec { name: "m".to_owned(), ..ModelSpec::default() }),
            inputs: [("x".to_owned(), x)].into(),
            output_filter: filter.iter().map(ToString::to_string).collect(),
            ..PredictRequest::default()
        };
        predict(&loaded.models, &request).unwrap()
    }

    #[test]
    fn declared_models_answer_as_they_are_declared() {
        let check = |more: &str, expected: &[f32]| {
            let loaded = read(&MODEL.replace("labels", &format!("{more}\nlabels"))).unwrap();
            assert_eq!(run(&loaded, &["y"]).outputs["y"].float_val, expected, "{more}");
        };
        check("answer = \"zeros\"", &[0.0; 6]);
        check("answer = \"echo\"", &[0.0; 6]);
        let loaded =
            read(&format!("{MODEL}[model.values]\ny = [0.5, 1, nan]\nlabel = [\"a\", \"\\\"\"]\n")).unwrap();
        let reply = run(&loaded, &[]);
        assert_eq!(reply.outputs["y"].float_val[..2], [0.5, 1.0]);
        assert!(reply.outputs["y"].float_val[5].is_nan());
        assert_eq!(reply.outputs["label"].string_val, ["a", "\""]);
        let (one, other) =
            (read(MODEL).unwrap(), read(&MODEL.replace("labels", "seed = 1\nlabels")).unwrap());
        let y = |loaded| run(loaded, &["y"]).outputs["y"].float_val.clone();
        assert_ne!(y(&one), y(&other));
        assert_eq!(y(&one), y(&read(MODEL).unwrap()));
    }

    #[test]
    fn mistakes_are_told_with_their_lines() {
        let check = |text: &str, expected: &str| {
            let error = read(text).unwrap_err();
            assert_eq!(error.code(), tonic::Code::InvalidArgument);
            assert!(error.message().contains(expected), "{error}");
        };
        check("", "missing field `model`");
        check("model = []", "it declares no [[model]]");
        check("[[model]]\nname = 1", "line 2: ");
        check("[[model]]\nname = \"m\"\nnme = 1", "line 3: unknown field `nme`");
        check(
            "[[model]]\nname = \"m\"",
            "line 2: the model has neither a [model.signatures.NAME] nor a saved-model",
        );
        check("[[model]]\nname = \"\"", "line 2: the name of a model is empty");
        let with = |line: &str| MODEL.replace("labels = { stable = 1 }", line);
        check(&with("labels = { stable = 3 }"), "line 4: the label \"stable\" is for version 3");
        check(&with("versions = [1]"), "duplicate key");
        check(&with("answer = \"guess\""), "line 4: unknown variant `guess`, expected one of");
        check(&with("answer = \"fixed\""), "line 2: a fixed answer needs [model.values]");
        check(&with("delay = \"soon\""), "line 4: ");
        check(&with("fail = 2"), "line 4: 2 is not between 0");
        check(&with("fail-code = \"FINE\""), "line 4: \"FINE\": it is no code of gRPC");
        check(&with("saved-model = \"nowhere\""), "line 4: the model has both");
        check(&MODEL.replace("\"float\"", "\"real\""), "line 6: \"real\": it is no dtype");
        check(&MODEL.replace("[-1, 2]", "[-2]"), "line 7: -2 is no size");
        check(&MODEL.replace("[1, 2]", "[]"), "line 3: there is no version");
        check(&format!("{MODEL}{MODEL}"), "line 14: model \"m\" is there twice");
        let values = |line: &str| format!("{MODEL}[model.values]\n{line}\n");
        check(&values("z = 1"), "line 14: no signature has an output \"z\"");
        check(&values("y = [1]"), "line 14: the value of output \"y\": has the shape [1], but");
        check(&values("label = 1"), "line 14: the value of output \"label\": ");
        check(&values("y = 1979-05-27"), "line 14: the value of \"y\" is a date");
        let echo = values("y = 1").replace("labels", "answer = \"echo\"\nlabels");
        check(&echo, "line 14: values go with answer = \"fixed\" only");
        check("[[model]]\nname = \"m\"\nsaved-model = \"nowhere\"", "line 3: ");
    }

    #[test]
    fn signatures_may_be_those_of_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let export = directory.path().join("m/5");
        fs::create_dir_all(&export).unwrap();
        let path = directory.path().join("models.toml");
        let text = "[[model]]\nname = \"n\"\nsaved-model = \"m\"\nversions = [7, 8]\n";
        fs::write(&path, text).unwrap();
        fs::write(export.join("saved_model.pb"), b"\xff").unwrap();
        let error = load(&path, &Options::default()).unwrap_err();
        assert!(error.message().contains("line 3: ") && error.message().contains("damaged"), "{error}");
        // A graph for serving without signatures.
        fs::write(export.join("saved_model.pb"), b"\x12\x09\x0a\x07\x22\x05serve").unwrap();
        let loaded = load(&path, &Options::default()).unwrap();
        let models = loaded.models.read();
        assert_eq!(models["n"].versions.keys().collect::<Vec<_>>(), [&7, &8]);
    }
}
