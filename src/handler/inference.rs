//! The Open Inference Protocol: its requests go the way of predict's, with a body of its own.

mod body;

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http_body::Body;

use self::body::{Asked, Inference};
use super::body::{discard, read};
use super::{Bridge, Reply, version};
use crate::codec::body::Encoded;
use crate::codec::inference::metadata::{self, Model};
use crate::codec::media::MediaType;
use crate::codec::model;
use crate::codec::parameters::Parameters;
use crate::error::{Error, Result};
use crate::proto::tensorflow::serving::GetModelStatusRequest;
use crate::proto::tensorflow::serving::model_version_status::State;
use crate::record::Part;
use crate::route::{Target, Version};
use crate::signature::Known;
use crate::upstream::Call;

/// What this server is.
pub(super) fn server_metadata() -> Reply {
    Reply::new(MediaType::Json.name(), metadata::server())
}

/// Whoever gets this can see that it lives.
pub(super) fn server_live() -> Reply {
    Reply::new(MediaType::Json.name(), &br#"{"live":true}"#[..])
}

impl Bridge {
    /// Runs a signature on tensors.
    pub(super) async fn infer<B>(&self, target: &Target, request: Request<B>, call: &Call) -> Result<Reply>
    where
        B: Body<Data = Bytes, Error: std::error::Error + Send + Sync + 'static> + Unpin,
    {
        let asked = match Asked::new(&request) {
            Ok(asked) => asked,
            Err(error) => {
                discard(request).await;
                return Err(error);
            }
        };
        let known = call.record.measure(Part::Decode, self.signatures.get(target, call)).await;
        if let Ok(Known { version: Some(version), .. }) = known.as_deref() {
            call.record.note_subject(&target.name, "", Some(*version));
        }
        let (body, _) = read(request, (&self.api).into(), call, None).await?;
        let _permit = self.admission.enter(&call.record).await?;
        let known = known?;
        let undecoded = Inference { asked, body };
        let (form, answer) = self.attempts(target, undecoded, known, None, call).await?;
        let reply = answer.into_tensors()?;
        let model_version = version(reply.model_spec.as_ref());
        let (form, name) = (Arc::new(form), target.name.clone());
        let room = |reply: &_, size| form.memory(reply, size);
        let written = Arc::clone(&form);
        let encode = move |reply, nan| written.encode(&name, &reply, nan);
        let (encoded, json_length) = self.encode(reply, call, room, encode).await?;
        let reply = self.reply_of(encoded, model_version, call)?;
        Ok(Reply { json_length, ..reply })
    }

    /// The inputs and outputs of one of a model's signatures.
    pub(super) async fn model_metadata<B>(
        &self,
        target: &Target,
        request: &Request<B>,
        call: &Call,
    ) -> Result<Reply> {
        let _permit = self.admission.enter(&call.record).await?;
        let parameters = Parameters::parse(request.uri().query().unwrap_or_default())?;
        let signature_name = parameters.signature_name.unwrap_or_default();
        let (model, model_version) = self.describe(target, &signature_name, call).await?;
        let encoded = Encoded { body: model.to_json().into(), content_type: MediaType::Json.name() };
        self.reply_of(encoded, model_version, call)
    }

    /// What a model is, by one of its signatures, and the version that says so.
    ///
    /// # Errors
    ///
    /// What the backend says of an unknown model or version, or that it tells no signatures.
    pub(crate) async fn describe(
        &self,
        target: &Target,
        signature_name: &str,
        call: &Call,
    ) -> Result<(Model, Option<i64>)> {
        let request = model::metadata_request(target.to_spec(""));
        let reply = self.upstream.metadata(request, call).await?;
        let model_version = version(reply.model_spec.as_ref());
        call.record.note_subject(&target.name, "", model_version);
        let signatures = model::decode_signatures(&reply)?;
        let all = Target { name: target.name.clone(), version: Version::Latest };
        let request = GetModelStatusRequest { model_spec: Some(all.to_spec("")) };
        let status = self.upstream.status(request, call).await?;
        let available = status.model_version_status.iter().filter(|it| it.state() == State::Available);
        let versions = available.map(|it| it.version).collect();
        Ok((Model::new(&target.name, versions, &signatures, signature_name)?, model_version))
    }

    pub(super) async fn model_ready(&self, target: &Target, call: &Call) -> Result<Reply> {
        let _permit = self.admission.enter(&call.record).await?;
        self.check_ready(target, call).await?;
        let body = serde_json::json!({ "name": target.name, "ready": true }).to_string();
        Ok(Reply::new(MediaType::Json.name(), body))
    }

    /// Whether a model can be used.
    ///
    /// # Errors
    ///
    /// `NOT_FOUND` if there is no such model, version or label, `UNAVAILABLE` if it is not ready.
    pub(crate) async fn check_ready(&self, target: &Target, call: &Call) -> Result<()> {
        if let Version::Label(label) = &target.version {
            // Its status would be that of all versions.
            return match self.signatures.get(target, call).await {
                Ok(_) => Ok(()),
                Err(error) if error.code() == tonic::Code::InvalidArgument => {
                    Err(Error::not_found(format!("The model {} has no label {label}", target.name)))
                }
                Err(error) => Err(error),
            };
        }
        let request = GetModelStatusRequest { model_spec: Some(target.to_spec("")) };
        let status = self.upstream.status(request, call).await?;
        call.record.note_subject(&target.name, "", None);
        if status.model_version_status.iter().any(|it| it.state() == State::Available) {
            return Ok(());
        }
        Err(Error::unavailable(format!("The model {} has no version that is AVAILABLE", target.name)))
    }

    pub(super) async fn server_ready(&self) -> Result<Reply> {
        self.check_server_ready().await?;
        Ok(Reply::new(MediaType::Json.name(), &br#"{"ready":true}"#[..]))
    }

    /// Whether requests can be answered.
    ///
    /// # Errors
    ///
    /// `UNAVAILABLE` with the reasons why they cannot.
    pub(crate) async fn check_server_ready(&self) -> Result<()> {
        let reasons = self.reasons_against().await;
        if reasons.is_empty() { Ok(()) } else { Err(Error::unavailable(reasons.join("; "))) }
    }
}
