//! Where SavedModels are: in the directory of one model or of several, or where a configuration of TensorFlow
//! Serving says.
//!
//! A version is a directory with a number for a name and a `saved_model.pb` in it. Labels of versions are
//! in a `labels.json` beside them, such as `{"stable": 1}`.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::models_config::{self, Policy};
use crate::error::{Error, Result};

/// A model in files.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) name: String,
    /// The files of the versions.
    pub(super) versions: BTreeMap<i64, PathBuf>,
    pub(super) labels: BTreeMap<String, i64>,
}

/// A directory of models with more entries than this is none.
const MOST_ENTRIES: usize = 100_000;

/// Finds the models in a directory: one if its versions are there, or else those in its directories.
pub(super) fn find(path: &Path) -> Result<Vec<Found>> {
    if let Some(model) = model(path)? {
        return Ok(vec![model]);
    }
    let mut models = Vec::new();
    for (_, path) in directories(path)? {
        models.extend(model(&path)?);
    }
    if models.is_empty() {
        return Err(complaint(
            path,
            "there is no SavedModel in it; expected is VERSION/saved_model.pb for one model, or \
             NAME/VERSION/saved_model.pb for several, with a number for VERSION",
        ));
    }
    Ok(models)
}

/// Finds the models that a configuration of TensorFlow Serving lists.
pub(super) fn find_configured(path: &Path) -> Result<Vec<Found>> {
    let text =
        fs::read_to_string(path).map_err(|error| complaint(path, &format!("it cannot be read: {error}")))?;
    let configured = models_config::parse(&text).map_err(|problem| complaint(path, &problem))?;
    let beside = path.parent().unwrap_or(Path::new(""));
    let mut models: Vec<Found> = Vec::new();
    for config in configured {
        let about = |problem: String| complaint(path, &format!("model {:?}: {problem}", config.name));
        let base = resolve(beside, &config.base_path);
        let Some(mut model) = model(&base)? else {
            let text =
                format!("there is no VERSION/saved_model.pb with a number for VERSION in {}", base.display());
            return Err(about(text));
        };
        model.name.clone_from(&config.name);
        model.labels = config.labels;
        choose(&mut model.versions, &config.policy).map_err(about)?;
        check_labels(&model).map_err(about)?;
        if models.iter().any(|earlier| earlier.name == model.name) {
            return Err(about("it is there twice".to_owned()));
        }
        models.push(model);
    }
    Ok(models)
}

/// A base path is where it says, or beside the configuration if it is one of another machine, such as the
/// `/models/NAME` of a container.
fn resolve(beside: &Path, base_path: &str) -> PathBuf {
    let path = beside.join(base_path);
    match path.file_name() {
        Some(name) if !path.exists() => beside.join(name),
        _ => path,
    }
}

/// Keeps the versions that a server would load.
fn choose(versions: &mut BTreeMap<i64, PathBuf>, policy: &Policy) -> Result<(), String> {
    match policy {
        Policy::All => {}
        Policy::Latest(count) => {
            while versions.len() > *count {
                versions.pop_first();
            }
        }
        Policy::Specific(wanted) => {
            if let Some(missing) = wanted.iter().find(|version| !versions.contains_key(version)) {
                return Err(format!("there is no version {missing}"));
            }
            versions.retain(|version, _| wanted.contains(version));
        }
    }
    Ok(())
}

/// The model whose versions are in a directory, or which is the directory.
pub(super) fn model(path: &Path) -> Result<Option<Found>> {
    let path =
        &fs::canonicalize(path).map_err(|error| complaint(path, &format!("it cannot be read: {error}")))?;
    let file = saved_model(path)?;
    let name = |path: &Path| path.file_name().and_then(OsStr::to_str).unwrap_or("model").to_owned();
    if let Some(file) = file {
        // One version was named, or an export that has none yet.
        let (name, version) = match (version(path), path.parent()) {
            (Some(version), Some(parent)) => (name(parent), version),
            _ => (name(path), 1),
        };
        return Ok(Some(Found {
            name,
            versions: BTreeMap::from([(version, file)]),
            labels: BTreeMap::new(),
        }));
    }
    let mut versions = BTreeMap::new();
    for (version, path) in directories(path)? {
        if let (Some(version), Some(file)) = (version, saved_model(&path)?) {
            versions.insert(version, file);
        }
    }
    if versions.is_empty() {
        return Ok(None);
    }
    let labels_path = path.join("labels.json");
    let model = Found { name: name(path), versions, labels: labels(&labels_path)? };
    check_labels(&model).map_err(|problem| complaint(&labels_path, &problem))?;
    Ok(Some(model))
}

/// The number that a directory of a version has for a name.
fn version(path: &Path) -> Option<i64> {
    path.file_name()?.to_str()?.parse().ok().filter(|version| *version >= 0)
}

/// The directories in a directory by their names, with the versions that they are.
fn directories(path: &Path) -> Result<Vec<(Option<i64>, PathBuf)>> {
    let unreadable = |error: io::Error| complaint(path, &format!("it cannot be read: {error}"));
    let mut found = Vec::new();
    for entry in fs::read_dir(path).map_err(unreadable)?.take(MOST_ENTRIES) {
        let path = entry.map_err(unreadable)?.path();
        if path.is_dir() {
            found.push((version(&path), path));
        }
    }
    found.sort();
    Ok(found)
}

/// The file of an export, if that is what a directory has.
fn saved_model(path: &Path) -> Result<Option<PathBuf>> {
    let file = path.join("saved_model.pb");
    if file.is_file() {
        return Ok(Some(file));
    }
    for (name, form) in [("saved_model.pbtxt", "text"), ("saved_model.cpb", "chunks")] {
        if path.join(name).is_file() {
            let text = format!("SavedModels in the form of {form} cannot be read, only saved_model.pb");
            return Err(complaint(&path.join(name), &text));
        }
    }
    Ok(None)
}

fn labels(path: &Path) -> Result<BTreeMap<String, i64>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(complaint(path, &format!("it cannot be read: {error}"))),
    };
    serde_json::from_str(&text).map_err(|error| {
        complaint(
            path,
            &format!("it is no object of labels with versions, such as {{\"stable\": 1}}: {error}"),
        )
    })
}

fn check_labels(model: &Found) -> Result<(), String> {
    let is_missing = |(_, version): &(&String, &i64)| !model.versions.contains_key(version);
    match model.labels.iter().find(is_missing) {
        Some((label, version)) => {
            Err(format!("the label {label:?} is for version {version}, which is not there"))
        }
        None => Ok(()),
    }
}

/// What is wrong with a file, as the end of the program tells it.
pub(super) fn complaint(path: &Path, problem: &str) -> Error {
    Error::invalid_argument(format!("{}: {problem}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory with empty files at these paths.
    fn tree(files: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for file in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        root
    }

    fn listed(models: Result<Vec<Found>>) -> Result<Vec<(String, Vec<i64>)>, String> {
        let models = models.map_err(|error| error.message().to_owned())?;
        Ok(models.into_iter().map(|model| (model.name, model.versions.into_keys().collect())).collect())
    }

    #[test]
    fn models_are_found_by_their_versions() {
        let root = tree(&[
            "a/1/saved_model.pb",
            "a/12/saved_model.pb",
            "a/next/saved_model.pb",
            "b/2/saved_model.pb",
            "c/other",
        ]);
        let check = |path: &str, expected: &[(&str, &[i64])]| {
            let found = listed(find(&root.path().join(path))).unwrap();
            let found: Vec<_> = found.iter().map(|(name, versions)| (name.as_str(), &versions[..])).collect();
            assert_eq!(found, expected, "{path}");
        };
        check("", &[("a", &[1, 12]), ("b", &[2])]);
        check("a", &[("a", &[1, 12])]);
        check("a/12", &[("a", &[12])]);
        check("a/next", &[("next", &[1])]);
        for path in ["c", "c/other", "nothing"] {
            let error = listed(find(&root.path().join(path))).unwrap_err();
            assert!(error.contains("cannot be read") || error.contains("no SavedModel"), "{error}");
        }
    }

    #[test]
    fn labels_are_for_versions_that_are_there() {
        let root = tree(&["a/1/saved_model.pb"]);
        let labels = root.path().join("a/labels.json");
        fs::write(&labels, r#"{"stable": 1}"#).unwrap();
        assert_eq!(find(root.path()).unwrap()[0].labels["stable"], 1);
        for (text, expected) in [
            (r#"{"stable": 2}"#, "the label \"stable\" is for version 2, which is not there"),
            ("[]", "it is no object of labels"),
        ] {
            fs::write(&labels, text).unwrap();
            let error = find(root.path()).unwrap_err();
            assert!(error.message().contains(expected), "{error}");
        }
    }

    #[test]
    fn a_configuration_says_where_models_are_and_which_versions_count() {
        let root =
            tree(&["a/1/saved_model.pb", "a/2/saved_model.pb", "a/3/saved_model.pb", "b/7/saved_model.pb"]);
        let path = root.path().join("models.config");
        let check = |config: &str, expected: Result<&[(&str, &[i64])], &str>| {
            fs::write(&path, format!("model_config_list {{ {config} }}")).unwrap();
            let found = listed(find_configured(&path));
            let found = found.as_ref().map(|models| {
                models.iter().map(|(name, versions)| (name.as_str(), versions.as_slice())).collect::<Vec<_>>()
            });
            match (found, expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{config}"),
                (Err(error), Err(expected)) => assert!(error.contains(expected), "{error}"),
                (found, _) => panic!("{config}: {found:?}"),
            }
        };
        check(r#"config { name: "m" base_path: "a" }"#, Ok(&[("m", &[3])]));
        let all = |choice: &str| {
            format!(
                r#"config {{ name: "m" base_path: "/models/a" model_platform: "tensorflow"
                model_version_policy {{ {choice} }} version_labels {{ key: "l" value: 2 }} }}"#
            )
        };
        check(&all("all {}"), Ok(&[("m", &[1, 2, 3])]));
        check(&all("latest { num_versions: 2 }"), Ok(&[("m", &[2, 3])]));
        check(&all("specific { versions: 1 versions: 2 }"), Ok(&[("m", &[1, 2])]));
        check(&all("specific { versions: 9 }"), Err("model \"m\": there is no version 9"));
        check(&all("latest {}"), Err("the label \"l\" is for version 2, which is not there"));
        let both = r#"config { name: "a" base_path: "a" } config { name: "b" base_path: "b" }"#;
        check(both, Ok(&[("a", &[3]), ("b", &[7])]));
        check(&both.replace("\"b\"", "\"a\""), Err("it is there twice"));
        check(r#"config { name: "c" base_path: "c" }"#, Err("c: it cannot be read"));
    }
}
