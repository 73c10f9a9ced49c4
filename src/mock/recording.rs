//! Calls that were recorded in front of a real server, and answers that repeat them.
//!
//! Equal requests get the reply that was recorded last. In memory are the replies, and of each request no
//! more than a sum.

pub(super) mod line;
pub(super) mod recorder;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;

use bytes::Bytes;
use prost::Message;
use tonic::{Code, Status};

use self::line::{LONGEST_LINE, Line};
use super::call::Call;
use super::directory::complaint;
use crate::error::Result;
use crate::proto::tensorflow::serving::{
    ClassificationRequest, GetModelMetadataRequest, GetModelStatusRequest, MultiInferenceRequest,
    PredictRequest, RegressionRequest,
};

/// The most that the replies of a recording may take.
const MOST_BYTES: usize = 2 << 30;

/// What equal requests have in common.
type Key = [u8; 32];

/// What came of a call: a reply, or a status.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Outcome {
    Reply(Bytes),
    Error(Code, String),
}

#[derive(Debug, Default)]
pub(super) struct Recording {
    outcomes: HashMap<Key, Outcome>,
    /// How many different requests there are for each method and model.
    counts: BTreeMap<(&'static str, String), usize>,
    models: BTreeSet<String>,
}

impl Recording {
    /// Reads a file of lines.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let unreadable = |error: std::io::Error| complaint(path, &format!("it cannot be read: {error}"));
        let mut reader = BufReader::new(File::open(path).map_err(unreadable)?);
        let mut recording = Self::default();
        let mut room = MOST_BYTES;
        let mut text = Vec::new();
        for number in 1_usize.. {
            text.clear();
            let length =
                reader.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut text).map_err(unreadable)?;
            if length == 0 {
                break;
            }
            if text.trim_ascii().is_empty() {
                continue;
            }
            if text.last() != Some(&b'\n') && (length as u64) < LONGEST_LINE && Line::is_cut(&text) {
                tracing::warn!(file = %path.display(), number, "the last call was not written to its end, and is left out");
                break;
            }
            let line = Line::parse(&text);
            let added = line.and_then(|line| recording.add(&line, &mut room));
            added.map_err(|problem| complaint(path, &format!("line {number}: {problem}")))?;
        }
        Ok(recording)
    }

    fn add(&mut self, line: &Line, room: &mut usize) -> Result<(), String> {
        match line.method.as_str() {
            PredictRequest::METHOD => self.add_call::<PredictRequest>(line, room),
            ClassificationRequest::METHOD => self.add_call::<ClassificationRequest>(line, room),
            RegressionRequest::METHOD => self.add_call::<RegressionRequest>(line, room),
            MultiInferenceRequest::METHOD => self.add_call::<MultiInferenceRequest>(line, room),
            GetModelMetadataRequest::METHOD => self.add_call::<GetModelMetadataRequest>(line, room),
            GetModelStatusRequest::METHOD => self.add_call::<GetModelStatusRequest>(line, room),
            other => Err(format!("{other:?} is no method that is recorded")),
        }
    }

    fn add_call<C: Call>(&mut self, line: &Line, room: &mut usize) -> Result<(), String> {
        let (request, outcome) = line.read::<C>()?;
        let size = match &outcome {
            Outcome::Reply(reply) => reply.len(),
            Outcome::Error(_, message) => message.len(),
        };
        *room = room
            .checked_sub(size)
            .ok_or_else(|| format!("the replies take more than {} GiB", MOST_BYTES >> 30))?;
        if matches!(outcome, Outcome::Reply(_)) && !request.model().is_empty() {
            self.models.insert(request.model().to_owned());
        }
        if self.outcomes.insert(key(&request), outcome).is_none() {
            *self.counts.entry((C::METHOD, request.model().to_owned())).or_default() += 1;
        }
        Ok(())
    }

    /// What came of an equal request, if there was one.
    pub(super) fn find<C: Call>(&self, request: &C) -> Option<Result<C::Reply, Status>> {
        let outcome = self.outcomes.get(&key(request))?;
        Some(match outcome {
            Outcome::Reply(bytes) => C::Reply::decode(bytes.clone())
                .map_err(|error| Status::internal(format!("The recorded reply cannot be read: {error}"))),
            Outcome::Error(code, message) => Err(Status::new(*code, message.clone())),
        })
    }

    /// The refusal of a request that was not recorded.
    pub(super) fn missing<C: Call>(&self, request: &C) -> Status {
        let (method, model) = (C::name(), request.model());
        let count = self.counts.get(&(C::METHOD, model.to_owned())).copied().unwrap_or_default();
        let known = match count {
            0 => "there is none".to_owned(),
            1 => "there is one, but with another request".to_owned(),
            count => format!("there are {count}, but with other requests"),
        };
        Status::not_found(format!(
            "This {method} of model {model:?} is not in the recording: {known}. Record it with --record"
        ))
    }

    /// The names of the models that have given a reply. Others were perhaps never there.
    pub(super) fn models(&self) -> &BTreeSet<String> {
        &self.models
    }

    /// How many different requests there are.
    pub(super) fn len(&self) -> usize {
        self.outcomes.len()
    }
}

/// The sum of a request.
fn key<C: Call>(request: &C) -> Key {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    context.update(C::METHOD.as_bytes());
    context.update(&request.canonical());
    sum(context)
}

fn sum(context: ring::digest::Context) -> Key {
    let mut key = Key::default();
    key.copy_from_slice(context.finish().as_ref());
    key
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::mock::Models;
    use crate::proto::tensorflow::serving::ModelSpec;
    use crate::proto::tensorflow::{DataType, TensorProto};

    fn request(name: &str, value: f32) -> PredictRequest {
        let x =
            TensorProto { dtype: DataType::DtFloat.into(), float_val: vec![value], ..TensorProto::default() };
        PredictRequest {
            model_spec: Some(ModelSpec { name: name.to_owned(), ..ModelSpec::default() }),
            inputs: [("x".to_owned(), x)].into(),
            ..PredictRequest::default()
        }
    }

    fn outcome<C: Call>(request: &C) -> Outcome {
        match request.run(&Models::builtin()) {
            Ok(reply) => Outcome::Reply(reply.encode_to_vec().into()),
            Err(error) => Outcome::Error(error.code(), error.message().to_owned()),
        }
    }

    fn read(text: &str) -> Result<Recording> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        Recording::read(file.path())
    }

    #[test]
    fn equal_requests_get_what_was_recorded() {
        let status = GetModelStatusRequest { model_spec: request("half_plus_two", 0.0).model_spec };
        let metadata = GetModelMetadataRequest {
            model_spec: status.model_spec.clone(),
            metadata_field: vec!["signature_def".to_owned()],
        };
        let (good, bad) = (request("half_plus_two", 0.1), request("m", f32::NAN));
        let lines = [
            Line::text(&good, &outcome(&request("half_plus_two", 9.0))),
            Line::text(&good, &outcome(&good)),
            Line::text(&bad, &outcome(&bad)),
            Line::text(&status, &outcome(&status)),
            Line::text(&metadata, &outcome(&metadata)),
        ];
        let text: Vec<String> = lines.into_iter().map(Result::unwrap).collect();
        let recording = read(&text.join("\n")).unwrap();
        assert_eq!(recording.len(), 4);
        assert!(recording.models().iter().eq(["half_plus_two"]), "{:?}", recording.models());
        // The last one counts.
        let reply = recording.find(&good).unwrap().unwrap();
        assert_eq!(Ok(reply), good.run(&Models::builtin()).map_err(|error| error.to_string()));
        let error = recording.find(&bad).unwrap().unwrap_err();
        assert_eq!(error.code(), Code::NotFound);
        assert_eq!(error.message(), "Servable not found for request: Latest(m)");
        let reply = recording.find(&status).unwrap().unwrap();
        assert_eq!(reply.model_version_status.len(), 2);
        let reply = recording.find(&metadata).unwrap().unwrap();
        let signatures = crate::codec::model::decode_signatures(&reply).unwrap();
        let expected = metadata.run(&Models::builtin()).unwrap();
        assert_eq!(signatures, crate::codec::model::decode_signatures(&expected).unwrap());

        let other = request("half_plus_two", 0.2);
        assert!(recording.find(&other).is_none());
        assert_eq!(
            recording.missing(&other).message(),
            "This Predict of model \"half_plus_two\" is not in the recording: there is one, but with another \
             request. Record it with --record"
        );
    }

    #[test]
    fn a_file_that_is_no_recording_is_refused_with_the_line() {
        for (text, expected) in [
            ("\n{", "line 2: it is no JSON"),
            ("[]", "line 1"),
            (r#"{"method": "m", "request": {}, "reply": {}}"#, "\"m\" is no method that is recorded"),
            (
                r#"{"method": "tensorflow.serving.PredictionService/Predict", "request": {"model": 1}, "reply": {}}"#,
                "the request is no tensorflow.serving.PredictRequest",
            ),
            (
                r#"{"method": "tensorflow.serving.PredictionService/Predict", "request": {}}"#,
                "neither a reply nor an error",
            ),
            (
                r#"{"method": "tensorflow.serving.PredictionService/Predict", "request": {}, "error": {"code": "FINE"}}"#,
                "FINE",
            ),
        ] {
            let error = read(text).unwrap_err();
            assert_eq!(error.code(), Code::InvalidArgument);
            assert!(error.message().contains(expected), "{error}");
        }
        let missing = Recording::read(Path::new("/nowhere/calls.jsonl")).unwrap_err();
        assert!(missing.message().contains("cannot be read"), "{missing}");
        assert_eq!(read("\n\n").unwrap().len(), 0);
        // A recorder that is killed leaves half a line at the end. Elsewhere it is a fault.
        let half = r#"{"method":"tensorflow.serving.PredictionService/Predict","request":{"inp"#;
        assert_eq!(read(&format!("\n{half}")).unwrap().len(), 0);
        let error = read(&format!("{half}\n\n")).unwrap_err();
        assert!(error.message().contains("line 1: it is no JSON"), "{error}");
    }
}
